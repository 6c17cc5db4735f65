package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A trouble is something that is wrong with the store. It is logged when it begins,
// once for each error that it shows, and when it is over.
type trouble struct {
	said  map[string]bool // nil if there is none
	since time.Time
}

// begins notes an error and says whether it has to be logged. Errors that differ in
// numbers alone (ports) are one.
func (t *trouble) begins(err error) bool {
	text := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
	if t.said == nil {
		t.said, t.since = map[string]bool{}, time.Now()
	}
	first := !t.said[text]
	t.said[text] = true
	return first
}

// ends says whether there was a trouble, and how long.
func (t *trouble) ends() (lasted time.Duration, was bool) {
	if t.said == nil {
		return 0, false
	}
	t.said = nil
	return time.Since(t.since), true
}

// health is what is wrong with the store, for Run alone.
type health struct {
	down, replaced, refuses trouble

	looked time.Time // when the marker was looked at
}

// reportDown logs a fault of the store.
func (s *Node) reportDown(err error) {
	if s.health.down.begins(err) {
		s.log.Warn("session store is unavailable", zap.Time("since", s.health.down.since), zap.Error(err))
	}
}

// reportHealth logs what a store that answers can't do, and when it can again.
func (s *Node) reportHealth(ctx context.Context, change store.Change) {
	h := &s.health
	if change.Reset || h.replaced.said != nil && time.Since(h.looked) >= time.Second {
		h.looked = time.Now()
		s.reportReplaced(s.replacedError(ctx), change.Reset)
	}
	if change.Refuses != nil && h.refuses.begins(change.Refuses) {
		s.log.Warn("session store takes no writes: nobody can sign in", zap.Time("since", h.refuses.since), zap.Error(change.Refuses))
	}
	if change.Refuses == nil && !change.Reset {
		if lasted, was := h.refuses.ends(); was {
			s.log.Info("session store takes writes again", zap.Duration("after", lasted))
		}
	}
}

func (s *Node) reportReplaced(err error, followed bool) {
	h := &s.health
	if err != nil {
		if h.replaced.begins(err) {
			s.log.Warn("session store was replaced: nobody can sign in", zap.Time("since", h.replaced.since), zap.Error(err))
		}
		return
	}
	if lasted, was := h.replaced.ends(); was {
		s.log.Info("session store is the known one again", zap.Duration("after", lasted))
	}
	if !followed {
		return
	}
	var fields []zap.Field
	if lasted, was := h.down.ends(); was {
		fields = append(fields, zap.Duration("after", lasted))
	}
	s.log.Info("session store is followed", fields...)
}

// replacedError says why MayCreate would refuse: the store is not the one that this
// machine knows. It changes nothing, and is nil if nobody knows.
func (s *Node) replacedError(ctx context.Context) error {
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	found, err := s.findMarker(ctx)
	if errors.Is(err, vault.ErrRecord) {
		return err
	}
	if err != nil || found != "" && found == s.known {
		return nil
	}
	remembered, err := s.marker.Load(ctx)
	if err != nil {
		return nil
	}
	if err := s.compareMarker(found, remembered); err != nil || found != "" {
		return err
	}
	if accounts, err := s.store.Range(ctx, indexAccounts, "", "", 1); err != nil || len(accounts) == 0 {
		return nil
	}
	return errNameless
}
