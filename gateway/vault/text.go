package vault

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// randomSize is in bytes.
const randomSize = 32

var b64 = base64.RawURLEncoding.Strict()

// RandomBytes returns 256 fresh random bits.
func RandomBytes() []byte {
	b := make([]byte, randomSize)
	_, _ = rand.Read(b) // never fails: it crashes the program instead
	return b
}

// RandomText returns 256 fresh random bits as 43 characters of base64url.
func RandomText() string { return EncodeText(RandomBytes()) }

// IsRandomText reports whether text can come from RandomText.
func IsRandomText(text string) bool { return DecodeText(text, randomSize) != nil }

// EncodeText returns raw in base64url without padding (RFC 4648 §5).
func EncodeText(raw []byte) string { return b64.EncodeToString(raw) }

// DecodeText returns n bytes, or nil unless text is what EncodeText makes of them.
// The comparison is needed because package base64 always skips line breaks.
func DecodeText(text string, n int) []byte {
	if len(text) != b64.EncodedLen(n) || strings.ContainsAny(text, "\r\n") {
		return nil
	}
	raw, err := b64.DecodeString(text)
	if err != nil {
		return nil
	}
	return raw
}

// Digest is SHA-256 over a label and parts. The length before each part makes the
// input unique to the list.
func Digest(label string, parts ...string) []byte {
	h := sha256.New()
	writePart(h, label)
	for _, p := range parts {
		writePart(h, p)
	}
	return h.Sum(nil)
}

// Handle is a public, stable name of 22 characters for something that parts identify,
// the same on every node. One of the parts must be unguessable, as a record's key is.
func Handle(parts ...string) string {
	return EncodeText(Digest("caddy-sso handle 1", parts...)[:16])
}
