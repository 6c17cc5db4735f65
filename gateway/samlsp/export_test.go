package samlsp

import (
	"crypto"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
)

// The reader and the verifier, for tests of each alone.

// A Checklist is a checklist.
type Checklist = checklist

// Checks returns all checks but those that are named.
func Checks(without ...string) *Checklist {
	c := allChecks()
	checktest.Drop(c, without...)
	return c
}

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

// CheckNames returns the names of all checks.
func CheckNames() []string { return checktest.Names(allChecks()) }

// ReadingCheckNames returns the names of what judges a document.
func ReadingCheckNames() []string {
	return slices.DeleteFunc(CheckNames(), func(name string) bool { return !strings.HasPrefix(name, "xml ") })
}

// SignatureCheckNames returns the names of what judges a signature.
func SignatureCheckNames() []string {
	judging := allJudging()
	others := append(ReadingCheckNames(), checktest.Names(&judging)...)
	return slices.DeleteFunc(CheckNames(), func(name string) bool { return slices.Contains(others, name) })
}

// Drop takes the named checks out of p's own checklist.
func Drop(p *Provider, names ...string) { checktest.Drop(p.checks, names...) }

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

// SetClockSkew lets clocks differ by more than a configuration can: by as much
// as a fixture is old.
func SetClockSkew(p *Provider, skew time.Duration) { p.config.ClockSkew = skew }

// Same compares two elements, as an assertion with the one in a signed response.
var Same = same
