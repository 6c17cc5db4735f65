package oidcop

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	// codeTTL is the lifetime of a code. RFC 6749 §4.1.2 recommends ten minutes at most; a
	// browser needs seconds.
	codeTTL = time.Minute
	// maxCodes is how many codes a client gets for one login within codeTTL.
	maxCodes = 60
	// tokenTTL is the lifetime of an access token and an ID token, which end with the
	// login at the latest.
	tokenTTL = 5 * time.Minute
	// maxAccess is how many access tokens a grant has at once. A client that refreshes
	// more often loses the oldest.
	maxAccess = 4
)

// kindGrant is the kind of a grant's record.
const kindGrant vault.Kind = "grant"

// A grant entitles a client to tokens about the person of a login. Tokens are in it by
// their digests alone.
type grant struct {
	Client string `json:"c"`
	Login  string `json:"l"`
	// Subject is the sub of all its tokens, even if the client's pairwise has changed (OIDC Core
	// §5.3.2, §12.2).
	Subject string `json:"su"`
	// RedirectURI, Challenge and Nonce are those of the request.
	RedirectURI string        `json:"r"`
	Challenge   string        `json:"p,omitempty"`
	Nonce       string        `json:"n,omitempty"`
	Scope       []string      `json:"s"`
	Claims      claimsRequest `json:"q,omitzero"`
	// Issued is when the code was issued. A backup of the store may bring the record back.
	Issued time.Time `json:"i"`
	// Code is kept after it was used, so that a second use is noticed.
	Code   []byte   `json:"co"`
	Used   bool     `json:"u,omitempty"`
	Access []access `json:"a,omitempty"`
	// Family is in all refresh tokens of the grant, Refresh is the present one.
	Family  []byte `json:"f,omitempty"`
	Refresh []byte `json:"rt,omitempty"`
}

// access is an access token.
type access struct {
	Digest  []byte    `json:"d"`
	Scope   []string  `json:"s"`
	Issued  time.Time `json:"i"`
	Expires time.Time `json:"x"`
}

// The kinds of tokens.
const (
	kindCode    = "c"
	kindAccess  = "a"
	kindRefresh = "r"
)

// tokenKinds are the kinds for the log.
var tokenKinds = map[string]string{kindCode: "a code", kindAccess: "an access token", kindRefresh: "a refresh token"}

// Tokens read "<grant id>.<kind>.<random>", and refresh tokens
// "<grant id>.r.<family>.<random>".
const grantIDSize = 16 // bytes

func newGrantID() string { return vault.EncodeText(vault.RandomBytes()[:grantIDSize]) }

func newToken(grantID, kind string) string { return grantID + "." + kind + "." + vault.RandomText() }

// tokenParts takes a token apart. It returns "" unless the token is of that kind.
func tokenParts(token, kind string) (grantID, rest string) {
	parts := strings.SplitN(token, ".", 3)
	if len(parts) != 3 || parts[1] != kind || vault.DecodeText(parts[0], grantIDSize) == nil {
		return "", ""
	}
	random := strings.Split(parts[2], ".")
	want := 1
	if kind == kindRefresh {
		want = 2
	}
	if len(random) != want || slices.ContainsFunc(random, func(r string) bool { return !vault.IsRandomText(r) }) {
		return "", ""
	}
	return parts[0], parts[2]
}

// familyOf returns what all refresh tokens of a grant have in common.
func familyOf(token string) string { return token[:max(strings.LastIndexByte(token, '.'), 0)] }

func digest(token string) []byte { return vault.Digest("caddy-sso openid token 1", token) }

// shown reports whether a token is the one of the digest.
func (p *Provider) shown(token string, digest []byte) bool {
	return p.checks.secret.Run(&shown{token, digest}) == nil
}

// shown is a token, or the part of one, beside the digest of the genuine one.
type shown struct {
	token  string
	digest []byte
}

func tokenSecret(s *shown) error {
	if !hmac.Equal(digest(s.token), s.digest) {
		return errTokenOver
	}
	return nil
}

// recordName returns the name of a token's grant. The same client may be known to another
// provider of this gateway.
func (p *Provider) recordName(token string) string {
	id, _, _ := strings.Cut(token, ".")
	return p.issuer() + " " + id
}

// find returns the grant of a token, or store.ErrNotFound.
func (p *Provider) find(ctx context.Context, token, kind string) (*grant, error) {
	b, err := p.bound()
	if err != nil {
		return nil, err
	}
	if id, _ := tokenParts(token, kind); id == "" {
		return nil, note(store.ErrNotFound, "", "token form", "what came does not look like "+tokenKinds[kind]+" of this provider")
	}
	rec, err := b.Records.Get(ctx, kindGrant, p.recordName(token))
	switch {
	case errors.Is(err, vault.ErrRecord): // the secret was changed: the app has the person sign in again
		return nil, note(store.ErrNotFound, "", "token sealed", "the secret of the store does not open its record: the secret was changed")
	case errors.Is(err, store.ErrNotFound):
		return nil, note(err, "", "token known", tokenKinds[kind]+" that this provider does not know (any more): "+
			"it is too old (a code lasts 60 seconds), was revoked or ended by a second use, or is of another provider or store")
	case err != nil:
		return nil, err
	}
	return readGrant(rec)
}

func readGrant(rec *vault.Record) (*grant, error) {
	var g grant
	if err := json.Unmarshal(rec.Value, &g); err != nil || g.Subject == "" {
		return nil, fmt.Errorf("reading a grant: %w", vault.ErrRecord)
	}
	return &g, nil
}

// end deletes the grant of a token, so that all its tokens end.
func (p *Provider) end(ctx context.Context, token string) error {
	b, err := p.bound()
	if err != nil {
		return err
	}
	_, err = b.Records.Take(context.WithoutCancel(ctx), kindGrant, p.recordName(token))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// A holder presents a valid access token, or a refresh token at introspection.
type holder struct {
	grant  *grant
	access *access // nil: it is a refresh token
	client *client
	person *Person
}

// hold returns the grant and the person behind a token. The error is invalid_token if it
// does not count any more; others are faults.
func (p *Provider) hold(ctx context.Context, token string) (*holder, error) {
	kind := kindAccess
	if id, _ := tokenParts(token, kindRefresh); id != "" {
		kind = kindRefresh
	}
	g, err := p.find(ctx, token, kind)
	if errors.Is(err, store.ErrNotFound) {
		return nil, toldAs(errTokenOver, err)
	}
	if err != nil {
		return nil, err
	}
	h := &holder{grant: g, client: p.clients[g.Client]}
	if h.client == nil {
		return nil, note(errTokenOver, "", "token client", "the client that got it is none of `op` any more")
	}
	for i := range g.Access {
		if p.shown(token, g.Access[i].Digest) {
			h.access = &g.Access[i]
		}
	}
	if h.access == nil && !p.shown(token, g.Refresh) {
		return nil, note(errTokenOver, g.Client, "token genuine", notGenuine)
	}
	if err := p.checks.access.Run(h); err != nil {
		return nil, h.client.of(err)
	}
	h.person, err = p.personOf(ctx, g)
	return h, h.client.of(err)
}

const tokenOver = "the token is unknown, expired or revoked"

// notGenuine is a cause for the log.
const notGenuine = "it has the first part of a genuine one, and not the rest: it was guessed, changed or has been replaced"

// errDenied is errTokenOver of a person whom the client's rules have come to refuse.
var errTokenOver, errDenied = invalidToken(tokenOver), invalidToken(tokenOver)

// accessExpiry: RFC 6750 §3.1.
func accessExpiry(h *holder) error {
	if h.access != nil && !time.Now().Before(h.access.Expires) {
		return errTokenOver
	}
	return nil
}

// heldRefresh: the configuration may have changed.
func heldRefresh(h *holder) error {
	if h.access == nil && !h.client.Refresh {
		return errTokenOver
	}
	return nil
}

// personOf returns the person of a grant. The error is errTokenOver if the login is over,
// errDenied, or unavailable: another node may accept the login.
func (p *Provider) personOf(ctx context.Context, g *grant) (*Person, error) {
	person, err := p.people.Person(ctx, g.Client, g.Login)
	switch {
	case denied(err):
		return nil, note(errDenied, g.Client, "person admitted", err.Error())
	case errors.Is(err, ErrNotHere):
		return nil, note(unavailable, g.Client, "login here", err.Error())
	case errors.Is(err, ErrNoLogin):
		return nil, note(errTokenOver, g.Client, "login alive", err.Error())
	}
	return person, err
}

// denied reports whether the client's rules refuse a person. A refusal may be about a fault,
// too.
func denied(err error) bool {
	refused, ok := errors.AsType[*refusal.Error](err)
	return ok && refused.Code.Meaning().Status < http.StatusInternalServerError
}
