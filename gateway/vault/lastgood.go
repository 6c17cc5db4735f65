package vault

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

const kindLastGood Kind = "lastgood"

// lastGoodTTL is how long a provider's last good documents are kept.
const lastGoodTTL = 30 * 24 * time.Hour

// LoadLastGood implements fetch.LastGood.
func (v *Vault) LoadLastGood(ctx context.Context, name string) ([]byte, error) {
	rec, err := v.Get(ctx, kindLastGood, name)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrNameKey) { // session.Node reports the latter
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// No index lists these records, so they are resealed here: a provider may be down
	// during the whole change of the secret. If it fails, the next start tries again.
	_, _ = v.Reseal(ctx, rec, lastGoodTTL)
	return rec.Value, nil
}

// SaveLastGood implements fetch.LastGood.
func (v *Vault) SaveLastGood(ctx context.Context, name string, doc []byte) error {
	return v.Put(ctx, kindLastGood, name, doc, lastGoodTTL)
}
