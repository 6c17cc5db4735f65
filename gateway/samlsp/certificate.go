package samlsp

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// maxCertificates is the length of what parseCertificates reads, in bytes.
const maxCertificates = 1 << 20

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
	pemClose = "-----"
)

// parseCertificates reads one or more certificates as they are exported: PEM,
// with or without line breaks and text around it; bare Base64, with or without
// line breaks and padding; or DER. Each of their keys can verify signatures.
//
// Its errors name what was given instead, and what to do. They never hold any
// of it: it may be a private key.
func parseCertificates(text string) ([]*x509.Certificate, error) {
	certs, err := readCertificates(text)
	if err != nil {
		return nil, err
	}
	for _, cert := range certs {
		if err := checkCertificate(cert); err != nil {
			return nil, err
		}
	}
	return certs, nil
}

// checkCertificate says whether signatures by a certificate's key can be taken.
func checkCertificate(cert *x509.Certificate) error {
	if cert.PublicKey == nil {
		_, err := x509.ParsePKIXPublicKey(cert.RawSubjectPublicKeyInfo)
		return fmt.Errorf("has a key that can't be read (%w); give one with an RSA or ECDSA key", err)
	}
	return xmlsec.CheckKey(cert.PublicKey)
}

// readCertificates reads certificates whatever their keys are: one that nobody
// can sign with still says who its issuer is.
func readCertificates(text string) ([]*x509.Certificate, error) {
	if len(text) > maxCertificates {
		return nil, fmt.Errorf("is larger than %d bytes", maxCertificates)
	}
	ders, err := splitCertificates(text)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, der := range ders {
		got, err := x509.ParseCertificates(der)
		if err != nil {
			if got = oddCertificates(der); got == nil {
				return nil, explainDER(der, err)
			}
		}
		certs = append(certs, got...)
	}
	if len(certs) == 0 {
		return nil, errors.New("is empty; give the certificate that the provider signs with")
	}
	return certs, nil
}

// splitCertificates takes text apart into DER, of one or more certificates
// each.
func splitCertificates(text string) ([][]byte, error) {
	if strings.HasPrefix(text, "\x30\x82") { // a SEQUENCE of 256 bytes and more
		return [][]byte{[]byte(text)}, nil
	}
	text = strings.TrimPrefix(text, "\ufeff")
	// What comes from an environment variable or JSON often has its line breaks
	// spelt out. A backslash is in no Base64.
	text = strings.NewReplacer(`\r`, "\n", `\n`, "\n").Replace(text)
	switch {
	case strings.Contains(text, pemBegin):
		return splitPEM(text)
	case strings.HasPrefix(strings.TrimSpace(text), "<"):
		return nil, errors.New("is XML, not a certificate; metadata belong to the option metadata")
	}
	// Padding ends a certificate where several follow each other.
	var ders [][]byte
	for rest := text; strings.TrimSpace(rest) != ""; {
		var part string
		end := strings.IndexByte(rest, '=')
		if end < 0 {
			part, rest = rest, ""
		} else {
			part, rest = rest[:end], strings.TrimLeft(rest[end:], "= \t\r\n")
		}
		der, err := decodeBase64(part)
		if err != nil {
			return nil, err
		}
		ders = append(ders, der)
	}
	return ders, nil
}

// splitPEM reads PEM (RFC 7468) more leniently than encoding/pem, which wants
// each boundary on a line of its own. What stands between two blocks is
// explanatory text.
func splitPEM(text string) ([][]byte, error) {
	var ders [][]byte
	for {
		_, after, found := strings.Cut(text, pemBegin)
		if !found {
			return ders, nil
		}
		label, body, found := strings.Cut(after, pemClose)
		if !found {
			return nil, errors.New("is cut off within its BEGIN line")
		}
		if err := checkLabel(label); err != nil {
			return nil, err
		}
		body, text, found = strings.Cut(body, pemEnd+label+pemClose)
		if !found {
			return nil, errors.New("is cut off: the END line is missing; copy the whole block")
		}
		der, err := decodeBase64(strings.TrimRight(strings.TrimSpace(body), "="))
		if err != nil {
			return nil, err
		}
		ders = append(ders, der)
	}
}

func checkLabel(label string) error {
	switch {
	case label == "CERTIFICATE", label == "X509 CERTIFICATE", label == "X.509 CERTIFICATE": // RFC 7468 §5.1
		return nil
	case strings.HasSuffix(label, "PRIVATE KEY"):
		return errPrivateKey
	case strings.HasSuffix(label, "CERTIFICATE REQUEST"):
		return errRequest
	case strings.HasSuffix(label, "PUBLIC KEY"):
		return errPublicKey
	case label == "PKCS7", label == "CMS":
		return errors.New("is a PKCS #7 bundle; take the certificate out (openssl pkcs7 -print_certs)")
	case label == "TRUSTED CERTIFICATE":
		return errors.New("is a certificate in OpenSSL's own form; convert it (openssl x509)")
	}
	return fmt.Errorf("is PEM of the kind %.40q, not a certificate", label)
}

// What is often given instead.
var (
	errTwice      = errors.New("is encoded twice: its Base64 holds PEM, or Base64 once more; decode it once (base64 -d)")
	errPrivateKey = errors.New("is a private key; write the certificate instead. If the key is the provider's, have it replaced, because nobody else may know it")
	errRequest    = errors.New("is a certificate signing request, not a certificate; give what the provider signs with")
	errPublicKey  = errors.New("is a public key without its certificate; export the certificate, or make a self-signed one of the same key")
)

// decodeBase64 decodes s without its padding; blanks and line breaks don't
// count.
func decodeBase64(s string) ([]byte, error) {
	s = strings.Join(strings.Fields(s), "")
	der, err := base64.RawStdEncoding.DecodeString(s)
	if _, bad := errors.AsType[base64.CorruptInputError](err); !bad {
		return der, err
	}
	// The decoder calls a length that can't be an invalid character too.
	if at := strings.IndexFunc(s, notBase64); at >= 0 {
		return nil, fmt.Errorf("is neither PEM nor Base64: character %d can't be; if it is the name of a file, there is none of that name", at+1)
	}
	return nil, errors.New("is cut off: the length of its Base64 can't be; copy the whole of it")
}

func notBase64(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && !(r >= '0' && r <= '9') && r != '+' && r != '/'
}

// explainDER says what der is, which can't be read as certificates because of
// cause.
func explainDER(der []byte, cause error) error {
	if has, want := derLength(der); want > has {
		return fmt.Errorf("is cut off: it has %d bytes of %d; copy the whole of it", has, want)
	}
	is := func(_ any, err error) bool { return err == nil }
	switch {
	case is(x509.ParsePKCS8PrivateKey(der)), is(x509.ParsePKCS1PrivateKey(der)), is(x509.ParseECPrivateKey(der)):
		return errPrivateKey
	case is(x509.ParseCertificateRequest(der)):
		return errRequest
	case is(x509.ParsePKIXPublicKey(der)), is(x509.ParsePKCS1PublicKey(der)):
		return errPublicKey
	}
	if inner := strings.TrimSpace(string(der)); strings.Contains(inner, pemBegin) || strings.HasPrefix(inner, "MII") {
		return errTwice
	}
	return fmt.Errorf("is no certificate (%w); export it from the provider again, as PEM or DER", cause)
}

// oddCertificates reads the keys, dates and names of certificates of which
// crypto/x509 refuses one: for a negative serial number, a name that is no URL, a
// key that it does not know, which is nil then. Nobody looks at the wrapping
// (SAML V2.0 Metadata Interoperability Profile 2.6.1), and providers go on
// signing with such ones for years. Nil: not all are certificates.
func oddCertificates(der []byte) (certs []*x509.Certificate) {
	for len(der) > 0 {
		var read struct { // RFC 5280 §4.1
			Raw        asn1.RawContent
			ToBeSigned struct {
				Version           int `asn1:"optional,explicit,default:0,tag:0"`
				Serial            *big.Int
				Algorithm, Issuer asn1.RawValue
				Validity          struct{ NotBefore, NotAfter time.Time }
				Subject, Key      asn1.RawValue
			}
			Algorithm asn1.RawValue
			Signature asn1.BitString
		}
		var err error
		if der, err = asn1.Unmarshal(der, &read); err != nil {
			return nil
		}
		cert := read.ToBeSigned
		key, err := x509.ParsePKIXPublicKey(cert.Key.FullBytes)
		if err != nil {
			key = nil
		}
		certs = append(certs, &x509.Certificate{
			Raw: read.Raw, PublicKey: key, RawSubjectPublicKeyInfo: cert.Key.FullBytes, RawSubject: cert.Subject.FullBytes, RawIssuer: cert.Issuer.FullBytes,
			NotBefore: cert.Validity.NotBefore, NotAfter: cert.Validity.NotAfter,
		})
	}
	return certs
}

// derLength returns how many bytes the last of the values in der has, and how
// many it says that it has. Values of less than 256 bytes, and what is no DER,
// count as whole.
func derLength(der []byte) (has, want int) {
	for len(der) >= 4 && der[0] == 0x30 && der[1] == 0x82 { // SEQUENCE, length in two bytes
		want = 4 + int(der[2])<<8 + int(der[3])
		if want >= len(der) {
			return len(der), want
		}
		der = der[want:]
	}
	return 0, 0
}
