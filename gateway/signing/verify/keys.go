package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxJWKS      = 256 << 10        // bytes of a JWK Set
	minRSA       = 2048             // bits
	fetchTimeout = 10 * time.Second // for one fetch
	refetchAfter = 10 * time.Second // since the last one, also a failed one
	freshFor     = time.Hour        // then a background fetch is tried
	usableFor    = 24 * time.Hour   // then unconfirmed keys are dropped
)

// A key verifies under one algorithm only.
type key struct {
	alg    jose.SignatureAlgorithm
	public any
}

var errUnknownKey = errors.New("signed by no key of the gateway's JWK Set")

// keySource holds the gateway's keys by kid.
type keySource struct {
	url    string // empty: the keys are configured and stay
	name   string // of the URL, without a password
	client *http.Client

	mu      sync.Mutex
	keys    map[string]key
	fetched time.Time     // start of the last successful fetch
	tried   time.Time     // start of the last fetch
	err     error         // of the last fetch
	done    chan struct{} // closed when the fetch under way ends; nil without one
}

// find returns the key with kid. If it is unknown or old, find causes a fetch: at
// most one at a time, and one per refetchAfter.
func (s *keySource) find(ctx context.Context, kid string) (key, error) {
	s.mu.Lock()
	k, known := s.lookup(kid)
	if s.url == "" || known && time.Since(s.fetched) < freshFor {
		s.mu.Unlock()
		return found(k, known)
	}
	if s.done == nil && (s.tried.IsZero() || time.Since(s.tried) >= refetchAfter) {
		s.tried, s.done = time.Now(), make(chan struct{})
		// All waiting callers share the fetch: it must not end with one of them.
		go s.refresh(context.WithoutCancel(ctx), s.tried)
	}
	done := s.done
	s.mu.Unlock()
	if known {
		return k, nil
	}
	if done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return key{}, fmt.Errorf("%w: %w", ErrKeysUnavailable, ctx.Err())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k, known = s.lookup(kid)
	if !known && s.err != nil {
		return key{}, fmt.Errorf("%w: %w", ErrKeysUnavailable, s.err)
	}
	return found(k, known)
}

// lookup returns a key that may still be used. s.mu is held.
func (s *keySource) lookup(kid string) (key, bool) {
	if s.url != "" && time.Since(s.fetched) >= usableFor {
		return key{}, false
	}
	k, ok := s.keys[kid]
	return k, ok
}

func found(k key, known bool) (key, error) {
	if !known {
		return key{}, errUnknownKey
	}
	return k, nil
}

func (s *keySource) refresh(ctx context.Context, began time.Time) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.keys, s.fetched = keys, began
	}
	if s.err = err; err != nil {
		s.err = fmt.Errorf("fetching the JWK Set at %s: %w", s.name, err)
	}
	close(s.done)
	s.done = nil
}

func (s *keySource) fetch(ctx context.Context) (map[string]key, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := s.client.Do(req)
	if fault, ok := errors.AsType[*url.Error](err); ok { // refresh names the URL
		return nil, fault.Err
	}
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxJWKS+1))
	if err != nil {
		return nil, err
	}
	return readKeys(body)
}

// readKeys parses a JWK Set (RFC 7517 §5). It leaves unusable keys out; a set without
// a usable key is an error.
func readKeys(data []byte) (map[string]key, error) {
	if len(data) > maxJWKS {
		return nil, fmt.Errorf("reading the JWK Set: more than %d bytes", maxJWKS)
	}
	o, err := readObject(data)
	if err != nil {
		return nil, fmt.Errorf("reading the JWK Set: %w", err)
	}
	keys := map[string]key{}
	for _, raw := range value[[]json.RawMessage](o, "keys") {
		kid, k, ok := readKey(raw)
		if _, twice := keys[kid]; ok && !twice {
			keys[kid] = k
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("reading the JWK Set: no key in it can be used")
	}
	return keys, nil
}

// readKey accepts a public signing key of sufficient strength with a kid.
func readKey(raw json.RawMessage) (kid string, k key, ok bool) {
	var j jose.JSONWebKey
	if err := json.Unmarshal(raw, &j); err != nil || !j.Valid() || j.KeyID == "" {
		return "", key{}, false
	}
	switch public := j.Key.(type) { // refuses private and symmetric keys
	case *ecdsa.PublicKey:
		k, ok = key{jose.ES256, public}, public.Curve == elliptic.P256()
	case *rsa.PublicKey:
		k, ok = key{jose.RS256, public}, public.N.BitLen() >= minRSA
	}
	ok = ok && slices.Contains([]string{"", "sig"}, j.Use) && slices.Contains([]string{"", string(k.alg)}, j.Algorithm)
	return j.KeyID, k, ok
}
