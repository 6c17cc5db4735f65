package caddymodule

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// hostNames are those that a route takes, wildcards among them. nil takes all.
type hostNames []string

// namesOf returns the names that matcher sets limit requests to.
func namesOf(sets caddyhttp.MatcherSets) hostNames {
	var names hostNames
	for _, set := range sets {
		limited := false
		for _, matcher := range set {
			if m, ok := matcher.(*caddyhttp.MatchHost); ok {
				limited = true
				names = append(names, namesIn(*m)...)
			}
		}
		if !limited {
			return nil
		}
	}
	return names
}

// namesIn returns the names of a matcher, as Caddy compares them.
func namesIn(m caddyhttp.MatchHost) hostNames {
	names := make(hostNames, len(m))
	for i, name := range m {
		names[i] = replaced(name)
	}
	return names
}

// replaced returns a name or path of a matcher without the placeholders that are known before
// a request comes.
func replaced(text string) string { return strings.ToLower(caddy.NewReplacer().ReplaceKnown(text, "")) }

// hostOf returns the host of a base URL.
func hostOf(baseURL string) string {
	u, err := url.Parse(baseURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// overlap says whether some name is among both.
func (n hostNames) overlap(other hostNames) bool {
	if n == nil || other == nil {
		return true
	}
	return slices.ContainsFunc(n, func(a string) bool {
		return slices.ContainsFunc(other, func(b string) bool { return sameHost(a, b) })
	})
}

// exact says whether each of them is the name of one host.
func (n hostNames) exact() bool {
	return n != nil && !slices.ContainsFunc(n, func(name string) bool { return strings.ContainsAny(name, "{*") })
}

// split returns the names of which some hosts are among others, and those of which some
// are not.
func (n hostNames) split(other hostNames) (in, out hostNames) {
	for _, name := range n {
		if other.overlap(hostNames{name}) {
			in = append(in, name)
		}
		if !other.cover(name) {
			out = append(out, name)
		}
	}
	return in, out
}

// cover says whether all requests to a name are taken.
func (n hostNames) cover(name string) bool {
	return slices.ContainsFunc(n, func(a string) bool {
		both, ok := inCommon(a, name)
		return ok && both == name
	})
}

// sameHost says whether two names, or wildcards as Caddy reads them, can be one. A
// name with a placeholder can be any.
func sameHost(a, b string) bool {
	_, ok := inCommon(a, b)
	return ok || strings.Contains(a+b, "{")
}

// inCommon returns the name or wildcard for the hosts that two names or wildcards both
// stand for.
func inCommon(a, b string) (string, bool) {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	if len(as) != len(bs) {
		return "", false
	}
	for i := range as {
		switch {
		case as[i] == "*":
			as[i] = bs[i]
		case as[i] != bs[i] && bs[i] != "*":
			return "", false
		}
	}
	return strings.Join(as, "."), true
}

// take says whether requests to a host may be taken, and whether all of them are. A
// name with a placeholder may take any.
func (n hostNames) take(host string) (some, all bool) {
	if n == nil || n.cover(host) {
		return true, true
	}
	return strings.Contains(host, "{") || slices.ContainsFunc(n, func(name string) bool { return strings.Contains(name, "{") }), false
}

// hostsIn are the hosts whose requests a server may treat in different ways: all
// that its routes or base URLs name, those that two wildcards have in common, and ""
// for any other.
func hostsIn(server *caddyhttp.Server, places []place) []string {
	hosts := map[string]bool{"": true}
	gatherHosts(server.Routes, hosts)
	if server.Errors != nil {
		gatherHosts(server.Errors.Routes, hosts)
	}
	for _, p := range places {
		if host := hostOf(p.handler.BaseURL); host != "" {
			hosts[host] = true
		}
	}
	wildcards := slices.DeleteFunc(slices.Sorted(maps.Keys(hosts)), func(host string) bool { return !strings.Contains(host, "*") })
	for i, a := range wildcards {
		for _, b := range wildcards[:i] {
			if host, ok := inCommon(a, b); ok {
				hosts[host] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}

func gatherHosts(list caddyhttp.RouteList, hosts map[string]bool) {
	for _, route := range list {
		for _, name := range namesOf(route.MatcherSets) {
			hosts[name] = true
		}
		for _, handler := range route.Handlers {
			if h, ok := handler.(*caddyhttp.Subroute); ok {
				gatherHosts(h.Routes, hosts)
				if h.Errors != nil {
					gatherHosts(h.Errors.Routes, hosts)
				}
			}
		}
	}
}
