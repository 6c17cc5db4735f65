package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/binding"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/target"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// An Endpoint is an address that an App itself serves. One table has them all. The
// router, the redaction of logs, and the test of docs/endpoints.md read it.
type Endpoint struct {
	// Path is absolute and raw. A word in braces at its end stands for any name, with dots
	// also for one with slashes.
	Path string
	// Methods are allowed. Others get 405.
	Methods []string
	// Credentials says that a provider's answer comes here, in the URL or in a form.
	Credentials bool
	// CrossSite says that pages of other sites post here. All other endpoints
	// refuse such a post.
	CrossSite bool

	// unbound says that it serves before Bind, too: its clients understand no page of ours.
	unbound bool
	serve   func(*request) error
	// serveNamed is instead of serve if names have a meaning.
	serveNamed func(x *request, name string) error
	// lostPost serves a GET without a query, which may be a POST that was redirected.
	lostPost func(*request) error
	dir      string // Path up to the word in braces; "": there is none
}

// at says whether the endpoint serves path.
func (e *Endpoint) at(path string) bool {
	if e.dir == "" {
		return path == e.Path
	}
	name, ok := strings.CutPrefix(path, e.dir)
	return ok && name != "" && (e.serveNamed != nil || !strings.Contains(name, "/"))
}

// An endpointTable has the endpoints of one App.
type endpointTable struct {
	prefix         string
	below, outside []Endpoint // of prefix
}

// find returns the endpoint at a path, and whether the path is ours. Every path below the
// prefix is ours, even without an endpoint. Most requests are for the app: for those it
// compares the path with the prefix and with each endpoint outside of it.
func (t *endpointTable) find(path string) (e *Endpoint, own bool) {
	rows := t.outside
	if own = target.Under(path, t.prefix); own {
		rows = t.below
	}
	for i := range rows {
		if rows[i].at(path) {
			return &rows[i], true
		}
	}
	return nil, own
}

func (t *endpointTable) add(rows ...Endpoint) {
	for _, e := range rows {
		if dir, _, named := strings.Cut(e.Path, "{"); named {
			e.dir = dir
		}
		if target.Under(e.Path, t.prefix) {
			t.below = append(t.below, e)
		} else {
			t.outside = append(t.outside, e)
		}
	}
}

// newEndpointTable makes the table of an App with valid options.
func (a *App) newEndpointTable() *endpointTable {
	prefix, read := a.opts.Prefix, []string{http.MethodGet, http.MethodHead}
	t := &endpointTable{prefix: prefix}
	t.add(
		Endpoint{Path: prefix + "/login", Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}, serve: (*request).login},
		Endpoint{Path: a.sessionPath(), Methods: read, serve: (*request).showSession},
		Endpoint{Path: prefix + "/refused", Methods: read, serve: (*request).refused},
		Endpoint{Path: prefix + "/logout", Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}, serve: (*request).logout},
		Endpoint{Path: prefix + "/logged-out", Methods: read, serve: (*request).loggedOut},
		Endpoint{Path: prefix + "/logged-out/forget", Methods: read, serve: (*request).forget},
		Endpoint{Path: prefix + "/jwks.json", Methods: read, serve: (*request).jwks},
		Endpoint{Path: prefix + "/assets/{file...}", Methods: read, serveNamed: (*request).asset},
	)
	t.add(a.callbackEndpoints()...)
	t.add(a.openIDEndpoints()...)
	if len(a.speaking(provider.SAML)) > 0 {
		t.add(
			Endpoint{
				Path: prefix + "/saml/acs", Methods: []string{http.MethodPost}, Credentials: true, CrossSite: true,
				serve: (*request).consumeAssertion, lostPost: (*request).refuseLostPost,
			},
			Endpoint{Path: prefix + "/saml/metadata", Methods: read, serve: (*request).onlyMetadata},
			Endpoint{Path: prefix + "/saml/metadata/{provider...}", Methods: read, serveNamed: (*request).metadata},
		)
	}
	return t
}

// callbackEndpoints returns where OpenID Providers send people back to. Below our prefix
// there is one for any name: a provider may be gone when its answer comes. Outside of it
// there is one for each provider, and other names belong to the app.
func (a *App) callbackEndpoints() []Endpoint {
	callback := Endpoint{
		Path: a.opts.CallbackPath, Methods: []string{http.MethodGet}, Credentials: true,
		serve: func(x *request) error { return x.callback(binding.Query{}) },
	}
	rows := []Endpoint{callback}
	if target.Under(callback.Path, a.opts.Prefix) {
		callback.Path += "/{provider}"
		return append(rows, callback)
	}
	for _, p := range a.providers {
		callback.Path = a.opts.CallbackPath + "/" + p.Name
		rows = append(rows, callback)
	}
	return rows
}

// Endpoints returns the table of the App's endpoints.
func (a *App) Endpoints() []Endpoint {
	return slices.Concat(a.endpoints.below, a.endpoints.outside)
}

// Owns says whether a request target (RFC 9112, 3.2) is one of the gateway's own
// addresses.
func (a *App) Owns(to string) bool {
	_, own := a.endpoints.find(target.Path(to))
	return own
}

// HasCredentials says whether a request may bring credentials, which belong in no log. It
// may if the endpoint takes them, or if it has a query or a form and is for any address
// of ours.
func (a *App) HasCredentials(method, to string) bool {
	e, own := a.endpoints.find(target.Path(to))
	return own && (e != nil && e.Credentials || strings.Contains(to, "?") || method == http.MethodPost)
}

// route serves an address of ours. e is nil if there is no endpoint.
func (x *request) route(e *Endpoint) error {
	switch {
	case e == nil:
		return x.refuse(refusal.New(refusal.NotFound, fmt.Errorf("there is no endpoint at %s", wording.Quoted(x.path))))
	case slices.Contains(e.Methods, x.r.Method):
	case e.lostPost != nil && binding.IsLostPost(x.r):
		return e.lostPost(x)
	default:
		x.w.Header().Set("Allow", strings.Join(e.Methods, ", "))
		return x.refuse(refusal.New(refusal.MethodNotAllowed, fmt.Errorf("the method is %s; %s takes %s", wording.Quoted(x.r.Method), wording.Quoted(x.path), strings.Join(e.Methods, ", "))))
	}
	if !e.CrossSite {
		// A method that changes nothing always passes.
		if err := x.app.csrf.Check(x.r); err != nil {
			return x.refuse(refusal.New(refusal.CrossSite, fmt.Errorf("%w; the Origin is %s", err, wording.Quoted(x.r.Header.Get("Origin")))))
		}
	}
	if e.serveNamed != nil {
		return e.serveNamed(x, strings.TrimPrefix(x.path, e.dir))
	}
	return e.serve(x)
}

func (x *request) asset(name string) error {
	x.app.gw.opts.Pages.Asset(x.w, x.r, x.app.opts.Brand, name)
	return nil
}
