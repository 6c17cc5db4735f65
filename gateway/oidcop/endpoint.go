package oidcop

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An Endpoint serves clients, without a login of the browser. Requests from other
// sites are expected at all of them.
type Endpoint struct {
	// Path lies below the issuer.
	Path    string
	Methods []string
	// Serve responds, with 503 before Bind, or if a client has to authenticate and by is nil.
	// It returns why it refused the request, or nil.
	Serve func(w http.ResponseWriter, r *http.Request, by Attempts) *RefusedError
}

// Attempts bounds how often the caller of a request may fail to authenticate as a client. ""
// stands for all clients that are unknown.
type Attempts interface {
	// Failing returns an error if the caller has failed too often, and the time until it may
	// try again. A *refusal.Error says so; other errors are faults.
	Failing(ctx context.Context, client string) (wait time.Duration, err error)
	// Fail counts a failure.
	Fail(ctx context.Context, client string)
}

// Endpoints returns the endpoints but those of authorization and logout.
func (p *Provider) Endpoints() []Endpoint {
	get, head, post := http.MethodGet, http.MethodHead, http.MethodPost
	return []Endpoint{
		p.open(DiscoveryPath, anybody(p.discovery), get, head),
		p.open(JWKSPath, anybody(p.jwks), get, head),
		p.open(TokenPath, p.token, post),
		p.open(UserInfoPath, anybody(p.userInfo), get, post),
		p.open(RevocationPath, p.revoke, post),
		p.endpoint(IntrospectionPath, p.introspect, post),
	}
}

// A server serves an endpoint for clients that authenticate.
type server func(w http.ResponseWriter, r *http.Request, by Attempts) error

// anybody serves an endpoint where no client authenticates.
func anybody(serve func(http.ResponseWriter, *http.Request) error) server {
	return func(w http.ResponseWriter, r *http.Request, _ Attempts) error { return serve(w, r) }
}

func (p *Provider) endpoint(path string, serve server, methods ...string) Endpoint {
	return Endpoint{path, methods, func(w http.ResponseWriter, r *http.Request, by Attempts) *RefusedError {
		if err := serve(w, r, by); err != nil {
			return p.fail(w, err)
		}
		return nil
	}}
}

// open is an endpoint for scripts of every origin, too: apps without a server. No cookie
// decides there, so that nothing is told that the script could not have asked for itself.
func (p *Provider) open(path string, serve server, methods ...string) Endpoint {
	e := p.endpoint(path, serve, methods...)
	inner := e.Serve
	e.Methods = append(slices.Clone(methods), http.MethodOptions)
	e.Serve = func(w http.ResponseWriter, r *http.Request, by Attempts) *RefusedError {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
		if r.Method != http.MethodOptions {
			return inner(w, r, by)
		}
		h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Max-Age", "3600")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return e
}
