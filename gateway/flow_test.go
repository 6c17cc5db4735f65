package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// An attacker's answer in another person's browser signs nobody in (login
// CSRF), and does the attacker's login no harm.
func TestWrongBrowserConsumesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	right, wrong := s.browser(), s.browser()
	callback := right.begin("/wanted")
	writes := l.store.written()

	w := wrong.open(callback)
	wantStatus(t, w, http.StatusSeeOther)
	if !strings.HasPrefix(w.Header().Get("Location"), "https://id.example/authorize?") {
		t.Fatalf("the wrong browser was sent to %q, want to the provider anew", w.Header().Get("Location"))
	}
	if _, completed := l.idp.counts(); completed > 0 {
		t.Error("the answer was judged for a browser that never started a login")
	}
	if wrong.cookie("__Host-sso") != "" {
		t.Error("the wrong browser has a session")
	}
	if got := l.store.written() - writes; got != 1 {
		t.Errorf("%d writes, want one: the new flow", got)
	}
	// A browser that has a cookie of its own is no better.
	wrong.begin("/")
	wantStatus(t, wrong.open(callback), http.StatusSeeOther)
	wantKept(t, l, 0, 0, 4)

	wantRedirect(t, right.open(callback), "https://app.example/wanted")
	wantStatus(t, right.open("/wanted"), http.StatusOK)
}

// If the person has signed in in another tab meanwhile, this tab goes where it wanted
// to go.
func TestSignedInByNow(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	stranger := s.browser().begin("/wanted")
	b.signIn()
	_, before := l.idp.counts()
	wantRedirect(t, b.open(stranger), "https://app.example/wanted")
	if _, completed := l.idp.counts(); completed != before {
		t.Error("a foreign answer was judged")
	}
	wantRedirect(t, b.open("/.sso/login?return=/there"), "https://app.example/there")
}

func TestRestartOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	w := s.browser().open("/wanted")
	wantStatus(t, w, http.StatusSeeOther)
	// Each time another browser comes, with a cookie of its own.
	for _, cookie := range []string{strings.Repeat("A", 43), strings.Repeat("E", 43)} {
		w = s.browser().open(l.idp.visit(t, w.Header().Get("Location"), "alice"), "Cookie", "__Host-sso-b="+cookie)
	}
	wantRefused(t, w, refusal.FlowOtherBrowser)
	wantKept(t, l, 0, 0, 2)

	// One that keeps them gets through by the restart.
	w = s.browser().open("/wanted")
	b := s.browser()
	wantRedirect(t, b.open(b.restarted(t, w)), "https://app.example/wanted")
}

// restarted carries a redirect to the provider over into this browser, which did
// not start the login, and returns the callback of the login begun anew.
func (b *browser) restarted(t *testing.T, w *httptest.ResponseRecorder) (callback string) {
	t.Helper()
	w = b.open(b.idp.visit(t, w.Header().Get("Location"), "alice"))
	wantStatus(t, w, http.StatusSeeOther)
	return b.idp.visit(t, w.Header().Get("Location"), "alice")
}

func TestLostFlows(t *testing.T) {
	t.Parallel()
	state := strings.Repeat("A", 43)
	for name, query := range map[string]string{
		"no state":          "code=alice",
		"nothing":           "",
		"empty state":       "code=alice&state=",
		"unknown state":     "code=alice&state=" + state,
		"short state":       "code=alice&state=abc",
		"long state":        "code=alice&state=" + state + "A",
		"no base64url":      "code=alice&state=" + strings.Repeat("+", 43),
		"a state of blanks": "code=alice&state=" + strings.Repeat("%20", 43),
		"NUL":               "code=alice&state=" + strings.Repeat("%00", 43),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.site()
			stranger, signedIn := s.browser(), s.browser()
			want := refusal.FlowUnknown
			if query == "" {
				want = refusal.AnswerLost // even with a question mark
			}
			wantRefused(t, stranger.open("/.sso/oidc/callback?"+query), want)
			if l.store.written() > 0 {
				t.Error("something was written")
			}
			signedIn.signIn()
			wantRedirect(t, signedIn.open("/.sso/oidc/callback?"+query), "https://app.example/")
			if _, completed := l.idp.counts(); completed != 1 {
				t.Errorf("%d answers were judged, want the one of the sign-in", completed)
			}
		})
	}
}

// A login begun at one app is none at another, even with its cookie.
func TestFlowOfAnotherApp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.gateway()
	one, two := l.siteOf(g, appHost), l.siteOf(g, "other.example")
	b := one.browser()
	callback := b.begin("/")
	r := two.browser().request(http.MethodGet, callback, navigating...)
	r.Header.Set("Cookie", cookieLine(b))
	w := two.serve(r, false)
	wantRefused(t, w, refusal.FlowUnknown)
	if _, completed := l.idp.counts(); completed > 0 || w.Header()["Set-Cookie"] != nil {
		t.Error("the answer was judged, or a cookie set")
	}
	wantRedirect(t, b.open(callback), "https://app.example/")
}

func TestStateTwice(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	callback := b.begin("/")
	_, query, _ := strings.Cut(callback, "?")
	wantRefused(t, b.open(callback+"&"+query), refusal.FlowUnknown)
	if _, completed := l.idp.counts(); completed > 0 {
		t.Error("the answer was judged")
	}
	wantRedirect(t, b.open(callback), "https://app.example/")
}

func TestExpiredFlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newLab(t).site()
		in, out := s.browser(), s.browser()
		inTime, late := in.begin("/a"), out.begin("/b")
		time.Sleep(15*time.Minute - time.Second)
		wantRedirect(t, in.open(inTime), "https://app.example/a")
		time.Sleep(time.Second)
		wantRefused(t, out.open(late), refusal.FlowUnknown)
	})
}

func TestUsedFlow(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	callback := b.begin("/wanted")
	wantRedirect(t, b.open(callback), "https://app.example/wanted")
	first := b.cookie("__Host-sso")
	// The back button makes no second login, and no error for a signed-in person.
	wantRedirect(t, b.open(callback), "https://app.example/")
	if b.cookie("__Host-sso") != first {
		t.Error("a used answer made a new session")
	}
	wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther)
	wantRefused(t, b.open(callback), refusal.FlowUnknown)
	if _, completed := l.idp.counts(); completed != 1 {
		t.Errorf("%d answers were judged", completed)
	}
}

// Of two equal answers at once one signs in.
func TestEqualAnswersAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	callback := b.begin("/")
	var judged sync.WaitGroup
	judged.Add(2)
	l.idp.judge(func(provider.CompleteRequest, *provider.Answer) error {
		judged.Done()
		judged.Wait() // both have read the flow
		return nil
	})
	answers := make([]*httptest.ResponseRecorder, 2)
	var done sync.WaitGroup
	for i := range answers {
		r := b.request(http.MethodGet, callback, navigating...)
		done.Go(func() { answers[i] = s.serve(r, false) })
	}
	done.Wait()
	slices.SortFunc(answers, func(a, b *httptest.ResponseRecorder) int { return a.Code - b.Code })
	wantStatus(t, answers[0], http.StatusSeeOther)
	wantRefused(t, answers[1], refusal.AnswerReplayed)
	wantKept(t, l, 1, 1, 0)
}

// Ten tabs that are restored at once set ten browser cookies, of which nine
// are overwritten. All tabs must reach their pages.
func TestTenTabs(t *testing.T) {
	t.Parallel()
	for name, tabOrder := range map[string]func(i int) int{
		"in order": func(i int) int { return i }, "backwards": func(i int) int { return 9 - i }, "mixed": func(i int) int { return i * 7 % 10 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.site()
			b := s.browser()
			// All first requests go out before the first answer comes in.
			requests := make([]*http.Request, 10)
			for i := range requests {
				requests[i] = b.request(http.MethodGet, fmt.Sprintf("/tab/%d", i), navigating...)
			}
			tabs := make([]*httptest.ResponseRecorder, 10)
			for i, r := range requests {
				tabs[i] = b.send(r)
			}
			for step := range 10 {
				i := tabOrder(step)
				w := b.follow(tabs[i])
				if w.Code != http.StatusOK || s.got().path != fmt.Sprintf("/tab/%d", i) {
					t.Errorf("tab %d ended with %d at %s", i, w.Code, s.got().path)
				}
			}
			// One of them has the browser cookie that won, and may sign in anew.
			if logins := len(l.store.keys("login")); logins > 2 {
				t.Errorf("%d logins, want 2 at most", logins)
			}
		})
	}
}

// The same with all answers side by side before anybody is signed in.
func TestTenTabsAnswersAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	requests := make([]*http.Request, 10)
	for i := range requests {
		requests[i] = b.request(http.MethodGet, fmt.Sprintf("/tab/%d", i), navigating...)
	}
	at := make([]string, len(requests)) // where a tab ended
	for range 4 {
		answers := make([]*httptest.ResponseRecorder, len(requests))
		for i, r := range requests {
			if at[i] != "" {
				continue
			}
			if answers[i] = b.send(r); answers[i].Code == http.StatusOK {
				at[i] = s.got().path
			}
		}
		for i, w := range answers {
			if at[i] != "" {
				continue
			}
			location := w.Header().Get("Location")
			target, own := strings.CutPrefix(location, "https://app.example")
			if !own {
				target = l.idp.visit(t, location, "alice")
			}
			requests[i] = b.request(http.MethodGet, target, navigating...)
		}
	}
	for i, path := range at {
		if path != fmt.Sprintf("/tab/%d", i) {
			t.Errorf("tab %d ended at %q", i, path)
		}
	}
}

// A login begun before a reload ends after it.
func TestReloadWithinLogin(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	callback := b.begin("/wanted")
	after := b.at(l.siteOf(l.gateway(), appHost))
	wantRedirect(t, after.open(callback), "https://app.example/wanted")
	wantStatus(t, after.open("/wanted"), http.StatusOK)
}

// Two nodes share one store: a login begun on one ends on the other, and holds
// on both.
func TestSecondNode(t *testing.T) {
	t.Parallel()
	one := newLab(t)
	two := newLabOn(t, one.store)
	a := one.site().browser()
	b := a.at(two.site())
	callback := a.begin("/wanted")
	wantRedirect(t, b.open(callback), "https://app.example/wanted")
	wantStatus(t, a.open("/wanted"), http.StatusOK)
	wantStatus(t, b.open("/wanted"), http.StatusOK)
	wantRedirect(t, b.post("/.sso/logout"), "https://app.example/.sso/logged-out")
	eventually(t, "the other node refuses the session", func() bool {
		r := a.request(http.MethodGet, "/")
		return a.serve(r, false).Code == http.StatusUnauthorized
	})
}

// TestUselessCodesAreCounted sends made-up codes, and a firewall answers in the
// provider's place. Each code counts as a request, though none counts as failed: a
// client must not use the gateway to ask without end. The firewall would shut the
// gateway out, and with it everybody.
func TestUselessCodesAreCounted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := limitedSite(l, session.Limit{Requests: 3})
	l.idp.judge(func(provider.CompleteRequest, *provider.Answer) error {
		return refusal.New(refusal.ProviderUnavailable, errors.New("the status is 403 instead of 200"))
	})
	b := s.browser()
	callback := b.begin("/")
	for range 2 {
		wantRefused(t, b.open(callback), refusal.ProviderUnavailable)
	}
	_, asked := l.idp.counts()
	for range 5 {
		wantRefused(t, b.open(callback), refusal.TooManyAttempts)
	}
	if _, n := l.idp.counts(); n != asked || asked == 0 {
		t.Errorf("the provider was asked %d times, want %d", n, asked)
	}
}
