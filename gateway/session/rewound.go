package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// since returns how far the store's changes were followed, by this Node or an earlier
// process of this machine.
func (s *Node) since(ctx context.Context) (string, error) {
	if at := s.followed.Load(); at != nil {
		return *at, nil
	}
	if s.position == nil {
		return "", nil
	}
	at, err := s.position.Load(ctx)
	if err != nil {
		return "", fmt.Errorf("loading how far the store was followed: %w", err)
	}
	s.kept = at
	return at, nil
}

// keepPosition remembers how far the store was followed, for the next process. If
// that fails, it is tried again.
func (s *Node) keepPosition(ctx context.Context) {
	at := s.followed.Load()
	if s.position == nil || at == nil || *at == s.kept {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := s.position.Save(ctx, *at); err != nil {
		if !s.unkept {
			s.log.Warn("how far the session store was followed can't be remembered: if it goes back in time while the gateway is down, ended sessions live again", zap.Error(err))
		}
		s.unkept = true
		return
	}
	s.kept, s.unkept = *at, false
}

// Faults while ended sessions could be valid again.
var (
	errRewound   = errors.New("the store went back in time and may have lost logouts")
	errNotLooked = errors.New("it is not known yet whether the store went back in time")
)

// because adds why following the store has failed. It does not wrap fault: a
// store.ErrNotFound in it would mean "no session".
func because(rewound, fault error) error {
	if errors.Is(fault, rewound) {
		return fault
	}
	return fmt.Errorf("%w: %s", rewound, fault.Error())
}

func (s *Node) setRewound(err error) {
	s.rewound = err
	s.vault.SetUnfit(err)
}

// The first node that finds that a store went back in time puts its name here, and
// only it ends the sessions. A second node would also end the new sessions that
// people began meanwhile. If the first node dies, the next may try after claimTime.
const (
	claimKey  = "rewound"
	claimTime = 10 * time.Second
)

// claim returns an error if another node is about to end all sessions. If the store
// is too full for a claim, this node ends them without one.
func (s *Node) claim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if !errors.Is(s.store.PutNew(ctx, claimKey, []byte(s.name), claimTime), store.ErrExists) {
		return nil
	}
	found, err := s.store.Get(ctx, claimKey)
	if err == nil && len(found[0]) > 0 && string(found[0]) != s.name {
		return fmt.Errorf("%w: another node is ending all sessions", errRewound)
	}
	return nil
}

// startOver ends all logins: the store may contain logins that were ended since.
// Without a global epoch it contains no valid login.
func (s *Node) startOver(ctx context.Context) error {
	s.vault.Forget()
	s.setRewound(errRewound)
	if err := s.claim(ctx); err != nil {
		return err
	}
	err := s.renewEpoch(vault.Mending(ctx), globalEpoch, func(context.Context, string) ([]byte, error) {
		return nil, store.ErrNotFound
	})
	empty := errors.Is(err, store.ErrNotFound)
	if err != nil && !empty {
		return fmt.Errorf("%w: ending all sessions: %w", errRewound, err)
	}
	s.setRewound(nil)
	if empty {
		return nil // reportHealth says that it was replaced
	}
	s.log.Error("the session store went back in time: everybody is signed out, since it may have lost logouts. Accounts that were blocked since are not blocked: block them again",
		zap.String("cause", "a restart from a snapshot or after a crash, a restored backup, a failover to a replica that lagged, or the compaction of an embedded store's file"))
	return nil
}
