package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// Open stores and their sessions survive a reload: the new configuration takes hold of
// them before the old one releases them.
var (
	stores   = caddy.NewUsagePool() // *pooledStore by storeModule.key
	sessions = caddy.NewUsagePool() // *pooledSessions by store and secrets
)

// A pooledStore is an open store and the configurations that use it.
type pooledStore struct {
	closableStore

	mu    sync.Mutex
	users []storeUser
}

type storeUser struct {
	lender *lender
	module storeModule
}

// Destruct implements caddy.Destructor.
func (s *pooledStore) Destruct() error { return s.Close() }

// use gives the store the credentials of the newest configuration.
func (s *pooledStore) use(h *lender, module storeModule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = append(s.users, storeUser{h, module})
	module.renew(s.closableStore)
}

// leave removes a configuration. If it was the newest, the store gets the credentials of
// the one before it: a reload may fail.
func (s *pooledStore) leave(h *lender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = slices.DeleteFunc(s.users, func(u storeUser) bool { return u.lender == h })
	if n := len(s.users); n > 0 {
		s.users[n-1].module.renew(s.closableStore)
	}
}

// pooledSessions are the sessions in one store under one list of secrets, with their
// background work.
type pooledSessions struct {
	*session.Node
	keys   *signing.Keys
	spKeys *signing.SPKeys // for SAML requests
	// opKeys sign the tokens of the OpenID provider. Each is made when it is first needed.
	opKeys map[oidcop.Algorithm]*signing.Keys

	store    *pooledStore
	storeKey string
	lender   *currentLender
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// keysTimeout bounds how long a start waits for the signing keys.
const keysTimeout = 2 * time.Second

// firstLook bounds how long a start waits for the first check whether the store went back
// in time. Until then nobody is served.
const firstLook = time.Second

// stopTimeout bounds how long Destruct waits for the background work.
const stopTimeout = 5 * time.Second

// openSessions opens the store and its sessions, or returns them if they are open. The
// caller passes the key to closeSessions at the end.
func openSessions(store storeModule, secrets [][]byte, h *lender) (_ *pooledSessions, key string, err error) {
	key = store.key()
	for _, secret := range secrets {
		key += " " + digest(string(secret))
	}
	v, loaded, err := sessions.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newPooledSessions(store, secrets, h)
	})
	if err != nil {
		return nil, "", err
	}
	ps, err := as[*pooledSessions](v)
	if err != nil {
		return nil, "", err
	}
	if loaded {
		ps.lender.push(h)
	}
	ps.store.use(h, store)
	return ps, key, nil
}

// closeSessions releases what openSessions returned. The last caller closes the sessions,
// and the store if nothing else uses it.
func closeSessions(key string, h *lender) error {
	sessions.Range(func(k, v any) bool {
		if ps, ok := v.(*pooledSessions); ok && k == key {
			ps.lender.remove(h)
			ps.store.leave(h)
		}
		return k != key
	})
	_, err := sessions.Delete(key)
	return err
}

// openStore opens a store, or returns it if it is open.
func openStore(store storeModule) (*pooledStore, error) {
	v, _, err := stores.LoadOrNew(store.key(), func() (caddy.Destructor, error) {
		s, err := store.open()
		if err != nil {
			return nil, fmt.Errorf("opening the session store: %w", err)
		}
		return &pooledStore{closableStore: s}, nil
	})
	if err != nil {
		return nil, err
	}
	return as[*pooledStore](v)
}

// refuseSealed returns an error if the store was sealed with a secret: a new secret opens
// none of its records, and nobody could sign in.
func refuseSealed(ctx context.Context, store storeModule) (err error) {
	opened, err := openStore(store)
	if err != nil {
		return err
	}
	defer func() {
		_, closeErr := stores.Delete(store.key())
		err = errors.Join(err, closeErr)
	}()
	sealed, err := vault.Sealed(ctx, opened)
	if err == nil && sealed {
		err = fmt.Errorf("store %s was sealed with a secret that Caddy's storage does not have: did `storage` change? Copy %s from the storage used before, or name it by `secret`; or move the store's file away to start with an empty one, which ends all sessions and blocks",
			store.key(), secretFile)
	}
	return err
}

func newPooledSessions(store storeModule, secrets [][]byte, h *lender) (*pooledSessions, error) {
	opened, err := openStore(store)
	if err != nil {
		return nil, err
	}
	storeKey := store.key()
	ps := &pooledSessions{store: opened, storeKey: storeKey, lender: &currentLender{}}
	ps.lender.push(h)
	log := ps.lender.logger()
	ps.Node, err = session.Open(session.Options{
		Store: opened, Secrets: secrets, Logger: log,
		Marker:   storedNote{ps.lender.storage, markerFile, storeKey},
		Position: storedNote{ps.lender.storage, positionFile, storeKey},
	})
	if err != nil {
		_, closeErr := stores.Delete(storeKey)
		return nil, errors.Join(err, closeErr)
	}
	ps.keys = signing.New(ps.Vault(), ps.MayCreate, log)
	ps.spKeys = signing.NewSPKeys(ps.Vault(), ps.MayCreate, log)
	ps.opKeys = map[oidcop.Algorithm]*signing.Keys{
		oidcop.RS256: signing.NewSet(signing.OpenIDRS256, ps.Vault(), ps.MayCreate, log),
		oidcop.ES256: signing.NewSet(signing.OpenIDES256, ps.Vault(), ps.MayCreate, log),
	}
	var ctx context.Context
	ctx, ps.stop = context.WithCancel(context.Background())
	ps.running.Go(func() {
		if err := ps.Run(ctx); err != nil && ctx.Err() == nil {
			log.Error("following the session store ended", zap.Error(err))
		}
	})
	first, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	ps.AwaitFirst(first)
	ps.loadKeys()
	ps.running.Go(func() { ps.keys.Run(ctx) })
	ps.running.Go(func() { ps.spKeys.Run(ctx) })
	for _, keys := range ps.opKeys {
		ps.running.Go(func() { keys.Run(ctx) })
	}
	return ps, nil
}

// loadKeys waits for the signing keys, so that the first requests find them. If the store
// is down, Run logs that and tries again.
func (ps *pooledSessions) loadKeys() {
	ctx, cancel := context.WithTimeout(context.Background(), keysTimeout)
	defer cancel()
	_ = ps.keys.Load(ctx)
}

// Destruct implements caddy.Destructor.
func (ps *pooledSessions) Destruct() error {
	ps.stop()
	done := make(chan struct{})
	go func() { ps.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopTimeout):
	}
	_, err := stores.Delete(ps.storeKey)
	return err
}

// A lender has what a configuration lends to stores and sessions, which outlive it.
type lender struct {
	log     *zap.Logger
	storage storage
}

// A currentLender is the newest of the configurations that use the same sessions. An
// older one must not be used: its logger may write to a closed file.
type currentLender struct {
	newest atomic.Pointer[lender]
	mu     sync.Mutex
	all    []*lender
}

func (c *currentLender) push(h *lender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, h)
	c.newest.Store(h)
}

// remove removes a lender, except the last one.
func (c *currentLender) remove(h *lender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.all {
		if other == h && len(c.all) > 1 {
			c.all = append(c.all[:i:i], c.all[i+1:]...)
			c.newest.Store(c.all[len(c.all)-1])
			return
		}
	}
}

func (c *currentLender) storage() storage { return c.newest.Load().storage }

// logger returns a logger that writes wherever the newest configuration logs.
func (c *currentLender) logger() *zap.Logger { return zap.New(currentCore{lender: c}).Named("sso") }

// A currentCore is the core of the newest configuration's logger.
type currentCore struct {
	lender *currentLender
	fields []zapcore.Field
}

func (c currentCore) core() zapcore.Core { return c.lender.newest.Load().log.Core() }

// Enabled implements zapcore.Core.
func (c currentCore) Enabled(l zapcore.Level) bool { return c.core().Enabled(l) }

// With implements zapcore.Core.
func (c currentCore) With(fields []zapcore.Field) zapcore.Core {
	return currentCore{lender: c.lender, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements zapcore.Core. It passes the entry to the core of the newest
// configuration, because that may filter entries by name.
func (c currentCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	core := c.core()
	if len(c.fields) > 0 {
		core = core.With(c.fields)
	}
	return core.Check(e, ce)
}

// Write implements zapcore.Core.
func (c currentCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return c.core().Write(e, append(c.fields[:len(c.fields):len(c.fields)], fields...))
}

// Sync implements zapcore.Core.
func (c currentCore) Sync() error { return c.core().Sync() }

// Interface guards
var (
	_ caddy.Destructor = (*pooledStore)(nil)
	_ caddy.Destructor = (*pooledSessions)(nil)
	_ zapcore.Core     = currentCore{}
)
