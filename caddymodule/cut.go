package caddymodule

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/passage"
)

// What it takes for a login's end to cut requests at the connection. The server has
// to tell the connections. And error routes run when `sso` has returned, with the
// server's own ResponseWriter: so a guard of ours comes first in them.

// notesKey is the key of a request's notes among its placeholders.
const notesKey = "sso.notes"

// A note has the request that ended in an error, with the context for Resume.
//
// It is left with the placeholders, which have a lock. Caddy's variables have none,
// and a proxy that was given up may still be dialing and read them: to write them once
// others have had the request could end the process.
type note struct{ passed *http.Request }

// String keeps the note out of what shows all placeholders.
func (*note) String() string { return "" }

// leaveNote leaves a note for error routes.
func leaveNote(passed context.Context, r *http.Request) {
	replacerOf(r).Set(notesKey, &note{r.WithContext(passed)})
}

// guardRequests prepares the server that a handler is being provisioned for, before
// it starts and before Caddy provisions its error routes. The same goes for the
// subroutes that the handler stands in.
func (a *App) guardRequests(ctx caddy.Context) {
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		if !slices.Contains(a.servers, server) {
			a.servers = append(a.servers, server)
			server.RegisterConnContext(passage.ConnContext)
		}
		guardErrors(server.Errors)
	}
	for _, module := range ctx.Modules() {
		if subroute, ok := module.(*caddyhttp.Subroute); ok {
			guardErrors(subroute.Errors)
		}
	}
}

// guardErrors puts an errorGuard first in error routes.
func guardErrors(routes *caddyhttp.HTTPErrorConfig) {
	if routes == nil || len(routes.Routes) == 0 {
		return
	}
	if first := routes.Routes[0].Handlers; len(first) == 1 && first[0] == caddyhttp.MiddlewareHandler(errorGuard{}) {
		return
	}
	guard := caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{errorGuard{}}}
	routes.Routes = append(caddyhttp.RouteList{guard}, routes.Routes...)
}

// resetting is held while a stream is reset: if sites are nested, a request is in two
// passages, which end at once.
var resetting sync.Mutex

// resetStream ends an HTTP/3 stream, whatever its handler waits for.
func resetStream(w http.ResponseWriter) {
	resetting.Lock()
	defer resetting.Unlock()
	if s, ok := w.(http3.HTTPStreamer); ok {
		stream := s.HTTPStream()
		stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	}
}

// An errorGuard has an error route end with the login of the request.
type errorGuard struct{}

// CaddyModule returns a name for it. It can't be configured.
func (errorGuard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.sso_error_guard", New: func() caddy.Module { return errorGuard{} }}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (errorGuard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	left, _ := replacerOf(r).Get(notesKey)
	n, ok := left.(*note)
	if !ok {
		return next.ServeHTTP(w, r)
	}
	replacerOf(r).Delete(notesKey)
	err := gateway.Resume(n.passed.Context(), w, r, next.ServeHTTP)
	if err != nil { // from a subroute's error routes to the server's
		replacerOf(r).Set(notesKey, n)
	}
	return err
}

// Interface guards
var _ caddyhttp.MiddlewareHandler = errorGuard{}
