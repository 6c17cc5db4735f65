package caddymodule_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A message about a configuration must have a place and a fix. It must not be bare.
var (
	// place is a line of the file, a site, a provider, or an option of the global block.
	place = regexp.MustCompile(`at Caddyfile:\d+|Caddyfile:\d+: |^(site|provider|store|secret|providers|same_people|limit)\b.*: `)
	// caddys is what Caddy writes before the message of a module: it names no place.
	caddys = regexp.MustCompile(`^parsing caddyfile tokens for 'sso': |^(\w+: )?loading module '[^']*': provision [^:]*: `)
	// fix matches an imperative ("write …"), an expected form, or a quoted option that is needed.
	fix = regexp.MustCompile("(?i)\\b(write|give|put|leave|remove|move|use|choose|save|keep|make|check|copy|mend|correct|drop|name|add|set|have) |\\b(expected|did you mean|it can be|it belongs in|it belongs into) |\\b(needs|there is no) `[^`]+`")
	// bare is the text of an error of Go's libraries that says nothing to an administrator.
	bare = regexp.MustCompile(`strconv\.|json:|unmarshal|invalid character|net/url:|parse "|asn1:|illegal base64|unexpected EOF|dial tcp|time: |module not registered`)
)

// TestMistakes holds every message about a wrong configuration to having a place, a cause
// and a fix. The messages are those of the golden files.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const least = 40
	count := 0
	for _, dir := range []string{"adapt/mistakes", "provision", "start"} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.caddyfiletest"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, message, _ := strings.Cut(string(content), divider)
			message = caddys.ReplaceAllString(strings.TrimSpace(message), "")
			count++
			for name, good := range map[string]bool{
				"place": place.MatchString(message), "fix": fix.MatchString(message),
				"cause": len(strings.Fields(message)) > 5, "words of its own": !bare.MatchString(message) && !strings.HasPrefix(message, "loading module"),
			} {
				if !good {
					t.Errorf("%s lacks a %s: %s", file, name, message)
				}
			}
		}
	}
	if count < least {
		t.Errorf("%d mistakes, want at least %d", count, least)
	}
}
