package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"
)

// A cookieKey is a session cookie of some host. The value is an array, not a
// string: it lies in the map itself, and no request's header is kept alive.
type cookieKey struct {
	value [sessionSize]byte
	host  string
}

// A session is a login on this node: the last state that was read, and the
// requests that live by it.
type session struct {
	// What every request looks at comes first, in one cache line.

	// state is nil when the store has to be asked.
	state     atomic.Pointer[state]
	used      atomic.Bool // since the last eviction
	reloading atomic.Bool
	noting    atomic.Bool // that it is used, in the store
	mu        sync.Mutex
	retired   bool  // out of the cache for good: nothing would cut its requests
	live      *Live // the first of a list
	key       string

	checked time.Time // when the last good look at the store began; guarded by mu
	bits    string

	// Guarded by Node.mu.
	cookies []cookieKey
	size    int

	// missing is since when the state is missing, if it is; guarded by mu.
	missing time.Time
}

// A state is a login as it was read at one moment. But for its memo it is never
// changed.
type state struct {
	*Login
	memo   atomic.Value // see Found.Memo
	loaded time.Time
	until  time.Time // the login's Expires
	size   int
}

// find returns the session of a cookie, and its state, checked. ErrNone
// if there is none; any other error is a fault of the store.
func (s *Node) find(ctx context.Context, value, host string) (*session, *state, error) {
	if len(value) != sessionSize {
		return nil, nil, ErrNone
	}
	ck := cookieKey{host: host}
	copy(ck.value[:], value)
	s.mu.RLock()
	ses := s.byCookie[ck]
	s.mu.RUnlock()
	now := time.Now()
	if ses != nil {
		if st := ses.state.Load(); st != nil && s.fresh(now) && now.Sub(st.loaded) < forgetAfter {
			if !now.Before(st.until) {
				s.drop(ses)
				return nil, nil, ErrNone
			}
			if !ses.used.Load() {
				ses.used.Store(true)
			}
			if now.Sub(st.loaded) > reloadAfter {
				s.reloadLater(ses)
			}
			return ses, st, nil
		}
	}
	bits, err := s.sessionBits(ctx, value, host)
	if err != nil {
		return nil, nil, err
	}
	return s.load(ctx, bits, ck)
}

// fresh says whether the cache may be served from at all.
func (s *Node) fresh(now time.Time) bool {
	return now.Sub(s.started)-time.Duration(s.confirmed.Load()) < stale
}

// load reads a login from the store and caches it. If something changed
// meanwhile, it is served this once and not cached. Enter looks again, and cuts
// the request if the login is over.
func (s *Node) load(ctx context.Context, bits string, ck cookieKey) (*session, *state, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	changes := s.changes.Load()
	now := time.Now()
	l, rec, err := s.loadLogin(ctx, bits)
	if errors.Is(err, ErrNone) {
		s.forget(ck)
	}
	if err != nil {
		return nil, nil, err
	}
	// What all logins of a provider share need not be kept a thousand times, nor
	// fetched from as many places.
	l.Account.Protocol, l.Account.Issuer = unique.Make(l.Account.Protocol).Value(), unique.Make(l.Account.Issuer).Value()
	st := &state{Login: l, size: 1024 + 2*len(rec.Value), loaded: now, until: l.Expires}
	return s.keep(rec.Key, bits, ck, st, changes), st, nil
}

// keep puts a state into the cache and returns its session.
func (s *Node) keep(key, bits string, ck cookieKey, st *state, changes uint64) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	ses := s.byKey[key]
	if ses == nil {
		ses = &session{key: key, bits: bits}
		s.byKey[key] = ses
	}
	s.bytes += st.size - ses.size
	ses.size = st.size
	if ck != (cookieKey{}) && s.byCookie[ck] != ses {
		ck.host = unique.Make(ck.host).Value() // a copy that all share
		s.byCookie[ck] = ses
		ses.cookies = append(ses.cookies, ck)
	}
	ses.used.Store(true)
	ses.sawGood(st.loaded)
	// changed() counts before it clears, so a state that was read before a
	// change is either not stored here, or cleared after.
	if s.changes.Load() == changes {
		ses.state.Store(st)
	}
	if s.ended {
		ses.retire(true)
	}
	s.evict(ses)
	return ses
}

// resize notes how large a cached login is with its memo.
func (s *Node) resize(key string, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ses := s.byKey[key]
	if ses == nil {
		return
	}
	s.bytes += size - ses.size
	ses.size = size
	s.evict(ses)
}

// evict keeps the cache within its bounds. Logins with live requests stay,
// and so does the one that has just come: a revocation must find them. mu is
// held.
func (s *Node) evict(spare *session) {
	for _, secondChance := range []bool{true, false} {
		for _, ses := range s.byKey { // in random order
			if len(s.byKey) <= s.maxEntries && s.bytes <= s.maxBytes {
				return
			}
			if ses == spare || secondChance && ses.used.Swap(false) || !ses.retire(false) {
				continue
			}
			s.remove(ses)
		}
	}
}

// remove takes a retired session out of the cache. mu is held.
func (s *Node) remove(ses *session) {
	if s.byKey[ses.key] != ses {
		return
	}
	delete(s.byKey, ses.key)
	for _, ck := range ses.cookies {
		delete(s.byCookie, ck)
	}
	s.bytes -= ses.size
	ses.state.Store(nil)
}

// drop takes a session that is over out of the cache and cuts its requests.
func (s *Node) drop(ses *session) {
	ses.retire(true)
	s.mu.Lock()
	s.remove(ses)
	s.mu.Unlock()
	ses.cut(errSessionOver)
}

func (s *Node) forget(ck cookieKey) {
	s.mu.RLock()
	ses := s.byCookie[ck]
	s.mu.RUnlock()
	if ses != nil {
		s.drop(ses)
	}
}

// reloadLater reads logins anew, off the request path.
func (s *Node) reloadLater(sessions ...*session) {
	due := slices.DeleteFunc(sessions, func(ses *session) bool { return !ses.reloading.CompareAndSwap(false, true) })
	if len(due) == 0 {
		return
	}
	go s.reloadAll(due, func(ses *session) {
		defer ses.reloading.Store(false)
		s.reload(ses)
	})
}

// reload reads a login anew and cuts its requests if it is over.
func (s *Node) reload(ses *session) {
	_, _, err := s.load(context.Background(), ses.bits, cookieKey{})
	if errors.Is(err, ErrNone) {
		s.drop(ses)
	}
}

// changed takes note of an announcement: the key of a login, or announceAll.
func (s *Node) changed(message string) {
	s.changes.Add(1)
	if message == announceAll {
		if len(s.busy(true)) > 0 {
			s.reloadBusy()
		}
		return
	}
	s.mu.RLock()
	ses := s.byKey[message]
	s.mu.RUnlock()
	if ses == nil {
		return
	}
	ses.unset(time.Now())
	if ses.busy() {
		go s.reload(ses)
	}
}

// busy returns the sessions with live requests, and forgets all states if
// forget is set.
func (s *Node) busy(forget bool) []*session {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var busy []*session
	now := time.Now()
	for _, ses := range s.byKey {
		if forget {
			ses.unset(now)
		}
		if ses.busy() {
			busy = append(busy, ses)
		}
	}
	return busy
}

// reloadBusy reads all logins with live requests anew, in the background. What
// comes meanwhile makes it begin once more when it is through, however often it
// comes: else a list of people that is blocked one by one would have every
// login read as many times.
func (s *Node) reloadBusy() {
	if s.rereads.Add(1) > 1 {
		return
	}
	go func() {
		for {
			asked := s.rereads.Load()
			s.reloadAll(s.busy(false), func(ses *session) {
				if ses.busy() { // still: while the store hangs they are cut
					s.reload(ses)
				}
			})
			if s.rereads.CompareAndSwap(asked, 0) {
				return
			}
		}
	}()
}

// reloaders is how many logins are read at once after a change to all.
const reloaders = 16

func (s *Node) reloadAll(busy []*session, reload func(*session)) {
	work := make(chan *session)
	var wg sync.WaitGroup
	for range min(reloaders, len(busy)) {
		wg.Go(func() {
			for ses := range work {
				reload(ses)
			}
		})
	}
	for _, ses := range busy {
		work <- ses
	}
	close(work)
	wg.Wait()
}
