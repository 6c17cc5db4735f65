package gateway_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// asPoweradmin makes the app one with a session of its own, which signs people in by
// OpenID Connect if it has a provider.
func asPoweradmin(t *testing.T, provider string) func(*gateway.AppOptions) {
	t.Helper()
	as, err := connect.New("poweradmin", provider, nil)
	mustDo(t, err)
	return func(o *gateway.AppOptions) { o.As = as }
}

// keepingSessions has the app behind s begin a session for each request that brings none,
// named after the person.
func (s *site) keepingSessions() {
	s.next = func(w http.ResponseWriter, r *http.Request, p *forward.Principal) error {
		if _, err := r.Cookie("PHPSESSID"); err != nil {
			name := "nobody"
			if p != nil {
				name = p.Username
			}
			http.SetCookie(w, &http.Cookie{Name: "PHPSESSID", Value: "of-" + name, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		}
		return nil
	}
}

// appSession opens a page, and returns the session cookies that the app got.
func (b *browser) appSession(target string, header ...string) string {
	b.t.Helper()
	wantStatus(b.t, b.open(target, header...), http.StatusOK)
	var got []string
	for _, line := range b.got().header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if strings.Contains(pair, "of-") {
				got = append(got, strings.TrimSpace(pair))
			}
		}
	}
	return strings.Join(got, ",")
}

func wantAppSession(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("the app got %q, want %q", got, want)
	}
}

const aliceAtApp = "PHPSESSID=of-alice"

// TestAppSession follows an app's own session: no request reaches the app with the
// identity of one person and the cookie of another.
func TestAppSession(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.idp.person("carol", provider.Identity{Username: "carol"})
	g := l.gateway()
	s := l.siteOf(g, appHost, asPoweradmin(t, ""), func(o *gateway.AppOptions) { o.Public = []string{"/public"} })
	s.keepingSessions()
	alice, bob := s.browser(), s.browser()
	alice.signIn()
	bob.signInAs("bob")
	wantAppSession(t, alice.appSession("/"), "")
	wantAppSession(t, alice.appSession("/"), aliceAtApp)
	wantAppSession(t, bob.appSession("/"), "")
	sealed := alice.cookie("PHPSESSID")
	if !strings.HasPrefix(sealed, "of-alice~") || len(sealed) > 40 {
		t.Errorf("alice's browser keeps %q", sealed)
	}

	t.Run("other cookies stay as they are", func(t *testing.T) {
		alice.appSession("/", "Cookie", "a=1; PHPSESSIDX=2")
		got := alice.got().header["Cookie"]
		if len(got) != 1 || !strings.Contains(got[0], "a=1; PHPSESSIDX=2; "+aliceAtApp) {
			t.Errorf("the app got %q", got)
		}
	})

	t.Run("attacks", func(t *testing.T) {
		of := bob.cookie("PHPSESSID")
		_, seal, _ := strings.Cut(sealed, "~")
		for name, line := range map[string]string{
			"another person's":               "PHPSESSID=" + of,
			"without a seal":                 "PHPSESSID=of-bob",
			"planted beside":                 "PHPSESSID=of-bob; PHPSESSID=" + of,
			"with an empty seal":             "PHPSESSID=of-bob~",
			"with the seal of another":       "PHPSESSID=of-bob~" + seal,
			"with a cut seal":                "PHPSESSID=" + sealed[:len(sealed)-1],
			"with a longer seal":             "PHPSESSID=" + sealed + "A",
			"with the seal of another name":  "X=" + sealed + "; PHPSESSID=of-bob",
			"in quotes":                      `PHPSESSID="of-bob"`,
			"without a name":                 "=PHPSESSID=of-bob",
			"with blanks":                    "PHPSESSID = of-bob",
			"behind another without a blank": "a=b;PHPSESSID=of-bob",
			"between quotes of another":      `a="b; PHPSESSID=of-bob; c"`,
			"with an escaped name":           "PHP%53ESSID=of-bob",
			"of another login":               "PHPSESSID=" + func() string { b := s.browser(); b.signIn(); b.appSession("/"); return b.cookie("PHPSESSID") }(),
		} {
			r := alice.request(http.MethodGet, "/", navigating...)
			own := "__Host-sso=" + alice.cookie("__Host-sso")
			r.Header["Cookie"] = []string{own + "; " + line}
			w := s.serve(r, false)
			wantStatus(t, w, http.StatusOK)
			if cookies := strings.Join(s.got().header["Cookie"], "; "); strings.Contains(strings.ReplaceAll(cookies, "X="+sealed, ""), "of-") {
				t.Errorf("%s: the app got %q", name, cookies)
			}
			set := slices.DeleteFunc(w.Header()["Set-Cookie"], func(line string) bool { return strings.HasPrefix(line, "PHP%53ESSID=;") })
			if len(set) != 1 || !strings.HasPrefix(set[0], "PHPSESSID=of-alice~") {
				t.Errorf("%s: the browser got %q", name, set)
			}
		}
		r := alice.request(http.MethodGet, "/", navigating...)
		wantStatus(t, s.serve(r, false), http.StatusOK) // the control
		if !slices.Contains(s.got().header["Cookie"], aliceAtApp) {
			t.Errorf("the app got %q", s.got().header["Cookie"])
		}
	})

	t.Run("names that apps read as that of the session", func(t *testing.T) {
		as, err := connect.New("poweradmin", "", []string{"my_sess"})
		mustDo(t, err)
		s := l.siteOf(g, "other.example", func(o *gateway.AppOptions) { o.As = as })
		b := s.browser()
		b.signIn()
		names := []string{
			"my_sess", "my.sess", "my sess", "my[sess", "my%5Fsess", "my%2esess", "my_sess[a]", "my.sess[", "my_sess[][b]",
			"\xa0my_sess", "my_sess\x85", // Latin-1
		}
		for _, blank := range "\u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000\ufeff" {
			names = append(names, string(blank)+"my_sess", "my_sess"+string(blank), " "+string(blank)+" my_sess")
		}
		for _, name := range names {
			w := b.open("/", "Cookie", name+"=of-bob")
			if cookies := strings.Join(s.got().header["Cookie"], "; "); strings.Contains(cookies, "of-") {
				t.Errorf("%q: the app got %q", name, cookies)
			}
			if gone := strings.Trim(name, " ") + "=; Path=/; Max-Age=0"; !slices.Contains(w.Header()["Set-Cookie"], gone) {
				t.Errorf("%q: the browser got %q", name, w.Header()["Set-Cookie"])
			}
		}
		b.open("/", "Cookie", "my_sessions=1; not_my_sess=2; [my_sess]=3")
		if got := s.got().header["Cookie"]; !slices.Equal(got, []string{"my_sessions=1; not_my_sess=2; [my_sess]=3"}) {
			t.Errorf("cookies with other names: the app got %q", got)
		}
	})

	t.Run("a planted cookie beside the good one", func(t *testing.T) {
		for _, planted := range []string{"PHPSESSID=of-bob", "PHPSESSID[a]=x", "PHPSESSID=of-bob~AAAAAAAAAAAAAAAAAAAAAA"} {
			w := alice.open("/", "Cookie", planted+"; PHPSESSID="+sealed)
			if got := s.got().header["Cookie"]; len(got) != 1 || strings.ReplaceAll(got[0], "; "+aliceAtApp, "") != aliceAtApp {
				t.Errorf("%s: the app got %q", planted, got)
			}
			for _, line := range w.Header()["Set-Cookie"] {
				if strings.HasPrefix(line, "PHPSESSID=") {
					t.Errorf("%s: the browser got %q", planted, line)
				}
			}
		}
	})

	t.Run("a public path has no part in it", func(t *testing.T) {
		wantAppSession(t, alice.appSession("/public"), "")
		if got := alice.cookie("PHPSESSID"); got != sealed {
			t.Errorf("the cookie was %q and is %q", sealed, got)
		}
	})

	for what, change := range map[string]struct {
		rules mapping.Rules
		users usernames.Space
	}{
		"role":      {rules: mapping.Rules{Role: everyone.Role[:1]}},
		"template":  {rules: mapping.Rules{Role: everyone.Role, Template: []mapping.Line{{To: []string{"Editor"}, From: []string{"*"}}}}},
		"group":     {rules: mapping.Rules{Role: everyone.Role, Group: []mapping.Line{{To: []string{"editors"}, From: []string{"*"}}}}},
		"user name": {rules: everyone, users: usernames.Space{Prefix: "corp-"}},
	} {
		t.Run("another "+what, func(t *testing.T) {
			g := l.gateway(func(o *gateway.Options) { o.Providers[0].Users = change.users })
			other := l.siteOf(g, appHost, asPoweradmin(t, ""), func(o *gateway.AppOptions) { o.Rules = change.rules })
			other.keepingSessions()
			b := alice.at(other)
			wantAppSession(t, b.appSession("/"), "")
			wantAppSession(t, b.appSession("/"), "PHPSESSID=of-"+change.users.Prefix+"alice")
			wantAppSession(t, alice.appSession("/"), "") // changed back
			wantAppSession(t, alice.appSession("/"), aliceAtApp)
		})
	}

	t.Run("the app ends its session itself", func(t *testing.T) {
		s := l.siteOf(l.gateway(), appHost, asPoweradmin(t, ""))
		b := alice.at(s)
		s.next = func(w http.ResponseWriter, _ *http.Request, _ *forward.Principal) error {
			w.Header().Set("Set-Cookie", "PHPSESSID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/")
			return nil // without a header of its own
		}
		b.open("/")
		if got := b.cookie("PHPSESSID"); got != "" {
			t.Errorf("the browser keeps %q", got)
		}
	})

	t.Run("another person in the same browser", func(t *testing.T) {
		alice.appSession("/")
		wantAppSession(t, alice.appSession("/"), aliceAtApp)
		wantRedirect(t, alice.post("/.sso/logout"), "https://"+appHost+"/.sso/logged-out")
		if got := alice.cookie("PHPSESSID"); got != "" {
			t.Errorf("after the logout the browser keeps %q", got)
		}
		for _, c := range bob.jar.Cookies(bob.url(appHost)) { // it got lost on the way
			if c.Name == "PHPSESSID" {
				alice.jar.SetCookies(alice.url(appHost), []*http.Cookie{c})
			}
		}
		alice.signInAs("carol")
		wantAppSession(t, alice.appSession("/"), "")
		wantAppSession(t, alice.appSession("/"), "PHPSESSID=of-carol")
	})

	t.Run("the login is revoked", func(t *testing.T) {
		wantAppSession(t, bob.appSession("/"), "PHPSESSID=of-bob")
		n := s.reached()
		ses, err := l.sessions.Find(t.Context(), bob.cookie("__Host-sso"), appHost)
		mustDo(t, err)
		mustDo(t, l.sessions.RevokeLogin(t.Context(), ses.ID()))
		eventually(t, "the revocation", func() bool { return bob.fetch("/").Code == http.StatusUnauthorized })
		bob.open("/")
		if got := bob.cookie("PHPSESSID"); got != "" || s.reached() > n+5 {
			t.Errorf("the browser keeps %q", got)
		}
	})
}

// TestAppSignIn holds that an app begins its own OpenID login without a click, and that
// its logout is the gateway's.
func TestAppSignIn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site(asPoweradmin(t, "corp sso"))
	b := s.browser()
	b.signIn()
	const at = "https://" + appHost
	for range 4 {
		wantRedirect(t, b.open("/login"), at+"/oidc/login?provider=corp+sso")
	}
	wantStatus(t, b.open("/login"), http.StatusOK) // where the app says what goes wrong
	wantRedirect(t, b.open("/logout"), at+"/.sso/logout")
	for what, w := range map[string]int{
		"a script":     b.fetch("/login").Code,
		"the password": b.send(b.request(http.MethodPost, "/login", navigating...)).Code,
		"another page": b.open("/login/x").Code,
	} {
		if w != http.StatusOK {
			t.Errorf("%s: answered %d", what, w)
		}
	}
	signed := l.siteOf(l.gateway(), appHost, asPoweradmin(t, ""))
	b = signed.browser()
	b.signIn()
	wantStatus(t, b.open("/login"), http.StatusOK)
	wantRedirect(t, b.open("/logout"), at+"/.sso/logout")
}
