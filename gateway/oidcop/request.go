package oidcop

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// unknownClient says which client id came, and which there are. Some apps have id and secret
// the wrong way round.
func (p *Provider) unknownClient(request, id string) error {
	known := strings.Join(slices.Sorted(maps.Keys(p.clients)), ", ")
	decoded, _ := url.QueryUnescape(id)
	for _, c := range p.clients {
		if c.proves(id) || c.proves(decoded) {
			return fmt.Errorf("reading %s: client_id is the secret of the client %q: give the app both the right way round; the clients of op are %s", request, c.ID, known)
		}
	}
	return fmt.Errorf("reading %s: client_id is %+.200q; the clients of op are %s", request, id, known)
}

// repeated returns which of the names stands several times, or "". We could read another value
// than the client has checked (RFC 6749 §3.1). Unknown parameters may stand several times.
func repeated(params url.Values, names ...string) string {
	i := slices.IndexFunc(names, func(name string) bool { return len(params[name]) > 1 })
	if i < 0 {
		return ""
	}
	return names[i]
}

func clientOnce(a *Authorization) error {
	if name := repeated(a.params, "client_id", "redirect_uri"); name != "" {
		return fmt.Errorf("reading an authorization request: %s stands twice", name)
	}
	return nil
}

func requestOnce(a *Authorization) error {
	name := repeated(a.params, "response_type", "response_mode", "scope", "state", "nonce", "code_challenge", "code_challenge_method", "prompt",
		"max_age", "claims", "login_hint", "acr_values", "id_token_hint", askedParam)
	if name != "" {
		return invalidRequest(name + " stands twice")
	}
	return nil
}

func parametersSize(params url.Values) error {
	if size := len(params.Encode()); size > maxRequest {
		return fmt.Errorf("reading the request: it has %d bytes, more than %d", size, maxRequest)
	}
	return nil
}

func redirectRegistered(a *Authorization) error {
	if !a.client.mayReturnTo(a.redirectURI) {
		return fmt.Errorf("reading an authorization request of client %q: redirect_uri is %+.200q, none of the client's, which are %+q; compare it byte for byte", a.Client, a.redirectURI, a.client.RedirectURIs)
	}
	return nil
}

func requestNoObject(a *Authorization) error {
	switch {
	case a.params.Has("request"):
		return &oauthError{"request_not_supported", "request objects are not supported"}
	case a.params.Has("request_uri"):
		return &oauthError{"request_uri_not_supported", "request objects are not supported"}
	case a.params.Has("registration"):
		return &oauthError{"registration_not_supported", "clients are registered beforehand"}
	}
	return nil
}

func requestResponseType(a *Authorization) error {
	switch a.params.Get("response_type") {
	case "code":
		return nil
	case "":
		return invalidRequest("response_type is missing")
	}
	return &oauthError{"unsupported_response_type", "only response_type=code is supported"}
}

// requestResponseMode: a code in a fragment would be seen by every script of the page.
func requestResponseMode(a *Authorization) error {
	switch a.params.Get("response_mode") {
	case "", "query":
		return nil
	case "form_post":
		if a.posts() {
			return nil
		}
		return invalidRequest("form_post needs a redirect URI with http or https, and a state without NUL, line breaks and broken UTF-8: use query")
	}
	return invalidRequest("response_mode must be query or form_post")
}

// posts reports whether a form brings the response to the client unchanged. Browsers post to
// http and https alone, and change some characters (HTML §4.10.21.5).
func (a *Authorization) posts() bool {
	scheme, _, _ := strings.Cut(a.redirectURI, ":")
	state := a.params.Get("state")
	return slices.Equal(a.params["response_mode"], []string{"form_post"}) && !strings.Contains(scheme, ".") && utf8.ValidString(state) && !strings.ContainsAny(state, "\x00\r\n")
}

func requestScope(a *Authorization) error {
	if !slices.Contains(a.scope, "openid") {
		return &oauthError{"invalid_scope", "scope must contain openid"}
	}
	return nil
}

func requestScopeSize(a *Authorization) error {
	if len(a.params.Get("scope")) > maxScope {
		return &oauthError{"invalid_scope", "scope is too long"}
	}
	return nil
}

func requestNonce(a *Authorization) error {
	if len(a.params.Get("nonce")) > maxNonce {
		return invalidRequest("nonce is too long")
	}
	return nil
}

// requestPKCE: RFC 9700 §2.1.1.
func requestPKCE(a *Authorization) error {
	if a.params.Get("code_challenge") == "" && !a.client.InsecureNoPKCE {
		return invalidRequest("code_challenge is required (PKCE)")
	}
	return nil
}

// requestPKCEMethod: without a method the challenge is the verifier itself (RFC 7636 §4.3).
func requestPKCEMethod(a *Authorization) error {
	asked := a.params.Get("code_challenge") != "" || a.params.Get("code_challenge_method") != ""
	if asked && a.params.Get("code_challenge_method") != "S256" {
		return invalidRequest("code_challenge_method must be S256")
	}
	return nil
}

// requestChallenge: SHA-256 has 32 bytes (RFC 7636 §4.2).
func requestChallenge(a *Authorization) error {
	if c := a.params.Get("code_challenge"); c != "" && vault.DecodeText(c, 32) == nil {
		return invalidRequest("code_challenge is no SHA-256 in base64url")
	}
	return nil
}

func requestPrompt(a *Authorization) error {
	for _, prompt := range a.prompts {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, prompt) {
			return invalidRequest("prompt has an unknown value")
		}
	}
	if a.Silent() && len(a.prompts) > 1 {
		return invalidRequest("prompt=none stands alone")
	}
	return nil
}

// requested is a request beside the person of the login.
type requested struct {
	*Authorization
	person *Person
	sub    string
}

// personRequested: OIDC Core §3.1.2.1 (id_token_hint) and §5.5.1.
func personRequested(r *requested) error {
	if r.subject != "" && r.subject != r.sub {
		return &oauthError{"login_required", "another person is signed in"}
	}
	return nil
}

// personACR: OIDC Core §5.5.1.1; OpenID Connect Core Unmet Authentication Requirements 1.0.
func personACR(r *requested) error {
	if len(r.claims.acr) > 0 && !slices.Contains(r.claims.acr, r.person.ACR) {
		return &oauthError{"unmet_authentication_requirements", "the person has not signed in in any of the ways that the request names as essential"}
	}
	return nil
}

// scopesOf returns the scopes of a parameter, sorted, each once.
func scopesOf(param string) []string {
	return slices.Compact(slices.Sorted(slices.Values(strings.Fields(param))))
}

// granted returns the scopes that mean something for the client.
func (c *client) granted(scope []string) []string {
	return slices.DeleteFunc(slices.Clone(scope), func(s string) bool {
		_, known := scopes[s]
		return !known && (s != "offline_access" || !c.Refresh)
	})
}
