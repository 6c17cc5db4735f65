package caddymodule_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/caddy-sso/caddy-sso/"

// The packages of the module, lowest first, and all that each may import beyond
// the standard library, with the reason. net/http counts as beyond it: what
// decides about sessions knows no requests. A name that ends in a slash stands for
// all packages below it, any other name for one package.
//
// The law: contracts at the bottom, the face on top of its own parts. A package
// imports only packages that come earlier in this list, never the face. What is
// not listed is refused, and so is an arrow that no import needs.
var architecture = []room{
	{"gateway/refusal", nil},
	{"gateway/wording", nil},
	{"gateway/provider", arrows{
		"gateway/wording": "errors name options by it, which the environment writes its own way",
	}},
	{"gateway/store", nil},
	{"mapping", nil},
	{"gateway/usernames", arrows{
		"gateway/wording":                "errors name options by it, which the environment writes its own way",
		"golang.org/x/net/idna":          "a domain in Unicode is its ASCII form",
		"golang.org/x/text/unicode/norm": "names that an app may take for one are compared in their normal form",
	}},

	{"gateway/target", arrows{
		"gateway/wording": "errors name options by it, which the environment writes its own way",
	}},
	{"gateway/strip", arrows{
		"net/http": "it changes a request's headers",
	}},
	{"gateway/cookie", arrows{
		"net/http": "it reads and writes headers",
	}},

	{"gateway/boltstore", arrows{
		"gateway/store":           "it implements the contract",
		"go.etcd.io/bbolt":        "the one package that knows the embedded database",
		"go.etcd.io/bbolt/errors": "its errors",
	}},
	{"gateway/redisstore", arrows{
		"gateway/store":     "it implements the contract",
		"github.com/redis/": "the one package that knows Redis",
	}},
	{"gateway/vault", arrows{
		"gateway/store": "sealed records lie there",
	}},
	{"gateway/session", arrows{
		"gateway/provider": "an answer becomes a login",
		"gateway/refusal":  "a blocked account, a replaced store and too many attempts have codes",
		"gateway/store":    "indexes and announcements are not sealed; its errors are told apart",
		"gateway/vault":    "logins, accounts, epochs and flows are sealed records",
		"go.uber.org/zap":  log,
	}},

	{"gateway/passage", arrows{
		"gateway/session": "a request passes by a session, and ends with it",
		"net/http":        "it is a request's context, body and ResponseWriter",
	}},

	{"gateway/fetch", arrows{
		"gateway/refusal": "a provider that can't be reached has a code",
		"gateway/wording": "it says what an error of the network means",
		"go.uber.org/zap": log,
		"net/http":        "it is the gateway's own client",
	}},
	{"gateway/check", arrows{
		"gateway/refusal": "a check that fails is a refusal with its code",
	}},
	{"gateway/samlsp/xmlsec", arrows{
		"gateway/check":           "what it checks is a list of checks",
		"gateway/refusal":         "what it refuses has a code",
		"gateway/wording":         "values of a provider are quoted in errors",
		"github.com/beevik/etree": "the tree that is read, canonicalized and verified",
	}},
	{"gateway/samlsp", arrows{
		"gateway/check":                       "what it checks is a list of checks",
		"gateway/fetch":                       "it fetches metadata",
		"gateway/provider":                    "it implements the contract",
		"gateway/refusal":                     "what it refuses has a code",
		"gateway/samlsp/xmlsec":               "its part that reads and verifies XML",
		"gateway/wording":                     "values of a provider are quoted in errors",
		"github.com/beevik/etree":             "it reads what xmlsec verified",
		"github.com/crewjam/saml":             "the one package that verifies SAML takes the schema's types from it",
		"github.com/russellhaering/goxmldsig": "it signs our requests",
		"go.uber.org/zap":                     log,
		"net/http":                            "a test may replace the transport; status codes of metadata",
	}},
	{"gateway/oidcrp", arrows{
		"gateway/check":               "what it checks is a list of checks",
		"gateway/fetch":               "it fetches discovery, keys and tokens",
		"gateway/provider":            "it implements the contract",
		"gateway/refusal":             "what it refuses has a code",
		"gateway/wording":             "values of a provider are quoted in errors",
		"github.com/coreos/go-oidc/":  "the one package that verifies OpenID Connect",
		"github.com/go-jose/go-jose/": "keys and signatures",
		"go.uber.org/zap":             log,
		"golang.org/x/oauth2":         "PKCE and the form of the code exchange",
		"net/http":                    "token and userinfo requests",
	}},

	{"gateway/signing/verify", arrows{
		"github.com/go-jose/go-jose/": "signatures; apps import this package, so it brings nothing of ours along",
		"net/http":                    "it is a middleware for apps",
	}},
	{"gateway/signing", arrows{
		"gateway/refusal":             "keys that can't be loaded are a fault with a code",
		"gateway/vault":               "the keys are records that all nodes share",
		"github.com/go-jose/go-jose/": "keys and signatures",
		"go.uber.org/zap":             log,
	}},
	{"gateway/public", arrows{
		"gateway/strip":  "headers that name another path or method are its",
		"gateway/target": "it checks each path",
		"net/http":       "it reads a request's method and headers",
	}},
	{"gateway/forward", arrows{
		"gateway/strip":   "names of headers are compared in its normal form",
		"gateway/vault":   "the assertion's ID is its random text",
		"gateway/wording": "errors name options by it, which the environment writes its own way",
		"net/http":        "it sets a request's headers",
	}},
	{"gateway/form", arrows{
		"gateway/refusal": "what it refuses has a code",
		"net/http":        "it reads a request's body",
	}},
	{"gateway/binding", arrows{
		"gateway/form":     "answers come in forms and queries",
		"gateway/provider": "an answer has a protocol",
		"gateway/refusal":  "what it refuses has a code",
		"net/http":         "it reads a request",
	}},
	{"gateway/pages", arrows{
		"gateway/refusal": "a page shows what a code means",
		"go.uber.org/zap": log,
		"net/http":        "it writes answers",
	}},
	{"gateway/connect", arrows{
		"gateway/check":   "what it checks is a list of checks",
		"gateway/cookie":  "an app's own cookies are taken out of a request",
		"gateway/fetch":   "it asks the nodes of Proxmox VE for tickets",
		"gateway/refusal": "what keeps a node from signing somebody in has a code",
		"gateway/vault":   "seals are written in its text form",
		"gateway/wording": "what a node responds is quoted in errors",
		"net/http":        "it changes headers, and asks nodes",
	}},
	{"gateway/oidcop", arrows{
		"gateway/check":               "what it checks is a list of checks",
		"gateway/fetch":               "it fetches keys of clients, and sends logout tokens",
		"gateway/form":                "clients post forms",
		"gateway/refusal":             "a request of an unknown client is refused with a page",
		"gateway/store":               "what is not found is told apart from a fault",
		"gateway/vault":               "grants are sealed records",
		"github.com/go-jose/go-jose/": "keys, signatures, and JSON with exact names",
		"go.uber.org/zap":             log,
		"net/http":                    "it serves an OpenID Provider's endpoints",
	}},

	{"gateway/entry", arrows{
		"gateway/forward":   "it bounds the groups that are told, and knows what a header can't have",
		"gateway/oidcop":    "its clients have rules as sites have",
		"gateway/provider":  "an identity is what is decided about",
		"gateway/refusal":   "a person who is refused gets a code",
		"gateway/session":   "a login is compared with its provider",
		"gateway/usernames": "people of several providers are kept apart",
		"gateway/wording":   "values of a provider are quoted in errors",
		"mapping":           "groups become roles",
		"go.uber.org/zap":   log,
		"net/http":          "a test may replace the transport to clients",
	}},

	{"gateway", arrows{
		"gateway/binding":   "it reads a provider's answer",
		"gateway/connect":   "an app's own cookies are tied to the login",
		"gateway/cookie":    "a request brings our cookies, and an answer sets them",
		"gateway/entry":     "it decides who may enter",
		"gateway/fetch":     "it asks which names are loopback",
		"gateway/form":      "requests of people and clients come in forms and queries",
		"gateway/forward":   "an app is told by it who makes a request",
		"gateway/pages":     "it says what a page shows",
		"gateway/oidcop":    "clients sign in at its endpoints",
		"gateway/passage":   "requests that are let in end with their login",
		"gateway/provider":  "providers sign people in",
		"gateway/public":    "some requests need no login",
		"gateway/refusal":   "every refusal has a code",
		"gateway/session":   "sessions are found, begun and ended there",
		"gateway/store":     "what is not found is told apart from a fault",
		"gateway/strip":     "identity headers of a client are taken out first",
		"gateway/target":    "what a target, a Host header and a return address mean",
		"gateway/usernames": "people of several providers are kept apart",
		"gateway/vault":     "states and browser cookies are its random texts",
		"gateway/wording":   "values of a client are quoted in errors",
		"mapping":           "groups become roles",
		"go.uber.org/zap":   log,
		"net/http":          "it is the HTTP face",
	}},

	{"gateway/demo", arrows{
		"gateway/oidcop":          "the demonstration's OpenID Provider",
		"gateway/refusal":         "a request that is no client's has a status",
		"gateway/signing":         "keys of that provider",
		"gateway/signing/verify":  "its apps verify as any app does",
		"gateway/store":           "what is not found is told apart from a fault",
		"gateway/vault":           "the provider's records have its form",
		"github.com/crewjam/saml": "the demonstration's SAML provider",
		"net/http":                "its apps serve pages",
	}},

	{"caddymodule", arrows{
		"gateway":                        "it puts the face into Caddy",
		"gateway/boltstore":              "the store that is configured",
		"gateway/connect":                "apps with sessions of their own are configured",
		"gateway/fetch":                  "it asks which names are loopback",
		"gateway/forward":                "names of headers are configured; placeholders say what the app is told",
		"gateway/oidcop":                 "its clients are configured",
		"gateway/oidcrp":                 "a provider that is configured",
		"gateway/pages":                  "the pages that are shown",
		"gateway/passage":                "the server has to tell it the connections",
		"gateway/redisstore":             "the store that is configured",
		"gateway/refusal":                "refusals become Caddy's errors and audit lines",
		"gateway/samlsp":                 "a provider that is configured",
		"gateway/session":                "sessions outlive configurations",
		"gateway/signing":                "keys outlive configurations",
		"gateway/store":                  "a store that is not open yet",
		"gateway/strip":                  "names of kept headers are checked where they are written",
		"gateway/target":                 "paths are checked where they are written",
		"gateway/usernames":              "name spaces of providers are configured",
		"gateway/vault":                  "it checks the length of a secret",
		"gateway/wording":                "the store explains network errors by it",
		"mapping":                        "rules are configured",
		"github.com/caddyserver/caddy/":  "all that knows Caddy is here",
		"github.com/quic-go/":            "a stream of HTTP/3 is reset when its login ends",
		"go.uber.org/zap":                log,
		"golang.org/x/net/http/httpguts": "which header names are valid",
		"go.uber.org/zap/zapcore":        "fields of the audit log",
		"net/http":                       "it is a handler",
	}},
	{"caddymodule/cmd/caddy-sso/program", arrows{
		"caddymodule":                   "what is private, and when a configuration comes and goes",
		"github.com/caddyserver/caddy/": "it changes Caddy",
		"go.uber.org/zap":               log,
		"go.uber.org/zap/zapcore":       "it leaves fields out of logs",
		"golang.org/x/sys/unix":         "new connections are steered during a reload",
		"net/http":                      "logs have headers in them",
	}},
	{"caddymodule/cmd/caddy-sso", arrows{
		"caddymodule/cmd/caddy-sso/program": "what the binary changes of Caddy",
		"caddymodule":                       "it registers our modules",
		"gateway/demo":                      "the demonstration belongs to the command: whoever embeds the module does not carry it",
		"gateway/pages":                     "the demonstration looks like the gateway's pages",
		"gateway/redisstore":                "go-redis's own log is silenced for the whole process",
		"github.com/caddyserver/caddy/":     "it is Caddy with our modules",
		"github.com/spf13/cobra":            "Caddy's commands are cobra's",
		"go.uber.org/zap":                   log,
		"net/http":                          "the demonstration listens, and the sidecar's health",
	}},

	// What belongs to tests. Only tests import it. What lies below integration
	// stands on top of everything and is not listed.
	{"gateway/check/checktest", arrows{
		"gateway/check": "it takes checks out of lists",
	}},
	{"gateway/samlsp/xmlsec/xmlsectest", arrows{
		"gateway/samlsp/xmlsec":   "it signs what xmlsec verifies",
		"github.com/beevik/etree": "it makes documents",
	}},
	{"gateway/gatewaytest", arrows{
		"gateway/boltstore": "tests run on both embedded stores",
		"gateway/provider":  "attack files are refused with a code, or accepted as an identity",
		"gateway/refusal":   "attack files name codes",
		"gateway/store":     "it is the conformance suite of the contract",
		"net/http/httptest": "misbehaving providers are servers",
		"net/http":          "misbehaving providers are servers",
	}},
}

const log = "it logs what goes wrong"

// A room is a package and its arrows.
type room struct {
	name   string // below the module, or below github.com/caddy-sso/caddy-sso/
	arrows arrows
}

// arrows are what a package may import, with the reason.
type arrows map[string]string

type pkg struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// arrowTo returns the arrow that permits an import, or "".
func (r room) arrowTo(imported string) string {
	if _, ok := r.arrows[imported]; ok {
		return imported
	}
	for a := range r.arrows {
		if strings.HasSuffix(a, "/") && strings.HasPrefix(imported, a) {
			return a
		}
	}
	return ""
}

// beyond says whether an import is one that has to be permitted, and names it as
// architecture does.
func beyond(imported string) (name string, ok bool) {
	if name, ours := strings.CutPrefix(imported, module); ours {
		return name, true
	}
	host, _, _ := strings.Cut(imported, "/")
	return imported, strings.Contains(host, ".") || below(imported, "net/http")
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	rooms := map[string]room{}
	unused := map[string]bool{}
	for _, r := range architecture {
		rooms[r.name] = r
		for a, reason := range r.arrows {
			if reason == "" {
				t.Errorf("%s may import %s, and nobody says why", r.name, a)
			}
			if _, ours := rooms[a]; !ours && (strings.HasPrefix(a, "gateway") || a == "mapping" || a == "caddymodule") {
				t.Errorf("%s may import %s, which does not come earlier", r.name, a)
			}
			unused[r.name+" imports "+a] = true
		}
	}
	listed := maps.Clone(rooms)
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if below(name, "integration") {
			continue
		}
		r, ok := rooms[name]
		if !ok {
			t.Errorf("%s has no place in the architecture", name)
		}
		delete(listed, name)
		for _, imported := range p.Imports {
			to, ok := beyond(imported)
			if !ok {
				continue
			}
			a := r.arrowTo(to)
			if a == "" {
				t.Errorf("%s imports %s: no arrow permits it", name, to)
			}
			if strings.HasSuffix(path.Base(to), "test") && !strings.HasSuffix(path.Base(name), "test") {
				t.Errorf("%s imports %s, which belongs to tests", name, to)
			}
			delete(unused, name+" imports "+a)
		}
	}
	for arrow := range unused {
		// This one is imported on Linux alone.
		if !strings.HasSuffix(arrow, "golang.org/x/sys/unix") {
			t.Errorf("%s: nothing needs that arrow", arrow)
		}
	}
	for name := range listed {
		t.Errorf("there is no package %s", name)
	}
}

// below says whether a package is another, or lies below it.
func below(name, other string) bool { return name == other || strings.HasPrefix(name, other+"/") }
