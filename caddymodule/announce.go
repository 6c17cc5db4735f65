package caddymodule

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// announce logs one line for each site: what is protected, and the addresses that are
// registered at each provider.
func (a *App) announce(places []place) {
	said := map[*gateway.App]bool{} // copies of a handler are one app
	for _, p := range places {
		guard := p.handler.guard.Load()
		if said[guard] {
			continue
		}
		said[guard] = true
		fields := []zap.Field{zap.String("site", p.handler.site), zap.String("protected", p.handler.scope())}
		if before := p.routesBefore(); before != nil {
			fields = append(fields, zap.Strings("routes_before", before))
		}
		if paths := p.handler.Public; len(paths) > 0 {
			fields = append(fields, zap.Strings("public", paths))
		}
		if paths := p.handler.Protect; len(paths) > 0 {
			fields = append(fields, zap.Strings("protect", paths))
		}
		if ids := p.handler.clientIDs(); len(ids) > 0 {
			fields = append(fields, zap.String("openid_issuer", guard.OpenIDIssuer()), zap.Strings("openid_clients", ids))
		}
		a.log.Info("this site is protected; register these addresses at its providers",
			append(fields, zap.Objects("providers", a.registrations(p)))...)
	}
}

// routesBefore names the handlers that get requests before a handler that is nested, so
// that it does not guard these requests.
func (p place) routesBefore() (routes []string) {
	if !p.handler.Nested {
		return nil
	}
	for _, by := range p.way(anyPath).takers {
		text := by.name
		for i, sets := range by.via {
			text += []string{" if ", ", "}[min(i, 1)] + describe(sets)
		}
		if !by.redirected && !slices.Contains(routes, text) {
			routes = append(routes, text)
		}
	}
	return routes
}

// describe says which requests matchers take. Values that may be secret, such as those of a
// header, are left out.
func describe(sets caddyhttp.MatcherSets) string {
	either := make([]string, len(sets))
	for i, set := range sets {
		var all []string
		for _, matcher := range set {
			text := matcherName(matcher)
			switch m := matcher.(type) {
			case *caddyhttp.MatchNot:
				text = "not (" + describe(m.MatcherSets) + ")"
			case *caddyhttp.MatchPath:
				text += " " + strings.Join(*m, " ")
			case *caddyhttp.MatchPathRE:
				text += " " + m.Pattern
			case *caddyhttp.MatchHeader:
				for _, name := range slices.Sorted(maps.Keys(*m)) {
					text += " "
					if (*m)[name] == nil {
						text += "!"
					}
					text += name
				}
			case *caddyhttp.MatchMethod:
				text += " " + strings.Join(*m, " ")
			case *caddyhttp.MatchHost:
				text += " " + strings.Join(*m, " ")
			}
			all = append(all, text)
		}
		slices.Sort(all)
		either[i] = strings.Join(all, ", ")
	}
	return strings.Join(either, " or ")
}

// scope says which paths of the site need a login.
func (h *Handler) scope() string {
	const nested = "the requests that reach this `nested` sso"
	switch {
	case h.Nested && len(h.Protect)+len(h.Public) > 0:
		return "of " + nested + ": " + h.pathsInScope()
	case h.Nested:
		return "only " + nested
	}
	return h.pathsInScope()
}

func (h *Handler) pathsInScope() string {
	switch {
	case len(h.Protect) > 0 && len(h.Public) > 0:
		return "the paths of `protect`, except those of `public`"
	case len(h.Protect) > 0:
		return "only the paths of `protect`"
	case len(h.Public) > 0:
		return "all paths except those of `public`"
	}
	return "all paths"
}

// A registration is what a provider needs to know of a site.
type registration struct {
	provider, protocol string
	// redirects are the redirect URIs of OpenID Connect, or the addresses of SAML's
	// AssertionConsumerService: one for each address of the site.
	redirects []string
	metadata  []string
	// loggedOut are the addresses after `logout provider`.
	loggedOut []string
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (r registration) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("name", r.provider)
	e.AddString("protocol", r.protocol)
	redirects := "redirect_uri"
	if r.metadata != nil {
		redirects = "acs"
		zap.Strings("metadata", r.metadata).AddTo(e)
	}
	zap.Strings(redirects, r.redirects).AddTo(e)
	if r.loggedOut != nil {
		zap.Strings("post_logout_redirect_uri", r.loggedOut).AddTo(e)
	}
	return nil
}

// registrations are those of a site's providers, in the chooser's order.
func (a *App) registrations(p place) []registration {
	own := a.addresses(p.handler)
	list := make([]registration, len(p.handler.opts.Providers))
	for i, name := range p.handler.opts.Providers {
		at := own[slices.IndexFunc(own, func(a address) bool { return a.provider == name })]
		r := registration{provider: name, protocol: at.protocol}
		returns := slices.ContainsFunc(a.providers, func(p builtProvider) bool { return p.Name == name && p.returns })
		for _, origin := range p.origins() {
			r.redirects = append(r.redirects, origin+at.path)
			if at.metadata != "" {
				r.metadata = append(r.metadata, origin+at.metadata)
			}
			if returns {
				r.loggedOut = append(r.loggedOut, origin+p.handler.prefix()+"/logged-out")
			}
		}
		list[i] = r
	}
	return list
}

// origins are the addresses of the site as browsers write them. A wildcard stands for
// the names that are not known.
func (p place) origins() []string {
	if u, err := target.ParseOrigin(p.handler.BaseURL); err == nil {
		return []string{u.String()}
	}
	var origins []string
	for _, name := range slices.Concat(p.hosts.Exact, p.hosts.Wild) {
		scheme, port := cmp.Or(p.hosts.Scheme, "https"), p.hosts.Port
		if scheme == "http" && !p.handler.InsecureHTTP && !isLoopback(name) {
			scheme, port = "https", "" // a proxy before us ends TLS: nobody can sign in over plain http
		}
		origins = append(origins, target.Origin(scheme, strings.TrimSuffix(name+":"+port, ":")))
	}
	return origins
}

// isLoopback says whether a host name, or all names of a wildcard, are this machine's.
func isLoopback(name string) bool {
	return fetch.IsLoopback(strings.Trim(strings.ReplaceAll(name, "*", "x"), "[]"))
}
