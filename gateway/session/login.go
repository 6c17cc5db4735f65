package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A Login is one good answer of a provider, stored under the hash of its cookie's
// bits. It contains no roles: each node derives them by its own rules.
type Login struct {
	Account  AccountKey `json:"a"`
	Provider string     `json:"pn"` // its name at the login, for people
	// Definition is the provider's definition at the login (see provider.Provider).
	// Logins of older releases have none.
	Definition string            `json:"d,omitempty"`
	Identity   provider.Identity `json:"id"`
	Created    time.Time         `json:"c"`
	Expires    time.Time         `json:"x"`
	// Forced is that of the Flow.
	Forced time.Time `json:"f,omitzero"`
	// Seen is roughly when the login was last used. It is updated only if an idle
	// limit is set.
	Seen time.Time `json:"s,omitzero"`
	// The epochs when the login was made. The login is over if one of them differs or
	// is missing now.
	AccountEpoch  string `json:"ea"`
	ProviderEpoch string `json:"ep"`
	GlobalEpoch   string `json:"eg"`
	// SessionID and LogoutHint are for a logout at the provider.
	SessionID  string `json:"sid,omitempty"`
	LogoutHint string `json:"lh,omitempty"`
}

// The names of the epochs' records.
const globalEpoch = "all"

func providerEpoch(p provider.Protocol, issuer string) string {
	return fmt.Sprintf("provider %s %q", p, issuer)
}

// ErrNone means that a cookie opens no session, for any reason: unknown, ended,
// expired, revoked.
var ErrNone = errors.New("no session")

// loadLogin reads a login and all that can end it. It returns ErrNone if the login is
// over; any other error is a fault.
func (s *Node) loadLogin(ctx context.Context, bits string) (*Login, *vault.Record, error) {
	rec, err := s.vault.Get(ctx, kindLogin, bits)
	return s.readLogin(ctx, rec, err)
}

// readLogin reads the login in a record, as vault.Get returned it.
func (s *Node) readLogin(ctx context.Context, rec *vault.Record, err error) (*Login, *vault.Record, error) {
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, ErrNone
	}
	if err != nil {
		return nil, nil, err
	}
	l, err := decode[Login](rec)
	if err != nil {
		return nil, nil, err
	}
	if err := s.checkLogin(ctx, l); err != nil {
		return nil, nil, err
	}
	return l, rec, nil
}

// LoginByID returns the login that has a Session.ID. It asks the store: what the login
// has opened outside of a session ends with it at once, on every node. The error is
// ErrNone if the login is over, or was not used for the idle limit; any other is a fault.
func (s *Node) LoginByID(ctx context.Context, id string) (*Login, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rec, err := s.vault.GetAt(ctx, kindLogin, id)
	l, _, err := s.readLogin(ctx, rec, err)
	if err != nil {
		return nil, err
	}
	if idle := s.idle(); idle > 0 && time.Since(l.Seen) >= idle {
		return nil, ErrNone
	}
	return l, nil
}

func decode[T any](rec *vault.Record) (*T, error) {
	var v T
	if err := json.Unmarshal(rec.Value, &v); err != nil {
		return nil, fmt.Errorf("reading a record: %w: %w", vault.ErrRecord, err)
	}
	return &v, nil
}

// checkLogin returns ErrNone if something has ended the login.
func (s *Node) checkLogin(ctx context.Context, l *Login) error {
	guards, err := s.vault.GetAll(ctx,
		vault.Ref{Kind: kindAccount, Name: l.Account.name()},
		vault.Ref{Kind: kindEpoch, Name: providerEpoch(l.Account.Protocol, l.Account.Issuer)},
		vault.Ref{Kind: kindEpoch, Name: globalEpoch})
	if err != nil {
		return err
	}
	for _, g := range guards {
		if g == nil {
			return ErrNone
		}
	}
	a, err := decode[account](guards[0])
	if err != nil {
		return err
	}
	if a.Blocked || a.Epoch != l.AccountEpoch || string(guards[1].Value) != l.ProviderEpoch || string(guards[2].Value) != l.GlobalEpoch {
		return ErrNone
	}
	if !time.Now().Before(l.Expires) {
		return ErrNone
	}
	return nil
}

// A Source is the provider that signed a person in.
type Source struct {
	Provider   string // its label
	Protocol   provider.Protocol
	Issuer     string
	Definition string
	Forced     time.Time // see Login
}

// SignIn makes a login of a good answer, for at most lifetime, and returns the value
// of its cookie at host. It returns ErrNone if the answer's session is already over.
//
// The order matters. Epochs are read before the login is written, so that a block in
// between ends the login. Indexes are written before the record, so that no login is
// ever unlisted.
func (s *Node) SignIn(ctx context.Context, from Source, ans *provider.Answer, lifetime time.Duration, host string) (cookie string, err error) {
	l, err := s.newLogin(ctx, from, ans, lifetime)
	if err != nil {
		return "", err
	}
	ttl := l.Expires.Sub(l.Created)
	if ttl <= 0 {
		return "", ErrNone
	}
	value, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	bits, cookie, err := s.newSession(ctx, host)
	if err != nil {
		return "", err
	}
	key, err := s.vault.Key(ctx, kindLogin, bits)
	if err != nil {
		return "", err
	}
	if err := s.store.Add(ctx, indexLogins, loginMember(l, key)); err != nil {
		return "", err
	}
	if err := s.vault.PutNew(ctx, kindLogin, bits, value, ttl); err != nil {
		return "", err
	}
	return cookie, nil
}

// newLogin returns a login with the present epochs. It creates the account if needed.
func (s *Node) newLogin(ctx context.Context, from Source, ans *provider.Answer, lifetime time.Duration) (*Login, error) {
	now := time.Now()
	person := AccountKey{from.Protocol, from.Issuer, ans.Subject}
	global, err := s.ensureEpoch(ctx, globalEpoch)
	if err != nil {
		return nil, err
	}
	prov, err := s.ensureEpoch(ctx, providerEpoch(from.Protocol, from.Issuer))
	if err != nil {
		return nil, err
	}
	acct, err := s.touchAccount(ctx, person, from.Provider, &ans.Identity, now)
	if err != nil {
		return nil, err
	}
	l := &Login{
		Account: person, Provider: from.Provider, Definition: from.Definition, Identity: ans.Identity, Created: now, Expires: now.Add(lifetime), Seen: now, Forced: from.Forced,
		AccountEpoch: acct.Epoch, ProviderEpoch: prov, GlobalEpoch: global,
		SessionID: ans.SessionID, LogoutHint: ans.LogoutHint,
	}
	// A local time can lie in the year 10000, which JSON can't encode.
	l.Identity.AuthTime = l.Identity.AuthTime.UTC()
	if !ans.NotAfter.IsZero() && ans.NotAfter.Before(l.Expires) {
		l.Expires = ans.NotAfter
	}
	return l, nil
}

// ensureEpoch returns an epoch, and makes it when it is first needed.
func (s *Node) ensureEpoch(ctx context.Context, name string) (string, error) {
	var epoch []byte
	err := s.vault.Update(ctx, kindEpoch, name, store.NoExpiry, func(old *vault.Record) (_ []byte, err error) {
		if old != nil {
			epoch = old.Value
			return epoch, nil
		}
		epoch, err = s.firstEpoch(ctx, name)
		return epoch, err
	})
	return string(epoch), err
}

// firstEpoch lists a new epoch and returns it.
func (s *Node) firstEpoch(ctx context.Context, name string) ([]byte, error) {
	if err := s.MayCreate(ctx); err != nil {
		return nil, err
	}
	key, err := s.vault.Key(ctx, kindEpoch, name)
	if err != nil {
		return nil, err
	}
	return []byte(vault.RandomText()), s.store.Add(ctx, indexEpochs, key)
}
