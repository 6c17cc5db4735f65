//go:build integration

package integration

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A pki is a certificate authority made for one run, and one certificate by it
// for every name that the tests use.
type pki struct {
	caFile, certFile, keyFile string
	// localFile is a certificate of localhost alone: some clients refuse one that also has
	// a star before a single label.
	localFile string
	pool      *x509.CertPool
	// pin is the authority's key as Chromium's
	// --ignore-certificate-errors-spki-list takes it.
	pin string
}

// testNames are the host names that the tests serve on loopback. A star takes
// one label.
var testNames = []string{"localhost", "*.localhost", "*.test", "*.one.test", "*.two.test"}

func certificates(t *testing.T) *pki {
	t.Helper()
	p, err := makePKI()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var makePKI = sync.OnceValues(func() (*pki, error) {
	caKey, caErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, keyErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(caErr, keyErr); err != nil {
		return nil, fmt.Errorf("making the test certificates: %w", err)
	}
	ca := template("caddy-sso test authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER := issue(ca, ca, caKey, caKey)
	leaf := template("caddy-sso test")
	leaf.DNSNames = testNames
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leafDER := issue(leaf, ca, key, caKey)
	local := *leaf
	local.DNSNames = []string{"localhost"}
	localDER := issue(&local, ca, key, caKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making the test certificate: %w", err)
	}
	p := &pki{
		caFile: filepath.Join(scratch, "ca.pem"), certFile: filepath.Join(scratch, "cert.pem"), keyFile: filepath.Join(scratch, "key.pem"),
		localFile: filepath.Join(scratch, "local.pem"),
		pool:      x509.NewCertPool(),
	}
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	p.pool.AppendCertsFromPEM(caPEM)
	// The authority goes out with the leaf, so that Chromium sees its key.
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}), caPEM...)
	for file, data := range map[string][]byte{
		p.caFile: caPEM, p.certFile: chain, p.localFile: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: localDER}),
		p.keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return nil, fmt.Errorf("writing the test certificates: %w", err)
		}
	}
	spki, err := x509.MarshalPKIXPublicKey(caKey.Public())
	if err != nil {
		return nil, fmt.Errorf("making the test authority: %w", err)
	}
	sum := sha256.Sum256(spki)
	p.pin = base64.StdEncoding.EncodeToString(sum[:])
	return p, nil
})

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

// issue makes a certificate for a key, in DER, by another one's key.
func issue(cert, by *x509.Certificate, key, byKey crypto.Signer) []byte {
	der, err := x509.CreateCertificate(rand.Reader, cert, by, key.Public(), byKey)
	if err != nil {
		panic(err) // nothing in it comes from outside
	}
	return der
}
