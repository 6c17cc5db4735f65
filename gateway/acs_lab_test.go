package gateway_test

import (
	"context"
	"encoding/base64"
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

const acs = "/.sso/saml/acs"

// A samlIDP is a fakeIDP that is asked and answers as a SAML provider: by
// redirect or by a form, and by a form.
type samlIDP struct {
	*fakeIDP
	byForm bool

	mu    sync.Mutex
	asked []provider.CompleteRequest
}

func newSAMLIDP(issuer string) *samlIDP {
	p := newFakeIDP(issuer)
	p.protocol = provider.SAML
	return &samlIDP{fakeIDP: p}
}

func (p *samlIDP) Begin(ctx context.Context, req provider.BeginRequest) (*provider.Begun, error) {
	begun, err := p.fakeIDP.Begin(ctx, req)
	if err != nil {
		return nil, err
	}
	form := url.Values{"SAMLRequest": {"UmVxdWVzdA=="}, "RelayState": {req.State}}
	begun.Location = p.issuer + "/sso?" + form.Encode()
	if p.byForm {
		begun.Location, begun.Form = p.issuer+"/sso", form
	}
	return begun, nil
}

func (p *samlIDP) Complete(ctx context.Context, req provider.CompleteRequest) (*provider.Answer, error) {
	p.mu.Lock()
	p.asked = append(p.asked, req)
	p.mu.Unlock()
	person, err := base64.StdEncoding.DecodeString(req.Params.Get("SAMLResponse"))
	if err != nil {
		return nil, refusal.New(refusal.SAMLMalformed, errors.New("no Base64"))
	}
	req.Params = url.Values{"code": {string(person)}, "state": req.Params["RelayState"]}
	return p.fakeIDP.Complete(ctx, req)
}

func (p *samlIDP) Metadata(_ context.Context, req provider.MetadataRequest) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beginErr != nil {
		return nil, p.beginErr
	}
	return []byte("metadata of " + p.issuer + " " + req.CallbackURL + " " + req.MetadataURL), nil
}

// response is the form that the provider's page posts for a person.
func response(person, state string) url.Values {
	return url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(person))}, "RelayState": {state}}
}

// answer is what the browser meets at the provider: person signs in, and the
// provider's page posts the form that answer returns.
func (p *samlIDP) answer(t testing.TB, w *httptest.ResponseRecorder, person string) url.Values {
	t.Helper()
	if !p.byForm {
		location := w.Header().Get("Location")
		if w.Code == http.StatusOK {
			location = linkOf(t, w, "Continue")
		}
		query, ok := strings.CutPrefix(location, p.issuer+"/sso?")
		params, err := url.ParseQuery(query)
		if !ok || err != nil {
			t.Fatalf("the browser was sent to %q, not to the provider", location)
		}
		return response(person, params.Get("RelayState"))
	}
	action, fields := formOf(t, w)
	if action != p.issuer+"/sso" || fields.Get("SAMLRequest") != "UmVxdWVzdA==" {
		t.Fatalf("the form posts %v to %q", fields, action)
	}
	return response(person, fields.Get("RelayState"))
}

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

// bring brings a provider's answer as browsers do: from afar, and then once
// more from our own page.
func (b *browser) bring(form url.Values) *httptest.ResponseRecorder {
	b.t.Helper()
	action, fields := formOf(b.t, b.postFromAfar(acs, form))
	if action != acs {
		b.t.Fatalf("the page posts to %q", action)
	}
	return b.postForm(action, fields)
}

// samlSite is a site with the SAML provider "saml" alone.
func (l *lab) samlSite(p *samlIDP, change ...func(*gateway.AppOptions)) *site {
	l.t.Helper()
	return l.siteOf(l.samlGateway(p), appHost, change...)
}

func (l *lab) samlGateway(p *samlIDP, change ...func(*gateway.Options)) *gateway.Gateway {
	l.t.Helper()
	only := func(o *gateway.Options) {
		o.Providers = []gateway.NamedProvider{{Name: "saml", DisplayName: "Office", Provider: p}}
	}
	return l.gateway(append([]func(*gateway.Options){only}, change...)...)
}
