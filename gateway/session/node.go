// Package session keeps who is signed in, on every node.
//
// Accounts, logins and epochs are sealed records in one store that all nodes share. A
// Node connects one process to the store. It caches logins, follows the store's
// announcements, and ends requests with their login.
//
// # Guarantees
//
// A fault of the store is never taken for "no session", nor for "let in". A cached
// login is used for at most five seconds after the store last confirmed it. A login
// that is ended on one node ends on all. An epoch is a random value of which each
// login holds a copy; replacing it ends many logins at once. So no list has to be
// walked, and a login that is made meanwhile is void.
//
// The package does not import net/http. It also has flows, replay marks, limits and
// rounds, because all nodes share them.
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

// A Node connects one process to the store. It outlives configurations: after a
// reload, a new Gateway uses the same Node.
type Node struct {
	name   string // unique among nodes
	store  store.Store
	vault  *vault.Vault
	marker MarkerMemory
	log    *zap.Logger

	mu       sync.RWMutex
	byCookie map[cookieKey]*cached
	byKey    map[string]*cached // by the key of the login's record
	bytes    int                // approximate size of the cache
	ended    bool               // Run has ended: nothing would end live requests
	// maxEntries and maxBytes bound the cache.
	maxEntries, maxBytes int

	// confirmed is when the last confirmed read of the announcements began, as time
	// since started. All changes before it have been seen.
	confirmed atomic.Int64
	started   time.Time
	// changes counts announcements. If it moves while a login is read, the login may
	// be outdated and is not cached.
	changes atomic.Uint64
	owed    owed
	// rereads counts calls of reloadBusy since it was last idle.
	rereads atomic.Uint64

	health health

	// policy decides on live requests; nil until there is one. next takes over those
	// that are left when Run ends.
	policy atomic.Pointer[Policy]
	next   atomic.Pointer[Node]

	// resealed is set once the log has said that the second secret may go.
	resealed atomic.Bool

	markerMu sync.Mutex
	known    string // the marker that this machine remembers

	// position remembers how far the store was followed; kept is the remembered
	// value, and unkept the error of remembering. For keepHouse, and for Run before
	// it.
	position MarkerMemory
	followed atomic.Pointer[string]
	kept     string
	unkept   bool
	// rewound is set until Run knows that the store did not go back in time, or that
	// all sessions were ended because it did. For Run alone.
	rewound error
	// looked is called once Run has followed the store or failed to.
	looked func()
	first  chan struct{}
	// risk is the last logged risk of the store's settings, for Run alone.
	risk string
}

// Options configure a Node.
type Options struct {
	// Store keeps sealed records. Its owner closes it after Run has ended.
	Store store.Store
	// Secrets holds one or two secrets, see vault.New.
	Secrets [][]byte
	// Marker remembers the store that this machine knows.
	Marker MarkerMemory
	// Position remembers how far the store's changes were followed. So a store that
	// goes back in time while the process is down is noticed. Until Run has checked
	// that, the store counts as down. Optional.
	Position MarkerMemory
	Logger   *zap.Logger
}

// Fault gives an error of this package its code: StoreReplaced if the store's name
// key does not open, StoreUnavailable if the error has no code.
func Fault(err error) *refusal.Error {
	if errors.Is(err, vault.ErrNameKey) {
		return refusal.From(err, refusal.StoreReplaced)
	}
	return refusal.From(err, refusal.StoreUnavailable)
}

// Bounds of the cache.
const (
	// stale is how long a cached login may be used after the last confirmed read of
	// the announcements began.
	stale = 5 * time.Second
	// reloadAfter is the age at which a cached login is read again without an
	// announcement, for a writer that died between writing and announcing.
	reloadAfter = time.Minute
	// forgetAfter is the age at which a cached login is read before it is used.
	// Nobody has used it for a while, and the first request must not get an outdated
	// one.
	forgetAfter = 2 * reloadAfter
	// maxCached and maxBytes bound the cache.
	maxCached = 100_000
	maxBytes  = 256 << 20

	// tendEvery is the interval of tending live requests, tendSoon its minimum.
	tendEvery = time.Second
	tendSoon  = 10 * time.Millisecond

	retryWatch = 500 * time.Millisecond
	// storeTimeout bounds one read of the store.
	storeTimeout = 3 * time.Second
)

// Open returns a Node. It does no I/O. Until Run has confirmed the announcements,
// every request reads the store.
func Open(opts Options) (*Node, error) {
	s := &Node{
		name: vault.RandomText(), store: opts.Store, marker: opts.Marker, position: opts.Position, log: opts.Logger,
		byCookie: map[cookieKey]*cached{}, byKey: map[string]*cached{},
		maxEntries: maxCached, maxBytes: maxBytes,
		started: time.Now(), first: make(chan struct{}),
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

// Vault returns the vault over the same store.
func (s *Node) Vault() *vault.Vault { return s.vault }

// Run follows the store's announcements until ctx ends, and returns why it ended. It
// reconnects to a store that is down.
//
// When Run ends, all live requests are cut, unless another node takes them over (see
// HandTo). No more are let in, because nothing would end them with their logins.
func (s *Node) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.tend(ctx) })
	wg.Go(func() { s.keepHouse(ctx) })
	wg.Go(func() { s.repeat(ctx) })
	for ctx.Err() == nil {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			s.report(&s.health.down, err, "session store is unavailable", "")
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

// AwaitFirst waits until Run knows whether the store went back in time while the
// process was down, or the store has failed, or ctx has ended.
func (s *Node) AwaitFirst(ctx context.Context) {
	select {
	case <-s.first:
	case <-ctx.Done():
	}
}

// end retires all cached logins, present and later, and hands over or cuts their live
// requests.
func (s *Node) end() {
	s.confirmed.Store(-int64(stale))
	s.mu.Lock()
	s.ended = true
	for _, c := range s.byKey {
		c.retire(true)
	}
	s.mu.Unlock()
	// Nothing tends these requests any more: those that are not taken over within
	// stale are cut.
	ctx, cancel := context.WithTimeout(context.Background(), stale)
	defer cancel()
	s.reloadAll(s.busy(false), func(c *cached) { s.handOver(ctx, c) })
}

// tend ends live requests whose login has expired or can't be confirmed. It never
// waits for the store.
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

// keepHouse does the periodic work in the store.
func (s *Node) keepHouse(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	s.AwaitFirst(ctx) // note the marker as soon as it can be read
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

// sweep removes entries that find would reload anyway. This frees memory, also of
// memos: a memo refers to its app, and so to an old configuration.
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
		s.mu.Lock() // for both steps: a caller that finds a retired session retries at once
		if c.retire(false) {
			s.remove(c)
		}
		s.mu.Unlock()
	}
}

// tendLive tends the logins with live requests. It returns when to run again: earlier
// than usual if one will soon be unconfirmed for stale.
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
			// Nobody knows any more whether the login is valid.
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
