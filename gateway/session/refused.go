package session

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// refusedTTL is how long a refusal is kept.
const refusedTTL = 15 * time.Minute

// A Refused is a sign-in that was refused, as the person was told.
type Refused struct {
	Code      refusal.Code `json:"c"`
	Reference string       `json:"r"`
	// Username is who was to be signed in, as far as it is known, and Provider the
	// name of the provider.
	Username string `json:"u,omitempty"`
	Provider string `json:"p,omitempty"`
	// Return is where the person wanted to go.
	Return string `json:"t"`
}

// Refusals keep the last refusal of each browser for refusedTTL, so that a page
// load after it says the same. A browser is named by the hash of its browser
// cookie. Nothing is decided by them.
type Refusals struct{ vault *vault.Vault }

// Refusals returns the last refusals.
func (s *Node) Refusals() Refusals { return Refusals{s.vault} }

// Keep replaces the browser's last refusal.
func (r Refusals) Keep(ctx context.Context, browser []byte, refused *Refused) error {
	value, err := json.Marshal(refused)
	if err != nil {
		return err
	}
	return r.vault.Put(ctx, kindRefused, string(browser), value, refusedTTL)
}

// Last returns the browser's last refusal. store.ErrNotFound if there is none.
func (r Refusals) Last(ctx context.Context, browser []byte) (*Refused, error) {
	rec, err := r.vault.Get(ctx, kindRefused, string(browser))
	if err != nil {
		return nil, err
	}
	return decode[Refused](rec)
}

// Forget forgets the browser's last refusal: somebody has signed in since. If the
// store fails, it is forgotten after refusedTTL.
func (r Refusals) Forget(ctx context.Context, browser []byte) {
	_, _ = r.vault.Take(ctx, kindRefused, string(browser))
}
