package session

import (
	"cmp"
	"context"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// follow runs one Watch. If nothing is read meanwhile, the error is the best known
// reason.
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

// take handles a report of Watch. It drops the changed logins before it counts the
// others as confirmed.
func (s *Node) take(ctx context.Context, change store.Change) {
	all := change.Reset
	if change.Reset {
		s.vault.Forget()
		if s.rewound != nil {
			s.setRewound(nil) // not rewound, or another node has ended all sessions
		}
		if change.Risk != "" && change.Risk != s.risk {
			s.log.Warn("the session store can lose a logout that was acknowledged", zap.String("risk", change.Risk))
		}
		s.risk = change.Risk
	}
	for _, m := range change.Messages {
		if string(m) == announceAll {
			all = true // one reload for all messages
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
	s.reportHealth(ctx, change) // last, because it reads the store
}

// checkFit pings the store. If it answers but is not configured as we need, such as a
// Redis that evicts, it counts as down.
func (s *Node) checkFit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := s.store.Ping(ctx)
	if err != nil {
		if _, down := s.store.Get(ctx, "ping"); down != nil {
			return err
		}
		// The store answers. It may have been down until a moment ago, so ask for its
		// present condition.
		err = s.store.Ping(ctx)
	}
	s.vault.SetUnfit(cmp.Or(err, s.rewound))
	return err
}
