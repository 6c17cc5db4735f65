package pages_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
)

// forbidden are constructs that the policy would stop, or that would ask another host.
var forbidden = map[string]*regexp.Regexp{
	"a script":           regexp.MustCompile(`(?i)<script`),
	"an inline style":    regexp.MustCompile(`(?i)\sstyle\s*=|<style`),
	"an event attribute": regexp.MustCompile(`(?i)[\s"'/]on[a-z]+\s*=`),
	"an absolute URL":    regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://|["'(=\s]//[a-z]|\b(?:javascript|data):`),
	"an import":          regexp.MustCompile(`(?i)@import|url\(`),
	"trusted content":    regexp.MustCompile(`(?i)safe(?:html|url|css|js)`),
}

func sources(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"templates/*", "assets/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) < 2 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found[f] = string(text)
		}
	}
	return found
}

func TestSourcesNeedNoInlineCodeAndNoOtherHost(t *testing.T) {
	t.Parallel()
	for file, text := range sources(t) {
		// The name of a namespace is never fetched.
		text = strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, "")
		text = withoutScript(t, file, text)
		if filepath.Ext(file) == ".js" {
			text = strings.ReplaceAll(text, "new URL(", "") // an address, not a file of a style
		}
		for what, pattern := range forbidden {
			if hit := pattern.FindString(text); hit != "" {
				t.Errorf("%s has %s: %q", file, what, hit)
			}
		}
	}
}

// withoutScript takes the one tag of a script out of the pages that may have
// it.
func withoutScript(t *testing.T, file, text string) string {
	t.Helper()
	tag, ok := map[string]string{
		"chooser.html": `<script src="{{asset .Prefix "address.js"}}" defer></script>`,
		"session.html": `<script src="{{asset .Prefix "time.js"}}" defer></script>`,
		"refusal.html": `<script src="{{asset .Prefix "address.js"}}"{{with .Page.Address}} data-address="{{local .}}"{{end}} defer></script>`,
		"form.html":    `<script src="{{asset .Prefix "post.js"}}"{{with .Page.AgainURL}} data-again="{{local .}}"{{end}} defer></script>`,
		"repost.html":  `<script src="{{asset .Prefix "post.js"}}" defer></script>`,
	}[filepath.Base(file)]
	if !ok {
		return text
	}
	if n := strings.Count(text, tag); n != 1 {
		t.Errorf("%s has the script %d times, want it once", file, n)
	}
	return strings.Replace(text, tag, "", 1)
}

// The scripts post a form, follow a link of the page, care for the address, and show times.
// They fetch nothing, keep nothing, and make no markup of a value.
func TestScriptsDoNoMore(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("assets/*.js")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d scripts, %v, want three", len(files), err)
	}
	more := regexp.MustCompile(`fetch|XMLHttp|beacon|import|eval|Function|innerHTML|outerHTML|document\.write|insertAdjacent|cookie|[sS]torage|postMessage|opener|window\.`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if hit := more.FindString(string(text)); hit != "" {
			t.Errorf("%s has %s", file, hit)
		}
	}
}

func TestForbiddenIsFound(t *testing.T) {
	t.Parallel()
	for text, what := range map[string]string{
		`<SCRIPT src="/x">`:                  "a script",
		`<p style="x">`:                      "an inline style",
		`<style>`:                            "an inline style",
		`<a onclick="x">`:                    "an event attribute",
		`<a href="x"onfocus=x>`:              "an event attribute",
		`<a href="https://x.example/">`:      "an absolute URL",
		`<img src="//x.example/">`:           "an absolute URL",
		`<a href="javascript:x">`:            "an absolute URL",
		`body { background: url(x.png) }`:    "an import",
		`@import "x.css"`:                    "an import",
		`{{.Username | safeHTML}}`:           "trusted content",
		`<link rel="icon" href="data:,">`:    "an absolute URL",
		`<svg/onload=x>`:                     "an event attribute",
		`a { b: c } @IMPORT 'x'`:             "an import",
		"<form\n  onsubmit = 'x'>":           "an event attribute",
		`<link href=//fonts.example/a.css>`:  "an absolute URL",
		`<div class="a" STYLE = "color:red"`: "an inline style",
	} {
		if !forbidden[what].MatchString(text) {
			t.Errorf("%s is not found in %s", what, text)
		}
	}
}

// Words belong into texts.go.
func TestTemplatesHaveNoTextOfTheirOwn(t *testing.T) {
	t.Parallel()
	markup := regexp.MustCompile(`(?s)\{\{.*?\}\}|<[^>]*>`)
	for file, text := range sources(t) {
		if !strings.HasPrefix(file, "templates") {
			continue
		}
		// Actions first: they may stand within a tag.
		text = regexp.MustCompile(`(?s)\{\{.*?\}\}`).ReplaceAllString(text, "")
		if word := regexp.MustCompile(`\pL+`).FindString(markup.ReplaceAllString(text, " ")); word != "" {
			t.Errorf("%s has a text of its own: %q", file, word)
		}
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	t.Parallel()
	texts := reflect.ValueOf(pages.English)
	for i := range texts.NumField() {
		name, text := texts.Type().Field(i).Name, texts.Field(i)
		want := 0
		if text.Type().Name() == "sentence" {
			want = 1
		}
		if name == "SignedInAt" {
			want = 2
		}
		if text.Len() == 0 || strings.Count(text.String(), "%") != want || strings.Count(text.String(), "%s") != want {
			t.Errorf("%s is %q, want a text with %d values", name, text, want)
		}
	}
}

// People and screen readers find their way by the structure of a page.
func TestPageStructure(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	for name, page := range examples() {
		html := render(t, rd, page).Body.String()
		for part, want := range map[string]int{
			"<!DOCTYPE html>": 1, `<html lang="en">`: 1, "<title>": 1, "<h1>": 1, "<header>": 1, "<main>": 1,
			`<meta name="viewport" content="width=device-width, initial-scale=1">`: 1,
		} {
			if got := strings.Count(html, part); got != want {
				t.Errorf("%s: %d times %s, want %d", name, got, part, want)
			}
		}
		for _, img := range regexp.MustCompile(`<img[^>]*>`).FindAllString(html, -1) {
			if !strings.Contains(img, " alt=") {
				t.Errorf("%s: an image without alt: %s", name, img)
			}
		}
		if strings.Count(html, chrome.App)+strings.Count(html, branded.App) == 0 {
			t.Errorf("%s: does not say which app it is of", name)
		}
	}
}
