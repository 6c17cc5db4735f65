package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// A chance says whether requests match, as far as their path and host say.
type chance int

const (
	never chance = iota
	few
	maybe
	surely
)

// A fact says whether these requests matched a matcher on the way. Facts are lists, because
// most states have those of another state and one more.
type fact struct {
	matcher string
	matches bool
	before  *fact
}

// of returns what is known of a matcher.
func (f *fact) of(matcher string) *fact {
	for f != nil && f.matcher != matcher {
		f = f.before
	}
	return f
}

// methods is a set of HTTP methods.
type methods uint8

var methodNames = []string{"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}

const (
	methodGet methods = 1 << iota
	methodPost
	ownMethods   = methodGet | methodPost // of people who sign in
	otherMethods = methods(1 << 7)
	allMethods   = ^methods(0)
)

// match divides requests into those that get into a route, and the others.
func (t *trace) match(route caddyhttp.Route, s state) (in, out []state) {
	if len(route.MatcherSets) == 0 {
		return []state{s}, nil
	}
	if file := fallback(route.MatcherSets); file != "" && len(route.Handlers) == 1 && len(route.MatcherSets[0]) == 1 {
		if r, ok := route.Handlers[0].(*rewrite.Rewrite); ok && strings.HasPrefix(r.URI, "{http.matchers.file.relative}") {
			return []state{s}, nil // `try_files` of several lines
		}
	}
	return t.anyOf(route.MatcherSets, s)
}

// anyOf divides requests into those that match one of some sets, and the others.
func (t *trace) anyOf(sets caddyhttp.MatcherSets, s state) (in, out []state) {
	out = []state{s}
	for _, set := range sets {
		rest := out
		out = nil
		for _, r := range rest {
			yes, no := t.allOf(set, r)
			in, out = t.add(in, yes...), t.add(out, no...)
		}
	}
	return in, out
}

// allOf divides requests into those that match all matchers of a set, and the others.
func (t *trace) allOf(set caddyhttp.MatcherSet, s state) (in, out []state) {
	in = []state{s}
	for _, matcher := range set {
		rest := in
		in = nil
		for _, r := range rest {
			yes, no := t.one(matcher, r)
			in, out = t.add(in, yes...), t.add(out, no...)
		}
	}
	return in, out
}

// one divides requests into those that match, and the others.
func (t *trace) one(matcher any, s state) (in, out []state) {
	if other := opposite(matcher); other != nil {
		out, in = t.one(other, s)
		return in, out
	}
	yes, no := s, s
	switch m := matcher.(type) {
	case *caddyhttp.MatchNot:
		out, in = t.anyOf(m.MatcherSets, s)
		return in, out
	case *caddyhttp.MatchMethod:
		some := methodsOf(*m)
		yes.methods, no.methods = s.methods&some, s.methods&^(some&^otherMethods)
	default:
		switch matches := t.chanceOf(matcher, s); matches {
		case never:
			yes.methods = 0
		case surely:
			no.methods = 0
		default:
			yes.uncertain = s.uncertain || matches == few
			if key := t.in.key(matcher); t.in.often[key] > 1 {
				yes.facts, no.facts = &fact{key, true, s.facts}, &fact{key, false, s.facts}
			}
			if host, ok := matcher.(*caddyhttp.MatchHost); ok {
				yes.names, no.names = s.names.split(namesIn(*host))
			}
		}
	}
	if yes.methods != 0 {
		in = []state{yes}
	}
	if no.methods != 0 {
		out = []state{no}
	}
	return in, out
}

// chanceOf says whether requests match, as far as anything is known of them.
func (t *trace) chanceOf(matcher any, s state) chance {
	matches := t.matcher(matcher, s)
	if matches == never || matches == surely {
		return matches
	}
	switch known := s.facts.of(t.in.key(matcher)); {
	case known == nil:
		return matches
	case known.matches:
		return surely
	}
	return never
}

func methodsOf(names []string) (set methods) {
	for _, name := range names {
		if i := slices.Index(methodNames, name); i >= 0 {
			set |= 1 << i
		} else {
			set |= otherMethods
		}
	}
	return set
}

// matcher says whether requests match, as far as their path and host say.
func (t *trace) matcher(matcher any, s state) chance {
	path := s.path
	switch m := matcher.(type) {
	case *caddyhttp.MatchPath:
		if path == anyPath {
			return matchPath(slices.DeleteFunc(slices.Clone(*m), func(pattern string) bool { return t.handler.owns(s.cut + replaced(pattern)) }), path)
		}
		return matchPath(*m, path)
	case *caddyhttp.MatchPathRE:
		re, err := regexp.Compile(m.Pattern)
		switch {
		case err != nil || path == anyPath:
			return few
		case re.MatchString(path):
			return surely
		}
		return never
	case *caddyhttp.MatchHost:
		in, out := s.names.split(namesIn(*m))
		switch {
		case s.names != nil && out == nil:
			return surely
		case s.names != nil && in == nil:
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
		return few
	}
	if everything(matcher) {
		return surely
	}
	return maybe
}

// everything says whether a matcher, which is none of paths or hosts, takes all requests.
func everything(matcher any) bool {
	all := func(ranges []string) bool {
		known, err := rangesIn(replaced(strings.Join(ranges, " ")))
		return err == nil && cover(known, netip.MustParsePrefix("0.0.0.0/0")) && cover(known, netip.MustParsePrefix("::/0"))
	}
	switch m := matcher.(type) {
	case *caddyhttp.MatchHeader:
		return len(*m) == 1 && slices.Contains(http.Header(*m).Values("Host"), "*") // Caddy takes the host of the address
	case *caddyhttp.MatchExpression:
		return strings.TrimSpace(m.Expr) == "true"
	case *caddyhttp.MatchRemoteIP:
		return all(m.Ranges)
	case *caddyhttp.MatchClientIP:
		return all(m.Ranges)
	}
	return false
}

func matchPath(m caddyhttp.MatchPath, path string) chance {
	matches := never
	for _, pattern := range m {
		pattern = replaced(pattern)
		switch {
		case pattern == "*" || pattern == "/*":
			return surely
		case strings.Contains(pattern, "{") || path == anyPath:
			matches = few
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

// onlyClients says whether matchers tell hosts and clients apart, but no addresses.
func onlyClients(sets caddyhttp.MatcherSets) bool {
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost, *caddyhttp.MatchHeader, *caddyhttp.MatchHeaderRE, *caddyhttp.MatchRemoteIP, *caddyhttp.MatchClientIP:
			case *caddyhttp.MatchNot:
				if !onlyClients(m.MatcherSets) {
					return false
				}
			default:
				return false
			}
		}
	}
	return true
}

// opposite returns the matcher of all requests that a matcher does not match: `header X *` of
// `header !X`. It is nil if no such matcher is known.
func opposite(matcher any) any {
	if m, ok := matcher.(*caddyhttp.MatchHeader); ok && len(*m) == 1 {
		for name, values := range *m {
			if values == nil {
				return &caddyhttp.MatchHeader{http.CanonicalHeaderKey(name): {"*"}}
			}
		}
	}
	return nil
}

// matcherKey is equal for matchers that match the same requests.
func matcherKey(matcher any) string {
	kind := matcherName(matcher)
	switch m := matcher.(type) { // without the names that the Caddyfile gives them
	case *caddyhttp.MatchExpression:
		return kind + m.Expr
	case *caddyhttp.MatchHeaderRE:
		patterns := map[string]string{}
		for name, re := range *m {
			patterns[name] = re.Pattern
		}
		matcher = patterns
	}
	config, err := json.Marshal(matcher)
	if err != nil {
		return fmt.Sprintf("%s%p", kind, matcher)
	}
	return kind + string(config)
}

// matcherName is what a matcher is called in the configuration.
func matcherName(matcher any) string {
	if m, ok := matcher.(caddy.Module); ok {
		return strings.TrimPrefix(string(m.CaddyModule().ID), "http.matchers.")
	}
	return fmt.Sprintf("%T", matcher)
}
