package caddymodule_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	codeBlock = regexp.MustCompile("(?ms)^```.*?^```")
	heading   = regexp.MustCompile(`(?m)^#+ (.+)$`)
	link      = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	noAnchor  = regexp.MustCompile(`[^\pL\pN_\- ]`)
)

// TestLinks follows the links between our pages, down to the heading.
func TestLinks(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatalf("pages %q, %v", pages, err)
	}
	headings := map[string][]string{} // of each page that links name
	for _, from := range append(pages, "../README.md", "../SECURITY.md", "../CONTRIBUTING.md") {
		for _, m := range link.FindAllStringSubmatch(prose(t, from), -1) {
			target := from
			if strings.HasPrefix(m[1], "https://") {
				continue
			}
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(from), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", from, err)
			} else if m[2] != "" {
				if headings[target] == nil {
					headings[target] = anchors(prose(t, target))
				}
				if !slices.Contains(headings[target], m[2]) {
					t.Errorf("%s: %s has no heading %q", from, target, m[2])
				}
			}
		}
	}
}

// prose returns a page without its blocks of code.
func prose(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return codeBlock.ReplaceAllString(string(text), "")
}

// anchors are the names of a page's headings in links, as GitHub makes them.
func anchors(page string) (list []string) {
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		list = append(list, strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return list
}
