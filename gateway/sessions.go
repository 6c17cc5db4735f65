package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Sessions is one node's view of the store: who is signed in, cached, and kept
// true by the store's announcements. It outlives configurations: a reload
// makes a new Gateway over the same Sessions.
type Sessions struct {
	store  Store
	vault  *Vault
	marker MarkerMemory
	log    *zap.Logger

	mu       sync.RWMutex
	byCookie map[cookieKey]*session
	byKey    map[string]*session // by the key of the login's record
	bytes    int                 // what the cache holds, roughly

	// confirmed is when the last confirmed read of the announcements began, on
	// the clock of started. Before it, every change has been seen.
	confirmed atomic.Int64
	started   time.Time
	// changes counts what was announced. A login that was read while it moved
	// may be out of date and is not cached.
	changes atomic.Uint64

	markerMu sync.Mutex
	known    string // the marker as this machine remembers it
}

// SessionsOptions are what Sessions are made of.
type SessionsOptions struct {
	Store Store
	// Secrets holds one or two secrets, see NewVault.
	Secrets [][]byte
	// Marker remembers which store this machine knows.
	Marker MarkerMemory
	Logger *zap.Logger
}

// Bounds of the cache and of what may be served from it.
const (
	// stale is how long a cached login may be served since the last confirmed
	// read of the announcements began.
	stale = 5 * time.Second
	// reloadAfter is when a cached login is read anew although nothing was
	// announced, for a writer that died between writing and announcing.
	reloadAfter = time.Minute
	// maxCached and maxBytes bound the cache.
	maxCached = 100_000
	maxBytes  = 256 << 20

	retryWatch = 500 * time.Millisecond
	pruneEvery = time.Hour
)

// OpenSessions returns a view of a store. It does no I/O: until Run has
// confirmed the announcements, the store is asked at every request.
func OpenSessions(opts SessionsOptions) (*Sessions, error) {
	vault, err := NewVault(opts.Store, opts.Secrets...)
	if err != nil {
		return nil, err
	}
	s := &Sessions{
		store: opts.Store, vault: vault, marker: opts.Marker, log: opts.Logger,
		byCookie: map[cookieKey]*session{}, byKey: map[string]*session{},
		started: time.Now(),
	}
	s.confirmed.Store(-int64(stale))
	return s, nil
}

// Vault returns the sealed records of the same store.
func (s *Sessions) Vault() *Vault { return s.vault }

type cookieKey struct{ value, host string }

// A session is a login on this node: the last state that was read, and the
// requests that live by it.
type session struct {
	key  string
	bits string
	// state is nil when the store has to be asked.
	state     atomic.Pointer[state]
	used      atomic.Bool // since the last eviction
	reloading atomic.Bool

	// Guarded by Sessions.mu.
	cookies []cookieKey
	size    int

	mu      sync.Mutex
	live    map[*liveRequest]struct{}
	retired bool // out of the cache for good: nothing would cut its requests
}

// A state is a login as it was read at one moment, with what each app on this
// node makes of it. It is never changed.
type state struct {
	*login
	size   int
	loaded time.Time
	views  atomic.Pointer[[]*view]
}

// Find returns the session of a cookie, and its state, checked. errNoSession
// if there is none; any other error is a fault of the store.
func (s *Sessions) find(ctx context.Context, value, host string) (*session, *state, error) {
	if len(value) != sessionSize {
		return nil, nil, errNoSession
	}
	s.mu.RLock()
	ses := s.byCookie[cookieKey{value, host}]
	s.mu.RUnlock()
	now := time.Now()
	if ses != nil {
		if st := ses.state.Load(); st != nil && s.fresh(now) {
			if !now.Before(st.Expires) {
				s.drop(ses)
				return nil, nil, errNoSession
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
	bits := s.vault.sessionBits(value, host)
	if bits == "" {
		return nil, nil, errNoSession
	}
	return s.load(ctx, bits, cookieKey{value, host})
}

// fresh says whether the cache may be served from at all.
func (s *Sessions) fresh(now time.Time) bool {
	return now.Sub(s.started)-time.Duration(s.confirmed.Load()) < stale
}

// load reads a login from the store and caches it, unless something changed
// meanwhile: then it is read again, and in the end served without caching.
func (s *Sessions) load(ctx context.Context, bits string, ck cookieKey) (*session, *state, error) {
	for try := 0; ; try++ {
		changes := s.changes.Load()
		now := time.Now()
		l, rec, err := s.loadLogin(ctx, bits)
		if errors.Is(err, errNoSession) {
			s.forget(ck)
		}
		if err != nil {
			return nil, nil, err
		}
		st := &state{login: l, size: 1024 + 2*len(rec.Value), loaded: now}
		if changes == s.changes.Load() || try == 2 {
			return s.keep(rec.key, bits, ck, st, changes), st, nil
		}
	}
}

// keep puts a state into the cache and returns its session.
func (s *Sessions) keep(key, bits string, ck cookieKey, st *state, changes uint64) *session {
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
		s.byCookie[ck] = ses
		ses.cookies = append(ses.cookies, ck)
	}
	ses.used.Store(true)
	// changed() counts before it clears, so a state that was read before a
	// change is either not stored here, or cleared after.
	if s.changes.Load() == changes {
		ses.state.Store(st)
	}
	s.evict(ses)
	return ses
}

// evict keeps the cache within its bounds. Logins with live requests stay,
// and so does the one that has just come: a revocation must find them. mu is
// held.
func (s *Sessions) evict(spare *session) {
	for _, secondChance := range []bool{true, false} {
		for _, ses := range s.byKey { // in random order
			if len(s.byKey) <= maxCached && s.bytes <= maxBytes {
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
func (s *Sessions) remove(ses *session) {
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
func (s *Sessions) drop(ses *session) {
	ses.retire(true)
	s.mu.Lock()
	s.remove(ses)
	s.mu.Unlock()
	ses.cut(errSessionOver)
}

func (s *Sessions) forget(ck cookieKey) {
	s.mu.RLock()
	ses := s.byCookie[ck]
	s.mu.RUnlock()
	if ses != nil {
		s.drop(ses)
	}
}

// reloadLater reads a login anew, off the request path.
func (s *Sessions) reloadLater(ses *session) {
	if ses.reloading.CompareAndSwap(false, true) {
		go func() {
			defer ses.reloading.Store(false)
			s.reload(ses)
		}()
	}
}

// storeTimeout bounds one look at the store off the request path.
const storeTimeout = 3 * time.Second

// reload reads a login anew and cuts its requests if it is over.
func (s *Sessions) reload(ses *session) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	_, _, err := s.load(ctx, ses.bits, cookieKey{})
	if errors.Is(err, errNoSession) {
		s.drop(ses)
	}
}

// changed takes note of an announcement: the key of a login, or announceAll.
func (s *Sessions) changed(message string) {
	s.changes.Add(1)
	if message != announceAll {
		s.mu.RLock()
		ses := s.byKey[message]
		s.mu.RUnlock()
		if ses != nil {
			ses.state.Store(nil)
			if ses.busy() {
				go s.reload(ses)
			}
		}
		return
	}
	s.mu.RLock()
	var busy []*session
	for _, ses := range s.byKey {
		ses.state.Store(nil)
		if ses.busy() {
			busy = append(busy, ses)
		}
	}
	s.mu.RUnlock()
	if len(busy) > 0 {
		go s.reloadAll(busy)
	}
}

// reloaders is how many logins are read at once after a change to all.
const reloaders = 16

func (s *Sessions) reloadAll(busy []*session) {
	work := make(chan *session)
	var wg sync.WaitGroup
	for range min(reloaders, len(busy)) {
		wg.Go(func() {
			for ses := range work {
				s.reload(ses)
			}
		})
	}
	for _, ses := range busy {
		work <- ses
	}
	close(work)
	wg.Wait()
}

// Run follows the store's announcements until ctx ends. It never fails: a
// store that is down is tried again.
func (s *Sessions) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.tend(ctx) })
	for ctx.Err() == nil {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("session store is unavailable", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryWatch):
		}
	}
	wg.Wait()
	return context.Cause(ctx)
}

// follow watches over one connection.
func (s *Sessions) follow(ctx context.Context) error {
	ping, cancel := context.WithTimeout(ctx, storeTimeout)
	err := s.store.Ping(ping)
	cancel()
	if err != nil {
		return err
	}
	return s.store.Watch(ctx, func(c Change) {
		if c.Reset {
			s.changed(announceAll)
		}
		for _, m := range c.Messages {
			s.changed(string(m))
		}
		s.confirmed.Store(int64(c.Began.Sub(s.started)))
	})
}

// tend does what has to be done from time to time: it ends live requests whose
// login has expired or can't be confirmed, and clears the indexes.
func (s *Sessions) tend(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	pruned := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.tendLive(time.Now())
		if time.Since(pruned) > pruneEvery {
			pruned = time.Now()
			if err := s.prune(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("clearing the indexes", zap.Error(err))
			}
		}
	}
}

// tendLive looks after the logins with live requests.
func (s *Sessions) tendLive(now time.Time) {
	fresh := s.fresh(now)
	s.mu.RLock()
	var busy []*session
	for _, ses := range s.byKey {
		if ses.busy() {
			busy = append(busy, ses)
		}
	}
	s.mu.RUnlock()
	for _, ses := range busy {
		ses.cutBefore(now)
		st := ses.state.Load()
		switch {
		case !fresh:
			// Nobody can say any more whether the login still holds.
			ses.cut(errUnconfirmed)
		case st == nil || now.Sub(st.loaded) > reloadAfter:
			s.reloadLater(ses)
		}
	}
}

// touch keeps an idle limit: errNoSession if the login was not used for idle,
// else it notes the use, now and then and off the request path.
func (s *Sessions) touch(ctx context.Context, ses *session, st *state, idle time.Duration) error {
	unused := time.Since(st.Seen)
	if unused < idle/10 {
		return nil
	}
	if unused >= idle {
		// Another node may have seen it since.
		l, _, err := s.loadLogin(ctx, ses.bits)
		if err != nil {
			return err
		}
		if time.Since(l.Seen) >= idle {
			return errNoSession
		}
	}
	if ses.reloading.CompareAndSwap(false, true) {
		go func() {
			defer ses.reloading.Store(false)
			s.markSeen(ses)
		}()
	}
	return nil
}

// markSeen writes that a login was used, and reads it back into the cache.
func (s *Sessions) markSeen(ses *session) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	l, rec, err := s.loadLogin(ctx, ses.bits)
	if err != nil {
		return
	}
	l.Seen = time.Now()
	value, err := json.Marshal(l)
	if err != nil {
		return
	}
	if ttl := time.Until(l.Expires); ttl > 0 && s.vault.Replace(ctx, rec, value, ttl) == nil {
		s.reload(ses)
	}
}
