package pages_test

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
)

func TestNewLogo(t *testing.T) {
	t.Parallel()
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ body, want string }{
		"PNG":                 {picture.String(), "image/png"},
		"SVG":                 {logoSVG, "image/svg+xml"},
		"SVG with a prologue": {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- a logo -->\n<!DOCTYPE svg>\n" + logoSVG, "image/svg+xml"},
		"SVG with a prefix":   {`<s:svg xmlns:s="http://www.w3.org/2000/svg"/>`, "image/svg+xml"},
		"largest":             {logoSVG + strings.Repeat(" ", pages.MaxLogo-len(logoSVG)), "image/svg+xml"},
		"too large":           {logoSVG + strings.Repeat(" ", pages.MaxLogo-len(logoSVG)+1), "larger than 64 KiB"},
		"no namespace":        {`<svg viewBox="0 0 1 1"/>`, "no picture"},
		"HTML":                {`<html xmlns="http://www.w3.org/1999/xhtml"><svg xmlns="http://www.w3.org/2000/svg"/></html>`, "no picture"},
		"JPEG":                {"\xff\xd8\xff\xe0", "no picture"},
		"PNG cut off":         {picture.String()[:12], "no picture"},
		"text with a tag":     {"This is " + logoSVG, "no picture"},
		"a byte order mark":   {"\xef\xbb\xbf" + logoSVG, "byte order mark"},
		"UTF-16":              {"\xff\xfe<\x00s\x00", "byte order mark"},
		"empty":               {"", "no picture"},
		"text":                {"/etc/caddy/logo.svg", "no picture"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logo, err := pages.NewLogo([]byte(test.body))
			if !strings.Contains(test.want, "/") {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("the error is %v, want %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			newRenderer(t).Asset(w, httptest.NewRequest(http.MethodGet, "/.sso/assets/logo", nil), pages.Brand{Logo: logo}, "logo")
			// Opened by its address, it may run nothing.
			if h := w.Header(); w.Body.String() != test.body || h.Get("Content-Type") != test.want || h.Get("Content-Security-Policy") != "default-src 'none'; frame-ancestors 'none'; sandbox" {
				t.Errorf("it is served as %d bytes with %v", w.Body.Len(), h)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for help, want := range map[string]string{
		"":                                   "",
		"it@example.com":                     `<a href="mailto:it@example.com">it@example.com</a>`,
		"mailto:it@example.com":              `<a href="mailto:it@example.com">it@example.com</a>`,
		"https://help.example.com/":          `<a href="https://help.example.com/">help.example.com</a>`,
		"https://help.example.com/a?b=c&d":   `<a href="https://help.example.com/a?b=c&amp;d">help.example.com/a?b=c&amp;d</a>`,
		"http://help":                        `<a href="http://help">http://help</a>`,
		"Call <4711> or mail it@example.com": `<bdi>Call &lt;4711&gt; or mail it@example.com</bdi>`,
		"javascript:alert(1)":                `<bdi>javascript:alert(1)</bdi>`,
		"javascript:a@b":                     `<bdi>javascript:a@b</bdi>`,
		"//evil.example":                     `<bdi>//evil.example</bdi>`,
		"+49 89 4711":                        `<bdi>+49 89 4711</bdi>`,
	} {
		_, footer, found := strings.Cut(render(t, newRenderer(t), pages.Chooser{Chrome: pages.Chrome{Brand: pages.Brand{Help: help}}}).Body.String(), "<footer>Need help? ")
		footer, _, _ = strings.Cut(footer, "</footer>")
		if footer != strings.ReplaceAll(want, "+", "&#43;") || found != (help != "") {
			t.Errorf("%q: the page has %q, want %q", help, footer, want)
		}
	}
}
