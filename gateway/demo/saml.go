package demo

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/crewjam/saml"
)

const (
	metadataPath = "/metadata"
	ssoPath      = "/sso"
	// maxMetadata bounds the gateway's metadata in bytes.
	maxMetadata = 1 << 20
	// rsaSHA256 is the provider's signature method (RFC 9231 2.3.2).
	rsaSHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
	// unspecified leaves the meaning of a NameID to both sides (SAML Core 8.3.1).
	unspecified = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
)

// newSAML returns the SAML identity provider at origin, for sites. It signs the assertion
// and the message with RSA-SHA256.
func newSAML(origin string, sites []*Site) (http.Handler, error) {
	key, cert, err := newCertificate()
	if err != nil {
		return nil, fmt.Errorf("making the SAML provider's certificate: %w", err)
	}
	base, err := url.Parse(origin)
	if err != nil {
		return nil, err
	}
	provider := &samlProvider{sites: sites}
	idp := &saml.IdentityProvider{
		Key: key, Certificate: cert, SignatureMethod: rsaSHA256,
		MetadataURL: *base.JoinPath(metadataPath), SSOURL: *base.JoinPath(ssoPath),
		ServiceProviderProvider: provider, SessionProvider: provider, Logger: log.New(io.Discard, "", 0),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+metadataPath, idp.ServeMetadata)
	mux.HandleFunc("GET "+ssoPath, func(w http.ResponseWriter, r *http.Request) { provider.ask(w, r, idp) })
	mux.HandleFunc("POST "+ssoPath, func(w http.ResponseWriter, r *http.Request) { provider.ask(w, r, idp) })
	return mux, nil
}

// newCertificate returns a key and its certificate for metadata.
func newCertificate() (*rsa.PrivateKey, *x509.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "demo"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return key, cert, err
}

// A samlProvider supplies people and service providers to crewjam's identity provider.
type samlProvider struct{ sites []*Site }

type personKey struct{}

// ask shows the buttons first, and passes the request on after a button was pressed. The
// authentication request stays in the query all the time (SAML Bindings 3.4).
func (s *samlProvider) ask(w http.ResponseWriter, r *http.Request, idp *saml.IdentityProvider) {
	if r.URL.Query().Get("SAMLRequest") == "" {
		http.Error(w, "Sign-ins begin at an application, which sends the browser here by the redirect binding.", http.StatusBadRequest)
		return
	}
	p := who(w, r, "SAML 2.0")
	if p == nil {
		return
	}
	asked := r.Clone(context.WithValue(r.Context(), personKey{}, p))
	asked.Method, asked.Form, asked.PostForm, asked.Body = http.MethodGet, nil, nil, http.NoBody
	idp.ServeSSO(w, asked)
}

// GetSession implements saml.SessionProvider.
func (*samlProvider) GetSession(w http.ResponseWriter, r *http.Request, _ *saml.IdpAuthnRequest) *saml.Session {
	p, ok := r.Context().Value(personKey{}).(*Person)
	if !ok {
		http.Error(w, "nobody signed in", http.StatusForbidden)
		return nil
	}
	now := time.Now()
	attributes := []saml.Attribute{attribute("displayName", p.Name), attribute("email", p.Email)}
	if len(p.Groups) > 0 {
		attributes = append(attributes, attribute("groups", p.Groups...))
	}
	return &saml.Session{
		ID: rand.Text(), Index: rand.Text(), CreateTime: now, ExpireTime: now.Add(8 * time.Hour),
		NameID: p.Username, NameIDFormat: unspecified, CustomAttributes: attributes,
	}
}

func attribute(name string, values ...string) saml.Attribute {
	a := saml.Attribute{Name: name, NameFormat: "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"}
	for _, v := range values {
		a.Values = append(a.Values, saml.AttributeValue{Type: "xs:string", Value: v})
	}
	return a
}

// GetServiceProvider implements saml.ServiceProviderProvider: it fetches the
// metadata of a site from the gateway.
func (s *samlProvider) GetServiceProvider(r *http.Request, entityID string) (*saml.EntityDescriptor, error) {
	for _, site := range s.sites {
		if entityID == site.Origin+"/.sso/saml/metadata" {
			return fetchMetadata(r.Context(), entityID)
		}
	}
	return nil, os.ErrNotExist
}

// fetchMetadata waits while the gateway makes its SAML key, which takes seconds on a slow machine.
func fetchMetadata(ctx context.Context, address string) (*saml.EntityDescriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, loopbackClient.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := loopbackClient.Do(req)
	for err == nil && resp.StatusCode == http.StatusServiceUnavailable {
		_ = resp.Body.Close()
		time.Sleep(time.Second)
		resp, err = loopbackClient.Do(req)
	}
	if err != nil {
		return nil, fmt.Errorf("fetching the gateway's metadata: %w", err)
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadata))
	if err != nil {
		return nil, fmt.Errorf("fetching the gateway's metadata: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching the gateway's metadata: status %d", resp.StatusCode)
	}
	var entity saml.EntityDescriptor
	if err := xml.Unmarshal(doc, &entity); err != nil {
		return nil, fmt.Errorf("reading the gateway's metadata: %w", err)
	}
	return &entity, nil
}
