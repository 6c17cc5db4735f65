package oidcop

import (
	"net/http"
	"slices"
	"strings"
)

// An Endpoint serves clients, without a login of the browser. Requests from other
// sites are expected at all of them.
type Endpoint struct {
	// Path lies below the issuer.
	Path    string
	Methods []string
	// Serve returns why it refused the request, or nil.
	Serve func(w http.ResponseWriter, r *http.Request) *RefusedError
}

// Endpoints returns the endpoints but those of authorization and logout.
func (p *Provider) Endpoints() []Endpoint {
	get, head, post := http.MethodGet, http.MethodHead, http.MethodPost
	return []Endpoint{
		p.open(DiscoveryPath, p.discovery, get, head),
		p.open(JWKSPath, p.jwks, get, head),
		p.open(TokenPath, p.token, post),
		p.open(UserInfoPath, p.userInfo, get, post),
		p.open(RevocationPath, p.revoke, post),
		p.endpoint(IntrospectionPath, p.introspect, post),
	}
}

func (p *Provider) endpoint(path string, serve func(http.ResponseWriter, *http.Request) error, methods ...string) Endpoint {
	return Endpoint{path, methods, func(w http.ResponseWriter, r *http.Request) *RefusedError {
		if err := serve(w, r); err != nil {
			return p.fail(w, err)
		}
		return nil
	}}
}

// open is an endpoint for scripts of every origin, too: apps without a server. No cookie
// decides there, so that nothing is told that the script could not have asked for itself.
func (p *Provider) open(path string, serve func(http.ResponseWriter, *http.Request) error, methods ...string) Endpoint {
	e := p.endpoint(path, serve, methods...)
	inner := e.Serve
	e.Methods = append(slices.Clone(methods), http.MethodOptions)
	e.Serve = func(w http.ResponseWriter, r *http.Request) *RefusedError {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
		if r.Method != http.MethodOptions {
			return inner(w, r)
		}
		h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Max-Age", "3600")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return e
}
