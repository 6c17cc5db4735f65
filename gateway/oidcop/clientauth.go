package oidcop

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
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
	client  *client
	methods []string
	ids     []string
	secrets []string // readings of the one secret; each may be it
}

// authenticate returns the client that makes a request (RFC 6749 §2.3).
func (p *Provider) authenticate(r *http.Request, fields map[string]string) (*client, error) {
	b, err := p.bound()
	if err != nil {
		return nil, err
	}
	cred, err := p.readBasic(r)
	if err != nil {
		return nil, err
	}
	if id := fields["client_id"]; id != "" {
		cred.ids = append(cred.ids, id)
	}
	if secret := fields["client_secret"]; secret != "" {
		cred.methods, cred.secrets = append(cred.methods, byPost), append(cred.secrets, secret)
	}
	var signed *assertion
	if fields["client_assertion"] != "" || fields["client_assertion_type"] != "" {
		cred.methods = append(cred.methods, byAssertion)
		if signed, err = p.readAssertion(fields); err != nil {
			return nil, err
		}
		cred.ids = append(cred.ids, signed.text("sub"))
	}
	if len(cred.methods) == 0 {
		cred.methods = []string{byNothing}
	}
	if len(cred.ids) > 0 {
		cred.client = p.clients[cred.ids[0]]
	}
	if cred.client == nil {
		return nil, errClient
	}
	if err := p.checks.credentials.Run(cred); err != nil {
		return nil, cred.client.of(err)
	}
	if signed == nil {
		return cred.client, nil
	}
	signed.bind(r.Context(), cred.client, b.Records)
	return cred.client, cred.client.of(p.checks.assertion.Run(signed))
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
		return nil, errClient
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
		return errClient
	}
	return nil
}

// clientMethod: a client can't choose a way that is weaker than its own.
func clientMethod(c *credentials) error {
	for _, method := range c.methods {
		if !slices.Contains(c.client.methods(), method) {
			return errClient
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
		return errClient
	}
	return nil
}
