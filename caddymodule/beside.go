package caddymodule

import (
	"maps"
	"slices"

	"go.uber.org/zap"
)

// neverPass are the handlers that answer by themselves, whatever is in a request.
var neverPass = []string{"acme_server", "file_server", "metrics"}

// checkPassed checks the handlers that requests to a guarded host reach past its
// sso. Where that is `nested`, somebody has said that a part is not guarded.
func (a *App) checkPassed(f *follower, places []place) {
	sites := map[string][]string{}
	for _, p := range f.passed {
		if !slices.Contains(neverPass, p.name) && !slices.Contains(sites[p.site], p.name) {
			sites[p.site] = append(sites[p.site], p.name)
		}
	}
	top := ""
	for _, p := range places {
		if !slices.Contains(f.met, p.handler) {
			continue
		}
		if len(p.before) > 0 || !p.top && !p.handler.Nested {
			return // that is said already
		}
		if !p.handler.Nested {
			top = p.handler.site
		}
	}
	for _, site := range slices.Sorted(maps.Keys(sites)) {
		names := sites[site]
		unknown := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(standard, name) })
		if top == "" {
			unknown = names
		}
		if len(unknown) > 0 {
			a.warn("handlers of a host get requests that its sso does not see, the session cookie and forged identity headers among them, if they pass requests on: write the line `sso_strip` before them",
				zap.String("site", site), zap.Strings("handlers", unknown))
		}
		for _, name := range names {
			if top != "" && slices.Contains(standard, name) {
				f.site = site
				f.fault("'%s' gets requests that the 'sso' of %s does not see, session cookie, forged identity headers and all, for a route of its own takes them, such as a site with a path: "+
					"write the line `sso_strip` before it; or put it into the site with 'sso', as `handle <path> { … }`, and say by `public` what needs no login", name, top)
			}
		}
	}
}

// warnOfOtherPort warns of handlers that get the session cookie of a host because
// they are reached by another of its ports: browsers make no difference.
func (a *App) warnOfOtherPort(f *follower, server string, places []place) {
	for _, p := range places {
		if p.server == "" || p.server == server || !p.names.overlap(hostNames{f.host}) && f.host != "" {
			continue
		}
		if p.hosts.Scheme == "https" && len(f.server.TLSConnPolicies) == 0 {
			continue // the cookie is Secure
		}
		for _, passed := range f.passed {
			if !slices.Contains(neverPass, passed.name) {
				a.warn("a site on another port of a guarded host gets its session cookie, for cookies hold for all ports: write the line `sso_strip` before what passes requests on; or use another host",
					zap.String("site", passed.site), zap.Strings("handlers", []string{passed.name}))
			}
		}
	}
}
