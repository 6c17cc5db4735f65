package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// Update makes, changes and leaves alone, and starts again if others write in
// between.
func TestVaultUpdate(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, st store.Store) {
		ctx, v, other := t.Context(), openVault(t, st), openVault(t, st)
		update := func(change func(old *vault.Record) ([]byte, error)) error {
			return v.Update(ctx, vault.KindKeys, "n", time.Minute, change)
		}
		errNo := errors.New("no")
		if err := update(func(*vault.Record) ([]byte, error) { return []byte("x"), errNo }); err != errNo {
			t.Errorf("got %v, want the error of the change", err)
		}
		if _, err := v.Get(ctx, vault.KindKeys, "n"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("something was made: %v", err)
		}
		calls := 0
		mustDo(t, update(func(old *vault.Record) ([]byte, error) {
			if calls++; calls == 1 { // another node is faster
				mustDo(t, other.PutNew(ctx, vault.KindKeys, "n", []byte("1"), time.Minute))
			}
			if (old == nil) != (calls == 1) {
				t.Errorf("call %d got %v", calls, old)
			}
			if old == nil {
				return nil, nil
			}
			return append(old.Value, '2'), nil
		}))
		wantValue(t, v, vault.KindKeys, "n", "12")
		calls = 0
		mustDo(t, update(func(old *vault.Record) ([]byte, error) {
			switch calls++; calls {
			case 1:
				mustDo(t, other.Put(ctx, vault.KindKeys, "n", []byte("3"), time.Minute))
			case 2:
				mustDo(t, st.Delete(ctx, v.KeyOf(vault.KindKeys, "n")))
			case 3:
				return []byte("made anew"), nil
			}
			return append(old.Value, 'x'), nil
		}))
		wantValue(t, v, vault.KindKeys, "n", "made anew")
		before, err := st.Get(ctx, v.KeyOf(vault.KindKeys, "n"))
		mustDo(t, err)
		mustDo(t, update(func(old *vault.Record) ([]byte, error) { return old.Value, nil }))
		after, err := st.Get(ctx, v.KeyOf(vault.KindKeys, "n"))
		mustDo(t, err)
		if !bytes.Equal(before[0], after[0]) {
			t.Error("it was written although nothing changed")
		}
		calls = 0
		err = update(func(old *vault.Record) ([]byte, error) {
			calls++
			mustDo(t, other.Put(ctx, vault.KindKeys, "n", fmt.Append(nil, calls), time.Minute))
			return []byte("late"), nil
		})
		if err == nil || calls < 5 || calls > 20 {
			t.Errorf("it gave up after %d tries: %v", calls, err)
		}
		mustDo(t, st.Put(ctx, v.KeyOf(vault.KindKeys, "n"), []byte("\x01damaged"), time.Minute))
		err = update(func(*vault.Record) ([]byte, error) { t.Error("a damaged record was taken for none"); return nil, nil })
		if !errors.Is(err, vault.ErrRecord) {
			t.Errorf("a damaged record: %v", err)
		}
	})
}
