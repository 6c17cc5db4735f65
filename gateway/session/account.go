package session

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// An AccountKey identifies a person at one provider permanently. The provider's
// configured name is no part of it.
type AccountKey struct {
	Protocol provider.Protocol `json:"p"`
	Issuer   string            `json:"i"`
	Subject  string            `json:"s"`
}

// name returns the name of the account's record in the vault.
func (k AccountKey) name() string { return fmt.Sprintf("%s %q %q", k.Protocol, k.Issuer, k.Subject) }

// ID returns the account's public name: opaque, the same on every node and under
// every secret, different for every provider.
func (k AccountKey) ID() string {
	return vault.EncodeText(vault.Digest("caddy-sso account 1", string(k.Protocol), k.Issuer, k.Subject))
}

// An account is our record of a person. It does not expire.
type account struct {
	Key       AccountKey `json:"k"`
	Provider  string     `json:"pn"`
	Username  string     `json:"u"`
	Email     string     `json:"e,omitempty"`
	Created   time.Time  `json:"c"`
	LastLogin time.Time  `json:"l"`
	Blocked   bool       `json:"b,omitempty"`
	// Epoch is replaced by a fresh random value to end all logins of the
	// account. It is compared for equality, never counted.
	Epoch string `json:"ep"`
}

// touchAccount returns the person's account, and creates it at the first login.
func (s *Node) touchAccount(ctx context.Context, key AccountKey, provider string, id *provider.Identity, now time.Time) (a *account, err error) {
	err = s.vault.Update(ctx, kindAccount, key.name(), store.NoExpiry, func(old *vault.Record) ([]byte, error) {
		if old == nil {
			if err := s.MayCreate(ctx); err != nil {
				return nil, err
			}
			a = &account{Key: key, Created: now, Epoch: vault.RandomText()}
		} else if a, err = decode[account](old); err != nil {
			return nil, err
		}
		if a.Blocked {
			return nil, refusal.New(refusal.AccountBlocked, nil)
		}
		if a.Provider == provider && a.Username == id.Username && a.Email == id.Email && now.Sub(a.LastLogin).Abs() < lastLoginEvery {
			return old.Value, nil
		}
		a.Provider, a.Username, a.Email, a.LastLogin = provider, id.Username, id.Email, now
		record, err := s.vault.Key(ctx, kindAccount, key.name())
		if err != nil {
			return nil, err
		}
		// The index is written first, so that no account is ever unlisted.
		if err := s.store.Add(ctx, indexAccounts, accountMember(a, record)); err != nil {
			return nil, err
		}
		return json.Marshal(a)
	})
	return a, err
}

// lastLoginEvery is the precision of an account's last login. If many logins of one
// account come at once, one writes and the others find nothing to change. Otherwise
// they would queue, and the last would run out of tries.
const lastLoginEvery = 10 * time.Second
