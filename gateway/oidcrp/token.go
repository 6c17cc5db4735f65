package oidcrp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A token is a JWS in compact serialisation (RFC 7515 §7.1), read but not
// verified.
type token struct {
	raw     string
	header  object
	payload []byte
	// algs are the algorithms that it may have.
	algs []string
}

// parseToken reads raw and checks its form and header.
func (p *Provider) parseToken(raw string, algs []string) (*token, error) {
	if err := p.checks.compact.Run(raw); err != nil {
		return nil, err
	}
	head, body, tail := p.checks.split(raw)
	header, err := decodePart(head)
	if err != nil {
		return nil, malformed(errors.New("reading the token's header: is no base64url"))
	}
	payload, err := decodePart(body)
	if err != nil {
		return nil, malformed(errors.New("reading the token's payload: is no base64url"))
	}
	t := &token{raw: head + "." + body + "." + tail, payload: payload, algs: algs}
	if t.header, err = p.checks.object(header); err != nil {
		return nil, malformed(fmt.Errorf("reading the token's header: %w", err))
	}
	t.header = t.header.withoutNullKID()
	if err := p.checks.header.Run(t); err != nil {
		return nil, err
	}
	return t, nil
}

// withoutNullKID takes a kid that is null out of a header.
func (o object) withoutNullKID() object {
	if o["kid"] == nil {
		delete(o, "kid")
	}
	return o
}

// claims reads the payload.
func (p *Provider) claims(t *token) (object, error) {
	claims, err := p.checks.object(t.payload)
	if err != nil {
		return nil, malformed(fmt.Errorf("reading the token's claims: %w", err))
	}
	return claims.dropNulls(), nil
}

// splitCompact splits a token in compact serialisation. It ignores what follows a third
// dot, which compactForm refuses.
func splitCompact(raw string) (header, payload, signature string) {
	header, rest, _ := strings.Cut(raw, ".")
	payload, rest, _ = strings.Cut(rest, ".")
	signature, _, _ = strings.Cut(rest, ".")
	return header, payload, signature
}

func decodePart(s string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(s) }

func malformed(err error) error { return refusal.New(refusal.OIDCTokenMalformed, err) }

// compactForm refuses JWE (five parts), JSON serialisation, and blanks and line breaks,
// which base64 decoders skip.
func compactForm(raw string) error {
	switch strings.Count(raw, ".") {
	case 2:
	case 4: // RFC 7516 §7.1
		return errors.New("reading the token: is encrypted (a JWE), and there is no key for that here; switch encryption off for this client at the provider")
	default:
		return errors.New("reading the token: is no JWS in compact serialisation (three parts)")
	}
	for i := range len(raw) {
		if !isBase64URL(raw[i]) && raw[i] != '.' {
			return errors.New("reading the token: has a character that is not base64url")
		}
	}
	return nil
}

func isBase64URL(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// headerKinds are the members that decide. jku, jwk, x5u, x5c and the thumbprints
// beside them are never read: they pick no key, and fetch nothing.
var headerKinds = []member{
	{"alg", aString},
	{"typ", aString},
	{"kid", aString},
}

func headerTypes(t *token) error { return t.header.checkKinds(headerKinds) }

func headerAlg(t *token) error {
	if alg := t.header.str("alg"); !slices.Contains(t.algs, alg) {
		return fmt.Errorf("reading the token's header: the alg is %s; of those that the provider announces, these are accepted: %s", wording.Quoted(alg), wording.List(t.algs))
	}
	return nil
}

// headerTyp keeps tokens of other kinds out, such as at+jwt and logout+jwt
// (RFC 8725 §3.11). Media types have no case (RFC 7519 §5.1).
func headerTyp(t *token) error {
	if t.header.has("typ") && !strings.EqualFold(t.header.str("typ"), "JWT") {
		return fmt.Errorf("reading the token's header: the typ %s is not JWT", wording.Quoted(t.header.str("typ")))
	}
	return nil
}

// headerCrit refuses every critical extension: we support none (RFC 7515 §4.1.11). It
// refuses an unencoded payload (RFC 7797) and encryption even if crit does not name them.
func headerCrit(t *token) error {
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if t.header.has(name) {
			return fmt.Errorf("reading the token's header: the parameter %s is not supported; have the provider issue plain signed tokens", name)
		}
	}
	return nil
}
