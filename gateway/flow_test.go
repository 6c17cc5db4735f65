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

// eachProtocol runs a test with a provider of each protocol, in a bubble.
func eachProtocol(t *testing.T, test func(t *testing.T, l *lab)) {
	t.Helper()
	for name, newLab := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(t, newLab(t)) })
		})
	}
}

// An attacker's answer in another person's browser signs nobody in (login CSRF), and does
// the attacker's login no harm. The login begins anew there, once.
func TestWrongBrowserConsumesNothing(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		s := l.site()
		right, wrong, third := s.browser(), s.browser(), s.browser()
		brought := right.begin("/wanted")
		wrong.open("/")                                         // has a cookie of its own
		again := l.idp.answer(t, wrong.bring(brought), "alice") // sent to the provider anew
		if _, completed := l.idp.counts(); completed > 0 || wrong.cookie("__Host-sso") != "" {
			t.Error("the answer was verified for a browser that never started the login")
		}
		wantKept(t, l, 0, 0, 3) // of which one is the new flow
		third.open("/")
		wantRefused(t, third.bring(again), refusal.FlowOtherBrowser)
		wantKept(t, l, 0, 0, 4)
		wantRedirect(t, wrong.bring(again), "https://app.example/wanted")
		wantRedirect(t, right.bring(brought), "https://app.example/wanted")
		wantStatus(t, right.open("/wanted"), http.StatusOK)
	})
}

// A person who is signed in by now goes on: with another tab's answer, and with one that
// was used (the back button).
func TestSignedInByNow(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		s := l.site()
		b := s.browser()
		foreign, brought := s.browser().beginAs("/there", "bob"), b.begin("/wanted")
		wantRedirect(t, b.bring(brought), "https://app.example/wanted")
		first := b.cookie("__Host-sso")
		wantRedirect(t, b.bring(brought), "https://app.example/")
		wantRedirect(t, b.bring(foreign), "https://app.example/there")
		wantRedirect(t, b.open("/.sso/login?return=/there"), "https://app.example/there")
		if b.cookie("__Host-sso") != first {
			t.Error("the session changed")
		}
		wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther)
		wantRefused(t, b.bring(brought), refusal.FlowUnknown)
		if _, completed := l.idp.counts(); completed != 1 {
			t.Errorf("%d answers were verified", completed)
		}
	})
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
				t.Errorf("%d answers were verified, want the one of the sign-in", completed)
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
	r := two.browser().request(http.MethodGet, callback.target, navigating...)
	r.Header.Set("Cookie", cookieLine(b))
	w := two.serve(r, false)
	wantRefused(t, w, refusal.FlowUnknown)
	if _, completed := l.idp.counts(); completed > 0 || w.Header()["Set-Cookie"] != nil {
		t.Error("the answer was verified, or a cookie set")
	}
	wantRedirect(t, b.bring(callback), "https://app.example/")
}

func TestStateTwice(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	callback := b.begin("/").target
	_, query, _ := strings.Cut(callback, "?")
	wantRefused(t, b.open(callback+"&"+query), refusal.FlowUnknown)
	if _, completed := l.idp.counts(); completed > 0 {
		t.Error("the answer was verified")
	}
	wantRedirect(t, b.open(callback), "https://app.example/")
}

func TestExpiredFlow(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		s := l.site()
		in, out := s.browser(), s.browser()
		inTime, late := in.begin("/a"), out.begin("/b")
		time.Sleep(15*time.Minute - time.Second)
		wantRedirect(t, in.bring(inTime), "https://app.example/a")
		time.Sleep(time.Second)
		wantRefused(t, out.bring(late), refusal.FlowUnknown)
	})
}

// Of two equal answers at once one signs in.
func TestEqualAnswersAtOnce(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		s := l.site()
		b := s.browser()
		brought := b.begin("/")
		var verified sync.WaitGroup
		verified.Add(2)
		l.idp.verify(func(provider.CompleteRequest, *provider.Answer) error {
			verified.Done()
			verified.Wait() // both have read the flow
			return nil
		})
		answers := s.atOnce([]*http.Request{b.bringing(brought), b.bringing(brought)})
		slices.SortFunc(answers, func(a, b *httptest.ResponseRecorder) int { return a.Code - b.Code })
		wantStatus(t, answers[0], http.StatusSeeOther)
		wantRefused(t, answers[1], refusal.AnswerReplayed)
		wantKept(t, l, 1, 1, 0)
	})
}

// tabs are the requests of a browser whose ten tabs are restored at once.
func (b *browser) tabs() []*http.Request {
	requests := make([]*http.Request, 10)
	for i := range requests {
		requests[i] = b.request(http.MethodGet, fmt.Sprintf("/tab/%d", i), navigating...)
	}
	return requests
}

// Ten tabs that are restored at once set ten browser cookies, of which nine
// are overwritten. All tabs must reach their pages.
func TestTenTabs(t *testing.T) {
	t.Parallel()
	for order, tabOrder := range map[string]func(i int) int{
		"in order": func(i int) int { return i }, "backwards": func(i int) int { return 9 - i }, "mixed": func(i int) int { return i * 7 % 10 },
	} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			eachProtocol(t, func(t *testing.T, l *lab) {
				s := l.site()
				b := s.browser()
				// All first requests go out before the first answer comes in.
				var tabs []*httptest.ResponseRecorder
				for _, r := range b.tabs() {
					tabs = append(tabs, b.send(r))
				}
				for step := range tabs {
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
		})
	}
}

// The same with all answers side by side before anybody is signed in.
func TestTenTabsAnswersAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	requests := b.tabs()
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
			target, own := strings.CutPrefix(w.Header().Get("Location"), "https://app.example")
			if !own {
				target = l.idp.answer(t, w, "alice").target
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

// A login begun before a reload ends after it, and on another node. It holds on both.
func TestReloadAndSecondNode(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		second := newLabOn(t, l.store)
		second.idp = l.idp
		here := l.site()
		for _, there := range []*site{l.site(), second.site()} {
			b := here.browser()
			brought := b.begin("/wanted")
			wantRedirect(t, b.at(there).bring(brought), "https://app.example/wanted")
			wantStatus(t, b.open("/wanted"), http.StatusOK)
			wantStatus(t, b.at(there).open("/wanted"), http.StatusOK)
			stolen := []string{"Cookie", cookieLine(b)}
			wantRedirect(t, b.at(there).post("/.sso/logout"), "https://app.example/.sso/logged-out")
			eventually(t, "the other one refuses the session", func() bool {
				return here.browser().fetch("/", stolen...).Code == http.StatusUnauthorized
			})
		}
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
	l.idp.refuse(refusal.New(refusal.ProviderUnavailable, errors.New("the status is 403 instead of 200")))
	b := s.browser()
	callback := b.begin("/")
	for range 2 {
		wantRefused(t, b.bring(callback), refusal.ProviderUnavailable)
	}
	_, asked := l.idp.counts()
	for range 5 {
		wantRefused(t, b.bring(callback), refusal.TooManyAttempts)
	}
	if _, n := l.idp.counts(); n != asked || asked == 0 {
		t.Errorf("the provider was asked %d times, want %d", n, asked)
	}
}
