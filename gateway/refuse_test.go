package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestProblem(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	w := b.fetch("/api?x=1")
	wantRefused(t, w, refusal.Unauthenticated)
	if h := w.Header(); h.Get("Content-Type") != "application/problem+json" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("WWW-Authenticate") == "" {
		t.Errorf("headers %v", h)
	}
	var p struct {
		Type, Title, Detail, Code, Reference, Login string
		Status                                      int
	}
	mustDo(t, json.Unmarshal(w.Body.Bytes(), &p))
	row := refusal.Unauthenticated.Meaning()
	if p.Type != "urn:caddy-sso:unauthenticated" || p.Title != row.Title || p.Detail != row.Text || p.Status != row.Status || p.Code != "unauthenticated" || len(p.Reference) != 10 {
		t.Errorf("problem %+v", p)
	}
	// A script can send its page there.
	wantStatus(t, b.open(p.Login), http.StatusSeeOther)
	if ev := l.seen(); len(ev) > 0 {
		t.Errorf("a request without a session was told to the observer: %+v", ev)
	}
	w = b.fetch("/.sso/nothing")
	wantRefused(t, w, refusal.NotFound)
	if strings.Contains(w.Body.String(), `"login"`) || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("signing in does not help: %v\n%s", w.Header(), w.Body)
	}
}

func TestRefusalReference(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	seen := map[string]bool{}
	for range 3 {
		page, problem := b.open("/.sso/nothing").Body.String(), b.fetch("/.sso/nothing").Body.String()
		ev := l.seen()
		for i, body := range []string{page, problem} {
			last := ev[len(ev)-2+i]
			if last.Type != gateway.EventRefused || last.Code != refusal.NotFound || last.App != appHost || last.Addr != clientAddr {
				t.Errorf("event %+v", last)
			}
			if seen[last.Reference] || len(last.Reference) != 10 || !strings.Contains(body, last.Reference) {
				t.Errorf("reference %q is not that of the answer", last.Reference)
			}
			seen[last.Reference] = true
		}
	}
}

// A refusal's page leads back to where the person was, or onwards.
func TestRefusalLinks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	page := func(target string) string { return b.open(target).Body.String() }

	l.idp.failBegin(refusal.New(refusal.ProviderUnavailable, nil))
	if body := page("/deep?a=1&b=2"); !strings.Contains(body, `href="/deep?a=1&amp;b=2"`) {
		t.Errorf("no link to try again:\n%s", body)
	}
	if body := page(`/"><script>x</script>?'"<b>`); strings.Contains(body, "<script>") || strings.Contains(body, "<b>") || strings.Contains(body, `"><`+"s") {
		t.Errorf("the target is not escaped:\n%s", body)
	}
	if body := page("//evil.example/"); strings.Contains(body, "evil") {
		t.Errorf("a foreign link:\n%s", body)
	}
	l.idp.failBegin(nil)
	// After a failed callback one begins at the front page, not at the callback.
	if body := page("/.sso/oidc/callback?state=x"); !strings.Contains(body, `href="/"`) || strings.Contains(body, "state=x") {
		t.Errorf("links of the callback:\n%s", body)
	}
	if body := page("/.sso/nothing"); strings.Contains(body, "Try again") || !strings.Contains(body, `href="/">Open the application`) {
		t.Errorf("trying again does not help, the app's front page may:\n%s", body)
	}
	// A login that fails at the provider leads back to where it was begun for.
	callback := b.begin("/deep?a=1")
	l.idp.refuse(refusal.New(refusal.ProviderRefused, nil))
	if body := page(callback.target); !strings.Contains(body, `href="/deep?a=1"`) {
		t.Errorf("links of a refused login:\n%s", body)
	}
	l.idp.verify(nil)

	// A signed-in person who is denied can sign out. If the sign-in itself was
	// refused, there is no session to end, and the person can try again.
	b.signInAs("bob")
	denied := b.at(l.siteOf(l.gateway(), appHost, func(o *gateway.AppOptions) { o.Rules = mappingFor("admins") }))
	if body := denied.open("/").Body.String(); !strings.Contains(body, `href="/.sso/logout"`) || !strings.Contains(body, "bob") || !strings.Contains(body, asOther) {
		t.Errorf("links of the denied:\n%s", body)
	}
	door := denied.site.browser()
	w := door.open("/")
	body := door.bring(l.idp.answer(t, w, "bob")).Body.String()
	if strings.Contains(body, "logout") || !strings.Contains(body, `href="/"`) || !strings.Contains(body, "<bdi>bob</bdi>") || !strings.Contains(body, asOther) {
		t.Errorf("links at the door:\n%s", body)
	}
}

// If several tabs begin at once, a provider may refuse some of them. A person who is
// signed in by then goes on.
func TestProviderRefusesTab(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	for target, code := range map[string]refusal.Code{"/second?b=2": refusal.ProviderRefused, "/third": refusal.ProviderUnavailable} {
		b := s.browser()
		first, second := b.begin("/first"), b.begin(target)
		l.idp.refuse(refusal.New(code, nil))
		wantRefused(t, b.bring(second), code)
		l.idp.verify(nil)
		wantRedirect(t, b.bring(first), "https://app.example/first")
		l.idp.refuse(refusal.New(code, nil))
		wantRedirect(t, b.bring(second), "https://app.example"+target)
		other := s.browser()
		wantRefused(t, other.bring(other.begin("/")), code)
		l.idp.verify(nil)
	}
}

const asOther = `href="/.sso/login?as=other&amp;return=%2F"`

// The wish outlives a restart, and a chooser.
func TestSignInAsOtherIsKept(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.siteOf(l.gateway(), appHost, func(o *gateway.AppOptions) { o.Autologin = "off" })
	chooser := s.browser().open("/.sso/login?as=other&return=%2Fa")
	if body := chooser.Body.String(); !strings.Contains(body, `href="/.sso/login?as=other&amp;provider=corp&amp;return=%2Fa"`) {
		t.Fatalf("the chooser:\n%s", body)
	}
	w := s.browser().open("/.sso/login?as=other&provider=corp&return=%2Fa")
	wantStatus(t, s.browser().open(l.idp.answer(t, w, "alice").target), http.StatusSeeOther)
	if begun := l.idp.begun; len(begun) != 2 || !begun[1].OtherPerson {
		t.Errorf("the provider was asked %+v", begun)
	}
}

func TestErrorsToCaller(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site(func(o *gateway.AppOptions) { o.ErrorsToCaller = true })
	b := s.browser()
	cause := errors.New("the cause")
	l.idp.failBegin(cause)
	for name, tc := range map[string]struct {
		target string
		header []string
		code   refusal.Code
		cause  error
	}{
		"no session":    {"/", []string{"Accept", "application/json"}, refusal.Unauthenticated, nil},
		"provider down": {"/", navigating, refusal.ProviderUnavailable, cause},
		"not found":     {"/.sso/nothing", navigating, refusal.NotFound, nil},
		"method":        {"/.sso/jwks.json", nil, refusal.MethodNotAllowed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.request(http.MethodGet, tc.target, tc.header...)
			if tc.header == nil {
				r.Method = http.MethodPost
			}
			w, err := s.try(r, false)
			var e *refusal.Error
			if !errors.As(err, &e) || e.Code != tc.code || len(e.Reference) != 10 || refusal.CodeOf(fmt.Errorf("serving: %w", err)) != tc.code {
				t.Fatalf("error %+v", err)
			}
			if tc.cause != nil && !errors.Is(err, tc.cause) {
				t.Errorf("error %v does not wrap the cause", err)
			}
			if w.Body.Len() > 0 || w.Header().Get("Content-Type") != "" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("written: %v %q", w.Header(), w.Body)
			}
			if (tc.code == refusal.Unauthenticated) != (w.Header().Get("WWW-Authenticate") != "") || (tc.code == refusal.ProviderUnavailable) != (w.Header().Get("Retry-After") != "") {
				t.Errorf("headers %v", w.Header())
			}
		})
	}
	// A control: without a refusal, the answer is the usual one.
	l.idp.failBegin(nil)
	b.signIn()
	wantStatus(t, b.open("/.sso/session"), http.StatusOK)
}

// No answer of ours shows details that are for the log alone.
func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a"
	l := newLab(t)
	b := l.site().browser()
	callback := b.begin("/").target
	l.idp.refuse(errors.New(canary))
	for _, accept := range []string{"text/html", "application/json"} {
		w := b.send(b.request(http.MethodGet, callback+"&code_verifier="+url.QueryEscape(canary), "Accept", accept, "Authorization", canary))
		wantRefused(t, w, refusal.ProviderUnavailable)
		if strings.Contains(w.Body.String(), canary) || strings.Contains(fmt.Sprint(w.Header()), canary) {
			t.Errorf("shown: %v\n%s", w.Header(), w.Body)
		}
		state := strings.SplitN(strings.SplitN(callback, "state=", 2)[1], "&", 2)[0]
		if strings.Contains(w.Body.String(), state) {
			t.Error("the state is on the page")
		}
	}
}

// TestRefusalRetryAfter hands on a provider's Retry-After.
func TestRefusalRetryAfter(t *testing.T) {
	t.Parallel()
	busy := errors.New("busy")
	for name, tt := range map[string]struct {
		err  *refusal.Error
		want string
	}{
		"said":            {refusal.New(refusal.ProviderUnavailable, &refusal.DelayedError{Err: busy, After: 29500 * time.Millisecond}), "30"},
		"not said":        {refusal.New(refusal.ProviderUnavailable, busy), "5"},
		"of another code": {refusal.New(refusal.StoreUnavailable, &refusal.DelayedError{Err: busy, After: time.Minute}), "5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			b := l.site().browser()
			callback := b.begin("/")
			l.idp.refuse(tt.err)
			w := b.bring(callback)
			wantStatus(t, w, http.StatusServiceUnavailable)
			if got := w.Header().Get("Retry-After"); got != tt.want {
				t.Errorf("Retry-After is %q, want %s", got, tt.want)
			}
		})
	}
}
