package gateway

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/strip"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// isOpen says whether a request to a site with `public` or `protect` needs no
// login. All paths that it names must be open, and all that it may reach. Headers
// that name another path than the target are taken away, whoever asks.
func (x *exchange) isOpen() bool {
	named := strip.TakePaths(x.r)
	if !methodsOpen(x.r) {
		return false
	}
	below := reachesBelow(x.r)
	if !x.opens(x.path, below) || slices.ContainsFunc(named, func(v string) bool { return !x.opens(target.Path(v), below) }) {
		return false
	}
	return !slices.ContainsFunc(x.r.Header["Destination"], func(v string) bool { return !x.opensDestination(target.Path(v), below) }) &&
		!slices.ContainsFunc(x.r.Header["If"], namesResource)
}

// opensLive says whether a live request of an earlier configuration needs no login
// any more. Its handlers may be changing headers and address right now, so only the
// path counts that it came with, and only for methods that name no other one.
func (a *App) opensLive(v *visit) bool {
	return a.open != nil && (v.Came().Method == http.MethodGet || v.Came().Method == http.MethodHead) && a.open.Has(v.path, false)
}

// opens decides on an original path, and on the current one if the request was
// rewritten before it came here.
func (x *exchange) opens(path string, below bool) bool {
	if current := currentPath(x.r.URL); path == x.path && path != current {
		return x.app.open.HasRest(path, current, below)
	}
	return x.app.open.Has(path, below)
}

// opensDestination decides on the path that a WebDAV request names beside its own
// (RFC 4918 §10.3). If a prefix was stripped from that one, the app may expect it
// here, or not; after another rewrite nobody knows what it expects.
func (x *exchange) opensDestination(path string, below bool) bool {
	prefix, stripped := strings.CutSuffix(x.path, currentPath(x.r.URL))
	if !stripped {
		return false
	}
	rest := path
	if n := len(prefix); n > 0 && len(path) >= n && strings.EqualFold(path[:n], prefix) {
		rest = cmp.Or(path[n:], "/")
	}
	return x.app.open.HasDestination(path, rest, below)
}

// currentPath returns the raw path that the app is asked for.
func currentPath(u *url.URL) string {
	if u.RawPath == "" || u.RawPath == u.Path {
		return u.Path
	}
	return u.EscapedPath()
}

// methodsOpen says whether a request may need no login by its method, and by those
// that its headers name: bodies of others, such as REPORT and BIND, name paths.
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

// reachesBelow says whether a method may reach below its path, as those of WebDAV do
// (RFC 4918 §9).
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

// namesResource says whether an If header tells of resources by their address
// (RFC 4918 §10.4.2), of which the answer would then say something.
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
