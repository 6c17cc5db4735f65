package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

func newSPKeys(tb testing.TB, store store.Store) *signing.SPKeys {
	tb.Helper()
	return signing.NewSPKeys(newVault(tb, store), allow, zap.NewNop())
}

func keyPair(tb testing.TB, keys *signing.SPKeys) (crypto.Signer, []byte) {
	tb.Helper()
	key, certificate, err := keys.KeyPair(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return key, certificate
}

func goldenSPRecord(tb testing.TB) []byte {
	tb.Helper()
	value, _ := gatewaytest.Captured(tb, "testdata/sp-v1.json")
	return value
}

func putSPRecord(tb testing.TB, st store.Store, value []byte) {
	tb.Helper()
	put(tb, st, "saml sp", value)
}

func TestSPKeysMade(t *testing.T) {
	t.Parallel()
	store := newMemStore()
	keys := newSPKeys(t, store)
	if asked, _ := store.calls(); asked != 0 {
		t.Errorf("making SPKeys asked the store %d times", asked)
	}
	if err := keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, written := store.calls(); written != 0 {
		t.Error("a key was made that nobody has asked for")
	}
	key, der := keyPair(t, keys)
	asked, _ := store.calls()
	if again, _ := keyPair(t, keys); again != key {
		t.Error("the key is another the second time")
	}
	if after, _ := store.calls(); after != asked {
		t.Error("the store is asked although the key is loaded")
	}
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok || public.N.BitLen() < 3072 {
		t.Fatalf("the key is %T", key.Public())
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if !public.Equal(certificate.PublicKey) || certificate.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature) != nil {
		t.Error("the certificate is not of this key, or not self-signed")
	}
	// UTCTime ends with 2049 (RFC 5280 §4.1.2.5). The date is fixed, so the test
	// holds on any date.
	if certificate.NotAfter.Year() != 2049 || time.Now().Before(certificate.NotBefore) {
		t.Errorf("the certificate is valid from %v to %v", certificate.NotBefore, certificate.NotAfter)
	}

	_, other := keyPair(t, newSPKeys(t, store)) // another node
	if !bytes.Equal(other, der) {
		t.Error("another node has another certificate")
	}
	if all := store.Dump(); bytes.Contains(all, []byte("certificate")) || bytes.Contains(all, []byte("saml")) {
		t.Error("the record is readable in the store")
	}
}

// TestSPKeysRace has two nodes about to write at the same time.
func TestSPKeysRace(t *testing.T) {
	t.Parallel()
	store := newMemStore()
	nodes := []*signing.SPKeys{newSPKeys(t, store), newSPKeys(t, store)}
	var ready, done sync.WaitGroup
	ready.Add(len(nodes))
	store.before = func() {
		ready.Done()
		ready.Wait()
	}
	for _, keys := range nodes {
		done.Go(func() {
			if _, _, err := keys.KeyPair(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	if _, written := store.calls(); written != 1 {
		t.Errorf("%d keys were written", written)
	}
	_, a := keyPair(t, nodes[0])
	_, b := keyPair(t, nodes[1])
	if !bytes.Equal(a, b) {
		t.Error("the loser of the race has not taken the winner's key")
	}
}

func TestSPKeysGolden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		putSPRecord(t, store, goldenSPRecord(t))
		var record struct {
			Certificate []byte `json:"certificate"`
		}
		if err := json.Unmarshal(goldenSPRecord(t), &record); err != nil {
			t.Fatal(err)
		}
		if _, got := keyPair(t, newSPKeys(t, store)); !bytes.Equal(got, record.Certificate) {
			t.Error("the certificate is not the golden one")
		}
	})
}

func TestSPKeysFaults(t *testing.T) {
	t.Parallel()
	golden := func(t *testing.T) (*memStore, *signing.SPKeys) {
		t.Helper()
		store := newMemStore()
		putSPRecord(t, store, goldenSPRecord(t))
		keys := newSPKeys(t, store)
		keyPair(t, keys)
		return store, keys
	}
	t.Run("store down, nothing loaded", func(t *testing.T) {
		t.Parallel()
		store := newMemStore()
		store.setDown(errDown)
		_, _, err := newSPKeys(t, store).KeyPair(t.Context())
		wantCode(t, err, refusal.StoreUnavailable)
		if !errors.Is(err, errDown) {
			t.Errorf("error %v hides the store's", err)
		}
	})
	t.Run("store down, loaded", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store, keys := golden(t)
			store.setDown(errDown)
			wantCode(t, keys.Load(t.Context()), refusal.StoreUnavailable)
			keyPair(t, keys)
		})
	})
	t.Run("store lost it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store, keys := golden(t)
			_, before := keyPair(t, keys)
			store.clear(t)
			if err := keys.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, after := keyPair(t, newSPKeys(t, store)); !bytes.Equal(before, after) {
				t.Error("it was not put back")
			}
		})
	})
	t.Run("store is not confirmed", func(t *testing.T) {
		t.Parallel()
		store := newMemStore()
		refuse := func(context.Context) error { return refusal.New(refusal.StoreReplaced, nil) }
		_, _, err := signing.NewSPKeys(newVault(t, store), refuse, zap.NewNop()).KeyPair(t.Context())
		wantCode(t, err, refusal.StoreReplaced)
		if _, written := store.calls(); written != 0 {
			t.Error("a key was made all the same")
		}
	})
	t.Run("another record", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store, _ := golden(t)
			core, logs := observer.New(zapcore.WarnLevel)
			keys := signing.NewSPKeys(newVault(t, store), allow, zap.New(core))
			keyPair(t, keys)
			putSPRecord(t, store, bytes.Replace(goldenSPRecord(t), []byte("{"), []byte("{ "), 1))
			if err := keys.Load(t.Context()); err != nil || logs.Len() != 1 {
				t.Errorf("got %v and %d log lines", err, logs.Len())
			}
		})
	})
}

func TestSPKeysBadRecords(t *testing.T) {
	t.Parallel()
	var good map[string]json.RawMessage
	synctest.Test(t, func(t *testing.T) {
		if err := json.Unmarshal(goldenSPRecord(t), &good); err != nil {
			t.Fatal(err)
		}
	})
	_, der := keyPair(t, newSPKeys(t, newMemStore()))
	foreign, err := json.Marshal(der)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]struct{ member, value string }{
		"newer version":    {"v", `2`},
		"no version":       {"v", `0`},
		"version as text":  {"v", `"1"`},
		"no key":           {"key", `null`},
		"broken key":       {"key", `"AAAA"`},
		"no Base64":        {"key", `"?"`},
		"no certificate":   {"certificate", `null`},
		"the key twice":    {"certificate", string(good["key"])},
		"certificate only": {"key", string(good["certificate"])},
		"another key's":    {"certificate", string(foreign)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newMemStore()
			record := maps.Clone(good)
			record[change.member] = json.RawMessage(change.value)
			value, err := json.Marshal(record)
			if err != nil {
				t.Fatal(err)
			}
			putSPRecord(t, store, value)
			_, written := store.calls()
			_, _, err = newSPKeys(t, store).KeyPair(t.Context())
			wantCode(t, err, refusal.StoreUnavailable)
			if strings.Contains(err.Error(), string(good["key"][20:40])) {
				t.Errorf("the error holds key material: %v", err)
			}
			if _, after := store.calls(); after != written {
				t.Error("a bad record was overwritten")
			}
		})
	}
}

func TestSPKeysRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		putSPRecord(t, store, goldenSPRecord(t))
		core, logs := observer.New(zapcore.InfoLevel)
		keys := signing.NewSPKeys(newVault(t, store), allow, zap.New(core))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		store.setDown(errDown)
		go keys.Run(ctx)
		time.Sleep(10 * time.Minute)
		if n := logs.Len(); n != 1 {
			t.Errorf("ten minutes of failing made %d log lines, want 1", n)
		}
		store.setDown(nil)
		time.Sleep(61 * time.Second)
		store.setDown(errDown)
		keyPair(t, keys) // was loaded meanwhile
	})
}

func FuzzSPRecord(f *testing.F) {
	f.Add(goldenSPRecord(f))
	f.Add([]byte(`{"v":1,"key":"","certificate":""}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		store := newMemStore()
		putSPRecord(t, store, value)
		key, der, err := newSPKeys(t, store).KeyPair(t.Context())
		if err != nil {
			return
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil || !key.Public().(*rsa.PublicKey).Equal(certificate.PublicKey) {
			t.Error("a record was accepted whose certificate is not the key's")
		}
	})
}
