package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

func openVault(t *testing.T, store store.Store, secrets ...string) *gateway.Vault {
	t.Helper()
	return openNode(t, store, secrets...).Vault()
}

func wantValue(t *testing.T, v *gateway.Vault, kind gateway.Kind, name, want string) *gateway.Record {
	t.Helper()
	rec, err := v.Get(context.Background(), kind, name)
	if err != nil || string(rec.Value) != want {
		t.Fatalf("got %v, %v; want the value %q", rec, err, want)
	}
	return rec
}

func TestVaultSecrets(t *testing.T) {
	t.Parallel()
	a, b := gatewaytest.Secret("a"), gatewaytest.Secret("b")
	for _, tt := range []struct {
		name    string
		secrets [][]byte
		fault   string // "" if it must do
	}{
		{"one", [][]byte{a}, ""},
		{"two", [][]byte{a, b}, ""},
		{"none", nil, "0 secrets"},
		{"three", [][]byte{a, b, gatewaytest.Secret("c")}, "3 secrets"},
		{"empty", [][]byte{{}}, "secret 1 has 0 bytes"},
		{"too short", [][]byte{a[:31]}, "secret 1 has 31 bytes"},
		{"second too short", [][]byte{a, b[:31]}, "secret 2 has 31 bytes"},
		{"the same twice", [][]byte{a, gatewaytest.Secret("a")}, "the same"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := gateway.NewVault(gatewaytest.NewMemStore(), tt.secrets, nil)
			if (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("got %v, want %q", err, tt.fault)
			}
			if err != nil && (strings.Contains(err.Error(), "aaa") || strings.Contains(err.Error(), "bbb")) {
				t.Error("the error shows the secret")
			}
		})
	}
}

func TestVaultVerbs(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, st store.Store) {
		ctx, v := t.Context(), openVault(t, st)
		if _, err := v.Get(ctx, gateway.KindKeys, "n"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get of nothing: %v", err)
		}
		mustDo(t, v.PutNew(ctx, gateway.KindKeys, "n", []byte("1"), time.Minute))
		if err := v.PutNew(ctx, gateway.KindKeys, "n", []byte("2"), time.Minute); !errors.Is(err, store.ErrExists) {
			t.Errorf("PutNew of what is there: %v", err)
		}
		wantValue(t, v, gateway.KindKeys, "n", "1")
		mustDo(t, v.Put(ctx, gateway.KindKeys, "n", nil, time.Minute))
		wantValue(t, v, gateway.KindKeys, "n", "")
		mustDo(t, v.SaveLastGood(ctx, "corp", []byte("doc")))
		if doc, err := v.LoadLastGood(ctx, "corp"); err != nil || string(doc) != "doc" {
			t.Errorf("last good: %q, %v", doc, err)
		}
		if doc, err := v.LoadLastGood(ctx, "other"); err != nil || doc != nil {
			t.Errorf("no last good: %q, %v", doc, err)
		}
	})
}

func TestVaultTakeOnce(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, st store.Store) {
		nodes := []*gateway.Vault{openVault(t, st, "a", "b"), openVault(t, st, "b", "a")}
		for i := range 20 {
			name := fmt.Sprint("flow ", i)
			mustDo(t, nodes[i%2].PutNew(t.Context(), gateway.KindFlow, name, []byte("v"), time.Minute))
			var mu sync.Mutex
			var wg sync.WaitGroup
			won := 0
			for j := range 6 {
				wg.Go(func() {
					value, err := nodes[j%2].TakeRecord(context.Background(), gateway.KindFlow, name)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil && string(value) == "v":
						won++
					case !errors.Is(err, store.ErrNotFound):
						t.Errorf("got %q, %v", value, err)
					}
				})
			}
			wg.Wait()
			if won != 1 {
				t.Fatalf("%d callers took one flow", won)
			}
		}
	})
}

// Update makes, changes and leaves alone, and starts again whatever others do
// in between.
func TestVaultUpdate(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, st store.Store) {
		ctx, v, other := t.Context(), openVault(t, st), openVault(t, st)
		update := func(change func(old *gateway.Record) ([]byte, error)) error {
			return v.Update(ctx, gateway.KindKeys, "n", time.Minute, change)
		}
		errNo := errors.New("no")
		if err := update(func(*gateway.Record) ([]byte, error) { return []byte("x"), errNo }); err != errNo {
			t.Errorf("got %v, want the error of the change", err)
		}
		if _, err := v.Get(ctx, gateway.KindKeys, "n"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("something was made: %v", err)
		}
		calls := 0
		mustDo(t, update(func(old *gateway.Record) ([]byte, error) {
			if calls++; calls == 1 { // another node is faster
				mustDo(t, other.PutNew(ctx, gateway.KindKeys, "n", []byte("1"), time.Minute))
			}
			if (old == nil) != (calls == 1) {
				t.Errorf("call %d got %v", calls, old)
			}
			if old == nil {
				return nil, nil
			}
			return append(old.Value, '2'), nil
		}))
		wantValue(t, v, gateway.KindKeys, "n", "12")
		calls = 0
		mustDo(t, update(func(old *gateway.Record) ([]byte, error) {
			switch calls++; calls {
			case 1:
				mustDo(t, other.Put(ctx, gateway.KindKeys, "n", []byte("3"), time.Minute))
			case 2:
				mustDo(t, st.Delete(ctx, v.KeyOf(gateway.KindKeys, "n")))
			case 3:
				return []byte("made anew"), nil
			}
			return append(old.Value, 'x'), nil
		}))
		wantValue(t, v, gateway.KindKeys, "n", "made anew")
		before, err := st.Get(ctx, v.KeyOf(gateway.KindKeys, "n"))
		mustDo(t, err)
		mustDo(t, update(func(old *gateway.Record) ([]byte, error) { return old.Value, nil }))
		after, err := st.Get(ctx, v.KeyOf(gateway.KindKeys, "n"))
		mustDo(t, err)
		if !bytes.Equal(before[0], after[0]) {
			t.Error("it was written although nothing changed")
		}
		calls = 0
		err = update(func(old *gateway.Record) ([]byte, error) {
			calls++
			mustDo(t, other.Put(ctx, gateway.KindKeys, "n", fmt.Append(nil, calls), time.Minute))
			return []byte("late"), nil
		})
		if err == nil || calls < 5 || calls > 20 {
			t.Errorf("it gave up after %d tries: %v", calls, err)
		}
		mustDo(t, st.Put(ctx, v.KeyOf(gateway.KindKeys, "n"), []byte("\x01damaged"), time.Minute))
		err = update(func(*gateway.Record) ([]byte, error) { t.Error("a damaged record was taken for none"); return nil, nil })
		if !errors.Is(err, gateway.ErrRecord) {
			t.Errorf("a damaged record: %v", err)
		}
	})
}

// Many change one record at once, and nothing is lost.
func TestVaultUpdateRace(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		nodes := []*gateway.Vault{openVault(t, store, "a", "b"), openVault(t, store, "b", "a")}
		var wg sync.WaitGroup
		var done atomic.Int64
		for i := range 4 {
			wg.Go(func() {
				for range 10 {
					err := nodes[i%2].Update(context.Background(), gateway.KindKeys, "n", time.Minute, func(old *gateway.Record) ([]byte, error) {
						if old == nil {
							return []byte("x"), nil
						}
						return append(old.Value, 'x'), nil
					})
					if err == nil { // else it was outrun too often
						done.Add(1)
					}
				}
			})
		}
		wg.Wait()
		wantValue(t, nodes[0], gateway.KindKeys, "n", strings.Repeat("x", int(done.Load())))
	})
}

// Reading does not initialize a store; writing does.
func TestVaultFoundsBeforeItWrites(t *testing.T) {
	t.Parallel()
	st, asked := gatewaytest.NewMemStore(), 0
	var v *gateway.Vault
	refusal := errors.New("not here")
	v, err := gateway.NewVault(st, [][]byte{gatewaytest.Secret("a")}, func(ctx context.Context) error {
		if asked++; refusal != nil {
			return refusal
		}
		_, err := v.Initialize(ctx)
		return err
	})
	mustDo(t, err)
	ctx := t.Context()
	for what, err := range map[string]error{
		"Get": second(v.Get(ctx, gateway.KindFlow, "n")), "take": second(v.TakeRecord(ctx, gateway.KindFlow, "n")),
		"MAC": second(v.MAC(ctx, "p")), "Marker": second(v.Marker(ctx)),
	} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if asked != 0 {
		t.Error("reading founds a store")
	}
	add := func(*gateway.Record) ([]byte, error) { return []byte("x"), nil }
	for what, err := range map[string]error{
		"Put": v.Put(ctx, gateway.KindFlow, "n", nil, time.Minute), "PutNew": v.PutNew(ctx, gateway.KindFlow, "n", nil, time.Minute),
		"Update": v.Update(ctx, gateway.KindFlow, "n", time.Minute, add),
	} {
		if !errors.Is(err, refusal) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(st.Keys()) != 0 {
		t.Errorf("%q were made all the same", st.Keys())
	}
	refusal = nil
	mustDo(t, v.Update(ctx, gateway.KindFlow, "n", time.Minute, add))
	wantValue(t, v, gateway.KindFlow, "n", "x")
	if asked != 4 || len(st.Keys()) != 2 {
		t.Errorf("asked %d times, made %q", asked, st.Keys())
	}
}

// The name key is read once, and again when the store may be another one.
func TestVaultForget(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	v := openVault(t, store)
	mustDo(t, v.PutNew(t.Context(), gateway.KindFlow, "n", []byte("x"), time.Minute))
	reads := 0
	store.SetHook(func(op gatewaytest.MemOp) error {
		if op.Method == "Get" && !op.Done {
			reads++
		}
		return nil
	})
	for range 3 {
		wantValue(t, v, gateway.KindFlow, "n", "x")
	}
	if reads != 3 {
		t.Errorf("%d reads for 3 records", reads)
	}
	v.Forget()
	wantValue(t, v, gateway.KindFlow, "n", "x")
	if reads != 5 {
		t.Errorf("%d reads, want 5", reads)
	}
}

// What was changed, moved or cut short does not open, and is a fault: never
// "not found", which would be "no session" or "not blocked".
func TestVaultAttackRecordsChangedInTheStore(t *testing.T) {
	t.Parallel()
	ctx, st := t.Context(), gatewaytest.NewMemStore()
	v := openVault(t, st)
	mustDo(t, v.Put(ctx, gateway.KindAccount, "victim", []byte("the value of the victim"), store.NoExpiry))
	mustDo(t, v.Put(ctx, gateway.KindAccount, "other", []byte("the value of the other"), store.NoExpiry))
	mustDo(t, v.Put(ctx, gateway.KindEpoch, "victim", []byte("an epoch of that name"), store.NoExpiry))
	at := v.KeyOf(gateway.KindAccount, "victim")
	_, err := openVault(t, st, "z", "a").ResealShared(ctx)
	mustDo(t, err)
	mustDo(t, openVault(t, st, "z").Put(ctx, gateway.KindAccount, "foreign", []byte("under another secret"), store.NoExpiry))
	values, err := st.Get(ctx, at, v.KeyOf(gateway.KindAccount, "other"), v.KeyOf(gateway.KindEpoch, "victim"),
		v.KeyOf(gateway.KindAccount, "foreign"), gateway.NameKeyAt)
	mustDo(t, err)
	good := values[0]
	forged := map[string][]byte{
		"another record of the kind": values[1],
		"the name in another kind":   values[2],
		"under another secret":       values[3],
		"the name key":               values[4],
		"empty":                      {},
		"longer":                     append(bytes.Clone(good), 0),
		"twice":                      append(bytes.Clone(good), good...),
		"plain text":                 []byte("\x01the value of the victim"),
		"JSON":                       []byte(`{"b":false}`),
		"format of tomorrow":         append([]byte{9}, good[1:]...),
		"format 0":                   append([]byte{0}, good[1:]...),
		"format 2":                   append([]byte{2}, good[1:]...),
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		forged[fmt.Sprintf("bit flipped in byte %d", i)] = b
		forged[fmt.Sprintf("cut to %d bytes", i)] = good[:i]
	}
	for name, value := range forged {
		mustDo(t, st.Put(ctx, at, value, store.NoExpiry))
		rec, err := v.Get(ctx, gateway.KindAccount, "victim")
		if rec != nil || !errors.Is(err, gateway.ErrRecord) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: got %v, %v", name, rec, err)
		}
		if _, err := v.TakeRecord(ctx, gateway.KindAccount, "victim"); !errors.Is(err, gateway.ErrRecord) {
			t.Errorf("%s: taking: %v", name, err)
		}
	}
	mustDo(t, st.Put(ctx, at, good, store.NoExpiry))
	wantValue(t, v, gateway.KindAccount, "victim", "the value of the victim")
}

func TestVaultErrorsShowNoValue(t *testing.T) {
	t.Parallel()
	ctx, st := t.Context(), gatewaytest.NewMemStore()
	v := openVault(t, st)
	for format := range byte(12) {
		mustDo(t, st.Put(ctx, v.KeyOf(gateway.KindAccount, "canary-name"), append([]byte{format}, "canary-value"...), store.NoExpiry))
		_, err := v.Get(ctx, gateway.KindAccount, "canary-name")
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("format %d: %v", format, err)
		}
	}
	_, err := v.Get(ctx, gateway.KindAccount, "canary-name")
	if !strings.Contains(err.Error(), "format 11") || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("an unknown format: %v", err)
	}
}

// A store that breaks its promises must not crash the gateway.
func TestVaultShortAnswers(t *testing.T) {
	t.Parallel()
	v := openVault(t, shortStore{gatewaytest.NewMemStore()}, "a", "b")
	if _, err := v.Get(t.Context(), gateway.KindEpoch, "x"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if err := v.PutNew(t.Context(), gateway.KindEpoch, "x", nil, 0); err == nil {
		t.Error("PutNew saw no fault")
	}
}

type shortStore struct{ store.Store }

func (shortStore) Get(context.Context, ...string) ([][]byte, error) { return nil, nil }

// A writer of the store may hand us any bytes: nothing opens but what was sealed
// for that very key. The golden store is the same in every process of the fuzzer.
func FuzzVaultRecord(f *testing.F) {
	ctx, g := context.Background(), readGolden(f)
	golden := g.store(f)
	at := g.open(f, golden, []byte(g.Secret)).Vault().KeyOf(gateway.KindAccount, keyOf("alice").AccountName())
	values, err := golden.Get(ctx, at, gateway.NameKeyAt)
	if err != nil || values[0] == nil || values[1] == nil {
		f.Fatalf("the golden store lacks a record: %v", err)
	}
	for _, seed := range [][]byte{values[0], values[1], {}, {1}, values[0][:20], append([]byte{2}, values[0][1:]...)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		for key, good := range map[string][]byte{at: values[0], gateway.NameKeyAt: values[1]} {
			st := golden.Clone()
			mustDo(t, st.Put(ctx, key, sealed, store.NoExpiry))
			v := g.open(t, st, gatewaytest.Secret("n"), []byte(g.Secret)).Vault()
			_, err := v.Get(ctx, gateway.KindAccount, keyOf("alice").AccountName()) // reads both
			if bytes.Equal(sealed, good) != (err == nil) || err != nil && !errors.Is(err, gateway.ErrRecord) {
				t.Errorf("at %s: %v", key, err)
			}
		}
	})
}
