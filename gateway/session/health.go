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

// A trouble is a condition of the store that is logged when it begins, once for each
// different error, and when it is over.
type trouble struct {
	said  map[string]bool // errors already logged; nil without trouble
	since time.Time
}

// begins notes an error and reports whether to log it. Errors that differ only in
// numbers (ports) are the same.
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

// ends reports whether there was a trouble, and how long it lasted.
func (t *trouble) ends() (lasted time.Duration, was bool) {
	if t.said == nil {
		return 0, false
	}
	t.said = nil
	return time.Since(t.since), true
}

// health is the known troubles of the store, for Run alone.
type health struct {
	down, replaced, refuses trouble

	looked time.Time // when the marker was last checked
}

// report logs a trouble that begins, or that is over because there is no error.
func (s *Node) report(t *trouble, err error, begun, over string) {
	if err != nil {
		if t.begins(err) {
			s.log.Warn(begun, zap.Time("since", t.since), zap.Error(err))
		}
		return
	}
	if lasted, was := t.ends(); was {
		s.log.Info(over, zap.Duration("after", lasted))
	}
}

// reportHealth logs what an answering store refuses, and when it works again.
func (s *Node) reportHealth(ctx context.Context, change store.Change) {
	h := &s.health
	if change.Reset || h.replaced.said != nil && time.Since(h.looked) >= time.Second {
		h.looked = time.Now()
		err, begun := s.Replaced(ctx), "session store was replaced: nobody can sign in"
		if errors.Is(err, vault.ErrNameKey) {
			begun = "the secret does not open the session store: nobody can sign in"
		}
		s.report(&h.replaced, err, begun, "session store is the known one again")
		if err == nil && change.Reset {
			s.reportFollowed()
		}
	}
	if change.Refuses != nil || !change.Reset { // a Reset does not know it yet
		s.report(&h.refuses, change.Refuses, "session store takes no writes: nobody can sign in", "session store takes writes again")
	}
}

func (s *Node) reportFollowed() {
	var fields []zap.Field
	if lasted, was := s.health.down.ends(); was {
		fields = append(fields, zap.Duration("after", lasted))
	}
	s.log.Info("session store is followed", fields...)
}

// Replaced returns why MayCreate would refuse: the store is not the one that
// this machine knows. It changes nothing, and returns nil if that is unknown.
func (s *Node) Replaced(ctx context.Context) error {
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	found, _, err := s.compareMarker(ctx)
	if err == nil && found == "" {
		err = s.checkEmpty(ctx)
	}
	if !isReplaced(err) {
		return nil
	}
	return err
}
