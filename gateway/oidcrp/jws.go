package oidcrp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // for hashes
	_ "crypto/sha512"
	"errors"
	"math/big"
	"slices"

	jose "github.com/go-jose/go-jose/v4"
)

// A signed is a JWS in compact serialisation, taken apart for its signature.
// go-jose would read header parameters as well that nothing here believes (jwk,
// x5c), and refuse the token over them.
type signed struct {
	alg                       jose.SignatureAlgorithm
	kid                       string
	input, payload, signature []byte
}

func readSigned(raw string) (*signed, error) {
	fault := errors.New("reading the signature: is no compact JWS with an algorithm of ours")
	if compactForm(raw) != nil {
		return nil, fault
	}
	head, body, tail := splitCompact(raw)
	var parts [3][]byte
	for i, part := range []string{head, body, tail} {
		var err error
		if parts[i], err = decodePart(part); err != nil {
			return nil, fault
		}
	}
	doc, err := readDocument(parts[0])
	if err != nil {
		return nil, fault
	}
	header, ok := doc.root.(object)
	header = header.withoutNullKID()
	if !ok || doc.twice || header.checkKinds([]member{{"alg", aString}, {"kid", aString}}) != nil || header.has("crit") || header.has("b64") {
		return nil, fault
	}
	s := &signed{
		alg: jose.SignatureAlgorithm(header.str("alg")), kid: header.str("kid"),
		input: []byte(head + "." + body), payload: parts[1], signature: parts[2],
	}
	if !slices.Contains(algs, s.alg) {
		return nil, fault
	}
	return s, nil
}

// hashes are those of the algorithms (RFC 7518 §3.1). EdDSA has its own.
var hashes = map[jose.SignatureAlgorithm]crypto.Hash{
	jose.RS256: crypto.SHA256, jose.RS384: crypto.SHA384, jose.RS512: crypto.SHA512,
	jose.PS256: crypto.SHA256, jose.PS384: crypto.SHA384, jose.PS512: crypto.SHA512,
	jose.ES256: crypto.SHA256, jose.ES384: crypto.SHA384, jose.ES512: crypto.SHA512,
}

func digest(hash crypto.Hash, data []byte) []byte {
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}

// by reports whether a key, which is of the algorithm's type, has signed it.
func (s *signed) by(public any) bool {
	if key, ok := public.(ed25519.PublicKey); ok {
		return s.alg == jose.EdDSA && ed25519.Verify(key, s.input, s.signature)
	}
	hash, known := hashes[s.alg]
	if !known {
		return false
	}
	sum := digest(hash, s.input)
	switch key := public.(type) {
	case *rsa.PublicKey:
		if s.alg[0] == 'P' { // RFC 7518 §3.5
			return rsa.VerifyPSS(key, hash, sum, s.signature, nil) == nil
		}
		return s.alg[0] == 'R' && rsa.VerifyPKCS1v15(key, hash, sum, s.signature) == nil
	case *ecdsa.PublicKey: // r and s, each as long as the curve's order (RFC 7518 §3.4)
		half := (key.Curve.Params().N.BitLen() + 7) / 8
		if s.alg[0] != 'E' || len(s.signature) != 2*half {
			return false
		}
		r, v := new(big.Int).SetBytes(s.signature[:half]), new(big.Int).SetBytes(s.signature[half:])
		return ecdsa.Verify(key, sum, r, v)
	}
	return false
}
