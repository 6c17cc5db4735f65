package caddymodule_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/caddy-sso/caddy-sso/"

// An arrow forbids packages below from to import packages below to, unless
// they lie below one of the exceptions.
type arrow struct {
	from, to string
	except   []string
	reason   string
}

// The architecture: integration → caddymodule → gateway/* → gateway → mapping.
var arrows = []arrow{
	{module + "mapping", module, nil, "rules are pure: they can be tested, explained and reused without the gateway"},
	{module + "mapping", "net/http", nil, "rules are pure"},
	{module + "mapping", "go.uber.org/zap", nil, "rules are pure: they return errors and traces, they don't log"},
	{module + "mapping", "github.com/", nil, "rules need the standard library only"},
	{module + "mapping", "golang.org/", nil, "rules need the standard library only"},
	{module + "gateway", "github.com/caddyserver/", nil, "the product works without Caddy; all that knows Caddy is in caddymodule"},
	{module + "gateway", module + "caddymodule", nil, "arrows point from the host to the product"},
	{module + "gateway", module + "integration", nil, "the product does not know its tests"},
	{module + "caddymodule", module + "integration", nil, "the product does not know its tests"},

	{module, "github.com/crewjam/", []string{module + "gateway/samlsp", module + "gateway/demo"}, "one place judges SAML"},
	{module, "github.com/russellhaering/goxmldsig", []string{module + "gateway/samlsp"}, "one place canonicalises XML; tests sign by code of their own, to share no mistake with it"},
	{module, "github.com/beevik/etree", []string{module + "gateway/samlsp"}, "one place reads XML that somebody sent"},
	{module, "github.com/coreos/go-oidc", []string{module + "gateway/oidcrp"}, "one place judges OpenID Connect"},
	{module, "github.com/redis/", []string{module + "gateway/redisstore"}, "one place knows Redis"},
	{module, "go.etcd.io/bbolt", []string{module + "gateway/boltstore"}, "one place knows the embedded store"},
	{module, module + "gateway/demo", []string{module + "caddymodule/cmd/caddy-sso"}, "the demonstration belongs to the command: who embeds the module does not carry it"},
	{module, module + "gateway/check/checktest", nil, "only tests can switch a check off"},
	{module + "gateway/signing/verify", module, nil, "apps import verify: it must not bring the gateway along"},
}

// between lists which subpackages of gateway may import which.
var between = map[string][]string{
	"samlsp":        {"check", "signing"},
	"samlsp/xmlsec": {"check"},
	"oidcrp":        {"check"},
	"oidcop":        {"signing"},
	"connect":       {"signing", "oidcop"},
	"demo":          {"oidcop", "signing"}, // its apps verify as any app does
}

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

// below says whether path is prefix or lies below it; a prefix that ends in a
// slash stands for a whole tree or host.
func below(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(prefix, "/"))
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	pkgs := listPackages(t)
	if len(pkgs) < 8 {
		t.Fatalf("only %d packages found: the test looks at the wrong tree", len(pkgs))
	}
	for _, p := range pkgs {
		for _, imp := range p.Imports {
			for _, a := range arrows {
				excepted := slices.ContainsFunc(a.except, func(e string) bool { return below(p.ImportPath, e) })
				if below(p.ImportPath, a.from) && below(imp, a.to) && !excepted {
					t.Errorf("%s imports %s: %s", p.ImportPath, imp, a.reason)
				}
			}
			checkBetween(t, p.ImportPath, imp)
		}
	}
}

func checkBetween(t *testing.T, from, to string) {
	t.Helper()
	const gateway = module + "gateway"
	target, ok := strings.CutPrefix(to, gateway+"/")
	if !ok {
		return
	}
	if from == gateway {
		t.Errorf("gateway imports its own subpackage %s: the core knows interfaces only", target)
		return
	}
	source, ok := strings.CutPrefix(from, gateway+"/")
	if !ok || strings.HasPrefix(source, "gatewaytest") {
		return
	}
	if below(target, source) || below(source, target) && strings.HasSuffix(source, "test") {
		return // a package and its own parts; what helps to test a part
	}
	if !slices.ContainsFunc(between[source], func(allowed string) bool { return below(target, allowed) }) {
		t.Errorf("gateway/%s imports gateway/%s: subpackages stand side by side; what two of them need belongs into gateway", source, target)
	}
}
