package samlsp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// messageBounds hold for a message, and for what is read anew of it: a person
// with 2,000 groups fits in three times over.
var messageBounds = xmlsec.Bounds{Size: 1 << 20, Depth: 64, Elements: 20000, Attributes: 64, Signatures: 8}

// document reads the message out of the form.
func (p *Provider) document(params url.Values) (*etree.Element, error) {
	if err := p.checks.form.Run(params); err != nil {
		return nil, err
	}
	doc, err := p.decode(params.Get("SAMLResponse"))
	if err != nil {
		return nil, err
	}
	root, err := p.checks.Read(doc, messageBounds)
	if err != nil {
		return nil, err
	}
	return root, p.checks.document.Run(root)
}

func formSingle(params url.Values) error {
	if n := len(params["SAMLResponse"]); n != 1 {
		return fmt.Errorf("reading the form: SAMLResponse stands %d times", n)
	}
	return nil
}

var lineBlanks = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "")

// decode undoes Base64 (RFC 4648 §4). Blanks and line breaks are what real
// providers put into it (RFC 2045 §6.8, which SAML Bindings 3.5.4 names);
// anything else that is not in the alphabet is refused.
func (p *Provider) decode(text string) ([]byte, error) {
	text = lineBlanks.Replace(text)
	if err := p.checks.encoding.Run(text); err != nil {
		return nil, err
	}
	doc, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, malformed("reading the form: SAMLResponse is no Base64; a proxy may have changed it")
	}
	return doc, nil
}

func encodingSize(text string) error {
	if base64.StdEncoding.DecodedLen(len(text)) > messageBounds.Size+2 { // of padding
		return fmt.Errorf("reading the form: the message is larger than %d bytes", messageBounds.Size)
	}
	return nil
}

// encodingStrict refuses bits behind the last byte: they would give one message
// several forms.
func encodingStrict(text string) error {
	if _, err := base64.StdEncoding.Strict().DecodeString(text); err != nil {
		return errors.New("reading the form: SAMLResponse is no strict Base64")
	}
	return nil
}
