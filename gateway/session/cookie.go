package session

import (
	"context"
	"crypto/hmac"
	"errors"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A session cookie is base64url of bits and a MAC.
const (
	bitsSize    = 32
	macSize     = 32
	sessionSize = 86 // characters
)

// newSession returns random bits and the cookie value that opens them, at host only.
func (s *Node) newSession(ctx context.Context, host string) (bits, value string, err error) {
	raw := vault.RandomBytes()
	bits = string(raw)
	mac, err := s.vault.MAC(ctx, "session cookie", bits, host)
	if err != nil {
		return "", "", err
	}
	return bits, vault.EncodeText(append(raw, mac...)), nil
}

// sessionBits returns the bits of a session cookie of host. It returns ErrNone if the
// value is malformed, was made for another host, or if the store has no name key.
func (s *Node) sessionBits(ctx context.Context, value, host string) (string, error) {
	raw := vault.DecodeText(value, bitsSize+macSize)
	if raw == nil {
		return "", ErrNone
	}
	return s.checkMAC(ctx, "session cookie", raw, host)
}

// checkMAC returns the text of a cookie of host, which its MAC follows. It returns
// ErrNone if the MAC is another, or if the store has no name key.
func (s *Node) checkMAC(ctx context.Context, purpose string, raw []byte, host string) (text string, err error) {
	text, sum := string(raw[:len(raw)-macSize]), raw[len(raw)-macSize:]
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	mac, err := s.vault.MAC(ctx, purpose, text, host)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", ErrNone
	case err != nil:
		return "", err
	case !hmac.Equal(mac, sum):
		return "", ErrNone
	}
	return text, nil
}
