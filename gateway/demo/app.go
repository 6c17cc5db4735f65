package demo

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// shown are the gateway's headers, in the order of the page.
var shown = []string{"Remote-User", "Remote-Name", "Remote-Email", "Remote-Roles", "Remote-Groups", verify.DefaultHeader}

// displayNames are those of the providers in the gateway's configuration.
var displayNames = map[string]string{"openid": "OpenID Connect", "saml": "SAML 2.0"}

// A header is one line of the page.
type header struct{ Name, Value string }

// newApp returns the app of a site. It trusts only the assertion, which it verifies with
// the gateway's published keys.
func newApp(s *Site) (http.Handler, error) {
	v, err := verify.New(verify.Config{
		Issuer: s.Origin, Audience: s.ID, JWKSURL: s.Origin + "/.sso/jwks.json", Client: loopbackClient,
	})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := struct {
			*Site
			Identity *verify.Identity
			Why      string
			Provider string
			Claims   string
			Headers  []header
			Other    []string
		}{Site: s}
		id, err := v.VerifyRequest(r)
		if err != nil {
			page.Why = err.Error()
			render(w, http.StatusUnauthorized, "app.html", page)
			return
		}
		page.Identity, page.Claims = id, claimsOf(r.Header.Get(verify.DefaultHeader))
		page.Provider = displayNames[id.Provider]
		for _, name := range shown {
			page.Headers = append(page.Headers, header{name, strings.Join(r.Header.Values(name), ", ")})
		}
		for name := range r.Header {
			if !slices.Contains(shown, textproto.CanonicalMIMEHeaderKey(name)) {
				page.Other = append(page.Other, name)
			}
		}
		slices.Sort(page.Other)
		render(w, http.StatusOK, "app.html", page)
	}), nil
}

// claimsOf returns the claims of a JWT (RFC 7519 §3), each on a line.
func claimsOf(jwt string) string {
	_, rest, _ := strings.Cut(jwt, ".")
	payload, _, _ := strings.Cut(rest, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	var b bytes.Buffer
	if err != nil || json.Indent(&b, claims, "", "  ") != nil {
		return "" // the verifier refuses such a JWT
	}
	return b.String()
}
