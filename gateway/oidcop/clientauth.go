package oidcop

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// The ways in which a client authenticates (OIDC Core §9).
const (
	byBasic     = "client_secret_basic"
	byPost      = "client_secret_post"
	byAssertion = "private_key_jwt"
	byNothing   = "none"
)

// credentials are what a request says about its client.
type credentials struct {
	client  *client // nil: unknown
	methods []string
	ids     []string
	secrets []string // readings of the one secret; each may be it
	signed  *assertion
}

// authenticate returns the client that makes a request (RFC 6749 §2.3). Failures count for
// the client that the caller says it is, so that others can go on. A public client has no
// secret to guess.
func (p *Provider) authenticate(r *http.Request, fields map[string]string, by Attempts) (*client, error) {
	b, err := p.bound()
	if err != nil || by == nil { // nil: the request came before Bind
		return nil, cmp.Or(err, errUnbound)
	}
	cred, err := p.readCredentials(r, fields)
	if err == nil && cred.client != nil && cred.client.isPublic() {
		return cred.client, p.prove(r, b, cred)
	}
	id := ""
	if err == nil && cred.client != nil {
		id = cred.client.ID
	}
	if wait, failing := by.Failing(r.Context(), id); failing != nil {
		if _, ok := errors.AsType[*refusal.Error](failing); ok {
			failing = &waits{wait, id, failing}
		}
		return nil, note(failing, id, "", "")
	}
	if err == nil {
		err = p.prove(r, b, cred)
	}
	if told, ok := asOAuth(err); ok && told.Code == "invalid_client" {
		by.Fail(r.Context(), id)
	}
	if cred.client != nil {
		err = cred.client.of(err)
	}
	return cred.client, err
}

// readCredentials reads what a request says about its client.
func (p *Provider) readCredentials(r *http.Request, fields map[string]string) (*credentials, error) {
	cred, err := p.readBasic(r)
	if err != nil {
		return cred, err
	}
	if id := fields["client_id"]; id != "" {
		cred.ids = append(cred.ids, id)
	}
	if len(cred.ids) > 0 {
		cred.client = p.clients[cred.ids[0]]
	}
	if secret := fields["client_secret"]; secret != "" {
		cred.methods, cred.secrets = append(cred.methods, byPost), append(cred.secrets, secret)
	}
	if fields["client_assertion"] != "" || fields["client_assertion_type"] != "" {
		cred.methods = append(cred.methods, byAssertion)
		if cred.signed, err = p.readAssertion(fields); err != nil {
			return cred, note(err, "", "assertion form", "client_assertion is no signed JWT in compact form with one of the accepted algorithms")
		}
		cred.ids = append(cred.ids, cred.signed.text("sub"))
		cred.client = p.clients[cred.ids[0]]
	}
	if len(cred.methods) == 0 {
		cred.methods = []string{byNothing}
	}
	return cred, nil
}

// prove returns an error unless the credentials prove which client makes the request.
func (p *Provider) prove(r *http.Request, b *Backing, cred *credentials) error {
	if cred.client == nil {
		return note(errClient, "", "client known", p.unknownClient("the request", cmp.Or(slices.Concat(cred.ids, []string{""})...)).Error())
	}
	if err := p.checks.credentials.Run(cred); err != nil || cred.signed == nil {
		return cred.client.of(err)
	}
	cred.signed.bind(r.Context(), cred.client, b.Records)
	return cred.client.of(p.checks.assertion.Run(cred.signed))
}

// errClient tells nobody whether the client exists.
var errClient = invalidClient("the client is unknown, or has not proved to be it")

// readBasic reads the header Authorization. Id and secret should be form-urlencoded (RFC 6749
// §2.3.1); clients that don't do it are understood as well, since the secret has to fit in
// any case. Some public clients send an empty secret.
func (p *Provider) readBasic(r *http.Request) (*credentials, error) {
	cred, values := &credentials{}, r.Header.Values("Authorization")
	if len(values) == 0 {
		return cred, nil
	}
	scheme, encoded, _ := strings.Cut(values[0], " ")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	id, secret, found := strings.Cut(string(raw), ":")
	if len(values) > 1 || !strings.EqualFold(scheme, "Basic") || err != nil || !found {
		return cred, note(errClient, "", "authorization header", "expected one header Authorization with the scheme Basic, and ID and secret in it")
	}
	if decoded, err := url.QueryUnescape(id); err == nil && p.clients[decoded] != nil {
		id = decoded
	}
	cred.ids = []string{id}
	if secret == "" {
		return cred, nil
	}
	cred.methods, cred.secrets = []string{byBasic}, []string{secret}
	if decoded, err := url.QueryUnescape(secret); err == nil && decoded != secret {
		cred.secrets = append(cred.secrets, decoded)
	}
	return cred, nil
}

// oneMethod: RFC 6749 §2.3.
func oneMethod(c *credentials) error {
	if len(c.methods) > 1 {
		return invalidRequest("the client authenticates in several ways at once")
	}
	return nil
}

func oneClient(c *credentials) error {
	if slices.ContainsFunc(c.ids, func(id string) bool { return id != c.ids[0] }) {
		return note(errClient, "", "", "the request names several clients")
	}
	return nil
}

// clientMethod: a client can't choose a way that is weaker than its own.
func clientMethod(c *credentials) error {
	for _, method := range c.methods {
		if !slices.Contains(c.client.methods(), method) {
			return note(errClient, "", "", fmt.Sprintf("the app authenticates by %s, and the client has %s", method, strings.Join(c.client.methods(), ", ")))
		}
	}
	return nil
}

func (c *client) methods() []string {
	switch {
	case c.isPublic():
		return []string{byNothing}
	case c.keys != nil:
		return []string{byAssertion}
	}
	return []string{byBasic, byPost}
}

// clientSecret tries each reading of the secret, in constant time.
func clientSecret(c *credentials) error {
	proved := len(c.client.Secrets) == 0
	for _, secret := range c.secrets {
		proved = c.client.proves(secret) || proved
	}
	if !proved {
		return note(errClient, "", "", "the secret that came differs from the client's")
	}
	return nil
}
