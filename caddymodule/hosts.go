package caddymodule

import (
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
				for _, name := range *m {
					names = append(names, strings.ToLower(caddy.NewReplacer().ReplaceKnown(name, "")))
				}
			}
		}
		if !limited {
			return nil
		}
	}
	return names
}

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

// cover says whether all requests to a name are taken.
func (n hostNames) cover(name string) bool {
	return slices.ContainsFunc(n, func(a string) bool {
		as, bs := strings.Split(a, "."), strings.Split(name, ".")
		if len(as) != len(bs) {
			return false
		}
		for i := range as {
			if as[i] != "*" && as[i] != bs[i] {
				return false
			}
		}
		return true
	})
}

// sameHost says whether two names, or wildcards as Caddy reads them, can be one. A
// name with a placeholder can be any.
func sameHost(a, b string) bool {
	if strings.Contains(a+b, "{") {
		return true
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		if as[i] != bs[i] && as[i] != "*" && bs[i] != "*" {
			return false
		}
	}
	return true
}
