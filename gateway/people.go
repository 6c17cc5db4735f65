package gateway

import (
	"context"
	"errors"
	"slices"

	"github.com/caddy-sso/caddy-sso/gateway/entry"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
)

// From are rules for the people of some providers, and for nobody else.
type From = entry.From

// divide gives each provider of the app its people, with their rules, and so for each
// client.
func (a *App) divide() (err error) {
	var faults faults
	a.policy, err = entry.New(entry.Options{
		Providers: a.providers, Autologin: a.opts.Autologin, Rules: a.opts.Rules, From: a.opts.From, SomeProviders: len(a.opts.Clients) > 0,
		SamePeople: slices.Concat(a.gw.opts.SamePeople, a.opts.SamePeople), Format: a.opts.HeaderFormat,
		App: a.name, Logger: a.gw.log, Once: a.gw.once,
	})
	for _, names := range a.opts.SamePeople {
		faults.add("", usernames.CheckSame(names, a.policy.Names(), ""))
	}
	if faults.add("", err); len(faults) == 0 && len(a.opts.Clients) > 0 {
		a.clients, err = a.policy.NewClients(entry.ClientOptions{
			Clients: a.opts.Clients, End: a.end, Transport: a.opts.ClientTransport,
			Login: func(ctx context.Context, id string) (*session.Login, error) { return a.gw.sessions.LoginByID(ctx, id) },
		})
		faults.add("op", err)
	}
	for _, p := range a.providers {
		if len(faults) == 0 && (a.policy.ReadsGroups(p) || a.clients != nil && a.clients.ReadsGroups(p)) {
			a.gw.grouped.Store(p, true)
		}
	}
	return errors.Join(faults...)
}

// nameOf returns the name of a person on pages and in the audit log. It is the one that
// apps are told, if there is one.
func (g *Gateway) nameOf(l *session.Login) string {
	p := g.byName[l.Provider] // unless it was renamed since
	if p == nil || !p.Made(l) {
		i := slices.IndexFunc(g.providers, func(p *NamedProvider) bool { return p.Made(l) })
		if i < 0 {
			return l.Identity.Username
		}
		p = g.providers[i]
	}
	name, err := p.Users.Name(l.Identity.Username)
	if err != nil || l.Identity.Username == "" {
		return l.Identity.Username
	}
	return name
}
