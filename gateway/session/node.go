// Package session is the engine of sessions: who is signed in, on every node.
//
// Accounts, logins and epochs are sealed records in one store that all nodes
// share. A Node is one process's view of it. It caches logins, follows the
// store's announcements, and ends the requests that live by a login when the
// login ends.
//
// # What the package promises
//
// A fault of the store is never taken for "no session", nor for "let in". A
// cached login is served for five seconds at most after the store last confirmed
// it. A login that is ended on one node ends on all. To end many logins at once,
// an epoch is replaced: a random value of which each login holds a copy. So no
// list has to be walked, and a login that is being made meanwhile is void.
//
// The package knows no HTTP. Flows, replay marks, limits and rounds are here too,
// because all nodes share them.
package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A Node is one process's view of the store. It outlives configurations: a
// reload makes a new Gateway over the same Node.
type Node struct {
	name   string // tells it from other nodes
	store  store.Store
	vault  *vault.Vault
	marker MarkerMemory
	log    *zap.Logger

	mu       sync.RWMutex
	byCookie map[cookieKey]*cached
	byKey    map[string]*cached // by the key of the login's record
	bytes    int                // what the cache holds, roughly
	ended    bool               // Run has ended: nobody looks after live requests
	// maxEntries and maxBytes bound the cache.
	maxEntries, maxBytes int

	// confirmed is when the last confirmed read of the announcements began, on
	// the clock of started. Before it, every change has been seen.
	confirmed atomic.Int64
	started   time.Time
	// changes counts what was announced. A login that was read while it moved
	// may be out of date and is not cached.
	changes atomic.Uint64
	owed    owed
	// rereads counts what has asked for reloadBusy since it last came to rest.
	rereads atomic.Uint64

	health health

	// policy decides on live requests; nil until there is one. next looks after
	// those that are left when Run ends.
	policy atomic.Pointer[Policy]
	next   atomic.Pointer[Node]

	// resealed is set once the log has said that the second secret may go.
	resealed atomic.Bool

	markerMu sync.Mutex
	known    string // the marker as this machine remembers it

	// position remembers how far the store was followed; kept is what it
	// remembers, and unkept that it failed to. For keepHouse, and for Run before it.
	position MarkerMemory
	followed atomic.Pointer[string]
	kept     string
	unkept   bool
	// rewound is set until Run has looked whether the store went back in time, and
	// while that is so and sessions are not ended yet. For Run alone.
	rewound error
	// looked closes first, once Run has followed the store or failed to.
	looked func()
	first  chan struct{}
	// risk is what was said last of the store's settings, for Run alone.
	risk string
}

// Options are what a Node is made of.
type Options struct {
	// Store keeps what is sealed. Its owner closes it, after Run has ended.
	Store store.Store
	// Secrets holds one or two secrets, see vault.New.
	Secrets [][]byte
	// Marker remembers which store this machine knows.
	Marker MarkerMemory
	// Position remembers how far the store's changes were followed, so that a store
	// that goes back in time while the process is down is noticed. Until Run has
	// looked, the store counts as down. Optional.
	Position MarkerMemory
	Logger   *zap.Logger
}

// Fault gives an error of this package its code: StoreReplaced if the store's name
// key does not open, StoreUnavailable if the error has no code of its own.
func Fault(err error) *refusal.Error {
	if errors.Is(err, vault.ErrNameKey) {
		return refusal.From(err, refusal.StoreReplaced)
	}
	return refusal.From(err, refusal.StoreUnavailable)
}

// Bounds of the cache and of what may be served from it.
const (
	// stale is how long a cached login may be served since the last confirmed
	// read of the announcements began.
	stale = 5 * time.Second
	// reloadAfter is when a cached login is read anew although nothing was
	// announced, for a writer that died between writing and announcing.
	reloadAfter = time.Minute
	// forgetAfter is the age from which it is read anew before it is served:
	// nobody has asked for it for a while, and the first request must not be the
	// one that finds out.
	forgetAfter = 2 * reloadAfter
	// maxCached and maxBytes bound the cache.
	maxCached = 100_000
	maxBytes  = 256 << 20

	// tendEvery is how often live requests are looked after, tendSoon how often
	// at most.
	tendEvery = time.Second
	tendSoon  = 10 * time.Millisecond

	retryWatch = 500 * time.Millisecond
	// storeTimeout bounds one look at the store.
	storeTimeout = 3 * time.Second
)

// Open returns a Node. It does no I/O: until Run has
// confirmed the announcements, the store is asked at every request.
func Open(opts Options) (*Node, error) {
	s := &Node{
		name: vault.RandomText(), store: opts.Store, marker: opts.Marker, position: opts.Position, log: opts.Logger,
		byCookie: map[cookieKey]*cached{}, byKey: map[string]*cached{},
		maxEntries: maxCached, maxBytes: maxBytes,
		started: time.Now(), first: make(chan struct{}), owed: owed{some: make(chan struct{}, 1)},
	}
	s.looked = sync.OnceFunc(func() { close(s.first) })
	s.confirmed.Store(-int64(stale))
	vault, err := vault.New(opts.Store, opts.Secrets, s.MayCreate)
	if err != nil {
		return nil, err
	}
	s.vault = vault
	if s.position != nil {
		s.setRewound(errNotLooked)
	}
	return s, nil
}

// Vault returns the sealed records of the same store.
func (s *Node) Vault() *vault.Vault { return s.vault }

// Run follows the store's announcements until ctx ends, and returns why it
// did. A store that is down is tried again.
//
// When Run ends, all live requests are cut, unless another node takes them over
// (see HandTo). No more are let in, because nothing would end them with their
// logins.
func (s *Node) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.tend(ctx) })
	wg.Go(func() { s.keepHouse(ctx) })
	wg.Go(func() { s.repeat(ctx) })
	for ctx.Err() == nil {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			s.reportDown(err)
		}
		s.looked()
		select {
		case <-ctx.Done():
		case <-time.After(retryWatch):
		}
	}
	s.end()
	wg.Wait()
	return context.Cause(ctx)
}

// AwaitFirst waits until Run knows whether the store went back in time while the process
// was down, or the store has failed, or ctx has ended.
func (s *Node) AwaitFirst(ctx context.Context) {
	select {
	case <-s.first:
	case <-ctx.Done():
	}
}

// end retires what is cached, now and later, and hands all live requests over, or
// cuts them.
func (s *Node) end() {
	s.confirmed.Store(-int64(stale))
	s.mu.Lock()
	s.ended = true
	for _, c := range s.byKey {
		c.retire(true)
	}
	s.mu.Unlock()
	// Nobody looks after these requests any more: what is not taken over within
	// stale is cut.
	ctx, cancel := context.WithTimeout(context.Background(), stale)
	defer cancel()
	s.reloadAll(s.busy(false), func(c *cached) { s.handOver(ctx, c) })
}

// tend ends live requests whose login has expired or can't be confirmed. It
// never waits for the store.
func (s *Node) tend(ctx context.Context) {
	look := time.NewTimer(tendEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		look.Reset(s.tendLive(time.Now()))
	}
}

// keepHouse does what has to be done in the store from time to time.
func (s *Node) keepHouse(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	s.AwaitFirst(ctx) // the marker is to be known as soon as it can be read
	swept, tidy := time.Now(), time.Now().Add(s.tidyWait())
	for {
		s.noteMarker(ctx)
		select {
		case <-ctx.Done():
			s.keepPosition(context.WithoutCancel(ctx))
			return
		case <-tick.C:
		}
		s.keepPosition(ctx)
		if now := time.Now(); now.Sub(swept) > forgetAfter {
			swept = now
			s.sweep(now)
		}
		if time.Now().After(tidy) {
			if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("tidying the session store", zap.Error(err))
			}
			tidy = time.Now().Add(s.tidyWait())
		}
	}
}

// sweep removes from the cache what find would reload anyway. This frees memory,
// also that of memos: a view keeps its app, and with it an old configuration.
func (s *Node) sweep(now time.Time) {
	var old []*cached
	s.mu.RLock()
	for _, c := range s.byKey {
		if r := c.last.Load(); r == nil || now.Sub(r.loaded) >= forgetAfter {
			old = append(old, c)
		}
	}
	s.mu.RUnlock()
	for _, c := range old {
		s.mu.Lock() // for both steps: a caller that finds a retired session looks again at once
		if c.retire(false) {
			s.remove(c)
		}
		s.mu.Unlock()
	}
}

// tendLive looks after the logins with live requests, and returns when it has
// to look again: sooner than usual if one is about to be unconfirmed for stale.
func (s *Node) tendLive(now time.Time) (again time.Duration) {
	again = tendEvery
	confirmed := s.started.Add(time.Duration(s.confirmed.Load()))
	var due, unused []*cached
	idle := s.idle()
	for _, c := range s.busy(false) {
		c.cutBefore(now)
		if idle > 0 && c.unused(now) >= idle {
			unused = append(unused, c)
		}
		switch unsure := now.Sub(c.confirmed(now, confirmed)); {
		case unsure >= stale:
			// Nobody can say any more whether the login still holds.
			c.cut(errUnconfirmed)
		case unsure >= stale/2 || c.outdated(now):
			due = append(due, c)
			again = min(again, max(stale-unsure, tendSoon))
		}
	}
	s.endUnused(idle, unused)
	s.reloadLater(due...)
	return again
}
