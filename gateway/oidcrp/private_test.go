package oidcrp_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
)

var private = checktest.Private{
	Types:  []string{"List", "checklist", "outbound", "keySet", "Document"},
	Fields: []string{"checks", "outbound", "keys", "read", "split"},
}

// TestChecksArePrivate holds that only the tests can drop a check.
func TestChecksArePrivate(t *testing.T) {
	t.Parallel()
	private.Check(t)
}

func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a build tag":                   "//go:build debug\n\npackage oidcrp",
		"the environment":               "package oidcrp\nimport \"os\"\nvar _ = os.Args",
		"flags":                         "package oidcrp\nimport \"flag\"\nvar _ = flag.Args",
		"linkname":                      "package oidcrp\nimport _ \"unsafe\"",
		"an exported variable":          "package oidcrp\nvar Strict = true",
		"a checklist in a variable":     "package oidcrp\nvar all = allChecks()",
		"another checklist":             "package oidcrp\nfunc f() { _ = &checklist{} }",
		"the switch for tests":          "package oidcrp\nimport \"github.com/caddy-sso/caddy-sso/gateway/check/checktest\"\nvar _ = checktest.Names",
		"another list":                  "package oidcrp\nfunc f() { l := check.All(check.That(\"x\", \"\", run)); _ = l }",
		"an empty list":                 "package oidcrp\nfunc allChecks() { _ = check.List[int]{} }",
		"checks exchanged":              "package oidcrp\nfunc f(p *Provider) { p.checks = nil }",
		"a list exchanged":              "package oidcrp\nfunc f(p *Provider) { p.checks.json = nil }",
		"a check exchanged":             "package oidcrp\nfunc f(p *Provider) { p.checks.json.checks[0].run = nil }",
		"a reader exchanged":            "package oidcrp\nfunc f(c *checklist) { c.read = nil }",
		"what fetches exchanged":        "package oidcrp\nfunc f(p *Provider) { p.outbound = nil }",
		"a pointer to the checks":       "package oidcrp\nfunc f(p *Provider) { _ = &p.checks.json }",
		"an exported type":              "package oidcrp\ntype Checks = checklist",
		"an exported way in":            "package oidcrp\nfunc (p *Provider) Checks() *checklist { return p.checks }",
		"an exported field":             "package oidcrp\ntype Deps struct{ Checks *checklist }",
		"an option that takes a reader": "package oidcrp\ntype Deps struct{ Outbound outbound }",
	} {
		if found, _ := private.Leaks(t, text); len(found) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
}
