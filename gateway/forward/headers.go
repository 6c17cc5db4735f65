package forward

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/strip"
)

// HeaderNames has the names of the headers that tell the app about the person. An empty
// name sends no such header.
type HeaderNames struct {
	Assertion, User, Groups, Email, Name, Roles, Template, FirstName, LastName, Provider string
}

// DefaultNames are the default names.
var DefaultNames = HeaderNames{
	Assertion: "X-Sso-Assertion",
	User:      "Remote-User",
	Groups:    "Remote-Groups",
	Email:     "Remote-Email",
	Name:      "Remote-Name",
	Roles:     "Remote-Roles",
}

// OptionalNames are the usual names of headers that are off by default. A client can't
// send these headers even if they are off.
var OptionalNames = HeaderNames{
	Template:  "Remote-Template",
	FirstName: "Remote-First-Name",
	LastName:  "Remote-Last-Name",
	Provider:  "Remote-Provider",
}

// A Row has a text for each of HeaderNames, in their order. The assertion is the first.
type Row [10]string

// Indexes of a Row.
const (
	kindAssertion = iota
	kindUser
	kindGroups
	kindEmail
	kindName
	kindRoles
	kindTemplate
	kindFirstName
	kindLastName
	kindProvider
)

// Kinds are the words for the headers in options and errors.
var Kinds = Row{
	kindAssertion: "assertion", kindUser: "user", kindGroups: "groups", kindEmail: "email", kindName: "name", kindRoles: "roles",
	kindTemplate: "template", kindFirstName: "first_name", kindLastName: "last_name", kindProvider: "provider",
}

// All returns the names.
func (n HeaderNames) All() []string {
	return []string{n.Assertion, n.User, n.Groups, n.Email, n.Name, n.Roles, n.Template, n.FirstName, n.LastName, n.Provider}
}

// Canonical returns the names as keys of http.Header.
func (n HeaderNames) Canonical() (row Row) {
	for i, name := range n.All() {
		row[i] = http.CanonicalHeaderKey(name)
	}
	return row
}

// Check refuses names that are no header name, and headers of HTTP itself. Its error
// lists every fault.
func (n HeaderNames) Check() error {
	var errs []error
	seen := map[string]string{} // kinds
	for i, name := range n.All() {
		if name == "" {
			continue
		}
		normal := string(strip.AppendNormal(nil, name))
		switch {
		case strings.ToLower(name) != normal || strings.Trim(normal, "-") != normal:
			errs = append(errs, fmt.Errorf("header name %q: expected letters, digits and hyphens", name))
		case seen[normal] != "":
			errs = append(errs, fmt.Errorf("header name %q is used twice, for %s and for %s: give each kind a name of its own, or off", name, seen[normal], Kinds[i]))
		case ofHTTP(normal):
			errs = append(errs, fmt.Errorf("header name %q has a meaning in HTTP, so it can't carry an identity: choose another name", name))
		}
		seen[normal] = Kinds[i]
	}
	return errors.Join(errs...)
}

// ofHTTP says whether proxies and apps do something else than read an identity by a header.
func ofHTTP(normal string) bool {
	return slices.Contains(neverOurs, normal) || slices.ContainsFunc(neverOursPrefixes, func(p string) bool { return strings.HasPrefix(normal, p) })
}

var (
	neverOurs = []string{
		"host", "cookie", "set-cookie", "origin", "accept", "referer", "user-agent", "date", "range", "cache-control", "pragma", "prefer", "priority",
		// the connection, and framing
		"connection", "upgrade", "transfer-encoding", "te", "trailer", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate",
		"expect", "max-forwards", "via", "http2-settings", "alt-used", "early-data",
		// the client's address and the request's, as proxies tell them
		"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-scheme",
		"x-forwarded-ssl", "x-forwarded-uri", "x-forwarded-method", "x-forwarded-path", "x-real-ip", "x-original-url", "x-rewrite-url",
		// another method
		"x-http-method-override", "x-http-method", "x-method-override",
		// WebDAV (RFC 4918 §10)
		"if", "dav", "depth", "destination", "lock-token", "overwrite", "timeout",
		// browsers
		"upgrade-insecure-requests", "last-event-id", "sec-gpc", "sec-purpose", "service-worker", "service-worker-navigation-preload", "x-requested-with",
	}
	neverOursPrefixes = []string{"accept-", "access-control-", "content-", "if-", "sec-ch-", "sec-fetch-", "sec-websocket-"}
)
