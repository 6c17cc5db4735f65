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

// answered ends a request that did not go to the app. err is the gateway's error.
//
// No log may show a provider's answer: an address with a code and a state, a redirect to
// one, or the form of a SAML provider. But Caddy logs each request as it came in, and
// again with each error that reaches its server: at DEBUG if error routes handle the
// error, at ERROR if they fail, too. A handler can't change that copy, and in a build by
// xcaddy nothing redacts it. So such a request is kept out of the access log, and
// `sso.access` writes a line without the query instead. Its errors end here:
// handleErrors has a subroute of Caddy's run `handle_errors`. If they went to the server,
// TestNoCredentialsInLogs and TestNoCredentialsInLogsOfStripped would find codes that
// nobody has used.
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

// noReferrer keeps a page's address out of the requests for its images and scripts.
func noReferrer(w http.ResponseWriter) { w.Header().Set("Referrer-Policy", "no-referrer") }

// hasCredentials says whether the request or the redirect that answers it may have a code
// or a state in it. It checks the address from before any handler changed it. In error
// routes no login begins, so a redirect has none.
func (h *Handler) hasCredentials(w http.ResponseWriter, r *http.Request) bool {
	return failed(r) == nil && strings.Contains(w.Header().Get("Location"), "?") || h.own.HasCredentials(r.Method, peerOf(r).Target)
}

// loggedTarget returns the address for the access log. One of ours loses its query.
func (h *Handler) loggedTarget(r *http.Request) string {
	target := peerOf(r).Target
	if h.own.Owns(target) {
		target, _, _ = strings.Cut(target, "?")
	}
	return target
}

// handOver turns a refusal into an error for handle_errors.
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

// handleErrors leaves an error to the server's error routes, but not to the server, which
// would log the request (see answered). The request loses its credentials first: no
// handler of the error routes gets them (see cut.go). An error in the error routes ends
// here.
func handleErrors(log *zap.Logger, w http.ResponseWriter, r *http.Request, err error) error {
	if first := failed(r); first != nil {
		log.Error("handle_errors failed", zap.Error(err))
		w.WriteHeader(statusOf(first))
		return nil
	}
	routes := caddyhttp.Subroute{Errors: new(caddyhttp.HTTPErrorConfig)}
	if server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); server != nil && server.Errors != nil {
		routes.Errors = server.Errors
	}
	ends := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if failed(r) == nil {
			return err // the subroute takes it to the error routes
		}
		w.WriteHeader(statusOf(err))
		return nil
	})
	if again := routes.ServeHTTP(w, dropCredentials(r), ends); again != nil {
		log.Error("handle_errors failed", zap.Error(again))
		w.WriteHeader(statusOf(err))
	}
	return nil
}

// statusOf returns the status for an error of the handler chain.
func statusOf(err error) int {
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok && he.StatusCode != 0 {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

// logRedacted keeps a request out of the access log. Call it before other handlers get
// the request (see note). Call the returned function at the end: if Caddy would have
// logged the request, it writes a line of `sso.access` with target as the address.
// Only the recorder of the access log tells that. If the writer of another handler hides
// it, there is no line.
func (a *App) logRedacted(w http.ResponseWriter, r *http.Request, target string) func() {
	ctx := r.Context()
	skipped, _ := caddyhttp.GetVar(ctx, caddyhttp.LogSkipVar).(bool)
	caddyhttp.SetVar(ctx, caddyhttp.LogSkipVar, true)
	rec := recorderOf(w)
	if skipped || rec == nil {
		return func() {}
	}
	return func() {
		ip, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			ip = r.RemoteAddr
		}
		duration, _ := replacerOf(r).Get("http.request.duration")
		fields := []zap.Field{
			zap.Dict("request",
				zap.String("remote_ip", ip), zap.Stringer("client_ip", peerOf(r).Addr), zap.String("proto", r.Proto),
				zap.String("method", r.Method), zap.String("host", r.Host), zap.String("uri", target), zap.Bool("redacted", true)),
			zap.Any("duration", duration), zap.Int("size", rec.Size()), zap.Int("status", rec.Status()),
		}
		level := zap.InfoLevel // as Caddy's own lines
		if rec.Status() >= http.StatusInternalServerError {
			level = zap.ErrorLevel
		}
		a.access.Log(level, "handled request", fields...)
	}
}

// recorderOf returns the recorder of the access log, or nil if there is none or another
// handler's writer hides it.
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

// writeEvent writes a line of the audit log, for one event, or for so many equal ones if
// more is not 0.
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
	add("client", ev.Client)
	add("provider", ev.Provider)
	add("user", ev.Username)
	add("code", string(ev.Code))
	add("reference", ev.Reference)
	if ev.Type == gateway.EventLogin {
		fields = append(fields, zap.String("host", ev.Host), zap.Strings("roles", ev.Roles), zap.Int("groups", ev.Groups))
		add("template", ev.Template)
		if len(ev.AppGroups) > 0 {
			fields = append(fields, zap.Strings("app_groups", ev.AppGroups))
		}
	}
	if ev.Code != "" {
		add("fix", ev.Code.Meaning().Fix)
	}
	if ev.Addr.IsValid() {
		add("client_ip", ev.Addr.String())
	}
	c.Write(append(fields, zap.Error(ev.Err))...)
}
