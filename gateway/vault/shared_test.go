package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A sharer is one node's use of a Shared, whose record is due when it says so.
type sharer struct {
	*vault.Shared[string]

	mu     sync.Mutex
	due    bool
	events []string
	refuse error
}

func (s *sharer) note(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

func share(t *testing.T, v *vault.Vault, onDemand bool) *sharer {
	t.Helper()
	s := &sharer{}
	s.Shared = vault.NewShared(v, vault.SharedOptions[string]{
		Kind: vault.KindKeys, Name: "shared", What: "the shared thing", OnDemand: onDemand,
		Read: func(raw []byte) (*string, error) {
			if bytes.HasPrefix(raw, []byte("bad")) {
				return nil, errors.New("it is bad")
			}
			text := string(raw)
			return &text, nil
		},
		Next: func(current *string) ([]byte, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if current == nil {
				return []byte("first"), nil
			}
			if !s.due {
				return nil, nil
			}
			s.due = false
			return []byte(*current + "+"), nil
		},
		MayCreate: func(context.Context) error { return s.refuse },
		Class:     func(err error) string { return fmt.Sprint(errors.Is(err, gatewaytest.ErrFault)) },
		Report:    func(err error) { s.note(fmt.Sprint("report ", err != nil)) },
		Wrote:     func(current *string) { s.note(fmt.Sprint("wrote ", current == nil)) },
		Swapped:   func() { s.note("swapped") },
	})
	return s
}

func (s *sharer) want(t *testing.T, want string) {
	t.Helper()
	got, err := s.Loaded()
	if err != nil || *got != want {
		t.Fatalf("got %v, %v, want %q", got, err, want)
	}
}

func (s *sharer) wantEvents(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.events, want) {
		t.Errorf("events %q, want %q", s.events, want)
	}
	s.events = nil
}

func TestSharedIsMadeReplacedAndFollowed(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		ctx := t.Context()
		one, two := share(t, openVault(t, store), false), share(t, openVault(t, store), true)
		if _, err := one.Loaded(); err == nil || !strings.Contains(err.Error(), "the shared thing") {
			t.Errorf("before loading: %v", err)
		}
		mustDo(t, two.Load(ctx)) // on demand: nobody has asked
		if _, err := two.Loaded(); err == nil {
			t.Error("it was made although nobody has asked for it")
		}
		mustDo(t, one.Load(ctx))
		one.want(t, "first")
		one.wantEvents(t, "wrote true")
		if got, err := two.Need(ctx); err != nil || *got != "first" {
			t.Errorf("got %v, %v", got, err)
		}
		one.due = true
		mustDo(t, one.Load(ctx))
		one.want(t, "first+")
		one.wantEvents(t, "wrote false", "swapped")
		two.want(t, "first")
		mustDo(t, two.Load(ctx))
		two.want(t, "first+")
		two.wantEvents(t, "swapped")
	})
}

func TestSharedIsPutBack(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		v := openVault(t, store)
		for _, onDemand := range []bool{false, true} {
			s := share(t, v, onDemand)
			if _, err := s.Need(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustDo(t, store.Delete(t.Context(), v.KeyOf(vault.KindKeys, "shared")))
			s.refuse = errors.New("not here")
			if err := s.Load(t.Context()); !errors.Is(err, s.refuse) {
				t.Errorf("got %v, want the refusal", err)
			}
			s.refuse, s.due = nil, true
			mustDo(t, s.Load(t.Context())) // put back, and replaced at once
			wantValue(t, v, vault.KindKeys, "shared", "first+")
			s.want(t, "first+")
			mustDo(t, store.Delete(t.Context(), v.KeyOf(vault.KindKeys, "shared")))
		}
	})
}

// A bad record is a fault, stays as it is, and drives nothing out of use.
func TestSharedKeepsWhatIsGood(t *testing.T) {
	t.Parallel()
	st := gatewaytest.NewMemStore()
	v := openVault(t, st)
	s, late := share(t, v, false), share(t, v, false)
	mustDo(t, s.Load(t.Context()))
	for _, put := range []func(){
		func() { mustDo(t, v.Put(t.Context(), vault.KindKeys, "shared", []byte("bad"), store.NoExpiry)) },
		func() {
			mustDo(t, st.Put(t.Context(), v.KeyOf(vault.KindKeys, "shared"), []byte("\x01x"), store.NoExpiry))
		},
	} {
		put()
		before := st.Dump()
		if s.Load(t.Context()) == nil || late.Load(t.Context()) == nil {
			t.Error("it was taken")
		}
		s.want(t, "first")
		if got, err := late.Loaded(); err == nil {
			t.Errorf("a node that had nothing has %q", *got)
		}
		if !bytes.Equal(st.Dump(), before) {
			t.Error("it was overwritten")
		}
	}
}

func TestSharedRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := gatewaytest.NewMemStore()
		v := openVault(t, st)
		mustDo(t, v.Put(t.Context(), kindFlow, "x", nil, time.Minute)) // initializes the store
		s := share(t, v, false)
		st.SetHook(gatewaytest.Faulty())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		time.Sleep(10 * time.Minute)
		s.wantEvents(t, "report true")
		st.SetHook(nil)
		time.Sleep(3 * time.Second)
		s.want(t, "first")
		s.wantEvents(t, "wrote true", "report false")
		mustDo(t, v.Put(t.Context(), vault.KindKeys, "shared", []byte("another"), store.NoExpiry))
		time.Sleep(61 * time.Second)
		s.want(t, "another")
		s.wantEvents(t, "swapped")
		mustDo(t, v.Put(t.Context(), vault.KindKeys, "shared", []byte("bad"), store.NoExpiry))
		time.Sleep(10 * time.Minute)
		st.SetHook(gatewaytest.Faulty())
		time.Sleep(10 * time.Minute)
		s.want(t, "another")
		s.wantEvents(t, "report true", "report true") // in one way, then in another
	})
}
