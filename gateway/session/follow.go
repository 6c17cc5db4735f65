package session

import (
	"cmp"
	"context"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// follow watches over one connection. If nothing is read meanwhile, the error says why it
// is not known better.
func (s *Node) follow(ctx context.Context) error {
	err := s.followOnce(ctx)
	if err != nil && s.rewound != nil {
		s.vault.SetUnfit(because(s.rewound, err))
	}
	return err
}

func (s *Node) followOnce(ctx context.Context) error {
	if err := s.checkFit(ctx); err != nil {
		return err
	}
	since, err := s.since(ctx)
	if err != nil {
		return err
	}
	watch, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = s.store.Watch(watch, since, func(change store.Change) {
		if change.Rewound {
			if err := s.startOver(ctx); err != nil {
				cancel(err)
			}
			return
		}
		s.take(ctx, change)
	})
	if cause := context.Cause(watch); cause != nil {
		return cause
	}
	return err
}

// take takes note of what a Watch reports. Logins that have changed are dropped before
// the others count as confirmed.
func (s *Node) take(ctx context.Context, change store.Change) {
	all := change.Reset
	if change.Reset {
		s.vault.Forget()
		if s.rewound != nil {
			s.setRewound(nil) // it did not, or another node has ended all sessions
		}
		if change.Risk != "" && change.Risk != s.risk {
			s.log.Warn("the session store can lose a logout that was acknowledged", zap.String("risk", change.Risk))
		}
		s.risk = change.Risk
	}
	for _, m := range change.Messages {
		if string(m) == announceAll {
			all = true // once for however many
			continue
		}
		s.changed(string(m))
	}
	if all {
		s.changed(announceAll)
	}
	s.confirmed.Store(int64(change.Began.Sub(s.started)))
	if at := s.followed.Load(); change.Position != "" && (at == nil || *at != change.Position) {
		s.followed.Store(&change.Position)
	}
	s.looked()
	s.reportHealth(ctx, change) // at the end: it asks the store
}

// checkFit pings the store. One that answers but is not configured as we need
// it, such as one that evicts, counts as down until it is.
func (s *Node) checkFit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := s.store.Ping(ctx)
	if err != nil {
		if _, down := s.store.Get(ctx, "ping"); down != nil {
			return err
		}
		// It answers. It may have been down until a moment ago, so what counts
		// is what it says of itself now.
		err = s.store.Ping(ctx)
	}
	s.vault.SetUnfit(cmp.Or(err, s.rewound))
	return err
}
