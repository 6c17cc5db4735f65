package oidcrp

import (
	"context"
	"crypto"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// skew is how far the provider's clock may differ from ours.
const skew = time.Minute

// backdated is how far a provider may set iat back. Entra ID does so by five minutes, for
// clients whose clocks are slow.
const backdated = 5 * time.Minute

// maxSubject bounds sub and sid, in bytes (OIDC Core §2).
const maxSubject = 255

// An idToken is an ID token for checklist.idToken, with what it is compared
// with. Its signature is verified.
type idToken struct {
	claims   object
	token    *token
	flow     *flow
	code     string // that it was got for
	access   string // the access token that came with it
	issuer   string
	clientID string
	now      time.Time
	library  func() error
}

// idTokenKinds are the claims that decide. Those that only describe a person are checked
// by profile.describe.
var idTokenKinds = []member{
	{"iss", aString},
	{"sub", aString},
	{"aud", someText},
	{"azp", aString},
	{"exp", aDate},
	{"iat", aDate},
	{"nbf", aDate},
	{"nonce", aString},
	{"at_hash", aString},
	{"c_hash", aString},
}

// verifyIDToken verifies the ID token in full (OIDC Core §3.1.3.7) and returns
// its claims.
func (p *Provider) verifyIDToken(ctx context.Context, md *metadata, code string, got *tokens, f *flow) (object, error) {
	t, err := p.parseToken(got.id, md.algs)
	if err != nil {
		return nil, err
	}
	if err := p.verifySignature(ctx, t); err != nil {
		return nil, err
	}
	claims, err := p.claims(t)
	if err != nil {
		return nil, err
	}
	id := &idToken{
		claims: claims, token: t, flow: f, code: code, access: got.access,
		issuer: p.config.Issuer, clientID: p.config.ClientID, now: time.Now(),
		library: func() error { return p.secondReading(ctx, md, t, claims) },
	}
	if err := p.checks.idToken.Run(id); err != nil {
		return nil, err
	}
	return claims, nil
}

// verifySignature checks t's signature. The check is given a function, so that a test can
// drop it without changing the other checks.
func (p *Provider) verifySignature(ctx context.Context, t *token) error {
	return p.checks.signature.Run(func() error {
		_, err := p.keys.VerifySignature(ctx, t.raw)
		return err
	})
}

func signature(verify func() error) error { return verify() }

// secondReading has go-oidc verify the token as well. It is laxer than the
// checks before it (no azp, nonce or iat, names without case), but its mistakes
// are not ours.
//
// go-oidc is given the token without header parameters and claims that are unused here:
// it would refuse a malformed jwk, or incomplete references to claims elsewhere. The
// signature that it verifies is that of the whole token.
func (p *Provider) secondReading(ctx context.Context, md *metadata, t *token, claims object) error {
	header := maps.Clone(t.header)
	for _, name := range []string{"jwk", "x5c", "nonce"} {
		delete(header, name)
	}
	head, err := json.Marshal(header)
	if err != nil {
		return errors.New("reading the ID token a second time: its header can't be written")
	}
	payload := t.payload
	if rest := withoutSources(claims); len(rest) < len(claims) {
		if payload, err = json.Marshal(rest); err != nil {
			return errors.New("reading the ID token a second time: its claims can't be written")
		}
	}
	verifier := oidc.NewVerifier(p.config.Issuer, keysFor{p.keys, t.raw, payload}, &oidc.Config{
		ClientID:             p.config.ClientID,
		SupportedSigningAlgs: md.algs,
		Now:                  func() time.Time { return time.Now().Add(-skew) },
	})
	encode := base64.RawURLEncoding.EncodeToString
	_, signature, _ := strings.Cut(t.raw[strings.IndexByte(t.raw, '.')+1:], ".")
	if _, err := verifier.Verify(ctx, encode(head)+"."+encode(payload)+"."+signature); err != nil {
		return errors.New("reading the ID token a second time: the library go-oidc refuses it, though no check here did; please report that") // its error may quote claims
	}
	return nil
}

// withoutSources returns claims without the references to claims elsewhere (OIDC Core
// §5.6.2), in any case of their names, as go-oidc reads them.
func withoutSources(claims object) object {
	rest := maps.Clone(claims)
	maps.DeleteFunc(rest, func(name string, _ any) bool {
		return strings.EqualFold(name, "_claim_names") || strings.EqualFold(name, "_claim_sources")
	})
	return rest
}

// keysFor verifies the signature of raw, whatever token it is given, and returns payload.
type keysFor struct {
	*keySet
	raw     string
	payload []byte
}

func (k keysFor) VerifySignature(ctx context.Context, _ string) ([]byte, error) {
	if _, err := k.keySet.VerifySignature(ctx, k.raw); err != nil {
		return nil, err
	}
	return k.payload, nil
}

// idTypes: auth_time decides where somebody asked for it.
func idTypes(t *idToken) error {
	kinds := idTokenKinds
	if t.flow.asked() {
		kinds = append(slices.Clone(kinds), member{"auth_time", aDate})
	}
	return t.claims.checkKinds(kinds)
}

func idIssuer(t *idToken) error {
	if got := t.claims.str("iss"); got != t.issuer {
		return fmt.Errorf("checking iss: is %s instead of %q", wording.Quoted(got), t.issuer)
	}
	return nil
}

func idAudience(t *idToken) error {
	if !slices.Contains(t.claims.strs("aud"), t.clientID) {
		return fmt.Errorf("checking aud: it is %s, and the client_id is %q", wording.List(t.claims.strs("aud")), t.clientID)
	}
	return nil
}

// idAuthorizedParty: azp must be ours if it is there, and it must be there if the token
// has several audiences (OIDC Core §3.1.3.7 numbers 4 and 5).
func idAuthorizedParty(t *idToken) error {
	switch {
	case t.claims.has("azp") && t.claims.str("azp") != t.clientID:
		return fmt.Errorf("checking azp: is %s instead of %q", wording.Quoted(t.claims.str("azp")), t.clientID)
	case !t.claims.has("azp") && len(provider.Unique(t.claims.strs("aud"))) > 1:
		return fmt.Errorf("checking azp: is missing, and aud names several: %s", wording.List(t.claims.strs("aud")))
	}
	return nil
}

func idExpiry(t *idToken) error {
	exp, ok := t.claims.date("exp")
	if !ok || !t.now.Before(exp.Add(skew)) {
		return fmt.Errorf("checking exp: %s, now it is %s", provider.Moment(exp), provider.Moment(t.now))
	}
	return nil
}

// idIssuedAt bounds iat on both sides: the token answers a request of ours, so it can't be
// older than the login (see backdated).
func idIssuedAt(t *idToken) error {
	iat, ok := t.claims.date("iat")
	if !ok || iat.After(t.now.Add(skew)) || iat.Before(t.flow.begun().Add(-skew-backdated)) {
		return fmt.Errorf("checking iat: %s, the login began at %s and now it is %s",
			provider.Moment(iat), provider.Moment(t.flow.begun()), provider.Moment(t.now))
	}
	return nil
}

func idNotBefore(t *idToken) error {
	if nbf, ok := t.claims.date("nbf"); ok && nbf.After(t.now.Add(skew)) {
		return fmt.Errorf("checking nbf: %s, now it is %s", provider.Moment(nbf), provider.Moment(t.now))
	}
	return nil
}

func idNonce(t *idToken) error {
	if subtle.ConstantTimeCompare([]byte(t.claims.str("nonce")), []byte(t.flow.Nonce)) != 1 {
		return errors.New("checking nonce: is missing, or not the one that was sent")
	}
	return nil
}

func idSubject(t *idToken) error {
	sub := t.claims.str("sub")
	if strings.TrimSpace(sub) == "" || len(sub) > maxSubject || strings.ContainsFunc(sub, unicode.IsControl) {
		return fmt.Errorf("checking sub: is missing or blank, longer than %d bytes, or has control characters", maxSubject)
	}
	return nil
}

// idAccessHash binds the access token to the ID token if the provider sends at_hash (OIDC
// Core §3.1.3.8).
func idAccessHash(t *idToken) error {
	if !t.claims.has("at_hash") {
		return nil
	}
	if t.claims.str("at_hash") != halfHash(t.token.header.str("alg"), t.access) {
		return errors.New("checking at_hash: it is that of another access token than the one that came")
	}
	return nil
}

// idCodeHash binds the code to the ID token if the provider sends c_hash (OIDC Core
// §3.3.2.10). In this flow few do.
func idCodeHash(t *idToken) error {
	if t.claims.has("c_hash") && t.claims.str("c_hash") != halfHash(t.token.header.str("alg"), t.code) {
		return errors.New("checking c_hash: it is that of another code than the one that came")
	}
	return nil
}

// halfHash is the left half of the hash that belongs to alg by its number, in base64url.
// EdDSA with Ed25519 has SHA-512.
func halfHash(alg, s string) string {
	hash := crypto.SHA512
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		if strings.HasSuffix(alg, strconv.Itoa(8*h.Size())) {
			hash = h
		}
	}
	sum := digest(hash, []byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// idAuthTime checks auth_time. After ForceLogin it is required (OIDC Core §3.1.2.1,
// max_age) and can't lie before the request. After OtherPerson it can't either, but may be
// missing. It never lies in the future.
func idAuthTime(t *idToken) error {
	at, ok := t.claims.date("auth_time")
	if t.flow.Forced && !ok {
		return fmt.Errorf("checking auth_time: it is missing: %w", provider.ErrUnsupported)
	}
	tooOld := t.flow.asked() && ok && at.Before(t.flow.begun().Add(-skew))
	if tooOld || ok && at.After(t.now.Add(skew)) {
		return fmt.Errorf("checking auth_time: %s, the login began at %s and now it is %s",
			provider.Moment(at), provider.Moment(t.flow.begun()), provider.Moment(t.now))
	}
	return nil
}

func idLibrary(t *idToken) error { return t.library() }
