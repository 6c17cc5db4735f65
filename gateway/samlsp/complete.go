package samlsp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// Complete implements gateway.Provider for the HTTP-POST binding (SAML Bindings
// 3.5.4). Nothing of the document is believed that no signature covers: the
// assertion is read anew from what was signed. A signature that no known key
// fits has the metadata fetched once more, if their age permits it.
func (p *Provider) Complete(ctx context.Context, req gateway.CompleteRequest) (*gateway.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var f flow
	if err := json.Unmarshal(req.Private, &f); err != nil || f.ID == "" {
		return nil, gateway.NewError(gateway.CodeFlowUnknown, errors.New("reading the flow: it was not begun here"))
	}
	idp, err := p.identityProvider(ctx)
	if err != nil {
		return nil, err
	}
	if f.EntityID != idp.entityID {
		return nil, gateway.NewError(gateway.CodeFlowUnknown, errors.New("reading the flow: it was begun at another provider"))
	}
	root, err := p.document(req.Params)
	if err != nil {
		return nil, err
	}
	found, err := p.verified(ctx, root, idp)
	if err != nil {
		return nil, err
	}
	return p.answer(found, &expectation{
		issuer: idp.entityID, audience: p.spEntityID(req.MetadataURL), acs: req.CallbackURL,
		request: f.ID, begun: f.begun(), forced: f.Forced, now: time.Now(), skew: p.config.ClockSkew,
	})
}

// An expectation is what the checks compare a message with.
type expectation struct {
	issuer, audience, acs string // entity IDs, and where the answer must arrive
	request               string // the ID of our AuthnRequest
	begun, now            time.Time
	skew                  time.Duration
	forced                bool // a new login was asked for
}

// notYet says whether t lies in the future, and over whether it has come, each
// by more than the clocks may differ.
func (x *expectation) notYet(t time.Time) bool { return t.After(x.now.Add(x.skew)) }
func (x *expectation) over(t time.Time) bool   { return !x.now.Add(-x.skew).Before(t) }

// stale says whether t lies before the login began, or in the future.
func (x *expectation) stale(t time.Time) bool {
	return t.Before(x.begun.Add(-x.skew)) || x.notYet(t)
}

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
		return nil, malformed("reading the form: SAMLResponse is no Base64")
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

func malformed(format string, args ...any) *gateway.Error {
	return gateway.NewError(gateway.CodeSAMLMalformed, fmt.Errorf(format, args...))
}
