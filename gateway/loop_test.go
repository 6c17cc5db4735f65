package gateway_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// forget loses the session cookie, and only it.
func (b *browser) forget() {
	b.jar.SetCookies(b.url(b.host), []*http.Cookie{{Name: "__Host-sso", Path: "/", MaxAge: -1, Secure: true}})
}

// loop signs in again and again without keeping the session, until it is
// answered with something else than a redirect, and returns how many logins
// that took.
func (b *browser) loop(t testing.TB) (logins int, code refusal.Code) {
	t.Helper()
	for logins = range 20 {
		w := b.open("/wanted?x=1")
		if w.Code != http.StatusSeeOther {
			return logins, codeIn(w)
		}
		wantRedirect(t, b.bring(b.idp.answer(t, w, "alice")), "https://app.example/wanted?x=1")
		b.forget()
	}
	t.Fatal("the loop never ended")
	return 0, ""
}

func TestRedirectLoop(t *testing.T) {
	t.Parallel()
	t.Run("C13 a browser that loses the session cookie", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			s := l.site()
			b := s.browser()
			if n, code := b.loop(t); n != 4 || code != refusal.RedirectLoop {
				t.Fatalf("after %d logins: %q", n, code)
			}
			w := b.open("/wanted?x=1")
			wantRefused(t, w, refusal.RedirectLoop)
			wantStatus(t, w, http.StatusConflict)
			body := w.Body.String()
			for _, part := range []string{"cookie", `href="/wanted?x=1"`, "https://app.example"} {
				if !strings.Contains(body, part) {
					t.Errorf("the page lacks %s:\n%s", part, body)
				}
			}
			if w.Header().Get("Retry-After") != "60" {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			events := l.seen()
			if cause := fmt.Sprint(events[len(events)-1].Err); !strings.Contains(cause, "came to https://app.example, the site is https://app.example") {
				t.Errorf("the log says %q", cause)
			}
			wantRefused(t, b.open("/.sso/login?provider=corp"), refusal.RedirectLoop)
			s.browser().signIn() // nobody else is meant

			time.Sleep(61 * time.Second)
			b.signIn()
			wantStatus(t, b.open("/"), http.StatusOK)
		})
	})
	t.Run("C13 over two nodes", func(t *testing.T) {
		t.Parallel()
		one := newLab(t)
		b := one.site().browser()
		other := b.at(newLabOn(t, one.store).site())
		for range 2 {
			for _, b := range []*browser{b, other} {
				wantRedirect(t, b.bring(b.begin("/")), "https://app.example/")
				b.forget()
			}
		}
		wantRefused(t, b.open("/"), refusal.RedirectLoop)
		wantRefused(t, other.open("/"), refusal.RedirectLoop)
	})
	t.Run("C13 http at the gateway under an https address", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s := l.site(func(o *gateway.AppOptions) { o.BaseURL = "https://app.example" })
		b := s.browser()
		b.loop(t)
		w := s.serve(b.request(http.MethodGet, "/wanted", navigating...), true)
		wantRefused(t, w, refusal.RedirectLoop)
		if body := w.Body.String(); !strings.Contains(body, "http://app.example") || !strings.Contains(body, "https://app.example") {
			t.Errorf("the page does not name both addresses:\n%s", body)
		}
	})
	t.Run("who signs out by hand is in no loop", func(t *testing.T) {
		t.Parallel()
		b := newLab(t).site().browser()
		for range 10 {
			b.signIn()
			wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther)
		}
	})
	t.Run("neither is who signs in as somebody else", func(t *testing.T) {
		t.Parallel()
		b := newLab(t).site().browser()
		b.signIn()
		for i := range 10 {
			w := b.post("/.sso/login?as=other&provider=corp&return=%2F")
			wantRedirect(t, b.bring(b.idp.answer(t, w, []string{"bob", "alice"}[i%2])), "https://app.example/")
		}
	})
	t.Run("neither is whom a client has sign in again", func(t *testing.T) {
		t.Parallel()
		for _, ask := range [][]string{{"prompt", "login"}, {"max_age", "0"}, {"prompt", "select_account"}} {
			l := newLab(t)
			b := l.openID().browser()
			b.tokens()
			for range 10 {
				w := b.open(wikiAsks(ask...))
				if !strings.HasPrefix(w.Header().Get("Location"), l.idp.issuer) {
					t.Fatalf("%v: status %d %s", ask, w.Code, codeIn(w))
				}
				wantCode(t, b.follow(b.bring(l.idp.answer(t, w, "alice"))))
			}
		}
	})
	t.Run("a client that asks each time is stopped at last", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		b := l.openID().browser()
		b.tokens()
		for range session.MaxRenewals {
			b.follow(b.bring(l.idp.answer(t, b.open(wikiAsks("prompt", "login")), "alice")))
		}
		w := b.open(wikiAsks("prompt", "login"))
		wantRefused(t, w, refusal.AppLoop)
		if w.Header().Get("Retry-After") != "60" {
			t.Errorf("header %v", w.Header())
		}
		wantCode(t, b.open(wikiAsks())) // the login lives
	})
	t.Run("C13 a browser that loses the cookie, whatever the client asks", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		b := l.openID().browser()
		for range 4 {
			b.bring(l.idp.answer(t, b.open(wikiAsks("prompt", "login")), "alice"))
			b.forget()
		}
		wantRefused(t, b.open(wikiAsks("prompt", "login")), refusal.RedirectLoop)
	})
	t.Run("neither are ten tabs that sign in side by side", func(t *testing.T) {
		t.Parallel()
		b := newLab(t).site().browser()
		b.begin("/") // sets the cookie that all of them share
		var callbacks []answer
		for i := range 10 {
			callbacks = append(callbacks, b.begin(fmt.Sprintf("/tab/%d", i)))
		}
		for i, callback := range callbacks {
			wantRedirect(t, b.bring(callback), fmt.Sprintf("https://app.example/tab/%d", i))
			b.forget()
		}
		b.signIn()
	})
	t.Run("who can't sign in counts nothing", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		b := l.site().browser()
		for range 10 {
			b.begin("/")
			wantRefused(t, b.open("/.sso/oidc/callback?state=x"), refusal.FlowUnknown)
		}
		if n := len(l.store.keys("limit")); n > 0 {
			t.Errorf("%d counters", n)
		}
		wantStatus(t, b.open("/"), http.StatusSeeOther)
	})
	t.Run("a store that is down is no loop", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		b := l.site().browser()
		b.begin("/")
		l.store.down.Store(true)
		wantRefused(t, b.open("/"), refusal.StoreUnavailable)
	})
}

func TestAppLoop(t *testing.T) {
	t.Parallel()
	t.Run("C13 an app that sends to the login who is signed in", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := newLab(t).site()
			b := s.browser()
			b.signIn()
			for range 4 {
				wantRedirect(t, b.open("/.sso/login?return=%2Fpage"), "https://app.example/page")
			}
			w := b.open("/.sso/login?return=%2Fpage")
			wantRefused(t, w, refusal.AppLoop)
			if body := w.Body.String(); !strings.Contains(body, `href="/page"`) || !strings.Contains(body, "<bdi>alice</bdi>") {
				t.Errorf("the page:\n%s", body)
			}
			wantStatus(t, b.open("/page"), http.StatusOK)
			wantRedirect(t, b.open("/.sso/login?return=%2Fother"), "https://app.example/other")
			time.Sleep(61 * time.Second)
			wantRedirect(t, b.open("/.sso/login?return=%2Fpage"), "https://app.example/page")
		})
	})
	t.Run("the tabs of a chooser are none", func(t *testing.T) {
		t.Parallel()
		b := newLab(t).site().browser()
		b.signIn()
		for i := range 20 {
			target := fmt.Sprintf("/tab/%d", i)
			wantRedirect(t, b.open("/.sso/login?"+url.Values{"return": {target}}.Encode()), "https://app.example"+target)
		}
	})
}

func TestAnswerLost(t *testing.T) {
	t.Parallel()
	t.Run("C13 a POST that a redirect made a GET", func(t *testing.T) {
		t.Parallel()
		l := newSAMLLab(t)
		s := l.site()
		b := s.browser()
		answer := b.begin("/wanted")
		for _, w := range []string{acs, acs + "?"} {
			wantRefused(t, b.open(w), refusal.AnswerLost)
		}
		events := l.seen()
		if cause := fmt.Sprint(events[len(events)-1].Err); !strings.Contains(cause, "https://app.example/.sso/saml/acs") {
			t.Errorf("the log does not name the address to register: %q", cause)
		}
		if fix := refusal.AnswerLost.Meaning().Fix; !strings.Contains(fix, acs) {
			t.Errorf("the fix does not name the ACS: %q", fix)
		}
		// The login is still there. After it, the signed-in person goes on.
		wantRedirect(t, b.bring(answer), "https://app.example/wanted")
		wantRedirect(t, b.open(acs), "https://app.example/")
	})
	t.Run("C13 a callback without parameters", func(t *testing.T) {
		t.Parallel()
		s := newLab(t).site()
		b := s.browser()
		callback := b.begin("/wanted")
		wantRefused(t, b.open("/.sso/oidc/callback"), refusal.AnswerLost)
		wantRedirect(t, b.bring(callback), "https://app.example/wanted")
		wantRedirect(t, b.open("/.sso/oidc/callback"), "https://app.example/")
	})
	t.Run("C13 callbacks of several providers, of one, of none, and elsewhere", func(t *testing.T) {
		t.Parallel()
		one := defined(provider.OIDC, "one", "")
		two := defined(provider.OIDC, "two", "")
		saml := defined(provider.SAML, "saml", "")
		const origin, usual = "https://app.example", "/.sso/oidc/callback"
		for _, tc := range []struct {
			callback  string
			providers []gateway.NamedProvider
			path      string
			want      refusal.Code
			register  string
		}{
			{usual, []gateway.NamedProvider{one}, usual, refusal.AnswerLost, origin + usual},
			{usual, []gateway.NamedProvider{one}, usual + "/one", refusal.AnswerLost, origin + usual},
			{usual, []gateway.NamedProvider{one}, usual + "/nobody", refusal.ProviderUnknown, ""},
			{usual, []gateway.NamedProvider{one, two}, usual + "/two", refusal.AnswerLost, origin + usual + "/two"},
			{usual, []gateway.NamedProvider{one, two}, usual, refusal.AnswerLost, origin + usual + "/one or " + origin + usual + "/two"},
			{usual, []gateway.NamedProvider{one, two}, usual + "/ONE", refusal.ProviderUnknown, ""},
			{usual, []gateway.NamedProvider{one, saml}, usual + "/saml", refusal.ProviderUnknown, ""},
			{usual, []gateway.NamedProvider{saml}, usual, refusal.ProviderUnknown, ""},
			{"/auth/sso", []gateway.NamedProvider{one}, "/auth/sso", refusal.AnswerLost, origin + "/auth/sso"},
			{"/auth/sso", []gateway.NamedProvider{one, two}, "/auth/sso/one", refusal.AnswerLost, origin + "/auth/sso/one"},
		} {
			l := newLab(t)
			s := l.siteOf(l.gateway(func(o *gateway.Options) { o.Providers = tc.providers }), appHost, func(o *gateway.AppOptions) { o.CallbackPath = tc.callback })
			wantRefused(t, s.browser().open(tc.path), tc.want)
			cause := fmt.Sprint(l.seen()[0].Err)
			if _, register, _ := strings.Cut(cause, "the address to register at the provider is "); register != tc.register {
				t.Errorf("%s of %d providers: the log has %q", tc.path, len(tc.providers), cause)
			}
		}
		for _, option := range []string{"`prefix`", "`callback_path`"} {
			if fix := refusal.AnswerLost.Meaning().Fix; !strings.Contains(fix, option) {
				t.Errorf("the fix does not name %s: %q", option, fix)
			}
		}
	})
	t.Run("C13 an answer over http to a login begun over https", func(t *testing.T) {
		t.Parallel()
		l := newSAMLLab(t)
		s := l.site()
		b := s.browser()
		answer := b.begin("/")
		for name, r := range map[string]*http.Request{
			"post": b.formRequest(acs, answer.form.Encode()), "get": b.request(http.MethodGet, acs, navigating...),
		} {
			w := s.serve(r, true)
			wantRefused(t, w, refusal.InsecureHTTP)
			if body := w.Body.String(); !strings.Contains(body, "http://app.example") || !strings.Contains(body, "https://app.example") {
				t.Errorf("%s: the page does not name both addresses:\n%s", name, body)
			}
		}
		wantRedirect(t, b.bring(answer), "https://app.example/")
	})
}
