package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"go.uber.org/zap"
)

// A flow follows requests that `sso` may never have seen: Caddy runs the error
// routes for errors that come before it, such as a TLS name that is not the
// host's (421) or a matcher that fails on what a client sent. The same holds for
// the routes of `intercept`, which run when something before `sso` has answered.
type flow struct {
	server *caddyhttp.Server
	// guards are the host names at which there is an sso: errors at others are
	// none of its business.
	guards []hostNames
	// where names the routes that are followed, for messages; empty while it is
	// the main routes, where only those of errors and answers count.
	where string
	depth int
	site  string
	under []string // named routes that are being followed

	faults []error
	// open are the handlers that get requests which were stripped, whoever sends
	// them.
	open []string
}

// followUnseen refuses handlers that would get requests as clients send them.
func (a *App) followUnseen(app *caddyhttp.App, places []place) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		f := &flow{server: app.Servers[name]}
		handedOver := false
		for _, p := range places {
			names := p.names
			if p.server == "" { // in a named route or another handler, of which server nobody knows
				names = hostNames{hostOf(p.handler.BaseURL)}
			}
			if p.server == name || p.server == "" {
				f.guards = append(f.guards, names)
				handedOver = handedOver || p.handler.Errors != ""
			}
		}
		if len(f.guards) == 0 {
			continue
		}
		f.routes(f.server.Routes, progress{})
		if f.server.Errors != nil {
			f.elsewhere("handle_errors", f.server.Errors.Routes, progress{})
		}
		errs = append(errs, f.faults...)
		if handedOver && len(f.open) > 0 {
			a.log.Warn("with `errors caddy` the error routes get what sso has refused: everybody gets in to what is behind these handlers, without an identity",
				zap.String("server", name), zap.Strings("handlers", f.open))
		}
	}
	return errors.Join(errs...)
}

func (f *flow) fault(format string, args ...any) {
	err := fmt.Errorf("site %s: %s", f.site, fmt.Sprintf(format, args...))
	if !slices.ContainsFunc(f.faults, func(e error) bool { return e.Error() == err.Error() }) {
		f.faults = append(f.faults, err)
	}
}

// progress is what has been done to a request, whatever matchers said.
type progress struct {
	stripped bool // nothing is left in it that only the gateway may say
	guarded  bool // sso has let it in
	fixed    bool // the path is the configuration's
	matched  bool // so are the placeholders of the file matcher
	rooted   bool // the client chooses the directory of files
}

func (p progress) and(q progress) progress {
	return progress{p.stripped && q.stripped, p.guarded && q.guarded, p.fixed && q.fixed, p.matched && q.matched, p.rooted || q.rooted}
}

// routes follows a list of routes and returns what all requests have behind them
// after it.
func (f *flow) routes(list caddyhttp.RouteList, p progress) progress {
	groups := map[string]progress{} // what those have behind them that took a route of the group
	for _, route := range list {
		if f.depth == 0 && !f.enterSite(route.MatcherSets) {
			continue
		}
		f.depth++
		after := f.route(&route, p)
		f.depth--
		unlike := after
		unlike.matched = p.matched && after.matched
		for name, other := range groups {
			if name != route.Group {
				groups[name] = other.and(after)
			}
		}
		if route.Group != "" {
			if taken, ok := groups[route.Group]; ok {
				unlike = unlike.and(taken)
			}
			groups[route.Group] = unlike
		}
		if len(route.MatcherSets) > 0 {
			unlike = unlike.and(p)
		}
		p = unlike
	}
	return p
}

// enterSite notes which site a route of the server is, and says whether it may get
// requests to one with an sso.
func (f *flow) enterSite(sets caddyhttp.MatcherSets) bool {
	names := namesOf(sets)
	f.site = strings.Join(names, ", ")
	if names == nil {
		f.site = strings.Join(f.server.Listen, ", ")
	}
	return slices.ContainsFunc(f.guards, names.overlap)
}

// route follows one route, for the requests that take it.
func (f *flow) route(route *caddyhttp.Route, p progress) progress {
	if len(route.MatcherSets) > 0 { // any of them may be the one that matched
		matched := true
		for _, set := range route.MatcherSets {
			matched = filesIn(set, p.matched) && matched
		}
		p.matched = matched
	}
	for _, handler := range route.Handlers {
		p = f.handler(handler, p)
	}
	return p
}

func (f *flow) handler(handler caddyhttp.MiddlewareHandler, p progress) progress {
	switch h := handler.(type) {
	case *Handler:
		if p.stripped && !p.guarded {
			f.fault("'sso_strip' comes before 'sso' and takes the session cookie away, so nobody would ever be signed in: move it into `handle_errors`, or into the `handle` that has no 'sso'")
		}
		p.stripped, p.guarded = true, true
	case *Strip:
		if p.guarded && f.where == "" {
			f.fault("'sso_strip' comes after 'sso' and takes the person's identity away from the app: it belongs into `handle_errors`, or another route that `sso` does not guard")
		}
		p.stripped = true
	case caddyhttp.VarsMiddleware:
		p.rooted = rootOfClient(h, p.rooted)
	case *caddyhttp.VarsMiddleware:
		p.rooted = rootOfClient(*h, p.rooted)
	case *rewrite.Rewrite:
		p.fixed = fixesPath(h, p)
	case *caddyhttp.Subroute:
		return f.subroute(h, p)
	case *caddyhttp.Invoke:
		return f.named(h.Name, p)
	case *intercept.Intercept:
		f.answers("handle_response of intercept", h.HandleResponse, p)
	case *reverseproxy.Handler:
		f.passesOn(proxyName(h), p)
		if f.where != "" { // elsewhere, what has passed the proxy has passed
			f.answers("handle_response", h.HandleResponse, p)
		}
	case *fileserver.FileServer:
		f.servesFiles(h, p)
	default:
		if name := handlerName(handler); !harmless[name] {
			f.passesOn(name, p)
		}
	}
	return p
}

// subroute follows a subroute, and its error routes from where it began.
func (f *flow) subroute(h *caddyhttp.Subroute, p progress) progress {
	after := f.routes(h.Routes, p)
	if h.Errors == nil {
		return after
	}
	return after.and(f.elsewhere("the error routes of a subroute", h.Errors.Routes, p))
}

// named follows a named route.
func (f *flow) named(name string, p progress) progress {
	route := f.server.NamedRoutes[name]
	if route == nil || slices.Contains(f.under, name) {
		return p
	}
	f.under = append(f.under, name)
	after := f.route(route, p)
	f.under = f.under[:len(f.under)-1]
	if len(route.MatcherSets) > 0 {
		after = after.and(p)
	}
	return after
}

// answers follows the routes that an answer may lead to. What is in them can't be
// counted on by what comes after.
func (f *flow) answers(where string, list []caddyhttp.ResponseHandler, p progress) {
	for _, h := range list {
		f.elsewhere(where, h.Routes, p)
	}
}

// elsewhere follows routes in which more counts than in the main ones.
func (f *flow) elsewhere(where string, list caddyhttp.RouteList, p progress) progress {
	above := f.where
	if above == "" {
		f.where = where
	}
	after := f.routes(list, p)
	f.where = above
	return after
}

// passesOn judges a handler that may pass a request on, headers and all.
func (f *flow) passesOn(name string, p progress) {
	switch {
	case f.where == "" || p.guarded:
	case p.stripped:
		f.open = append(f.open, name)
	case slices.Contains(standard, name):
		f.fault("'%s' in %s gets requests as clients send them, forged identity headers and all, for errors can come before 'sso' is asked: "+
			"write the line `sso_strip` before it, in %[2]s", name, f.where)
	default:
		f.fault("'%s' in %s is a handler that sso does not know: it may pass requests on as clients send them, forged identity headers and all: "+
			"write the line `sso_strip` before it, in %[2]s", name, f.where)
	}
}

// servesFiles judges a file server: it is harmless if the client does not choose
// the file.
func (f *flow) servesFiles(h *fileserver.FileServer, p progress) {
	switch {
	case f.where == "" || p.guarded || p.fixed && !p.rooted && !fromClient(strings.ReplaceAll(h.Root, "{http.vars.root}", "")):
	case p.stripped:
		f.open = append(f.open, "file_server")
	default:
		f.fault("'file_server' in %s serves any file that a client asks for, for errors can come before 'sso' is asked: "+
			"write the line `rewrite * /{err.status_code}.html` before it, in %[1]s; or `sso_strip`, if everybody may read all of its files", f.where)
	}
}

// harmless are the handlers of Caddy that change a request or an answer, or end a
// request with what the configuration says. They pass nothing to an app.
var harmless = map[string]bool{
	"authentication": true, "copy_response": true, "copy_response_headers": true, "encode": true, "error": true, "headers": true, "intercept": true,
	"invoke": true, "log_append": true, "map": true, "push": true, "request_body": true, "rewrite": true, "static_response": true, "subroute": true,
	"sso": true, "sso_error_guard": true, "sso_strip": true, "templates": true, "timeouts": true, "tracing": true, "vars": true,
}

// standard are the handlers of Caddy, and the well known one for PHP, that answer
// by themselves.
var standard = []string{"acme_server", "file_server", "metrics", "php", "php_fastcgi", "reverse_proxy"}

// handlerName is what a handler is called in the configuration.
func handlerName(handler caddyhttp.MiddlewareHandler) string {
	if m, ok := handler.(caddy.Module); ok {
		return strings.TrimPrefix(string(m.CaddyModule().ID), "http.handlers.")
	}
	return fmt.Sprintf("%T", handler)
}

// proxyName is what a proxy is called in the Caddyfile.
func proxyName(h *reverseproxy.Handler) string {
	if _, ok := h.Transport.(*fastcgi.Transport); ok {
		return "php_fastcgi"
	}
	return "reverse_proxy"
}

// fixesPath says whether the path is the configuration's once a rewrite is done.
func fixesPath(r *rewrite.Rewrite, p progress) bool {
	fixed := p.fixed
	if path, _, _ := strings.Cut(r.URI, "?"); path != "" {
		if p.matched {
			path = fileMatch.ReplaceAllString(path, "")
		}
		fixed = !fromClient(path)
	}
	for _, s := range r.URISubstring {
		fixed = fixed && !fromClient(s.Replace)
	}
	for _, s := range r.PathRegexp {
		fixed = fixed && !fromClient(s.Replace)
	}
	return fixed && !fromClient(r.StripPathPrefix+r.StripPathSuffix)
}

var (
	fileMatch    = regexp.MustCompile(`\{http\.matchers\.file\.(relative|type)\}`)
	ownWords     = regexp.MustCompile(`\{(http\.error\.(status_code|status_text|id|sso\.code)|env\.[^{}]*|system\.[^{}]*)\}`)
	ofHost       = regexp.MustCompile(`\{http\.request\.host(\.labels\.\d+)?\}`)
	ofFileSystem = regexp.MustCompile(`\bfile\b`)
)

// fromClient says whether a text with placeholders may hold what a client sent.
// What is not known to be the server's own is taken for that.
func fromClient(s string) bool { return strings.Contains(ownWords.ReplaceAllString(s, ""), "{") }

// rootOfClient says whether the client chooses the directory of files (the
// directives root and fs), if it did so before. A host that matched is the
// configuration's.
func rootOfClient(vars caddyhttp.VarsMiddleware, before bool) bool {
	for _, name := range []string{"root", "fs"} {
		if text, ok := vars[name].(string); ok {
			before = fromClient(ofHost.ReplaceAllString(text, ""))
		}
	}
	return before
}

// filesIn says whether the placeholders of the file matcher are the
// configuration's after a set of matchers, if they were so before.
func filesIn(set caddyhttp.MatcherSet, before bool) bool {
	for _, matcher := range set {
		switch m := matcher.(type) {
		case *fileserver.MatchFile:
			before = len(m.TryFiles) > 0 && !slices.ContainsFunc(m.TryFiles, fromClient) && !fromClient(strings.ReplaceAll(m.Root, "{http.vars.root}", ""))
		case *caddyhttp.MatchNot:
			for _, inner := range m.MatcherSets {
				before = filesIn(inner, before) && before // what did not match has set nothing
			}
		case *caddyhttp.MatchExpression:
			before = before && !ofFileSystem.MatchString(m.Expr)
		}
	}
	return before
}
