package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

const (
	issuer   = "https://app.example.com"
	audience = "app.example.com"
	// All times are around that of synctest's clock.
	now = 946684800
)

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// A forger signs any text, with any header.
type forger struct {
	ec    *ecdsa.PrivateKey
	other *ecdsa.PrivateKey // not published
	rsa   *rsa.PrivateKey
}

func newForger(tb testing.TB) *forger {
	tb.Helper()
	f := &forger{}
	var err error
	for _, k := range []**ecdsa.PrivateKey{&f.ec, &f.other} {
		if *k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			tb.Fatal(err)
		}
	}
	if f.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		tb.Fatal(err)
	}
	return f
}

// jwks publishes ec under "ec" and rsa under "rsa".
func (f *forger) jwks(tb testing.TB) []byte {
	tb.Helper()
	return marshal(tb, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: f.ec.Public(), KeyID: "ec", Algorithm: "ES256", Use: "sig"},
		{Key: f.rsa.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"},
	}})
}

func marshal(tb testing.TB, v any) []byte {
	tb.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// es256 signs header and payload as they are.
func (f *forger) es256(tb testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	tb.Helper()
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + encode(signature)
}

func (f *forger) rs256(tb testing.TB, header, payload string) string {
	tb.Helper()
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, f.rsa, crypto.SHA256, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	return input + "." + encode(signature)
}

// hs256 signs with a public text for a secret.
func hs256(secret []byte, header, payload string) string {
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func publicPEM(tb testing.TB, public any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

const goodHeader = `{"alg":"ES256","kid":"ec","typ":"JWT"}`

// goodClaims returns claims that are accepted, with changes: a nil value
// removes the claim.
func goodClaims(changes map[string]any) map[string]any {
	claims := map[string]any{
		"iss": issuer, "aud": audience, "sub": "subject", "preferred_username": "alice",
		"email": "alice@example.com", "email_verified": true, "name": "Alice", "given_name": "Al", "family_name": "Ice", "roles": []string{"Viewer"},
		"iat": now, "nbf": now - 30, "exp": now + 60, "jti": "one",
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}
