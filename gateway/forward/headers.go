package forward

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/strip"
)

// HeaderNames says under which names the app receives the identity. An empty
// name sends no such header.
type HeaderNames struct {
	Assertion, User, Groups, Email, Name, Roles, Provider string
}

// DefaultNames are the names unless set.
var DefaultNames = HeaderNames{
	Assertion: "X-Sso-Assertion",
	User:      "Remote-User",
	Groups:    "Remote-Groups",
	Email:     "Remote-Email",
	Name:      "Remote-Name",
	Roles:     "Remote-Roles",
}

// UsualProvider is how the header of the provider is called where an app wants
// one. A client can't send it, whether an app wants it or not.
const UsualProvider = "Remote-Provider"

// A Row has a text for each of HeaderNames, in their order. The first is that of
// the assertion.
type Row [7]string

// All returns the names.
func (n HeaderNames) All() []string {
	return []string{n.Assertion, n.User, n.Groups, n.Email, n.Name, n.Roles, n.Provider}
}

// Canonical returns the names as http.Header has them.
func (n HeaderNames) Canonical() (row Row) {
	for i, name := range n.All() {
		row[i] = http.CanonicalHeaderKey(name)
	}
	return row
}

// Check refuses names that are no header, or that would break the request. Its
// error names every fault.
func (n HeaderNames) Check() error {
	var errs []error
	seen := map[string]bool{}
	for _, name := range n.All() {
		if name == "" {
			continue
		}
		normal := string(strip.AppendNormal(nil, name))
		switch {
		case strings.ToLower(name) != normal || strings.Trim(normal, "-") != normal:
			errs = append(errs, fmt.Errorf("header name %q: expected letters, digits and hyphens", name))
		case seen[normal]:
			errs = append(errs, fmt.Errorf("header name %q is used twice", name))
		case slices.Contains(neverOurs, normal):
			errs = append(errs, fmt.Errorf("header name %q has a meaning of its own in HTTP and can't carry an identity", name))
		}
		seen[normal] = true
	}
	return errors.Join(errs...)
}

var neverOurs = []string{
	"host", "cookie", "set-cookie", "connection", "upgrade", "transfer-encoding", "content-length", "content-type", "te",
	"trailer", "keep-alive", "proxy-connection", "origin", "accept", "referer", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
}
