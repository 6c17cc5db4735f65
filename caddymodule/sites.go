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
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// A place is where a handler stands in the routes of the http app.
type place struct {
	handler *Handler
	hosts   gateway.Hosts
	// names are the hosts as the configuration writes them; nil stands for all.
	names hostNames
	// server and site identify the site in the http app.
	server, site string
	// top says that the handler sees every request of its site.
	top bool
	// anyHost says that it takes all hosts of a site with a wildcard.
	anyHost bool
	// before are the handlers that come first and respond without it.
	before []string
	// unknown are the handlers before it that may respond without it.
	unknown []string
	// rewrites are the handlers after it that change the path.
	rewrites []string
	// prefixes are to suggest: they lie below the paths of its routes.
	prefixes []string
	// shared is a group of its routes that other lists of routes have, too.
	shared string
	// in are the server's routes, where it stands as own. line leads to it: the subroutes
	// above, and own.
	in   *routing
	line []caddyhttp.MiddlewareHandler
	own  caddyhttp.MiddlewareHandler
}

// isBelow says whether p gets its requests from top, which guards the whole site.
func (p place) isBelow(top place) bool {
	sameSite := top.site == p.site || top.site == top.server && top.names.overlap(p.names)
	return !top.handler.Nested && top.top && top.server == p.server && sameSite
}

// findSites finds every handler in the routes of the http app, and refuses those that
// would not guard their site. It reports all faults. known returns the provisioned
// handler for one in the routes.
func (a *App) findSites(httpApp *caddyhttp.App, known func(*Handler) *Handler) ([]place, error) {
	var places []place
	for _, name := range slices.Sorted(maps.Keys(httpApp.Servers)) {
		w := walker{in: routingOf(name, httpApp.Servers[name])}
		w.hosts.Scheme, w.hosts.Port = listener(httpApp, httpApp.Servers[name])
		w.routes(httpApp.Servers[name].Routes, 0, nil)
		places = append(places, w.found...)
	}
	for i := range places {
		places[i].handler = known(places[i].handler)
	}
	checked, err := a.checkPlaces(places)
	a.warnOfDoubts(checked)
	return checked, errors.Join(err, a.followUnseen(httpApp, checked, known))
}

// checkPlaces refuses handlers that stand in the wrong place. It adds handlers that are
// in no known route, if their base_url has the host.
func (a *App) checkPlaces(places []place) ([]place, error) {
	var errs []error
	tops := map[string]int{} // handlers that are not nested, by site
	for _, p := range places {
		if !p.handler.Nested {
			tops[p.site]++
		}
	}
	places, unknown := a.withUnseen(places)
	for _, p := range places {
		a.warnOfPlace(p)
		order, depth := a.checkOrder(p, places), p.checkDepth(places, tops)
		if order == nil && depth == nil {
			depth = a.checkReach(p, places)
		}
		errs = append(errs, order, depth)
	}
	return places, errors.Join(append(errs, checkAnyHost(places), unknown)...)
}

// withUnseen adds the handlers that are in no known route, and refuses those whose hosts are
// not known.
func (a *App) withUnseen(places []place) ([]place, error) {
	var errs []error
	for _, h := range a.handlers {
		found := slices.ContainsFunc(places, func(p place) bool { return p.handler == h })
		switch {
		case found:
		case h.Nested && h.BaseURL != "":
			places = append(places, place{handler: h})
		default:
			errs = append(errs, fmt.Errorf("site %s: the 'sso'%s stands in a named route, in handle_errors or in another handler, so its host names can't be known: "+
				"put it at the top of the site; or write `nested` and `base_url` in its block, and `app <id>` if another 'sso' has that host", h.site, h.firstRule()))
		}
	}
	return places, errors.Join(errs...)
}

// firstRule identifies the handler in an error if its site is not known, because Caddy's
// JSON has no line numbers.
func (h *Handler) firstRule() string {
	for _, rules := range []struct {
		word  string
		lines []mapping.Line
	}{{"role", h.Role}, {"template", h.Template}, {"group", h.Group}} {
		if len(rules.lines) > 0 {
			return fmt.Sprintf(" with `%s %s %s`", rules.word, strings.Join(rules.lines[0].To, ","), strings.Join(rules.lines[0].From, " "))
		}
	}
	return ""
}

// warnOfPlace warns of other handlers that may bypass the guard.
func (a *App) warnOfPlace(p place) {
	h := p.handler
	if len(p.unknown) > 0 && (p.top || h.Nested) {
		a.warn("handlers that sso does not know come before it: if one of them responds or passes requests on, sso does not check these requests",
			zap.String("site", h.site), zap.Strings("handlers", p.unknown))
	}
	if len(p.rewrites) > 0 && (len(h.Public) > 0 || len(h.Protect) > 0) {
		a.warn("a handler after sso changes the path: check that no rewrite leads from a public path to one that is not public",
			zap.String("site", h.site), zap.Strings("handlers", p.rewrites))
	}
}

// checkOrder refuses a handler if another one responds before it, to all of its requests if
// it is nested.
func (a *App) checkOrder(p place, places []place) error {
	if p.handler.Nested {
		return a.checkRest(p, places)
	}
	if len(p.before) == 0 || !p.top {
		return nil
	}
	return fmt.Errorf("site %s: '%s' comes before 'sso' and responds without it, because of the global option `order` or a route: "+
		"put 'sso' first, and write `public` in its block for paths that need no login; or, if sso is to guard only the rest, %s", p.handler.site, strings.Join(p.before, "', '"), p.asPart())
}

// checkRest refuses a nested handler if it gets no requests but those for its own addresses,
// or if it can't be known which. Those addresses may be there for another handler, which
// guards something, or for clients.
func (a *App) checkRest(p place, places []place) error {
	if p.shared != "" {
		return fmt.Errorf("site %s: the 'sso' that is `nested` is in a route of the group %q, which also has routes in another list: requests that have taken one of those skip this 'sso': "+
			"write another name for each list's group", p.handler.site, p.shared)
	}
	takers := strings.Join(p.way(anyPath).names(false), "', '")
	own := slices.DeleteFunc(a.addresses(p.handler), func(own address) bool { return !p.reachedBy(own.path, own.method) })
	answersFor := func(other place) bool {
		return other.besides(p) && other.guards() && slices.ContainsFunc(a.addresses(other.handler), func(its address) bool { return slices.Contains(own, its) })
	}
	switch {
	case p.guards(), len(own) > 0 && (p.handler.OP != nil || slices.ContainsFunc(places, answersFor)):
	case len(own) == 0 && takers != "":
		return fmt.Errorf("site %s: no request comes to the 'sso' that is `nested`, because the routes before it respond to all of them (by '%s'), so it guards nothing: "+
			"put this 'sso' before them, or have their matchers leave out what it is to guard", p.handler.site, takers)
	case takers != "":
		return fmt.Errorf("site %s: only requests for its own addresses come to the 'sso' that is `nested`, because the routes before it respond to all others (by '%s'), so it guards nothing: "+
			"put this 'sso' before them, or have their matchers leave out what it is to guard", p.handler.site, takers)
	case len(own) > 0:
		return fmt.Errorf("site %s: only requests for its own addresses come to the 'sso' that is `nested`, because the matchers above it take no others, so it guards nothing: "+
			"put this 'sso' into the route of what it is to guard, before the handler that responds", p.handler.site)
	}
	return nil
}

// guards says whether requests may come to a nested handler that are none for its own
// addresses.
func (p place) guards() bool { return p.in == nil || p.way(anyPath).methods&^otherMethods != 0 }

// checkDepth refuses a handler that guards only a part of its site without `nested`, and
// one below or beside another. tops counts the handlers that are not nested; 0 means that
// the fault of that site has been reported.
func (p place) checkDepth(places []place, tops map[string]int) error {
	switch h := p.handler; {
	case h.Nested && slices.ContainsFunc(places, p.isBelow):
		return fmt.Errorf("site %s: there is an 'sso' at the top and a `nested` one below it: only people whom the first lets in would reach the second, and that would replace the identity headers of the first: "+
			"remove one of them; or %s", h.site, p.asParts())
	case h.Nested:
	case !p.top:
		return fmt.Errorf("site %s: 'sso' stands inside of handle, route or another block, or its site's address has a path, so it does not see every request of the site: "+
			"put it at the top of the site, and write `public` or `protect` for paths that need no login; or, if sso is to guard only this part, %s", h.site, p.asPart())
	case tops[p.site] > 1:
		tops[p.site] = 0
		return fmt.Errorf("site %s: there is more than one 'sso', but one guards the whole site: if they have different providers, %s; if they have different rules, put all rules into one block; "+
			"if each is for a part of the site, %s", h.site, severalProviders, p.asParts())
	}
	return nil
}

// checkAnyHost refuses several apps that take all hosts of a site with a wildcard, if they
// have no audience that distinguishes them.
func checkAnyHost(places []place) error {
	var errs []error
	taken := map[string]string{} // configurations, by site
	for _, p := range places {
		if h := p.handler; p.anyHost && h.Nested && h.App == "" && h.BaseURL == "" {
			if other, ok := taken[p.site]; ok && other != h.config {
				errs = append(errs, fmt.Errorf("site %s: more than one 'sso' takes all hosts of the site, so their apps would accept each other's assertions: write `app <id>` in all but one of them", h.site))
			}
			taken[p.site] = h.config
		}
	}
	return errors.Join(errs...)
}

// place starts each app of the gateway with its hosts. Copies of one handler in several
// servers, such as those of http:// and https:// of one site, are one app, which has the
// https address.
func (a *App) place(places []place) error {
	slices.SortStableFunc(places, func(a, b place) int { return strings.Compare(b.hosts.Scheme, a.hosts.Scheme) })
	a.gateway.Unplace() // the sites are placed twice: see outline
	placed := map[string]*gateway.App{}
	var errs []error
	op := "" // the issuer of the OpenID provider
	for _, p := range places {
		key := p.handler.config + "\n" + strings.Join(p.hosts.Exact, " ")
		guard, ok := placed[key]
		if !ok {
			guard = p.handler.own
			if err := guard.Start(p.hosts); err != nil {
				errs = append(errs, fmt.Errorf("site %s: %w", p.handler.site, err))
				continue
			}
			placed[key] = guard
			switch {
			case p.handler.OP == nil:
			case op != "":
				errs = append(errs, fmt.Errorf("site %s: its `op` would be the OpenID provider %s beside %s, and a configuration has one: put all clients into the `op` of one of them", p.handler.site, guard.OpenIDIssuer(), op))
			default:
				op = guard.OpenIDIssuer()
			}
			for _, name := range guard.WithoutEmails() {
				a.warn("the app gets no e-mail address of this provider's people: the site has several name spaces, and the provider has no `email_domains`",
					zap.String("site", p.handler.site), zap.String("provider", name), zap.String("fix", "write `email_domains <domain>…`"+inSyntax(" in the block of provider "+name, "")))
			}
		}
		p.handler.guard.Store(guard)
	}
	return errors.Join(append(errs, findNodes(places))...)
}

// listener returns the scheme and port at which browsers reach a server.
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

// hostsOf returns the hosts for some names. ok is false if they are all, or if a name has
// a placeholder that is not known yet.
func hostsOf(names hostNames) (hosts gateway.Hosts, ok bool) {
	for _, name := range names {
		switch {
		case strings.Contains(name, "{") || strings.Trim(name, "*.") == "":
			return gateway.Hosts{}, false
		case strings.Contains(name, "*"):
			hosts.Any, hosts.Wild = true, append(hosts.Wild, name)
		case !slices.Contains(hosts.Exact, name):
			hosts.Exact = append(hosts.Exact, name)
		}
	}
	return hosts, names != nil
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

// siteName returns a name for messages of the site that Caddy is provisioning: the host
// names of the outermost route, or the server's addresses.
func siteName(ctx caddy.Context) string {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return "?"
	}
	for _, route := range server.Routes {
		// Caddy is provisioning the first route that has no handlers yet.
		if len(route.Handlers) == 0 && len(route.HandlersRaw) > 0 {
			return siteOf(route, server)
		}
	}
	return strings.Join(server.Listen, ", ")
}

// siteOf returns the name of the site of a server's route.
func siteOf(route caddyhttp.Route, server *caddyhttp.Server) string {
	if names := namesOf(route.MatcherSets); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return strings.Join(server.Listen, ", ")
}
