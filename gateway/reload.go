package gateway

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// Succeed takes over from the gateway of the configuration before, when that is
// about to be stopped: what people do there goes on, unless this one would not let
// them in.
func (g *Gateway) Succeed(old *Gateway) { old.sessions.HandTo(g.sessions, g) }

// IdleLimit implements session.Policy.
func (g *Gateway) IdleLimit() time.Duration { return g.opts.Idle }

// Admits implements session.Policy. A live request is judged by the apps that would
// get it now: the strictest of them counts.
func (g *Gateway) Admits(c session.Connection, l *session.Login, id string) (until time.Time) {
	v, ok := c.(*visit)
	if !ok {
		return time.Time{}
	}
	if v.view.app.gw == g {
		return v.view.headers.Principal().Expires // by this very policy
	}
	for i, a := range g.successors(v) {
		if end := a.admitsLive(v, l, id); i == 0 || end.Before(until) {
			until = end
		}
	}
	return until
}

// admitsLive returns when a live request of an earlier configuration ends here. It
// is zero if the person is not let in.
func (a *App) admitsLive(v *visit, l *session.Login, id string) time.Time {
	switch {
	case a.opensLive(v):
		return l.Expires
	case a.newView(l, id, v.view.issuer).denied != nil:
		return time.Time{}
	}
	return a.end(l)
}

// opensLive says whether a live request of an earlier configuration needs no login
// any more. Its handlers may be changing headers and address right now, so only the
// path counts that it came with, and only for methods that name no other one.
func (a *App) opensLive(v *visit) bool {
	method := v.Came().Method
	return a.open != nil && (method == http.MethodGet || method == http.MethodHead) && a.open.Has(v.path, false)
}

// successors returns the app that has come in the place of a live request's own: the
// one at its host with the same audience. If there is none, all apps at the host
// count: which of them would get the request is the host server's business.
func (g *Gateway) successors(v *visit) []*App {
	host := target.Hostname(v.Came().Host)
	g.mu.Lock()
	defer g.mu.Unlock()
	if a := g.audiences[v.view.app.audience(v.view.issuer)]; a != nil && a.rank(host) > 0 {
		return []*App{a}
	}
	return g.best(host, func(*App) bool { return true })
}

// best returns the apps that name a host most precisely, of those that take takes. The
// caller holds the lock.
func (g *Gateway) best(host string, take func(*App) bool) (best []*App) {
	rank := 1
	for _, a := range g.apps {
		switch r := a.rank(host); {
		case r < rank || !take(a):
		case r > rank:
			best, rank = []*App{a}, r
		default:
			best = append(best, a)
		}
	}
	return best
}

// rank says how precisely the app names a host: 3 exactly, 2 by a wildcard, 1 if it
// takes any, 0 if it does not take this one.
func (a *App) rank(host string) int {
	s := a.site.Load()
	switch {
	case s == nil || host == "":
		return 0
	case s.hosts[host]:
		return 3
	case s.hosts != nil:
		return 0
	case len(s.wild) == 0:
		return 1
	case slices.ContainsFunc(s.wild, func(w string) bool { return target.MatchesWild(w, host) }):
		return 2
	}
	return 0
}
