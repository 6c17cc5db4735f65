package gateway_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

var referenceOf = regexp.MustCompile(`class="reference"><dt>[^<]*</dt><dd><code>([^<]+)</code>`)

// wantSameRefusal holds that a later page says what the first one said.
func wantSameRefusal(t *testing.T, w *httptest.ResponseRecorder, code refusal.Code, first *httptest.ResponseRecorder) {
	t.Helper()
	wantRefused(t, w, code)
	was, is := referenceOf.FindStringSubmatch(first.Body.String()), referenceOf.FindStringSubmatch(w.Body.String())
	if was == nil || is == nil || was[1] != is[1] {
		t.Errorf("the reference is %q, and was %q", is, was)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", w.Header())
	}
}

// TestRefusedStays holds that a page load after a refused sign-in says the same as
// the first page, at an address of its own and at the session's.
func TestRefusedStays(t *testing.T) {
	t.Parallel()
	staffOnly := func(o *gateway.AppOptions) { o.Rules = mappingFor("admins") }
	eachProtocol(t, func(t *testing.T, l *lab) {
		s := l.site(staffOnly)
		b := s.browser()
		if w := b.open("/.sso/refused"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "https://app.example/" {
			t.Errorf("before anything was refused: %d, %v", w.Code, w.Header())
		}
		first := b.bring(b.beginAs("/deep?a#b", "bob"))
		wantRefused(t, first, refusal.AccessDenied)
		const said = "You signed in at <bdi>Corp</bdi> as <bdi>bob</bdi>."
		page := first.Body.String()
		if !strings.Contains(page, said) || !strings.Contains(page, `data-address="/.sso/refused"`) {
			t.Errorf("the page says\n%s", page)
		}
		observed := len(l.seen())
		for _, target := range []string{"/.sso/refused", "/.sso/refused", "/.sso/session"} {
			w := b.open(target)
			wantSameRefusal(t, w, refusal.AccessDenied, first)
			if body := w.Body.String(); !strings.Contains(body, said) || strings.Contains(body, "data-address") || linkOf(t, w, "Try again") != linkOf(t, first, "Try again") {
				t.Errorf("%s says\n%s", target, body)
			}
			wantRefused(t, b.fetch(target), refusal.AccessDenied)
		}
		if n := len(l.seen()); n != observed {
			t.Errorf("the observer was told %d times more", n-observed)
		}
		for name, other := range map[string]*browser{"another browser": s.browser(), "without cookies": {site: s, jar: s.browser().jar}} {
			if code := codeIn(other.open("/.sso/session")); code != "" {
				t.Errorf("%s gets %s", name, code)
			}
		}

		wantStatus(t, b.bring(b.begin("/")), http.StatusSeeOther) // somebody who may
		if w := b.open("/.sso/session"); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "bob") {
			t.Errorf("the session's page: %d\n%s", w.Code, w.Body)
		}
		if w := b.open("/.sso/refused"); w.Code != http.StatusSeeOther {
			t.Errorf("the refusal outlives a sign-in: %d", w.Code)
		}
		b.post("/.sso/logout")
		if code := codeIn(b.open("/.sso/session")); code != "" {
			t.Errorf("%s outlives a session", code)
		}
	})
}

// Only the refusal of an answer that was verified is kept. One that another attempt may
// cure is not kept, nor is one of a login that this browser did not begin.
func TestRefusedKeptOnly(t *testing.T) {
	t.Parallel()
	verified := func(err error) func(l *lab, b *browser) *httptest.ResponseRecorder {
		return func(l *lab, b *browser) *httptest.ResponseRecorder {
			callback := b.begin("/deep")
			l.idp.refuse(err)
			defer l.idp.verify(nil)
			return b.bring(callback)
		}
	}
	for name, tc := range map[string]struct {
		refused func(l *lab, b *browser) *httptest.ResponseRecorder
		code    refusal.Code
		kept    bool
	}{
		"verified":             {verified(refusal.New(refusal.OIDCSignature, nil)), refusal.OIDCSignature, true},
		"refused there":        {verified(refusal.New(refusal.ProviderRefused, nil)), refusal.ProviderRefused, true},
		"no user name":         {verified(refusal.New(refusal.NoUsername, nil)), refusal.NoUsername, true},
		"provider unavailable": {verified(refusal.New(refusal.ProviderUnavailable, nil)), refusal.ProviderUnavailable, false},
		"a fault of ours":      {verified(errors.New("x")), refusal.ProviderUnavailable, false},
		"unknown flow": {func(_ *lab, b *browser) *httptest.ResponseRecorder {
			b.begin("/")
			return b.open("/.sso/oidc/callback?code=x&state=" + strings.Repeat("A", 43))
		}, refusal.FlowUnknown, false},
		"no such page": {func(_ *lab, b *browser) *httptest.ResponseRecorder {
			b.begin("/")
			return b.open("/.sso/nothing")
		}, refusal.NotFound, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			b := l.site().browser()
			first := tc.refused(l, b)
			wantRefused(t, first, tc.code)
			if has := strings.Contains(first.Body.String(), "data-address"); has != tc.kept {
				t.Errorf("the page has an address of its own: %v", has)
			}
			w := b.open("/.sso/refused")
			if !tc.kept {
				wantRedirect(t, w, "https://app.example/")
				return
			}
			wantSameRefusal(t, w, tc.code, first)
			if link := linkOf(t, w, "Try again"); link != "/deep" {
				t.Errorf("trying again leads to %s", link)
			}
		})
	}
}

// TestRefusedCookie keeps the refusal in a cookie that nobody else can make.
func TestRefusedCookie(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	callback := b.begin("/" + strings.Repeat("a", 5000))
	l.idp.verify(func(provider.CompleteRequest, *provider.Answer) error {
		l.store.down.Store(true)
		return refusal.New(refusal.OIDCTime, nil)
	})
	first := b.bring(callback)
	wantRefused(t, first, refusal.OIDCTime)
	again := b.open("/.sso/refused")
	wantSameRefusal(t, again, refusal.OIDCTime, first) // the store is not asked
	if link := linkOf(t, again, "Try again"); link != "/" {
		t.Errorf("an address that no cookie can hold leads to %s", link)
	}
	l.store.down.Store(false)
	value := b.cookie("__Host-sso-r")
	if value == "" || len(value) > 4000 {
		t.Fatalf("the cookie has %d bytes", len(value))
	}
	if lines := first.Header().Values("Set-Cookie"); len(lines) != 1 || !strings.Contains(lines[0], "Max-Age=900; HttpOnly; Secure; SameSite=Lax") {
		t.Errorf("cookies %q", lines)
	}
	other := l.siteOf(l.gateway(), "other.example")
	for name, tc := range map[string]struct {
		site   *site
		cookie string
	}{
		"another host":   {other, "__Host-sso-r=" + value},
		"without prefix": {s, "sso-r=" + value},
		"twice":          {s, "__Host-sso-r=" + value + "; __Host-sso-r=" + value},
		"changed":        {s, "__Host-sso-r=" + value[:20] + "A" + value[21:]},
		"cut":            {s, "__Host-sso-r=" + value[:len(value)-1]},
		"longer":         {s, "__Host-sso-r=" + value + "AAAA"},
		"only a MAC":     {s, "__Host-sso-r=" + value[len(value)-43:]},
		"no base64url":   {s, "__Host-sso-r=%%%"},
	} {
		fresh := tc.site.browser()
		if w := fresh.open("/.sso/refused", "Cookie", tc.cookie); w.Code != http.StatusSeeOther {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w := s.browser().open("/.sso/refused", "Cookie", "__Host-sso-r="+value); w.Code != http.StatusBadRequest {
		t.Errorf("the control: %d", w.Code)
	}
}

func TestRefusedEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		b := l.site(func(o *gateway.AppOptions) { o.Rules = mappingFor("admins") }).browser()
		wantRefused(t, b.bring(b.beginAs("/", "bob")), refusal.AccessDenied)
		time.Sleep(14 * time.Minute)
		wantRefused(t, b.open("/.sso/session"), refusal.AccessDenied)
		time.Sleep(time.Minute + time.Second)
		wantStatus(t, b.open("/.sso/session"), http.StatusSeeOther)
	})
}
