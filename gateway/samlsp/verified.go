package samlsp

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// A found message is what of a document may be consumed.
type found struct {
	// response is the message. Only if signed is set it was read anew from what
	// a signature covers; else it is a hint.
	response *etree.Element
	signed   bool
	// assertion was read anew from what a signature covers. foundCovered holds
	// that it was: nobody ever gets one without that.
	assertion *etree.Element
	covered   bool
}

// foundCovered is the last word about signatures, whatever the configuration.
func foundCovered(f *found) error {
	if !f.covered {
		return errors.New("reading the message: neither response nor assertion is signed; " + howToSign)
	}
	return nil
}

// verified verifies the document's signatures, with keys fetched anew if none
// that is known fits.
func (p *Provider) verified(ctx context.Context, root *etree.Element, idp *idp) (*found, error) {
	f, err := p.verify(root, idp)
	if refusal.CodeOf(err) != refusal.SAMLSignature {
		return f, err
	}
	renewed, renewErr := p.renewKeys(ctx)
	if renewErr != nil || renewed == idp || renewed.entityID != idp.entityID {
		return nil, err
	}
	return p.verify(root, renewed)
}

func (p *Provider) verify(root *etree.Element, idp *idp) (*found, error) {
	raw := xmlsec.Child(root, nsAssertion, "Assertion")
	if raw == nil {
		return nil, malformed("reading the message: there is no assertion")
	}
	s := &signing{
		response: xmlsec.Child(root, xmlsec.DSig, "Signature") != nil, assertion: xmlsec.Child(raw, xmlsec.DSig, "Signature") != nil,
		want: p.config.WantAssertionsSigned,
	}
	if err := p.checks.signing.Run(s); err != nil {
		return nil, err
	}
	trust := xmlsec.Trust{Keys: idp.keys, SHA1: p.config.InsecureSHA1}
	f := &found{response: root, signed: s.response, assertion: raw, covered: s.assertion}
	if s.assertion {
		signed, err := p.checks.Verify(raw, trust, messageBounds)
		if err != nil {
			return nil, err
		}
		f.assertion = signed
	}
	if s.response {
		signed, err := p.checks.Verify(root, trust, messageBounds)
		if err != nil {
			return nil, err
		}
		f.response = signed
		if err := p.within(f); err != nil {
			return nil, err
		}
	}
	if err := p.checks.found.Run(f); err != nil {
		return nil, err
	}
	return f, nil
}

// within takes the assertion out of the verified response. If it has a
// signature of its own, what both of them cover must be the same.
func (p *Provider) within(f *found) error {
	inside := xmlsec.Child(f.response, nsAssertion, "Assertion")
	if inside == nil {
		return malformed("reading the message: there is no assertion in what is signed")
	}
	if !f.covered {
		f.assertion, f.covered = inside, true
		return nil
	}
	if own := xmlsec.Child(inside, xmlsec.DSig, "Signature"); own != nil {
		inside.RemoveChild(own)
	}
	return p.checks.same.Run(&pair{f.assertion, inside})
}

// A pair is one assertion as its own signature and as the response's covers it.
type pair struct{ own, inside *etree.Element }

// sameAssertion compares the exclusive canonical forms: the surroundings of an element are
// no part of those.
func sameAssertion(p *pair) error {
	var forms [2][]byte
	for i, el := range []*etree.Element{p.own, p.inside} {
		var err error
		if forms[i], err = xmlsec.Canonicalize(el, xmlsec.Exclusive, messageBounds.Size); err != nil {
			return fmt.Errorf("comparing the assertion with the one in the signed response: %w", err)
		}
	}
	if !bytes.Equal(forms[0], forms[1]) {
		return errors.New("comparing the assertion with the one in the signed response: they differ")
	}
	return nil
}
