package xmlsec

import "github.com/beevik/etree"

// Canonical is Canonicalize with InclusiveNamespaces; "" is the default
// namespace.
func Canonical(el *etree.Element, algorithm string, prefixes ...string) ([]byte, error) {
	return canonicalization{algorithm: algorithm, prefixes: prefixes}.octets(el, nil, 1<<20)
}
