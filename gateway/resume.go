package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/passage"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// If a request ends in an error, an error route or the like answers it. It gets what this
// file keeps: the App that had the request first, its login, and our cookies, which are
// no longer in the headers. An App in the error route uses them as if they had come with
// the request. Nobody else sees them.

// takenKey is the key of a *taken in a request's context.
type takenKey struct{}

// A taken says which App has taken our cookies out of a request, and keeps them.
type taken struct {
	app     *App
	cookies cookie.Own
}

// takenBefore returns what another App has taken out of the request, if one has.
func takenBefore(ctx context.Context) taken {
	if v := visitOf(ctx); v != nil {
		return taken{v.decision.app, cookie.Own{Session: v.cookie}}
	}
	if t, ok := ctx.Value(takenKey{}).(*taken); ok {
		return *t
	}
	return taken{}
}

// visitOf returns the visit that a context belongs to, or nil.
func visitOf(ctx context.Context) *visit {
	p := passage.Of(ctx)
	if p == nil {
		return nil
	}
	v, _ := p.Connection.(*visit)
	return v
}

// Passed returns the context for Resume of a request that the app was given with ctx.
func (a *App) Passed(ctx context.Context) context.Context { return a.withTaken(ctx, cookie.Own{}) }

// withTaken returns a context with what was taken out of its request.
func (a *App) withTaken(ctx context.Context, cookies cookie.Own) context.Context {
	if takenBefore(ctx).app != nil {
		return ctx
	}
	return context.WithValue(ctx, takenKey{}, &taken{a, cookies})
}

// A handedOverError is a refusal that the caller of ServeHTTP has to answer.
type handedOverError struct {
	refused *refusal.Error
	shown   *session.Refused
	address string // see showRefusal
	r       *http.Request
}

func (h *handedOverError) Error() string { return h.refused.Error() }

func (h *handedOverError) Unwrap() error { return h.refused }

// Refused returns the context for Resume if err is a refusal that ServeHTTP has left to
// its caller. Otherwise it returns nil.
func Refused(err error) context.Context {
	if h, ok := errors.AsType[*handedOverError](err); ok {
		return h.r.Context()
	}
	return nil
}

// Resume passes a request on to next, which answers the error that the request ended in.
// The login of the request still holds for it: if that is over, the request is aborted.
// passed is the context that the app was given, or that of Refused.
func Resume(passed context.Context, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request) error) error {
	before := visitOf(passed)
	if before == nil {
		if t := takenBefore(passed); t.app != nil {
			r = r.WithContext(t.app.withTaken(r.Context(), t.cookies))
		}
		return next(w, r)
	}
	v := &visit{decision: before.decision, path: before.path, cookie: before.cookie, token: before.token}
	v.Connection = v
	if !v.Continue(&before.Passage, w, r) {
		panic(http.ErrAbortHandler)
	}
	defer v.Leave()
	err := next(v.Writer(), v.Request())
	v.AbortIfCut()
	return err
}

// An App in an error route serves none of our addresses. If the App before it has refused
// the request, that refusal stands. So there is no redirect loop, and the audit trail has
// each refusal once.

// standing returns the refusal that stands, if there is one. Unauthenticated does not stand
// for a path of the app's: a sign-in mends it.
func (x *request) standing() *handedOverError {
	h, ok := errors.AsType[*handedOverError](x.peer.Failed)
	if !ok || h.refused.Code == refusal.Unauthenticated && !x.isOurs() {
		return nil
	}
	return h
}

// stand answers with the refusal that stands, or returns the error.
func (x *request) stand() error {
	if h := x.standing(); h != nil {
		return x.showRefusal(h.shown, h.address, h.refused.Err)
	}
	return x.peer.Failed
}

// isOurs says whether the address of the request is one of the gateway's own, of this app
// or of another one at its host.
func (x *request) isOurs() bool {
	g := x.app.gw
	g.mu.Lock()
	defer g.mu.Unlock()
	return x.app.Owns(x.path) || slices.ContainsFunc(g.apps, func(a *App) bool { return a.rank(x.host) > 0 && a.Owns(x.path) })
}

// ours returns the Set-Cookie lines of a refusal that was handed over.
func (p Peer) ours(w http.ResponseWriter) []string {
	if Refused(p.Failed) == nil {
		return nil
	}
	return slices.Clone(w.Header()["Set-Cookie"])
}

// front returns the app that serves our addresses at the host of the request. An app in an
// error route does so only if there is no other. The app that had the request first is
// preferred, then one that names the host most precisely.
func (x *request) front() *App {
	if x.site == nil || !x.site.unplaced {
		return x.app
	}
	placed := func(a *App) bool { s := a.site.Load(); return s != nil && !s.unplaced }
	if a := takenBefore(x.r.Context()).app; a != nil && placed(a) {
		return a
	}
	x.app.gw.mu.Lock()
	defer x.app.gw.mu.Unlock()
	best := x.app.gw.best(x.host, placed)
	if len(best) == 0 {
		return x.app
	}
	return best[max(0, slices.IndexFunc(best, func(a *App) bool { return a.site.Load().issuer == x.here() }))]
}

// canSignIn says whether an app serves the address where a login begins.
func (x *request) canSignIn() bool {
	return x.peer.Failed == nil || x.site != nil && !x.site.unplaced || x.front() != x.app
}
