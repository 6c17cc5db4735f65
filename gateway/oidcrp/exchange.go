package oidcrp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// tokens are what the token endpoint gave. They live as long as Complete runs.
type tokens struct {
	id, access string
	scopes     []string // granted; empty: not said
}

// tokenAnswer is what checklist.token checks. body is nil if it is no JSON object.
type tokenAnswer struct {
	*fetch.Response
	body object
	err  error // why body is nil
	// secrets are what the provider was sent, which its messages may repeat. hint is
	// what helps if it does not take the client's secret.
	secrets []string
	hint    string
}

var tokenKinds = []member{
	{"access_token", aString},
	{"token_type", aString},
	{"id_token", aString},
	{"error", aString},
}

// exchange turns the code into tokens (RFC 6749 §4.1.3). It never retries: a code works
// once. oauth2.Config.Exchange is not used: it accepts any status below 300 and any
// content type, matches names without case, and quotes the body in its errors.
func (p *Provider) exchange(ctx context.Context, md *metadata, code string, f *flow, callback string) (*tokens, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
	if f.Verifier != "" {
		form.Set("code_verifier", f.Verifier)
	}
	method, err := p.authMethod(md)
	if err != nil {
		return nil, err
	}
	req, err := p.tokenRequest(ctx, md.token, method, form)
	if err != nil {
		return nil, err
	}
	got, err := p.outbound.Do(req, maxToken)
	if err != nil {
		return nil, fetch.Unavailable("exchanging the code: %w", err)
	}
	answer := &tokenAnswer{
		Response: got, hint: p.secretHint(method),
		secrets: []string{code, f.Verifier, string(p.config.ClientSecret), strings.TrimPrefix(req.Header.Get("Authorization"), "Basic ")},
	}
	if answer.body, answer.err = p.checks.object(withoutMark(got.Body)); answer.err == nil {
		answer.body = answer.body.dropNulls() // "error": null is none
	}
	if err := p.checks.token.Run(answer); err != nil {
		return nil, err
	}
	return &tokens{id: answer.body.str("id_token"), access: answer.body.str("access_token"), scopes: grantedScopes(answer.body["scope"])}, nil
}

func (p *Provider) tokenRequest(ctx context.Context, endpoint, method string, form url.Values) (*http.Request, error) {
	if method != methodBasic {
		form.Set("client_id", p.config.ClientID)
	}
	if method == methodPost {
		form.Set("client_secret", string(p.config.ClientSecret))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fetch.Unavailable("exchanging the code: %w", errors.New("the token endpoint's address is malformed"))
	}
	// Use a new connection. On a kept one, net/http logs bytes that follow the answer,
	// and the code is lost if the provider is closing it.
	req.Close = true
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if method == methodBasic { // both are form-urlencoded first, RFC 6749 §2.3.1
		req.SetBasicAuth(url.QueryEscape(p.config.ClientID), url.QueryEscape(string(p.config.ClientSecret)))
	}
	return req, nil
}

// authMethod picks the client's authentication: as configured, else the best
// that the provider announces.
func (p *Provider) authMethod(md *metadata) (string, error) {
	switch {
	case p.config.TokenEndpointAuthMethod != "":
		return p.config.TokenEndpointAuthMethod, nil
	case p.config.ClientSecret == "":
		return methodNone, nil
	case md.authMethods == nil || slices.Contains(md.authMethods, methodBasic): // the default, OIDC Discovery §3
		return methodBasic, nil
	case slices.Contains(md.authMethods, methodPost):
		return methodPost, nil
	}
	return "", refusal.New(refusal.OIDCClientRejected,
		fmt.Errorf("exchanging the code: the provider announces neither client_secret_basic nor client_secret_post for its token endpoint, but %s; if it accepts one of them all the same, write it by `token_auth`", wording.List(md.authMethods)))
}

// secretHint says what may help if a provider does not take a secret. Not all decode
// client_secret_basic as RFC 6749 §2.3.1 has it.
func (p *Provider) secretHint(method string) string {
	id, secret := p.config.ClientID, string(p.config.ClientSecret)
	switch {
	case method != methodBasic || url.QueryEscape(id) == id && url.QueryEscape(secret) == secret:
		return ""
	case url.QueryEscape(secret) == secret:
		return "; the client_id has special characters, which some providers decode otherwise in a header: `token_auth client_secret_post` helps then"
	}
	return "; the client_secret has special characters, which some providers decode otherwise in a header: `token_auth client_secret_post` helps then"
}

// tokenError refuses an error answer (RFC 6749 §5.2), whatever its status: some providers
// send it with 200. If the status says that the fault passes, tokenStatus refuses it.
func tokenError(a *tokenAnswer) error {
	if passes(a.Status) {
		return nil
	}
	code := a.body.str("error")
	err := fmt.Errorf("exchanging the code: the token endpoint answers with status %d, the provider says %s", a.Status, said(code, a.body.str("error_description"), a.secrets...))
	switch {
	case passingError(code):
		return refusal.New(refusal.ProviderUnavailable, a.Fault(err))
	case code == "invalid_grant", a.Status == http.StatusBadRequest && !a.body.has("error"): // some answer a made-up code by prose
		return refusal.New(refusal.OIDCCodeRejected, err)
	case code == "invalid_client", a.Status == http.StatusUnauthorized:
		return refusal.New(refusal.OIDCClientRejected, fmt.Errorf("%w%s", err, a.hint))
	case a.body.has("error"):
		return refusal.New(refusal.OIDCClientRejected, err)
	}
	return nil
}

func tokenStatus(a *tokenAnswer) error {
	if err := statusOK(a.Response); err != nil {
		return fmt.Errorf("exchanging the code: %w", err)
	}
	return nil
}

func tokenMediaType(a *tokenAnswer) error {
	if a.MediaType != "application/json" {
		return fmt.Errorf("exchanging the code: checking the response: the content type is %s, not application/json", wording.Quoted(a.ContentType))
	}
	return nil
}

func tokenObject(a *tokenAnswer) error {
	if a.err != nil {
		return fmt.Errorf("reading the token endpoint's response: %w", a.err)
	}
	return nil
}

func tokenTypes(a *tokenAnswer) error { return a.body.checkKinds(tokenKinds) }

func tokenBearer(a *tokenAnswer) error {
	if !strings.EqualFold(a.body.str("token_type"), "Bearer") { // RFC 6749 §7.1
		return fmt.Errorf("reading the token endpoint's response: the token_type is %s, not Bearer", wording.Quoted(a.body.str("token_type")))
	}
	return nil
}

func tokenAccess(a *tokenAnswer) error {
	if !printable(a.body.str("access_token"), maxToken) {
		return errors.New("reading the token endpoint's response: there is no access_token")
	}
	return nil
}

func tokenID(a *tokenAnswer) error {
	if a.body.str("id_token") == "" {
		return errors.New("reading the token endpoint's response: there is no id_token; is openid among the client's scopes?")
	}
	return nil
}

// passingError reports whether an error code is of a temporary fault (RFC 6749 §4.1.2.1;
// slow_down: RFC 8628 §3.5).
func passingError(code string) bool {
	return code == "temporarily_unavailable" || code == "server_error" || code == "slow_down"
}

// isErrorCode reports whether an error is a code and no prose.
func isErrorCode(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
	})
}

// said shows the error and the error_description of a provider, in quotes if they are
// its own words.
func said(code, description string, secrets ...string) string {
	switch {
	case code == "" && description == "":
		return "nothing about why"
	case code == "":
		return wording.Theirs(description, secrets...)
	case !isErrorCode(code):
		code = wording.Theirs(code, secrets...)
	}
	if description == "" {
		return code
	}
	return code + ": " + wording.Theirs(description, secrets...)
}
