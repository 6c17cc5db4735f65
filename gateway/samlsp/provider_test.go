package samlsp_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// The names of the world that these tests live in.
const (
	idpEntityID = "https://idp.example.com/metadata"
	idpRedirect = "https://idp.example.com/sso/redirect"
	idpPOST     = "https://idp.example.com/sso/post"
	siteACS     = "https://app.example.com/.sso/saml/acs"
	siteMD      = "https://app.example.com/.sso/saml/metadata"
)

var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func year(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }

// certify returns a self-signed certificate of key in DER. It is valid in the
// year 2000 as well, where bubbles of synctest are.
func certify(key crypto.Signer, change ...func(*x509.Certificate)) []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"},
		NotBefore: year(1999), NotAfter: year(2099),
	}
	for _, c := range change {
		c(template)
	}
	return must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
}

func b64(der []byte) string { return base64.StdEncoding.EncodeToString(der) }

func pemOf(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

var idpCert = sync.OnceValue(func() []byte { return certify(rsaKey()) })

// An entity is an identity provider's metadata. The zero value of a field
// leaves its part out.
type entity struct {
	entityID, attrs, roleAttrs, redirect, post string
	keys                                       []string // KeyDescriptors
}

func keyDescriptor(use string, certs ...string) string {
	if use != "" {
		use = fmt.Sprintf(` use="%s"`, use)
	}
	var data strings.Builder
	for _, cert := range certs {
		data.WriteString("<ds:X509Certificate>" + cert + "</ds:X509Certificate>")
	}
	return "<md:KeyDescriptor" + use + `><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>` + data.String() + "</ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
}

func goodEntity() *entity {
	return &entity{
		entityID: idpEntityID, redirect: idpRedirect, post: idpPOST,
		keys: []string{keyDescriptor("signing", b64(idpCert()))},
	}
}

const (
	mdNamespace = `xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata"`
	saml2       = `protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"`
)

func (e *entity) xml() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<md:EntityDescriptor %s entityID="%s" %s><md:IDPSSODescriptor %s %s>`, mdNamespace, e.entityID, e.attrs, saml2, e.roleAttrs)
	b.WriteString(strings.Join(e.keys, ""))
	if e.post != "" {
		fmt.Fprintf(&b, `<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="%s"/>`, e.post)
	}
	if e.redirect != "" {
		fmt.Fprintf(&b, `<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="%s"/>`, e.redirect)
	}
	b.WriteString(`<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:SOAP" Location="https://idp.example.com/soap"/></md:IDPSSODescriptor></md:EntityDescriptor>`)
	return b.String()
}

// spKeys are samlsp.Keys in memory.
type spKeys struct {
	err error
}

var (
	spKey  = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	spCert = sync.OnceValue(func() []byte { return certify(spKey()) })
)

func (k spKeys) KeyPair(context.Context) (crypto.Signer, []byte, error) {
	return spKey(), spCert(), k.err
}

// newProvider returns a provider with metadata inline.
func newProvider(t *testing.T, e *entity, change ...func(*samlsp.Config)) *samlsp.Provider {
	t.Helper()
	return newWith(t, e, samlsp.Deps{Keys: spKeys{}}, change...)
}

func newWith(t *testing.T, e *entity, deps samlsp.Deps, change ...func(*samlsp.Config)) *samlsp.Provider {
	t.Helper()
	config := samlsp.Config{Metadata: []byte(e.xml())}
	for _, c := range change {
		c(&config)
	}
	p, err := samlsp.New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func signs(c *samlsp.Config) { c.SignRequests = samlsp.On }

var beginRequest = provider.BeginRequest{State: strings.Repeat("s", 43), CallbackURL: siteACS, MetadataURL: siteMD}

func begin(t *testing.T, p *samlsp.Provider) *provider.Begun {
	t.Helper()
	begun, err := p.Begin(t.Context(), beginRequest)
	if err != nil {
		t.Fatal(err)
	}
	return begun
}

func wantCode(t *testing.T, err error, want refusal.Code) {
	t.Helper()
	if err == nil || refusal.CodeOf(err) != want {
		t.Errorf("got %v, want code %s", err, want)
	}
}

func wantText(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want something with %q", err, want)
	}
}
