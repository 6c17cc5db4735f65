package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// flowTTL is how long a person may take at the provider.
const flowTTL = 15 * time.Minute

// A Flow is one login under way.
type Flow struct {
	App      string `json:"app"`
	Provider string `json:"p"`
	// Issuer and Definition are the provider's, as the login began.
	Issuer     string `json:"i,omitempty"`
	Definition string `json:"d,omitempty"`
	// Browser is the hash of the cookie of the browser that started it.
	Browser []byte `json:"b"`
	// Return is where the person wanted to go: a path of the app's origin.
	Return   string `json:"r"`
	Callback string `json:"cb"`
	// Private is the provider's, see provider.Begun.
	Private []byte `json:"x"`
	// Restarted says that the login began anew because an answer came without
	// its cookie. It happens once.
	Restarted bool `json:"n,omitempty"`
	// Other asks to sign in as somebody else.
	Other bool `json:"t,omitempty"`
	// Asked says that the person asked for the login on a page of this site. Only
	// such a login may take the place of somebody else's session.
	Asked bool `json:"k,omitempty"`
	// Round is the number of logins that the browser had finished when this one
	// began.
	Round int `json:"o,omitempty"`
}

// Flows are the logins under way, on all nodes. Each lies under its state,
// sealed, for flowTTL.
type Flows struct{ vault *vault.Vault }

// Flows returns the logins under way.
func (s *Node) Flows() Flows { return Flows{s.vault} }

// Start stores a flow under its state, 256 random bits.
func (f Flows) Start(ctx context.Context, state string, flow *Flow) error {
	value, err := json.Marshal(flow)
	if err != nil {
		return err
	}
	return f.vault.PutNew(ctx, kindFlow, state, value, flowTTL)
}

// Peek returns a flow and leaves it there. store.ErrNotFound if there is none.
func (f Flows) Peek(ctx context.Context, state string) (*Flow, error) {
	rec, err := f.vault.Get(ctx, kindFlow, state)
	if err != nil {
		return nil, err
	}
	return decode[Flow](rec)
}

// Take uses a flow up. If several nodes take it at once, one succeeds and the
// others get store.ErrNotFound.
func (f Flows) Take(ctx context.Context, state string) error {
	_, err := f.vault.Take(ctx, kindFlow, state)
	return err
}

// Replays are the marks of answers that were used, on all nodes.
type Replays struct{ vault *vault.Vault }

// Replays returns the marks of answers that were used.
func (s *Node) Replays() Replays { return Replays{s.vault} }

// ErrReplayed is an answer that was used before.
var ErrReplayed = errors.New("the answer was used before")

// Use marks an answer of a provider as used until a time, for flowTTL at least.
// If the same answer comes several times, on any node, one call succeeds and the
// others get ErrReplayed. Any other error is a fault of the store.
func (r Replays) Use(ctx context.Context, p provider.Protocol, issuer, id string, until time.Time) error {
	err := r.vault.PutNew(ctx, kindReplay, providerEpoch(p, issuer)+" "+id, nil, max(time.Until(until), flowTTL))
	if errors.Is(err, store.ErrExists) {
		return ErrReplayed
	}
	return err
}
