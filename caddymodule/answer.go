package caddymodule

import (
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// answered ends a request that did not go to the app. err is what the gateway
// returned.
//
// No log may show the response of a provider: an address with a code and a state, a
// redirect to one, or what a SAML provider has the browser post. But Caddy logs each
// request as it came in, and once more with each error that reaches its server, and
// nothing can change that copy. So such a request is taken out of the access log: a
// line of `sso.access` without the query stands for it. And its errors don't reach the
// server: handleErrors runs `handle_errors` from here.
func (h *Handler) answered(w http.ResponseWriter, r *http.Request, err error) error {
	private := h.hasCredentials(w, r)
	if private {
		defer h.app.logRedacted(w, r, h.loggedTarget(r))()
	}
	switch {
	case gateway.Refused(err) != nil:
		err = h.handOver(r, err)
	case err != nil && private && failed(r) == nil:
		h.log.Error("answering failed", zap.Error(err))
		return nil
	}
	if err == nil || !private {
		return err
	}
	noReferrer(w)
	return handleErrors(h.log, w, r, err)
}

// noReferrer keeps the address of a page from what the page loads.
func noReferrer(w http.ResponseWriter) { w.Header().Set("Referrer-Policy", "no-referrer") }

// hasCredentials says whether the request, or the redirect that answers it, has
// something in it that is nobody's business. A request is judged by its address
// as it was before any handler changed it. In error routes no login begins: a redirect
// there says no more than the address did that was asked for.
func (h *Handler) hasCredentials(w http.ResponseWriter, r *http.Request) bool {
	return failed(r) == nil && strings.Contains(w.Header().Get("Location"), "?") || h.own.HasCredentials(r.Method, peerOf(r).Target)
}

// loggedTarget is the address for the access log: one of ours without its query.
func (h *Handler) loggedTarget(r *http.Request) string {
	target := peerOf(r).Target
	if h.own.Owns(target) {
		target, _, _ = strings.Cut(target, "?")
	}
	return target
}

// handOver makes an error for handle_errors of a refusal.
func (h *Handler) handOver(r *http.Request, err error) error {
	e := refusal.From(err, refusal.Internal)
	leaveNote(gateway.Refused(err), r)
	meaning := e.Code.Meaning()
	repl := replacerOf(r)
	repl.Set("http.error.sso.code", string(e.Code))
	repl.Set("http.error.sso.title", meaning.Title)
	repl.Set("http.error.sso.text", meaning.Text)
	herr := caddyhttp.Error(meaning.Status, err)
	if e.Reference != "" {
		herr.ID = e.Reference
	}
	return herr
}

// handleErrors does what Caddy's server does with an error, but for the log (see
// answered). The request came to an address of ours: handlers of error routes don't get
// what it brought, the guard of error routes included (see cut.go). An error of the
// error routes themselves ends here.
func handleErrors(log *zap.Logger, w http.ResponseWriter, r *http.Request, err error) error {
	if first := failed(r); first != nil {
		log.Error("handle_errors failed", zap.Error(err))
		w.WriteHeader(statusOf(first))
		return nil
	}
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server != nil && server.Errors != nil && len(server.Errors.Routes) > 0 {
		r = dropCredentials(r)
		r = server.Errors.WithError(r, err)
		written := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(statusOf(err))
			return nil
		})
		handled := server.Errors.Routes.Compile(written).ServeHTTP(w, r)
		if handled == nil {
			return nil
		}
		log.Error("handle_errors failed", zap.Error(handled))
	}
	w.WriteHeader(statusOf(err))
	return nil
}

// statusOf returns what an error of the handler chain is answered with.
func statusOf(err error) int {
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok && he.StatusCode != 0 {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

// logRedacted takes a request out of the access log. Call it before other handlers get
// the request (see note). The function that it returns writes a line of `sso.access`
// with target for the address, if Caddy would have logged the request.
func (a *App) logRedacted(w http.ResponseWriter, r *http.Request, target string) func() {
	ctx := r.Context()
	rec := recorderOf(w)
	if skipped, _ := caddyhttp.GetVar(ctx, caddyhttp.LogSkipVar).(bool); skipped || rec == nil {
		return func() {}
	}
	caddyhttp.SetVar(ctx, caddyhttp.LogSkipVar, true)
	return func() {
		ip, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			ip = r.RemoteAddr
		}
		duration, _ := replacerOf(r).Get("http.request.duration")
		a.access.Info("handled request",
			zap.Dict("request",
				zap.String("remote_ip", ip), zap.Stringer("client_ip", peerOf(r).Addr), zap.String("proto", r.Proto),
				zap.String("method", r.Method), zap.String("host", r.Host), zap.String("uri", target), zap.Bool("redacted", true)),
			zap.Any("duration", duration), zap.Int("size", rec.Size()), zap.Int("status", rec.Status()))
	}
}

// recorderOf returns the recorder of the access log, or nil if the request is
// not logged.
func recorderOf(w http.ResponseWriter) caddyhttp.ResponseRecorder {
	for {
		if rec, ok := w.(caddyhttp.ResponseRecorder); ok {
			return rec
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil
		}
		w = u.Unwrap()
	}
}

// observe writes the audit log.
func (a *App) observe(ev gateway.Event) {
	if ev.Type == gateway.EventRefused {
		a.refusals.note(ev)
		return
	}
	a.writeEvent(ev, 0)
}

// writeEvent writes a line of the audit log. more says how many equal events it stands
// for; 0 is an event alone.
func (a *App) writeEvent(ev gateway.Event, more int) {
	level, message := zap.InfoLevel, ev.Type
	if ev.Type == gateway.EventRefused {
		level = zap.WarnLevel
	}
	if more > 0 {
		message += " again"
	}
	c := a.audit.Check(level, message)
	if c == nil {
		return
	}
	fields := []zap.Field{zap.String("app", ev.App)}
	if more > 0 {
		fields = append(fields, zap.Int("count", more), zap.Duration("within", window(ev.Code)))
	}
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, zap.String(key, value))
		}
	}
	add("provider", ev.Provider)
	add("user", ev.Username)
	add("code", string(ev.Code))
	add("reference", ev.Reference)
	if ev.Type == gateway.EventLogin {
		fields = append(fields, zap.String("host", ev.Host), zap.Strings("roles", ev.Roles), zap.Int("groups", ev.Groups))
	}
	if ev.Code != "" {
		add("fix", ev.Code.Meaning().Fix)
	}
	if ev.Addr.IsValid() {
		add("client_ip", ev.Addr.String())
	}
	c.Write(append(fields, zap.Error(ev.Err))...)
}
