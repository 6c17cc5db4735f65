package caddymodule

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// A routing has the routes of one server, and what traces through them have found.
type routing struct {
	server string
	routes caddyhttp.RouteList
	named  map[string]*caddyhttp.Route
	ways   map[wayTo]way
	keys   map[any]string // of matchers: see matcherKey
	often  map[string]int // how often a key occurs
	groups map[string]int // in how many lists of routes a group occurs
	steps  int            // routes that requests were followed through
}

// A wayTo is that of requests for a path to a handler.
type wayTo struct {
	handler caddyhttp.MiddlewareHandler
	path    string
}

func routingOf(name string, server *caddyhttp.Server) *routing {
	in := &routing{
		server: name, routes: server.Routes, named: server.NamedRoutes,
		ways: map[wayTo]way{}, keys: map[any]string{}, often: map[string]int{}, groups: map[string]int{},
	}
	in.count(in.routes)
	for _, route := range in.named {
		in.count(caddyhttp.RouteList{*route})
	}
	return in
}

// count finds the keys of all matchers that decide about the way of requests, and groups.
func (in *routing) count(list caddyhttp.RouteList) {
	own := map[string]bool{}
	for _, route := range list {
		if route.Group != "" && !own[route.Group] {
			own[route.Group] = true
			in.groups[route.Group]++
		}
		if turns(route) {
			in.countSets(route.MatcherSets)
		}
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *caddyhttp.Subroute:
				in.count(h.Routes)
			case *reverseproxy.Handler:
				for _, response := range h.HandleResponse {
					in.count(response.Routes)
				}
			}
		}
	}
}

func (in *routing) countSets(sets caddyhttp.MatcherSets) {
	for _, set := range sets {
		for _, matcher := range set {
			if not, ok := matcher.(*caddyhttp.MatchNot); ok {
				in.countSets(not.MatcherSets)
				continue
			}
			in.often[in.key(cmp.Or(opposite(matcher), matcher))]++
		}
	}
}

func (in *routing) key(matcher any) string {
	if !reflect.TypeOf(matcher).Comparable() { // one that Caddy itself has made
		return matcherKey(matcher)
	}
	if in.keys[matcher] == "" {
		in.keys[matcher] = matcherKey(matcher)
	}
	return in.keys[matcher]
}

// A walker goes through the routes of one server.
type walker struct {
	in    *routing
	found []place

	names  hostNames                     // of the routes above
	hosts  gateway.Hosts                 // of the routes above
	nested bool                          // some route above has a matcher other than host, or is one of several
	part   bool                          // some route within the site has hosts of its own
	site   string                        // the outermost route with a subroute
	line   []caddyhttp.MiddlewareHandler // the subroutes above
	shared string                        // the group of a route above that is one of another list, too

	stripped string   // what the routes above and before cut off the path
	prefixes []string // see place
}

// routes looks for handlers in a list of routes. depth counts the subroutes
// above, and above are the handlers there that answer first.
func (w *walker) routes(list caddyhttp.RouteList, depth int, above []earlier) {
	var mine []int // indices in w.found of this list's own handlers
	before := slices.Clip(above)
	for i, route := range list {
		outer := *w
		w.enter(route, depth)
		var beside []earlier // before others in this route
		for _, handler := range route.Handlers {
			for _, k := range mine {
				w.found[k].rewrites = append(w.found[k].rewrites, w.within(handler, nil, rewrites)...)
			}
			switch handler := handler.(type) {
			case *Handler:
				mine = append(mine, len(w.found))
				w.found = append(w.found, w.place(handler, slices.Concat(before, beside)))
			case *caddyhttp.Subroute:
				if depth == 0 {
					w.site = "/" + strconv.Itoa(i)
				}
				line, stripped := w.line, w.stripped
				w.line = append(slices.Clip(line), handler)
				w.routes(handler.Routes, depth+1, slices.Concat(leadingIn(before), beside))
				w.line, w.stripped = line, stripped
			case *rewrite.Rewrite:
				if !strings.Contains(handler.StripPathPrefix, "{") {
					w.stripped += handler.StripPathPrefix
				}
			}
			for _, name := range w.within(handler, nil, answers) {
				before = append(before, earlier{name, route.MatcherSets, depth == 0})
				beside = append(beside, earlier{name: name})
			}
		}
		outer.found = w.found
		if len(route.MatcherSets) == 0 {
			outer.stripped = w.stripped
		}
		*w = outer
	}
}

// enter notes what a route says of the handlers below it.
func (w *walker) enter(route caddyhttp.Route, depth int) {
	names := namesOf(route.MatcherSets)
	if own, limited := hostsOf(names); limited {
		w.hosts.Exact, w.hosts.Any, w.hosts.Wild, w.names = own.Exact, own.Any, own.Wild, names
		w.part = depth > 0
	}
	// A site of the Caddyfile is a route that matches hosts, with a subroute
	// of routes that match everything.
	if depth > 1 || depth == 1 && len(route.MatcherSets) > 0 || !onlyHosts(route.MatcherSets) || route.Group != "" {
		w.nested = true
	}
	if w.in.groups[route.Group] > 1 {
		w.shared = route.Group
	}
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			if m, ok := matcher.(*caddyhttp.MatchPath); ok {
				w.prefixes = append(slices.Clip(w.prefixes), prefixesIn(*m, w.stripped)...)
			}
		}
	}
}

// prefixesIn are the prefixes for own addresses below the patterns of a matcher.
func prefixesIn(patterns caddyhttp.MatchPath, stripped string) (prefixes []string) {
	for _, pattern := range patterns {
		base, all := strings.CutSuffix(pattern, "*")
		if prefix := stripped + strings.TrimSuffix(base, "/") + defaultPrefix; all && !strings.ContainsAny(prefix, "*{%") {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

// place is where a handler stands that was met just now.
func (w *walker) place(h *Handler, before []earlier) place {
	p := place{
		handler: h, hosts: w.hosts, names: w.names, server: w.in.server, site: w.in.server + w.site, top: !w.nested,
		anyHost: w.hosts.Any && len(w.hosts.Exact) == 0 && !w.part, prefixes: w.prefixes, shared: w.shared, in: w.in, line: append(slices.Clip(w.line), h), own: h,
	}
	p.before, p.unknown = w.before(h, before)
	return p
}

// An earlier handler is one that answers, in a list of routes.
type earlier struct {
	name string
	sets caddyhttp.MatcherSets // of its own route, if that is another one
	site bool                  // its own route is a site of its own
}

// leadingIn returns those that leave nothing to the routes that come after: not
// a site with a path, which is a site of its own.
func leadingIn(list []earlier) []earlier {
	return slices.DeleteFunc(slices.Clone(list), func(e earlier) bool { return !onlyHosts(e.sets) })
}

// before names the earlier handlers that answer for h, and those that may. If h guards a
// part only, the site may answer other parts itself: see trace.
func (w *walker) before(h *Handler, list []earlier) (answer, unknown []string) {
	for _, e := range list {
		names := namesOf(e.sets)
		_, limited := hostsOf(names)
		here := !limited || e.site && slices.ContainsFunc(w.names, names.cover) || !e.site && names.overlap(w.names)
		known := slices.Contains(standard, e.name) || e.name == "respond"
		if !here || h.Nested && (len(e.sets) > 0 || known) {
			continue
		}
		to := &answer
		if !known {
			to = &unknown
		}
		if !slices.Contains(*to, e.name) {
			*to = append(*to, e.name)
		}
	}
	return answer, unknown
}

// within names what name finds in handler and in all handlers below. under are the
// named routes that handler stands in.
func (w *walker) within(handler caddyhttp.MiddlewareHandler, under []string, name func(caddyhttp.MiddlewareHandler) string) (found []string) {
	var inner caddyhttp.RouteList
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		inner = h.Routes
	case *caddyhttp.Invoke:
		if route := w.in.named[h.Name]; route != nil && !slices.Contains(under, h.Name) {
			inner, under = caddyhttp.RouteList{*route}, append(slices.Clip(under), h.Name)
		}
	default:
		if n := name(handler); n != "" {
			found = []string{n}
		}
	}
	for _, route := range inner {
		for _, h := range route.Handlers {
			found = append(found, w.within(h, under, name)...)
		}
	}
	return found
}

// answers names a handler that serves an app or a file, or may. Redirects and refusals
// may come before sso.
func answers(handler caddyhttp.MiddlewareHandler) string {
	name := handlerName(handler)
	switch h := handler.(type) {
	case *caddyhttp.StaticResponse:
		if h.Abort || h.StatusCode == "103" || h.Headers.Get("Location") != "" || strings.Contains(h.Body, `http-equiv="refresh"`) {
			return ""
		}
		return "respond"
	default:
		if harmless[name] {
			return ""
		}
	}
	return name
}

// rewrites names a handler that changes the path.
func rewrites(handler caddyhttp.MiddlewareHandler) string {
	switch h := handler.(type) {
	case *rewrite.Rewrite:
		if changesPath(h) {
			return "rewrite"
		}
	case *reverseproxy.Handler:
		if h.Rewrite != nil && changesPath(h.Rewrite) && len(h.HandleResponse) == 0 { // else it may be forward_auth, which asks and passes on
			return proxyName(h)
		}
	}
	return ""
}

// changesPath says whether a rewrite does more than change method or query.
func changesPath(r *rewrite.Rewrite) bool {
	return r.URI != "" && r.URI[0] != '?' || r.StripPathPrefix != "" || r.StripPathSuffix != "" ||
		len(r.URISubstring) > 0 || len(r.PathRegexp) > 0
}
