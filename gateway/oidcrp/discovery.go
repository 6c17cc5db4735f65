package oidcrp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// The largest answers that are read, in bytes. A token answer holds 10,000
// groups.
const (
	maxDiscovery = 256 << 10
	maxJWKS      = 512 << 10
	maxToken     = 1 << 20
	maxUserInfo  = 1 << 20
)

// metadata is what we use of a discovery document (OpenID Connect Discovery
// 1.0 §3), checked.
type metadata struct {
	authorization, token, jwks string
	userInfo, endSession       string   // empty: not offered
	algs, userInfoAlgs         []string // announced and ours
	authMethods                []string // nil: not announced
	issRequired                bool     // RFC 9207 §3
}

// discoveryDocument is what checklist.discovery checks.
type discoveryDocument struct {
	object
	issuer   string
	plain    bool // endpoints may be plain http, as far as outbound permits it
	outbound outbound
}

var discoveryKinds = []member{
	{"issuer", aString},
	{"authorization_endpoint", aString},
	{"token_endpoint", aString},
	{"jwks_uri", aString},
	{"userinfo_endpoint", aString},
	{"end_session_endpoint", aString},
	{"id_token_signing_alg_values_supported", aList},
	{"userinfo_signing_alg_values_supported", aList},
	{"token_endpoint_auth_methods_supported", aList},
	{"authorization_response_iss_parameter_supported", aBool},
}

var optionalEndpoints = []string{"userinfo_endpoint", "end_session_endpoint"}

// parseMetadata checks a discovery document.
func (p *Provider) parseMetadata(doc []byte) (*metadata, error) {
	obj, err := p.checks.object(doc)
	if err != nil {
		return nil, fetch.Unavailable("reading the discovery document: %w; the address is made of `issuer`: check that", err)
	}
	// Some providers write null for what they don't have, some an empty text.
	obj = obj.dropNulls()
	for _, name := range optionalEndpoints {
		if obj[name] == "" {
			delete(obj, name)
		}
	}
	if err := p.checks.discovery.Run(&discoveryDocument{obj, p.config.Issuer, p.config.plain(), p.outbound}); err != nil {
		return nil, err
	}
	md := &metadata{
		authorization: obj.str("authorization_endpoint"),
		token:         obj.str("token_endpoint"),
		jwks:          obj.str("jwks_uri"),
		userInfo:      obj.str("userinfo_endpoint"),
		endSession:    obj.str("end_session_endpoint"),
		algs:          usableAlgs(obj.strs("id_token_signing_alg_values_supported")),
		userInfoAlgs:  usableAlgs(obj.strs("userinfo_signing_alg_values_supported")),
		authMethods:   obj.strs("token_endpoint_auth_methods_supported"),
		issRequired:   obj["authorization_response_iss_parameter_supported"] == true,
	}
	return md, nil
}

// usableAlgs keeps of the announced algorithms those that we take. A provider
// that announces none signs by RS256 (OIDC Core §3.1.3.7 number 7).
func usableAlgs(announced []string) []string {
	if announced == nil {
		return []string{"RS256"}
	}
	return slices.DeleteFunc(announced, func(alg string) bool { return !slices.Contains(algs, jose.SignatureAlgorithm(alg)) })
}

func discoveryIssuer(d *discoveryDocument) error {
	if got := d.str("issuer"); got != d.issuer {
		if strings.Contains(got, "{") {
			return fmt.Errorf("reading the discovery document: the issuer %s has a placeholder in it: this is the document for all tenants; configure your own tenant's issuer", wording.Quoted(got))
		}
		return fmt.Errorf("reading the discovery document: the issuer is %s, configured is %q (OIDC Discovery §4.3); if that is the provider you mean, write it in `issuer`, byte for byte", wording.Quoted(got), d.issuer)
	}
	return nil
}

func discoveryTypes(d *discoveryDocument) error { return d.checkKinds(discoveryKinds) }

func discoveryEndpoints(d *discoveryDocument) error {
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"} {
		if slices.Contains(optionalEndpoints, name) && !d.has(name) {
			continue
		}
		if d.str(name) == "" {
			return fmt.Errorf("reading the discovery document: %s is missing, without which this is no OpenID Provider (OIDC Discovery §3); check `issuer`", name)
		}
		if err := d.checkEndpoint(d.str(name)); err != nil {
			return fmt.Errorf("reading the discovery document: %s %w; have the provider publish the address by which it is reached", name, err)
		}
	}
	return nil
}

// checkEndpoint keeps a provider that is reached by TLS to it. Otherwise a remote
// provider could have us post to a service on our own loopback, where plain http is
// permitted, and send browsers to theirs.
func (d *discoveryDocument) checkEndpoint(address string) error {
	if err := d.outbound.CheckURL(address); err != nil {
		return err
	}
	if !d.plain && !overTLS(address) {
		return errors.New("uses plain http, though the issuer uses https")
	}
	return nil
}

// fetchDocument gets a public JSON document of the provider.
func (p *Provider) fetchDocument(ctx context.Context, what, url string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fetch.Unavailable("fetching the %s: %w", what, errors.New("the address is malformed"))
	}
	req.Header.Set("Accept", "application/json")
	got, err := p.outbound.Do(req, limit)
	if err != nil {
		return nil, fetch.Unavailable("fetching the %s: %w", what, err)
	}
	if err := p.checks.document.Run(got); err != nil {
		return nil, fetch.Unavailable("fetching the %s from %s: %w", what, url, err)
	}
	return withoutMark(got.Body), nil
}

func documentMediaType(f *fetch.Response) error {
	switch {
	case f.MediaType == "application/json", strings.HasSuffix(f.MediaType, "+json"):
	case f.MediaType == "application/octet-stream", f.MediaType == "text/plain": // as file servers send it
	default:
		return lastingError{fmt.Errorf("checking the response: the content type is %s, not JSON", wording.Quoted(f.ContentType))}
	}
	return nil
}

// withoutMark returns JSON without the byte order mark that some servers put in
// front of it (RFC 8259 §8.1).
func withoutMark(doc []byte) []byte { return bytes.TrimPrefix(doc, []byte("\xEF\xBB\xBF")) }

func statusOK(f *fetch.Response) error {
	if f.Status != http.StatusOK {
		hint := ""
		if f.Status >= 300 && f.Status < 400 {
			hint = " (redirects are not followed)"
		}
		err := fmt.Errorf("checking the response: the status is %d instead of 200%s", f.Status, hint)
		if passes(f.Status) {
			return f.Fault(err)
		}
		return lastingError{err}
	}
	return nil
}

// passes says whether a status is that of a fault that passes (RFC 9110 §15.5.9,
// §15.6; RFC 8470 §5.2; RFC 6585 §4).
func passes(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}

// A lastingError is a fault of a provider that is there. Trying again does not
// mend it.
type lastingError struct{ error }

func (e lastingError) Unwrap() error { return e.error }

// lasts says whether trying again later would be in vain.
func lasts(err error) bool {
	_, lasting := errors.AsType[lastingError](err)
	return lasting || errors.Is(err, fetch.ErrTooLarge)
}
