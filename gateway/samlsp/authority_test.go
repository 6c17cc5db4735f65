package samlsp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// chainKeys are made once, by what they are for.
var chainKeys = sync.OnceValue(func() map[string]crypto.Signer {
	made := map[string]crypto.Signer{"idp": rsaKey(), "weak": must(rsa.GenerateKey(rand.Reader, 1024)), "odd": must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))}
	for _, name := range []string{"ca", "root", "next", "other"} {
		made[name] = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	}
	return made
})

// A link is a certificate of a chain.
type link struct {
	key, subject, issuer string
	by                   string // whose key signs; key unless said
	change               func(*x509.Certificate)
}

// der makes the certificate. Names are common names, or what begins with # in
// DER.
func (l link) der() []byte {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: year(1999), NotAfter: year(2099), RawSubject: rdn(l.subject)}
	if l.change != nil {
		l.change(template)
	}
	by := l.key
	if l.by != "" {
		by = l.by
	}
	return must(x509.CreateCertificate(rand.Reader, template, &x509.Certificate{RawSubject: rdn(l.issuer)}, chainKeys()[l.key].Public(), chainKeys()[by]))
}

func rdn(name string) []byte {
	if der, ok := strings.CutPrefix(name, "#"); ok {
		return []byte(der)
	}
	return must(asn1.Marshal(pkix.Name{Organization: []string{"Example"}, CommonName: name}.ToRDNSequence()))
}

// typed is O=Example, CN=text by other string types than rdn takes.
func typed(tag int, text string) string {
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	set := func(last int, v asn1.RawValue) asn1.RawValue {
		one := must(asn1.Marshal(attribute{asn1.ObjectIdentifier{2, 5, 4, last}, v}))
		return asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: one}
	}
	return "#" + string(must(asn1.Marshal([]asn1.RawValue{
		set(10, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte("EXAMPLE")}), set(3, asn1.RawValue{Tag: tag, Bytes: []byte(text)}),
	})))
}

func isCA(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.DNSNames = true, true, x509.KeyUsageCertSign, []string{"authority.example.com"}
}

// links that the tables share.
var (
	ca        = link{key: "ca", subject: "ca", issuer: "ca", change: isCA}
	issued    = link{key: "idp", subject: "idp", issuer: "ca", by: "ca"}
	own       = link{key: "idp", subject: "idp", issuer: "idp"}
	anotherCA = link{key: "root", subject: "root", issuer: "root", change: isCA}
)

// chains are sets of certificates, and the keys of those that may sign.
var chains = map[string]struct {
	links []link
	want  []string
}{
	"issued, with its authority":              {[]link{issued, ca}, []string{"idp"}},
	"an authority without the flag":           {[]link{issued, {key: "ca", subject: "ca", issuer: "ca"}}, []string{"idp"}},
	"an authority with the usage of a signer": {[]link{issued, {key: "ca", subject: "ca", issuer: "ca", change: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }}}, []string{"idp"}},
	"an authority that has changed its key":   {[]link{{key: "idp", subject: "idp", issuer: "ca", by: "other"}, ca}, []string{"idp"}},
	"an authority's key under another name":   {[]link{issued, ca, {key: "ca", subject: "another", issuer: "another"}}, []string{"idp"}},
	"a chain of three":                        {[]link{issued, {key: "ca", subject: "ca", issuer: "root", by: "root", change: isCA}, anotherCA}, []string{"idp"}},
	"a chain without its root":                {[]link{issued, {key: "ca", subject: "ca", issuer: "root", by: "root", change: isCA}}, []string{"idp"}},
	"cross-signed":                            {[]link{issued, ca, {key: "ca", subject: "ca", issuer: "root", by: "root", change: isCA}, anotherCA}, []string{"idp"}},
	"issued anew, by one authority":           {[]link{issued, {key: "next", subject: "idp", issuer: "ca", by: "ca"}, ca}, []string{"idp", "next"}},
	"issued anew, without the authority":      {[]link{issued, {key: "next", subject: "idp", issuer: "ca", by: "ca"}}, []string{"idp", "next"}},
	"issued beside self-issued":               {[]link{issued, ca, {key: "next", subject: "adfs", issuer: "adfs"}}, []string{"idp", "next"}},
	"self-issued":                             {[]link{own}, []string{"idp"}},
	"self-issued, two of one name":            {[]link{own, {key: "next", subject: "idp", issuer: "idp"}}, []string{"idp", "next"}},
	"self-issued, the new one by the old":     {[]link{own, {key: "next", subject: "idp", issuer: "idp", by: "idp"}}, []string{"idp", "next"}},
	"self-issued, of two names":               {[]link{own, {key: "next", subject: "idp 2026", issuer: "idp 2026"}}, []string{"idp", "next"}},
	"self-issued, with the flag":              {[]link{{key: "idp", subject: "idp", issuer: "idp", change: isCA}, {key: "next", subject: "idp", issuer: "idp", change: isCA}}, []string{"idp", "next"}},
	"renewed with its key":                    {[]link{own, {key: "idp", subject: "idp", issuer: "idp", change: func(c *x509.Certificate) { c.SerialNumber = big.NewInt(2) }}}, []string{"idp"}},
	"an authority alone":                      {[]link{ca}, []string{"ca"}},
	"another beside an authority":             {[]link{own, anotherCA}, []string{"idp", "root"}},
	"an authority renewed with its key":       {[]link{ca, {key: "ca", subject: "ca", issuer: "ca", change: func(c *x509.Certificate) { isCA(c); c.SerialNumber = big.NewInt(2) }}}, []string{"ca"}},
	"names without anything":                  {[]link{{key: "idp", subject: "#0\x00", issuer: "#0\x00"}, {key: "next", subject: "#0\x00", issuer: "#0\x00", change: isCA}}, []string{"idp", "next"}},
	"the same key, issued and self-issued":    {[]link{own, {key: "idp", subject: "signer", issuer: "ca", by: "ca"}, ca}, []string{"idp"}},
	"the issuer in UTF-8":                     {[]link{{key: "idp", subject: "idp", issuer: typed(asn1.TagUTF8String, "ca"), by: "ca"}, ca}, []string{"idp"}},
	"the issuer in two octets a letter":       {[]link{{key: "idp", subject: "idp", issuer: typed(asn1.TagBMPString, "\x00c\x00a"), by: "ca"}, ca}, []string{"idp"}},
	"the issuer in four octets a letter":      {[]link{{key: "idp", subject: "idp", issuer: typed(28, "\x00\x00\x00c\x00\x00\x00a"), by: "ca"}, ca}, []string{"idp"}},
	"the issuer as T61":                       {[]link{{key: "idp", subject: "idp", issuer: typed(asn1.TagT61String, "\xc5 ca"), by: "ca"}, {key: "ca", subject: "å ca", issuer: "å ca"}}, []string{"idp"}},
	"the issuer in capitals":                  {[]link{{key: "idp", subject: "idp", issuer: "CA", by: "ca"}, ca}, []string{"idp"}},
	"the issuer with blanks":                  {[]link{{key: "idp", subject: "idp", issuer: " The  CA ", by: "ca"}, {key: "ca", subject: "the ca", issuer: "the CA"}}, []string{"idp"}},
	"self-issued in two spellings":            {[]link{{key: "idp", subject: "idp", issuer: typed(asn1.TagUTF8String, "IDP")}, {key: "next", subject: "idp", issuer: "idp"}}, []string{"idp", "next"}},
}

// shapes are the ways in which certificates come.
var shapes = map[string]func(ders [][]byte) samlsp.Config{
	"one X509Data":             func(ders [][]byte) samlsp.Config { return inMetadata(keyDescriptor("signing", each(ders, b64)...)) },
	"one X509Data without use": func(ders [][]byte) samlsp.Config { return inMetadata(keyDescriptor("", each(ders, b64)...)) },
	"one X509Certificate": func(ders [][]byte) samlsp.Config {
		return inMetadata(keyDescriptor("signing", b64(slices.Concat(ders...))))
	},
	"PEM in one X509Certificate": func(ders [][]byte) samlsp.Config {
		return inMetadata(keyDescriptor("signing", strings.Join(each(ders, pemCert), "")))
	},
	"an X509Data each": func(ders [][]byte) samlsp.Config {
		return inMetadata(strings.ReplaceAll(keyDescriptor("signing", each(ders, b64)...), "</ds:X509Certificate><", "</ds:X509Certificate></ds:X509Data><ds:X509Data><"))
	},
	"a KeyDescriptor each": func(ders [][]byte) samlsp.Config {
		return inMetadata(each(ders, func(der []byte) string { return keyDescriptor("signing", b64(der)) })...)
	},
	"a KeyDescriptor each, some for all": func(ders [][]byte) samlsp.Config {
		list := each(ders, func(der []byte) string { return keyDescriptor("signing", b64(der)) })
		list[0] = keyDescriptor("", b64(ders[0]))
		return inMetadata(list...)
	},
	"a bundle":                  func(ders [][]byte) samlsp.Config { return byHand(strings.Join(each(ders, pemCert), "")) },
	"bare, one after the other": func(ders [][]byte) samlsp.Config { return byHand(strings.Join(each(ders, b64), "\n")) },
	"bare, in one":              func(ders [][]byte) samlsp.Config { return byHand(b64(slices.Concat(ders...))) },
	"DER":                       func(ders [][]byte) samlsp.Config { return byHand(string(slices.Concat(ders...))) },
	"an option each":            func(ders [][]byte) samlsp.Config { return byHand(each(ders, pemCert)...) },
	"an option each, bare":      func(ders [][]byte) samlsp.Config { return byHand(each(ders, b64)...) },
	"an option for one, another for more": func(ders [][]byte) samlsp.Config {
		return byHand(pemCert(ders[0]), strings.Join(each(ders, pemCert), ""))
	},
}

func each[T any](ders [][]byte, write func([]byte) T) []T {
	var list []T
	for _, der := range ders {
		list = append(list, write(der))
	}
	return list
}

func pemCert(der []byte) string { return pemOf("CERTIFICATE", der) }

func byHand(certificates ...string) samlsp.Config {
	return samlsp.Config{EntityID: idpEntityID, SSOURL: idpRedirect, Certificates: certificates}
}

func inMetadata(descriptors ...string) samlsp.Config {
	e := goodEntity()
	e.keys = descriptors
	return samlsp.Config{Metadata: []byte(e.xml())}
}

// orders returns every order of a list.
func orders[T any](list []T) [][]T {
	if len(list) < 2 {
		return [][]T{list}
	}
	var all [][]T
	for i := range list {
		rest := slices.Delete(slices.Clone(list), i, i+1)
		for _, order := range orders(rest) {
			all = append(all, append([]T{list[i]}, order...))
		}
	}
	return all
}

// signers returns by name the keys that a provider's answers may be signed with.
func signers(t *testing.T, config samlsp.Config) []string {
	t.Helper()
	p, err := samlsp.New(config, samlsp.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := samlsp.IdentityProvider(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, key := range chainKeys() {
		if slices.ContainsFunc(k.Keys, func(k crypto.PublicKey) bool {
			return k.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public())
		}) {
			names = append(names, name)
		}
	}
	if len(names) != len(k.Keys) {
		t.Errorf("%d keys may sign, and %q", len(k.Keys), names)
	}
	slices.Sort(names)
	return names
}

// TestAuthoritySignsNothing gives every chain in every order and shape: who
// signs doesn't depend on either.
func TestAuthoritySignsNothing(t *testing.T) {
	t.Parallel()
	for name, chain := range chains {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ders [][]byte
			for _, l := range chain.links {
				ders = append(ders, l.der())
			}
			for i, order := range orders(ders) {
				for shape, config := range shapes {
					if got := signers(t, config(order)); !slices.Equal(got, chain.want) {
						t.Errorf("%s, order %d: %q may sign, want %q", shape, i, got, chain.want)
					}
				}
			}
		})
	}
}

// TestAuthorityInMetadata has what metadata alone can say.
func TestAuthorityInMetadata(t *testing.T) {
	t.Parallel()
	signing := func(links ...link) string { return keyDescriptor("signing", each(linked(links), b64)...) }
	encryption := func(links ...link) string { return keyDescriptor("encryption", each(linked(links), b64)...) }
	inside := func(part string) string { return strings.Replace(signing(), "<ds:X509Data></ds:X509Data>", part, 1) }
	const keyValue = `<ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus><ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue>`
	const issuerSerial = `<ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>CN=ca</ds:X509IssuerName><ds:X509SerialNumber>1</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>`
	garbled := strings.Replace(signing(issued, ca), "<ds:X509Certificate>MII", "<ds:X509Certificate>!!!", 1)
	weak := link{key: "weak", subject: "idp", issuer: "ca", by: "ca"}
	odd := link{key: "odd", subject: "idp", issuer: "ca", by: "ca"}
	for name, tt := range map[string]struct {
		descriptors []string
		want        []string
		err         string
	}{
		"an encryption key of the same authority":     {descriptors: []string{signing(issued), encryption(link{key: "next", subject: "enc", issuer: "ca", by: "ca"}, ca)}, want: []string{"idp"}},
		"an encryption key with another name":         {descriptors: []string{signing(own), encryption(link{key: "next", subject: "enc", issuer: "enc"})}, want: []string{"idp"}},
		"an encryption key that can't be read":        {descriptors: []string{signing(own), keyDescriptor("encryption", "!!!")}, want: []string{"idp"}},
		"what the authority issued is for encryption": {descriptors: []string{signing(ca, own), encryption(link{key: "next", subject: "enc", issuer: "ca", by: "ca"})}, want: []string{"idp"}},
		"nothing but such an authority":               {descriptors: []string{signing(ca), encryption(issued)}, err: "no certificate is left"},
		"two that issued each other":                  {descriptors: []string{signing(link{key: "idp", subject: "idp", issuer: "ca"}, link{key: "ca", subject: "ca", issuer: "idp"})}, err: "give the one that the provider signs with"},
		"the signer's key is too weak":                {descriptors: []string{signing(weak, ca)}, err: "RSA key of 1024 bits"},
		"the signer's key is of another kind":         {descriptors: []string{signing(ca, odd)}, err: "P-224"},
		"the signer can't be read":                    {descriptors: []string{garbled}, err: "neither PEM nor Base64"},
		"the signer can't be read, another can":       {descriptors: []string{garbled, signing(link{key: "next", subject: "idp", issuer: "idp"})}, want: []string{"next"}},
		"a key without a certificate":                 {descriptors: []string{inside(keyValue)}, err: "no signing certificate"},
		"a key without a certificate, beside one":     {descriptors: []string{inside(keyValue), signing(issued, ca)}, want: []string{"idp"}},
		"the number of a certificate":                 {descriptors: []string{inside(issuerSerial)}, err: "no signing certificate"},
		"the number of a certificate, beside one":     {descriptors: []string{inside(issuerSerial), signing(ca, issued)}, want: []string{"idp"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, order := range orders(tt.descriptors) {
				config := inMetadata(order...)
				if tt.err != "" {
					_, err := samlsp.New(config, samlsp.Deps{})
					wantText(t, err, tt.err)
					continue
				}
				if got := signers(t, config); !slices.Equal(got, tt.want) {
					t.Errorf("%q may sign, want %q", got, tt.want)
				}
			}
		})
	}
}

func linked(links []link) [][]byte {
	var ders [][]byte
	for _, l := range links {
		ders = append(ders, l.der())
	}
	return ders
}

// A certificate that crypto/x509 refuses is an authority, or what it issued, as
// any other.
func TestOddAuthority(t *testing.T) {
	t.Parallel()
	serial := func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x01020304) }
	negative := func(l link) []byte {
		l.change = serial
		return []byte(strings.Replace(string(l.der()), "\x01\x02\x03\x04", "\x81\x02\x03\x04", 1))
	}
	for name, ders := range map[string][][]byte{
		"the authority": {negative(link{key: "ca", subject: "ca", issuer: "ca"}), issued.der()},
		"the signer":    {ca.der(), negative(issued)},
		"both":          {negative(link{key: "ca", subject: "ca", issuer: "ca"}), negative(issued)},
	} {
		for shape, config := range shapes {
			t.Run(name+" in "+shape, func(t *testing.T) {
				for _, order := range orders(ders) {
					if got := signers(t, config(order)); !slices.Equal(got, []string{"idp"}) {
						t.Errorf("%q may sign", got)
					}
				}
			})
		}
	}
}

// Who gives nothing but authorities by hand is told at once, and who gives one
// beside the signer reads which was left out, and why.
func TestAuthorityIsReported(t *testing.T) {
	t.Parallel()
	crossed := []link{{key: "idp", subject: "one", issuer: "two"}, {key: "ca", subject: "two", issuer: "one"}}
	_, err := samlsp.New(byHand(each(linked(crossed), pemCert)...), samlsp.Deps{})
	for _, want := range []string{"checking certificate", `CN=two,O=Example`, "no certificate is left; give the one that the provider signs with"} {
		wantText(t, err, want)
	}
	core, logs := observer.New(zapcore.InfoLevel)
	if _, err := samlsp.New(byHand(pemCert(ca.der()), pemCert(issued.der())), samlsp.Deps{Logger: zap.New(core)}); err != nil {
		t.Fatal(err)
	}
	if logs.Len() != 1 {
		t.Fatalf("%d lines in the log, want one", logs.Len())
	}
	got := fmt.Sprint(logs.All()[0].ContextMap())
	for _, want := range []string{"CN=ca,O=Example", "issued", "CN=idp,O=Example", "sha256"} {
		if !strings.Contains(got, want) {
			t.Errorf("the log says %s, not %q", got, want)
		}
	}
}
