package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Set names keys for one purpose and one algorithm. Each is a record of its own, of that
// name under vault.KindKeys, and rotates separately.
type Set string

// Assertion is the set of New.
const Assertion Set = "assertion ES256"

// The sets of NewSet are those of the OpenID provider. Its tokens never verify by the keys
// of the assertion.
const (
	OpenIDRS256 Set = "openid RS256"
	OpenIDES256 Set = "openid ES256"
)

// algorithm is the last word of the name (RFC 7518 §3.1).
func (s Set) algorithm() jose.SignatureAlgorithm {
	if strings.HasSuffix(string(s), " RS256") {
		return jose.RS256
	}
	return jose.ES256
}

// rsaBits is sufficient for keys that are replaced in two months (NIST SP 800-57), and fast
// enough to sign each token with.
const rsaBits = 2048

// recordVersion is the version that this release writes, and the newest that it
// reads.
const recordVersion = 1

// record is the stored form, which is sealed: private keys as JWK (RFC 7517).
type record struct {
	Version int `json:"v"`
	// Rotated is when Current began to sign and Next was made.
	Rotated  time.Time        `json:"rotated"`
	Previous *jose.JSONWebKey `json:"previous,omitempty"`
	Current  *jose.JSONWebKey `json:"current"`
	Next     *jose.JSONWebKey `json:"next"`
}

// keySet is a parsed record. It is immutable.
type keySet struct {
	record record
	signer jose.Signer // of JWTs of the type JWT
	jwks   []byte
}

// next returns the record after a rotation, or nil if none is due. Without a current one
// it returns the first.
func (s Set) next(current *keySet) ([]byte, error) {
	now := time.Now()
	if current == nil {
		first, err := s.newKey()
		if err != nil {
			return nil, err
		}
		return s.newRecord(now, nil, first)
	}
	if now.Sub(current.record.Rotated) < rotateEvery {
		return nil, nil
	}
	return s.newRecord(now, current.record.Current, current.record.Next)
}

func (s Set) newRecord(now time.Time, previous, current *jose.JSONWebKey) ([]byte, error) {
	next, err := s.newKey()
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(record{
		Version: recordVersion, Rotated: now.UTC().Truncate(time.Second),
		Previous: previous, Current: current, Next: next,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the signing keys: %w", err)
	}
	return value, nil
}

func (s Set) newKey() (*jose.JSONWebKey, error) {
	private, err := s.newPrivate()
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	key := &jose.JSONWebKey{Key: private, Algorithm: string(s.algorithm()), Use: "sig"}
	key.KeyID, err = thumbprint(key)
	return key, err
}

func (s Set) newPrivate() (crypto.Signer, error) {
	if s.algorithm() == jose.RS256 {
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func thumbprint(key *jose.JSONWebKey) (string, error) {
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("naming a signing key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// read parses a stored record. Its errors never contain any of it.
func (s Set) read(value []byte) (*keySet, error) {
	var format struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(value, &format); err != nil {
		return nil, errors.New("record is no JSON object with a version")
	}
	if format.Version != recordVersion {
		return nil, fmt.Errorf("record has version %d, this release knows %d", format.Version, recordVersion)
	}
	set := &keySet{}
	if err := json.Unmarshal(value, &set.record); err != nil {
		return nil, errors.New("record is not of the form of its version")
	}
	public := jose.JSONWebKeySet{}
	for _, key := range []*jose.JSONWebKey{set.record.Current, set.record.Next, set.record.Previous} {
		if key == nil && set.record.Current != nil && set.record.Next != nil {
			continue // no previous before the first rotation
		}
		if err := s.checkKey(key); err != nil {
			return nil, err
		}
		public.Keys = append(public.Keys, key.Public())
	}
	var err error
	if set.jwks, err = json.Marshal(public); err != nil {
		return nil, fmt.Errorf("encoding the JWK Set: %w", err)
	}
	set.signer, err = set.signerFor("JWT")
	return set, err
}

// signerFor signs JWTs of a type (RFC 7519 §5.1).
func (k *keySet) signerFor(typ jose.ContentType) (jose.Signer, error) {
	key := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.record.Current.Algorithm), Key: k.record.Current}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		return nil, fmt.Errorf("preparing the signer: %w", err)
	}
	return signer, nil
}

func (s Set) checkKey(key *jose.JSONWebKey) error {
	if key == nil {
		return errors.New("record lacks the current or the next key")
	}
	var err error
	switch private := key.Key.(type) {
	case *ecdsa.PrivateKey:
		err = checkECDSA(private)
	case *rsa.PrivateKey:
		err = private.Validate()
	}
	if !s.fits(key) {
		err = fmt.Errorf("it is no private key for %s", s.algorithm())
	}
	if err != nil {
		return fmt.Errorf("record holds a key that can't be used: %w", err)
	}
	if kid, err := thumbprint(key); err != nil || kid != key.KeyID {
		return errors.New("record holds a key whose kid is not its thumbprint")
	}
	return nil
}

func (s Set) fits(key *jose.JSONWebKey) bool {
	if key.Algorithm != string(s.algorithm()) || key.Use != "sig" {
		return false
	}
	switch private := key.Key.(type) {
	case *ecdsa.PrivateKey:
		return s.algorithm() == jose.ES256 && private.Curve == elliptic.P256()
	case *rsa.PrivateKey:
		return s.algorithm() == jose.RS256 && private.N.BitLen() >= rsaBits
	}
	return false
}

// checkECDSA: if the private half does not belong to the public one, nobody can verify
// its signatures.
func checkECDSA(private *ecdsa.PrivateKey) error {
	scalar, err := private.Bytes()
	if err != nil {
		return errors.New("it is out of range")
	}
	if p, err := ecdsa.ParseRawPrivateKey(private.Curve, scalar); err != nil || !p.PublicKey.Equal(&private.PublicKey) {
		return errors.New("its private half is not its public key's")
	}
	return nil
}
