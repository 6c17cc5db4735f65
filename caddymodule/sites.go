package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// A place is where a handler stands in the routes of the http app.
type place struct {
	handler *Handler
	hosts   gateway.Hosts
	// names are the same as they were written; nil takes all.
	names hostNames
	// server and site tell the sites of the http app apart.
	server, site string
	// top says that the handler sees every request of its site.
	top bool
	// anyHost says that it takes all hosts of a site with a wildcard.
	anyHost bool
	// before are the handlers that answer in its stead, because they come first.
	before []string
	// unknown are the handlers before it of which nobody knows whether they do.
	unknown []string
	// rewrites are the handlers after it that change the path.
	rewrites []string
}

// isBelow says whether p gets its requests from a handler that guards the whole
// site.
func (p place) isBelow(top place) bool {
	sameSite := top.site == p.site || top.site == top.server && top.names.overlap(p.names)
	return !top.handler.Nested && top.top && top.server == p.server && sameSite
}

// findSites finds every handler in the routes of the http app, and refuses
// those that stand where they would not guard their site. It reports all
// faults.
func (a *App) findSites() ([]place, error) {
	v, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return nil, err
	}
	httpApp, ok := v.(*caddyhttp.App)
	if !ok {
		return nil, fmt.Errorf("the http app is of an unknown kind: %T", v)
	}
	var places []place
	for _, name := range slices.Sorted(maps.Keys(httpApp.Servers)) {
		w := walker{server: name, named: httpApp.Servers[name].NamedRoutes}
		w.hosts.Scheme, w.hosts.Port = listener(httpApp, httpApp.Servers[name])
		w.routes(httpApp.Servers[name].Routes, 0, nil)
		places = append(places, w.found...)
	}
	judged, err := a.judge(places)
	return judged, errors.Join(err, a.followUnseen(httpApp, judged))
}

func (a *App) judge(places []place) ([]place, error) {
	var errs []error
	perSite := map[string]int{}
	anyHost := map[string]string{} // the configuration of who takes them, by site
	for _, p := range places {
		if !p.handler.Nested {
			perSite[p.site]++
		}
	}
	for _, p := range places {
		if len(p.before) > 0 && (p.top || p.handler.Nested) {
			errs = append(errs, fmt.Errorf("site %s: '%s' comes before 'sso' and answers without asking it, because of the global option `order` or of a route: "+
				"put 'sso' first, and say by `public` in its block what needs no login; or write `nested` there, if only what is left is to be guarded", p.handler.site, strings.Join(p.before, "', '")))
		}
		if len(p.unknown) > 0 && (p.top || p.handler.Nested) {
			a.log.Warn("handlers that sso does not know come before it: if one of them answers by itself or passes requests on, it does so without asking sso",
				zap.String("site", p.handler.site), zap.Strings("handlers", p.unknown))
		}
		switch h := p.handler; {
		case h.Nested && slices.ContainsFunc(places, p.isBelow):
			errs = append(errs, fmt.Errorf("site %s: there is an 'sso' at the top and one that is `nested` further in: the first takes the session cookie away, so nobody would ever be signed in at the second: "+
				"leave one of them; or put the parts of the site into `handle` blocks, each with an 'sso' of its own that is `nested`", h.site))
		case h.Nested:
		case !p.top:
			errs = append(errs, fmt.Errorf("site %s: 'sso' stands inside of handle, route or another block, or its site's address has a path, so it does not see every request of the site: "+
				"put it at the top of the site, and say by `public` or `protect` what is open; or write `nested` in its block, if only this part is to be guarded", h.site))
		case perSite[p.site] > 1:
			errs = append(errs, fmt.Errorf("site %s: there is more than one 'sso': put all into one block; or write `nested` in those that guard a part of the site only", h.site))
			perSite[p.site] = 0
		}
		if h := p.handler; p.anyHost && h.Nested && h.App == "" && h.BaseURL == "" {
			if other, ok := anyHost[p.site]; ok && other != h.config {
				errs = append(errs, fmt.Errorf("site %s: more than one 'sso' takes all of its hosts, and their apps would take each other's assertions: give all but one of them an audience by `app <id>`", h.site))
			}
			anyHost[p.site] = h.config
		}
		if h := p.handler; len(p.rewrites) > 0 && (len(h.Public) > 0 || len(h.Protect) > 0) {
			a.log.Warn("the path is changed after sso has decided by it what is open: check that no rewrite leads from a public path to one that is not",
				zap.String("site", h.site), zap.Strings("handlers", p.rewrites))
		}
	}
	for _, h := range a.handlers {
		found := slices.ContainsFunc(places, func(p place) bool { return p.handler == h })
		switch {
		case found:
		case h.Nested && h.BaseURL != "":
			places = append(places, place{handler: h})
		default:
			errs = append(errs, fmt.Errorf("site %s: 'sso' stands in a named route, in handle_errors or in another handler, so its host names can't be known: "+
				"put it at the top of the site; or write `nested` and `base_url` in its block", h.site))
		}
	}
	return places, errors.Join(errs...)
}

// startSites makes the apps of the gateway. Copies of one handler in several
// servers, as http:// and https:// of one site make them, are one app, which
// calls itself by the https address.
func startSites(gw *gateway.Gateway, places []place) error {
	slices.SortStableFunc(places, func(a, b place) int { return strings.Compare(b.hosts.Scheme, a.hosts.Scheme) })
	apps := map[string]*gateway.App{}
	var errs []error
	for _, p := range places {
		key := p.handler.config + "\n" + strings.Join(p.hosts.Exact, " ")
		guard, ok := apps[key]
		if !ok {
			var err error
			if guard, err = gw.NewApp(p.handler.opts); err == nil {
				err = guard.Start(p.hosts)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("site %s: %w", p.handler.site, err))
				continue
			}
			apps[key] = guard
		}
		p.handler.guard.Store(guard)
	}
	return errors.Join(errs...)
}

// listener returns the scheme and port that a server is reached by.
func listener(app *caddyhttp.App, server *caddyhttp.Server) (scheme, port string) {
	httpPort := app.HTTPPort
	if httpPort == 0 {
		httpPort = caddyhttp.DefaultHTTPPort
	}
	scheme = "http"
	for _, ln := range server.Listen {
		addr, err := caddy.ParseNetworkAddress(ln)
		if err != nil || addr.IsUnixNetwork() {
			continue
		}
		if len(server.TLSConnPolicies) > 0 && addr.StartPort != uint(httpPort) {
			return "https", strconv.FormatUint(uint64(addr.StartPort), 10)
		}
		port = strconv.FormatUint(uint64(addr.StartPort), 10)
	}
	return scheme, port
}

// A walker goes through the routes of one server.
type walker struct {
	server string
	named  map[string]*caddyhttp.Route
	found  []place

	names  hostNames     // of the routes above
	hosts  gateway.Hosts // of the routes above
	nested bool          // some route above has a matcher other than host, or is one of several
	part   bool          // some route within the site has hosts of its own
	site   string        // the outermost route with a subroute
}

// routes looks for handlers in a list of routes. depth counts the subroutes
// above, and above are the handlers there that answer first.
func (w *walker) routes(list caddyhttp.RouteList, depth int, above []earlier) {
	var mine []int // indices in w.found of this list's own handlers
	before := slices.Clip(above)
	for i, route := range list {
		outer := *w
		own, limited := hostsOf(route.MatcherSets)
		if limited {
			w.hosts.Exact, w.hosts.Any, w.hosts.Wild, w.names = own.Exact, own.Any, own.Wild, namesOf(route.MatcherSets)
			w.part = depth > 0
		}
		// A site of the Caddyfile is a route that matches hosts, with a subroute
		// of routes that match everything.
		if depth > 1 || depth == 1 && len(route.MatcherSets) > 0 || !onlyHosts(route.MatcherSets) || route.Group != "" {
			w.nested = true
		}
		var beside []earlier // before others in this route
		for _, handler := range route.Handlers {
			for _, k := range mine {
				w.found[k].rewrites = append(w.found[k].rewrites, rewritesIn(handler)...)
			}
			switch handler := handler.(type) {
			case *Handler:
				mine = append(mine, len(w.found))
				p := place{
					handler: handler, hosts: w.hosts, names: w.names, server: w.server, site: w.server + w.site, top: !w.nested,
					anyHost: w.hosts.Any && len(w.hosts.Exact) == 0 && !w.part,
				}
				p.before, p.unknown = w.before(handler, slices.Concat(before, beside))
				w.found = append(w.found, p)
			case *caddyhttp.Subroute:
				if depth == 0 {
					w.site = "/" + strconv.Itoa(i)
				}
				w.routes(handler.Routes, depth+1, slices.Concat(leadingIn(before), beside))
			}
			for _, name := range w.answersIn(handler, nil) {
				before = append(before, earlier{name, namesOf(route.MatcherSets), depth == 0, limited, len(route.MatcherSets) > 0, !onlyHosts(route.MatcherSets)})
				beside = append(beside, earlier{name: name})
			}
		}
		outer.found = w.found
		*w = outer
	}
}

// An earlier handler is one that answers, in a list of routes.
type earlier struct {
	name    string
	names   hostNames // that its own route takes
	site    bool      // its own route is a site of its own
	limited bool      // its own route has hosts, those or wildcards
	matched bool      // it is asked for some requests only
	partly  bool      // some requests of a host, that is
}

// leadingIn returns those that leave nothing to the routes that come after: not
// a site with a path, which is a site of its own.
func leadingIn(list []earlier) []earlier {
	var leading []earlier
	for _, e := range list {
		if !e.partly {
			leading = append(leading, e)
		}
	}
	return leading
}

// before names those of the earlier handlers that answer for h, and those that
// may. Where h guards a part only, what else stands there is the site's own
// business, unless it leaves nothing to guard.
func (w *walker) before(h *Handler, list []earlier) (answer, unknown []string) {
	for _, e := range list {
		here := !e.limited || e.site && slices.ContainsFunc(w.names, e.names.cover) || !e.site && e.names.overlap(w.names)
		if !here || h.Nested && e.matched {
			continue
		}
		names := &answer
		if !slices.Contains(standard, e.name) && e.name != "respond" {
			names = &unknown
		}
		if !slices.Contains(*names, e.name) {
			*names = append(*names, e.name)
		}
	}
	return answer, unknown
}

// answersIn names the handlers that serve an app or a file, or may, in handler and
// below. Redirects and refusals come before sso by rights. under are the named
// routes that it stands in.
func (w *walker) answersIn(handler caddyhttp.MiddlewareHandler, under []string) []string {
	var inner caddyhttp.RouteList
	switch h := handler.(type) {
	case *caddyhttp.StaticResponse:
		if h.Abort || h.Headers.Get("Location") != "" || strings.Contains(h.Body, `http-equiv="refresh"`) {
			return nil
		}
		return []string{"respond"}
	case *caddyhttp.Subroute:
		inner = h.Routes
	case *caddyhttp.Invoke:
		if route := w.named[h.Name]; route != nil && !slices.Contains(under, h.Name) {
			inner, under = caddyhttp.RouteList{*route}, append(slices.Clip(under), h.Name)
		}
	default:
		if name := handlerName(handler); !harmless[name] {
			return []string{name}
		}
	}
	var found []string
	for _, route := range inner {
		for _, h := range route.Handlers {
			found = append(found, w.answersIn(h, under)...)
		}
	}
	return found
}

// rewritesIn names the handlers that change the path, in handler and below.
func rewritesIn(handler caddyhttp.MiddlewareHandler) []string {
	switch handler := handler.(type) {
	case *rewrite.Rewrite:
		if changesPath(handler) {
			return []string{"rewrite"}
		}
	case *caddyhttp.Subroute:
		var found []string
		for _, route := range handler.Routes {
			for _, inner := range route.Handlers {
				found = append(found, rewritesIn(inner)...)
			}
		}
		return found
	}
	return nil
}

// changesPath says whether a rewrite does more than change method or query.
func changesPath(r *rewrite.Rewrite) bool {
	return r.URI != "" && r.URI[0] != '?' || r.StripPathPrefix != "" || r.StripPathSuffix != "" ||
		len(r.URISubstring) > 0 || len(r.PathRegexp) > 0
}

// hostsOf returns the names that matcher sets limit requests to. ok is false
// if they limit them to none, or to what can't be known beforehand.
func hostsOf(sets caddyhttp.MatcherSets) (hosts gateway.Hosts, ok bool) {
	for _, set := range sets {
		limited := false
		for _, matcher := range set {
			m, isHost := matcher.(*caddyhttp.MatchHost)
			if !isHost {
				continue
			}
			for _, name := range *m {
				name = caddy.NewReplacer().ReplaceKnown(name, "")
				switch {
				case strings.Contains(name, "{") || strings.Trim(name, "*.") == "":
					return gateway.Hosts{}, false
				case strings.Contains(name, "*"):
					hosts.Any, hosts.Wild = true, append(hosts.Wild, name)
				case !slices.Contains(hosts.Exact, strings.ToLower(name)):
					hosts.Exact = append(hosts.Exact, strings.ToLower(name))
				}
			}
			limited = true
		}
		if !limited {
			return gateway.Hosts{}, false
		}
	}
	return hosts, len(sets) > 0
}

func onlyHosts(sets caddyhttp.MatcherSets) bool {
	for _, set := range sets {
		for _, matcher := range set {
			if _, ok := matcher.(*caddyhttp.MatchHost); !ok {
				return false
			}
		}
	}
	return true
}

// siteName names the site that is being provisioned, for messages: the host
// names of the outermost route, or the server's addresses.
func siteName(ctx caddy.Context) string {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return "?"
	}
	for _, route := range server.Routes {
		// The first route that has no handlers yet is the one under way.
		if len(route.Handlers) == 0 && len(route.HandlersRaw) > 0 {
			var names []string
			for _, set := range route.MatcherSets {
				for _, matcher := range set {
					if m, ok := matcher.(*caddyhttp.MatchHost); ok {
						names = append(names, *m...)
					}
				}
			}
			if len(names) > 0 {
				return strings.Join(names, ", ")
			}
			break
		}
	}
	return strings.Join(server.Listen, ", ")
}
