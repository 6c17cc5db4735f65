package samlsp

import (
	"crypto"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/beevik/etree"
)

// The reader and the verifier, for tests of each alone.

// A Checklist is a checklist.
type Checklist = checklist

// Checks returns all checks but those that are named.
func Checks(without ...string) *Checklist { return allChecks().without(without...) }

// Read reads a message.
func (c *checklist) Read(doc []byte) (*etree.Element, error) { return c.read(doc, messageBounds) }

// Verify verifies el's signature by keys.
func (c *checklist) Verify(el *etree.Element, keys ...crypto.PublicKey) (*etree.Element, error) {
	return c.verify(el, trust{keys: keys})
}

// VerifySHA1 is Verify where SHA-1 is taken.
func (c *checklist) VerifySHA1(el *etree.Element, keys ...crypto.PublicKey) (*etree.Element, error) {
	return c.verify(el, trust{keys: keys, sha1: true})
}

// ErrUnsigned is what Verify says of an element without a signature.
var ErrUnsigned = errUnsigned

// Canonical returns the canonical form of el. "" among prefixes is the default
// namespace.
func Canonical(el *etree.Element, algorithm string, prefixes ...string) ([]byte, error) {
	return canonicalization{algorithm, prefixes}.octets(el, nil, messageBounds.size)
}

// The canonicalization algorithms.
const (
	C14N10    = c14n10
	C14N11    = c14n11
	Exclusive = exclusive
)

// without returns c without the named checks. It panics over a name that no
// check has, so that a renamed check can't make a test say nothing.
func (c *checklist) without(names ...string) *checklist {
	left := map[string]bool{}
	for _, name := range names {
		left[name] = true
	}
	j := c.judging
	kept := &checklist{
		judging: judging{
			form: drop(j.form, left), encoding: drop(j.encoding, left), document: drop(j.document, left), signing: drop(j.signing, left),
			same: drop(j.same, left), found: drop(j.found, left), response: drop(j.response, left), assertion: drop(j.assertion, left),
			confirmation: drop(j.confirmation, left), confirmed: drop(j.confirmed, left), profile: drop(j.profile, left), account: drop(j.account, left),
		},
		xmlDocument: drop(c.xmlDocument, left), xmlDeclaration: drop(c.xmlDeclaration, left), xmlMarkup: drop(c.xmlMarkup, left),
		xmlName: drop(c.xmlName, left), xmlReference: drop(c.xmlReference, left), xmlOutside: drop(c.xmlOutside, left),
		xmlElement: drop(c.xmlElement, left), key: drop(c.key, left), signature: drop(c.signature, left),
		signatureMethod: drop(c.signatureMethod, left), reference: drop(c.reference, left),
		signatureValue: drop(c.signatureValue, left), digestValue: drop(c.digestValue, left),
	}
	if len(left) > 0 {
		panic(fmt.Sprintf("no such check: %q", slices.Sorted(maps.Keys(left))))
	}
	return kept
}

func drop[T any](checks []check[T], left map[string]bool) []check[T] {
	var kept []check[T]
	for _, c := range checks {
		if left[c.name] {
			delete(left, c.name)
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

// CheckNames returns the names of all checks.
func CheckNames() []string {
	c := allChecks()
	return slices.Concat(
		ReadingCheckNames(), SignatureCheckNames(),
		names(c.form), names(c.encoding), names(c.document), names(c.signing), names(c.same), names(c.found), names(c.response), names(c.assertion),
		names(c.confirmation), names(c.confirmed), names(c.profile), names(c.account),
	)
}

// ReadingCheckNames returns the names of what judges a document.
func ReadingCheckNames() []string {
	c := allChecks()
	return slices.Concat(
		names(c.xmlDocument), names(c.xmlDeclaration), names(c.xmlMarkup), names(c.xmlName), names(c.xmlReference),
		names(c.xmlOutside), names(c.xmlElement),
	)
}

// SignatureCheckNames returns the names of what judges a signature.
func SignatureCheckNames() []string {
	c := allChecks()
	return slices.Concat(
		names(c.key), names(c.signature), names(c.signatureMethod), names(c.reference), names(c.signatureValue), names(c.digestValue),
	)
}

func names[T any](checks []check[T]) []string {
	var list []string
	for _, c := range checks {
		list = append(list, c.name)
	}
	return list
}

// Drop takes the named checks out of p's own checklist.
func Drop(p *Provider, names ...string) { p.checks = p.checks.without(names...) }

// Flow is the record that Begin makes of a login.
func Flow(request, entityID string, begun time.Time, forced bool) []byte {
	private, err := json.Marshal(&flow{ID: request, EntityID: entityID, Begun: begun.Unix(), Forced: forced})
	if err != nil {
		panic(err)
	}
	return private
}

// Instant reads a time.
func Instant(s string) (time.Time, error) { return instant(s) }

// SetClock has p judge by another clock, as a captured document needs.
func SetClock(p *Provider, now func() time.Time) { p.now = now }

// Same compares two elements, as an assertion with the one in a signed response.
var Same = same
