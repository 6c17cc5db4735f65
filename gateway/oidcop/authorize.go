package oidcop

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxRequest = 16 << 10 // bytes of a query or form
	maxNonce   = 1 << 10  // bytes
)

// challengeForm is the form of an S256 code challenge: 32 bytes in base64url (RFC
// 7636 §4.2).
var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// authorize is the authorization endpoint (OIDC Core §3.1.2). The request is in the
// query, also if the login form is posted to it.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(r.URL.RawQuery) > maxRequest || repeated(params) {
		http.Error(w, "The request is malformed: a parameter stands twice, or can't be read.", http.StatusBadRequest)
		return
	}
	client, known := p.clients[params.Get("client_id")]
	redirectURI := params.Get("redirect_uri")
	if !known || !client.mayReturnTo(redirectURI) {
		// Without a known client there is nobody to redirect to (RFC 6749 §4.1.2.1).
		http.Error(w, "The client is not known here, or the redirect URI is none of its own.", http.StatusBadRequest)
		return
	}
	response := url.Values{"iss": {p.issuer}}
	if state := params.Get("state"); state != "" {
		response.Set("state", state)
	}
	if code, why := refuse(params); code != "" {
		response.Set("error", code)
		response.Set("error_description", why)
		redirect(w, redirectURI, response)
		return
	}
	person := p.login(w, r)
	if person == nil {
		return
	}
	code, ok := p.grants.add(grant{
		client: client.ID, redirectURI: redirectURI, challenge: params.Get("code_challenge"), nonce: params.Get("nonce"),
		person: *person, authTime: time.Now(),
	})
	if ok {
		response.Set("code", code)
	} else {
		response.Set("error", "temporarily_unavailable")
	}
	redirect(w, redirectURI, response)
}

// refuse returns an error code and a reason for the request of a known client, or "".
func refuse(params url.Values) (code, why string) {
	switch {
	case params.Get("response_type") != "code":
		return "unsupported_response_type", "only response_type=code is"
	case params.Has("request"):
		return "request_not_supported", "request objects are not"
	case params.Has("request_uri"):
		return "request_uri_not_supported", "request objects are not"
	case params.Get("response_mode") != "" && params.Get("response_mode") != "query":
		return "invalid_request", "only response_mode=query is supported"
	case !slices.Contains(strings.Fields(params.Get("scope")), "openid"):
		return "invalid_scope", "scope must contain openid"
	case params.Get("code_challenge_method") != "S256" || !challengeForm.MatchString(params.Get("code_challenge")):
		return "invalid_request", "PKCE with S256 is required"
	case params.Get("prompt") == "none":
		return "login_required", "nobody is signed in without being asked"
	case len(params.Get("nonce")) > maxNonce:
		return "invalid_request", "nonce is too long"
	}
	return "", ""
}

// repeated reports whether a parameter occurs twice (RFC 6749 §3.1).
func repeated(params url.Values) bool {
	for _, values := range params {
		if len(values) > 1 {
			return true
		}
	}
	return false
}

// redirect sends the browser back to the client. The redirect URI is one of the
// client's, and may have a query (RFC 6749 §3.1.2).
func redirect(w http.ResponseWriter, uri string, response url.Values) {
	sep := "?"
	if strings.Contains(uri, "?") {
		sep = "&"
	}
	h := w.Header()
	h.Set("Location", uri+sep+response.Encode())
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}
