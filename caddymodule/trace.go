package caddymodule

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// A trace goes the ways of requests for one path through the routes of a server, to the
// handler of a place. Where a matcher may match, it goes both ways.
type trace struct {
	place
	reached     bool     // by some requests
	takers      []string // the handlers that get requests before it
	quietTakers []string // and those that hardly get one, or may have them
}

// A state is what is known of some of the requests.
type state struct {
	path   string            // "" if it is not known
	file   string            // what a file matcher falls back to
	groups map[string]string // of which a route has matched, with that route's first handler
	quiet  bool              // they are few, or they may be taken
	strip  bool              // sso_strip has taken the codes out
	moved  bool              // a rewrite has changed the path
	part   bool              // they are those of some paths of the site
}

// anyPath is the path of requests of which only the host is known.
const anyPath = ""

// way says whether requests for a path may come to the place, and names the handlers in
// routes before it that take such requests, or some of them.
func (p place) way(path string) (reached bool, takers []string) {
	t := trace{place: p}
	t.list(p.routes, state{path: path}, nil)
	if !t.reached && t.takers == nil {
		return false, t.quietTakers
	}
	return t.reached, t.takers
}

// reachedBy says whether requests for a path may come to the place.
func (p place) reachedBy(path string) bool {
	reached, _ := p.way(path)
	return reached
}

func (t *trace) takes(name string, s state) {
	to := &t.takers
	if s.quiet {
		to = &t.quietTakers
	}
	if !slices.Contains(*to, name) {
		*to = append(*to, name)
	}
}

// add adds a state to others, unless one of them says the same. If there are too many, it
// forgets their paths.
func add(states []state, s state) []state {
	if len(states) > 64 {
		s.path = anyPath
	}
	if slices.ContainsFunc(states, func(o state) bool {
		return o.path == s.path && o.quiet == s.quiet && o.strip == s.strip && o.moved == s.moved && o.part == s.part && maps.Equal(o.groups, s.groups)
	}) {
		return states
	}
	return append(states, s)
}

// list returns what becomes of requests in a list of routes. Those behind the place do not
// matter. under are the named routes that the list stands in.
func (t *trace) list(list caddyhttp.RouteList, s state, under []string) []state {
	states := []state{s}
	for _, route := range list {
		onWay := slices.ContainsFunc(route.Handlers, t.leadsTo)
		var after []state
		for _, before := range states {
			after = t.route(route, before, after, onWay, under)
		}
		if onWay {
			return nil
		}
		states = after
	}
	var left []state
	for _, after := range states {
		after.groups = s.groups
		left = add(left, after)
	}
	return left
}

// route adds what becomes of requests at a route.
func (t *trace) route(route caddyhttp.Route, s state, after []state, onWay bool, under []string) []state {
	if first, taken := s.groups[route.Group]; taken {
		if onWay && s.path != anyPath {
			t.takes(first, s)
		}
		return add(after, s)
	}
	matches := t.match(route, s.path)
	if matches < surely {
		after = add(after, s)
	}
	if matches == never {
		if onWay && s.moved {
			s.quiet = true
			t.takes("rewrite", s)
		}
		return after
	}
	s.quiet = s.quiet || matches == hardly || matches == maybe && (s.path == anyPath || onlyHosts(route.MatcherSets))
	s.file = fallback(route.MatcherSets)
	s.part = s.part || matches == surely && t.match(route, anyPath) < surely
	if route.Group != "" {
		s.groups = maps.Clone(s.groups)
		if s.groups == nil {
			s.groups = map[string]string{}
		}
		s.groups[route.Group] = t.first(route)
	}
	inside := []state{s}
	for _, handler := range route.Handlers {
		var passed []state
		for _, s := range inside {
			for _, s = range t.through(handler, s, under) {
				passed = add(passed, s)
			}
		}
		inside = passed
	}
	for _, s := range inside {
		switch {
		case !route.Terminal:
			after = add(after, s)
		case !onWay && s.path != anyPath:
			t.takes(t.first(route), s)
		}
	}
	return after
}

// leadsTo says whether the place is in a handler.
func (t *trace) leadsTo(handler caddyhttp.MiddlewareHandler) bool {
	w := walker{named: t.named}
	return len(w.within(handler, nil, func(h caddyhttp.MiddlewareHandler) string {
		if h == t.own {
			return "sso"
		}
		return ""
	})) > 0
}

// first names the first handler of a route.
func (t *trace) first(route caddyhttp.Route) string {
	w := walker{named: t.named}
	for _, handler := range route.Handlers {
		if names := w.within(handler, nil, directiveOf); len(names) > 0 {
			return names[0]
		}
	}
	return "handle"
}

// directiveOf is what a handler is called in the Caddyfile.
func directiveOf(handler caddyhttp.MiddlewareHandler) string {
	switch h := handler.(type) {
	case *reverseproxy.Handler:
		return proxyName(h)
	case *headers.Handler:
		return "header"
	case *caddyhttp.StaticResponse:
		switch {
		case h.Abort:
			return "abort"
		case answers(h) == "":
			return "redir"
		}
		return "respond"
	}
	return handlerName(handler)
}

// through returns what becomes of requests at a handler. Redirects and refusals may come
// before sso: what they end is not counted.
func (t *trace) through(handler caddyhttp.MiddlewareHandler, s state, under []string) []state {
	switch h := handler.(type) {
	case *Handler:
		if handler == t.own {
			t.reached = true
			return nil
		}
		return []state{s}
	case *Strip:
		s.strip = true
	case *caddyhttp.Subroute:
		return t.list(h.Routes, s, under)
	case *caddyhttp.Invoke:
		if route := t.named[h.Name]; route != nil && !slices.Contains(under, h.Name) {
			return t.list(caddyhttp.RouteList{*route}, s, append(slices.Clip(under), h.Name))
		}
	case *rewrite.Rewrite:
		if changesPath(h) {
			s.path, s.moved = s.rewritten(h), s.moved || s.path != anyPath
		}
	default:
		return t.answered(handler, s)
	}
	return []state{s}
}

// answered returns what a handler leaves that may respond.
func (t *trace) answered(handler caddyhttp.MiddlewareHandler, s state) []state {
	name := directiveOf(handler)
	refuses := name == "error" || name == "abort"
	if answers(handler) == "" && !(refuses && s.part && !s.quiet) {
		s.quiet = s.quiet || ends(handler)
		return []state{s}
	}
	t.takes(name, s)
	t.reached = t.reached || s.strip && s.path != anyPath // it is meant: no code is passed on
	switch {
	case ends(handler):
		return nil
	case slices.Contains(standard, name):
		return []state{s}
	}
	moved := s
	moved.path = anyPath
	return []state{s, moved}
}

// ends says whether a handler surely ends all requests that come to it.
func ends(handler caddyhttp.MiddlewareHandler) bool {
	switch h := handler.(type) {
	case *reverseproxy.Handler:
		return len(h.HandleResponse) == 0
	case *fileserver.FileServer:
		return !h.PassThru
	case *caddyhttp.StaticResponse:
		return h.StatusCode != "103" // early hints
	case *caddyhttp.StaticError:
		return true
	}
	return false
}

// rewritten returns the path behind a rewrite.
func (s state) rewritten(h *rewrite.Rewrite) string {
	rest := *h
	uri, _, _ := strings.Cut(h.URI, "?")
	if s.file != "" {
		uri = strings.ReplaceAll(uri, "{http.matchers.file.relative}", s.file)
	}
	known := uri
	if s.path != anyPath {
		known = strings.NewReplacer("{http.request.uri}", "", "{http.request.uri.path}", "").Replace(uri)
	}
	text := known + h.StripPathPrefix + h.StripPathSuffix
	for _, part := range h.URISubstring {
		text += part.Find + part.Replace
	}
	for _, part := range h.PathRegexp {
		text += part.Replace
	}
	if strings.Contains(text, "{") || s.path == anyPath && uri == "" {
		return anyPath
	}
	rest.URI, rest.Query = uri, nil
	r := requestFor(s.path)
	rest.Rewrite(r, r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)) //nolint:forcetypeassert // see requestFor
	return "/" + strings.TrimPrefix(r.URL.Path, "/")
}

func requestFor(path string) *http.Request {
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: http.Header{}}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
}
