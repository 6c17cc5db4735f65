package samlsp

import (
	"context"
	"errors"
	"maps"
	"strings"

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

func sameAssertion(p *pair) error {
	if !same(p.own, p.inside) {
		return errors.New("comparing the assertion with the one in the signed response: they differ")
	}
	return nil
}

// same says whether two elements have the same names, attributes and text,
// whatever their prefixes.
func same(a, b *etree.Element) bool {
	if nameOf(a) != nameOf(b) || !sameInOrder(a, b) && !maps.Equal(attributes(a), attributes(b)) {
		return false
	}
	textA, kidsA := contents(a)
	textB, kidsB := contents(b)
	if len(kidsA) != len(kidsB) || textA != textB {
		return false
	}
	for i := range kidsA {
		if !same(kidsA[i], kidsB[i]) {
			return false
		}
	}
	return true
}

// sameInOrder says whether two elements have the same attributes in the same
// order, as canonical forms nearly always do, and none with a prefix. If not,
// they may be the same all the same.
func sameInOrder(a, b *etree.Element) bool {
	for i, j := 0, 0; ; i, j = i+1, j+1 {
		i, j = plainAttribute(a, i), plainAttribute(b, j)
		if i == len(a.Attr) || j == len(b.Attr) {
			return i == len(a.Attr) && j == len(b.Attr)
		}
		if x, y := &a.Attr[i], &b.Attr[j]; x.Space != "" || y.Space != "" || x.Key != y.Key || x.Value != y.Value {
			return false
		}
	}
}

// plainAttribute returns the index of el's first attribute from i on that
// declares no namespace, or the number of attributes.
func plainAttribute(el *etree.Element, i int) int {
	for i < len(el.Attr) && (el.Attr[i].Space == "xmlns" || el.Attr[i].Space == "" && el.Attr[i].Key == "xmlns") {
		i++
	}
	return i
}

func attributes(el *etree.Element) map[string]string {
	list := make(map[string]string, len(el.Attr))
	for _, a := range el.Attr {
		switch {
		case a.Space == "xmlns", a.Space == "" && a.Key == "xmlns":
		case a.Space == "":
			list[a.Key] = a.Value
		default:
			list["{"+spaceOf(el, a.Space)+"}"+a.Key] = a.Value
		}
	}
	return list
}

// contents returns the text of an element, with a NUL for each element in it,
// and these elements.
func contents(el *etree.Element) (text string, kids []*etree.Element) {
	var b strings.Builder
	for _, token := range el.Child {
		switch token := token.(type) {
		case *etree.CharData:
			b.WriteString(token.Data)
		case *etree.Element:
			b.WriteByte(0)
			kids = append(kids, token)
		}
	}
	return b.String(), kids
}
