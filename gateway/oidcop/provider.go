// Package oidcop is a small OpenID Provider: the authorization code flow
// (OpenID Connect Core 1.0 §3.1) with PKCE, S256 alone (RFC 7636), for clients
// that are registered beforehand.
//
// Login tells which person is at the browser. The package decides whether the client
// may have a code, and makes the tokens. Errors before the client and its redirect
// URI are verified get a response here. Later errors go to the client as RFC 6749
// §4.1.2.1 says, with iss (RFC 9207).
//
// Codes and access tokens are kept in memory and are lost with the process, so one
// process has to serve a whole login. A code works once, a token for a minute.
package oidcop

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The endpoints lie below the issuer.
const (
	discoveryPath = "/.well-known/openid-configuration"
	authorizePath = "/authorize"
	tokenPath     = "/token"
	userInfoPath  = "/userinfo"
	jwksPath      = "/jwks.json"
)

// A Signer signs ID tokens, and publishes its keys.
type Signer interface {
	// Sign returns claims, a JSON object, as a signed JWT in compact form.
	Sign(claims []byte) (string, error)
	// JWKS returns the public keys as a JWK Set (RFC 7517 §5).
	JWKS() ([]byte, error)
}

// Options configure a Provider.
type Options struct {
	// Issuer is the issuer identifier: an absolute URL without query, without a
	// slash at its end. The endpoints lie below it.
	Issuer string
	// Clients may request codes. Their ids are unique.
	Clients []Client
	// Signer signs ID tokens with ES256 and publishes its keys.
	Signer Signer
	// Login returns the person at the browser. Required.
	Login Login
}

// A Client is an app that signs its people in here.
type Client struct {
	// ID and Secret authenticate the client. A client without Secret is public: it
	// has PKCE alone.
	ID, Secret string
	// RedirectURIs are compared byte for byte (RFC 9700 §2.1).
	RedirectURIs []string
}

// A Person is the subject of tokens.
type Person struct {
	// Subject identifies the person permanently. Not empty.
	Subject string
	// Username, Name and Email describe the person; empty ones are left out.
	Username, Name, Email string
	// EmailVerified states that Email is known to be the person's own.
	EmailVerified bool
	// Groups become the claim groups, left out if there are none.
	Groups []string
}

// A Login returns the person at the browser. If the person is not known yet, it
// writes the response itself, for instance a form that posts to the request's own
// URI, and returns nil.
type Login func(w http.ResponseWriter, r *http.Request) *Person

// A Provider is the OpenID Provider: an http.Handler for everything below its issuer.
// It is safe for concurrent use.
type Provider struct {
	issuer  string
	path    string // of the issuer, without a slash at its end
	clients map[string]Client
	signer  Signer
	login   Login
	grants  grants
	mux     *http.ServeMux
}

// New returns a Provider. Its errors are faults in opts.
func New(opts Options) (*Provider, error) {
	issuer, err := url.Parse(opts.Issuer)
	if err != nil || issuer.Scheme != "https" && issuer.Scheme != "http" || issuer.Host == "" || issuer.RawQuery != "" ||
		issuer.Fragment != "" || strings.HasSuffix(opts.Issuer, "/") || strings.ContainsAny(issuer.Path, "{} ") {
		return nil, fmt.Errorf("checking the issuer %q: expected a URL without query, and without a slash at its end", opts.Issuer)
	}
	if opts.Signer == nil || opts.Login == nil {
		return nil, errors.New("making an OpenID Provider: Signer and Login are required")
	}
	p := &Provider{
		issuer: opts.Issuer, path: issuer.Path, signer: opts.Signer, login: opts.Login,
		clients: map[string]Client{}, mux: http.NewServeMux(),
	}
	for _, c := range opts.Clients {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("checking client %q: %w", c.ID, err)
		}
		if _, twice := p.clients[c.ID]; twice {
			return nil, fmt.Errorf("checking client %q: the id is used twice", c.ID)
		}
		p.clients[c.ID] = c
	}
	p.mux.HandleFunc("GET "+p.path+discoveryPath, p.discovery)
	p.mux.HandleFunc("GET "+p.path+jwksPath, p.jwks)
	p.mux.HandleFunc("GET "+p.path+authorizePath, p.authorize)
	p.mux.HandleFunc("POST "+p.path+authorizePath, p.authorize)
	p.mux.HandleFunc("POST "+p.path+tokenPath, p.token)
	p.mux.HandleFunc("GET "+p.path+userInfoPath, p.userInfo)
	return p, nil
}

func (c Client) check() error {
	if c.ID == "" || len(c.RedirectURIs) == 0 {
		return errors.New("needs an id and a redirect URI")
	}
	for _, uri := range c.RedirectURIs {
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Contains(uri, "#") {
			return fmt.Errorf("redirect URI %q: expected an absolute URL without fragment", uri)
		}
	}
	return nil
}

// proves reports whether secret is the client's, in constant time.
func (c Client) proves(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 1
}

func (c Client) mayReturnTo(uri string) bool { return slices.Contains(c.RedirectURIs, uri) }

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// discovery serves the metadata of OpenID Connect Discovery 1.0 §3.
func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         p.issuer,
		"authorization_endpoint":                         p.issuer + authorizePath,
		"token_endpoint":                                 p.issuer + tokenPath,
		"userinfo_endpoint":                              p.issuer + userInfoPath,
		"jwks_uri":                                       p.issuer + jwksPath,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"ES256"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post", "none"},
		"code_challenge_methods_supported":               []string{"S256"},
		"scopes_supported":                               []string{"openid", "profile", "email", "groups"},
		"claims_supported":                               []string{"sub", "preferred_username", "name", "email", "email_verified", "groups"},
		"authorization_response_iss_parameter_supported": true,
	})
}

func (p *Provider) jwks(w http.ResponseWriter, _ *http.Request) {
	doc, err := p.signer.JWKS()
	if err != nil {
		http.Error(w, "the keys are not available", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(doc)
}

// writeJSON writes a response that no cache may keep (RFC 6749 §5.1).
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encoding the answer failed", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
