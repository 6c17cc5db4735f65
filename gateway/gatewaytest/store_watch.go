package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

var storeWatchTests = []storeTest{
	{"Watch begins with Reset and ticks", func(t *testing.T, a, _ store.Store) {
		must(t, a.Announce(t.Context(), []byte("before")))
		late, start := Lateness(t), time.Now()
		w := watchStore(t, a)
		w.await(t, func(changes []store.Change) bool { return len(changes) > 4 })
		if took := time.Since(start); took > 4500*time.Millisecond+late() {
			t.Errorf("a Reset and four ticks took %v: less than one a second", took)
		}
		last := start
		for i, change := range w.all() {
			if change.Reset != (i == 0) {
				t.Errorf("change %d: Reset is %v", i, change.Reset)
			}
			if len(change.Messages) != 0 {
				t.Errorf("change %d has the messages %q of before", i, change.Messages)
			}
			if change.Began.Before(last) || change.Began.After(time.Now()) {
				t.Errorf("change %d began at %v, the last at %v", i, change.Began, last)
			}
			last = change.Began
		}
	}},
	{"what is announced after Reset is seen", func(t *testing.T, a, b store.Store) {
		messages := []string{"", "\x00\xff\r\n", "twice", "twice", string(make([]byte, 1<<16))}
		w := watchStore(t, a, func(change store.Change) {
			for _, message := range messages {
				if !change.Reset {
					continue
				}
				if err := b.Announce(t.Context(), []byte(message)); err != nil {
					t.Errorf("announcing: %v", err)
				}
			}
		})
		got := w.awaitMessages(t, len(messages))
		if !slices.Equal(got, messages) {
			t.Errorf("got %.60q", got)
		}
	}},
	{"Announce writes, and tells of it", testAnnounceWrites},
	{"all watches see one order", testOneOrder},
	{"Began confirms what was announced before", testConfirmed},
	{"a watch that does not keep up holds up nobody", testSlowWatch},
	{"calls do not overlap", func(t *testing.T, a, b store.Store) {
		var inside atomic.Int32
		w := watchStore(t, a, func(store.Change) {
			if inside.Add(1) != 1 {
				t.Error("two calls at once")
			}
			time.Sleep(5 * time.Millisecond)
			inside.Add(-1)
		})
		w.awaitReset(t)
		errs := storeRace(a, b, func(s store.Store, i int) error { return s.Announce(t.Context(), []byte{byte(i)}) })
		must(t, errors.Join(errs...))
		w.awaitMessages(t, storeRacers)
	}},
	{"Watch ends with its context", func(t *testing.T, a, _ store.Store) {
		w := watchStore(t, a)
		w.awaitReset(t)
		w.stop()
		select {
		case err := <-w.ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("it goes on")
		}
	}},
}

func testAnnounceWrites(t *testing.T, a, b store.Store) {
	ctx := t.Context()
	for _, key := range []string{"gone", "new", "short", "stays"} {
		must(t, a.Put(ctx, key, []byte("old"), time.Minute))
	}
	w := watchStore(t, b)
	w.awaitReset(t)
	wantError(t, a.Announce(ctx, []byte("changed"), store.Write{Key: "stays", Old: []byte("another"), Value: []byte("x")}), store.ErrChanged)
	wantError(t, a.Announce(ctx, []byte("missing"), store.Write{Key: "none", Old: []byte("old"), Value: []byte("x")}), store.ErrNotFound)
	if err := a.Announce(ctx, []byte("negative"), store.Write{Key: "stays", Old: []byte("old"), Value: []byte("x"), TTL: -1}); err == nil {
		t.Error("a negative ttl is taken")
	}
	must(t, a.Announce(ctx, []byte("1"), store.Write{Key: "gone"}))
	must(t, a.Announce(ctx, []byte("2"), store.Write{Key: "gone"})) // deleting what is not there is no error
	must(t, a.Announce(ctx, []byte("3"), store.Write{Key: "new", Old: []byte("old"), Value: []byte("new"), TTL: time.Minute}))
	must(t, a.Announce(ctx, []byte("4"),
		store.Write{Key: "short", Old: []byte("old"), Value: []byte("new"), TTL: 50 * time.Millisecond},
		store.Write{Key: "new", Old: []byte("new"), Value: []byte("\x00newer"), TTL: store.NoExpiry}))
	if got := w.awaitMessages(t, 4); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("got %q", got)
	}
	time.Sleep(100 * time.Millisecond)
	wantValues(t, b, []string{"gone", "new", "short", "stays"}, [][]byte{nil, []byte("\x00newer"), nil, []byte("old")})
}

func testOneOrder(t *testing.T, a, b store.Store) {
	const each = 20
	first, second := watchStore(t, a), watchStore(t, b)
	first.awaitReset(t)
	second.awaitReset(t)
	errs := storeRace(a, b, func(s store.Store, i int) error {
		for n := range each {
			if err := s.Announce(t.Context(), fmt.Appendf(nil, "%02d %02d", i, n)); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, errors.Join(errs...))
	got := first.awaitMessages(t, each*storeRacers)
	if !slices.Equal(got, second.awaitMessages(t, each*storeRacers)) {
		t.Error("the watches saw different orders")
	}
	sorted := slices.Clone(got)
	slices.SortStableFunc(sorted, func(x, y string) int { return int(x[0])*10 + int(x[1]) - int(y[0])*10 - int(y[1]) })
	if !slices.IsSorted(sorted) || len(slices.Compact(sorted)) != each*storeRacers {
		t.Error("what one announced came out of order, or twice")
	}
}

// testConfirmed requires that no change has a Began after the return of an Announce
// whose message was not reported by then.
func testConfirmed(t *testing.T, a, b store.Store) {
	const count = 300
	w := watchStore(t, a)
	w.awaitReset(t)
	returned := make([]time.Time, count)
	for i := range returned {
		must(t, b.Announce(t.Context(), fmt.Append(nil, i)))
		returned[i] = time.Now()
		if i%100 == 99 {
			time.Sleep(time.Second) // A tick without messages.
		}
	}
	w.awaitMessages(t, count)
	seen := 0
	for _, change := range w.all() {
		seen += len(change.Messages)
		for i := seen; i < count; i++ {
			if returned[i].Before(change.Began) {
				t.Fatalf("message %d was announced %v before Began, and not reported", i, change.Began.Sub(returned[i]))
			}
		}
	}
}

// testSlowWatch requires that Announce goes on while a watch is stuck in its
// callback. Afterwards each watch must have all messages, or a report of the loss: a
// Reset, or the end of the Watch.
func testSlowWatch(t *testing.T, a, b store.Store) {
	const count = 12_000 // More than any store keeps.
	stuck := make(chan struct{})
	release := sync.OnceFunc(func() { close(stuck) })
	slow := watchStore(t, a, func(store.Change) { <-stuck })
	other := watchStore(t, b)
	t.Cleanup(release) // Before the cleanups that wait for the watches.
	slow.awaitReset(t)
	other.awaitReset(t)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range count / 10 {
				if err := b.Announce(t.Context(), []byte("message")); err != nil {
					t.Errorf("announcing: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	other.awaitAccount(t, count)
	if got := len(slow.all()); got != 1 {
		t.Errorf("the stuck watch had %d changes reported", got)
	}
	release()
	slow.awaitAccount(t, count)
}

// patience bounds what must happen some time, on a slow machine too.
const patience = 30 * time.Second

// A storeWatch records what a Watch reports.
type storeWatch struct {
	mu      sync.Mutex
	changes []store.Change
	ended   chan error
	stop    context.CancelFunc
}

func watchStore(t *testing.T, s store.Store, also ...func(store.Change)) *storeWatch {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	w := &storeWatch{ended: make(chan error, 1), stop: stop}
	var running sync.WaitGroup
	running.Go(func() {
		w.ended <- s.Watch(ctx, "", func(change store.Change) {
			w.mu.Lock()
			w.changes = append(w.changes, change)
			w.mu.Unlock()
			for _, on := range also {
				on(change)
			}
		})
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return w
}

func (w *storeWatch) all() []store.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes)
}

func (w *storeWatch) await(t *testing.T, done func([]store.Change) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(w.all()); time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-w.ended:
			t.Fatalf("the watch ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("not reported within %v", patience)
		}
	}
}

func (w *storeWatch) awaitReset(t *testing.T) {
	t.Helper()
	w.await(t, func(changes []store.Change) bool { return len(changes) > 0 })
}

func (w *storeWatch) awaitMessages(t *testing.T, count int) (messages []string) {
	t.Helper()
	w.await(t, func(changes []store.Change) bool {
		messages = nil
		for _, change := range changes {
			for _, message := range change.Messages {
				messages = append(messages, string(message))
			}
		}
		return len(messages) >= count
	})
	return messages
}

// awaitAccount waits until count messages have come, or their loss was reported.
func (w *storeWatch) awaitAccount(t *testing.T, count int) {
	t.Helper()
	for deadline := time.Now().Add(patience); len(w.ended) == 0; time.Sleep(10 * time.Millisecond) {
		messages := 0
		for _, change := range w.all()[1:] {
			if messages += len(change.Messages); change.Reset || messages == count {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d messages came, and the loss was not reported", messages, count)
		}
	}
}
