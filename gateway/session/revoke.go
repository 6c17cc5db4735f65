package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A message is the key of a changed login, or announceAll. It only makes nodes read
// records again, so a forged one costs work and nothing else.
const announceAll = "all"

// endLogin ends one login: it deletes it, announces that, and cuts its requests here.
func (s *Node) endLogin(ctx context.Context, key string) error {
	return s.revoke(ctx, key, func(ctx context.Context) error {
		return s.store.Announce(ctx, []byte(key), store.Write{Key: key})
	})
}

// endListed ends a login and removes it from the index. If the latter fails, a
// listing or the hourly cleanup does it later.
func (s *Node) endListed(ctx context.Context, key string, l *Login) error {
	if err := s.endLogin(ctx, key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	_ = s.store.Remove(ctx, indexLogins, loginMember(l, key))
	return nil
}

// EndCookie ends the login of a cookie that Find no longer finds. An earlier logout
// may have ended it and failed before the other nodes heard of it. So it is announced
// again if may agrees, because an old cookie stays well-formed for ever. A cookie
// that was not made for host is ignored.
func (s *Node) EndCookie(ctx context.Context, cookie, host string, may func() error) error {
	bits, err := s.sessionBits(ctx, cookie, host)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := may(); err != nil {
		return err
	}
	key, err := s.vault.Key(ctx, kindLogin, bits)
	if err != nil {
		return err
	}
	return s.endLogin(ctx, key)
}

// RevokeLogin ends one login by its LoginInfo.ID. If there is no such login it
// returns store.ErrNotFound, but announces the end, as EndCookie does.
func (s *Node) RevokeLogin(ctx context.Context, id string) error {
	rec, err := s.vault.GetAt(ctx, kindLogin, id)
	if errors.Is(err, store.ErrNotFound) && s.vault.IsKey(kindLogin, id) {
		return cmp.Or(s.endLogin(ctx, id), err)
	}
	if err != nil {
		return err
	}
	l, err := decode[Login](rec)
	if err != nil {
		return err
	}
	return s.endListed(ctx, id, l)
}

// RevokeAccount ends all logins of an account, on every node. It returns
// store.ErrNotFound if there is no such account.
func (s *Node) RevokeAccount(ctx context.Context, key AccountKey) error {
	return s.changeAccount(ctx, key, func(*account) {})
}

// BlockAccount ends all logins of an account and refuses new ones until
// UnblockAccount.
func (s *Node) BlockAccount(ctx context.Context, key AccountKey) error {
	return s.changeAccount(ctx, key, func(a *account) { a.Blocked = true })
}

// UnblockAccount lets a blocked account sign in again. It restores no login.
func (s *Node) UnblockAccount(ctx context.Context, key AccountKey) error {
	return s.changeAccount(ctx, key, func(a *account) { a.Blocked = false })
}

// changeAccount replaces the account's epoch and calls change, in one step.
func (s *Node) changeAccount(ctx context.Context, key AccountKey, change func(*account)) error {
	return s.replace(ctx, kindAccount, key.name(), func(_ context.Context, old *vault.Record) ([]byte, error) {
		if old == nil {
			return nil, store.ErrNotFound
		}
		a, err := decode[account](old)
		if err != nil {
			return nil, err
		}
		a.Epoch = vault.RandomText()
		change(a)
		return json.Marshal(a)
	})
}

// RevokeProvider ends all logins of one provider.
func (s *Node) RevokeProvider(ctx context.Context, p provider.Protocol, issuer string) error {
	return s.renewEpoch(ctx, providerEpoch(p, issuer), s.firstEpoch)
}

// RevokeAll ends all logins.
func (s *Node) RevokeAll(ctx context.Context) error {
	return s.renewEpoch(ctx, globalEpoch, s.firstEpoch)
}

// renewEpoch replaces an epoch, or makes it by first.
func (s *Node) renewEpoch(ctx context.Context, name string, first func(ctx context.Context, name string) ([]byte, error)) error {
	return s.replace(ctx, kindEpoch, name, func(ctx context.Context, old *vault.Record) ([]byte, error) {
		if old == nil {
			return first(ctx, name)
		}
		return []byte(vault.RandomText()), nil
	})
}

// replace changes a record that guards logins, and announces that in one step.
func (s *Node) replace(ctx context.Context, kind vault.Kind, name string, change func(ctx context.Context, old *vault.Record) ([]byte, error)) error {
	return s.revoke(ctx, announceAll, func(ctx context.Context) error {
		return s.vault.UpdateAndAnnounce(ctx, announceAll, kind, name, store.NoExpiry, func(old *vault.Record) ([]byte, error) {
			return change(ctx, old)
		})
	})
}

// revoke calls do, which ends logins, and announces that. Only its success may be
// reported as success. If it fails, do may have succeeded without an announcement. No
// node may then keep using its cached copy, so the message is repeated until the
// store accepts it. The caller may disconnect (a user who signs out and closes the
// tab). Finish anyway.
func (s *Node) revoke(ctx context.Context, message string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err := do(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return err // nothing was done
	}
	if err != nil {
		s.owed.add(message)
	}
	s.changed(message)
	return err
}
