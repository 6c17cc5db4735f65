package pages_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
)

// hostile are values that break out of one context or another when they are
// not escaped for it.
var hostile = map[string]string{
	"script":        `<script>alert(1)</script>"'&`,
	"double quote":  `" onmouseover="alert(1)`,
	"single quote":  `' onmouseover='alert(1)`,
	"unquoted":      ` onmouseover=alert(1) x=`,
	"closing title": `</title><script>alert(1)</script>`,
	"closing style": `</style><img src=x onerror=alert(1)>`,
	"comment":       `--><svg onload=alert(1)>`,
	"cdata":         `]]><script>alert(1)</script>`,
	"entity":        `&lt;script&gt;&#60;script&#62;&quot;&NewLine;`,
	"template":      `{{.}}{{template "main"}}%s%!s`,
	"javascript":    `javascript:alert(1)`,
	"mixed case":    `jAvAsCrIpT:alert(1)`,
	"data":          `data:text/html,<script>alert(1)</script>`,
	"absolute":      `https://evil.example/`,
	"no scheme":     `//evil.example/`,
	"backslash":     `/\evil.example/`,
	"tab":           "/\t/evil.example/",
	"line break":    "java\nscript:alert(1)",
	"header":        "x\r\nSet-Cookie: a=b",
	"local script":  `/"><script>alert(1)</script>`,
	"NUL":           "a\x00<script>",
	"bad UTF-8":     "\xff<script>\xc0\xaf",
}

// blanks are pages of all types, without values, and how many values each can show: the
// app twice (title and header), then what the page has.
func blanks() map[any]int {
	return map[any]int{
		&pages.Chooser{}:                2 + 1 + 1,             // label, URL
		&pages.Refusal{}:                2 + 2 + 2 + 1 + 6 + 1, // code, reference, provider and user, client, six URLs, here
		&pages.Session{}:                2 + 5 + 2 + 1,         // five fields, a role, a group, a URL
		&pages.Form{}:                   2 + 1 + 2 + 1,         // provider, a field's name and value, a URL
		&pages.Repost{}:                 2 + 1 + 2,             // action, a field's name and value
		&pages.Logout{}:                 3 + 2 + 1,             // user, provider, action
		&pages.Logout{AtProvider: true}: 3 + 2 + 1,
		&pages.Other{}:                  3 + 2 + 2, // user, label, two URLs
		&pages.Leave{}:                  2 + 1 + 1, // provider, the prefix once more
		&pages.Leave{Back: true}:        2 + 1 + 1,
		&pages.LoggedOut{}:              3 + 1 + 1, // a URL, the prefix once more
	}
}

// No value changes the elements and attributes of a page. The page leads to nothing
// but its own origin, or to the provider over http(s).
func TestPageEscapesEveryValue(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	for blank := range blanks() {
		shape, _ := shapeOf(t, render(t, rd, filled(blank, "harmless")).Body.String())
		if len(shape) < 15 {
			t.Fatalf("%T: the control has only %d elements", blank, len(shape))
		}
		for name, value := range hostile {
			t.Run(fmt.Sprintf("%T/%s", blank, name), func(t *testing.T) {
				t.Parallel()
				w := render(t, rd, filled(blank, value))
				html := w.Body.String()
				got, links := shapeOf(t, html)
				// The host is cut at its dots, with an element behind each.
				if !slices.Equal(withoutBreaks(got), withoutBreaks(shape)) {
					t.Errorf("the value changes the page:\n%v\nwant\n%v", got, shape)
				}
				_, isForm := blank.(*pages.Form)
				_, isLeave := blank.(*pages.Leave)
				for _, link := range links {
					if (isForm || isLeave) && strings.HasPrefix(link, "https://evil.example/") {
						continue
					}
					if u, err := url.Parse(link); link != "#" && (err != nil || !strings.HasPrefix(link, "/") || u.IsAbs() || u.Host != "") {
						t.Errorf("the page leads to %q", link)
					}
				}
				if strings.Contains(html, "{{") {
					t.Error("the page is a template")
				}
				if strings.Contains(html, "ZgotmplZ") {
					t.Error("html/template met a context that it does not trust")
				}
				if csp := w.Header().Get("Content-Security-Policy"); strings.Contains(csp, "alert") || strings.ContainsAny(csp, "\r\n<\"") {
					t.Errorf("the policy is %q", csp)
				}
			})
		}
	}
}

// Every value is shown: else the test above would prove nothing.
func TestPageShowsEveryValue(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	const value = `/<"shown'&>`
	for page, want := range blanks() {
		html := render(t, rd, filled(page, value)).Body.String()
		// The prefix is in three links of assets, and in that of the script.
		if got := strings.Count(html, "shown") - 3 - strings.Count(html, "<script"); got != want {
			t.Errorf("%T shows %d values, want %d:\n%s", page, got, want, html)
		}
	}
}

// filled returns a copy of the page with every string set to value, every list to one
// value, and every time to one of now.
func filled(page any, value string) any {
	v := reflect.New(reflect.TypeOf(page).Elem()).Elem()
	v.Set(reflect.ValueOf(page).Elem())
	fill(v, value)
	return v.Interface()
}

func fill(v reflect.Value, value string) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Now().Add(time.Hour)))
	case v.Type() == reflect.TypeFor[pages.Brand](): // of the configuration: see TestHelp
	case v.Kind() == reflect.String:
		v.SetString(value)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), value)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), value)
		}
	case v.Kind() == reflect.Int || v.Kind() == reflect.Bool:
	default:
		panic("a page has a field of a kind that this test does not fill: " + v.Type().String())
	}
}

// shapeOf returns the tags of a page with the names of their attributes, and
// the addresses that it links to.
func shapeOf(t *testing.T, html string) (shape, links []string) {
	t.Helper()
	tokens(t, html, func(tok xml.Token) {
		switch tok := tok.(type) {
		case xml.StartElement:
			tag := tok.Name.Local
			for _, a := range tok.Attr {
				tag += " " + a.Name.Local
				if slices.Contains([]string{"href", "src", "action", "data-again", "data-address"}, a.Name.Local) {
					links = append(links, a.Value)
				}
				if _, link, ok := strings.Cut(a.Value, "; url="); ok && a.Name.Local == "content" {
					links = append(links, link)
				}
			}
			shape = append(shape, tag)
		case xml.EndElement:
			shape = append(shape, "/"+tok.Name.Local)
		case xml.Comment:
			shape = append(shape, "comment")
		}
	})
	return shape, links
}

func textOf(t *testing.T, html string) string {
	t.Helper()
	var text strings.Builder
	tokens(t, html, func(tok xml.Token) {
		if data, ok := tok.(xml.CharData); ok {
			text.Write(data)
		}
	})
	return text.String()
}

func tokens(t *testing.T, html string, on func(xml.Token)) {
	t.Helper()
	// XML has no place for these two; what a browser makes of them is text.
	html = strings.NewReplacer("\x00", "", "�", "").Replace(strings.ToValidUTF8(html, ""))
	d := xml.NewDecoder(strings.NewReader(html))
	d.Strict = false
	d.AutoClose = append([]string{"wbr"}, xml.HTMLAutoClose...)
	d.Entity = xml.HTMLEntity
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the page is not well formed: %v\n%s", err, html)
		}
		on(tok)
	}
}

func withoutBreaks(shape []string) []string {
	return slices.DeleteFunc(slices.Clone(shape), func(s string) bool { return strings.TrimPrefix(s, "/") == "wbr" })
}

func FuzzLocal(f *testing.F) {
	for _, value := range hostile {
		f.Add(value)
	}
	f.Add("/.sso/login?return=%2Fa%3Fb&x=y#z")
	base, err := url.Parse("https://app.example/.sso/session")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := pages.Local(raw)
		if got == "#" {
			return
		}
		if got != raw {
			t.Fatalf("%q became %q", raw, got)
		}
		// As browsers read it: without tabs and line breaks, \ as /.
		seen := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(raw)
		if strings.HasPrefix(seen, "//") || !strings.HasPrefix(seen, "/") {
			t.Fatalf("%q leaves the origin", raw)
		}
		if u, err := base.Parse(seen); err == nil && (u.Host != base.Host || u.Scheme != base.Scheme) {
			t.Fatalf("%q leads to %s", raw, u)
		}
	})
}

func FuzzAway(f *testing.F) {
	for _, value := range hostile {
		f.Add(value)
	}
	f.Add("https://id.example:8443/logout?a=b;c#d")
	f.Add("https://id.example/#d\x00")
	scheme := regexp.MustCompile(`^(?i:https?)://[^/?#\\]`)
	f.Fuzz(func(t *testing.T, raw string) {
		got := pages.Away(raw)
		if got == "#" {
			return
		}
		if got != raw || !scheme.MatchString(raw) || strings.ContainsAny(raw, "\t\r\n\x00") {
			t.Fatalf("%q gives %q", raw, got)
		}
	})
}
