package pages_test

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
)

// linked returns the assets that pages link, by name, with their addresses.
func linked(t *testing.T) map[string]string {
	t.Helper()
	html := render(t, newRenderer(t), examples()["form"]).Body.String()
	links := map[string]string{}
	for _, m := range regexp.MustCompile(`"(/\.sso/assets/([a-z.]+)\?v=[0-9a-f]{16})"`).FindAllStringSubmatch(html, -1) {
		links[m[2]] = m[1]
	}
	if len(links) != 3 {
		t.Fatalf("the page links %v, want a style, an icon and a script", links)
	}
	return links
}

func TestAssetIsServedAsLinked(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	types := map[string]string{"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml", "post.js": "text/javascript; charset=utf-8"}
	for name, address := range linked(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, err := os.ReadFile(filepath.Join("assets", name))
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			rd.Asset(w, httptest.NewRequest(http.MethodGet, address, nil), pages.Brand{}, name)
			if w.Code != http.StatusOK || w.Body.String() != string(file) {
				t.Errorf("status %d with %d bytes, want 200 with %d", w.Code, w.Body.Len(), len(file))
			}
			for header, want := range map[string]string{
				"Content-Type":                 types[name],
				"Content-Length":               strconv.Itoa(len(file)),
				"Cache-Control":                "public, max-age=31536000, immutable",
				"X-Content-Type-Options":       "nosniff",
				"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; sandbox",
				"Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}

			head := httptest.NewRecorder()
			rd.Asset(head, httptest.NewRequest(http.MethodHead, address, nil), pages.Brand{}, name)
			if head.Code != http.StatusOK || head.Body.Len() != 0 || head.Header().Get("Content-Length") != strconv.Itoa(len(file)) {
				t.Errorf("HEAD: status %d, %d bytes, Content-Length %s", head.Code, head.Body.Len(), head.Header().Get("Content-Length"))
			}

			again := httptest.NewRequest(http.MethodGet, address, nil)
			again.Header.Set("If-None-Match", w.Header().Get("ETag"))
			fresh := httptest.NewRecorder()
			rd.Asset(fresh, again, pages.Brand{}, name)
			if fresh.Code != http.StatusNotModified || fresh.Body.Len() != 0 {
				t.Errorf("revalidated: status %d with %d bytes, want 304 with none", fresh.Code, fresh.Body.Len())
			}
		})
	}
}

// A page of another release must not make a cache keep this release's style
// under its version.
func TestAssetOfAnotherVersionIsNotKept(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?v=", "?v=0123456789abcdef", "?x=1"} {
		w := httptest.NewRecorder()
		newRenderer(t).Asset(w, httptest.NewRequest(http.MethodGet, "/.sso/assets/style.css"+query, nil), pages.Brand{}, "style.css")
		if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%q: status %d, Cache-Control %q, want 200, no-cache", query, w.Code, w.Header().Get("Cache-Control"))
		}
	}
}

func TestAssetRefuses(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	for _, test := range []struct {
		method, name string
		want         int
	}{
		{http.MethodGet, "", http.StatusNotFound},
		{http.MethodGet, "other.css", http.StatusNotFound},
		{http.MethodGet, "STYLE.CSS", http.StatusNotFound},
		{http.MethodGet, "../pages.go", http.StatusNotFound},
		{http.MethodGet, "assets/style.css", http.StatusNotFound},
		{http.MethodGet, "style.css/", http.StatusNotFound},
		{http.MethodHead, "other.css", http.StatusNotFound},
		{http.MethodPost, "style.css", http.StatusMethodNotAllowed},
		{http.MethodPut, "style.css", http.StatusMethodNotAllowed},
		{http.MethodDelete, "other.css", http.StatusMethodNotAllowed},
		{http.MethodOptions, "style.css", http.StatusMethodNotAllowed},
	} {
		t.Run(fmt.Sprintf("%s %q", test.method, test.name), func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			rd.Asset(w, httptest.NewRequest(test.method, "/.sso/assets/x", nil), pages.Brand{}, test.name)
			if w.Code != test.want {
				t.Errorf("status %d, want %d", w.Code, test.want)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q, want no-store", got)
			}
			if got := w.Header().Get("Allow"); (got == "GET, HEAD") != (test.want == http.StatusMethodNotAllowed) {
				t.Errorf("Allow %q", got)
			}
		})
	}
}

// The least contrast is WCAG 2.2 AA: 4.5 for text (1.4.3), 3 for the edges and
// outlines by which a control is recognised (1.4.11).
func TestStyleContrast(t *testing.T) {
	t.Parallel()
	css, err := os.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s):root \{.*?\}`).FindAllString(string(css), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of colours, want light and dark", len(blocks))
	}
	for i, scheme := range []string{"light", "dark"} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(blocks[i], -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"text", "card", 4.5},
			{"text", "tint", 4.5},
			{"soft", "card", 4.5},
			{"accent", "card", 4.5},
			{"on-accent", "accent", 4.5},
			{"on-accent", "accent-hover", 4.5},
			{"edge", "card", 3},
			{"accent", "tint", 3},
		} {
			front, ok1 := colours[pair.front]
			back, ok2 := colours[pair.back]
			if !ok1 || !ok2 {
				t.Fatalf("%s: no colour %s or %s", scheme, pair.front, pair.back)
			}
			if got := (max(front, back) + 0.05) / (min(front, back) + 0.05); got < pair.least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", scheme, pair.front, pair.back, got, pair.least)
			}
		}
	}
	if rest := strings.NewReplacer(blocks[0], "", blocks[1], "").Replace(string(css)); regexp.MustCompile(`:[^;{}]*(#[0-9a-fA-F]{3}|rgb|hsl)`).MatchString(rest) {
		t.Error("a colour stands outside of :root, where this test does not see it")
	}
}

// luminance is the relative luminance of a colour (WCAG 2.2).
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	channel := func(shift int) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}
