package vault_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

func wantValue(t *testing.T, v *vault.Vault, kind vault.Kind, name, want string) *vault.Record {
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
			_, err := vault.New(gatewaytest.NewMemStore(), tt.secrets, nil)
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
		mustDo(t, v.PutNew(ctx, vault.KindKeys, "n", []byte("1"), time.Minute))
		wantValue(t, v, vault.KindKeys, "n", "1")
		mustDo(t, v.Put(ctx, vault.KindKeys, "n", nil, time.Minute))
		wantValue(t, v, vault.KindKeys, "n", "")
		mustDo(t, v.SaveLastGood(ctx, "corp", []byte("doc")))
		if doc, err := v.LoadLastGood(ctx, "corp"); err != nil || string(doc) != "doc" {
			t.Errorf("last good: %q, %v", doc, err)
		}
		if doc, err := v.LoadLastGood(ctx, "other"); err != nil || doc != nil {
			t.Errorf("no last good: %q, %v", doc, err)
		}
	})
}

// Of many nodes, with the secrets in different order, one makes a record (so an assertion
// is used once), and one takes it.
func TestVaultOneWins(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, st store.Store) {
		nodes := []*vault.Vault{openVault(t, st, "a", "b"), openVault(t, st, "b", "a")}
		for i := range 20 {
			name := fmt.Sprint("flow ", i)
			wantOne(t, store.ErrExists, func(caller int) error {
				return nodes[caller%2].PutNew(t.Context(), kindFlow, name, []byte("v"), time.Minute)
			})
			wantOne(t, store.ErrNotFound, func(caller int) error {
				value, err := nodes[caller%2].Take(t.Context(), kindFlow, name)
				if err == nil && string(value) != "v" {
					t.Errorf("got %q", value)
				}
				return err
			})
		}
	})
}

// wantOne calls do at once by many callers, of which one succeeds.
func wantOne(t *testing.T, others error, do func(caller int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for caller := range errs {
		wg.Go(func() { errs[caller] = do(caller) })
	}
	wg.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, others) })
	if !slices.Equal(errs, []error{nil}) {
		t.Fatalf("of 6 callers, one without an error has to win: %v", errs)
	}
}

// Reading does not initialize a store; writing does.
func TestVaultInitializesBeforeItWrites(t *testing.T) {
	t.Parallel()
	st, asked := gatewaytest.NewMemStore(), 0
	var v *vault.Vault
	refusal := errors.New("not here")
	v, err := vault.New(st, [][]byte{gatewaytest.Secret("a")}, func(ctx context.Context) error {
		if asked++; refusal != nil {
			return refusal
		}
		_, err := v.Initialize(ctx)
		return err
	})
	mustDo(t, err)
	ctx := t.Context()
	for what, err := range map[string]error{
		"Get": second(v.Get(ctx, kindFlow, "n")), "take": second(v.Take(ctx, kindFlow, "n")),
		"MAC": second(v.MAC(ctx, "p")), "Marker": second(v.Marker(ctx)),
	} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if asked != 0 {
		t.Error("reading initializes a store")
	}
	add := func(*vault.Record) ([]byte, error) { return []byte("x"), nil }
	for what, err := range map[string]error{
		"Put": v.Put(ctx, kindFlow, "n", nil, time.Minute), "PutNew": v.PutNew(ctx, kindFlow, "n", nil, time.Minute),
		"Update": v.Update(ctx, kindFlow, "n", time.Minute, add),
	} {
		if !errors.Is(err, refusal) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(st.Keys()) != 0 {
		t.Errorf("%q were made all the same", st.Keys())
	}
	refusal = nil
	mustDo(t, v.Update(ctx, kindFlow, "n", time.Minute, add))
	wantValue(t, v, kindFlow, "n", "x")
	if asked != 4 || len(st.Keys()) != 2 {
		t.Errorf("asked %d times, made %q", asked, st.Keys())
	}
}

// The name key is read once, and again when the store may be another one.
func TestVaultForget(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	v := openVault(t, store)
	mustDo(t, v.PutNew(t.Context(), kindFlow, "n", []byte("x"), time.Minute))
	reads := 0
	store.SetHook(func(op gatewaytest.MemOp) error {
		if op.Method == "Get" && !op.Done {
			reads++
		}
		return nil
	})
	for range 3 {
		wantValue(t, v, kindFlow, "n", "x")
	}
	if reads != 3 {
		t.Errorf("%d reads for 3 records", reads)
	}
	v.Forget()
	wantValue(t, v, kindFlow, "n", "x")
	if reads != 5 {
		t.Errorf("%d reads, want 5", reads)
	}
}

// A record that was changed, moved or cut short does not open, and is a fault: never
// "not found", which would be "no session" or "not blocked".
func TestVaultAttackRecordsChangedInTheStore(t *testing.T) {
	t.Parallel()
	ctx, st := t.Context(), gatewaytest.NewMemStore()
	v := openVault(t, st)
	mustDo(t, v.Put(ctx, kindAccount, "victim", []byte("the value of the victim"), store.NoExpiry))
	mustDo(t, v.Put(ctx, kindAccount, "other", []byte("the value of the other"), store.NoExpiry))
	mustDo(t, v.Put(ctx, kindEpoch, "victim", []byte("an epoch of that name"), store.NoExpiry))
	at := v.KeyOf(kindAccount, "victim")
	_, err := openVault(t, st, "z", "a").ResealShared(ctx)
	mustDo(t, err)
	mustDo(t, openVault(t, st, "z").Put(ctx, kindAccount, "foreign", []byte("under another secret"), store.NoExpiry))
	values, err := st.Get(ctx, at, v.KeyOf(kindAccount, "other"), v.KeyOf(kindEpoch, "victim"),
		v.KeyOf(kindAccount, "foreign"), vault.NameKeyAt)
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
		rec, err := v.Get(ctx, kindAccount, "victim")
		if rec != nil || !errors.Is(err, vault.ErrRecord) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: got %v, %v", name, rec, err)
		}
		if _, err := v.Take(ctx, kindAccount, "victim"); !errors.Is(err, vault.ErrRecord) {
			t.Errorf("%s: taking: %v", name, err)
		}
	}
	mustDo(t, st.Put(ctx, at, good, store.NoExpiry))
	wantValue(t, v, kindAccount, "victim", "the value of the victim")
}

func TestVaultErrorsShowNoValue(t *testing.T) {
	t.Parallel()
	ctx, st := t.Context(), gatewaytest.NewMemStore()
	v := openVault(t, st)
	for format := range byte(12) {
		mustDo(t, st.Put(ctx, v.KeyOf(kindAccount, "canary-name"), append([]byte{format}, "canary-value"...), store.NoExpiry))
		_, err := v.Get(ctx, kindAccount, "canary-name")
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("format %d: %v", format, err)
		}
	}
	_, err := v.Get(ctx, kindAccount, "canary-name")
	if !strings.Contains(err.Error(), "format 11") || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("an unknown format: %v", err)
	}
}

// A store that breaks its promises must not crash the gateway.
func TestVaultShortAnswers(t *testing.T) {
	t.Parallel()
	v := openVault(t, shortStore{gatewaytest.NewMemStore()}, "a", "b")
	if _, err := v.Get(t.Context(), kindEpoch, "x"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if err := v.PutNew(t.Context(), kindEpoch, "x", nil, 0); err == nil {
		t.Error("PutNew saw no fault")
	}
}

type shortStore struct{ store.Store }

func (shortStore) Get(context.Context, ...string) ([][]byte, error) { return nil, nil }

// A writer of the store may hand us any bytes: nothing opens but what was sealed
// for that very key. The golden store is the same in every process of the fuzzer.
func FuzzVaultRecord(f *testing.F) {
	const alice = `oidc "https://id.example" "sub-alice"`
	var g struct {
		Secret string
		Values map[string]string // hex
	}
	raw, _ := gatewaytest.Captured(f, "../session/testdata/vault-store/format1.json")
	mustDo(f, json.Unmarshal(raw, &g))
	ctx, golden := context.Background(), gatewaytest.NewMemStore()
	for key, value := range g.Values {
		sealed, err := hex.DecodeString(value)
		mustDo(f, err)
		mustDo(f, golden.Put(ctx, key, sealed, store.NoExpiry))
	}
	whole, err := vault.New(golden, [][]byte{[]byte(g.Secret)}, nil)
	mustDo(f, err)
	at := whole.KeyOf(kindAccount, alice)
	values, err := golden.Get(ctx, at, vault.NameKeyAt)
	if err != nil || values[0] == nil || values[1] == nil {
		f.Fatalf("the golden store lacks a record: %v", err)
	}
	for _, seed := range [][]byte{values[0], values[1], {}, {1}, values[0][:20], append([]byte{2}, values[0][1:]...)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		for key, good := range map[string][]byte{at: values[0], vault.NameKeyAt: values[1]} {
			st := golden.Clone()
			mustDo(t, st.Put(ctx, key, sealed, store.NoExpiry))
			v, err := vault.New(st, [][]byte{gatewaytest.Secret("n"), []byte(g.Secret)}, nil)
			mustDo(t, err)
			_, err = v.Get(ctx, kindAccount, alice) // reads both
			if bytes.Equal(sealed, good) != (err == nil) || err != nil && !errors.Is(err, vault.ErrRecord) {
				t.Errorf("at %s: %v", key, err)
			}
		}
	})
}
