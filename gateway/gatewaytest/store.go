// Package gatewaytest has the shared parts of the gateway's tests: conformance suites
// of its interfaces, and servers that misbehave on request.
package gatewaytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// TestStore is the conformance suite of store.Store. open must return two handles of a
// fresh, empty store at each call, as two nodes have, or one handle twice. It closes them
// with t.Cleanup.
func TestStore(t *testing.T, open func(t *testing.T) (a, b store.Store)) {
	t.Helper()
	for _, test := range slices.Concat(storeValueTests, storeRaceTests, storeCountTests, storeIndexTests, storeWatchTests) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t)
			test.run(t, a, b)
		})
	}
}

// A storeTest gets two handles of one empty store; they may be the same.
type storeTest struct {
	name string
	run  func(t *testing.T, a, b store.Store)
}

var storeValueTests = []storeTest{
	{"Ping answers", func(t *testing.T, a, b store.Store) {
		must(t, a.Ping(t.Context()))
		must(t, b.Ping(t.Context()))
	}},
	{"Get tells nothing from empty", func(t *testing.T, a, b store.Store) {
		must(t, a.Put(t.Context(), "empty", []byte{}, time.Minute))
		must(t, a.Put(t.Context(), "nil", nil, store.NoExpiry))
		must(t, a.Put(t.Context(), "full", []byte("x"), time.Minute))
		wantValues(t, b, []string{"none", "full", "empty", "nil", "full"}, [][]byte{nil, []byte("x"), {}, {}, []byte("x")})
		value, err := b.Take(t.Context(), "empty")
		if err != nil || value == nil || len(value) != 0 {
			t.Errorf("Take of an empty value: %q, %v", value, err)
		}
	}},
	{"Get of no key", func(t *testing.T, a, _ store.Store) {
		values, err := a.Get(t.Context())
		if err != nil || len(values) != 0 {
			t.Errorf("got %q, %v", values, err)
		}
	}},
	{"no names at all", func(t *testing.T, a, _ store.Store) {
		must(t, a.Delete(t.Context()))
		must(t, a.Add(t.Context(), "index"))
		must(t, a.Remove(t.Context(), "index"))
	}},
	{"Put replaces value and ttl", func(t *testing.T, a, b store.Store) {
		must(t, a.Put(t.Context(), "short to long", []byte("1"), 50*time.Millisecond))
		must(t, b.Put(t.Context(), "short to long", []byte("2"), store.NoExpiry))
		must(t, a.Put(t.Context(), "long to short", []byte("1"), store.NoExpiry))
		must(t, b.Put(t.Context(), "long to short", []byte("2"), 50*time.Millisecond))
		time.Sleep(100 * time.Millisecond)
		wantValues(t, a, []string{"short to long", "long to short"}, [][]byte{[]byte("2"), nil})
	}},
	{"PutNew", func(t *testing.T, a, b store.Store) {
		must(t, a.PutNew(t.Context(), "key", []byte("first"), time.Minute))
		wantError(t, b.PutNew(t.Context(), "key", []byte("second"), time.Minute), store.ErrExists)
		wantValues(t, b, []string{"key"}, [][]byte{[]byte("first")})
		must(t, b.Delete(t.Context(), "key"))
		must(t, b.PutNew(t.Context(), "key", []byte("third"), store.NoExpiry))
		wantValues(t, a, []string{"key"}, [][]byte{[]byte("third")})
	}},
	{"Take", func(t *testing.T, a, b store.Store) {
		must(t, a.Put(t.Context(), "key", []byte("value"), time.Minute))
		value, err := b.Take(t.Context(), "key")
		must(t, err)
		if string(value) != "value" {
			t.Errorf("took %q", value)
		}
		_, err = a.Take(t.Context(), "key")
		wantError(t, err, store.ErrNotFound)
		wantValues(t, a, []string{"key"}, [][]byte{nil})
	}},
	{"CompareAndPut", func(t *testing.T, a, b store.Store) {
		wantError(t, a.CompareAndPut(t.Context(), "key", []byte("1"), []byte("2"), time.Minute), store.ErrNotFound)
		wantError(t, a.CompareAndPut(t.Context(), "key", nil, []byte("2"), time.Minute), store.ErrNotFound)
		must(t, a.Put(t.Context(), "key", []byte("1"), time.Minute))
		wantError(t, b.CompareAndPut(t.Context(), "key", []byte("0"), []byte("2"), time.Minute), store.ErrChanged)
		wantError(t, b.CompareAndPut(t.Context(), "key", nil, []byte("2"), time.Minute), store.ErrChanged)
		wantValues(t, a, []string{"key"}, [][]byte{[]byte("1")})
		must(t, b.CompareAndPut(t.Context(), "key", []byte("1"), []byte{}, time.Minute))
		must(t, a.CompareAndPut(t.Context(), "key", []byte{}, []byte("3\x00"), store.NoExpiry))
		must(t, a.CompareAndPut(t.Context(), "key", []byte("3\x00"), []byte("4"), time.Minute))
		wantValues(t, b, []string{"key"}, [][]byte{[]byte("4")})
		must(t, a.CompareAndPut(t.Context(), "key", []byte("4"), []byte("5"), 50*time.Millisecond))
		time.Sleep(100 * time.Millisecond)
		wantValues(t, b, []string{"key"}, [][]byte{nil})
	}},
	{"Delete", func(t *testing.T, a, b store.Store) {
		for _, key := range []string{"1", "2", "3"} {
			must(t, a.Put(t.Context(), key, []byte(key), time.Minute))
		}
		must(t, b.Delete(t.Context(), "1", "none", "3"))
		must(t, b.Delete(t.Context(), "1"))
		wantValues(t, a, []string{"1", "2", "3"}, [][]byte{nil, []byte("2"), nil})
	}},
	{"keys and values are any bytes", func(t *testing.T, a, b store.Store) {
		odd := []string{"\x00", "\x00\x00", "\xff", "\r\n", "$-1\r\n", "*", "a b", "\"'`", "{a}b", "ключ", strings.Repeat("k", 1000)}
		values := make([][]byte, len(odd))
		for i, key := range odd {
			values[i] = []byte(odd[len(odd)-1-i])
			must(t, a.PutNew(t.Context(), key, values[i], time.Minute))
		}
		wantValues(t, b, odd, values)
		for i, key := range odd {
			must(t, a.CompareAndPut(t.Context(), key, values[i], []byte(key), time.Minute))
			value, err := b.Take(t.Context(), key)
			if err != nil || string(value) != key {
				t.Errorf("Take %q: %.40q, %v", key, value, err)
			}
		}
	}},
	{"a value of 1 MiB", func(t *testing.T, a, b store.Store) {
		large := bytes.Repeat([]byte("0123456789abcde\x00"), 1<<16)
		must(t, a.Put(t.Context(), "key", large, time.Minute))
		larger := append(bytes.Clone(large), 1)
		must(t, b.CompareAndPut(t.Context(), "key", large, larger, time.Minute))
		value, err := b.Take(t.Context(), "key")
		if err != nil || !bytes.Equal(value, larger) {
			t.Errorf("took %d bytes, %v", len(value), err)
		}
	}},
	{"slices belong to the caller", func(t *testing.T, a, _ store.Store) {
		value := []byte("value")
		must(t, a.Put(t.Context(), "key", value, time.Minute))
		copy(value, "XXXXX")
		got, err := a.Get(t.Context(), "key")
		must(t, err)
		if string(got[0]) != "value" {
			t.Fatalf("got %q", got[0])
		}
		copy(got[0], "YYYYY")
		wantValues(t, a, []string{"key"}, [][]byte{[]byte("value")})
	}},
	{"an expired value does not exist for any verb", testExpired},
	{"a ttl below a millisecond is not for ever", func(t *testing.T, a, b store.Store) {
		must(t, a.Put(t.Context(), "put", []byte("1"), time.Nanosecond))
		must(t, a.PutNew(t.Context(), "new", []byte("1"), 999*time.Microsecond))
		time.Sleep(20 * time.Millisecond)
		wantValues(t, b, []string{"put", "new"}, [][]byte{nil, nil})
	}},
	{"a negative ttl is refused", func(t *testing.T, a, _ store.Store) {
		must(t, a.Put(t.Context(), "old", []byte("1"), time.Minute))
		for _, ttl := range []time.Duration{-1, -time.Millisecond, -time.Hour} {
			for name, err := range map[string]error{
				"Put":           a.Put(t.Context(), "old", []byte("2"), ttl),
				"PutNew":        a.PutNew(t.Context(), "new", []byte("2"), ttl),
				"CompareAndPut": a.CompareAndPut(t.Context(), "old", []byte("1"), []byte("2"), ttl),
			} {
				if !isFault(err) {
					t.Errorf("%s with ttl %v: %v", name, ttl, err)
				}
			}
		}
		wantValues(t, a, []string{"old", "new"}, [][]byte{[]byte("1"), nil})
	}},
	{"a context that has ended is a fault, at once", testEnded},
}

func testExpired(t *testing.T, a, b store.Store) {
	const ttl = 500 * time.Millisecond
	ctx := t.Context()
	keys := []string{"get", "put", "new", "take", "swap", "delete"}
	start := time.Now()
	for _, key := range keys {
		must(t, a.Put(ctx, key, []byte("old"), ttl))
	}
	values, err := b.Get(ctx, keys...)
	must(t, err)
	if time.Since(start) < ttl {
		for i, value := range values {
			if string(value) != "old" {
				t.Errorf("%s before its time: %q", keys[i], value)
			}
		}
	}
	time.Sleep(ttl + 20*time.Millisecond)
	wantValues(t, b, keys, make([][]byte, len(keys)))
	must(t, b.PutNew(ctx, "new", []byte("new"), store.NoExpiry))
	_, err = b.Take(ctx, "take")
	wantError(t, err, store.ErrNotFound)
	wantError(t, b.CompareAndPut(ctx, "swap", []byte("old"), []byte("new"), time.Minute), store.ErrNotFound)
	must(t, b.Delete(ctx, "delete"))
	must(t, b.Put(ctx, "put", []byte("new"), time.Minute))
	// Nothing left of the old values may delete the new ones.
	time.Sleep(1500 * time.Millisecond)
	wantValues(t, a, []string{"new", "put"}, [][]byte{[]byte("new"), []byte("new")})
}

func testEnded(t *testing.T, a, b store.Store) {
	must(t, a.Put(t.Context(), "key", []byte("1"), time.Minute))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: cancelled, context.DeadlineExceeded: late} {
		for name, do := range map[string]func() error{
			"Get":           func() error { _, err := a.Get(ctx, "key"); return err },
			"Put":           func() error { return a.Put(ctx, "key", []byte("2"), time.Minute) },
			"PutNew":        func() error { return a.PutNew(ctx, "new", []byte("2"), time.Minute) },
			"Take":          func() error { _, err := a.Take(ctx, "key"); return err },
			"CompareAndPut": func() error { return a.CompareAndPut(ctx, "key", []byte("1"), []byte("2"), time.Minute) },
			"Delete":        func() error { return a.Delete(ctx, "key") },
			"Add":           func() error { return a.Add(ctx, "index", "m") },
			"Remove":        func() error { return a.Remove(ctx, "index", "m") },
			"Range":         func() error { _, err := a.Range(ctx, "index", "", "", 1); return err },
			"Announce":      func() error { return a.Announce(ctx, []byte("m")) },
			"Watch":         func() error { return a.Watch(ctx, "", func(store.Change) {}) },
			"Ping":          func() error { return a.Ping(ctx) },
		} {
			start := time.Now()
			if err := do(); !errors.Is(err, want) || !isFault(err) {
				t.Errorf("%s: %v, not %v", name, err, want)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("%s took %v", name, took)
			}
		}
	}
	wantValues(t, b, []string{"key", "new"}, [][]byte{[]byte("1"), nil})
}

const storeRacers = 50

var storeRaceTests = []storeTest{
	{"PutNew has one winner", func(t *testing.T, a, b store.Store) {
		for round := range 5 {
			key := fmt.Sprint("key", round)
			errs := storeRace(a, b, func(s store.Store, i int) error {
				return s.PutNew(t.Context(), key, []byte{byte(i)}, time.Minute)
			})
			winner := oneWinner(t, errs, store.ErrExists)
			wantValues(t, a, []string{key}, [][]byte{{byte(winner)}})
		}
	}},
	{"Take has one winner", func(t *testing.T, a, b store.Store) {
		for range 5 {
			must(t, a.Put(t.Context(), "key", []byte("value"), time.Minute))
			errs := storeRace(a, b, func(s store.Store, _ int) error {
				value, err := s.Take(t.Context(), "key")
				if err == nil && string(value) != "value" {
					return fmt.Errorf("took %q", value)
				}
				return err
			})
			oneWinner(t, errs, store.ErrNotFound)
		}
	}},
	{"CompareAndPut has one winner", func(t *testing.T, a, b store.Store) {
		for range 5 {
			must(t, a.Put(t.Context(), "key", []byte("old"), time.Minute))
			errs := storeRace(a, b, func(s store.Store, i int) error {
				return s.CompareAndPut(t.Context(), "key", []byte("old"), []byte{byte(i)}, time.Minute)
			})
			winner := oneWinner(t, errs, store.ErrChanged)
			wantValues(t, b, []string{"key"}, [][]byte{{byte(winner)}})
		}
	}},
	{"a counter by CompareAndPut loses nothing", func(t *testing.T, a, b store.Store) {
		must(t, a.Put(t.Context(), "key", []byte("0"), time.Minute))
		errs := storeRace(a, b, func(s store.Store, _ int) error {
			for {
				values, err := s.Get(t.Context(), "key")
				if err != nil {
					return err
				}
				var n int
				if _, err := fmt.Sscan(string(values[0]), &n); err != nil {
					return err
				}
				err = s.CompareAndPut(t.Context(), "key", values[0], fmt.Append(nil, n+1), time.Minute)
				if !errors.Is(err, store.ErrChanged) {
					return err
				}
			}
		})
		must(t, errors.Join(errs...))
		wantValues(t, a, []string{"key"}, [][]byte{fmt.Append(nil, storeRacers)})
	}},
}

// storeRace calls do in many goroutines at once, alternately on a and b.
func storeRace(a, b store.Store, do func(s store.Store, i int) error) []error {
	errs := make([]error, storeRacers)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			<-start
			errs[i] = do([]store.Store{a, b}[i%2], i)
		})
	}
	close(start)
	group.Wait()
	return errs
}

// oneWinner checks that one error is nil and all others are lost.
func oneWinner(t *testing.T, errs []error, lost error) (winner int) {
	t.Helper()
	winner = slices.Index(errs, nil)
	for i, err := range errs {
		if i != winner && !errors.Is(err, lost) {
			t.Fatalf("winner %d, and %d got %v", winner, i, err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	return winner
}

// isFault reports whether err is a fault, for which clients get 503.
func isFault(err error) bool {
	return err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrChanged)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("got the error %v, want %v", got, want)
	}
}

func wantValues(t *testing.T, s store.Store, keys []string, want [][]byte) {
	t.Helper()
	got, err := s.Get(t.Context(), keys...)
	must(t, err)
	if len(got) != len(want) {
		t.Fatalf("got %d values for %d keys", len(got), len(keys))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) || (got[i] == nil) != (want[i] == nil) {
			t.Errorf("%.20q holds %.40q, want %.40q (nil: %v, want %v)", keys[i], got[i], want[i], got[i] == nil, want[i] == nil)
		}
	}
}
