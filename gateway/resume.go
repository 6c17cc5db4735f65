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

// What a request that ended in an error takes along to what answers the error, such
// as an error route: the App that had it first, its login, and our cookies, which are in
// its headers no more. An App that stands there judges by them as if they had come, and
// nobody else sees them.

// takenKey is the key of a *taken among the values of a request's context.
type takenKey struct{}

// A taken says which App has taken our cookies out of a request.
type taken struct {
	app     *App
	cookies cookie.Own
}

// takenBefore returns what another App has taken out of the request, if one has.
func takenBefore(ctx context.Context) taken {
	if v := visitOf(ctx); v != nil {
		return taken{v.view.app, cookie.Own{Session: v.cookie}}
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

// A handedOverError is a refusal that the caller of ServeHTTP answers.
type handedOverError struct {
	refused *refusal.Error
	shown   *session.Refused
	address string // see showRefusal
	r       *http.Request
}

// Error implements error.
func (h *handedOverError) Error() string { return h.refused.Error() }

// Unwrap returns the refusal.
func (h *handedOverError) Unwrap() error { return h.refused }

// Refused returns the context for Resume if err is a refusal that ServeHTTP has left to
// its caller, else nil.
func Refused(err error) context.Context {
	if h, ok := errors.AsType[*handedOverError](err); ok {
		return h.r.Context()
	}
	return nil
}

// Resume guards what answers an error that a request ended in by the login that the
// request came by. passed is the context that the app was given, or that of Refused.
// If the login is over, the request is aborted.
func Resume(passed context.Context, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request) error) error {
	before := visitOf(passed)
	if before == nil {
		if t := takenBefore(passed); t.app != nil {
			r = r.WithContext(t.app.withTaken(r.Context(), t.cookies))
		}
		return next(w, r)
	}
	v := &visit{view: before.view, path: before.path, cookie: before.cookie, token: before.token}
	v.Connection = v
	if !v.Continue(&before.Passage, w, r) {
		panic(http.ErrAbortHandler)
	}
	defer v.Leave()
	err := next(v.Writer(), v.Request())
	v.AbortIfCut()
	return err
}

// An App in an error route answers none of our addresses, and refuses nobody a second
// time: what the App before it has said stands. So nobody is sent round, and the audit
// trail has each refusal once.

// standing returns the refusal that was handed over, if it stands: a sign-in would
// answer those that merely ask for one.
func (x *exchange) standing() *handedOverError {
	h, ok := errors.AsType[*handedOverError](x.peer.Failed)
	if !ok || h.refused.Code == refusal.Unauthenticated && !x.isOurs() {
		return nil
	}
	return h
}

// stand answers with what the request has ended in.
func (x *exchange) stand() error {
	if h := x.standing(); h != nil {
		return x.showRefusal(h.shown, h.address, h.refused.Err)
	}
	return x.peer.Failed
}

// isOurs says whether the app, or another one at the host of the request, answers its
// address itself.
func (x *exchange) isOurs() bool {
	g := x.app.gw
	g.mu.Lock()
	defer g.mu.Unlock()
	return x.app.Owns(x.path) || slices.ContainsFunc(g.apps, func(a *App) bool { return a.rank(x.host) > 0 && a.Owns(x.path) })
}

// ours returns the lines of Set-Cookie that came with a refusal that was handed over.
func (p Peer) ours(w http.ResponseWriter) []string {
	if Refused(p.Failed) == nil {
		return nil
	}
	return slices.Clone(w.Header()["Set-Cookie"])
}

// front returns the app that answers our addresses at the host of the request: not an
// app in an error route, if there is another one. The app that had the request first
// comes first, then those that name the host most precisely.
func (x *exchange) front() *App {
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

// canSignIn says whether somebody answers where a login begins.
func (x *exchange) canSignIn() bool {
	return x.peer.Failed == nil || x.site != nil && !x.site.unplaced || x.front() != x.app
}
