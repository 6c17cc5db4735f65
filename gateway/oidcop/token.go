package oidcop

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/form"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// maxForm bounds a form of a client in bytes.
const maxForm = 64 << 10

// authParams authenticate a client in a form.
var authParams = []string{"client_id", "client_secret", "client_assertion_type", "client_assertion"}

// errForm is what a client hears of a form that can't be read.
var errForm = invalidRequest("the request is no form, is too large, or has a parameter twice")

// clientForm reads the form of a request, and authenticates its client.
func (p *Provider) clientForm(w http.ResponseWriter, r *http.Request, by Attempts, names ...string) (*client, map[string]string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	fields, refused := form.Read(w, r, slices.Concat(authParams, names)...)
	if refused != nil {
		return nil, nil, note(errForm, "", "form", refused.Error())
	}
	c, err := p.authenticate(r, fields, by)
	return c, fields, err
}

// A tokenResponse is the response of the token endpoint (RFC 6749 §5.1, OIDC Core
// §3.1.3.3).
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope"`
	IDToken      string `json:"id_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// token is the token endpoint (OIDC Core §3.1.3, RFC 6749 §6).
func (p *Provider) token(w http.ResponseWriter, r *http.Request, by Attempts) error {
	c, fields, err := p.clientForm(w, r, by, "grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope")
	if err != nil {
		return err
	}
	var response *tokenResponse
	switch fields["grant_type"] {
	case "authorization_code":
		response, err = p.spend(r.Context(), &use{client: c, fields: fields, token: fields["code"], kind: kindCode}, p.checks.code)
	case "refresh_token":
		response, err = p.spend(r.Context(), &use{client: c, fields: fields, token: fields["refresh_token"], kind: kindRefresh}, p.checks.refresh)
	case "":
		return c.of(invalidRequest("grant_type is missing"))
	default:
		return c.of(&oauthError{"unsupported_grant_type", "expected authorization_code or refresh_token"})
	}
	if err != nil {
		return c.of(err)
	}
	writeJSON(w, http.StatusOK, response)
	return nil
}

// A use is a code, or a refresh token, that a client presents.
type use struct {
	client *client
	fields map[string]string
	token  string
	kind   string
	grant  *grant
}

// errSpent is what a client hears of a code or refresh token that it can't use.
var errSpent = invalidGrant("the code or token is unknown, expired, used or revoked, or it belongs to other parameters")

// A misuse is a use that a check refuses: the token is in wrong hands.
type misuse struct{ cause error }

func (m *misuse) Error() string { return m.cause.Error() }
func (m *misuse) Unwrap() error { return m.cause }

// spend gives tokens for a code or a refresh token. After a misuse the grant ends with all
// its tokens. A fault leaves it as it is.
func (p *Provider) spend(ctx context.Context, u *use, checks check.List[*use]) (*tokenResponse, error) {
	if u.token == "" {
		return nil, invalidRequest("the code or refresh token is missing")
	}
	m, err := p.exchange(ctx, u, checks)
	if bad, ok := errors.AsType[*misuse](err); ok {
		return nil, cmp.Or(p.end(ctx, u.token), bad.cause)
	}
	if err != nil {
		return nil, err
	}
	return &m.response, nil
}

// exchange makes the tokens and puts them into the grant. The checks run twice: before
// anything is made for the client, and where the record is replaced. If the token is used
// several times at once, on any node, exactly one use succeeds.
func (p *Provider) exchange(ctx context.Context, u *use, checks check.List[*use]) (*mint, error) {
	b, err := p.bound()
	if err != nil {
		return nil, err
	}
	m, err := p.prepare(ctx, u, checks)
	if err != nil {
		return nil, err
	}
	return m, b.Records.Update(ctx, kindGrant, p.recordName(u.token), m.ttl, func(old *vault.Record) ([]byte, error) {
		if old == nil {
			return nil, note(errSpent, "", "token known", "its tokens have ended in this moment")
		}
		if u.grant, err = readGrant(old); err != nil {
			return nil, err
		}
		if _, err := p.judge(u, checks); err != nil {
			return nil, err
		}
		m.into(u.grant)
		return json.Marshal(u.grant)
	})
}

// prepare makes the tokens. It does everything that can fail before the code is used up.
func (p *Provider) prepare(ctx context.Context, u *use, checks check.List[*use]) (m *mint, err error) {
	if u.grant, err = p.find(ctx, u.token, u.kind); errors.Is(err, store.ErrNotFound) {
		return nil, toldAs(errSpent, err)
	}
	if err != nil {
		return nil, err
	}
	scope, err := p.judge(u, checks)
	if err != nil {
		return nil, err
	}
	person, err := p.personOf(ctx, u.grant)
	switch {
	case errors.Is(err, errTokenOver), errors.Is(err, errDenied): // the grant stays: another node may have other rules or a longer lifetime
		return nil, toldAs(errSpent, err)
	case err != nil:
		return nil, err
	}
	if m, err = p.mint(ctx, u, person, scope); err != nil {
		return nil, err
	}
	return m, p.watch(ctx, u, person)
}

// judge checks a use, and returns the scope that it asks for. A guess is no misuse.
func (p *Provider) judge(u *use, checks check.List[*use]) (scope []string, err error) {
	text, genuine := u.token, u.grant.Code
	if u.kind == kindRefresh {
		text, genuine = familyOf(u.token), u.grant.Family
	}
	if !p.shown(text, genuine) {
		return nil, note(errSpent, "", "token genuine", notGenuine)
	}
	if err := checks.Run(u); err != nil {
		return nil, &misuse{err}
	}
	if err := p.checks.present.Run(u); err != nil {
		return nil, err
	}
	asked := scopesOf(u.fields["scope"])
	if u.kind == kindCode || len(asked) == 0 {
		return u.grant.Scope, nil
	}
	return asked, p.checks.narrow.Run(&narrowed{u.grant, asked})
}

// codeOnce: RFC 6749 §4.1.2, RFC 9700 §4.13.
func codeOnce(u *use) error {
	if u.grant.Used {
		return errSpent
	}
	return nil
}

// codeExpiry: RFC 6749 §4.1.2. Another node's clock may differ.
func codeExpiry(u *use) error {
	if u.kind == kindCode && time.Since(u.grant.Issued) >= codeTTL {
		return errSpent
	}
	return nil
}

// grantClient: RFC 6749 §4.1.3 and §6.
func grantClient(u *use) error {
	if u.grant.Client != u.client.ID {
		return errSpent
	}
	return nil
}

// codeRedirectURI: RFC 6749 §4.1.3.
func codeRedirectURI(u *use) error {
	if u.grant.RedirectURI != u.fields["redirect_uri"] {
		return errSpent
	}
	return nil
}

// redirectURIKept: the configuration may have changed.
func redirectURIKept(u *use) error {
	if u.kind == kindCode && !u.client.mayReturnTo(u.grant.RedirectURI) {
		return errSpent
	}
	return nil
}

// codeVerifier: RFC 7636 §4.6. A verifier without a challenge is the sign of a downgrade
// (RFC 9700 §2.1.1).
func codeVerifier(u *use) error {
	verifier, sent := u.fields["code_verifier"]
	if u.grant.Challenge == "" && !sent {
		return nil
	}
	sum := sha256.Sum256([]byte(verifier))
	if u.grant.Challenge == "" || len(verifier) < 43 || len(verifier) > 128 || !hmac.Equal([]byte(vault.EncodeText(sum[:])), []byte(u.grant.Challenge)) {
		return errSpent
	}
	return nil
}

// pkceWaived: the configuration may have changed.
func pkceWaived(u *use) error {
	if u.kind == kindCode && u.grant.Challenge == "" && !u.client.InsecureNoPKCE {
		return errSpent
	}
	return nil
}

// refreshNewest: if an older refresh token comes, that one or the newest is stolen (RFC 9700
// §4.14.2).
func refreshNewest(u *use) error {
	if !hmac.Equal(digest(u.token), u.grant.Refresh) {
		return errSpent
	}
	return nil
}

// refreshPermitted: the configuration may have changed.
func refreshPermitted(u *use) error {
	if u.kind == kindRefresh && !u.client.Refresh {
		return &oauthError{"unauthorized_client", "the client may not use refresh tokens"}
	}
	return nil
}

// narrowed is a scope that is asked for anew.
type narrowed struct {
	grant *grant
	scope []string
}

// scopeNarrower: RFC 6749 §6.
func scopeNarrower(n *narrowed) error {
	for _, s := range n.scope {
		if !slices.Contains(n.grant.Scope, s) {
			return &oauthError{"invalid_scope", "the scope has more than was granted"}
		}
	}
	return nil
}

// A mint is what a client gets, before it is in the grant.
type mint struct {
	response tokenResponse
	access   access
	refresh  string
	ttl      time.Duration // of the grant
}

// mint makes the tokens of a use.
func (p *Provider) mint(ctx context.Context, u *use, person *Person, scope []string) (*mint, error) {
	id, _, _ := strings.Cut(u.token, ".")
	now := time.Now()
	left := person.Expires.Sub(now)
	m := &mint{ttl: min(tokenTTL, left)}
	if m.ttl < time.Second {
		return nil, note(errSpent, "", "login alive", ErrNoLogin.Error()) // as good as
	}
	token := newToken(id, kindAccess)
	m.access = access{Digest: digest(token), Scope: scope, Issued: now, Expires: now.Add(m.ttl)}
	m.response = tokenResponse{AccessToken: token, TokenType: "Bearer", ExpiresIn: int(m.ttl / time.Second), Scope: strings.Join(scope, " ")}
	if u.client.Refresh {
		family := newToken(id, kindRefresh)
		if u.kind == kindRefresh {
			family = familyOf(u.token)
		}
		m.refresh = family + "." + vault.RandomText()
		m.response.RefreshToken, m.ttl = m.refresh, left
	}
	var err error
	m.response.IDToken, err = p.idToken(ctx, u, person, m)
	return m, err
}

// into puts the tokens into a grant.
func (m *mint) into(g *grant) {
	g.Used = true
	g.Access = append(g.Access, m.access)
	g.Access = g.Access[max(0, len(g.Access)-maxAccess):]
	if m.refresh != "" {
		g.Family, g.Refresh = digest(familyOf(m.refresh)), digest(m.refresh)
	}
}

// idToken returns the ID token (OIDC Core §2, §12.2). It has auth_time whether or not the
// client asked for it.
func (p *Provider) idToken(ctx context.Context, u *use, person *Person, m *mint) (string, error) {
	sum := sha256.Sum256([]byte(m.response.AccessToken))
	claims := u.client.claims(m.access.Scope, u.grant.Claims.IDToken, person)
	maps.Copy(claims, map[string]any{
		"iss": p.issuer(), "sub": u.grant.Subject, "aud": u.client.ID, "iat": m.access.Issued.Unix(), "exp": m.access.Expires.Unix(),
		"sid": p.sid(u.client, u.grant.Login), "at_hash": vault.EncodeText(sum[:len(sum)/2]),
	})
	if u.kind == kindCode && u.grant.Nonce != "" {
		claims["nonce"] = u.grant.Nonce
	}
	if !person.AuthTime.IsZero() {
		claims["auth_time"] = person.AuthTime.Unix()
	}
	if person.ACR != "" {
		claims["acr"] = person.ACR
	}
	if len(person.AMR) > 0 {
		claims["amr"] = person.AMR
	}
	return p.sign(ctx, u.client.Algorithm, "JWT", claims)
}

func (p *Provider) sign(ctx context.Context, alg Algorithm, typ string, claims map[string]any) (string, error) {
	b, err := p.bound()
	if err != nil {
		return "", err
	}
	signer := b.Signers[alg]
	if signer == nil {
		return "", errors.New("signing a token: no keys for " + string(alg))
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return signer.SignAs(ctx, typ, payload)
}
