package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// algorithm of these keys. Keys of another algorithm need another record, which
// rotates separately.
const algorithm = jose.ES256

// recordName is the name of the record under vault.KindKeys.
const recordName = "assertion " + string(algorithm)

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
	signer jose.Signer
	jwks   []byte
}

// nextRecord returns the record after a rotation, or nil if none is due. Without a
// set it returns the first record.
func nextRecord(set *keySet) ([]byte, error) {
	now := time.Now()
	if set == nil {
		current, err := newKey()
		if err != nil {
			return nil, err
		}
		return newRecord(now, nil, current)
	}
	if now.Sub(set.record.Rotated) < rotateEvery {
		return nil, nil
	}
	return newRecord(now, set.record.Current, set.record.Next)
}

func newRecord(now time.Time, previous, current *jose.JSONWebKey) ([]byte, error) {
	next, err := newKey()
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

func newKey() (*jose.JSONWebKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	key := &jose.JSONWebKey{Key: private, Algorithm: string(algorithm), Use: "sig"}
	key.KeyID, err = thumbprint(key)
	return key, err
}

func thumbprint(key *jose.JSONWebKey) (string, error) {
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("naming a signing key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// readKeySet parses a stored record. Its errors never contain any of it.
func readKeySet(value []byte) (*keySet, error) {
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
		if err := checkKey(key); err != nil {
			return nil, err
		}
		public.Keys = append(public.Keys, key.Public())
	}
	var err error
	if set.jwks, err = json.Marshal(public); err != nil {
		return nil, fmt.Errorf("encoding the JWK Set: %w", err)
	}
	set.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: set.record.Current}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("preparing the signer: %w", err)
	}
	return set, nil
}

func checkKey(key *jose.JSONWebKey) error {
	if key == nil {
		return errors.New("record lacks the current or the next key")
	}
	private, ok := key.Key.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() || key.Algorithm != string(algorithm) || key.Use != "sig" {
		return fmt.Errorf("record holds a key that is no private key for %s", algorithm)
	}
	// If the private half does not belong to the public one, nobody can verify its
	// signatures.
	scalar, err := private.Bytes()
	if err != nil {
		return errors.New("record holds a private key that is out of range")
	}
	if p, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err != nil || !p.PublicKey.Equal(&private.PublicKey) {
		return errors.New("record holds a private key that is not its public key's")
	}
	if kid, err := thumbprint(key); err != nil || kid != key.KeyID {
		return errors.New("record holds a key whose kid is not its thumbprint")
	}
	return nil
}
