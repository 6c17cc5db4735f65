// Package binding reads a provider's answer as the browser brings it, within bounds. It
// validates nothing.
package binding

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/form"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A Binding is a way in which the browser brings a provider's answer.
type Binding interface {
	// Protocol is that of the answer.
	Protocol() provider.Protocol
	// Read reads the answer from the request.
	Read(w http.ResponseWriter, r *http.Request) (*Answer, *refusal.Error)
	// NoState refuses a request that has no state of ours in it and came to the address
	// at. registered are the addresses that providers of this protocol should answer to,
	// and others are accepted as well.
	NoState(r *http.Request, at string, registered, others []string) *refusal.Error
	// Misdirected refuses an answer that came to the address at instead of want, or not by
	// the protocol of the login's provider.
	Misdirected(of provider.Protocol, at, want string) *refusal.Error
}

// An Answer is a provider's answer as the browser brought it, before it is validated.
type Answer struct {
	Binding
	State  string
	Params url.Values
	// Reposted says that our own page posted it again, because it had come without our
	// cookies.
	Reposted bool
	// Repost is the form for that page. Nil if the answer needs no repost: our cookies come
	// with such an answer, or it was reposted.
	Repost url.Values
}

// Query is the answer of an OpenID Provider in the query of a redirect (OIDC Core
// §3.1.2.5).
type Query struct{}

// Protocol implements Binding.
func (Query) Protocol() provider.Protocol { return provider.OIDC }

// Read implements Binding.
func (Query) Read(_ http.ResponseWriter, r *http.Request) (*Answer, *refusal.Error) {
	params, refused := form.Query(r)
	if refused != nil {
		return nil, refused
	}
	in := &Answer{Binding: Query{}, Params: params}
	if state := params["state"]; len(state) == 1 {
		in.State = state[0]
	}
	return in, nil
}

// NoState implements Binding.
func (Query) NoState(r *http.Request, at string, registered, others []string) *refusal.Error {
	switch {
	case !IsLostPost(r):
		return flowUnknown()
	case slices.Contains(registered, at):
		return Lost(at, at)
	case slices.Contains(others, at) && len(registered) > 0:
		return Lost(at, registered...)
	}
	return refusal.New(refusal.ProviderUnknown, errors.New("the site has no OpenID Provider whose callback this is"))
}

// Misdirected implements Binding.
func (Query) Misdirected(provider.Protocol, string, string) *refusal.Error {
	return refusal.New(refusal.OIDCIssuerMismatch, errors.New("the answer came to the callback of another provider"))
}

// The fields of a form that brings a SAML response (SAML Bindings 3.5.4), and our own,
// which marks a repost.
const (
	fieldResponse   = "SAMLResponse"
	fieldRelayState = "RelayState"
	fieldRepost     = "sso_repost"
)

// Post is the answer of a SAML provider in a form that the browser posts (SAML Bindings
// 3.5). Its fields are bounded and checked, so it is safe to send them back to the browser.
type Post struct{}

// Protocol implements Binding.
func (Post) Protocol() provider.Protocol { return provider.SAML }

// Read implements Binding.
func (Post) Read(w http.ResponseWriter, r *http.Request) (*Answer, *refusal.Error) {
	fields, refused := form.Read(w, r, fieldResponse, fieldRelayState, fieldRepost)
	if refused != nil {
		return nil, refused
	}
	response, ok := fields[fieldResponse]
	if !ok {
		return nil, refusal.New(refusal.BadRequest, errors.New("the form has no SAMLResponse"))
	}
	if response == "" || !form.IsBase64(response) {
		return nil, refusal.New(refusal.SAMLMalformed, errors.New("the SAMLResponse is not Base64"))
	}
	state := fields[fieldRelayState]
	in := &Answer{
		Binding: Post{}, State: state, Reposted: fields[fieldRepost] == "1",
		Params: url.Values{fieldResponse: {response}, fieldRelayState: {state}},
	}
	if !in.Reposted {
		in.Repost = url.Values{fieldResponse: {response}, fieldRelayState: {state}, fieldRepost: {"1"}}
	}
	return in, nil
}

// NoState implements Binding.
func (Post) NoState(*http.Request, string, []string, []string) *refusal.Error { return flowUnknown() }

// Misdirected implements Binding.
func (Post) Misdirected(of provider.Protocol, at, want string) *refusal.Error {
	if of != provider.SAML {
		return refusal.New(refusal.SAMLIssuerMismatch, errors.New("the login was started at a provider that speaks no SAML"))
	}
	return refusal.New(refusal.SAMLDestination, fmt.Errorf("the answer came to %s and was expected at %s", at, want))
}

func flowUnknown() *refusal.Error {
	return refusal.New(refusal.FlowUnknown, errors.New("the answer has no state, or one that was never ours"))
}

// Lost refuses a request to the address at that brings no answer. register are the
// addresses that may have to be registered at the provider.
func Lost(at string, register ...string) *refusal.Error {
	return refusal.New(refusal.AnswerLost, fmt.Errorf("nothing came by GET to %s; the address to register at the provider is %s", at, strings.Join(register, " or ")))
}

// IsLostPost says whether the request may be a POST that a redirect has turned into a GET.
func IsLostPost(r *http.Request) bool {
	return r.URL.RawQuery == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}
