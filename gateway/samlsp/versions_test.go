package samlsp_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Below 1.6.0, goxmldsig verifies signatures that aren't there (GO-2026-4753),
// and crewjam/saml alone selects 1.4.0. Neither's verification is ours, but
// both are on the build list: nobody shall come upon the bad one here.
func TestVersions(t *testing.T) {
	t.Parallel()
	for path, least := range map[string]string{
		"github.com/russellhaering/goxmldsig": "v1.6.1",
		"github.com/beevik/etree":             "v1.8.1",
		"github.com/crewjam/saml":             "v0.5.1",
	} {
		version := module(t, "{{.Version}}{{with .Replace}} => {{.Path}}{{end}}", path)
		if strings.Contains(version, "=>") || versionLess(t, version, least) {
			t.Errorf("%s is on the build list at %s, want %s", path, version, least)
		}
	}
}

func versionLess(t *testing.T, a, b string) bool {
	t.Helper()
	return slices.Compare(numbers(t, a), numbers(t, b)) < 0
}

// numbers reads a version of three numbers.
func numbers(t *testing.T, version string) []int {
	t.Helper()
	var n [3]int
	if _, err := fmt.Sscanf(version, "v%d.%d.%d", &n[0], &n[1], &n[2]); err != nil {
		t.Fatalf("reading the version %s: %v", version, err)
	}
	return n[:]
}

// module asks the go command for something about a module on the build list.
func module(t *testing.T, format, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", format, path).Output()
	if err != nil {
		t.Fatalf("asking for %s: %v", path, err)
	}
	return strings.TrimSpace(string(out))
}
