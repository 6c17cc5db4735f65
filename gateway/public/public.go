// Package public decides which requests to a site with `public` or `protect` need no
// login. All paths that such a request names, in whatever place, must be open.
// Package target decides on each path.
package public

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/strip"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// NeedsNoLogin reports whether all paths are open that a request names or may reach.
// original is the raw path of its target as it came in. Headers that name another
// path than the target are removed in any case.
func NeedsNoLogin(open *target.Open, original string, r *http.Request) bool {
	named := strip.TakePaths(r)
	if !methodsOpen(r) {
		return false
	}
	d := decision{open, original, currentPath(r.URL), reachesBelow(r)}
	if !d.opens(original) || slices.ContainsFunc(named, func(v string) bool { return !d.opens(target.Path(v)) }) {
		return false
	}
	return !slices.ContainsFunc(r.Header["Destination"], func(v string) bool { return !d.opensDestination(target.Path(v)) }) &&
		!slices.ContainsFunc(r.Header["If"], namesResource)
}

// A decision holds what opens needs to know of a request.
type decision struct {
	open *target.Open
	// original is the path as it came in; current is the path that the app gets.
	original, current string
	below             bool // the request may reach below its paths
}

// opens decides on an original path, and also on the current one if the request was
// rewritten before.
func (d *decision) opens(path string) bool {
	if path == d.original && path != d.current {
		return d.open.HasRest(path, d.current, d.below)
	}
	return d.open.Has(path, d.below)
}

// opensDestination decides on the path of a Destination header (RFC 4918 §10.3). If a
// prefix was stripped from the request's own path, the app may or may not expect it
// in this one. After any other rewrite nobody knows what the app expects.
func (d *decision) opensDestination(path string) bool {
	prefix, stripped := strings.CutSuffix(d.original, d.current)
	if !stripped {
		return false
	}
	rest := path
	if n := len(prefix); n > 0 && len(path) >= n && strings.EqualFold(path[:n], prefix) {
		rest = cmp.Or(path[n:], "/")
	}
	return d.open.HasDestination(path, rest, d.below)
}

// currentPath returns the raw path that the app gets.
func currentPath(u *url.URL) string {
	if u.RawPath == "" || u.RawPath == u.Path {
		return u.Path
	}
	return u.EscapedPath()
}

// methodsOpen reports whether the method, and every method that a header names,
// allows a request without a login. Bodies of other methods, such as REPORT and BIND,
// may name paths.
func methodsOpen(r *http.Request) bool {
	if !slices.Contains(openMethods, r.Method) {
		return false
	}
	for header, values := range r.Header {
		if strip.NamesMethod(header) && slices.ContainsFunc(values, func(v string) bool {
			return !slices.Contains(openMethods, strings.ToUpper(strings.TrimSpace(v)))
		}) {
			return false
		}
	}
	return true
}

var openMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodOptions, http.MethodDelete, http.MethodConnect,
	http.MethodTrace, "COPY", "MOVE", "PROPFIND", "PROPPATCH", "MKCOL", "LOCK", "UNLOCK",
}

// reachesBelow reports whether a method may reach below its path, as those of WebDAV
// do (RFC 4918 §9).
func reachesBelow(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodOptions, http.MethodConnect:
	default:
		return true
	}
	for header := range r.Header {
		if strip.NamesMethod(header) {
			return true
		}
	}
	return false
}

// namesResource reports whether an If header names resources by address (RFC 4918
// §10.4.2). The response would reveal something about them.
func namesResource(value string) bool {
	depth := 0
	for _, c := range value {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '<' && depth <= 0:
			return true
		}
	}
	return false
}
