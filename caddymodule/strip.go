package caddymodule

import (
	"context"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

func init() {
	caddy.RegisterModule(new(Strip))
	httpcaddyfile.RegisterDirective("sso_strip", parseStrip)
	httpcaddyfile.RegisterDirectiveOrder("sso_strip", httpcaddyfile.Before, "method")
}

// Strip takes out of a request what `sso` takes out: identity headers, the
// assertion, our cookies and headers of other gateways, and at the gateway's own
// addresses query, body and Referer, which may hold a code that nobody has used. It lets
// everybody pass, and says of nobody who it is.
//
// It is for `handle_errors` and other routes in which requests come that `sso`
// has not seen: there it stands before a handler that passes requests on, such
// as `reverse_proxy`. In answers it takes out what would set or delete our
// cookies, as `sso` does. A request that brought a code is in the access log
// without it.
type Strip struct {
	app *App
	log *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Strip) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.sso_strip",
		New: func() caddy.Module { return new(Strip) },
	}
}

// parseStrip parses the directive, which is one word.
func parseStrip(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next()
	if h.NextArg() || h.NextBlock(0) {
		return nil, h.Errf("unexpected '%s': 'sso_strip' takes no matcher, no arguments and no block: write it alone on its line", h.Val())
	}
	return h.NewRoute(nil, new(Strip)), nil
}

// Provision finds the app, which knows the names.
func (s *Strip) Provision(ctx caddy.Context) error {
	s.log = ctx.Logger()
	app, err := ctx.App("sso")
	if err != nil {
		return err
	}
	s.app, err = as[*App](app)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (s *Strip) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !s.app.hasCredentials(r) {
		return s.strip(w, r, next)
	}
	path, _, _ := strings.Cut(peerOf(r).Target, "?")
	defer s.app.logRedacted(w, r, path)()
	noReferrer(w)
	r = dropCredentials(r)
	if err := s.strip(w, r, next); err != nil {
		return handleErrors(s.log, w, r, err) // Caddy would log the request with it
	}
	return nil
}

func (s *Strip) strip(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return s.app.gateway.Strip(w, r, peerOf(r), func(w http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		return next.ServeHTTP(w, r)
	})
}

// hasCredentials says whether a request may bring credentials to an address of ours, at
// any of the sites.
func (a *App) hasCredentials(r *http.Request) bool {
	target := peerOf(r).Target
	for _, h := range a.handlers {
		if h.own.HasCredentials(r.Method, target) {
			return true
		}
	}
	return false
}

// dropCredentials takes query, body and Referer out of a request to an address of
// ours, in its placeholders too, before others get it. It returns the request to go on with:
// PHP is told Caddy's original request, which its context holds.
func dropCredentials(r *http.Request) *http.Request {
	r.URL.RawQuery, r.URL.ForceQuery = "", false
	r.RequestURI, _, _ = strings.Cut(r.RequestURI, "?")
	r.Body, r.ContentLength, r.TransferEncoding = http.NoBody, 0, nil
	r.Form, r.PostForm, r.MultipartForm = nil, nil, nil
	r.Header.Del("Content-Length")
	r.Header.Del("Referer") // may be this very address, where a page posts to its own
	path, _, _ := strings.Cut(peerOf(r).Target, "?")
	repl := replacerOf(r)
	repl.Set("http.request.orig_uri", path)
	repl.Set("http.request.orig_uri.query", "")
	repl.Set("http.request.orig_uri.prefixed_query", "")
	orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return r
	}
	if orig.URL != nil {
		u := *orig.URL
		u.RawQuery, u.ForceQuery = "", false
		orig.URL = &u
	}
	orig.RequestURI = path
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, orig))
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Strip)(nil)
	_ caddyhttp.MiddlewareHandler = (*Strip)(nil)
)
