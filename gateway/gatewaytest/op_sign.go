package gatewaytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for hashOf
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"sync"
)

// OPAlgs are the signature algorithms of an OP.
var OPAlgs = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// An OPKey is a signing key of an OP.
type OPKey struct {
	KID, Alg string
	Signer   crypto.Signer
}

var (
	opKeysMu sync.Mutex
	opKeys   = map[string]crypto.Signer{}
)

// NewOPKey returns a key for alg. The same alg and kid give the same key within one
// test binary, because making RSA keys is slow.
func NewOPKey(alg, kid string) OPKey {
	family := alg
	if alg[0] == 'R' || alg[0] == 'P' {
		family = "RSA"
	}
	opKeysMu.Lock()
	defer opKeysMu.Unlock()
	signer, ok := opKeys[family+" "+kid]
	if !ok {
		signer = generate(alg)
		opKeys[family+" "+kid] = signer
	}
	return OPKey{KID: kid, Alg: alg, Signer: signer}
}

func generate(alg string) (signer crypto.Signer) {
	var err error
	switch alg {
	case "ES256":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		signer, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		panic(fmt.Sprintf("generating a test key: %v", err))
	}
	return signer
}

// JWK returns the public key as a JWK (RFC 7517 §4).
func (k OPKey) JWK() map[string]any {
	jwk := map[string]any{"kid": k.KID, "use": "sig", "alg": k.Alg}
	switch public := k.Signer.Public().(type) {
	case *rsa.PublicKey:
		jwk["kty"] = "RSA"
		jwk["n"] = b64(public.N.Bytes())
		jwk["e"] = b64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 0x04, x, y
		if err != nil {
			panic(fmt.Sprintf("encoding a test key: %v", err))
		}
		half := len(point) / 2
		jwk["kty"], jwk["crv"] = "EC", public.Params().Name
		jwk["x"], jwk["y"] = b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", b64(public)
	}
	return jwk
}

// SignJWS makes a JWS in compact serialisation by the header's alg, whatever else the
// header contains. key is a crypto.Signer, or a []byte for HS256. For an unknown alg,
// such as none, the signature is empty.
func SignJWS(header map[string]any, payload []byte, key any) string {
	head, err := json.Marshal(header)
	if err != nil {
		panic(fmt.Sprintf("encoding a test header: %v", err))
	}
	return SignRawJWS(head, payload, fmt.Sprint(header["alg"]), key)
}

// SignRawJWS is SignJWS for an encoded header.
func SignRawJWS(header, payload []byte, alg string, key any) string {
	return SignJWSInput(b64(header)+"."+b64(payload), alg, key)
}

// SignJWSInput is SignRawJWS for a signing input of any form.
func SignJWSInput(input, alg string, key any) string {
	return input + "." + b64(signature(alg, []byte(input), key))
}

func signature(alg string, input []byte, key any) []byte {
	hash := hashOf(alg, crypto.SHA256)
	sum := digest(hash, input)
	var sig []byte
	var err error
	switch key := key.(type) {
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		return mac.Sum(nil)
	case *rsa.PrivateKey:
		if strings.HasPrefix(alg, "PS") {
			sig, err = key.Sign(rand.Reader, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
		} else {
			sig, err = key.Sign(rand.Reader, sum, hash)
		}
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, key, sum); err == nil {
			size := (key.Params().BitSize + 7) / 8
			sig = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, input)
	}
	if err != nil {
		panic(fmt.Sprintf("signing a test token: %v", err))
	}
	return sig
}

// hashOf returns the hash of an algorithm, or another one if its name has none.
func hashOf(alg string, other crypto.Hash) crypto.Hash {
	for size, hash := range map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512} {
		if strings.HasSuffix(alg, size) {
			return hash
		}
	}
	return other
}

func digest(hash crypto.Hash, data []byte) []byte {
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}

// halfHash is at_hash (OIDC Core §3.1.3.6).
func halfHash(alg, s string) string {
	sum := digest(hashOf(alg, crypto.SHA512), []byte(s)) // EdDSA's, with Ed25519
	return b64(sum[:len(sum)/2])
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
