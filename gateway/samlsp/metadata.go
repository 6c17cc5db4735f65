package samlsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// maxMetadata is the largest metadata document that is read, in bytes: room for
// an aggregate of some hundred entities.
const maxMetadata = 10 << 20

// fetchMetadata gets the metadata. Any media type is taken, since providers
// name many, but not a web page.
func (p *Provider) fetchMetadata(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.config.MetadataURL, nil)
	if err != nil {
		return nil, fetch.Unavailable("fetching the metadata: %w", errors.New("the address is malformed"))
	}
	req.Header.Set("Accept", "application/samlmetadata+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.1")
	got, err := p.outbound.Do(req, maxMetadata)
	if err != nil {
		if errors.Is(err, fetch.ErrTooLarge) {
			err = fmt.Errorf("%w; give the address of this provider's own metadata instead of a federation's", err)
		}
		return nil, fetch.Unavailable("fetching the metadata: %w", err)
	}
	if err := checkAnswer(got); err != nil {
		return nil, fetch.Unavailable("fetching the metadata: %w", err)
	}
	return got.Body, nil
}

func checkAnswer(got *fetch.Response) error {
	switch {
	case got.Status >= 300 && got.Status < 400:
		return answeredError{fmt.Errorf("the status is %d: redirects are not followed, give the address that it leads to", got.Status)}
	case got.Status >= 500:
		return got.Fault(fmt.Errorf("the status is %d instead of 200", got.Status))
	case got.Status != http.StatusOK:
		return answeredError{got.Fault(fmt.Errorf("the status is %d instead of 200", got.Status))}
	case got.MediaType == "text/html" && isHTML(got.Body):
		return answeredError{errHTML}
	}
	return nil
}

// An answeredError is a fault of metadata whose server is there.
type answeredError struct{ error }

func (e answeredError) Unwrap() error { return e.error }

var errHTML = errors.New("it is a web page, not metadata; give the address of the XML document, which needs no login")

var errJSON = errors.New("it is JSON, as OpenID Providers publish it, not SAML metadata; give the address of the XML document, or sign people in by OpenID Connect")

var errBase64 = errors.New("it is XML in Base64; decode it once (base64 -d), and give the XML")

var errNoXML = errors.New("it is no XML; give the address of the metadata, an XML document")

// isBase64XML reports whether a document in Base64 begins as XML does.
func isBase64XML(doc []byte) bool {
	start := bytes.TrimLeft(doc, "\ufeff \t\r\n")
	decoded, err := base64.StdEncoding.DecodeString(string(start[:min(len(start), 8)]))
	return err == nil && bytes.HasPrefix(bytes.TrimPrefix(decoded, []byte(markUTF8)), []byte("<"))
}

func isHTML(doc []byte) bool {
	start := bytes.ToLower(bytes.TrimLeft(doc[:min(len(doc), 512)], "\ufeff \t\r\n"))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// parseMetadata reads metadata that were fetched, or kept.
func (p *Provider) parseMetadata(doc []byte) (*idp, error) {
	known, err := p.readMetadata(doc)
	if err != nil {
		return nil, fetch.Unavailable("reading the metadata: %w", answeredError{err})
	}
	return known, nil
}

// acceptMetadata compares what was fetched with what is known. The entity ID is part of
// every account's key: if it changed by itself, all accounts of this provider would be
// lost, or it would get those of another. So only the option entity_id can change it.
func (p *Provider) acceptMetadata(fetched *idp) error {
	if err := fetched.usable(p.now()); err != nil {
		return fetch.Unavailable("fetching the metadata: %w", answeredError{err})
	}
	if known, ok := p.remote.Known(); ok && known.entityID != fetched.entityID {
		return fetch.Unavailable("fetching the metadata: %w", fmt.Errorf(
			"the entity ID was %s and is %s now; if that is meant, set entity_id to the new one: its accounts are others",
			wording.Quoted(known.entityID), wording.Quoted(fetched.entityID)))
	}
	return nil
}

// readMetadata finds the one identity provider in a document of SAML Metadata
// 2.0 that the configuration means.
func (p *Provider) readMetadata(doc []byte) (*idp, error) {
	if len(doc) > maxMetadata {
		return nil, fmt.Errorf("the document is larger than %d bytes; give this provider's own metadata instead of a federation's", maxMetadata)
	}
	doc, err := inUTF8(doc)
	if err != nil {
		return nil, err
	}
	switch start := bytes.TrimLeft(doc, "\ufeff \t\r\n"); {
	case isHTML(doc):
		return nil, errHTML
	case bytes.HasPrefix(start, []byte("{")):
		return nil, errJSON
	case isBase64XML(doc):
		return nil, errBase64
	case len(start) > 0 && start[0] != '<':
		return nil, errNoXML
	}
	root, err := p.readXML(doc)
	if err != nil {
		return nil, err
	}
	if !is(root, "EntityDescriptor") && !is(root, "EntitiesDescriptor") {
		return nil, fmt.Errorf("the root element is %s; expected is an EntityDescriptor in the namespace %s", describe(root), nsMetadata)
	}
	found, err := choose(candidates(root), p.config.EntityID)
	if err != nil {
		return nil, err
	}
	return p.readRole(found)
}

// candidates returns the identity providers for SAML 2.0 below el, which may be nested in
// groups (SAML Metadata 2.3.1). It does not look for entities in an entity: in an aggregate,
// each entity may have written its own part.
func candidates(el *etree.Element) []*etree.Element {
	entity := is(el, "EntityDescriptor")
	var roles []*etree.Element
	for _, child := range el.ChildElements() {
		switch {
		case !entity && (is(child, "EntitiesDescriptor") || is(child, "EntityDescriptor")):
			roles = append(roles, candidates(child)...)
		case entity && is(child, "IDPSSODescriptor") && speaksSAML2(child):
			roles = append(roles, child)
		}
	}
	return roles
}

func speaksSAML2(role *etree.Element) bool {
	return slices.Contains(strings.Fields(attr(role, "protocolSupportEnumeration")), nsProtocol)
}

// choose returns the role of the entity that is meant.
func choose(roles []*etree.Element, entityID string) (*etree.Element, error) {
	var names []string
	var found []*etree.Element
	for _, role := range roles {
		name := uri(role.Parent(), "entityID")
		names = append(names, name)
		if entityID == "" || name == entityID {
			found = append(found, role)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(roles) == 0:
		return nil, fmt.Errorf("there is no identity provider for SAML 2.0 in it: no IDPSSODescriptor in the namespace %s with %s in its protocolSupportEnumeration: give those of the identity provider, not of a service provider", nsMetadata, nsProtocol)
	case len(found) == 0:
		return nil, fmt.Errorf("the entity ID %s is not in it, byte for byte; correct entity_id: there is %s", wording.Quoted(entityID), wording.List(names))
	case entityID != "":
		return nil, fmt.Errorf("the entity ID %s is in it %d times", wording.Quoted(entityID), len(found))
	}
	return nil, fmt.Errorf("there are %d identity providers in it; set entity_id to one of %s", len(found), wording.List(names))
}

// readRole reads an IDPSSODescriptor (SAML Metadata 2.4.3).
func (p *Provider) readRole(role *etree.Element) (*idp, error) {
	known := &idp{entityID: uri(role.Parent(), "entityID")}
	if strings.Contains(known.entityID, "{") {
		return nil, fmt.Errorf("the entity ID %s has a placeholder in it: these are the metadata for all tenants, and name no provider; "+
			"give those of your own tenant (Entra ID: https://login.microsoftonline.com/<tenant ID>/federationmetadata/2007-06/federationmetadata.xml)", wording.Quoted(known.entityID))
	}
	if !isPlain(known.entityID) {
		return nil, fmt.Errorf("the entity ID is empty, longer than %d bytes, or has blanks around it or control characters", maxText)
	}
	var err error
	if known.validUntil, err = validUntil(role); err != nil {
		return nil, err
	}
	switch want := strings.TrimSpace(attr(role, "WantAuthnRequestsSigned")); want {
	case "true", "1":
		known.wantSigned = true
	case "false", "0", "":
	default:
		return nil, fmt.Errorf("WantAuthnRequestsSigned is %s, neither true nor false", wording.Quoted(want))
	}
	if err := p.readEndpoints(role, known); err != nil {
		return nil, err
	}
	known.keys, err = p.readKeys(role)
	return known, err
}

// validUntil returns the earliest end that is set on role, its entity and the
// groups around it.
func validUntil(role *etree.Element) (time.Time, error) {
	var end time.Time
	for el := role; el != nil; el = el.Parent() {
		text := strings.TrimSpace(attr(el, "validUntil"))
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil { // without a zone it is UTC (SAML Core 1.3.3)
			if t, err = time.Parse("2006-01-02T15:04:05", text); err != nil {
				return end, fmt.Errorf("validUntil is %s, no time", wording.Quoted(text))
			}
		}
		if end.IsZero() || t.Before(end) {
			end = t
		}
	}
	return end, nil
}

// readEndpoints takes the first SingleSignOnService of each binding that we
// have. One whose address can't be used is as if it were not there.
func (p *Provider) readEndpoints(role *etree.Element, known *idp) error {
	var faults []error
	for _, service := range xmlsec.Children(role, nsMetadata, "SingleSignOnService") {
		var to *string
		switch uri(service, "Binding") {
		case uriRedirect:
			to = &known.ssoRedirect
		case uriPOST:
			to = &known.ssoPost
		default:
			continue
		}
		location := strings.TrimSpace(attr(service, "Location"))
		if err := p.outbound.CheckURL(location); err != nil {
			faults = append(faults, fmt.Errorf("the SingleSignOnService at %s %w", wording.Quoted(location), err))
			continue
		}
		if *to == "" {
			*to = location
		}
	}
	if known.ssoRedirect == "" && known.ssoPost == "" {
		return oneLine(append(faults, errors.New("there is no usable SingleSignOnService for HTTP-Redirect or HTTP-POST"))...)
	}
	_, _, err := known.location(p.config.RequestBinding)
	return err
}

// readKeys returns the keys that may sign: those of all certificates that are no
// authority's, wherever in the descriptors they stand. A certificate that can't be used is
// left out. If one can't be read, its whole X509Data is left out: it may be the signer, and
// the others its chain (XML Signature 4.5.4).
func (p *Provider) readKeys(role *etree.Element) ([]crypto.PublicKey, error) {
	var signing, all []*x509.Certificate
	var faults []error
	for _, descriptor := range xmlsec.Children(role, nsMetadata, "KeyDescriptor") {
		for _, info := range xmlsec.Children(descriptor, xmlsec.DSig, "KeyInfo") {
			for _, data := range xmlsec.Children(info, xmlsec.DSig, "X509Data") {
				certs, usable, err := readX509Data(data)
				all = append(all, certs...)
				if use := attr(descriptor, "use"); use == "" || use == "signing" {
					signing = append(signing, usable...)
					faults = append(faults, err...)
				}
			}
		}
	}
	keys, err := p.signingKeys(signing, all)
	if len(keys) == 0 {
		if err == nil {
			err = fmt.Errorf("there is no signing certificate in it (KeyDescriptor and X509Certificate in the namespaces %s and %s)", nsMetadata, xmlsec.DSig)
		}
		return nil, oneLine(append(faults, err)...)
	}
	for _, fault := range faults {
		p.logger.Warn("leaving out a key of the provider's metadata", zap.Error(fault))
	}
	return keys, nil
}

// readX509Data returns the certificates that can be read, those of them whose
// keys can be used, and what is wrong with the others.
func readX509Data(data *etree.Element) (certs, usable []*x509.Certificate, faults []error) {
	unread := false
	for _, el := range xmlsec.Children(data, xmlsec.DSig, "X509Certificate") {
		got, err := readCertificates(el.Text())
		if err != nil {
			unread = true
			faults = append(faults, fmt.Errorf("a certificate %w", err))
		}
		certs = append(certs, got...)
	}
	if unread {
		return certs, nil, faults
	}
	for _, cert := range certs {
		if err := checkCertificate(cert); err != nil {
			faults = append(faults, fmt.Errorf("a certificate %w", err))
			continue
		}
		usable = append(usable, cert)
	}
	return certs, usable, faults
}

// metadataBounds hold for a metadata document. In UTF-8 it may be larger than it
// was.
var metadataBounds = xmlsec.Bounds{Size: 2 * maxMetadata, Depth: 64, Elements: 400_000, Attributes: 64, Signatures: 20_000, Instructions: true}

// readXML reads a metadata document as strictly as a message, with room for an aggregate.
// Processing instructions are skipped. Signatures are not verified: metadata are trusted
// because they came by TLS, or lie in our configuration.
func (p *Provider) readXML(doc []byte) (*etree.Element, error) {
	root, err := p.checks.Read(doc, metadataBounds)
	if refusal, ok := errors.AsType[*refusal.Error](err); ok {
		return nil, fmt.Errorf("%w: give the document whole, as the provider offers it", refusal.Err) // its code is that of an answer
	}
	return root, err
}

// is reports whether el is an element of metadata of that name.
func is(el *etree.Element, tag string) bool {
	return el.Tag == tag && el.NamespaceURI() == nsMetadata
}
