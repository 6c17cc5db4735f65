package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// An Endpoint is one of the addresses at which an App answers itself. One table
// has them all: the router reads it, and so do the redaction of logs and the
// test of docs/endpoints.md.
type Endpoint struct {
	// Path is absolute and raw. If it ends in a word in braces, it stands for all
	// names in place of that word.
	Path string
	// Methods are taken; all others are answered with 405.
	Methods []string
	// Credentials says that a provider's answer comes here, in the URL or in a form.
	Credentials bool
	// CrossSite says that pages of other sites post here. All other endpoints
	// refuse such a post.
	CrossSite bool

	serve func(*exchange) error
	// lostPost answers a GET without query: what a redirect leaves of a form's post.
	lostPost func(*exchange) error
	// dir is Path up to the word in braces. If deep, names may have slashes.
	dir  string
	deep bool
}

// at says whether the endpoint's path is path.
func (e *Endpoint) at(path string) bool {
	if e.dir == "" {
		return path == e.Path
	}
	name, ok := strings.CutPrefix(path, e.dir)
	return ok && name != "" && (e.deep || !strings.Contains(name, "/"))
}

// An endpointTable has the endpoints of one App.
type endpointTable struct {
	prefix         string
	below, outside []Endpoint // of prefix
}

// find returns the endpoint at a path, and whether the path is ours. Everything
// below the prefix is, also where there is no endpoint. Most requests are the
// app's: they cost one comparison with the prefix, and one with each endpoint
// outside of it.
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
		if target.Under(e.Path, t.prefix) {
			t.below = append(t.below, e)
		} else {
			t.outside = append(t.outside, e)
		}
	}
}

// newEndpointTable makes the table of the App, whose options are known to be
// good.
func (a *App) newEndpointTable() *endpointTable {
	prefix, read := a.opts.Prefix, []string{http.MethodGet, http.MethodHead}
	t := &endpointTable{prefix: prefix}
	t.add(
		Endpoint{Path: prefix + "/login", Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}, serve: (*exchange).login},
		Endpoint{Path: prefix + "/session", Methods: read, serve: (*exchange).showSession},
		Endpoint{Path: prefix + "/refused", Methods: read, serve: (*exchange).refused},
		Endpoint{Path: prefix + "/logout", Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}, serve: (*exchange).logout},
		Endpoint{Path: prefix + "/logged-out", Methods: read, serve: (*exchange).loggedOut},
		Endpoint{Path: prefix + "/logged-out/forget", Methods: read, serve: (*exchange).forget},
		Endpoint{Path: prefix + "/jwks.json", Methods: read, serve: (*exchange).jwks},
		named(prefix+"/assets/", "{file...}", Endpoint{Methods: read}, (*exchange).asset),
	)
	t.add(a.callbackEndpoints()...)
	if len(a.speaking(provider.SAML)) > 0 {
		t.add(
			Endpoint{
				Path: a.acsPath(), Methods: []string{http.MethodPost}, Credentials: true, CrossSite: true,
				serve: (*exchange).consumeAssertion, lostPost: (*exchange).refuseLostPost,
			},
			Endpoint{Path: prefix + "/saml/metadata", Methods: read, serve: (*exchange).onlyMetadata},
			named(prefix+"/saml/metadata/", "{provider...}", Endpoint{Methods: read}, (*exchange).metadata),
		)
	}
	return t
}

// callbackEndpoints are where OpenID Providers send people back to. Below our prefix
// they are for any name: a login may come back after its provider has left the
// configuration. Outside of it, any other name than a provider's is the app's.
func (a *App) callbackEndpoints() []Endpoint {
	callback := Endpoint{Path: a.opts.CallbackPath, Methods: []string{http.MethodGet}, Credentials: true, serve: consume(codeQuery{})}
	rows := []Endpoint{callback}
	if target.Under(callback.Path, a.opts.Prefix) {
		rows = append(rows, callback)
		rows[1].dir = callback.Path + "/"
		rows[1].Path = rows[1].dir + "{provider}"
		return rows
	}
	for _, p := range a.providers {
		callback.Path = a.opts.CallbackPath + "/" + p.Name
		rows = append(rows, callback)
	}
	return rows
}

// named makes an endpoint for all names below dir, slashes included. what stands
// for the name in the endpoint's path.
func named(dir, what string, e Endpoint, serve func(x *exchange, name string) error) Endpoint {
	e.Path, e.dir, e.deep = dir+what, dir, true
	e.serve = func(x *exchange) error { return serve(x, strings.TrimPrefix(x.path, dir)) }
	return e
}

// Endpoints returns the table of the App's endpoints.
func (a *App) Endpoints() []Endpoint {
	return slices.Concat(a.endpoints.below, a.endpoints.outside)
}

// Owns says whether the gateway itself answers at a request target (RFC 9112,
// 3.2), whatever the app's rules say.
func (a *App) Owns(to string) bool {
	_, own := a.endpoints.find(target.Path(to))
	return own
}

// HasCredentials says whether a request may bring what belongs in no log: at
// an endpoint that takes them, and in any query or form that comes to an address
// of ours, even where there is no endpoint.
func (a *App) HasCredentials(method, to string) bool {
	e, own := a.endpoints.find(target.Path(to))
	return own && (e != nil && e.Credentials || strings.Contains(to, "?") || method == http.MethodPost)
}

// route answers at an address of ours. e is nil if there is no endpoint.
func (x *exchange) route(e *Endpoint) error {
	switch {
	case e == nil:
		return x.refuse(refusal.New(refusal.NotFound, fmt.Errorf("there is no endpoint at %s", refusal.Quoted(x.path))))
	case slices.Contains(e.Methods, x.r.Method):
	case e.lostPost != nil && isLostPost(x.r):
		return e.lostPost(x)
	default:
		x.w.Header().Set("Allow", strings.Join(e.Methods, ", "))
		return x.refuse(refusal.New(refusal.MethodNotAllowed, fmt.Errorf("the method is %s; %s takes %s", refusal.Quoted(x.r.Method), refusal.Quoted(x.path), strings.Join(e.Methods, ", "))))
	}
	if !e.CrossSite {
		// A method that changes nothing always passes.
		if err := x.app.csrf.Check(x.r); err != nil {
			return x.refuse(refusal.New(refusal.CrossSite, fmt.Errorf("%w; the Origin is %s", err, refusal.Quoted(x.r.Header.Get("Origin")))))
		}
	}
	return e.serve(x)
}

// asset serves one of the files that our pages load.
func (x *exchange) asset(name string) error {
	x.app.gw.opts.Pages.Asset(x.w, x.r, x.app.opts.Brand, name)
	return nil
}
