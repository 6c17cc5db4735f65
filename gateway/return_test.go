package gateway_test

import (
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing"
)

// returnURLs are return URLs that a client may ask for, and where the login ends.
var returnURLs = map[string]struct{ target, want string }{
	"root":                      {"/", "/"},
	"path":                      {"/a/b", "/a/b"},
	"path and query":            {"/a?b=c&d=%2F", "/a?b=c&d=%2F"},
	"encoded path":              {"/a%20b/%C3%A9", "/a%20b/%C3%A9"},
	"URL in the query":          {"/a?u=https://evil.example/", "/a?u=https://evil.example/"},
	"colon in the path":         {"/a:b", "/a:b"},
	"our session page":          {"/.sso/session", "/.sso/session"},
	"empty":                     {"", "/"},
	"no slash":                  {"a", "/"},
	"absolute":                  {"https://evil.example/", "/"},
	"absolute, ours":            {"https://app.example/a", "/"},
	"scheme-relative":           {"//evil.example/", "/"},
	"three slashes":             {"///evil.example/", "/"},
	"backslash":                 {`/\evil.example/`, "/"},
	"two backslashes":           {`\\evil.example/`, "/"},
	"backslash later":           {`/a\b`, "/"},
	"encoded backslash":         {"/%5cevil.example", "/"},
	"encoded slash":             {"/%2fevil.example", "/"},
	"encoded slash and a slash": {"/%2f/evil.example", "/"},
	"tab":                       {"/\t/evil.example", "/"},
	"encoded tab":               {"/%09/evil.example", "/"},
	"line feed":                 {"/\n/evil.example", "/"},
	"header injection":          {"/a\r\nSet-Cookie: sso=x", "/"},
	"encoded header injection":  {"/a%0d%0aSet-Cookie:x", "/"},
	"NUL":                       {"/a\x00", "/"},
	"encoded NUL":               {"/a%00", "/"},
	"space before":              {" /a", "/"},
	"space":                     {"/a b", "/"},
	"non-ASCII":                 {"/é?ü=\u00a0", "/%C3%A9?%C3%BC=%C2%A0"},
	"no UTF-8":                  {"/\xff", "/%FF"},
	"fragment":                  {"/a?b#c/d?e#f", "/a?b#c/d?e#f"},
	"non-ASCII fragment":        {"/#ü", "/#%C3%BC"},
	"only a fragment":           {"#b", "/"},
	"blank in a fragment":       {"/a?b#a b", "/a?b"},
	"a fragment too long":       {"/a?b#" + strings.Repeat("a", 8192), "/a?b"},
	"backslash in a fragment":   {`/#a\b`, "/#a%5Cb"},
	"backslash in a query":      {`/x?q=a\b`, "/x?q=a%5Cb"},
	"encoded backslash inside":  {`/a%5Cb/%5c?%5C`, `/a%5Cb/%5c?%5C`},
	"fragment hides our logout": {"/.sso/logout#/a", "/"},
	"bad escape":                {"/a%zz", "/"},
	"scheme":                    {"javascript:alert(1)", "/"},
	"data":                      {"data:text/html,x", "/"},
	"user":                      {"@evil.example", "/"},
	"port":                      {":443", "/"},
	"dot host":                  {".evil.example", "/"},
	"our logout":                {"/.sso/logout", "/"},
	"our login":                 {"/.sso/login?return=/", "/"},
	"our prefix":                {"/.sso", "/"},
	"our login, round about":    {"/a/../.sso/login", "/"},
	"our login, encoded":        {"/%2esso/login", "/"},
	"our callback":              {"/.sso/oidc/callback?state=x", "/"},
	"a name like ours":          {"/.ssox", "/.ssox"},
	"too long":                  {"/" + strings.Repeat("a", 8192), "/"},
	"just not too long":         {"/" + strings.Repeat("a", 8191), "/" + strings.Repeat("a", 8191)},
}

func TestReturnURL(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	signedIn := s.browser()
	signedIn.signIn()
	for name, tc := range returnURLs {
		t.Run(name, func(t *testing.T) {
			login := "/.sso/login?" + url.Values{"return": {tc.target}}.Encode()
			wantRedirect(t, signedIn.open(login), "https://app.example"+tc.want)
			fresh := s.browser()
			callback := fresh.begin(login)
			wantRedirect(t, fresh.bring(callback), "https://app.example"+tc.want)
		})
	}
}

// The page that a person wanted comes back with its query, as it was asked.
func TestReturnToTarget(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	for name, tc := range map[string]struct{ target, want string }{
		"path and query":  {"/a%20b?c=d&e=%2f%2F", "/a%20b?c=d&e=%2f%2F"},
		"absolute form":   {"http://app.example/a?b", "/a?b"},
		"two slashes":     {"//evil.example/", "/"},
		"a semicolon":     {"/a;b?c;d", "/a;b?c;d"},
		"an encoded path": {"/%2e%2e/a", "/%2e%2e/a"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			r, ok := wire(tc.target, appHost)
			if !ok {
				t.Fatal("net/http refuses the target")
			}
			r.Header.Set("Accept", "text/html")
			w := b.send(r)
			wantStatus(t, w, http.StatusSeeOther)
			wantRedirect(t, b.bring(s.idp.answer(t, w, "alice")), "https://app.example"+tc.want)
		})
	}
}

// FuzzReturnURL holds every Location after a login against two readings, that
// of net/url and that of browsers.
func FuzzReturnURL(f *testing.F) {
	for _, tc := range returnURLs {
		f.Add(tc.target)
	}
	s := newLab(f).site()
	b := s.browser()
	b.signIn()
	once := 0
	f.Fuzz(func(t *testing.T, target string) {
		s.lab.t = t
		once++ // the same query again and again is a loop of the app's
		w := b.open("/.sso/login?" + url.Values{"return": {target}, "once": {strconv.Itoa(once)}}.Encode())
		wantStatus(t, w, http.StatusSeeOther)
		location := w.Header().Get("Location")
		u, err := url.Parse(location)
		if err != nil || u.Scheme != "https" || u.Host != appHost || u.User != nil {
			t.Fatalf("%q led to %q (%v)", target, location, err)
		}
		if got := browserReads(location); !strings.HasPrefix(got, "https://app.example/") || strings.HasPrefix(got, "https://app.example//") {
			t.Fatalf("%q led to %q, which a browser reads as %q", target, location, got)
		}
		if clean := path.Clean(u.Path); strings.HasPrefix(clean, "/.sso/") && clean != "/.sso/session" {
			t.Fatalf("%q led back to the gateway: %q", target, location)
		}
	})
}

// browserReads does to a URL what the URL Standard (§4.4) does first: blanks
// and controls at the ends go, tabs and line breaks everywhere, a backslash is
// a slash.
func browserReads(location string) string {
	location = strings.TrimFunc(location, func(c rune) bool { return c <= ' ' })
	location = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(location)
	head, query, found := strings.Cut(location, "?")
	head = strings.ReplaceAll(head, `\`, "/")
	if found {
		return head + "?" + query
	}
	return head
}
