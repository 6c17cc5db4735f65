package gateway_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestEveryCode holds that each declared code is in Codes once, and that a test
// of the gateway or a provider, or a file of their attacks, expects it. A refusal that a
// test makes itself is not one that it expects.
func TestEveryCode(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("refusal/refusal.go")
	mustDo(t, err)
	text := ""
	attacked := map[refusal.Code]bool{}
	for _, dir := range []string{".", "connect", "oidcrp", "samlsp"} {
		text += gatewaytest.TestText(t, dir)
		if dir == "oidcrp" || dir == "samlsp" {
			for _, a := range gatewaytest.Corpus(t, filepath.Join(dir, "testdata", "attacks")) {
				attacked[a.Code] = true
			}
		}
	}
	text = strings.ReplaceAll(text, "refusal.New(refusal.", "refusal.New(")
	var declared []refusal.Code
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+) +Code = "(\w+)"$`).FindAllSubmatch(source, -1) {
		name, code := string(m[1]), refusal.Code(m[2])
		declared = append(declared, code)
		if !attacked[code] && !regexp.MustCompile(`\brefusal\.`+name+`\b`).MatchString(text) {
			t.Errorf("no test expects refusal.%s", name)
		}
	}
	codes := refusal.Codes()
	slices.Sort(declared)
	slices.Sort(codes)
	if !slices.Equal(declared, codes) {
		t.Errorf("declared are %q, Codes has %q", declared, codes)
	}
}
