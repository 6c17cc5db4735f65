package samlsp

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A candidate is a certificate that may be one that the provider signs with,
// among all that came along with it.
type candidate struct {
	*x509.Certificate
	issued map[string]*x509.Certificate // see issuedBy
	// authorities are the keys of those that issued another one.
	authorities []crypto.PublicKey
}

// notAuthority refuses a certificate whose subject issued another one: it is
// part of that one's chain, and its key signs certificates, not assertions. The
// names alone say so. The CA flag, the key usage and the signature between them
// don't matter: many authorities lack the former, and `openssl req -x509` sets
// the flag for everybody. An authority's key counts under no other name either.
func notAuthority(c *candidate) error {
	if issued := c.issued[canonicalName(c.RawSubject)]; issued != nil {
		return fmt.Errorf("is the issuer of another (%s issued %s), and an authority signs nobody in", readableName(c.RawSubject), readableName(issued.RawSubject))
	}
	if slices.ContainsFunc(c.authorities, func(key crypto.PublicKey) bool { return sameKey(key, c.PublicKey) }) {
		return fmt.Errorf("has the key of an authority that issued another (%s)", readableName(c.RawSubject))
	}
	return nil
}

// authorities returns the keys of the certificates whose subject issued another.
func authorities(certs []*x509.Certificate, issued map[string]*x509.Certificate) (keys []crypto.PublicKey) {
	for _, c := range certs {
		if c.PublicKey != nil && issued[canonicalName(c.RawSubject)] != nil {
			keys = append(keys, c.PublicKey)
		}
	}
	return keys
}

// issuedBy returns, by the issuer's name, a certificate that it issued. A
// self-issued one has no issuer but itself: several of one name are a roll-over.
func issuedBy(certs []*x509.Certificate) map[string]*x509.Certificate {
	issued := map[string]*x509.Certificate{}
	for _, c := range certs {
		if issuer := canonicalName(c.RawIssuer); issuer != canonicalName(c.RawSubject) {
			issued[issuer] = c
		}
	}
	return issued
}

// signingKeys returns the keys of those certificates that are no authority's.
// all are the certificates that tell: those, and whatever else came with them.
// The error says why no key is left.
func (p *Provider) signingKeys(certs, all []*x509.Certificate) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	var left []error
	issued := issuedBy(all)
	known := authorities(all, issued)
	for _, cert := range certs {
		if err := p.checks.certificate.Run(&candidate{cert, issued, known}); err != nil {
			sum := sha256.Sum256(cert.Raw)
			p.logger.Info("leaving out a certificate that came with the provider's own", zap.Error(fmt.Errorf("it %w", err)), zap.String("sha256", hex.EncodeToString(sum[:])))
			left = append(left, fmt.Errorf("a certificate %w", err))
			continue
		}
		p.warnOfDates(cert)
		keys = appendKey(keys, cert.PublicKey)
	}
	if len(keys) == 0 && len(left) > 0 {
		return nil, oneLine(append(left, errors.New("no certificate is left; give the one that the provider signs with"))...)
	}
	return keys, nil
}

// appendKey appends a key unless it is there: one may be in several certificates.
func appendKey(keys []crypto.PublicKey, key crypto.PublicKey) []crypto.PublicKey {
	if slices.ContainsFunc(keys, func(k crypto.PublicKey) bool { return sameKey(k, key) }) {
		return keys
	}
	return append(keys, key)
}

func sameKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// canonicalName makes equal texts of equal names (RFC 5280 §7.1): the string
// types, the case and the number of blanks don't count. A name that can't be
// read equals itself alone.
func canonicalName(raw []byte) string {
	var sets []asn1.RawValue
	if rest, err := asn1.Unmarshal(raw, &sets); err != nil || len(rest) > 0 {
		return "#" + hex.EncodeToString(raw)
	}
	var b strings.Builder
	for _, set := range sets {
		var attributes []struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		if rest, err := asn1.UnmarshalWithParams(set.FullBytes, &attributes, "set"); err != nil || len(rest) > 0 {
			return "#" + hex.EncodeToString(raw)
		}
		var texts []string
		for _, a := range attributes {
			texts = append(texts, fmt.Sprintf("%s=%q", a.Type, canonicalText(a.Value)))
		}
		slices.Sort(texts)
		fmt.Fprintf(&b, "%q,", texts)
	}
	return b.String()
}

// canonicalText reads an attribute of a name whatever its string type.
func canonicalText(v asn1.RawValue) string {
	var runes []rune
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString, tagVisibleString:
		runes = []rune(string(v.Bytes))
	case asn1.TagT61String: // as everybody writes it: ISO 8859-1
		for _, c := range v.Bytes {
			runes = append(runes, rune(c))
		}
	case asn1.TagBMPString:
		var units []uint16
		for i := 0; i+1 < len(v.Bytes); i += 2 {
			units = append(units, uint16(v.Bytes[i])<<8|uint16(v.Bytes[i+1]))
		}
		runes = utf16.Decode(units)
	case tagUniversalString:
		for i := 0; i+3 < len(v.Bytes); i += 4 {
			runes = append(runes, rune(v.Bytes[i])<<24|rune(v.Bytes[i+1])<<16|rune(v.Bytes[i+2])<<8|rune(v.Bytes[i+3]))
		}
	default:
		return "#" + hex.EncodeToString(v.FullBytes)
	}
	for i, r := range runes {
		runes[i] = folded(r)
	}
	return strings.Join(strings.Fields(string(runes)), " ")
}

// What encoding/asn1 has no name for (X.680, 8.4).
const (
	tagVisibleString   = 26
	tagUniversalString = 28
)

// folded returns the same rune for every case of a letter.
func folded(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}

// readableName is a name as it is shown to people.
func readableName(raw []byte) string {
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(raw, &name); err != nil {
		return "an unreadable name"
	}
	return wording.Quoted(name.String())
}
