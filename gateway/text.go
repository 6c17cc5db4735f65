package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

var b64 = base64.RawURLEncoding.Strict()

const (
	secretBits = 32 // random bytes in a session id, a state or a browser cookie
	textSize   = 43 // base64url of them
)

// randomText returns 256 fresh random bits as 43 characters of base64url.
func randomText() string {
	var b [secretBits]byte
	_, _ = rand.Read(b[:]) // never fails: it crashes the program instead
	return b64.EncodeToString(b[:])
}

// decodeText returns the bytes of size characters of base64url in their one
// canonical form, or nil. The package base64 skips line breaks, whatever it is
// told.
func decodeText(text string, size int) []byte {
	if len(text) != size || strings.ContainsAny(text, "\r\n") {
		return nil
	}
	raw, err := b64.DecodeString(text)
	if err != nil {
		return nil
	}
	return raw
}

// handle is a public, stable name for something that parts name, of which one
// must be unguessable: a record's key is. 22 characters, the same on every
// node and under every secret.
func handle(parts ...string) string {
	h := sha256.New()
	writePart(h, "caddy-sso handle 1")
	for _, p := range parts {
		writePart(h, p)
	}
	return b64.EncodeToString(h.Sum(nil)[:16])
}
