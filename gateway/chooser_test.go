package gateway_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestChooser(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	second := newFakeIDP("https://second.example")
	s := l.siteOf(l.gateway(beside(gateway.NamedProvider{Name: "second", DisplayName: "Second <b>", Provider: second})), appHost)
	b := s.browser()
	w := b.open("/deep?a=b&c")
	wantRedirect(t, w, "https://app.example/.sso/login?return="+url.QueryEscape("/deep?a=b&c"))
	w = b.open(strings.TrimPrefix(w.Header().Get("Location"), "https://app.example"))
	wantStatus(t, w, http.StatusOK)
	body := w.Body.String()
	if !strings.Contains(body, "Corp") || !strings.Contains(body, "Second &lt;b&gt;") || strings.Contains(body, "Second <b>") {
		t.Errorf("chooser\n%s", body)
	}
	if len(w.Header()["Set-Cookie"]) > 0 || l.store.written() > 0 {
		t.Error("showing the chooser began something")
	}
	target := "/.sso/login?provider=second&return=" + url.QueryEscape("/deep?a=b&c")
	if !strings.Contains(body, strings.ReplaceAll(target, "&", "&amp;")) {
		t.Errorf("chooser has no link %s\n%s", target, body)
	}
	wantRedirect(t, b.bring(second.answer(t, b.open(target), "alice")), "https://app.example/deep?a=b&c")
	stranger := s.browser()
	for _, name := range []string{"nobody", "CORP", "corp ", "../corp"} {
		wantRefused(t, stranger.open("/.sso/login?"+url.Values{"provider": {name}}.Encode()), refusal.ProviderUnknown)
	}
}

// The chooser remembers where a login last succeeded.
func TestChooserRemembers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	second := newFakeIDP("https://second.example")
	s := l.siteOf(l.gateway(beside(named("second", second))), appHost)
	chooser := func(b *browser) string {
		t.Helper()
		w := b.open("/.sso/login")
		wantStatus(t, w, http.StatusOK)
		return w.Body.String()
	}
	wantOrder := func(body string, marked bool, labels ...string) {
		t.Helper()
		at := -1
		for _, label := range labels {
			next := strings.Index(body, "<bdi>"+label+"</bdi>")
			if next <= at {
				t.Errorf("not in the order %q:\n%s", labels, body)
			}
			at = next
		}
		mark, first := strings.Index(body, "Last used"), strings.Index(body, "</a>")
		if (mark >= 0) != marked || mark > first || strings.Count(body, "Last used") > 1 {
			t.Errorf("the mark is not at the first:\n%s", body)
		}
	}
	b := s.browser()
	wantOrder(chooser(b), false, "Corp", "Second")

	w := b.open("/.sso/login?provider=second")
	wantStatus(t, w, http.StatusSeeOther)
	wantOrder(chooser(b), false, "Corp", "Second") // begun is not signed in
	w = b.bring(second.answer(t, w, "alice"))
	wantStatus(t, w, http.StatusSeeOther)
	cookies := w.Header()["Set-Cookie"]
	if i := slices.IndexFunc(cookies, func(c string) bool { return strings.HasPrefix(c, "__Host-sso-p=") }); i < 0 ||
		cookies[i] != "__Host-sso-p=second; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=Lax" {
		t.Errorf("cookies %q", cookies)
	}
	wantStatus(t, b.open("/"), http.StatusOK)
	if got := s.got().header.Get("Cookie"); got != "" {
		t.Errorf("the app saw %q", got)
	}
	wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther)
	wantOrder(chooser(b), true, "Second", "Corp")
	// It is no more than a label: nobody is sent anywhere by it.
	wantRedirect(t, b.open("/"), "https://app.example/.sso/login?return=%2F")

	for _, value := range []string{"", "nobody", "SECOND", "second ", "%73econd", `"second"`, "second,corp", "<b>", strings.Repeat("second", 1000)} {
		r := s.browser().request(http.MethodGet, "/.sso/login", append([]string{"Cookie", "__Host-sso-p=" + value}, navigating...)...)
		body := s.serve(r, false).Body.String()
		wantOrder(body, value == "second ", map[bool][]string{true: {"Second", "Corp"}, false: {"Corp", "Second"}}[value == "second "]...)
	}

	// Where there is nothing to choose there is nothing to remember.
	alone := l.site().browser()
	if alone.signIn(); alone.cookie("__Host-sso-p") != "" {
		t.Error("the only provider was remembered")
	}
}

// If a signed-in person asks to sign in as somebody else, the page names them, lets
// them choose among the providers, and lets them stay. It posts, as it does for one
// provider.
func TestChooserAsOther(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]string{"a link of another site": "cross-site", "a link of its own": "same-origin"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			second := newFakeIDP("https://second.example")
			s := l.siteOf(l.gateway(beside(named("second", second))), appHost)
			const target = "/.sso/login?as=other&return=%2Fwanted"
			stranger := s.browser()
			if body := stranger.open(target).Body.String(); strings.Contains(body, "Signed in as") || !strings.Contains(body, `href="/.sso/login?as=other&amp;provider=second`) {
				t.Errorf("nobody is signed in:\n%s", body)
			}
			b := s.browser()
			b.inAt(second, "second", "alice")
			w := b.open(target, "Sec-Fetch-Site", from)
			action := wantAsked(t, w, "alice")
			if action != "/.sso/login?as=other&provider=second&return=%2Fwanted" {
				t.Errorf("the first form posts to %q", action)
			}
			body := w.Body.String()
			for _, want := range []string{`<a class="button" href="/wanted">Stay signed in</a>`, `action="/.sso/login?as=other&amp;provider=corp&amp;return=%2Fwanted"`, "This ends your session", "Last used"} {
				if !strings.Contains(body, want) {
					t.Errorf("the page has no %s:\n%s", want, body)
				}
			}
			w = b.post(strings.Replace(action, "second", "corp", 1))
			wantStatus(t, w, http.StatusSeeOther)
			wantRedirect(t, b.bring(l.idp.answer(t, w, "bob")), "https://app.example/wanted")
			wantStatus(t, b.open("/"), http.StatusOK)
			if got := b.got().principal; got.Username != "bob" || got.Provider != "corp" {
				t.Errorf("signed in is %+v", got)
			}
			wantKept(t, l, 2, 1, 0)
		})
	}
}

// A visitor without a session goes straight to the provider, or is asked.
func TestAutologin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		autologin string
		providers int
		chooser   bool
		at        string
	}{
		"A5 the only provider":               {"", 1, false, "https://id.example/"},
		"A5 one of two, named":               {"second", 2, false, "https://second.example/"},
		"A5 two, none named: the login page": {"", 2, true, ""},
		"A5 off: the login page":             {"off", 1, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			g := l.gateway(func(o *gateway.Options) {
				all := append(o.Providers, gateway.NamedProvider{Name: "second", Provider: newFakeIDP("https://second.example")})
				o.Providers = all[:tc.providers]
			})
			b := l.siteOf(g, appHost, func(o *gateway.AppOptions) { o.Autologin = tc.autologin }).browser()
			w := b.open("/wanted")
			wantStatus(t, w, http.StatusSeeOther)
			if !tc.chooser {
				if at := w.Header().Get("Location"); !strings.HasPrefix(at, tc.at) {
					t.Errorf("sent to %q", at)
				}
				return
			}
			wantRedirect(t, w, "https://app.example/.sso/login?return=%2Fwanted")
			w = b.open("/.sso/login?return=%2Fwanted")
			wantStatus(t, w, http.StatusOK)
			if body := w.Body.String(); !strings.Contains(body, "Sign in with <bdi>Corp</bdi>") {
				t.Errorf("the login page:\n%s", body)
			}
			if begun, _ := l.idp.counts(); begun > 0 {
				t.Error("a login was begun")
			}
		})
	}
}
