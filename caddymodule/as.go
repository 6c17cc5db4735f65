package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
)

// As names an app that keeps a session of its own, by a cookie. That cookie reaches the
// app only with the login, person and roles that it was set for. Otherwise it is removed
// and deleted, and the app begins a new session. Paths that need no login never have it.
// Poweradmin's own logout leads to the gateway's.
type As struct {
	// The app: "netbox" or "poweradmin".
	App string `json:"app"`

	// The app's own name of the gateway's OpenID Provider. If a person has to sign in at
	// the app, the app's login there begins without a click. Default: none, for an app
	// that verifies the assertion.
	Provider string `json:"provider,omitempty"`

	// The names of the session's cookies. Default: those that the app sets as it comes.
	Cookie []string `json:"cookie,omitempty"`
}

func (h *Handler) setAs(d *caddyfile.Dispenser, e entry) error {
	h.As = &As{}
	if err := text(&h.As.App)(d, e); err != nil {
		return err
	}
	options := block{once("provider <id>", text(&h.As.Provider)), once("cookie <name>…", list(&h.As.Cookie))}
	if err := options.parse(d); err != nil {
		return err
	}
	if _, err := h.As.resolve(); err != nil {
		return d.Err(err.Error())
	}
	return nil
}

func (a *As) resolve() (*connect.App, error) {
	if a == nil {
		return nil, nil
	}
	app, err := connect.New(a.App, a.Provider, a.Cookie)
	if err != nil {
		return nil, fmt.Errorf("as: %w", err)
	}
	return app, nil
}
