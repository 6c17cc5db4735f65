package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// What is announced is the key of the login that has changed, or announceAll.
// A message orders nothing: it makes every node look at the records again, so
// that whoever can write the store's stream can cost work, and no more.
const announceAll = "all"

// endLogin ends one login: gone from the store, announced, cut here.
func (s *Sessions) endLogin(ctx context.Context, key string, l *login) error {
	if err := s.store.Delete(ctx, key); err != nil {
		return err
	}
	if err := s.store.Remove(ctx, indexLogins, indexMember(l.Identity.Username, l.Created, key)); err != nil {
		return err
	}
	return s.announce(ctx, key)
}

// RevokeLogin ends one login by its LoginInfo.ID. ErrNotFound if there is no
// such login.
func (s *Sessions) RevokeLogin(ctx context.Context, id string) error {
	rec, err := s.vault.getKey(ctx, kindLogin, id)
	if err != nil {
		return err
	}
	var l login
	if err := json.Unmarshal(rec.Value, &l); err != nil {
		return fmt.Errorf("reading a login: %w", err)
	}
	return s.endLogin(ctx, id, &l)
}

// RevokeAccount ends all logins of an account, on every node. ErrNotFound if
// there is no such account.
func (s *Sessions) RevokeAccount(ctx context.Context, key AccountKey) error {
	return s.changeAccount(ctx, key, func(*account) {})
}

// BlockAccount ends all logins of an account and lets it start no more until
// UnblockAccount.
func (s *Sessions) BlockAccount(ctx context.Context, key AccountKey) error {
	return s.changeAccount(ctx, key, func(a *account) { a.Blocked = true })
}

// UnblockAccount lets a blocked account sign in again. Logins that the block
// ended stay ended.
func (s *Sessions) UnblockAccount(ctx context.Context, key AccountKey) error {
	return s.changeAccount(ctx, key, func(a *account) { a.Blocked = false })
}

// changeAccount replaces the epoch and what change changes in one step.
func (s *Sessions) changeAccount(ctx context.Context, key AccountKey, change func(*account)) error {
	for range maxTries {
		rec, err := s.vault.Get(ctx, kindAccount, key.name())
		if err != nil {
			return err
		}
		var a account
		if err := json.Unmarshal(rec.Value, &a); err != nil {
			return fmt.Errorf("reading an account: %w", err)
		}
		a.Epoch = randomText()
		change(&a)
		err = s.replaceAccount(ctx, rec, &a)
		if errors.Is(err, ErrChanged) {
			continue
		}
		if err != nil {
			return err
		}
		return s.announce(ctx, announceAll)
	}
	return errBusy
}

// RevokeProvider ends all logins that came from one provider.
func (s *Sessions) RevokeProvider(ctx context.Context, p Protocol, issuer string) error {
	return s.renewEpoch(ctx, providerEpoch(p, issuer))
}

// RevokeAll ends all logins.
func (s *Sessions) RevokeAll(ctx context.Context) error { return s.renewEpoch(ctx, globalEpoch) }

func (s *Sessions) renewEpoch(ctx context.Context, name string) error {
	if err := s.vault.Put(ctx, kindEpoch, name, []byte(randomText()), NoExpiry); err != nil {
		return err
	}
	return s.announce(ctx, announceAll)
}

// announce tells every node, this one included, that something has changed.
// The caller has written the change already and reports success only after.
func (s *Sessions) announce(ctx context.Context, message string) error {
	err := s.store.Announce(ctx, []byte(message))
	s.changed(message)
	return err
}
