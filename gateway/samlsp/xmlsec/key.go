package xmlsec

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
)

// Bounds on RSA keys, in bits. Below the lower one a key can be broken; beyond
// the upper one each signature costs more than it is worth.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// CheckKey says whether signatures by this key can be taken.
func CheckKey(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("has an RSA key of %d bits; %d to %d are taken", bits, minRSABits, maxRSABits)
		}
		return nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("has a key on the curve %s; P-256, P-384 and P-521 are taken", key.Params().Name)
	}
	return errors.New("has a key that is neither RSA nor ECDSA; XML signatures that are taken use those")
}
