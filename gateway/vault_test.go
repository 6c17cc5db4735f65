package gateway_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

func openVault(t *testing.T, store gateway.Store, secrets ...string) *gateway.Vault {
	t.Helper()
	return openNode(t, store, secrets...).Vault()
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
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
	a, b := secretNamed("a"), secretNamed("b")
	for _, tt := range []struct {
		name    string
		secrets [][]byte
		fault   string // "" if it must do
	}{
		{"one", [][]byte{a}, ""},
		{"two", [][]byte{a, b}, ""},
		{"none", nil, "0 secrets"},
		{"three", [][]byte{a, b, secretNamed("c")}, "3 secrets"},
		{"empty", [][]byte{{}}, "secret 1 has 0 bytes"},
		{"too short", [][]byte{a[:31]}, "secret 1 has 31 bytes"},
		{"second too short", [][]byte{a, b[:31]}, "secret 2 has 31 bytes"},
		{"the same twice", [][]byte{a, secretNamed("a")}, "the same"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := gateway.NewVault(gatewaytest.NewMemStore(), tt.secrets...)
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
	eachStore(t, func(t *testing.T, store gateway.Store) {
		ctx, v := t.Context(), openVault(t, store)
		if _, err := v.Get(ctx, gateway.KindKeys, "n"); !errors.Is(err, gateway.ErrNotFound) {
			t.Errorf("Get of nothing: %v", err)
		}
		mustDo(t, v.PutNew(ctx, gateway.KindKeys, "n", []byte("1"), time.Minute))
		if err := v.PutNew(ctx, gateway.KindKeys, "n", []byte("2"), time.Minute); !errors.Is(err, gateway.ErrExists) {
			t.Errorf("PutNew of what is there: %v", err)
		}
		rec := wantValue(t, v, gateway.KindKeys, "n", "1")
		mustDo(t, v.Replace(ctx, rec, []byte("3"), time.Minute))
		if err := v.Replace(ctx, rec, []byte("4"), time.Minute); !errors.Is(err, gateway.ErrChanged) {
			t.Errorf("Replace of what has changed: %v", err)
		}
		rec = wantValue(t, v, gateway.KindKeys, "n", "3")
		mustDo(t, v.Put(ctx, gateway.KindKeys, "n", nil, time.Minute))
		wantValue(t, v, gateway.KindKeys, "n", "")
		mustDo(t, v.Delete(ctx, gateway.KindKeys, "n"))
		mustDo(t, v.Delete(ctx, gateway.KindKeys, "n"))
		if err := v.Replace(ctx, rec, []byte("5"), time.Minute); !errors.Is(err, gateway.ErrNotFound) {
			t.Errorf("Replace of what is gone: %v", err)
		}
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
	eachStore(t, func(t *testing.T, store gateway.Store) {
		nodes := []*gateway.Vault{openVault(t, store, "a", "b"), openVault(t, store, "b", "a")}
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
					case !errors.Is(err, gateway.ErrNotFound):
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

// What was changed, moved or cut short does not open, and is a fault: never
// "not found", which would be "no session" or "not blocked".
func TestVaultAttackRecordsChangedInTheStore(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), gatewaytest.NewMemStore()
	v := openVault(t, store)
	mustDo(t, v.Put(ctx, gateway.KindAccount, "victim", []byte("the value of the victim"), gateway.NoExpiry))
	mustDo(t, v.Put(ctx, gateway.KindAccount, "other", []byte("the value of the other"), gateway.NoExpiry))
	mustDo(t, v.Put(ctx, gateway.KindEpoch, "victim", []byte("an epoch of that name"), gateway.NoExpiry))
	mustDo(t, openVault(t, store, "z").Put(ctx, gateway.KindAccount, "victim", []byte("under another secret"), gateway.NoExpiry))
	at := v.KeyUnder(0, gateway.KindAccount, "victim")
	values, err := store.Get(ctx, at, v.KeyUnder(0, gateway.KindAccount, "other"), v.KeyUnder(0, gateway.KindEpoch, "victim"),
		openVault(t, store, "z").KeyUnder(0, gateway.KindAccount, "victim"))
	mustDo(t, err)
	good := values[0]
	forged := map[string][]byte{
		"another record of the kind": values[1],
		"the name in another kind":   values[2],
		"under another secret":       values[3],
		"empty":                      {},
		"longer":                     append(bytes.Clone(good), 0),
		"twice":                      append(bytes.Clone(good), good...),
		"plain text":                 []byte("\x01the value of the victim"),
		"JSON":                       []byte(`{"b":false}`),
		"format of tomorrow":         append([]byte{9}, good[1:]...),
		"format 0":                   append([]byte{0}, good[1:]...),
		"marked as moved":            append([]byte{2}, good[1:]...),
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		forged[fmt.Sprintf("bit flipped in byte %d", i)] = b
		forged[fmt.Sprintf("cut to %d bytes", i)] = good[:i]
	}
	for name, value := range forged {
		mustDo(t, store.Put(ctx, at, value, gateway.NoExpiry))
		rec, err := v.Get(ctx, gateway.KindAccount, "victim")
		if rec != nil || !errors.Is(err, gateway.ErrRecord) || errors.Is(err, gateway.ErrNotFound) {
			t.Errorf("%s: got %v, %v", name, rec, err)
		}
		if _, err := v.TakeRecord(ctx, gateway.KindAccount, "victim"); !errors.Is(err, gateway.ErrRecord) {
			t.Errorf("%s: taking: %v", name, err)
		}
	}
	mustDo(t, store.Put(ctx, at, good, gateway.NoExpiry))
	wantValue(t, v, gateway.KindAccount, "victim", "the value of the victim")
}

func TestVaultErrorsShowNoValue(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), gatewaytest.NewMemStore()
	v := openVault(t, store)
	for format := range byte(12) {
		mustDo(t, store.Put(ctx, v.KeyUnder(0, gateway.KindAccount, "canary-name"), append([]byte{format}, "canary-value"...), gateway.NoExpiry))
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
	if _, err := v.Get(t.Context(), gateway.KindEpoch, "x"); err == nil || errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if err := v.PutNew(t.Context(), gateway.KindEpoch, "x", nil, 0); err == nil {
		t.Error("PutNew saw no fault")
	}
}

type shortStore struct{ gateway.Store }

func (shortStore) Get(context.Context, ...string) ([][]byte, error) { return nil, nil }

// A goldenRecord holds the format of a release for all later ones: each file
// in testdata/vault is what a release wrote, and must open for ever. New
// formats get new files; these never change.
type goldenRecord struct {
	Secret, Kind, Name, Value string
	Key, Sealed               string // where and as it lies in the store, the second in hex
	// Cookie is the value that opens login Name at Host.
	Cookie, Host string
}

func TestVaultOpensWhatReleasesWrote(t *testing.T) {
	t.Parallel()
	for _, file := range gatewaytest.CapturedNames(t, "testdata/vault/*.json", 4) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				raw, _ := gatewaytest.Captured(t, file)
				var g goldenRecord
				mustDo(t, json.Unmarshal(raw, &g))
				sealed, err := hex.DecodeString(g.Sealed)
				mustDo(t, err)
				name, err := hex.DecodeString(g.Name)
				mustDo(t, err)
				store := gatewaytest.NewMemStore()
				v, err := gateway.NewVault(store, []byte(g.Secret))
				mustDo(t, err)
				if key := v.KeyUnder(0, gateway.Kind(g.Kind), string(name)); key != g.Key {
					t.Errorf("it would be looked for at %q, and lies at %q", key, g.Key)
				}
				mustDo(t, store.Put(t.Context(), g.Key, sealed, gateway.NoExpiry))
				wantValue(t, v, gateway.Kind(g.Kind), string(name), g.Value)
				if g.Cookie != "" && v.SessionBits(g.Cookie, g.Host) != string(name) {
					t.Error("the cookie of then does not open it")
				}
				second, err := gateway.NewVault(store, secretNamed("n"), []byte(g.Secret))
				mustDo(t, err)
				wantValue(t, second, gateway.Kind(g.Kind), string(name), g.Value)
			})
		})
	}
}
