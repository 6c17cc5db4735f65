package vault

import (
	"context"
	"time"
)

// kindCounter begins the keys of counters. It is the one kind that is not sealed.
const kindCounter Kind = "limit"

// Count adds delta to a counter and returns what store.Store.Count does. A reader of
// the store can't tell what is counted; a writer can change a counter, for
// counters are not sealed.
func (v *Vault) Count(ctx context.Context, name string, delta int, ttl time.Duration) (n int, left time.Duration, err error) {
	key, err := v.Key(ctx, kindCounter, name)
	if err != nil {
		return 0, 0, err
	}
	return v.store.Count(ctx, key, delta, ttl)
}
