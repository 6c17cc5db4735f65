package caddymodule

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// A chance says whether requests match. The opposite of c is surely - c.
type chance int

const (
	never chance = iota
	hardly
	maybe
	surely
)

// match says whether requests for a path get into a route.
func (t *trace) match(route caddyhttp.Route, path string) chance {
	if len(route.MatcherSets) == 0 {
		return surely
	}
	matches := t.anyOf(route.MatcherSets, path)
	if file := fallback(route.MatcherSets); file != "" && len(route.Handlers) == 1 && len(route.MatcherSets[0]) == 1 {
		if r, ok := route.Handlers[0].(*rewrite.Rewrite); ok && strings.HasPrefix(r.URI, "{http.matchers.file.relative}") {
			return surely // `try_files` of several lines
		}
	}
	return matches
}

func (t *trace) anyOf(sets []caddyhttp.MatcherSet, path string) chance {
	matches := never
	for _, set := range sets {
		all := surely
		for _, matcher := range set {
			all = min(all, t.matcher(matcher, path))
		}
		matches = max(matches, all)
	}
	return matches
}

// matcher says whether requests for a path match.
func (t *trace) matcher(matcher any, path string) chance {
	switch m := matcher.(type) {
	case *caddyhttp.MatchPath:
		return matchPath(*m, path)
	case *caddyhttp.MatchPathRE:
		re, err := regexp.Compile(m.Pattern)
		switch {
		case err != nil || path == anyPath:
			return hardly
		case re.MatchString(path):
			return surely
		}
		return never
	case *caddyhttp.MatchNot:
		return surely - t.anyOf(m.MatcherSets, path)
	case *caddyhttp.MatchHost:
		names := hostNames(*m)
		switch {
		case t.names != nil && !slices.ContainsFunc(t.names, func(name string) bool { return !names.cover(name) }):
			return surely
		case !names.overlap(t.names):
			return never
		}
	case *fileserver.MatchFile:
		other := func(file string) bool { return !strings.Contains(file, "{http.request.uri") }
		switch {
		case len(m.TryFiles) > 1 && fallback([]caddyhttp.MatcherSet{{m}}) != "":
			return surely
		case path != anyPath && filepath.Ext(path) == "" && !slices.ContainsFunc(m.TryFiles, other):
			return never // no file has the path of one of our addresses
		}
		return hardly
	}
	return maybe
}

func matchPath(m caddyhttp.MatchPath, path string) chance {
	matches := never
	for _, pattern := range m {
		switch {
		case pattern == "*" || pattern == "/*":
			return surely
		case strings.Contains(pattern, "{") || path == anyPath:
			matches = hardly
		default:
			one := caddyhttp.MatchPath{pattern}
			if yes, err := one.MatchWithError(requestFor(path)); yes && err == nil {
				return surely
			}
		}
	}
	return matches
}

// fallback is the file that a matcher takes if there is none of a request's path.
func fallback(sets caddyhttp.MatcherSets) string {
	for _, set := range sets {
		for _, matcher := range set {
			if m, ok := matcher.(*fileserver.MatchFile); ok && len(m.TryFiles) > 0 {
				last := m.TryFiles[len(m.TryFiles)-1]
				if !strings.ContainsAny(last, "{=") {
					return "/" + strings.TrimPrefix(last, "/")
				}
			}
		}
	}
	return ""
}
