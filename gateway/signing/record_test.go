package signing_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

func goldenRecord(tb testing.TB) []byte {
	tb.Helper()
	value, _ := gatewaytest.Captured(tb, "testdata/record-v1.json")
	return value
}

func putRecord(tb testing.TB, st store.Store, value []byte) {
	tb.Helper()
	put(tb, st, "assertion ES256", value)
}

// put seals a record into a store.
func put(tb testing.TB, st store.Store, name string, value []byte) {
	tb.Helper()
	if err := newVault(tb, st).Put(tb.Context(), vault.KindKeys, name, value, store.NoExpiry); err != nil {
		tb.Fatal(err)
	}
}

// TestGolden holds the record's format: a release that can't read what an
// older one wrote must not be made. The keys are test keys.
func TestGolden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in 2000, a month after the record
		store := newMemStore()
		putRecord(t, store, bytes.Replace(goldenRecord(t), []byte("1999-12-01"), []byte("1999-12-31"), 1))
		keys := newKeys(t, store)
		load(t, keys)
		want, _ := gatewaytest.Captured(t, "verify/testdata/jwks.json")
		if got := jwks(t, keys); !bytes.Equal(got, bytes.TrimSpace(want)) {
			t.Errorf("JWK Set is %s, want %s", got, want)
		}
		if !verifies(t, want, sign(t, keys)) {
			t.Error("token does not verify by the golden keys")
		}
	})
}

func TestBadRecords(t *testing.T) {
	t.Parallel()
	var good map[string]json.RawMessage
	synctest.Test(t, func(t *testing.T) {
		if err := json.Unmarshal(goldenRecord(t), &good); err != nil {
			t.Fatal(err)
		}
	})
	current := string(good["current"])
	for name, change := range map[string]struct{ member, value string }{
		"newer version":      {"v", `2`},
		"no version":         {"v", `0`},
		"version as text":    {"v", `"1"`},
		"no current":         {"current", `null`},
		"no next":            {"next", `null`},
		"broken key":         {"next", `{"kty":"EC"}`},
		"public key":         {"current", current[:strings.Index(current, `,"d":`)] + `}`},
		"other algorithm":    {"current", strings.Replace(current, `"ES256"`, `"RS256"`, 1)},
		"other use":          {"next", strings.Replace(string(good["next"]), `"sig"`, `"signing"`, 1)},
		"symmetric key":      {"current", `{"kty":"oct","k":"AAAA","alg":"ES256","kid":"x"}`},
		"other private half": {"current", strings.Replace(current, "5Elq5P2tHY2O", "6Elq5P2tHY2O", 1)},
		"private half 0":     {"current", current[:strings.Index(current, `,"d":`)] + `,"d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`},
		"other kid":          {"current", strings.Replace(current, `"kid":"`, `"kid":"x`, 1)},
		"bad date":           {"rotated", `"yesterday"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newMemStore()
				keys := newKeys(t, store)
				load(t, keys)
				before := jwks(t, keys)
				record := maps.Clone(good)
				record[change.member] = json.RawMessage(change.value)
				value, err := json.Marshal(record)
				if err != nil {
					t.Fatal(err)
				}
				putRecord(t, store, value)
				_, written := store.calls()
				err = keys.Load(t.Context())
				wantCode(t, err, refusal.StoreUnavailable)
				if strings.Contains(err.Error(), "fqGjBJSM1v4") || strings.Contains(err.Error(), "5Elq5P2tHY2O") {
					t.Errorf("error holds key material: %v", err)
				}
				if _, after := store.calls(); after != written {
					t.Error("bad record was overwritten")
				}
				if !bytes.Equal(jwks(t, keys), before) {
					t.Error("keys in memory were given up for a bad record")
				}
				wantCode(t, newKeys(t, store).Load(t.Context()), refusal.StoreUnavailable)
			})
		})
	}
}

func TestSealed(t *testing.T) {
	t.Parallel()
	store := newMemStore()
	load(t, newKeys(t, store))
	if all := store.Dump(); bytes.Contains(all, []byte("kty")) || bytes.Contains(all, []byte("ES256")) {
		t.Error("the record is readable in the store")
	}
	for _, key := range store.Keys() {
		values, err := store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		values[0][len(values[0])-1] ^= 1
		if err := store.Put(t.Context(), key, values[0], 0); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, newKeys(t, store).Load(t.Context()), refusal.StoreUnavailable)
}

func FuzzRecord(f *testing.F) {
	f.Add(goldenRecord(f))
	f.Add(bytes.Replace(goldenRecord(f), []byte(`"use":"sig"`), []byte(`"use":"signing"`), 1))
	f.Add([]byte(`{"v":1,"current":{},"next":{}}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		synctest.Test(t, func(t *testing.T) { // the golden record is of that time
			store := newMemStore()
			putRecord(t, store, value)
			keys := newKeys(t, store)
			if keys.Load(t.Context()) != nil {
				return
			}
			if !verifies(t, jwks(t, keys), sign(t, keys)) {
				t.Error("record was accepted, its signature is not")
			}
		})
	})
}
