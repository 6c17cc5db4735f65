package vault

import (
	"context"
	"time"
)

// kindCounter begins the keys of counters, the only records that are not sealed.
const kindCounter Kind = "limit"

// Count adds delta to a counter and returns the result of store.Store.Count. A reader
// of the store can't tell what is counted. A writer can change a counter, because
// counters are not sealed.
func (v *Vault) Count(ctx context.Context, name string, delta int, ttl time.Duration) (n int, left time.Duration, err error) {
	key, err := v.Key(ctx, kindCounter, name)
	if err != nil {
		return 0, 0, err
	}
	return v.store.Count(ctx, key, delta, ttl)
}
