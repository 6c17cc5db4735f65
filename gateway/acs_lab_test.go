package gateway_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const acs = "/.sso/saml/acs"

var (
	formTag  = regexp.MustCompile(`<form class="actions" method="post" action="([^"]*)">`)
	inputTag = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// formOf reads the form of a page that goes on by itself.
func formOf(t testing.TB, w *httptest.ResponseRecorder) (action string, fields url.Values) {
	t.Helper()
	wantStatus(t, w, http.StatusOK)
	body := w.Body.String()
	form := formTag.FindStringSubmatch(body)
	if form == nil || !strings.Contains(body, "/assets/post.js?") || !strings.Contains(body, `type="submit"`) {
		t.Fatalf("no page with a form that posts itself:\n%.600s", body)
	}
	if cc := w.Header().Get("Cache-Control"); cc != "no-store" {
		t.Errorf("Cache-Control %q, want no-store", cc)
	}
	fields = url.Values{}
	for _, m := range inputTag.FindAllStringSubmatch(body, -1) {
		fields.Add(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	return html.UnescapeString(form[1]), fields
}

const formType = "application/x-www-form-urlencoded"

// formRequest is a POST of a form by a page of ours, with the browser's cookies.
func (b *browser) formRequest(target, form string, header ...string) *http.Request {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(form))
	r.Host = b.host
	for _, c := range b.jar.Cookies(b.url(r.Host)) {
		r.AddCookie(c)
	}
	header = append([]string{
		"Content-Type", formType, "Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document",
		"Sec-Fetch-Site", "same-origin", "Origin", "https://" + b.host,
	}, header...)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// postForm posts a form as a page of ours does.
func (b *browser) postForm(target string, form url.Values) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.send(b.formRequest(target, form.Encode()))
}

// postFromAfar posts a form as a page of another site does: our cookies, which
// are Lax, stay out.
func (b *browser) postFromAfar(target string, form url.Values) *httptest.ResponseRecorder {
	b.t.Helper()
	r := b.formRequest(target, form.Encode(), "Sec-Fetch-Site", "cross-site", "Origin", "null")
	r.Header.Del("Cookie")
	return b.send(r)
}

// bring brings a provider's answer as browsers do. A form comes from afar, and then once
// more from our own page.
func (b *browser) bring(a answer) *httptest.ResponseRecorder {
	b.t.Helper()
	if a.form == nil {
		return b.open(a.target)
	}
	action, fields := formOf(b.t, b.postFromAfar(a.target, a.form))
	if action != a.target {
		b.t.Fatalf("the page posts to %q", action)
	}
	return b.postForm(action, fields)
}

// bringing is the request that brings an answer together with our cookies.
func (b *browser) bringing(a answer) *http.Request {
	b.t.Helper()
	if a.form == nil {
		return b.request(http.MethodGet, a.target, navigating...)
	}
	return b.formRequest(a.target, a.form.Encode())
}
