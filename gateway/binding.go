package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/form"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A binding is a way in which the browser brings a provider's answer.
type binding interface {
	// protocol is that of the answer.
	protocol() provider.Protocol
	// read reads the answer from the request, within bounds. It validates nothing.
	read(x *request) (*rawAnswer, *refusal.Error)
	// noState refuses a request that has no state of ours in it. origin is the
	// site's.
	noState(x *request, origin string) *refusal.Error
	// misdirected refuses an answer that came to the address at instead of want, or
	// not by the protocol of p.
	misdirected(p provider.Provider, at, want string) *refusal.Error
}

// A rawAnswer is a provider's answer as the browser brought it, before it is validated.
type rawAnswer struct {
	binding
	state  string
	params url.Values
	// reposted says that our own page posted it again, because it had come without
	// our cookies (see request.callback).
	reposted bool
	// repostFields are the fields for that page. Empty if the answer needs no repost:
	// our cookies come with such an answer, or it was reposted.
	repostFields []pages.Field
}

// codeQuery is the answer of an OpenID Provider in the query of a redirect (OIDC
// Core §3.1.2.5).
type codeQuery struct{}

func (codeQuery) protocol() provider.Protocol { return provider.OIDC }

func (codeQuery) read(x *request) (*rawAnswer, *refusal.Error) {
	params, refused := form.Query(x.r)
	if refused != nil {
		return nil, refused
	}
	in := &rawAnswer{binding: codeQuery{}, params: params}
	if state := params["state"]; len(state) == 1 {
		in.state = state[0]
	}
	return in, nil
}

func (codeQuery) noState(x *request, origin string) *refusal.Error {
	if !isLostPost(x.r) {
		return flowUnknown()
	}
	callback, register := x.app.opts.CallbackPath, []string{}
	known := x.path == callback
	for _, p := range x.app.speaking(provider.OIDC) {
		at := x.app.callbackPath(p)
		if at == x.path {
			return answerLost(origin+x.path, origin+at)
		}
		register = append(register, origin+at)
		known = known || x.path == callback+"/"+p.Name
	}
	if !known || len(register) == 0 {
		return refusal.New(refusal.ProviderUnknown, errors.New("the site has no OpenID Provider whose callback this is"))
	}
	return answerLost(origin+x.path, register...)
}

func (codeQuery) misdirected(provider.Provider, string, string) *refusal.Error {
	return refusal.New(refusal.OIDCIssuerMismatch, errors.New("the answer came to the callback of another provider"))
}

// The fields of a form that brings a SAML response (SAML Bindings 3.5.4), and our own,
// which marks a repost.
const (
	fieldResponse   = "SAMLResponse"
	fieldRelayState = "RelayState"
	fieldRepost     = "sso_repost"
)

// responsePost is the answer of a SAML provider in a form that the browser posts
// (SAML Bindings 3.5). Its fields are bounded and checked, so it is safe to send them
// back to the browser.
type responsePost struct{}

func (responsePost) protocol() provider.Protocol { return provider.SAML }

func (responsePost) read(x *request) (*rawAnswer, *refusal.Error) {
	fields, refused := form.Read(x.w, x.r, fieldResponse, fieldRelayState, fieldRepost)
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
	in := &rawAnswer{
		binding: responsePost{}, state: state, reposted: fields[fieldRepost] == "1",
		params: url.Values{fieldResponse: {response}, fieldRelayState: {state}},
	}
	if !in.reposted {
		in.repostFields = []pages.Field{{Name: fieldResponse, Value: response}, {Name: fieldRelayState, Value: state}, {Name: fieldRepost, Value: "1"}}
	}
	return in, nil
}

func (responsePost) noState(*request, string) *refusal.Error { return flowUnknown() }

func (responsePost) misdirected(p provider.Provider, at, want string) *refusal.Error {
	if p.Protocol() != provider.SAML {
		return refusal.New(refusal.SAMLIssuerMismatch, errors.New("the login was started at a provider that speaks no SAML"))
	}
	return refusal.New(refusal.SAMLDestination, fmt.Errorf("the answer came to %s and was expected at %s", at, want))
}

func flowUnknown() *refusal.Error {
	return refusal.New(refusal.FlowUnknown, errors.New("the answer has no state, or one that was never ours"))
}

// answerLost refuses a request to the address at that brings no answer. register are the
// addresses that may have to be registered at the provider.
func answerLost(at string, register ...string) *refusal.Error {
	return refusal.New(refusal.AnswerLost, fmt.Errorf("nothing came by GET to %s; the address to register at the provider is %s", at, strings.Join(register, " or ")))
}

// isLostPost says whether the request may be a POST that a redirect has turned into a GET.
func isLostPost(r *http.Request) bool {
	return r.URL.RawQuery == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}
