package gateway

import (
	"net/http"

	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// NameFilter is what FuzzNameFilter holds against an oracle.
type NameFilter = nameFilter

// NewNameFilter makes a filter as a Gateway does.
func NewNameFilter(sets ...HeaderNames) *NameFilter { return newNameFilter(sets...) }

// Has says whether a header of that name is ours.
func (f *nameFilter) Has(name string) bool { return f.claim(name, nameSet{}) == ours }

// IsAlias says whether a header of that name is an alias.
func (f *nameFilter) IsAlias(name string) bool { return f.claim(name, nameSet{}) == alias }

// Views returns how many views a login has.
func Views(f session.Found) (n int) {
	first, _ := f.Memo().(*view)
	for v := first; v != nil; v = v.next {
		n++
	}
	return n
}

// ParseForm is what FuzzParseForm holds against net/url.
func ParseForm(body string, names ...string) (map[string]string, error) {
	return parseForm(body, names...)
}

// TakeCookies takes our cookies out of a request.
func TakeCookies(h http.Header, secure bool) (session, browser, provider string) {
	c := takeCookies(h, secure)
	return c.session, c.browser, c.provider
}
