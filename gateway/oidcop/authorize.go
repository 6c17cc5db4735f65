package oidcop

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// Bounds of a request, in bytes. Some clients keep a lot in state.
const (
	maxRequest = 16 << 10
	maxNonce   = 1 << 10
	maxScope   = 1 << 10
	maxURI     = 2 << 10
)

// askedParam is our own parameter of an authorization request. It notes when the person was
// sent to sign in for the request. It is authenticated, and counts for askedTTL.
const (
	askedParam = "sso_asked"
	askedTTL   = 15 * time.Minute
)

// An Authorization is a request of a known client for a code, with a redirect URI that
// is its own.
type Authorization struct {
	// Client is the client's id.
	Client string
	// LoginHint and ACRValues are for the provider that signs the person in. ACRValues
	// begins with those that the client names as essential.
	LoginHint string
	ACRValues []string
	// Asked is when the person was sent to sign in anew for this request: then they are
	// not sent again. Zero: not yet, or too long ago.
	Asked time.Time

	p           *Provider
	client      *client
	params      url.Values
	redirectURI string
	scope       []string
	prompts     []string
	claims      claimsRequest
	maxAge      time.Duration // negative: any
	subject     string        // that id_token_hint or the claims parameter names
	refused     *Response
}

// Authorization reads a request of the authorization endpoint (OIDC Core §3.1.2.1). Its
// error is a *refusal.Error if the client or its redirect URI is unknown: then a page
// is shown, and nobody is redirected (RFC 6749 §4.1.2.1). Other errors are faults.
func (p *Provider) Authorization(ctx context.Context, params url.Values) (*Authorization, error) {
	if _, err := p.bound(); err != nil {
		return nil, err
	}
	if err := p.checks.parameters.Run(params); err != nil {
		return nil, err
	}
	a := &Authorization{
		p: p, params: params, Client: params.Get("client_id"), redirectURI: params.Get("redirect_uri"),
		client: p.clients[params.Get("client_id")], maxAge: -1,
	}
	if a.client == nil {
		return nil, refusal.New(refusal.BadRequest, p.unknownClient("an authorization request", a.Client))
	}
	if err := p.checks.redirect.Run(a); err != nil {
		return nil, err
	}
	err := a.read(ctx)
	if err == nil {
		err = p.checks.request.Run(a)
	}
	a.refused, err = a.refusedBy(err)
	return a, err
}

// read takes the request apart. Its errors are the client's, or faults.
func (a *Authorization) read(ctx context.Context) (err error) {
	a.scope = scopesOf(a.params.Get("scope"))
	a.prompts = strings.Fields(a.params.Get("prompt"))
	a.LoginHint = a.params.Get("login_hint")
	if a.claims, err = readClaimsRequest(a.params.Get("claims")); err != nil {
		return err
	}
	a.ACRValues = slices.Concat(a.claims.acr, strings.Fields(a.params.Get("acr_values")))
	a.subject = a.claims.Subject
	if age := a.params.Get("max_age"); age != "" {
		seconds, err := strconv.ParseUint(age, 10, 31)
		if err != nil {
			return invalidRequest("max_age is no number of seconds")
		}
		a.maxAge = time.Duration(seconds) * time.Second
	}
	if hint := a.params.Get("id_token_hint"); hint != "" {
		h, err := a.p.readHint(ctx, hint)
		if err != nil {
			return err
		}
		if h.Client != a.Client || a.subject != "" && a.subject != h.Subject {
			return invalidRequest("id_token_hint is about another client or person")
		}
		a.subject = h.Subject
	}
	return a.readAsked(ctx)
}

// Refused returns the response to a faulty request, or nil.
func (a *Authorization) Refused() *Response { return a.refused }

// Silent reports whether no page may be shown (prompt=none).
func (a *Authorization) Silent() bool { return slices.Contains(a.prompts, "none") }

// Stale reports whether the client wants a newer login (prompt=login, prompt=select_account,
// max_age). forced is the Asked of the request for which the provider had to sign the person
// in anew; zero: there was none. authTime is when the person signed in, as the provider
// says; zero: unknown.
func (a *Authorization) Stale(forced, authTime time.Time) bool {
	if !a.Asked.IsZero() && !forced.Before(a.Asked) {
		return false
	}
	if slices.Contains(a.prompts, "login") || slices.Contains(a.prompts, "select_account") {
		return true
	}
	return a.maxAge == 0 || a.maxAge > 0 && time.Since(authTime) > a.maxAge
}

// Again returns the request with a note that the person is being sent to sign in for it.
func (a *Authorization) Again(ctx context.Context) (url.Values, error) {
	again := maps.Clone(a.params)
	now := strconv.FormatInt(time.Now().Unix(), 10)
	mac, err := a.macAsked(ctx, now)
	if err != nil {
		return nil, err
	}
	again.Set(askedParam, now+"."+vault.EncodeText(mac))
	return again, nil
}

// macAsked binds a time to the request. Otherwise a person could claim to have signed in
// again.
func (a *Authorization) macAsked(ctx context.Context, at string) ([]byte, error) {
	rest := maps.Clone(a.params)
	rest.Del(askedParam)
	return a.p.mac(ctx, "openid asked", at, rest.Encode())
}

// readAsked ignores a note that is not ours, or too old.
func (a *Authorization) readAsked(ctx context.Context) error {
	at, text, found := strings.Cut(a.params.Get(askedParam), ".")
	if !found {
		return nil
	}
	mac, err := a.macAsked(ctx, at)
	if err != nil || !hmac.Equal(mac, vault.DecodeText(text, len(mac))) {
		return err
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if asked := time.Unix(seconds, 0); time.Since(asked) < askedTTL {
		a.Asked = asked
	}
	return err
}

// Grant gives the client a code for a login. The error is ErrNoLogin if it is over, a
// *refusal.Error if the person is denied, else a fault of the store.
func (a *Authorization) Grant(ctx context.Context, login string) (*Response, error) {
	b, err := a.p.bound()
	if err != nil {
		return nil, err
	}
	person, err := a.p.people.Person(ctx, a.Client, login)
	if err != nil {
		return nil, err
	}
	sub, err := a.p.subject(ctx, a.client, person)
	if err != nil {
		return nil, err
	}
	if answer, err := a.refusedBy(a.p.checks.person.Run(&requested{a, person, sub})); answer != nil || err != nil {
		return answer, err
	}
	if refused, err := a.tooMany(ctx, b, login); refused || err != nil {
		return a.Refuse("temporarily_unavailable", "too many requests of one person"), err
	}
	code := newToken(newGrantID(), kindCode)
	value, err := json.Marshal(grant{
		Client: a.Client, Login: login, Subject: sub, RedirectURI: a.redirectURI, Challenge: a.params.Get("code_challenge"),
		Nonce: a.params.Get("nonce"), Scope: a.client.granted(a.scope), Claims: a.claims, Issued: time.Now(), Code: digest(code),
	})
	if err != nil {
		return nil, err
	}
	if err := b.Records.PutNew(ctx, kindGrant, a.p.recordName(code), value, min(codeTTL, time.Until(person.Expires))); err != nil {
		return nil, err
	}
	return a.respond(url.Values{"code": {code}}), nil
}

// tooMany counts the codes of a login for a client: a browser can ask as fast as it likes.
func (a *Authorization) tooMany(ctx context.Context, b *Backing, login string) (bool, error) {
	name := vault.EncodeText(vault.Digest("openid codes", b.Issuer, a.Client, login))
	n, _, err := b.Records.Count(ctx, name, 1, codeTTL)
	return n > maxCodes, err
}

// refusedBy returns the response to a request that err refuses. It returns err if that is
// a fault.
func (a *Authorization) refusedBy(err error) (*Response, error) {
	told, ok := asOAuth(err)
	if !ok {
		return nil, err
	}
	answer := a.Refuse(told.Code, told.Description)
	answer.Refusal = told.refusedBy(a.client.of(err))
	answer.Refusal.Silent = a.Silent()
	return answer, nil
}

// Refuse returns the response that refuses the request: login_required, access_denied,
// temporarily_unavailable, server_error.
func (a *Authorization) Refuse(code, description string) *Response {
	params := url.Values{"error": {code}}
	if description != "" {
		params.Set("error_description", description)
	}
	refused := a.respond(params)
	refused.Refusal = &RefusedError{Client: a.Client, Code: code, Silent: a.Silent(), description: description}
	return refused
}

// A Response goes to the client by the browser (RFC 6749 §4.1.2).
type Response struct {
	// Location is the redirect URI, with the response in its query unless Form is set.
	Location string
	// Form is posted to Location by the browser (OAuth 2.0 Form Post Response Mode).
	Form url.Values
	// Refusal is the error in the response, or nil.
	Refusal *RefusedError
}

// respond adds state, unless that stands twice, and iss (RFC 9207 §2). The redirect URI may have a query of its own
// (RFC 6749 §3.1.2).
func (a *Authorization) respond(params url.Values) *Response {
	params.Set("iss", a.p.issuer())
	if state := a.params["state"]; len(state) == 1 {
		params["state"] = state
	}
	if a.posts() {
		return &Response{Location: a.redirectURI, Form: params}
	}
	return &Response{Location: withQuery(a.redirectURI, params)}
}

func withQuery(uri string, params url.Values) string {
	switch {
	case len(params) == 0:
		return uri
	case !strings.Contains(uri, "?"):
		return uri + "?" + params.Encode()
	case strings.HasSuffix(uri, "?") || strings.HasSuffix(uri, "&"):
		return uri + params.Encode()
	}
	return uri + "&" + params.Encode()
}
