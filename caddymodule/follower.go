package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/templates"
	"go.uber.org/zap"
)

// A follower follows the requests to one host that `sso` may never have seen.
// Another site of the same host, with a path, may take them. And Caddy runs the error
// routes for errors that come before `sso`: a TLS name that is not the host's (421), or
// a matcher that fails on the client's input. The same holds for the routes of
// `intercept`, which run if a handler before `sso` has answered.
type follower struct {
	server *caddyhttp.Server
	host   string // one that no route names is ""
	names  map[*caddyhttp.Route]hostNames
	// where names the routes that are followed, for messages. In the main routes it is
	// empty.
	where string
	depth int
	site  string
	under []string // named routes that are being followed

	known  func(*Handler) *Handler // see findSites
	met    []*Handler              // each sso that requests to the host can reach
	place  chosen                  // what the client may have chosen in the main routes before an error
	passed []passing               // the handlers of the main routes that they can reach past it
	faults []error
	// open are the handlers that get stripped requests of everybody.
	open []string
}

// A passing handler is one that passes requests on.
type passing struct{ site, name string }

// followUnseen refuses handlers that would get requests as clients send them.
func (a *App) followUnseen(app *caddyhttp.App, places []place, known func(*Handler) *Handler) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		f := &follower{server: server, known: known, names: map[*caddyhttp.Route]hostNames{}}
		handedOver := false
		for _, p := range places {
			handedOver = handedOver || (p.server == name || p.server == "") && p.handler.Errors != ""
		}
		for _, host := range hostsIn(server, places) {
			f.host = host
			a.followHost(f, name, places)
		}
		errs = append(errs, f.faults...)
		if handedOver && len(f.open) > 0 {
			a.warn("with `errors caddy` the error routes get what sso has refused: everybody gets in to what is behind these handlers, without an identity",
				zap.String("server", name), zap.Strings("handlers", f.open))
		}
	}
	return errors.Join(errs...)
}

// followHost follows the requests to one host of a server, and keeps the faults if
// an sso guards some of them.
func (a *App) followHost(f *follower, server string, places []place) {
	faults, open := len(f.faults), len(f.open)
	f.place = chosen{}
	for range 2 { // the routes of an answer or an error also run after what is chosen further down
		f.met, f.passed, f.faults, f.open = nil, nil, f.faults[:faults], f.open[:open]
		f.routes(f.server.Routes, asSent)
	}
	guarded := len(f.met) > 0 || slices.ContainsFunc(places, func(p place) bool {
		return p.server == "" && (hostOf(p.handler.BaseURL) == f.host || strings.Contains(f.host, "{")) // in another handler, of which server nobody knows
	})
	if !guarded {
		f.faults, f.open = f.faults[:faults], f.open[:open]
		a.warnOfOtherPort(f, server, places)
		return
	}
	if f.server.Errors != nil {
		f.elsewhere("handle_errors", f.server.Errors.Routes, asSent)
	}
	a.checkPassed(f, places)
}

func (f *follower) fault(format string, args ...any) {
	err := fmt.Errorf("site %s: %s", f.site, fmt.Sprintf(format, args...))
	if !slices.ContainsFunc(f.faults, func(e error) bool { return e.Error() == err.Error() }) {
		f.faults = append(f.faults, err)
	}
}

// progress is what has been done to a request, whatever matchers said.
type progress struct {
	stripped bool   // nothing is left in it that only the gateway may say
	guarded  bool   // sso has let it in
	fixed    bool   // the path is the configuration's
	matched  bool   // so are the placeholders of the file matcher
	place    chosen // what the client chooses
	template bool   // what is answered is executed as a template
	changed  bool   // a rewrite, which may be one of some requests only, has been done
	ended    bool   // a proxy has answered
}

// asSent is the progress of a request that nothing was done to.
var asSent = progress{place: chosen{host: true}}

func (p progress) and(q progress) progress {
	return progress{
		p.stripped && q.stripped, p.guarded && q.guarded, p.fixed && q.fixed, p.matched && q.matched,
		p.place.or(q.place), p.template || q.template, p.changed || q.changed, p.ended && q.ended,
	}
}

// routes follows a list of routes and returns the progress that all requests have
// made after it.
func (f *follower) routes(list caddyhttp.RouteList, p progress) progress {
	groups := map[string]progress{} // of the requests that took a route of the group
	taken := map[string]bool{}      // groups of which all requests to the host have taken a route
	for i := range list {
		route := &list[i]
		some, all := f.takes(route)
		if !some || taken[route.Group] {
			continue
		}
		f.depth++
		after := f.route(route, p)
		f.depth--
		unlike := after
		unlike.matched = p.matched && after.matched
		for name, other := range groups {
			if name != route.Group {
				groups[name] = other.and(after)
			}
		}
		if route.Group != "" {
			if others, ok := groups[route.Group]; ok {
				unlike = unlike.and(others)
			}
			groups[route.Group], taken[route.Group] = unlike, all
		}
		if !all {
			unlike = unlike.and(p)
		}
		p = unlike
		if p.ended || all && route.Terminal && route.Group == "" {
			break
		}
	}
	return p
}

// takes says whether a route may take requests to the host, and whether it takes
// all of them. Of a route of the server it notes which site it is.
func (f *follower) takes(route *caddyhttp.Route) (some, all bool) {
	names := f.namesOf(route)
	if some, all = names.take(f.host); !some {
		return false, false
	}
	if f.depth == 0 {
		f.site = strings.Join(names, ", ")
		if names == nil {
			f.site = strings.Join(f.server.Listen, ", ")
		}
	}
	return true, all && onlyHosts(route.MatcherSets)
}

// namesOf returns the names that a route limits requests to.
func (f *follower) namesOf(route *caddyhttp.Route) hostNames {
	names, known := f.names[route]
	if !known {
		names = namesOf(route.MatcherSets)
		f.names[route] = names
	}
	return names
}

// route follows one route, for the requests that take it.
func (f *follower) route(route *caddyhttp.Route, p progress) progress {
	host := p.place.host
	p.place.host = host && !f.namesOf(route).exact()
	if len(route.MatcherSets) > 0 { // any of them may be the one that matched
		matched := true
		for _, set := range route.MatcherSets {
			matched = filesIn(set, p.place, p.matched) && matched
		}
		p.matched = matched
	}
	for _, handler := range route.Handlers {
		if p = f.handler(handler, p); p.ended {
			break
		}
	}
	p.place.host = p.place.host || host
	return p
}

func (f *follower) handler(handler caddyhttp.MiddlewareHandler, p progress) progress {
	switch h := handler.(type) {
	case *Handler:
		if p.stripped && !p.guarded {
			f.fault("'sso_strip' comes before 'sso' and takes the session cookie away, so nobody would ever be signed in: move it into `handle_errors`, or into the `handle` that has no 'sso'")
		}
		p.stripped, p.guarded = true, true
		f.met = append(f.met, f.known(h))
	case *Strip:
		if p.guarded && f.where == "" {
			f.fault("'sso_strip' comes after 'sso' and takes the person's identity away from the app: it belongs into `handle_errors`, or another route that `sso` does not guard")
		}
		p.stripped = true
	case caddyhttp.VarsMiddleware:
		return f.keeps(p.place.after(h), p)
	case *caddyhttp.VarsMiddleware:
		return f.keeps(p.place.after(*h), p)
	case *maphandler.Handler:
		return f.keeps(p.place.mapped(h), p)
	case *headers.Handler:
		if namesHost(h) {
			return f.keeps(p.place.or(chosen{host: true}), p)
		}
	case *rewrite.Rewrite:
		p.fixed, p.changed = fixesPath(h, p), true
	case *caddyhttp.Subroute:
		return f.subroute(h, p)
	case *caddyhttp.Invoke:
		return f.named(h.Name, p)
	default:
		return f.responder(handler, p)
	}
	return p
}

// responder follows a handler that may answer, or execute what others answer.
func (f *follower) responder(handler caddyhttp.MiddlewareHandler, p progress) progress {
	switch h := handler.(type) {
	case *templates.Templates:
		p.template = true
		if p.place.finds(h.FileRoot) {
			f.reads("templates", "includes files of a directory that a client chooses", "write a root that does not come from the request", p)
		}
	case *caddyhttp.StaticResponse:
		if p.template && p.place.saysAt(h.Body) {
			f.reads("respond", "has text of the client in it, which `templates` executes", "leave out the placeholder, or `templates`", p)
		}
	case *intercept.Intercept:
		f.answers("handle_response of intercept", h.HandleResponse, p)
	case *reverseproxy.Handler:
		f.passesOn(proxyName(h), p)
		if f.where != "" { // in the main routes the proxy has got the request already
			f.answers("handle_response", h.HandleResponse, p)
		}
		p.ended = len(h.HandleResponse) == 0
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
func (f *follower) subroute(h *caddyhttp.Subroute, p progress) progress {
	after := f.routes(h.Routes, p)
	if h.Errors == nil {
		return after
	}
	return after.and(f.elsewhere("the error routes of a subroute", h.Errors.Routes, p))
}

// named follows a named route.
func (f *follower) named(name string, p progress) progress {
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

// answers follows the routes that an answer may lead to. An answer may also lead to
// none of them, so nothing after them counts on what they do.
func (f *follower) answers(where string, list []caddyhttp.ResponseHandler, p progress) {
	for _, h := range list {
		f.elsewhere(where, h.Routes, p)
	}
}

// elsewhere follows routes that are not the main ones, in which more is refused.
func (f *follower) elsewhere(where string, list caddyhttp.RouteList, p progress) progress {
	above := f.where
	if above == "" {
		f.where = where
		p.place = p.place.or(f.place)
	}
	after := f.routes(list, p)
	f.where = above
	return after
}

// opened notes a handler that gets requests from everybody.
func (f *follower) opened(name string) {
	if !slices.Contains(f.open, name) {
		f.open = append(f.open, name)
	}
}

// passesOn checks a handler that may pass a request on, headers and all.
func (f *follower) passesOn(name string, p progress) {
	switch {
	case p.guarded || f.where == "" && p.stripped:
	case f.where == "":
		f.passed = append(f.passed, passing{f.site, name})
	case p.stripped:
		f.opened(name)
	case slices.Contains(standard, name):
		f.fault("'%s' in %s gets requests as clients send them, forged identity headers and all, for errors can come before 'sso' is asked: "+
			"write the line `sso_strip` before it, in %[2]s", name, f.where)
	default:
		f.fault("'%s' in %s is a handler that sso does not know: it may pass requests on as clients send them, forged identity headers and all: "+
			"write the line `sso_strip` before it, in %[2]s", name, f.where)
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
