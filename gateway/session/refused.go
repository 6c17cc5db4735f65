package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A Refused is a refused sign-in, as it was shown to the person. Their browser keeps
// it in a cookie, so that a reload shows the same. Nothing is decided by it.
type Refused struct {
	Code      refusal.Code `json:"c"`
	Reference string       `json:"r"`
	// Username and Provider are empty if unknown.
	Username string `json:"u,omitempty"`
	Provider string `json:"p,omitempty"`
	// Return is the return URL.
	Return string    `json:"t"`
	At     time.Time `json:"a"`
}

const (
	refusedTTL = 15 * time.Minute
	// maxRefused bounds the cookie's JSON in bytes: browsers accept 4,096 for the
	// whole cookie.
	maxRefused = 2048
)

// RefusedCookie returns the cookie of a refusal at a host: base64url of JSON and a
// MAC. A return URL that is too long becomes "/".
func (s *Node) RefusedCookie(ctx context.Context, refused Refused, host string) (string, error) {
	text, err := json.Marshal(refused)
	if err == nil && len(text) > maxRefused {
		refused.Return = "/"
		text, err = json.Marshal(refused)
	}
	if err == nil && len(text) > maxRefused {
		refused.Username = ""
		text, err = json.Marshal(refused)
	}
	if err != nil {
		return "", err
	}
	mac, err := s.vault.MAC(ctx, "refusal cookie", string(text), host)
	if err != nil {
		return "", err
	}
	return vault.EncodeText(append(text, mac...)), nil
}

// ReadRefused returns the refusal in a cookie of host. It returns ErrNone if there is
// none, or if it is older than refusedTTL; any other error is a fault of the store.
func (s *Node) ReadRefused(ctx context.Context, value, host string) (*Refused, error) {
	raw := vault.DecodeText(value, base64.RawURLEncoding.DecodedLen(len(value)))
	if len(raw) <= macSize || len(raw) > maxRefused+macSize {
		return nil, ErrNone
	}
	text, err := s.checkMAC(ctx, "refusal cookie", raw, host)
	if err != nil {
		return nil, err
	}
	var refused Refused
	if json.Unmarshal([]byte(text), &refused) != nil || time.Since(refused.At) > refusedTTL {
		return nil, ErrNone
	}
	return &refused, nil
}
