package oidcrp

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// Bounds on the provider's keys.
const (
	maxKeys    = 100
	maxTries   = 16   // keys of those, for one token: with P-521 that is 20 ms
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 8192
)

// algs are the signature algorithms that we take (RFC 7518 §3.1, RFC 8037
// §3.1): never none, never a shared secret.
var algs = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512,
	jose.EdDSA,
}

// A key is a public signing key of the provider (RFC 7517 §4).
type key struct {
	kid, alg string // empty: not said
	public   any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// A keyRing is a JWK Set as it was read.
type keyRing struct {
	usable []key
	left   []string // those that can't be used, and why
}

// names shows the keys that can be used.
func (r keyRing) names() string {
	var names []string
	for _, k := range r.usable {
		names = append(names, cmp.Or(k.kid, "no kid"))
	}
	return wording.List(names)
}

// fault says what keys there are if none can be used.
func (r keyRing) fault() error {
	const remedy = "have it sign with RSA of 2048 bits or more, or with an elliptic curve, and publish that key (kty RSA, EC or OKP, use sig)"
	if len(r.left) == 0 {
		return errors.New("the provider publishes no key at its jwks_uri; " + remedy)
	}
	return fmt.Errorf("the provider publishes no usable signing key; of %d keys that came: %s; %s", len(r.left), strings.Join(r.left[:min(len(r.left), maxShown)], "; "), remedy)
}

// maxShown is how many unusable keys a message names.
const maxShown = 5

// candidate is a JWK, for checklist.jwk and checklist.publicKey. public is nil for the checks that
// run before it is read.
type candidate struct {
	object
	public any
}

var keyKinds = []member{
	{"kty", aString},
	{"use", aString},
	{"key_ops", texts},
	{"alg", aString},
	{"kid", aString},
	{"crv", aString},
	{"n", aString},
	{"e", aString},
	{"x", aString},
	{"y", aString},
}

// keySet verifies signatures by the provider's published keys. It implements
// oidc.KeySet of go-oidc, whose RemoteKeySet asks the provider again for every
// token with an unknown kid.
type keySet struct {
	keys   *fetch.Document[keyRing]
	checks *checklist
}

// VerifySignature implements oidc.KeySet. Only the signature is verified, and
// only compact serialisation is read.
func (k *keySet) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	jws, err := readSigned(raw)
	if err != nil {
		return nil, refusal.New(refusal.OIDCTokenMalformed, err)
	}
	ring, err := k.keys.Current(ctx)
	if err != nil {
		return nil, err
	}
	payload, tried := k.verify(jws, ring.usable)
	if payload != nil {
		return payload, nil
	}
	// The provider may have new keys, also under the old kid.
	ring, err = k.keys.Renew(ctx)
	if err != nil && tried == 0 {
		return nil, err
	}
	if payload, tried = k.verify(jws, ring.usable); payload != nil {
		k.keys.RenewHelped()
		return payload, nil
	}
	if len(ring.usable) == 0 {
		return nil, fetch.Unavailable("verifying the signature: %w", ring.fault())
	}
	why := "no key fits both"
	if tried > 0 {
		why = fmt.Sprintf("the signature is by none of the keys that fit both (%d)", tried)
	}
	return nil, refusal.New(refusal.OIDCSignature, fmt.Errorf(
		"verifying the signature: the token has kid %s and alg %s, the provider publishes the keys %s: %s",
		wording.Quoted(jws.kid), wording.Quoted(string(jws.alg)), ring.names(), why))
}

// verify returns the payload if one of keys verifies it, and how many were tried. If the
// token names no key, it tries the first maxTries that fit.
func (k *keySet) verify(jws *signed, keys []key) (payload []byte, tried int) {
	for _, have := range keys {
		if !have.ofType(jws.alg) || k.checks.fit.Run(&pairing{have, jws.kid, jws.alg}) != nil {
			continue
		}
		if tried == maxTries {
			break
		}
		tried++
		if jws.by(have.public) {
			return jws.payload, tried
		}
	}
	return nil, tried
}

// A pairing is a key with the header of a token that it is to verify.
type pairing struct {
	key key
	kid string
	alg jose.SignatureAlgorithm
}

// keyKID: a kid picks the key. Without one, every key of the algorithm's type may verify
// the token.
func keyKID(p *pairing) error {
	if p.kid != "" && p.kid != p.key.kid {
		return errors.New("choosing a key: the kid is another's")
	}
	return nil
}

func keyAlgorithm(p *pairing) error {
	if p.key.alg != "" && p.key.alg != string(p.alg) {
		return errors.New("choosing a key: it is for another alg")
	}
	return nil
}

// ofType reports whether k is of alg's type.
func (k key) ofType(alg jose.SignatureAlgorithm) bool {
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return alg[0] == 'R' || alg[0] == 'P'
	case *ecdsa.PublicKey:
		return alg == jose.ES256 && public.Curve == elliptic.P256() ||
			alg == jose.ES384 && public.Curve == elliptic.P384() ||
			alg == jose.ES512 && public.Curve == elliptic.P521()
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}

// parseKeys reads a JWK Set (RFC 7517 §5). A key that is broken, of an unknown
// type or no signing key is left out; the others stand. A set without any usable
// key replaces one that has some: the provider has withdrawn them.
func (p *Provider) parseKeys(doc []byte) (keyRing, error) {
	list, err := p.splitKeys(doc)
	if err != nil {
		return keyRing{}, fetch.Unavailable("reading the keys: %w; what the provider's jwks_uri names is no JWK Set: have it corrected there", err)
	}
	var ring keyRing
	for i, jwk := range list {
		k, err := p.parseKey(jwk)
		if err != nil {
			p.logger.Debug("leaving out a key of the provider", zap.Int("position", i), zap.Error(err))
			ring.left = append(ring.left, err.Error())
			continue
		}
		ring.usable = append(ring.usable, k)
	}
	if len(ring.usable) == 0 {
		p.logger.Warn("nobody can sign in at the provider", zap.Error(ring.fault()))
	}
	return ring, nil
}

// A keyDocument is a JWK Set which is checked before any key of it.
type keyDocument struct {
	*document
	keys []json.RawMessage
}

func keySetUnique(d *keyDocument) error {
	if d.outer {
		return fmt.Errorf("has the name %s twice", wording.Quoted(d.duplicate))
	}
	return nil
}

func keyCount(d *keyDocument) error {
	if len(d.keys) > maxKeys {
		return fmt.Errorf("has more than %d keys", maxKeys)
	}
	return nil
}

// splitKeys takes a JWK Set apart without checking what is in a key.
func (p *Provider) splitKeys(doc []byte) ([]json.RawMessage, error) {
	whole, err := p.checks.read(doc)
	if err != nil {
		return nil, err
	}
	var set map[string]json.RawMessage // a map, unlike a struct, has exact names
	if err := json.Unmarshal(doc, &set); err != nil {
		return nil, errors.New("is no JSON object")
	}
	var list []json.RawMessage
	if err := json.Unmarshal(set["keys"], &list); err != nil {
		return nil, errors.New("has no array named keys")
	}
	return list, p.checks.keySet.Run(&keyDocument{whole, list})
}

func (p *Provider) parseKey(data []byte) (key, error) {
	obj, err := p.checks.object(data)
	if err != nil {
		return key{}, fmt.Errorf("one that %w", err)
	}
	jwk := &candidate{object: obj.dropNulls()}
	err = p.checks.jwk.Run(jwk)
	if err == nil {
		jwk.public, err = publicKey(obj)
	}
	if err == nil {
		err = p.checks.publicKey.Run(jwk)
	}
	if err != nil {
		return key{}, fmt.Errorf("kid %s (kty %s, alg %s): %w", wording.Quoted(obj.str("kid")), wording.Quoted(obj.str("kty")), wording.Quoted(obj.str("alg")), err)
	}
	return key{kid: obj.str("kid"), alg: obj.str("alg"), public: jwk.public}, nil
}

// unpadded turns base64, in which some providers write their numbers, into base64url.
var unpadded = strings.NewReplacer("+", "-", "/", "_")

// publicKey has go-jose read the members that make the key and no others: a broken x5c
// beside them is ignored.
func publicKey(obj object) (any, error) {
	switch obj.str("kty") {
	case "RSA", "EC", "OKP":
	default:
		return nil, errors.New("the kty is none of RSA, EC and OKP")
	}
	bare := map[string]any{}
	for _, name := range []string{"kty", "n", "e", "crv", "x", "y"} {
		if number, ok := obj[name].(string); ok {
			bare[name] = unpadded.Replace(strings.TrimRight(number, "="))
		}
	}
	data, err := json.Marshal(bare)
	if err != nil {
		return nil, errors.New("it is malformed")
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(data); err != nil || !jwk.Valid() {
		return nil, errors.New("its numbers make no key")
	}
	return jwk.Key, nil
}

func keyTypes(k *candidate) error { return k.checkKinds(keyKinds) }

func keyUse(k *candidate) error {
	if k.has("use") && k.str("use") != "sig" {
		return fmt.Errorf("its use is %s, not sig", wording.Quoted(k.str("use")))
	}
	return nil
}

func keyOps(k *candidate) error {
	if k.has("key_ops") && !slices.Contains(k.strs("key_ops"), "verify") {
		return errors.New("its key_ops lack verify")
	}
	return nil
}

func keyPrivate(k *candidate) error {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if k.has(name) {
			return fmt.Errorf("it is published with its private part %s, so that anybody can sign; replace it", name)
		}
	}
	return nil
}

func keySize(k *candidate) error {
	public, ok := k.public.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return fmt.Errorf("it has %d bits: expected %d to %d", bits, minRSABits, maxRSABits)
	}
	return nil
}
