package oidcop

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// skew is how far a client's clock may differ from ours.
	skew = time.Minute
	// maxAssertionLife bounds exp. Some libraries set it an hour ahead.
	maxAssertionLife = time.Hour
	maxJTI           = 512 // bytes
)

// kindAssertion is the kind of the records of assertions that were used.
const kindAssertion vault.Kind = "assertion"

// assertionAlgorithms are asymmetric: never none, never a shared secret.
var assertionAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// An assertion is a JWT by which a client proves that it has its private key (RFC 7523
// §2.2 and §3, OIDC Core §9).
type assertion struct {
	provider *Provider
	typ      string
	jws      *jose.JSONWebSignature
	claims   map[string]any // not yet verified
	client   *client
	verify   func() error                               // by the client's keys
	remember func(name string, ttl time.Duration) error // once
}

// bind gives an assertion the client that it claims to be from.
func (a *assertion) bind(ctx context.Context, c *client, records Records) {
	a.client = c
	a.verify = func() error { return c.keys.verify(ctx, a.jws) }
	a.remember = func(name string, ttl time.Duration) error {
		return records.PutNew(ctx, kindAssertion, name, nil, ttl)
	}
}

// readAssertion takes a client assertion apart. Claims are read exactly: no name counts
// twice, or in another case.
func (p *Provider) readAssertion(fields map[string]string) (*assertion, error) {
	jws, err := jose.ParseSignedCompact(fields["client_assertion"], assertionAlgorithms)
	if err != nil {
		return nil, errClient
	}
	a := &assertion{provider: p, typ: fields["client_assertion_type"], jws: jws}
	if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &a.claims) != nil {
		return nil, errClient
	}
	return a, nil
}

func (a *assertion) text(name string) string {
	text, _ := a.claims[name].(string)
	return text
}

// date reads a NumericDate (RFC 7519 §2).
func (a *assertion) date(name string) (time.Time, bool) {
	n, ok := a.claims[name].(float64)
	if !ok || n < 0 || n > 253402300799 { // the end of the year 9999
		return time.Time{}, false
	}
	return time.Unix(int64(n), 0), true
}

func assertionTyped(a *assertion) error {
	if a.typ != assertionType {
		return invalidRequest("client_assertion_type is not supported")
	}
	return nil
}

// assertionSigned: only keys of this client count, never one that the header has or refers to.
func assertionSigned(a *assertion) error {
	if a.client.keys == nil {
		return errClient
	}
	err := a.verify()
	if _, told := asOAuth(err); err != nil && !told {
		return note(unavailable, a.client.ID, "client keys", err.Error())
	}
	return err
}

func assertionIssuer(a *assertion) error {
	if a.text("iss") != a.client.ID {
		return errClient
	}
	return nil
}

// assertionAudience: all audiences are ours. If one were another server, that server could
// use the assertion here.
func assertionAudience(a *assertion) error {
	list, isList := a.claims["aud"].([]any)
	if !isList {
		list = []any{a.claims["aud"]}
	}
	issuer := a.provider.issuer()
	ours := []any{issuer, issuer + TokenPath, issuer + IntrospectionPath, issuer + RevocationPath}
	if len(list) == 0 || slices.ContainsFunc(list, func(one any) bool { return !slices.Contains(ours, one) }) {
		return errClient
	}
	return nil
}

func assertionExpiry(a *assertion) error {
	if exp, ok := a.date("exp"); !ok || !time.Now().Before(exp.Add(skew)) {
		return errClient
	}
	return nil
}

// assertionLife: the sooner it ends, the less a stolen one is worth.
func assertionLife(a *assertion) error {
	if exp, _ := a.date("exp"); time.Until(exp) > maxAssertionLife+skew {
		return errClient
	}
	return nil
}

// assertionBegun reads nbf and iat, which may be missing.
func assertionBegun(a *assertion) error {
	for _, name := range []string{"nbf", "iat"} {
		at, ok := a.date(name)
		if _, there := a.claims[name]; there && (!ok || time.Until(at) > skew) {
			return errClient
		}
	}
	return nil
}

func assertionID(a *assertion) error {
	if id := a.text("jti"); id == "" || len(id) > maxJTI {
		return errClient
	}
	return nil
}

// assertionOnce: RFC 7523 §3 number 7, on all nodes.
func assertionOnce(a *assertion) error {
	exp, _ := a.date("exp")
	name := vault.EncodeText(vault.Digest("openid assertion", a.provider.issuer(), a.client.ID, a.text("jti")))
	err := a.remember(name, max(time.Until(exp)+2*skew, skew))
	if errors.Is(err, store.ErrExists) {
		return errClient
	}
	return err
}
