package pages_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
)

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

// Each text has a place that shows it.
func TestTextsAreUsed(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("funcs.go")
	if err != nil {
		t.Fatal(err)
	}
	places := string(code)
	for _, text := range sources(t) {
		places += text
	}
	for name, text := range pages.Texts {
		if text == "" || strings.Count(string(text), "%") != strings.Count(string(text), "%s") {
			t.Errorf("%s is %q, want a text", name, text)
		}
		if !strings.Contains(places, ".Text."+name) && !strings.Contains(places, `texts["`+name+`"]`) && !strings.HasSuffix(name, "Title") {
			t.Errorf("%s is shown nowhere", name)
		}
	}
}

// People and screen readers find their way by the structure of a page. It has no code or
// style of its own, and loads nothing from another host.
func TestPageStructure(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	script := regexp.MustCompile(`<script src="[^"]*"[^>]*></script>`)
	for name, page := range examples() {
		html := render(t, rd, page).Body.String()
		for part, want := range map[string]int{
			"<!DOCTYPE html>": 1, `<html lang="en">`: 1, "<title>": 1, "<h1>": 1, "<header>": 1, "<main>": 1,
			`<meta name="viewport" content="width=device-width, initial-scale=1">`: 1, "<script": len(script.FindAllString(html, -1)), "<style": 0,
		} {
			if got := strings.Count(html, part); got != want {
				t.Errorf("%s: %d times %s, want %d", name, got, part, want)
			}
		}
		if strings.Count(html, chrome.App)+strings.Count(html, branded.App) == 0 {
			t.Errorf("%s: does not say which app it is of", name)
		}
		tokens(t, html, func(tok xml.Token) {
			tag, _ := tok.(xml.StartElement)
			attributes := map[string]string{}
			for _, a := range tag.Attr {
				attributes[a.Name.Local] = a.Value
				loads := a.Name.Local == "src" || tag.Name.Local == "link"
				if a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") || loads && strings.Contains(a.Value, "//") {
					t.Errorf("%s: %s has %s=%q", name, tag.Name.Local, a.Name.Local, a.Value)
				}
			}
			if _, ok := attributes["alt"]; tag.Name.Local == "img" && !ok {
				t.Errorf("%s: an image without alt: %v", name, tag)
			}
		})
	}
	for file, text := range sources(t) {
		text = strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, "") // the name of a namespace is never fetched
		if hit := regexp.MustCompile(`@import|url\(|//[a-z]`).FindString(text); hit != "" && filepath.Ext(file) != ".js" {
			t.Errorf("%s has %q", file, hit)
		}
	}
}
