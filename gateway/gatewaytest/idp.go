package gatewaytest

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// An IdP is a SAML identity provider for tests, with one person who is always signed
// in there. It behaves unless IdPHooks change that. It writes and signs its documents
// as text, by its own code, so that it shares no mistake with the code under test.
type IdP struct {
	// EntityID is the provider's entity ID and the base of its URLs.
	EntityID string
	// Roots verifies the server, in PEM.
	Roots []byte
	// Key signs. The metadata contain its certificate, or instead Chain: several
	// certificates in one X509Data, in DER.
	Key   IdPKey
	Chain [][]byte

	fake[IdPHooks]
	requests []url.Values
}

// IdPHooks change the behaviour of an IdP. A nil hook changes nothing.
type IdPHooks struct {
	// Answer changes the answer before it is written and signed.
	Answer func(a *IdPAnswer)
	// Document changes the signed document.
	Document func(doc string) string
	// Metadata changes the metadata.
	Metadata func(doc string) string
	// Serve replaces endpoints by path.
	Serve map[string]http.HandlerFunc
}

// The IdP's endpoints.
const (
	IdPMetadataPath = "/metadata"
	IdPSSOPath      = "/sso"
)

// NewIdP starts an IdP. It ends with the test.
func NewIdP(tb testing.TB) *IdP {
	tb.Helper()
	idp := &IdP{}
	idp.EntityID, idp.Roots = startTLS(tb, idp)
	var err error
	if idp.Key, err = NewIdPKey(); err != nil {
		tb.Fatal(err)
	}
	return idp
}

// LastRequest returns the parameters of the last AuthnRequest.
func (idp *IdP) LastRequest() url.Values {
	idp.mu.Lock()
	defer idp.mu.Unlock()
	if len(idp.requests) == 0 {
		return nil
	}
	return idp.requests[len(idp.requests)-1]
}

// ServeHTTP implements http.Handler.
func (idp *IdP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hooks := idp.count(r.URL.Path)
	serve := hooks.Serve[r.URL.Path]
	switch {
	case serve != nil:
		serve(w, r)
	case r.URL.Path == IdPMetadataPath:
		w.Header().Set("Content-Type", "application/samlmetadata+xml")
		doc := idp.Metadata()
		if hooks.Metadata != nil {
			doc = hooks.Metadata(doc)
		}
		_, _ = io.WriteString(w, doc)
	case r.URL.Path == IdPSSOPath:
		idp.serveSSO(w, r)
	default:
		http.NotFound(w, r)
	}
}

// Metadata returns the provider's metadata (SAML Metadata 2.4.3).
func (idp *IdP) Metadata() string {
	chain := idp.Chain
	if len(chain) == 0 {
		chain = [][]byte{idp.Key.Certificate}
	}
	certificates := ""
	for _, der := range chain {
		certificates += "<ds:X509Certificate>" + base64.StdEncoding.EncodeToString(der) + "</ds:X509Certificate>"
	}
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="%[1]s">
	<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
		<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data>%[2]s</ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
		<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="%[1]s%[3]s"/>
		<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="%[1]s%[3]s"/>
	</md:IDPSSODescriptor>
</md:EntityDescriptor>
`, attr(idp.EntityID), certificates, IdPSSOPath)
}

var answerPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<form method="post" action="{{.Action}}">{{range $name, $values := .Form}}{{range $values}}<input type="hidden" name="{{$name}}" value="{{.}}">{{end}}{{end}}<button>Go on</button></form>
`))

func (idp *IdP) serveSSO(w http.ResponseWriter, r *http.Request) {
	params := r.URL.Query()
	if r.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		params = r.PostForm
	}
	action, form, err := idp.Answer(r.Method, params)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = answerPage.Execute(w, map[string]any{"Action": action, "Form": map[string][]string(form)})
}

// An authnRequest has the parts of an AuthnRequest that the IdP reads (SAML Core
// 3.4.1).
type authnRequest struct {
	XMLName     xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:protocol AuthnRequest"`
	ID          string   `xml:",attr"`
	Version     string   `xml:",attr"`
	Destination string   `xml:",attr"`
	ACS         string   `xml:"AssertionConsumerServiceURL,attr"`
	Issuer      string   `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Policy      struct {
		Format string `xml:",attr"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:protocol NameIDPolicy"`
}

// Answer processes the parameters of a GET (SAML Bindings 3.4) or POST (3.5). It
// returns the form and the address to which the browser posts it.
func (idp *IdP) Answer(method string, params url.Values) (action string, form url.Values, err error) {
	for name, values := range params {
		if len(values) != 1 {
			return "", nil, fmt.Errorf("answering: %s stands %d times", name, len(values))
		}
	}
	idp.mu.Lock()
	idp.requests = append(idp.requests, params)
	idp.mu.Unlock()
	req, err := readRequest(method, params.Get("SAMLRequest"))
	if err != nil {
		return "", nil, fmt.Errorf("reading the request: %w", err)
	}
	if req.Version != "2.0" || req.ID == "" || req.ACS == "" || req.Issuer == "" || req.Destination != idp.EntityID+IdPSSOPath {
		return "", nil, errors.New("reading the request: something is missing or wrong in it")
	}
	now := time.Now().UTC()
	answer := &IdPAnswer{
		Issuer: idp.EntityID, Destination: req.ACS, Recipient: req.ACS, Audience: req.Issuer, InResponseTo: req.ID,
		ID: "_" + rand.Text(), AssertionID: "_" + rand.Text(), SessionIndex: "s-" + rand.Text(),
		IssueInstant: now, AuthnInstant: now, NotBefore: now.Add(-time.Minute), NotOnOrAfter: now.Add(5 * time.Minute),
		Status: StatusSuccess, NameID: "alice", NameIDFormat: cmp.Or(req.Policy.Format, NameIDUnspecified), Attributes: idp.Person(),
		Key: idp.Key, SignAssertion: true,
	}
	hooks := idp.current()
	if hooks.Answer != nil {
		hooks.Answer(answer)
	}
	doc, err := answer.Document()
	if err != nil {
		return "", nil, err
	}
	if hooks.Document != nil {
		doc = hooks.Document(doc)
	}
	form = url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(doc))}}
	if params.Has("RelayState") {
		form.Set("RelayState", params.Get("RelayState"))
	}
	return req.ACS, form, nil
}

func readRequest(method, value string) (*authnRequest, error) {
	doc, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil, err
	}
	if method == http.MethodGet {
		if doc, err = io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(doc)), 1<<20)); err != nil {
			return nil, err
		}
	}
	req := new(authnRequest)
	if err := xml.Unmarshal(doc, req); err != nil {
		return nil, err
	}
	req.Issuer = strings.TrimSpace(req.Issuer)
	return req, nil
}

// Person returns the attributes of the one person.
func (*IdP) Person() []IdPAttribute {
	return []IdPAttribute{
		{"mail", []string{"alice@example.com"}},
		{"givenName", []string{"Alice"}},
		{"sn", []string{"Ångström"}},
		{"displayName", []string{"Alice Ångström"}},
		{"groups", []string{"staff", "admins"}},
	}
}
