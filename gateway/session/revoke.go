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

// A message is the key of a changed login, or announceAll. It only makes each
// node read the records again, so a forged one costs work and nothing else.
const announceAll = "all"

// endLogin ends one login: gone from the store, announced, cut here.
//
// Here and below a fault is announced too: the write may have succeeded although
// its answer was lost. The caller gets the error, but no node may go on with its
// cached copy. The client may disconnect (a user who signs out and closes the
// tab). Finish anyway.
func (s *Node) endLogin(ctx context.Context, key string, l *Login) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err := s.store.Delete(bounded, key)
	if err = cmp.Or(err, s.announce(ctx, key)); err != nil {
		return err
	}
	return s.store.Remove(context.WithoutCancel(ctx), indexLogins, loginMember(l, key))
}

// RevokeLogin ends one login by its LoginInfo.ID. store.ErrNotFound if there is no
// such login.
func (s *Node) RevokeLogin(ctx context.Context, id string) error {
	rec, err := s.vault.GetAt(ctx, kindLogin, id)
	if err != nil {
		return err
	}
	l, err := decode[Login](rec)
	if err != nil {
		return err
	}
	return s.endLogin(ctx, id, l)
}

// RevokeAccount ends all logins of an account, on every node. store.ErrNotFound if
// there is no such account.
func (s *Node) RevokeAccount(ctx context.Context, key AccountKey) error {
	return s.changeAccount(ctx, key, func(*account) {})
}

// BlockAccount ends all logins of an account and lets it start no more until
// UnblockAccount.
func (s *Node) BlockAccount(ctx context.Context, key AccountKey) error {
	return s.changeAccount(ctx, key, func(a *account) { a.Blocked = true })
}

// UnblockAccount lets a blocked account sign in again. Logins that the block
// ended stay ended.
func (s *Node) UnblockAccount(ctx context.Context, key AccountKey) error {
	return s.changeAccount(ctx, key, func(a *account) { a.Blocked = false })
}

// changeAccount replaces the epoch and what change changes in one step.
func (s *Node) changeAccount(ctx context.Context, key AccountKey, change func(*account)) error {
	err := s.vault.Update(ctx, kindAccount, key.name(), store.NoExpiry, func(old *vault.Record) ([]byte, error) {
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
	if errors.Is(err, store.ErrNotFound) {
		return err
	}
	return cmp.Or(err, s.announce(ctx, announceAll))
}

// RevokeProvider ends all logins that came from one provider.
func (s *Node) RevokeProvider(ctx context.Context, p provider.Protocol, issuer string) error {
	return s.renewEpoch(ctx, providerEpoch(p, issuer))
}

// RevokeAll ends all logins.
func (s *Node) RevokeAll(ctx context.Context) error { return s.renewEpoch(ctx, globalEpoch) }

// renewEpoch replaces an epoch.
func (s *Node) renewEpoch(ctx context.Context, name string) error {
	err := s.vault.Update(ctx, kindEpoch, name, store.NoExpiry, func(old *vault.Record) ([]byte, error) {
		if old == nil {
			return s.firstEpoch(ctx, name)
		}
		return []byte(vault.RandomText()), nil
	})
	return cmp.Or(err, s.announce(ctx, announceAll))
}

// announce tells every node, this one included, that something has changed. The
// caller has written the change before, and reports success after. The client may
// disconnect. Finish anyway.
func (s *Node) announce(ctx context.Context, message string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err := s.store.Announce(ctx, []byte(message))
	s.changed(message)
	return err
}
