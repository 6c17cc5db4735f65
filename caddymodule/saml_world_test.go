package caddymodule_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// addIdP starts a SAML provider whose TLS certificate NAME.pem verifies.
func (w *world) addIdP(name string) *gatewaytest.IdP {
	w.t.Helper()
	idp := gatewaytest.NewIdP(w.t)
	if err := os.WriteFile(w.path(name+".pem"), idp.Roots, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return idp
}

// saml is a provider for the global option sso, by the address of its metadata.
func (w *world) saml(name string, idp *gatewaytest.IdP, options ...string) string {
	options = append([]string{"metadata " + idp.EntityID + gatewaytest.IdPMetadataPath, "ca " + w.path(name+".pem"), "display_name \"People of " + name + "\""}, options...)
	return fmt.Sprintf("provider %s saml {\n\t\t\t%s\n\t\t}\n\t\t", name, strings.Join(options, "\n\t\t\t"))
}

// loadIn runs a Caddyfile for a subtest.
func (w *world) loadIn(t *testing.T, caddyfile string) {
	t.Helper()
	if err := w.load(caddyfile); err != nil {
		t.Fatalf("loading: %v", err)
	}
}

// samlSite is a site that shows whom it is told of.
const samlSite = `
ORIGIN {
	log
	sso {
		role User *
		group team staff
	}
	respond "{http.auth.user.id} {http.auth.user.email} {http.auth.user.name} {http.auth.user.groups} of {http.auth.user.provider}"
}
`

const aliceOf = "alice alice@example.com Alice Ångström team of "

// A form is one that a page posts by itself.
type form struct {
	from, action *url.URL
	fields       url.Values
}

// formOf returns the one form of a page that carries a SAML message, or nil.
func formOf(t *testing.T, at *url.URL, page string) *form {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	f := &form{from: at, fields: url.Values{}}
	for n := range doc.Descendants() {
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		switch {
		case n.Type == html.ElementNode && n.Data == "form":
			if f.action, err = at.Parse(attr["action"]); err != nil {
				t.Fatal(err)
			}
		case n.Type == html.ElementNode && n.Data == "input":
			f.fields.Add(attr["name"], attr["value"])
		}
	}
	if f.fields.Has("SAMLRequest") || f.fields.Has("SAMLResponse") {
		return f
	}
	return nil
}

// visit asks for a page, posts what pages post by themselves, as far as until
// wants, and returns the last answer and the forms that were posted.
func (b *browser) visit(address string, until func(*form) bool) (status int, body string, forms []*form) {
	b.t.Helper()
	b.seen = []string{address}
	for status, body = b.get(address); status == http.StatusOK; {
		at, err := url.Parse(b.seen[len(b.seen)-1])
		if err != nil {
			b.t.Fatal(err)
		}
		f := formOf(b.t, at, body)
		if f == nil {
			return status, body, forms
		}
		forms = append(forms, f)
		if len(forms) > 4 {
			b.t.Fatalf("there are ever more forms, the last at %s", at)
		}
		if until != nil && until(f) {
			return status, body, forms
		}
		status, body = b.post(f)
	}
	return status, body, forms
}

// post posts a form as browsers do: with no cookies to another site, whose own
// they take all the same (SameSite=Lax).
func (b *browser) post(f *form) (status int, body string) {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodPost, f.action.String(), strings.NewReader(f.fields.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	b.seen = append(b.seen, f.action.String())
	if f.from.Host == f.action.Host {
		r.Header.Set("Origin", f.from.Scheme+"://"+f.from.Host)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		return b.do(r)
	}
	r.Header.Set("Origin", "null")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	jar := b.Jar
	defer func() { b.Jar = jar }()
	b.Jar = setOnly{jar}
	return b.do(r)
}

// answer posts a provider's answer, and then what comes of it.
func (b *browser) answer(f *form) (status int, body string) {
	b.t.Helper()
	status, body = b.post(f)
	if again := formOf(b.t, f.action, body); again != nil {
		status, body = b.post(again)
	}
	return status, body
}

// setOnly is a jar that nothing is taken out of.
type setOnly struct{ http.CookieJar }

func (setOnly) Cookies(*url.URL) []*http.Cookie { return nil }

// samlIn signs in at a provider, and returns what the app shows.
func (b *browser) samlIn(w *world, provider string) (status int, body string) {
	b.t.Helper()
	status, body, _ = b.visit(w.origin()+"/.sso/login?provider="+provider+"&return=%2Fwanted", nil)
	return status, body
}

// sent decodes the SAML message that a form carries.
func (f *form) sent(t *testing.T) string {
	t.Helper()
	doc, err := base64.StdEncoding.DecodeString(f.fields.Get("SAMLRequest") + f.fields.Get("SAMLResponse"))
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}
