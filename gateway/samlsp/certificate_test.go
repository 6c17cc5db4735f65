package samlsp_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// inLines breaks s after every n characters.
func inLines(s string, n int, end string) string {
	var b strings.Builder
	for len(s) > n {
		b.WriteString(s[:n] + end)
		s = s[n:]
	}
	return b.String() + s + end
}

func TestCertificateForms(t *testing.T) {
	t.Parallel()
	one, two := idpCert(), certify(ecKey())
	pem, bare := pemOf("CERTIFICATE", one), b64(one)
	const begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
	for _, tt := range []struct {
		name, text string
		want       [][]byte
	}{
		{"PEM", pem, [][]byte{one}},
		{"PEM with CRLF", strings.ReplaceAll(pem, "\n", "\r\n"), [][]byte{one}},
		{"PEM with CR", strings.ReplaceAll(pem, "\n", "\r"), [][]byte{one}},
		{"PEM with blanks around it", "\n \t" + pem + " \r\n\t", [][]byte{one}},
		{"PEM with blanks before each line", "\t" + strings.ReplaceAll(pem, "\n", "\n    "), [][]byte{one}},
		{"PEM without a line end", strings.TrimSpace(pem), [][]byte{one}},
		{"PEM without line breaks", begin + bare + end, [][]byte{one}},
		{"PEM with blanks for line breaks", strings.ReplaceAll(pem, "\n", " "), [][]byte{one}},
		{"PEM with line breaks spelt out", strings.ReplaceAll(pem, "\n", `\n`), [][]byte{one}},
		{"PEM with CRLF spelt out", strings.ReplaceAll(pem, "\n", `\r\n`), [][]byte{one}},
		{"PEM in one long line", begin + "\n" + bare + "\n" + end, [][]byte{one}},
		{"PEM with a byte order mark", "\ufeff" + pem, [][]byte{one}},
		{"PEM of the old name", pemOf("X509 CERTIFICATE", one), [][]byte{one}},
		{"PEM with text around it", "Bag Attributes\n    friendlyName: idp\nsubject=CN=idp\n" + pem + "\nthe end\n", [][]byte{one}},
		{"PEM, two", pem + pemOf("CERTIFICATE", two), [][]byte{one, two}},
		{"PEM, two without a line break between", strings.TrimSpace(pem) + pemOf("CERTIFICATE", two), [][]byte{one, two}},
		{"bare", bare, [][]byte{one}},
		{"bare in lines of 64", inLines(bare, 64, "\n"), [][]byte{one}},
		{"bare in lines of 76 with CRLF", inLines(bare, 76, "\r\n"), [][]byte{one}},
		{"bare with blanks around it", "  \r\n" + bare + "\t\n ", [][]byte{one}},
		{"bare without padding", strings.TrimRight(bare, "="), [][]byte{one}},
		{"bare, two in lines", inLines(bare, 64, "\n") + "\n" + inLines(b64(two), 64, "\n"), [][]byte{one, two}},
		{"bare, two without anything between", bare + b64(two), [][]byte{one, two}},
		{"bare, two in one", b64(append(append([]byte{}, one...), two...)), [][]byte{one, two}},
		{"DER", string(one), [][]byte{one}},
		{"expired", pemOf("CERTIFICATE", certify(rsaKey(), expired)), nil},
	} {
		t.Run("C7 "+tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := samlsp.ParseCertificates(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				return
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %d certificates, want %d", len(got), len(tt.want))
			}
			for i, cert := range got {
				if string(cert.Raw) != string(tt.want[i]) {
					t.Errorf("certificate %d is another", i)
				}
			}
		})
	}
}

func expired(c *x509.Certificate) { c.NotBefore, c.NotAfter = year(1997), year(1998) }

func TestCertificateFaults(t *testing.T) {
	t.Parallel()
	cert := idpCert()
	pem, bare := pemOf("CERTIFICATE", cert), b64(cert)
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(rsaKey()))
	pkcs1 := x509.MarshalPKCS1PrivateKey(rsaKey())
	sec1 := must(x509.MarshalECPrivateKey(ecKey()))
	csr := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, rsaKey()))
	pkix := must(x509.MarshalPKIXPublicKey(rsaKey().Public()))
	pub1 := x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "is empty"},
		{"blanks", " \r\n\t", "is empty"},
		{"private key, PKCS 8", pemOf("PRIVATE KEY", pkcs8), "is a private key"},
		{"private key, PKCS 1", pemOf("RSA PRIVATE KEY", pkcs1), "is a private key"},
		{"private key, EC", pemOf("EC PRIVATE KEY", sec1), "is a private key"},
		{"private key, encrypted", pemOf("ENCRYPTED PRIVATE KEY", pkcs8), "is a private key"},
		{"private key, OpenSSH", pemOf("OPENSSH PRIVATE KEY", pkcs8), "is a private key"},
		{"private key called a certificate", pemOf("CERTIFICATE", pkcs8), "is a private key"},
		{"private key beside the certificate", pem + pemOf("PRIVATE KEY", pkcs8), "is a private key"},
		{"private key, bare, PKCS 8", b64(pkcs8), "is a private key"},
		{"private key, bare, PKCS 1", b64(pkcs1), "is a private key"},
		{"private key, bare, EC", b64(sec1), "is a private key"},
		{"request", pemOf("CERTIFICATE REQUEST", csr), "signing request"},
		{"request of the old name", pemOf("NEW CERTIFICATE REQUEST", csr), "signing request"},
		{"request, bare", b64(csr), "signing request"},
		{"public key", pemOf("PUBLIC KEY", pkix), "is a public key"},
		{"public key, PKCS 1", pemOf("RSA PUBLIC KEY", pub1), "is a public key"},
		{"public key, bare", b64(pkix), "is a public key"},
		{"public key, bare, PKCS 1", b64(pub1), "is a public key"},
		{"PKCS 7", pemOf("PKCS7", cert), "PKCS #7"},
		{"OpenSSL's own form", pemOf("TRUSTED CERTIFICATE", cert), "OpenSSL"},
		{"PEM in Base64", b64([]byte(pem)), "is encoded twice"},
		{"PEM in Base64 in PEM", pemOf("CERTIFICATE", []byte(pem)), "is encoded twice"},
		{"Base64 twice", b64([]byte(bare)), "is encoded twice"},
		{"another PEM", pemOf("X509 CRL", cert), `"X509 CRL"`},
		{"PEM cut off in a line", pem[:len(pem)/2], "cut off: the END line is missing"},
		{"PEM cut off in its first line", "-----BEGIN CERTIFI", "cut off within its BEGIN line"},
		{"PEM with an end of another name", strings.Replace(pem, "-----END CERT", "-----END X509 CERT", 1), "END line is missing"},
		{"PEM with lines missing", strings.Join(append(strings.Split(pem, "\n")[:5], strings.Split(pem, "\n")[7:]...), "\n"), "cut off"},
		{"PEM with nothing in it", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "is empty"},
		{"bare, cut off", bare[:400], "is cut off: it has 300 bytes of"},
		{"bare, cut off within four characters", bare[:401], "is cut off"},
		{"bare, the beginning missing", bare[40:], "is no certificate"},
		{"bare, the second one cut off", bare + bare[:400], "is cut off"},
		{"name of a file", "/etc/sso/idp.pem", "if it is the name of a file"},
		{"words", "the certificate of the IdP", "is no certificate"},
		{"URL", "https://idp.example.com/cert.pem", "neither PEM nor Base64"},
		{"XML", "<ds:X509Certificate>" + bare + "</ds:X509Certificate>", "is XML"},
		{"fingerprint", "AB:CD:EF:01", "neither PEM nor Base64"},
		{"garbage in PEM", strings.Replace(pem, "\nMII", "\n!!!", 1), "neither PEM nor Base64: character 1 "},
		{"RSA of 1024 bits", b64(certify(weak)), "RSA key of 1024 bits"},
		{"Ed25519", b64(certify(edKey)), "neither RSA nor ECDSA"},
		{"P-224", b64(certify(p224)), "P-224"},
		{"too large", strings.Repeat("A", 1<<20+1), "larger than"},
	} {
		t.Run("C7 "+tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := samlsp.ParseCertificates(tt.text)
			wantText(t, err, tt.want)
			for _, secret := range []string{b64(pkcs8), b64(pkcs1), b64(sec1)} {
				if err != nil && strings.Contains(err.Error(), secret[40:60]) {
					t.Errorf("the error shows the key: %v", err)
				}
			}
		})
	}
}

// What a certificate's wrapping says does not matter to SAML, and crypto/x509
// refuses some that providers sign with. Its key and its dates count.
func TestOddCertificates(t *testing.T) {
	t.Parallel()
	good := string(certify(rsaKey(), func(c *x509.Certificate) {
		c.SerialNumber = big.NewInt(0x01020304)
		c.URIs = []*url.URL{{Scheme: "https", Host: "idp-test"}}
	}))
	weak := strings.Replace(string(certify(must(rsa.GenerateKey(rand.Reader, 1024)), func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x01020304) })), "\x01\x02\x03\x04", "\x81\x02\x03\x04", 1)
	for name, tt := range map[string]struct{ der, refused string }{
		"a negative serial number":   {der: strings.Replace(good, "\x01\x02\x03\x04", "\x81\x02\x03\x04", 1)},
		"a name that is no URL":      {der: strings.Replace(good, "https://idp-test", "https://idp test", 1)},
		"and more behind it":         {der: strings.Replace(good, "https://idp-test", "https://idp test", 1) + "\x30\x00", refused: "is no certificate"},
		"and with a key too short":   {der: weak, refused: "RSA key of 1024 bits"},
		"and a version that is none": {der: strings.Replace(good, "\xa0\x03\x02\x01\x02", "\xa0\x03\x04\x01\x02", 1), refused: "is no certificate"},
	} {
		t.Run("C7 "+name, func(t *testing.T) {
			t.Parallel()
			if _, err := x509.ParseCertificate([]byte(tt.der)); err == nil {
				t.Fatal("crypto/x509 takes it")
			}
			got, err := samlsp.ParseCertificates(pemOf("CERTIFICATE", []byte(tt.der)))
			if tt.refused != "" {
				wantText(t, err, tt.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c := got[0]; len(got) != 1 || !rsaKey().PublicKey.Equal(c.PublicKey) || c.NotBefore.Year() != 1999 || c.NotAfter.Year() != 2099 {
				t.Errorf("got %d certificates, %v to %v", len(got), c.NotBefore, c.NotAfter)
			}
		})
	}
}

func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	_, err := samlsp.New(samlsp.Config{
		EntityID: idpEntityID, SSOURL: idpRedirect,
		Certificates: []string{b64(idpCert()), pemOf("CERTIFICATE", certify(rsaKey(), expired))},
	}, samlsp.Deps{Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	if logs.Len() != 1 {
		t.Errorf("got %d warnings, want one", logs.Len())
	}
}

func FuzzCertificate(f *testing.F) {
	seed := file(f, "keycloak-response.crt") // the same each time
	der := must(samlsp.ParseCertificates(string(seed)))[0].Raw
	f.Add(string(seed))
	f.Add(b64(der) + "\r\n" + b64(der))
	f.Add(string(der))
	f.Add("-----BEGIN CERTIFICATE----------END CERTIFICATE-----")
	f.Add("-----BEGIN PRIVATE KEY-----")
	f.Add(`MII\n==MII`)
	f.Fuzz(func(t *testing.T, text string) {
		certs, err := samlsp.ParseCertificates(text)
		if (err == nil) != (len(certs) > 0) {
			t.Fatalf("got %d certificates and %v", len(certs), err)
		}
		if err != nil {
			return
		}
		for _, cert := range certs { // what was read is read again, the same
			again, err := samlsp.ParseCertificates(pemOf("CERTIFICATE", cert.Raw))
			if err != nil || len(again) != 1 || !again[0].Equal(cert) {
				t.Errorf("read again: %d certificates, %v", len(again), err)
			}
		}
		p, err := samlsp.New(byHand(text), samlsp.Deps{})
		if err != nil { // all of them authorities
			wantText(t, err, "no certificate is left")
			return
		}
		if k, err := samlsp.IdentityProvider(t.Context(), p); err != nil || len(k.Keys) == 0 || len(k.Keys) > len(certs) {
			t.Errorf("of %d certificates: %+v, %v", len(certs), k, err)
		}
	})
}
