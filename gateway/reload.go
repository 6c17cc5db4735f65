package gateway

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// Succeed takes over the live requests of the previous configuration's gateway, which is
// about to be stopped. They go on, unless this gateway would not let the person in.
func (g *Gateway) Succeed(old *Gateway) { old.sessions.HandTo(g.sessions, g) }

// IdleLimit implements session.Policy.
func (g *Gateway) IdleLimit() time.Duration { return g.opts.Idle }

// LoginsChanged implements session.Policy.
func (g *Gateway) LoginsChanged(id string) {
	for _, op := range *g.openID.Load() {
		op.LoginsChanged(id)
	}
}

// Admits implements session.Policy. The apps that would get the live request now decide,
// and the strictest of them counts.
func (g *Gateway) Admits(c session.Connection, l *session.Login, id string) (until time.Time) {
	v, ok := c.(*visit)
	if !ok {
		return time.Time{}
	}
	if v.decision.app.gw == g {
		return v.decision.headers.Principal().Expires // this gateway has let it in
	}
	for i, a := range g.successors(v) {
		if end := a.admitsLive(v, l, id); i == 0 || end.Before(until) {
			until = end
		}
	}
	return until
}

// admitsLive returns when a live request of an earlier configuration has to end. Zero: the
// person is not let in.
//
// Its handlers may be changing its headers and address. So whether it needs a login at all
// is decided by its original path, and only for methods that can't name another path in a
// header.
func (a *App) admitsLive(v *visit, l *session.Login, id string) time.Time {
	method := v.Came().Method
	switch {
	case a.open != nil && (method == http.MethodGet || method == http.MethodHead) && a.open.Has(v.path, false):
		return l.Expires
	case a.decide(l, id, v.decision.issuer).denied != nil:
		return time.Time{}
	}
	return a.end(l)
}

// successors returns the app that replaces the one of a live request: at the same host,
// with the same audience. If there is none, it returns all apps at the host, since only
// the server knows which of them would get the request.
func (g *Gateway) successors(v *visit) []*App {
	host := target.Hostname(v.Came().Host)
	g.mu.Lock()
	defer g.mu.Unlock()
	if a := g.audiences[v.decision.app.audience(v.decision.issuer)]; a != nil && a.rank(host) > 0 {
		return []*App{a}
	}
	return g.best(host, func(*App) bool { return true })
}

// best returns the apps that name a host most precisely, among those for which take is
// true. The caller holds the lock.
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

// rank returns how precisely the app names a host: 3 exactly, 2 by a wildcard, 1 if it
// accepts any, 0 if it does not accept this one.
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
