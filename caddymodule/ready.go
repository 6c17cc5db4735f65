package caddymodule

import (
	"context"
	"errors"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// Ready returns nil if the running configuration can let people in: it has started, and its
// session store responds and has the secret of this node. Providers don't count: without them
// signed-in people are served. Nor does a store that was replaced: all nodes have the same, and a
// page of theirs says so.
func Ready(ctx context.Context) error {
	active, err := caddy.ActiveContext().AppIfConfigured("sso")
	if err != nil {
		return errors.New("not started yet")
	}
	app, err := as[*App](active)
	if err != nil {
		return err
	}
	opened := app.opened.Load()
	if opened == nil {
		return errors.New("no site has sso")
	}
	err = opened.store.Ping(ctx)
	switch was := app.silent.Swap(err != nil); {
	case err != nil && !was:
		app.log.Warn("not ready: the session store does not respond as it should", zap.Error(err))
	case err == nil && was:
		app.log.Info("ready: the session store responds again")
	}
	switch {
	case err != nil:
		return errors.New("the session store does not respond as it should: see the log")
	case errors.Is(opened.Replaced(ctx), vault.ErrNameKey): // it is in the log already
		return errors.New("nobody can sign in, because the secret does not open the session store: see the log")
	}
	return nil
}
