package caddymodule

import (
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// fixesPath says whether the path is the configuration's once a rewrite is done.
func fixesPath(r *rewrite.Rewrite, p progress) bool {
	fixed := p.fixed
	if path, _, _ := strings.Cut(r.URI, "?"); path != "" {
		if p.matched {
			path = fileMatch.ReplaceAllString(path, "")
		}
		fixed = !fromClient(path)
	}
	for _, s := range r.URISubstring {
		fixed = fixed && !fromClient(s.Replace)
	}
	for _, s := range r.PathRegexp {
		fixed = fixed && !fromClient(s.Replace)
	}
	return fixed && !fromClient(r.StripPathPrefix+r.StripPathSuffix)
}

var (
	fileMatch    = regexp.MustCompile(`\{http\.matchers\.file\.(relative|type)\}`)
	ownWords     = regexp.MustCompile(`\{(http\.error\.(status_code|status_text|id|sso\.code)|env\.[^{}]*|system\.[^{}]*)\}`)
	ofHost       = regexp.MustCompile(`\{http\.request\.host(\.labels\.\d+)?\}`)
	ofFileSystem = regexp.MustCompile(`\bfile\b`)
)

// fromClient says whether a text with placeholders may hold what a client sent.
// What is not known to be the server's own is taken for that.
func fromClient(s string) bool { return strings.Contains(ownWords.ReplaceAllString(s, ""), "{") }

// rootOfClient says whether the client chooses the directory of files (the
// directives root and fs), if it did so before. A host that matched is the
// configuration's.
func rootOfClient(vars caddyhttp.VarsMiddleware, before bool) bool {
	for _, name := range []string{"root", "fs"} {
		if text, ok := vars[name].(string); ok {
			before = fromClient(ofHost.ReplaceAllString(text, ""))
		}
	}
	return before
}

// filesIn says whether the placeholders of the file matcher are the
// configuration's after a set of matchers, if they were so before.
func filesIn(set caddyhttp.MatcherSet, before bool) bool {
	for _, matcher := range set {
		switch m := matcher.(type) {
		case *fileserver.MatchFile:
			before = len(m.TryFiles) > 0 && !slices.ContainsFunc(m.TryFiles, fromClient) && !fromClient(strings.ReplaceAll(m.Root, "{http.vars.root}", ""))
		case *caddyhttp.MatchNot:
			for _, inner := range m.MatcherSets {
				before = filesIn(inner, before) && before // what did not match has set nothing
			}
		case *caddyhttp.MatchExpression:
			before = before && !ofFileSystem.MatchString(m.Expr)
		}
	}
	return before
}
