package gateway

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/passage"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// What a request that ended in an error takes along to what answers the error, such
// as an error route: its login, and our cookies, which are in its headers no more. An
// App that stands there judges by them as if they had come, and nobody else sees them.

// takenKey is the key of our cookies, which an App has taken out of a request, among
// the values of its context.
type takenKey struct{}

// takenBefore returns the cookies that another App has taken out of the request, or
// else those that came.
func takenBefore(ctx context.Context, came cookie.Own) cookie.Own {
	if v := visitOf(ctx); v != nil {
		return cookie.Own{Session: v.cookie, Browser: came.Browser, Provider: came.Provider, Refused: came.Refused}
	}
	if taken, ok := ctx.Value(takenKey{}).(cookie.Own); ok {
		return taken
	}
	return came
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

// withTaken returns a request whose context has the cookies that were taken out of it.
func withTaken(r *http.Request, own cookie.Own) *http.Request {
	if own.Session == "" {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), takenKey{}, own))
}

// A handedOverError is a refusal that the caller of ServeHTTP answers.
type handedOverError struct {
	refused *refusal.Error
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
		taken, _ := passed.Value(takenKey{}).(cookie.Own)
		return next(w, withTaken(r, taken))
	}
	v := &visit{view: before.view, path: before.path, cookie: before.cookie, values: before.values}
	v.Connection = v
	if !v.Continue(&before.Passage, w, r) {
		panic(http.ErrAbortHandler)
	}
	defer v.Leave()
	err := next(v.Writer(), v.Request())
	v.AbortIfCut()
	return err
}

// front returns the app that answers our addresses at the host of the request: not an
// app in an error route, if there is another one.
func (x *exchange) front() *App {
	if !x.site.unplaced {
		return x.app
	}
	x.app.gw.mu.Lock()
	defer x.app.gw.mu.Unlock()
	for _, a := range x.app.gw.apps {
		if s := a.site.Load(); s != nil && !s.unplaced && a.rank(x.host) > 0 {
			return a
		}
	}
	return x.app
}
