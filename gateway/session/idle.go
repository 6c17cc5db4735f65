package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// Touch enforces an idle limit. It returns ErrNone if the login was not used for
// idle. Otherwise it notes the use, at intervals and off the request path.
func (s Session) Touch(ctx context.Context, idle time.Duration) error {
	unused := time.Since(s.reading.Seen)
	if unused < noteEvery(idle) {
		return nil
	}
	if unused >= idle {
		// Another node may have noted a use since.
		l, _, err := s.node.loadLogin(ctx, s.cached.bits)
		if err != nil {
			return err
		}
		if time.Since(l.Seen) >= idle {
			return ErrNone
		}
	}
	s.node.noteUse(s.cached, s.reading.until)
	return nil
}

// noteEvery is the interval of noting uses: writing each one would load the store.
func noteEvery(idle time.Duration) time.Duration { return idle / 10 }

func (s *Node) noteUse(c *cached, expires time.Time) {
	if c.noting.CompareAndSwap(false, true) {
		go func() {
			defer c.noting.Store(false)
			s.markSeen(c, expires)
		}()
	}
}

// markSeen writes that a login was used, and reads it back into the cache.
func (s *Node) markSeen(c *cached, expires time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	ttl := time.Until(expires)
	if ttl <= 0 {
		return
	}
	err := s.vault.Update(ctx, kindLogin, c.bits, ttl, func(old *vault.Record) ([]byte, error) {
		if old == nil {
			return nil, ErrNone
		}
		l, err := decode[Login](old)
		if err != nil {
			return nil, err
		}
		l.Seen = time.Now()
		return json.Marshal(l)
	})
	if err == nil {
		s.reload(c)
	}
}

// Used notes, at intervals, that the client has sent data by a live request. Data
// from the app do not count: perhaps nobody reads them.
func (lr *Live) Used() {
	c := lr.cached()
	idle := c.node.idle()
	if idle == 0 {
		return
	}
	r := c.last.Load()
	if r == nil {
		r = lr.reading
	}
	if time.Since(r.Seen) >= noteEvery(idle) {
		c.node.noteUse(c, r.until)
	}
}

// idle returns the idle limit; zero means none.
func (s *Node) idle() time.Duration {
	if policy := s.policy.Load(); policy != nil {
		return (*policy).IdleLimit()
	}
	return 0
}

// unused returns how long the login was not used, as far as this node knows.
func (c *cached) unused(now time.Time) time.Duration {
	if r := c.last.Load(); r != nil {
		return now.Sub(r.Seen)
	}
	return 0
}

// endUnused ends the live requests of logins that were not used for idle. Another
// node may have noted a use, so it reads the store. If the store does not answer, the
// idle limit cuts nothing.
func (s *Node) endUnused(idle time.Duration, unused []*cached) {
	s.inBackground(unused, func(c *cached) {
		found, err := s.load(context.Background(), c.bits, cookieKey{})
		switch {
		case errors.Is(err, ErrNone):
			s.drop(c)
		case err == nil && time.Since(found.reading.Seen) >= idle:
			c.cut(errUnused)
		}
	})
}
