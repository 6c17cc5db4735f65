package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// CarryOver brings a record without an end that lies under the second secret
// under the first, so that the second can be dropped. Without a second secret,
// or such a record, it does nothing.
//
// The record is first marked as moved where it lies, in one step with the
// check that nobody has changed it; from then on every Replace of it fails
// until it is under the first secret. So no change is lost, whatever other
// nodes do, and where this one dies the next goes on.
func (v *Vault) CarryOver(ctx context.Context, kind Kind, name string) error {
	if len(v.keys) < 2 {
		return nil
	}
	to, from := v.recordKey(0, kind, name), v.recordKey(1, kind, name)
	values, err := v.read(ctx, to, from)
	if err != nil || values[1] == nil {
		return err
	}
	old, err := v.open(1, from, values[1])
	if err != nil {
		return fmt.Errorf("carrying over a record of kind %s: %w", kind, err)
	}
	old.ref = ref{kind, name}
	if values[0] != nil && old.format != movedFormat {
		return v.dropDouble(ctx, to, values[0], old)
	}
	if old.format != movedFormat {
		sealed := v.sealAs(movedFormat, 1, from, old.Value)
		if err := v.store.CompareAndPut(ctx, from, old.sealed, sealed, NoExpiry); err != nil {
			return lostRace(err)
		}
		old.sealed = sealed
	}
	if err := v.settle(ctx, old); err != nil {
		return lostRace(err)
	}
	return v.deleteAs(ctx, from, old.sealed)
}

// settle puts a moved record under the other secret, unless somebody has.
func (v *Vault) settle(ctx context.Context, rec *Record) error {
	i := 1 - rec.sealedBy
	key := v.recordKey(i, rec.ref.kind, rec.ref.name)
	sealed := v.seal(i, key, rec.Value)
	err := v.store.PutNew(ctx, key, sealed, NoExpiry)
	if !errors.Is(err, ErrExists) {
		return err
	}
	values, err := v.read(ctx, key)
	if err != nil {
		return err
	}
	if values[0] == nil {
		return errBusy
	}
	there, err := v.open(i, key, values[0])
	if err != nil || there.format == recordFormat {
		return err
	}
	// Somebody makes a new one, and has not looked yet.
	return v.store.CompareAndPut(ctx, key, there.sealed, sealed, NoExpiry)
}

// dropDouble takes out the one of two records that is not in force: two nodes
// made them at once, with their secrets in different order. If it is the one
// under the first secret, the other is carried over the next time.
func (v *Vault) dropDouble(ctx context.Context, to string, sealed []byte, old *Record) error {
	fresh, err := v.open(0, to, sealed)
	if err != nil {
		return fmt.Errorf("carrying over a record of kind %s: %w", old.ref.kind, err)
	}
	if inForce(fresh, old) == old {
		return v.deleteAs(ctx, to, sealed)
	}
	return v.deleteAs(ctx, old.key, old.sealed)
}

// deleteAs deletes a record if it is still as it was read.
func (v *Vault) deleteAs(ctx context.Context, key string, sealed []byte) error {
	return lostRace(v.store.CompareAndPut(ctx, key, sealed, sealed, time.Millisecond))
}

// lostRace makes no error of a record that others have changed meanwhile: it
// is looked at again the next time.
func lostRace(err error) error {
	if errors.Is(err, ErrChanged) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// carryOver brings all that lasts in the sessions' part of the store under the
// first secret: accounts, epochs, and the marker last. Whoever drops the second
// secret too early then finds a store without its marker, and makes no new
// account in the place of a blocked one that it can't see.
func (s *Sessions) carryOver(ctx context.Context) error {
	epochs := map[string]bool{globalEpoch: true}
	err := s.walk(ctx, indexAccounts, kindAccount, func(member string, rec *Record) (string, error) {
		a, err := decode[account](rec)
		if err != nil {
			return "", err
		}
		epochs[providerEpoch(a.Key.Protocol, a.Key.Issuer)] = true
		if rec.sealedBy == 0 {
			return member, nil
		}
		// The index names the record's key, which is another from now on.
		if err := s.store.Add(ctx, indexAccounts, accountMember(a, s.vault.recordKey(0, kindAccount, a.Key.name()))); err != nil {
			return "", err
		}
		return member, s.vault.CarryOver(ctx, kindAccount, a.Key.name())
	})
	if err != nil {
		return err
	}
	for name := range epochs {
		if err := s.vault.CarryOver(ctx, kindEpoch, name); err != nil {
			return err
		}
	}
	if err := s.vault.CarryOver(ctx, kindMarker, markerName); err != nil {
		return err
	}
	if len(s.vault.keys) > 1 {
		s.log.Info("what has no end is under the first secret: once the logins of before have ended, the second can be dropped")
	}
	return nil
}
