package samlsp

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// algRSASHA256 is what requests are signed with (RFC 6931 §2.3.2): every
// provider of today takes it.
const algRSASHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"

// A signer signs our messages. Nil: they go unsigned.
type signer struct {
	key         crypto.Signer
	certificate []byte // DER
}

// signs reports whether requests to this provider are signed: as configured,
// else as its metadata say (SAML Metadata 2.4.3, WantAuthnRequestsSigned).
//
// A provider may say so and take unsigned requests all the same, as Keycloak's
// metadata always do. Signing does no harm there: a provider that does not check
// ignores the signature. A login fails only if the provider checks and our key was
// never registered; its message says so, and the remedies are to register our
// metadata, which hold the key, or sign_requests off. Without a signature, every
// login would fail at each provider that does check.
func (p *Provider) signs(to *idp) bool {
	switch p.config.SignRequests {
	case On:
		return true
	case Off:
		return false
	}
	return to.wantSigned && p.keys != nil
}

// signer returns what requests to this provider are signed with, nil for
// nothing.
func (p *Provider) signer(ctx context.Context, to *idp) (*signer, error) {
	if !p.signs(to) {
		return nil, nil
	}
	if p.keys == nil {
		return nil, refusal.New(refusal.NotReady, errors.New("sign_requests is on, and there is no key to sign with"))
	}
	return p.ownKey(ctx)
}

// ownKey returns our key, nil if there is none.
func (p *Provider) ownKey(ctx context.Context) (*signer, error) {
	if p.keys == nil {
		return nil, nil
	}
	key, certificate, err := p.keys.KeyPair(ctx)
	if err != nil {
		return nil, err
	}
	return &signer{key, certificate}, nil
}

// An authnRequest is a request to sign somebody in (SAML Core 3.4.1).
type authnRequest struct {
	id           string
	issued       time.Time
	destination  string
	callback     string // AssertionConsumerServiceURL
	issuer       string
	nameIDFormat string // empty: the provider's choice
	force        bool
}

// element returns the request unsigned, its children in the schema's order.
func (r *authnRequest) element() *etree.Element {
	el := etree.NewElement("samlp:AuthnRequest")
	el.CreateAttr("xmlns:samlp", nsProtocol)
	el.CreateAttr("xmlns:saml", nsAssertion)
	el.CreateAttr("ID", r.id)
	el.CreateAttr("Version", "2.0")
	el.CreateAttr("IssueInstant", r.issued.UTC().Format("2006-01-02T15:04:05Z"))
	el.CreateAttr("Destination", r.destination)
	if r.force {
		el.CreateAttr("ForceAuthn", "true")
	}
	el.CreateAttr("ProtocolBinding", uriPOST)
	el.CreateAttr("AssertionConsumerServiceURL", r.callback)
	el.CreateElement("saml:Issuer").SetText(r.issuer)
	if r.nameIDFormat != "" {
		policy := el.CreateElement("samlp:NameIDPolicy")
		policy.CreateAttr("Format", r.nameIDFormat)
		if r.nameIDFormat != formatTransient { // SAML 2.0 Errata E14
			policy.CreateAttr("AllowCreate", "true")
		}
	}
	return el
}

// redirect sends the request by the HTTP-Redirect binding with DEFLATE (SAML
// Bindings 3.4.4.1). The signature is over the very octets of the query that
// are sent, from SAMLRequest to SigAlg.
func (r *authnRequest) redirect(state string, by *signer) (*provider.Begun, error) {
	doc, err := serialized(r.element())
	if err != nil {
		return nil, err
	}
	packed, err := deflated(doc)
	if err != nil {
		return nil, err
	}
	query := "SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packed)) + "&RelayState=" + url.QueryEscape(state)
	if by != nil {
		query += "&SigAlg=" + url.QueryEscape(algRSASHA256)
		digest := sha256.Sum256([]byte(query))
		signature, err := by.key.Sign(rand.Reader, digest[:], crypto.SHA256) // PKCS #1 v1.5
		if err != nil {
			return nil, err
		}
		query += "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature))
	}
	return &provider.Begun{Location: r.destination + separator(r.destination) + query}, nil
}

// separator is what stands between a URL and more of its query.
func separator(location string) string {
	switch {
	case !strings.Contains(location, "?"):
		return "?"
	case strings.HasSuffix(location, "?"), strings.HasSuffix(location, "&"):
		return ""
	}
	return "&"
}

// post sends the request by the HTTP-POST binding (SAML Bindings 3.5.4), signed
// within.
func (r *authnRequest) post(state string, by *signer) (*provider.Begun, error) {
	el := r.element()
	if by != nil {
		if err := by.sign(el); err != nil {
			return nil, err
		}
	}
	doc, err := serialized(el)
	if err != nil {
		return nil, err
	}
	form := url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(doc)}, "RelayState": {state}}
	return &provider.Begun{Location: r.destination, Form: form}, nil
}

// sign puts an enveloped signature into el, behind its Issuer as the schema
// wants (SAML Core 3.2.1, 5.4).
func (by *signer) sign(el *etree.Element) error {
	signing, err := dsig.NewSigningContext(by.key, [][]byte{by.certificate})
	if err != nil {
		return err
	}
	signing.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := signing.SetSignatureMethod(algRSASHA256); err != nil {
		return err
	}
	signature, err := signing.ConstructSignature(el, true)
	if err != nil {
		return err
	}
	el.InsertChildAt(1, signature)
	return nil
}

func serialized(root *etree.Element) ([]byte, error) {
	return etree.NewDocumentWithRoot(root).WriteToBytes()
}

func deflated(doc []byte) ([]byte, error) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(doc); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
