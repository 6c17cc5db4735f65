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

// flowTime is the time that a person has to sign in at the provider.
const flowTime = 15 * time.Minute

// A Flow is one login under way.
type Flow struct {
	App      string `json:"app"`
	Provider string `json:"p"`
	// Issuer and Definition are the provider's when the login began.
	Issuer     string `json:"i,omitempty"`
	Definition string `json:"d,omitempty"`
	// Browser is the hash of the browser cookie.
	Browser []byte `json:"b"`
	// Return is the return URL: a path of the app's origin.
	Return   string `json:"r"`
	Callback string `json:"cb"`
	// Private is provider.Begun.Private.
	Private []byte `json:"x"`
	// Restarted is set if the login was started again because an answer came without
	// its cookie. That happens once.
	Restarted bool `json:"n,omitempty"`
	// Other asks to sign in as somebody else.
	Other bool `json:"t,omitempty"`
	// Asked is set if the person asked for the login on a page of this site. Only
	// such a login may replace somebody else's session.
	Asked bool `json:"k,omitempty"`
	// Forced is set if the provider has to sign the person in anew: when a client of the
	// OpenID provider asked for that.
	Forced time.Time `json:"f,omitzero"`
	// Round is the number of logins that the browser had finished before.
	Round int `json:"o,omitempty"`
}

// Flows has the logins under way, on all nodes. Each is stored under its OAuth state
// or RelayState, sealed, for flowTime.
type Flows struct{ vault *vault.Vault }

// Flows returns the logins under way.
func (s *Node) Flows() Flows { return Flows{s.vault} }

// Start stores a flow under state, 256 random bits.
func (f Flows) Start(ctx context.Context, state string, flow *Flow) error {
	value, err := json.Marshal(flow)
	if err != nil {
		return err
	}
	return f.vault.PutNew(ctx, kindFlow, state, value, flowTime)
}

// Peek returns a flow, or store.ErrNotFound.
func (f Flows) Peek(ctx context.Context, state string) (*Flow, error) {
	rec, err := f.vault.Get(ctx, kindFlow, state)
	if err != nil {
		return nil, err
	}
	return decode[Flow](rec)
}

// Take uses a flow up. If several nodes take it at once, one succeeds and the others
// get store.ErrNotFound.
func (f Flows) Take(ctx context.Context, state string) error {
	_, err := f.vault.Take(ctx, kindFlow, state)
	return err
}

// Replays marks answers as used, on all nodes.
type Replays struct{ vault *vault.Vault }

// Replays returns the marks of used answers.
func (s *Node) Replays() Replays { return Replays{s.vault} }

// ErrReplayed means that an answer was used before.
var ErrReplayed = errors.New("the answer was used before")

// Use marks an answer of a provider as used until a time, at least for flowTime. If
// the same answer comes several times, on any node, one call succeeds and the others
// get ErrReplayed. Any other error is a fault of the store.
func (r Replays) Use(ctx context.Context, p provider.Protocol, issuer, id string, until time.Time) error {
	err := r.vault.PutNew(ctx, kindReplay, providerEpoch(p, issuer)+" "+id, nil, max(time.Until(until), flowTime))
	if errors.Is(err, store.ErrExists) {
		return ErrReplayed
	}
	return err
}
