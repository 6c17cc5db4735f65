package session

import (
	"context"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	tidyEvery = time.Hour
	// While the secret is being changed, records are resealed soon after the start.
	// Records in no index, such as flows, may be sealed with the other secret until
	// unlistedTTL has passed.
	tidySoon    = time.Minute
	unlistedTTL = 20 * time.Minute
	// tidyPasses bounds how often one tidy looks for records to reseal.
	tidyPasses = 3
)

func (s *Node) tidyWait() time.Duration {
	switch up := time.Since(s.started); {
	case !s.vault.Changing() || s.resealed.Load():
		return tidyEvery
	case up < tidySoon:
		return tidySoon
	default:
		return max(tidySoon, unlistedTTL-up)
	}
}

// tidy cleans up the indexes. While the secret is being changed, it also reseals all
// records under the first secret, and logs when the second may be dropped.
func (s *Node) tidy(ctx context.Context) error {
	for range tidyPasses {
		resealed, err := s.tidyOnce(ctx)
		if err != nil {
			return err
		}
		if resealed > 0 {
			continue // other nodes may have written meanwhile: try again
		}
		if s.vault.Changing() && time.Since(s.started) >= unlistedTTL && s.resealed.CompareAndSwap(false, true) {
			s.log.Info("all records are sealed with the first secret: once every node that has it first has logged this, drop the second")
		}
		break
	}
	return nil
}

// tidyOnce returns how many records the second secret had sealed.
func (s *Node) tidyOnce(ctx context.Context) (resealed int, err error) {
	reseal := func(rec *vault.Record, ttl time.Duration) error {
		one, err := s.vault.Reseal(ctx, rec, ttl)
		resealed += one
		return err
	}
	err = s.walk(ctx, indexLogins, kindLogin, func(_ string, rec *vault.Record) (string, error) {
		l, err := decode[Login](rec)
		if err != nil {
			return "", err
		}
		if ttl := time.Until(l.Expires); ttl > 0 {
			err = reseal(rec, ttl)
		}
		return loginMember(l, rec.Key), err
	})
	if err != nil {
		return resealed, err
	}
	err = s.walk(ctx, indexAccounts, kindAccount, func(_ string, rec *vault.Record) (string, error) {
		a, err := decode[account](rec)
		if err != nil {
			return "", err
		}
		return accountMember(a, rec.Key), reseal(rec, store.NoExpiry)
	})
	if err != nil || !s.vault.Changing() {
		return resealed, err
	}
	err = s.walk(ctx, indexEpochs, kindEpoch, func(member string, rec *vault.Record) (string, error) {
		return member, reseal(rec, store.NoExpiry)
	})
	if err != nil {
		return resealed, err
	}
	shared, err := s.vault.ResealShared(ctx)
	return resealed + shared, err
}
