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

// A trace follows the requests for one path through the routes of a server, to the sso of a
// place. If it can't tell whether a matcher matches, it goes both ways and remembers which:
// so a matcher and its opposite together leave no requests.
type trace struct {
	place
	way
	turned methods // of requests that redirects and refusals end before the sso
}

// A way is what a trace finds.
type way struct {
	methods methods // of the requests that come to the sso
	takers  []taker // the handlers that get requests before it
}

// A taker is a handler that gets requests before the sso.
type taker struct {
	name       string
	via        []caddyhttp.MatcherSets // of the routes that lead to it
	uncertain  bool                    // it gets few of them, or may have them
	redirected bool                    // it gets only what has been redirected or refused
}

// A state is what is known of some of the requests.
type state struct {
	path       string // "" if it is not known
	names      hostNames
	methods    methods
	facts      *fact
	file       string            // what a file matcher falls back to
	groups     map[string]string // of which a route has matched, with that route's first handler
	via        []caddyhttp.MatcherSets
	uncertain  bool   // they are few, or they may be taken
	redirected bool   // they have been redirected or refused
	strip      bool   // sso_strip has removed the codes
	moved      bool   // a rewrite has changed the path
	part       bool   // they are those of some paths of the site
	cut        string // what has been cut off a path that is not known
}

// same says whether two states lead to the same ways.
func (s state) same(o state) bool {
	return s.path == o.path && slices.Equal(s.names, o.names) && s.methods == o.methods &&
		s.facts == o.facts && s.file == o.file && maps.Equal(s.groups, o.groups) &&
		s.uncertain == o.uncertain && s.redirected == o.redirected && s.strip == o.strip && s.moved == o.moved && s.part == o.part && s.cut == o.cut
}

const (
	anyPath    = ""  // of requests of which only the host is known: they are none for the own addresses of the sso
	otherPath  = "{" // has been cut off: nobody knows what is left
	manyStates = 8
)

// way follows the requests for a path to the place.
func (p place) way(path string) way {
	if p.in == nil { // in another handler, of which server nobody knows
		return way{}
	}
	key := wayTo{p.own, path}
	found, known := p.in.ways[key]
	if !known {
		t := trace{place: p}
		s := state{path: path, names: p.names, methods: ownMethods}
		if path == anyPath {
			s.methods = allMethods
		}
		t.list(p.in.routes, s, nil)
		if !slices.ContainsFunc(t.takers, func(by taker) bool { return !by.redirected }) {
			t.methods |= t.turned // redirects and refusals for everybody are meant
		}
		found = t.way
		p.in.ways[key] = found
	}
	return found
}

// names are those that take requests for sure; if nothing comes to the sso and there
// are none, all.
func (w way) names(reached bool) (names []string) {
	all := !reached && !slices.ContainsFunc(w.takers, func(by taker) bool { return !by.uncertain })
	for _, by := range w.takers {
		if (all || !by.uncertain) && !slices.Contains(names, by.name) {
			names = append(names, by.name)
		}
	}
	return names
}

// reachedBy says whether requests for a path may come to the place.
func (p place) reachedBy(path string, m methods) bool { return p.way(path).methods&m != 0 }

func (t *trace) takes(name string, s state) {
	t.takers = append(t.takers, taker{name, s.via, s.uncertain || s.redirected, s.redirected})
}

// add adds states to others, unless one of them says the same. If there are too many, it
// forgets what tells them apart.
func (t *trace) add(states []state, more ...state) []state {
	for _, s := range more {
		if len(states) > manyStates {
			if s.path != anyPath {
				s.path, s.cut = anyPath, otherPath
			}
			s.names, s.facts = t.place.names, nil
		}
		if !slices.ContainsFunc(states, s.same) {
			states = append(states, s)
		}
	}
	return states
}

// list returns what becomes of requests in a list of routes. Those behind the place do not
// matter. under are the named routes that the list stands in.
func (t *trace) list(list caddyhttp.RouteList, s state, under []string) []state {
	states := []state{s}
	for _, route := range list {
		onWay := slices.ContainsFunc(route.Handlers, t.leadsTo)
		if !turns(route) {
			continue
		}
		var after []state
		for _, before := range states {
			t.in.steps++
			after = t.route(route, before, after, onWay, under)
		}
		if onWay {
			return nil
		}
		states = after
	}
	return states
}

// leadsTo says whether the place is in a handler.
func (t *trace) leadsTo(handler caddyhttp.MiddlewareHandler) bool {
	return slices.Contains(t.line, handler)
}

// route adds what becomes of requests at a route.
func (t *trace) route(route caddyhttp.Route, s state, after []state, onWay bool, under []string) []state {
	if first, taken := s.groups[route.Group]; taken {
		if onWay && s.path != anyPath {
			t.takes(first, s)
		}
		return t.add(after, s)
	}
	in, out := t.match(route, s)
	after = t.add(after, out...)
	if in == nil && onWay && s.moved {
		s.uncertain = true
		t.takes("rewrite", s)
	}
	for _, i := range in {
		i.uncertain = i.uncertain || out != nil && onlyClients(route.MatcherSets)
		i.file = fallback(route.MatcherSets)
		i.part = i.part || out == nil && t.isPart(route)
		if out != nil || i.part {
			i.via = append(slices.Clip(s.via), route.MatcherSets)
		}
		if route.Group != "" {
			i.groups = maps.Clone(i.groups)
			if i.groups == nil {
				i.groups = map[string]string{}
			}
			i.groups[route.Group] = t.first(route)
		}
		for _, left := range t.handlers(route.Handlers, i, under) {
			left.via = s.via
			switch {
			case !route.Terminal:
				after = t.add(after, left)
			case !onWay && left.path != anyPath:
				t.takes(t.first(route), left)
			}
		}
	}
	return after
}

// isPart says whether a route takes some paths only.
func (t *trace) isPart(route caddyhttp.Route) bool {
	_, out := t.match(route, state{names: t.place.names, methods: allMethods})
	return out != nil
}

// handlers returns what becomes of requests at the handlers of a route.
func (t *trace) handlers(list []caddyhttp.MiddlewareHandler, s state, under []string) []state {
	states := []state{s}
	for _, handler := range list {
		var passed []state
		for _, before := range states {
			passed = t.add(passed, t.through(handler, before, under)...)
		}
		states = passed
	}
	return states
}

// first names the first handler of a route.
func (t *trace) first(route caddyhttp.Route) string {
	w := walker{in: t.in}
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

// turns says whether a route may end requests, or lead them elsewhere.
func turns(route caddyhttp.Route) bool {
	return route.Group != "" || route.Terminal || slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
		switch name := handlerName(handler); name {
		case "copy_response", "error", "invoke", "rewrite", "sso", "sso_strip", "static_response", "subroute":
			return true
		default:
			return !harmless[name]
		}
	})
}

// through returns what becomes of requests at a handler.
func (t *trace) through(handler caddyhttp.MiddlewareHandler, s state, under []string) []state {
	switch h := handler.(type) {
	case *Handler:
		switch {
		case handler != t.own:
			return []state{s}
		case s.redirected:
			t.turned |= s.methods
		default:
			t.methods |= s.methods
		}
		return nil
	case *Strip:
		s.strip = true
	case *caddyhttp.Subroute:
		return t.list(h.Routes, s, under)
	case *caddyhttp.Invoke:
		if route := t.in.named[h.Name]; route != nil && !slices.Contains(under, h.Name) {
			return t.list(caddyhttp.RouteList{*route}, s, append(slices.Clip(under), h.Name))
		}
	case *rewrite.Rewrite:
		if h.Method != "" {
			s.methods = allMethods
		}
		if changesPath(h) {
			s.cut += cutBy(h)
			s.path, s.moved, s.facts = s.rewritten(h), s.moved || s.path != anyPath, nil
		}
	default:
		return t.answered(handler, s, under)
	}
	return []state{s}
}

// answered returns what a handler leaves that may respond.
func (t *trace) answered(handler caddyhttp.MiddlewareHandler, s state, under []string) (left []state) {
	name := directiveOf(handler)
	refuses := name == "error" || name == "abort"
	if answers(handler) == "" && !(refuses && s.part && !s.uncertain) {
		if ends(handler) { // redirects and refusals may come before sso
			s.redirected, s.facts = true, nil
		}
		return []state{s}
	}
	t.takes(name, s)
	if s.strip && s.path != anyPath {
		t.methods |= s.methods // it is meant: no code is passed on
	}
	proxy, ok := handler.(*reverseproxy.Handler)
	switch {
	case ok:
		for _, response := range proxy.HandleResponse { // such as that of forward_auth
			if response.StatusCode == "" {
				left = t.add(left, t.list(response.Routes, s, under)...)
			}
		}
		return left
	case ends(handler):
		return nil
	case slices.Contains(standard, name):
		return []state{s}
	}
	moved := s
	moved.path, moved.facts, moved.cut = anyPath, nil, otherPath
	return []state{s, moved}
}

// ends says whether a handler surely ends all requests that come to it.
func ends(handler caddyhttp.MiddlewareHandler) bool {
	switch h := handler.(type) {
	case *fileserver.FileServer:
		return !h.PassThru
	case *caddyhttp.StaticResponse:
		return h.StatusCode != "103" // early hints
	case *caddyhttp.StaticError, reverseproxy.CopyResponseHandler, *reverseproxy.CopyResponseHandler:
		return true
	}
	return false
}

// cutBy returns what a rewrite cuts off all paths.
func cutBy(h *rewrite.Rewrite) string {
	rest := *h
	if rest.StripPathPrefix = ""; changesPath(&rest) {
		return otherPath
	}
	return h.StripPathPrefix
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
