package oidcrp

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
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

// candidate is a JWK that checklist.key judge. public is nil for the checks that
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
	keys   *fetch.Document[[]key]
	checks *checklist
}

// VerifySignature implements oidc.KeySet. Only the signature is judged, and
// only compact serialisation is read.
func (k *keySet) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	jws, err := readSigned(raw)
	if err != nil {
		return nil, refusal.New(refusal.OIDCTokenMalformed, err)
	}
	keys, err := k.keys.Current(ctx)
	if err != nil {
		return nil, err
	}
	payload, tried := k.verify(jws, keys)
	if payload != nil {
		return payload, nil
	}
	// The provider may have new keys, also under the old kid.
	keys, err = k.keys.Renew(ctx)
	if err != nil && tried == 0 {
		return nil, err
	}
	if payload, tried = k.verify(jws, keys); payload != nil {
		k.keys.RenewHelped()
		return payload, nil
	}
	if len(keys) == 0 {
		return nil, unavailable("verifying the signature: %w", errors.New("the provider publishes no usable signing key"))
	}
	return nil, refusal.New(refusal.OIDCSignature, fmt.Errorf(
		"verifying the signature: %d of the provider's %d signing keys were tried for kid %s and alg %s, none verifies it",
		tried, len(keys), quoted(jws.kid), quoted(string(jws.alg))))
}

// verify returns the payload if one of keys verifies it, and how many were tried.
// More than maxTries fit only a token that names none of many keys.
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

// keyKID lets a kid pick. Without one, every key of the algorithm's type may
// verify the token.
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
func (p *Provider) parseKeys(doc []byte) ([]key, error) {
	list, err := p.splitKeys(doc)
	if err != nil {
		return nil, unavailable("reading the keys: %w", err)
	}
	var keys []key
	for i, jwk := range list {
		k, err := p.parseKey(jwk)
		if err != nil {
			p.logger.Debug("leaving out a key of the provider", zap.Int("position", i), zap.Error(err))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		p.logger.Warn("the provider publishes no usable signing key: nobody can sign in there", zap.Int("keys", len(list)))
	}
	return keys, nil
}

// A keyDocument is a JWK Set that the checks judge before any key of it.
type keyDocument struct {
	*document
	keys []json.RawMessage
}

func keySetUnique(d *keyDocument) error {
	if d.outer {
		return fmt.Errorf("the name %s stands twice", quoted(d.duplicate))
	}
	return nil
}

func keyCount(d *keyDocument) error {
	if len(d.keys) > maxKeys {
		return fmt.Errorf("more than %d", maxKeys)
	}
	return nil
}

// splitKeys takes a JWK Set apart without judging what is in a key.
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
		return nil, errors.New("there is no array named keys")
	}
	return list, p.checks.keySet.Run(&keyDocument{whole, list})
}

func (p *Provider) parseKey(data []byte) (key, error) {
	obj, err := p.checks.object(data)
	if err != nil {
		return key{}, fmt.Errorf("reading a key: %w", err)
	}
	jwk := &candidate{object: obj.dropNulls()}
	if err := p.checks.jwk.Run(jwk); err != nil {
		return key{}, err
	}
	public, err := publicKey(obj)
	if err != nil {
		return key{}, err
	}
	jwk.public = public
	if err := p.checks.publicKey.Run(jwk); err != nil {
		return key{}, err
	}
	return key{kid: obj.str("kid"), alg: obj.str("alg"), public: public}, nil
}

// unpadded makes base64url of base64, as some providers write their numbers. No
// other member has these letters.
var unpadded = strings.NewReplacer("+", "-", "/", "_")

// publicKey has go-jose read the members that make the key and no others: a
// broken x5c beside them does no harm, since nothing here believes it.
func publicKey(obj object) (any, error) {
	switch obj.str("kty") {
	case "RSA", "EC", "OKP":
	default:
		return nil, fmt.Errorf("reading a key: the type %s is not ours", quoted(obj.str("kty")))
	}
	bare := map[string]any{}
	for _, name := range []string{"kty", "n", "e", "crv", "x", "y"} {
		if number, ok := obj[name].(string); ok {
			bare[name] = unpadded.Replace(strings.TrimRight(number, "="))
		}
	}
	data, err := json.Marshal(bare)
	if err != nil {
		return nil, errors.New("reading a key: is malformed")
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(data); err != nil || !jwk.Valid() {
		return nil, errors.New("reading a key: its numbers make no key")
	}
	return jwk.Key, nil
}

func keyTypes(k *candidate) error { return k.checkKinds(keyKinds) }

func keyUse(k *candidate) error {
	if k.has("use") && k.str("use") != "sig" {
		return fmt.Errorf("reading a key: use is %s", quoted(k.str("use")))
	}
	return nil
}

func keyOps(k *candidate) error {
	if !k.has("key_ops") {
		return nil
	}
	for _, op := range k.strs("key_ops") {
		if op == "verify" {
			return nil
		}
	}
	return errors.New("reading a key: key_ops lacks verify")
}

func keyPrivate(k *candidate) error {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if k.has(name) {
			return fmt.Errorf("reading a key: it is published with its private part %s", name)
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
		return fmt.Errorf("reading a key: RSA with %d bits", bits)
	}
	return nil
}
