package xmlsec

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
)

// Bounds of RSA keys in bits. A shorter key can be broken; a longer one makes each
// signature too expensive to verify.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// CheckKey refuses a key by which no signature is accepted.
func CheckKey(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("has an RSA key of %d bits: expected %d to %d", bits, minRSABits, maxRSABits)
		}
		return nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("has a key on the curve %s; P-256, P-384 and P-521 are accepted", key.Params().Name)
	}
	return errors.New("has a key that is neither RSA nor ECDSA; no other kind is accepted")
}
