package gateway_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// A client may ask for a new login. Only one counts that the provider was asked for anew,
// after the client asked. It is asked for once: there is no loop.
func TestOpenIDNewLogin(t *testing.T) {
	t.Parallel()
	for _, ask := range [][]string{{"prompt", "login"}, {"max_age", "0"}, {"max_age", "60"}, {"prompt", "select_account"}} {
		t.Run(strings.Join(ask, "="), func(t *testing.T) {
			t.Parallel()
			eachProtocol(t, func(t *testing.T, l *lab) {
				l.authenticated("alice", time.Now().Add(-2*time.Hour))
				s := l.openID()
				b, other := s.browser(), s.browser()
				b.tokens()
				noted := b.returning(wikiAsks(ask...))
				wantError(t, b.open(noted), "login_required") // the login is the old one still
				b.post("/.sso/logout")
				time.Sleep(time.Minute)
				b.tokens() // the provider knows alice, and asks her nothing
				wantError(t, b.open(noted), "login_required")
				other.signInAs("bob")
				wantError(t, other.open(noted), "login_required")
				// If the time is forged, the person has to sign in once more.
				for _, forged := range []string{wikiAsks(append(ask, "sso_asked", "1")...), strings.Replace(noted, "sso_asked=", "sso_asked=2", 1)} {
					b.wantForced(b.open(forged))
				}
				answer := b.wantForced(b.open(wikiAsks(ask...)))
				l.authenticated("alice", time.Now())
				noted, _ = strings.CutPrefix(b.bring(answer).Header().Get("Location"), "https://app.example")
				wantCode(t, b.open(noted))
				time.Sleep(15 * time.Minute)
				b.wantForced(b.open(noted))
			})
		})
	}
}

// Nobody signed in: the provider's own login may be an old one.
func TestOpenIDFirstLogin(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		s := l.openID()
		s.browser().begin("/") // the first flow makes the store's name key
		for _, ask := range [][]string{{"prompt", "login"}, {"max_age", "3600"}} {
			b := s.browser()
			wantCode(t, b.follow(b.bring(b.wantForced(b.open(wikiAsks(ask...))))))
		}
	})
}

// An app is told when the person signed in if the provider says so. It never hears of the
// time when the provider's answer came.
func TestOpenIDAuthTime(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		b := l.openID().browser()
		if at := claimsOf(t, b.tokens()["id_token"].(string))["auth_time"]; at != nil {
			t.Errorf("auth_time that nobody knows: %v", at)
		}
		b.wantForced(b.open(wikiAsks("max_age", "3600")))
		b.post("/.sso/logout")
		then := time.Now().Add(-10 * time.Minute)
		l.authenticated("alice", then)
		if at := claimsOf(t, b.tokens()["id_token"].(string))["auth_time"]; at != float64(then.Unix()) {
			t.Errorf("auth_time %v, want %d", at, then.Unix())
		}
		wantCode(t, b.open(wikiAsks("max_age", "601")))
		b.wantForced(b.open(wikiAsks("max_age", "599")))
	})
}

// The provider is told what the client wants, and nothing that another page's address says.
func TestOpenIDHints(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		s := l.openID()
		s.browser().begin("/")
		hints := []string{"login_hint", "alice", "acr_values", "high low", "claims", `{"id_token":{"acr":{"essential":true,"value":"mfa"}}}`}
		s.browser().open(wikiAsks(hints...))
		noted := s.browser().returning(wikiAsks(append(hints, "prompt", "login")...))
		s.browser().open(strings.Replace(noted, opAuthorize, "/page", 1))
		for i, want := range []provider.BeginRequest{{LoginHint: "alice", ACRValues: "mfa high low"}, {ForceLogin: true, LoginHint: "alice", ACRValues: "mfa high low"}, {}} {
			got := l.idp.begun[1+i]
			if got.ForceLogin != want.ForceLogin || got.LoginHint != want.LoginHint || got.ACRValues != want.ACRValues {
				t.Errorf("request %d: begun %+v, want %+v", i, got, want)
			}
		}
	})
}

// authenticated has the provider say when a person signed in there.
func (l *lab) authenticated(name string, at time.Time) {
	id := l.idp.people[name]
	id.AuthTime = at
	l.idp.person(name, id)
}

// wantForced wants the browser to be sent to the provider for a new login, and returns what
// alice brings back.
func (b *browser) wantForced(w *httptest.ResponseRecorder) answer {
	b.t.Helper()
	brought := b.idp.answer(b.t, w, "alice")
	if begun := b.idp.begun; !begun[len(begun)-1].ForceLogin {
		b.t.Error("the provider is not asked for a new login")
	}
	return brought
}

// returning begins a login for a request, and returns the address that it returns to.
func (b *browser) returning(request string) string {
	b.t.Helper()
	return linkOf(b.t, b.bring(b.idp.answer(b.t, b.open(request), "nobody")), "Try again") // whom the provider does not know
}

// A client that wants a new login gets one of the same provider, without a chooser.
func TestOpenIDNewLoginAtOneOfSeveral(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	other := newFakeIDP("https://other.example")
	b := l.openID(beside(named("other", other))).browser()
	b.inAt(other, "other", "alice")
	if to := b.open(wikiAsks("prompt", "login")).Header().Get("Location"); !strings.HasPrefix(to, other.issuer) {
		t.Errorf("the person is sent to %q", to)
	}
}
