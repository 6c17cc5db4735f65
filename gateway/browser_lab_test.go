package gateway_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
)

// A browser keeps cookies and asks for pages.
type browser struct {
	*site
	jar   http.CookieJar
	plain bool // http instead of https
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{site: s, jar: jar}
}

// at returns the same browser at another site, or at another node.
func (b *browser) at(s *site) *browser { return &browser{site: s, jar: b.jar, plain: b.plain} }

func (b *browser) url(host string) *url.URL {
	scheme := "https"
	if b.plain {
		scheme = "http"
	}
	return &url.URL{Scheme: scheme, Host: host, Path: "/"}
}

// request makes a request with the browser's cookies. target is as it goes
// over the wire.
func (b *browser) request(method, target string, header ...string) *http.Request {
	b.t.Helper()
	if len(header)%2 != 0 {
		b.t.Fatal("header: names and values come in pairs")
	}
	r := httptest.NewRequest(method, target, nil)
	r.Host = b.host
	if i := slices.Index(header, "Host"); i >= 0 {
		r.Host = header[i+1]
		header = slices.Delete(slices.Clone(header), i, i+2)
	}
	for _, c := range b.jar.Cookies(b.url(r.Host)) {
		r.AddCookie(c)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// send sends r and keeps the answer's cookies.
func (b *browser) send(r *http.Request) *httptest.ResponseRecorder {
	b.t.Helper()
	w := b.serve(r, b.plain)
	b.jar.SetCookies(b.url(r.Host), w.Result().Cookies())
	return w
}

var navigating = []string{"Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}

// open opens a page.
func (b *browser) open(target string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.send(b.request(http.MethodGet, target, append(append([]string(nil), navigating...), header...)...))
}

// fetch asks as a script does, which wants JSON.
func (b *browser) fetch(target string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.send(b.request(http.MethodGet, target, append([]string{"Accept", "application/json", "Sec-Fetch-Mode", "cors"}, header...)...))
}

// post posts a form of our own pages.
func (b *browser) post(target string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.send(b.request(http.MethodPost, target, append([]string{"Accept", "text/html", "Sec-Fetch-Site", "same-origin"}, header...)...))
}

// begin opens a page without a session, and has alice sign in at the provider.
func (b *browser) begin(target string) answer {
	b.t.Helper()
	return b.beginAs(target, "alice")
}

func (b *browser) beginAs(target, person string) answer {
	b.t.Helper()
	return b.idp.answer(b.t, b.open(target), person)
}

// signIn signs alice in.
func (b *browser) signIn() { b.t.Helper(); b.signInAs("alice") }

// signInAs signs a person of the provider in.
func (b *browser) signInAs(person string) {
	b.t.Helper()
	wantRedirect(b.t, b.bring(b.beginAs("/", person)), "https://"+b.host+"/")
}

// follow follows redirects and signs alice in at the provider, until a page or the app
// answers, or a client of the OpenID provider is to.
func (b *browser) follow(w *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	b.t.Helper()
	for range 12 {
		own, isOwn := strings.CutPrefix(w.Header().Get("Location"), "https://"+b.host)
		switch {
		case isOwn:
			w = b.open(own)
		case strings.HasPrefix(w.Header().Get("Location"), b.idp.issuer), strings.Contains(w.Body.String(), "SAMLRequest"):
			w = b.bring(b.idp.answer(b.t, w, "alice"))
		default:
			return w
		}
	}
	b.t.Fatal("the browser was redirected for ever")
	return nil
}

// cookie returns the value of a cookie of the browser, or "".
func (b *browser) cookie(name string) string {
	for _, c := range b.jar.Cookies(b.url(b.host)) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}
