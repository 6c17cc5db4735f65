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

// A cookieKey is a session cookie of some host. The value is an array, not a string:
// so the map holds it, and no request's header is kept alive.
type cookieKey struct {
	value [sessionSize]byte
	host  string
}

// A cached is a login in this node's cache: its last reading, and its live requests.
type cached struct {
	// The fields that every request reads come first, in one cache line.

	// last is nil if the store has to be read.
	last      atomic.Pointer[reading]
	used      atomic.Bool // since the last eviction
	reloading atomic.Bool
	noting    atomic.Bool // whether a use is being written to the store
	mu        sync.Mutex
	retired   bool  // removed from the cache: nothing would cut its requests
	live      *Live // head of a linked list
	key       string
	node      *Node

	checked time.Time // when the last read that confirmed the login began; guarded by mu
	bits    string

	// Guarded by Node.mu.
	cookies []cookieKey
	size    int

	// missing is since when last is nil; guarded by mu.
	missing time.Time
}

// A reading is a login as it was at one moment. Only its memo ever changes.
type reading struct {
	*Login
	memo   atomic.Value // see Session.Memo
	loaded time.Time
	until  time.Time // the login's Expires
	size   int
}

// Find returns the session that a cookie opens at host, or ErrNone. Any other error
// is a fault of the store, never "no session".
func (s *Node) Find(ctx context.Context, value, host string) (Session, error) {
	if len(value) != sessionSize {
		return Session{}, ErrNone
	}
	ck := cookieKey{host: host}
	copy(ck.value[:], value)
	s.mu.RLock()
	c := s.byCookie[ck]
	s.mu.RUnlock()
	now := time.Now()
	if c != nil {
		if r := c.last.Load(); r != nil && s.fresh(now) && now.Sub(r.loaded) < forgetAfter {
			if !now.Before(r.until) {
				s.drop(c)
				return Session{}, ErrNone
			}
			if !c.used.Load() {
				c.used.Store(true)
			}
			if now.Sub(r.loaded) > reloadAfter {
				s.reloadLater(c)
			}
			return Session{s, c, r}, nil
		}
	}
	bits, err := s.sessionBits(ctx, value, host)
	if err != nil {
		return Session{}, err
	}
	return s.load(ctx, bits, ck)
}

// fresh reports whether the cache may be used at all.
func (s *Node) fresh(now time.Time) bool {
	return now.Sub(s.started)-time.Duration(s.confirmed.Load()) < stale
}

// load reads a login from the store and caches it. If something changed meanwhile,
// the login is served this once and not cached. Enter reads it again, and cuts the
// request if the login is over.
func (s *Node) load(ctx context.Context, bits string, ck cookieKey) (Session, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	changes := s.changes.Load()
	now := time.Now()
	l, rec, err := s.loadLogin(ctx, bits)
	if errors.Is(err, ErrNone) {
		s.forget(ck)
	}
	if err != nil {
		return Session{}, err
	}
	// The logins of a provider share one copy of these texts.
	l.Account.Protocol, l.Account.Issuer = unique.Make(l.Account.Protocol).Value(), unique.Make(l.Account.Issuer).Value()
	r := &reading{Login: l, size: 1024 + 2*len(rec.Value), loaded: now, until: l.Expires}
	return Session{s, s.keep(rec.Key, bits, ck, r, changes), r}, nil
}

// keep puts a reading into the cache and returns its cached login.
func (s *Node) keep(key, bits string, ck cookieKey, r *reading, changes uint64) *cached {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byKey[key]
	if c == nil {
		c = &cached{key: key, bits: bits, node: s}
		s.byKey[key] = c
	}
	s.bytes += r.size - c.size
	c.size = r.size
	if ck != (cookieKey{}) && s.byCookie[ck] != c {
		ck.host = unique.Make(ck.host).Value() // one copy for all
		s.byCookie[ck] = c
		c.cookies = append(c.cookies, ck)
	}
	c.used.Store(true)
	c.sawGood(r.loaded)
	// changed() counts before it clears. So a reading from before a change is either
	// not stored here, or cleared afterwards.
	if s.changes.Load() == changes {
		c.last.Store(r)
	}
	if s.ended {
		c.retire(true)
	}
	s.evict(c)
	return c
}

// resize records the size of a cached login with its memo.
func (s *Node) resize(key string, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byKey[key]
	if c == nil {
		return
	}
	s.bytes += size - c.size
	c.size = size
	s.evict(c)
}

// evict keeps the cache within its bounds. Logins with live requests stay, because a
// revocation must find them, and so does spare, the newest. mu is held.
func (s *Node) evict(spare *cached) {
	for _, secondChance := range []bool{true, false} {
		for _, c := range s.byKey { // in random order
			if len(s.byKey) <= s.maxEntries && s.bytes <= s.maxBytes {
				return
			}
			if c == spare || secondChance && c.used.Swap(false) || !c.retire(false) {
				continue
			}
			s.remove(c)
		}
	}
}

// remove deletes a retired session from the cache. mu is held.
func (s *Node) remove(c *cached) {
	if s.byKey[c.key] != c {
		return
	}
	delete(s.byKey, c.key)
	for _, ck := range c.cookies {
		delete(s.byCookie, ck)
	}
	s.bytes -= c.size
	c.last.Store(nil)
}

// drop deletes a session that is over from the cache and cuts its requests.
func (s *Node) drop(c *cached) {
	c.retire(true)
	s.mu.Lock()
	s.remove(c)
	s.mu.Unlock()
	c.cut(errSessionOver)
}

func (s *Node) forget(ck cookieKey) {
	s.mu.RLock()
	c := s.byCookie[ck]
	s.mu.RUnlock()
	if c != nil {
		s.drop(c)
	}
}

// reloadLater reads logins again, off the request path.
func (s *Node) reloadLater(sessions ...*cached) {
	s.inBackground(sessions, s.reload)
}

// inBackground calls do for the sessions for which it does not run already.
func (s *Node) inBackground(sessions []*cached, do func(*cached)) {
	due := slices.DeleteFunc(sessions, func(c *cached) bool { return !c.reloading.CompareAndSwap(false, true) })
	if len(due) == 0 {
		return
	}
	go s.reloadAll(due, func(c *cached) {
		defer c.reloading.Store(false)
		do(c)
	})
}

// reload reads a login again and cuts its requests if it is over.
func (s *Node) reload(c *cached) {
	_, err := s.load(context.Background(), c.bits, cookieKey{})
	if errors.Is(err, ErrNone) {
		s.drop(c)
	}
}

// changed handles an announcement: the key of a login, or announceAll.
func (s *Node) changed(message string) {
	s.changes.Add(1)
	if message == announceAll {
		s.tellPolicy("")
		if len(s.busy(true)) > 0 {
			s.reloadBusy()
		}
		return
	}
	s.tellPolicy(message)
	s.mu.RLock()
	c := s.byKey[message]
	s.mu.RUnlock()
	if c == nil {
		return
	}
	c.unset(time.Now())
	if c.busy() {
		go s.reload(c)
	}
}

func (s *Node) tellPolicy(changed string) {
	if policy := s.policy.Load(); policy != nil {
		(*policy).LoginsChanged(changed)
	}
}

// busy returns the sessions with live requests. With forget, it clears all readings.
func (s *Node) busy(forget bool) []*cached {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var busy []*cached
	now := time.Now()
	for _, c := range s.byKey {
		if forget {
			c.unset(now)
		}
		if c.busy() {
			busy = append(busy, c)
		}
	}
	return busy
}

// reloadBusy reads all logins with live requests again, in the background. If
// requests for it come meanwhile, it runs once more when it is done. So blocking a
// list of people one by one does not read every login as many times.
func (s *Node) reloadBusy() {
	if s.rereads.Add(1) > 1 {
		return
	}
	go func() {
		for {
			asked := s.rereads.Load()
			s.reloadAll(s.busy(false), func(c *cached) {
				if c.busy() { // still busy: while the store hangs, requests are cut
					s.reload(c)
				}
			})
			if s.rereads.CompareAndSwap(asked, 0) {
				return
			}
		}
	}()
}

// reloaders is the number of logins that are read concurrently after a change to all.
const reloaders = 16

func (s *Node) reloadAll(busy []*cached, reload func(*cached)) {
	work := make(chan *cached)
	var wg sync.WaitGroup
	for range min(reloaders, len(busy)) {
		wg.Go(func() {
			for c := range work {
				reload(c)
			}
		})
	}
	for _, c := range busy {
		work <- c
	}
	close(work)
	wg.Wait()
}
