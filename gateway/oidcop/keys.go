package oidcop

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
)

const (
	maxKeysDocument = 256 << 10 // bytes
	maxClientKeys   = 16
	minRSABits      = 2048 // RFC 7518 §3.3
)

// clientKeys are the public keys of a client: given, or published by it.
type clientKeys struct {
	given     []jose.JSONWebKey
	published *fetch.Document[[]jose.JSONWebKey]
}

func (p *Provider) newClientKeys(c Client) (*clientKeys, error) {
	if c.KeysURL == "" {
		given, err := parseKeys(c.Keys)
		return &clientKeys{given: given}, err
	}
	if err := p.outbound.CheckURL(c.KeysURL); err != nil {
		return nil, fmt.Errorf("the URL of its keys: %w", err)
	}
	return &clientKeys{published: &fetch.Document[[]jose.JSONWebKey]{
		What: "keys of a client", Name: c.ID,
		Fetch: func(ctx context.Context) ([]byte, error) { return p.fetchKeys(ctx, c.KeysURL) },
		Parse: parseKeys, Logger: p.logger,
	}}, nil
}

func (p *Provider) fetchKeys(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := p.outbound.Do(req, maxKeysDocument)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, fetch.Unavailable("fetching the keys of a client: status %d", resp.Status)
	}
	return resp.Body, nil
}

// parseKeys reads a JWK Set (RFC 7517 §5), without keys that can't be used. If none is left,
// that is an error.
func parseKeys(doc []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(doc, &set); err != nil {
		return nil, errors.New("reading the keys of a client: expected a JWK Set (RFC 7517 §5)")
	}
	var usable []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && verifies(&key) {
			usable = append(usable, key)
		}
	}
	if len(usable) == 0 || len(usable) > maxClientKeys {
		return nil, fmt.Errorf("reading the keys of a client: %d of %d can be used, expected 1 to %d public keys: RSA of %d to %d bits, EC or OKP, without use or with use sig",
			len(usable), len(set.Keys), maxClientKeys, minRSABits, jose.MaxRSAModulusBits)
	}
	return usable, nil
}

// verifies reports whether a key is a public one that verifies signatures.
func verifies(key *jose.JSONWebKey) bool {
	if !key.IsPublic() || !key.Valid() || key.Use != "" && key.Use != "sig" {
		return false
	}
	public, isRSA := key.Key.(*rsa.PublicKey)
	return !isRSA || public.N.BitLen() >= minRSABits
}

// verify checks the signature of an assertion.
func (k *clientKeys) verify(ctx context.Context, jws *jose.JSONWebSignature) error {
	if k.published == nil {
		return verifyBy(jws, k.given)
	}
	keys, err := k.published.Current(ctx)
	if err != nil {
		return err
	}
	if verifyBy(jws, keys) == nil {
		return nil
	}
	// The client may have a new key.
	if keys, err = k.published.Renew(ctx); err != nil {
		return err
	}
	err = verifyBy(jws, keys)
	if err == nil {
		k.published.RenewHelped()
	}
	return err
}

// verifyBy tries the keys that the header's kid and alg fit. A key in the header does not
// count.
func verifyBy(jws *jose.JSONWebSignature, keys []jose.JSONWebKey) error {
	header := jws.Signatures[0].Header
	for _, key := range keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if _, err := jws.Verify(key.Key); err == nil {
			return nil
		}
	}
	return errClient
}
