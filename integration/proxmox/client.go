//go:build integration

package proxmox

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A provider is what an OpenID provider says of itself. All but userinfo is needed.
type openIDProvider struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	UserInfo      string   `json:"userinfo_endpoint"`
	Keys          string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
}

// strictClient follows no redirects.
func strictClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
	}
}

// ask sends a request, and reads its JSON.
func (c *Cluster) ask(r *http.Request, into any) error {
	r.Header.Set("Accept", "application/json")
	resp, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: server returned status %d: %s", r.Method, r.URL, resp.StatusCode, text)
	}
	return json.Unmarshal(text, into)
}

func (c *Cluster) get(ctx context.Context, address, token string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return c.ask(r, into)
}

// discover reads the provider's configuration. Its issuer must be what the realm says, byte
// for byte.
func (c *Cluster) discover(ctx context.Context, issuer string) (*openIDProvider, error) {
	p := new(openIDProvider)
	if err := c.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", "", p); err != nil {
		return nil, fmt.Errorf("openid discovery failed: %w", err)
	}
	if p.Issuer != issuer {
		return nil, fmt.Errorf("openid discovery failed: unexpected issuer URI `%s` (expected `%s`)", p.Issuer, issuer)
	}
	if p.Authorization == "" || p.Token == "" || p.Keys == "" || p.ResponseTypes == nil || p.SubjectTypes == nil || p.Algorithms == nil {
		return nil, errors.New("openid discovery failed: missing field")
	}
	return p, nil
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// redeem turns a code into claims: those of the ID token, and what userinfo adds.
func (c *Cluster) redeem(ctx context.Context, realm url.Values, begun flow, code, redirect string) (map[string]any, error) {
	p, err := c.discover(ctx, realm.Get("issuer-url"))
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {begun.verifier}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(realm.Get("client-id")), url.QueryEscape(realm.Get("client-key")))
	var tokens struct {
		Access string `json:"access_token"`
		Type   string `json:"token_type"`
		ID     string `json:"id_token"`
	}
	if err := c.ask(r, &tokens); err != nil {
		return nil, fmt.Errorf("failed to contact token endpoint: %w", err)
	}
	if tokens.Access == "" || !strings.EqualFold(tokens.Type, "Bearer") || tokens.ID == "" {
		return nil, errors.New("server did not return an ID token and an access token")
	}
	var keys struct {
		Keys []jwk `json:"keys"`
	}
	if err := c.get(ctx, p.Keys, "", &keys); err != nil {
		return nil, fmt.Errorf("failed to fetch the provider's keys: %w", err)
	}
	claims, err := verifyIDToken(tokens.ID, keys.Keys, realm, begun.nonce, c.Now())
	if err != nil {
		return nil, fmt.Errorf("failed to verify ID token: %w", err)
	}
	if realm.Get("query-userinfo") == "0" {
		return claims, nil
	}
	if p.UserInfo == "" {
		return nil, errors.New("the provider has no userinfo endpoint")
	}
	var info map[string]any
	if err := c.get(ctx, p.UserInfo, tokens.Access, &info); err != nil {
		return nil, fmt.Errorf("failed to contact userinfo endpoint: %w", err)
	}
	if info["sub"] != claims["sub"] {
		return nil, errors.New("unexpected subject in userinfo")
	}
	for name, value := range info {
		if claims[name] == nil {
			claims[name] = value
		}
	}
	return claims, nil
}

type jwk struct {
	Type string `json:"kty"`
	ID   string `json:"kid"`
	Use  string `json:"use"`
	N    string `json:"n"`
	E    string `json:"e"`
}

// verifyIDToken accepts RS256 alone, from a key that the provider publishes.
func verifyIDToken(token string, keys []jwk, realm url.Values, nonce string, now time.Time) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a signed token")
	}
	var header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	var claims struct {
		Issuer  string   `json:"iss"`
		Expires *float64 `json:"exp"`
		Issued  *float64 `json:"iat"`
		Nonce   string   `json:"nonce"`
		Subject string   `json:"sub"`
		Party   string   `json:"azp"`
	}
	var all map[string]any
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err := errors.Join(err, decodePart(parts[0], &header), decodePart(parts[1], &claims), decodePart(parts[1], &all)); err != nil {
		return nil, err
	}
	if header.Algorithm != "RS256" {
		return nil, fmt.Errorf("signature algorithm `%s` is not allowed", header.Algorithm)
	}
	if !signedByOne(keys, header.KeyID, parts[0]+"."+parts[1], signature) {
		return nil, errors.New("signature verification failed")
	}
	audience, _ := all["aud"].([]any)
	if one, ok := all["aud"].(string); ok {
		audience = []any{one}
	}
	accepted := append(strings.Fields(realm.Get("audiences")), realm.Get("client-id"))
	strange := slices.ContainsFunc(audience, func(a any) bool { s, _ := a.(string); return !slices.Contains(accepted, s) })
	switch {
	case claims.Issuer != realm.Get("issuer-url"):
		return nil, errors.New("invalid issuer")
	case !slices.Contains(audience, any(realm.Get("client-id"))) || strange:
		return nil, errors.New("invalid audiences")
	case claims.Party != "" && claims.Party != realm.Get("client-id"):
		return nil, errors.New("authorized party must match client ID")
	case claims.Issued == nil || claims.Expires == nil || claims.Subject == "":
		return nil, errors.New("missing claim")
	case float64(now.Unix()) >= *claims.Expires:
		return nil, errors.New("ID token expired")
	case claims.Nonce != nonce:
		return nil, errors.New("nonce mismatch")
	}
	return all, nil
}

func decodePart(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(text)).Decode(into)
}

func signedByOne(keys []jwk, id, text string, signature []byte) bool {
	sum := sha256.Sum256([]byte(text))
	return slices.ContainsFunc(keys, func(k jwk) bool {
		n, nErr := base64.RawURLEncoding.DecodeString(k.N)
		e, eErr := base64.RawURLEncoding.DecodeString(k.E)
		if k.Type != "RSA" || id != "" && k.ID != id || k.Use != "" && k.Use != "sig" || nErr != nil || eErr != nil || len(n) == 0 {
			return false
		}
		key := rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		return rsa.VerifyPKCS1v15(&key, crypto.SHA256, sum[:], signature) == nil
	})
}
