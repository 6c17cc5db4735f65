package signing

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	// spRecordName is the name of the record under vault.KindKeys.
	spRecordName = "saml sp"
	// spRecordVersion is the version that this release writes, and the newest that it
	// reads.
	spRecordVersion = 1
	// spBits is sufficient beyond 2030 (NIST SP 800-57), since the key stays.
	spBits    = 3072
	minSPBits = 2048
)

// spNotAfter is the end of the certificate. SAML does not check it, but some identity
// providers do. Later dates have another encoding (RFC 5280 §4.1.2.5), which some
// can't read.
var spNotAfter = time.Date(2049, time.December, 31, 0, 0, 0, 0, time.UTC)

// spRecord is the stored form, which is sealed.
type spRecord struct {
	Version     int    `json:"v"`
	Key         []byte `json:"key"`         // PKCS #8
	Certificate []byte `json:"certificate"` // X.509, DER
}

// spPair is a parsed record. It is immutable.
type spPair struct {
	key         *rsa.PrivateKey
	certificate []byte
}

// nextSPRecord makes a key and a certificate if there is no pair yet. The subject is
// the same for all sites and reveals none.
func nextSPRecord(pair *spPair) ([]byte, error) {
	if pair != nil {
		return nil, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, spBits)
	if err != nil {
		return nil, fmt.Errorf("making a key for SAML requests: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a key for SAML requests: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), // never zero, RFC 5280 §4.1.2.2
		Subject:      pkix.Name{CommonName: "caddy-sso SAML service provider"},
		NotBefore:    time.Now().Add(-time.Hour), // for clocks that are behind
		NotAfter:     spNotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certifying the key for SAML requests: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key for SAML requests: %w", err)
	}
	value, err := json.Marshal(spRecord{spRecordVersion, private, certificate})
	if err != nil {
		return nil, fmt.Errorf("encoding the key for SAML requests: %w", err)
	}
	return value, nil
}

// readSPPair parses a stored record. Its errors never contain any of it.
func readSPPair(value []byte) (*spPair, error) {
	var r spRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, errors.New("record is no JSON object of the form that this release knows")
	}
	if r.Version != spRecordVersion {
		return nil, fmt.Errorf("record has version %d, this release knows %d", r.Version, spRecordVersion)
	}
	private, err := x509.ParsePKCS8PrivateKey(r.Key)
	if err != nil {
		return nil, errors.New("record holds no private key")
	}
	key, ok := private.(*rsa.PrivateKey)
	if !ok || key.N.BitLen() < minSPBits {
		return nil, fmt.Errorf("record holds a key that is no RSA key of %d bits", minSPBits)
	}
	certificate, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		return nil, errors.New("record holds no certificate")
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("record holds a certificate of another key")
	}
	return &spPair{key, r.Certificate}, nil
}
