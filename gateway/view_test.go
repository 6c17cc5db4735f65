package gateway_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/mapping"
)

func rules(lines mapping.Rules) func(*gateway.AppOptions) {
	return func(o *gateway.AppOptions) { o.Rules = lines }
}

// mappingFor lets in one group alone.
func mappingFor(group string) mapping.Rules {
	return mapping.Rules{Role: []mapping.Line{line("User", group)}}
}

func line(to string, from ...string) mapping.Line {
	return mapping.Line{To: []string{to}, From: from}
}

func TestIdentityHeaders(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		id    provider.Identity
		rules mapping.Rules
		want  map[string]string // "": not sent
	}{
		"plain": {
			provider.Identity{Username: "alice", Email: "a@b.example", DisplayName: "Alice Example", Groups: []string{"admins", "staff"}},
			everyone,
			map[string]string{"Remote-User": "alice", "Remote-Email": "a@b.example", "Remote-Name": "Alice Example", "Remote-Roles": "Admin,User", "Remote-Groups": "admins"},
		},
		"nothing but a user name": {
			provider.Identity{Username: "dora"},
			everyone,
			map[string]string{"Remote-User": "dora", "Remote-Email": "", "Remote-Name": "", "Remote-Roles": "User", "Remote-Groups": ""},
		},
		"first and last name": {
			provider.Identity{Username: "bob", FirstName: "Bob", LastName: "Example"},
			everyone,
			map[string]string{"Remote-Name": "Bob Example"},
		},
		"last name only": {
			provider.Identity{Username: "bob", LastName: "Example"},
			everyone,
			map[string]string{"Remote-Name": "Example"},
		},
		"not ASCII": {
			provider.Identity{Username: "zoë", DisplayName: "Zoë Łukasz 漢 😀"},
			everyone,
			map[string]string{"Remote-User": "zo%C3%AB", "Remote-Name": "Zo%C3%AB %C5%81ukasz %E6%BC%A2 %F0%9F%98%80"},
		},
		"percent": {
			provider.Identity{Username: "100%", DisplayName: "%41"},
			everyone,
			map[string]string{"Remote-User": "100%25", "Remote-Name": "%2541"},
		},
		"blanks at the ends": {
			provider.Identity{Username: " erin  x ", DisplayName: "Erin"},
			everyone,
			map[string]string{"Remote-User": "%20erin  x%20"},
		},
		"direction marks": {
			provider.Identity{Username: "a\u202eb\u200b"},
			everyone,
			map[string]string{"Remote-User": "a%E2%80%AEb%E2%80%8B"},
		},
		"a comma in a value is one value": {
			provider.Identity{Username: "o'hara, \"x\"; y=z"},
			everyone,
			map[string]string{"Remote-User": "o'hara, \"x\"; y=z"},
		},
		"a comma in a group": {
			provider.Identity{Username: "erin", Groups: []string{"staff,admins", "100%, really", "plain"}},
			mapping.Rules{Role: []mapping.Line{line("User", "staff,admins", "100%, really", "plain")}},
			map[string]string{"Remote-Groups": "staff%2Cadmins,100%25%2C really,plain", "Remote-Roles": "User"},
		},
		"groups that no line names": {
			provider.Identity{Username: "erin", Groups: []string{"a", "b", "c"}},
			mapping.Rules{Role: []mapping.Line{line("User", "b")}},
			map[string]string{"Remote-Groups": "b"},
		},
		"the app's own groups": {
			provider.Identity{Username: "erin", Groups: []string{"netops", "staff"}},
			mapping.Rules{Group: []mapping.Line{line("operators", "netops"), line("others", "nobody")}, Role: []mapping.Line{line("User", "staff")}},
			map[string]string{"Remote-Groups": "operators", "Remote-Roles": "User"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.idp.person("x", tc.id)
			s := l.site(rules(tc.rules))
			b := s.browser()
			b.signInAs("x")
			wantStatus(t, b.open("/"), http.StatusOK)
			h := s.got().header
			for n, want := range tc.want {
				switch got := h[n]; {
				case want == "" && got != nil:
					t.Errorf("%s: %q, want none", n, got)
				case want != "" && !slices.Equal(got, []string{want}):
					t.Errorf("%s: %q, want %q", n, got, want)
				}
			}
			if got := decoded(t, h.Get("Remote-User")); got != tc.id.Username {
				t.Errorf("Remote-User decodes to %q, want %q", got, tc.id.Username)
			}
			if got := claimsOf(t, h.Get("X-Sso-Assertion"))["preferred_username"]; got != tc.id.Username {
				t.Errorf("preferred_username %q, want %q", got, tc.id.Username)
			}
		})
	}
}

func decoded(t testing.TB, s string) string {
	t.Helper()
	out, err := url.PathUnescape(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What can't be said safely is not said: the person is refused, and nothing
// is kept.
func TestBadIdentity(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		id   provider.Identity
		code refusal.Code
	}{
		"no user name":          {provider.Identity{Email: "a@b.example"}, refusal.NoUsername},
		"blank user name":       {provider.Identity{Username: " \u00a0"}, refusal.NoUsername},
		"line break":            {provider.Identity{Username: "a\nRemote-User: b"}, refusal.BadCharacters},
		"carriage return":       {provider.Identity{Username: "a", DisplayName: "x\rY"}, refusal.BadCharacters},
		"NUL":                   {provider.Identity{Username: "admin\x00x"}, refusal.BadCharacters},
		"tab":                   {provider.Identity{Username: "a\tb"}, refusal.BadCharacters},
		"delete":                {provider.Identity{Username: "a\x7f"}, refusal.BadCharacters},
		"C1 control":            {provider.Identity{Username: "a\u0085b"}, refusal.BadCharacters},
		"line separator":        {provider.Identity{Username: "a", Email: "a\u2028@b"}, refusal.BadCharacters},
		"no UTF-8":              {provider.Identity{Username: "a\xff"}, refusal.BadCharacters},
		"last name":             {provider.Identity{Username: "a", FirstName: "x", LastName: "y\nz"}, refusal.BadCharacters},
		"acr":                   {provider.Identity{Username: "a", ACR: "x\n"}, refusal.BadCharacters},
		"amr":                   {provider.Identity{Username: "a", AMR: []string{"pwd", "x\n"}}, refusal.BadCharacters},
		"nobody lets it in":     {provider.Identity{Username: "carol", Groups: []string{"others"}}, refusal.AccessDenied},
		"no group at all":       {provider.Identity{Username: "carol"}, refusal.AccessDenied},
		"a group called a star": {provider.Identity{Username: "carol", Groups: []string{"*"}}, refusal.AccessDenied},
		"a group of other case": {provider.Identity{Username: "carol", Groups: []string{"STAFF"}}, refusal.AccessDenied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if tc.code != refusal.AccessDenied {
				tc.id.Groups = []string{"staff"}
			}
			l.idp.person("x", tc.id)
			s := l.site(rules(mapping.Rules{Role: []mapping.Line{line("User", "staff")}}))
			b := s.browser()
			w := b.open("/")
			w = b.open(l.idp.visit(t, w.Header().Get("Location"), "x"))
			wantRefused(t, w, tc.code)
			if cause := fmt.Sprint(l.seen()[0].Err); tc.code == refusal.AccessDenied && strings.Contains(cause, "no groups") != (len(tc.id.Groups) == 0) {
				t.Errorf("the log says %q of %d groups", cause, len(tc.id.Groups))
			}
			if b.cookie("__Host-sso") != "" || len(l.store.keys("account"))+len(l.store.keys("login")) > 0 {
				t.Error("a cookie, an account or a login is left")
			}
			if len(l.store.keys("flow")) > 0 {
				t.Error("the flow was not used up")
			}
			wantStatus(t, b.open("/"), http.StatusSeeOther)
			if s.reached() > 0 {
				t.Error("the app was reached")
			}
		})
	}
}

func TestManyGroups(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		count       int
		prefix      string
		sent        int
		description string
	}{
		{"few", 40, "g", 40, "all"},
		{"frank's", 180, "grp", 100, "at most a hundred"},
		{"two thousand", 2000, "group", 100, "at most a hundred"},
		{"long names", 180, strings.Repeat("n", 200), 14, "at most 3 KiB"},
		{"long names that are encoded", 180, strings.Repeat("ü", 100), 5, "at most 3 KiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			var groups []string
			for i := range tc.count {
				groups = append(groups, fmt.Sprintf("%s-%04d", tc.prefix, i))
			}
			l.idp.person("frank", provider.Identity{Username: "frank", Groups: groups})
			s := l.site(rules(mapping.Rules{Role: []mapping.Line{line("User", groups...)}}))
			b := s.browser()
			b.signInAs("frank")
			wantStatus(t, b.open("/"), http.StatusOK)
			got := s.got()
			sent := strings.Split(got.header.Get("Remote-Groups"), ",")
			if len(sent) != tc.sent {
				t.Errorf("%d groups, want %d (%s)", len(sent), tc.sent, tc.description)
			}
			for i, g := range sent {
				if decoded(t, g) != groups[i] {
					t.Fatalf("group %d is %q, want %q: none may be cut", i, g, groups[i])
				}
			}
			claimed, ok := claimsOf(t, got.header.Get("X-Sso-Assertion"))["groups"].([]any)
			if !ok || len(claimed) != len(sent) || len(got.principal.Groups) != len(sent) {
				t.Errorf("claims have %d groups, the principal %d, the header %d", len(claimed), len(got.principal.Groups), len(sent))
			}
			size := 0
			for n, v := range got.header {
				size += len(n) + len(v[0]) + 4
			}
			if size > 12<<10 {
				t.Errorf("the app gets %d bytes of headers", size)
			}
		})
	}
}

func TestHeaderNames(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site(func(o *gateway.AppOptions) {
		o.Headers = gateway.HeaderNames{User: "x-webauth-user", Roles: "X-Webauth-Role"}
	})
	b := s.browser()
	b.signIn()
	wantStatus(t, b.open("/", "X-Webauth-User", "mallory"), http.StatusOK)
	h := s.got().header
	if h.Get("X-Webauth-User") != "alice" || h.Get("X-Webauth-Role") != "Admin,User" {
		t.Errorf("headers %v", h)
	}
	for n := range h {
		if strings.HasPrefix(n, "Remote-") || strings.HasPrefix(n, "X-Sso-") {
			t.Errorf("%s was sent though it has no name", n)
		}
	}
	if l.signer.signed > 0 {
		t.Error("an assertion was signed that nobody gets")
	}
	for name, names := range map[string]gateway.HeaderNames{
		"underscore":  {User: "Remote_User"},
		"blank":       {User: "Remote User"},
		"hyphen only": {User: "-User"},
		"twice":       {User: "X-A", Name: "x-a"},
		"cookie":      {User: "Cookie"},
		"host":        {User: "Host"},
		"authority":   {User: ":authority"},
		"connection":  {Assertion: "connection"},
		"line break":  {User: "X\r\nY"},
	} {
		if _, err := l.gateway().NewApp(gateway.AppOptions{Rules: everyone, Headers: names}); err == nil {
			t.Errorf("%s: %+v was taken", name, names)
		}
	}
}

func TestAssertionClaims(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		authTime := time.Now().Add(-time.Hour)
		l.idp.person("alice", provider.Identity{
			Username: "alice", Email: "alice@corp.example", EmailVerified: true, DisplayName: "Alice <&> Example", Groups: []string{"admins", "staff"},
			ACR: "urn:mfa", AMR: []string{"pwd", "otp"}, AuthTime: authTime,
		})
		s := l.site(rules(mapping.Rules{Role: everyone.Role, Template: []mapping.Line{line("Editor", "staff")}}))
		b := s.browser()
		b.signIn()
		wantStatus(t, b.open("/"), http.StatusOK)
		got := s.got()
		claims := claimsOf(t, got.header.Get("X-Sso-Assertion"))
		now := float64(time.Now().Unix())
		want := map[string]any{
			"iss": "https://app.example", "aud": "app.example", "sub": session.AccountKey{Protocol: provider.OIDC, Issuer: "https://id.example", Subject: "sub-alice"}.ID(),
			"preferred_username": "alice", "email": "alice@corp.example", "email_verified": true, "name": "Alice <&> Example",
			"roles": []any{"Admin", "User"}, "groups": []any{"admins", "staff"}, "template": "Editor", "idp": "corp",
			"acr": "urn:mfa", "amr": []any{"pwd", "otp"}, "auth_time": float64(authTime.Unix()),
			"iat": now, "nbf": now - 30, "exp": now + 60,
			"sid": got.principal.SessionID, "jti": claims["jti"],
		}
		if !maps.EqualFunc(claims, want, func(a, b any) bool { return reflect.DeepEqual(a, b) }) {
			t.Errorf("claims\n%v\nwant\n%v", claims, want)
		}
		for _, name := range []string{"sid", "jti"} {
			if v, _ := claims[name].(string); len(v) < 16 {
				t.Errorf("%s is %q", name, v)
			}
		}
		if got.principal.Account != want["sub"] || got.principal.Username != "alice" || got.principal.Template != "Editor" || got.principal.Provider != "corp" {
			t.Errorf("principal %+v", got.principal)
		}
		if !got.principal.Expires.Equal(time.Now().Add(gateway.DefaultLifetime)) {
			t.Errorf("expires %v, want the default lifetime", got.principal.Expires)
		}

		// Who has nothing says so: lists are empty, not null, and what is
		// unknown is left out, but for the time of the login.
		l.idp.person("dora", provider.Identity{Username: "dora"})
		d := s.browser()
		d.signInAs("dora")
		wantStatus(t, d.open("/"), http.StatusOK)
		claims = claimsOf(t, s.got().header.Get("X-Sso-Assertion"))
		names := slices.Sorted(maps.Keys(claims))
		if wanted := strings.Fields("aud auth_time email_verified exp groups iat idp iss jti nbf preferred_username roles sid sub"); !slices.Equal(names, wanted) {
			t.Errorf("claims %v, want %v", names, wanted)
		}
		if !reflect.DeepEqual(claims["groups"], []any{}) || claims["auth_time"] != float64(time.Now().Unix()) || claims["email_verified"] != false {
			t.Errorf("claims %v", claims)
		}
	})
}

func TestAssertionRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		s := l.site()
		b := s.browser()
		b.signIn()
		ask := func() (jti string, left time.Duration) {
			wantStatus(t, b.open("/"), http.StatusOK)
			claims := claimsOf(t, s.got().header.Get("X-Sso-Assertion"))
			return claims["jti"].(string), time.Until(time.Unix(int64(claims["exp"].(float64)), 0))
		}
		first, _ := ask()
		var seen []string
		for range 130 {
			jti, left := ask()
			if left < 30*time.Second {
				t.Fatalf("an assertion with %v left was sent", left)
			}
			if len(seen) == 0 || seen[len(seen)-1] != jti {
				seen = append(seen, jti)
			}
			time.Sleep(time.Second)
		}
		if seen[0] != first {
			t.Error("a cached assertion did not repeat its jti")
		}
		// A reload from the store, once a minute, begins a new one too.
		if len(seen) < 5 || len(seen) > 9 {
			t.Errorf("%d assertions in 130 seconds", len(seen))
		}
		if distinct := slices.Compact(slices.Sorted(slices.Values(seen))); len(distinct) != len(seen) {
			t.Error("a jti came back")
		}
	})
}

// The store being down does not stop signing; the signer being down does, but
// no earlier than it must, and nothing goes out unsigned.
func TestSignerDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		s := l.site()
		b := s.browser()
		b.signIn()
		wantStatus(t, b.open("/"), http.StatusOK)
		l.signer.setErr(errors.New("no key"))
		time.Sleep(34 * time.Second)
		wantStatus(t, b.open("/"), http.StatusOK)
		if exp := claimsOf(t, s.got().header.Get("X-Sso-Assertion"))["exp"].(float64); time.Until(time.Unix(int64(exp), 0)) < 25*time.Second {
			t.Error("the old assertion has too little left")
		}
		time.Sleep(2 * time.Second)
		before := s.reached()
		wantRefused(t, b.open("/"), refusal.StoreUnavailable)
		if s.reached() != before {
			t.Error("the app was reached without an assertion")
		}
		l.signer.setErr(nil)
		wantStatus(t, b.open("/"), http.StatusOK)
	})
}

func TestIssuerAndAudience(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opts     gateway.AppOptions
		hosts    gateway.Hosts
		host     string
		iss, aud string
	}{
		"host":                   {gateway.AppOptions{}, gateway.Hosts{Exact: []string{"a.example"}, Scheme: "https"}, "a.example", "https://a.example", "a.example"},
		"second host":            {gateway.AppOptions{}, gateway.Hosts{Exact: []string{"a.example", "b.example"}, Scheme: "https"}, "b.example", "https://a.example", "a.example"},
		"listener's port":        {gateway.AppOptions{}, gateway.Hosts{Exact: []string{"a.example"}, Scheme: "https", Port: "8443"}, "a.example:8443", "https://a.example:8443", "a.example"},
		"the scheme's own port":  {gateway.AppOptions{}, gateway.Hosts{Exact: []string{"A.example"}, Scheme: "https", Port: "443"}, "a.example", "https://a.example", "a.example"},
		"app id":                 {gateway.AppOptions{ID: "grafana"}, gateway.Hosts{Exact: []string{"a.example"}, Scheme: "https"}, "a.example", "https://a.example", "grafana"},
		"base URL":               {gateway.AppOptions{BaseURL: "https://A.example:8443"}, gateway.Hosts{Exact: []string{"inner"}, Scheme: "http", Port: "80"}, "a.example", "https://a.example:8443", "a.example"},
		"wildcard":               {gateway.AppOptions{}, gateway.Hosts{Any: true, Scheme: "https"}, "any.example:444", "https://any.example:444", "any.example"},
		"wildcard with id":       {gateway.AppOptions{ID: "grafana"}, gateway.Hosts{Any: true}, "any.example", "https://any.example", "grafana"},
		"wildcard and one exact": {gateway.AppOptions{}, gateway.Hosts{Exact: []string{"a.example"}, Any: true, Scheme: "https"}, "any.example", "https://a.example", "a.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			tc.opts.Rules = everyone
			app, err := l.gateway().NewApp(tc.opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := app.Start(tc.hosts); err != nil {
				t.Fatal(err)
			}
			s := &site{lab: l, app: app, host: tc.host}
			b := s.browser()
			w := b.open("/")
			wantStatus(t, w, http.StatusSeeOther)
			wantStatus(t, b.open(l.idp.visit(t, w.Header().Get("Location"), "alice")), http.StatusSeeOther)
			wantStatus(t, b.open("/"), http.StatusOK)
			claims := claimsOf(t, s.got().header.Get("X-Sso-Assertion"))
			if claims["iss"] != tc.iss || claims["aud"] != tc.aud {
				t.Errorf("iss %v, aud %v, want %v, %v", claims["iss"], claims["aud"], tc.iss, tc.aud)
			}
		})
	}
}

// A site that takes any host makes no assertions for the app of another: who
// writes that one's host into Host would get them by the wrong rules.
func TestWildcardTakesNoAudience(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		host, id string
		aud      string // "": refused
	}{
		"its own":                  {"any.example", "", "any.example"},
		"another app's":            {appHost, "", ""},
		"another app's, with port": {appHost + ":8443", "", ""},
		"another app's, and an id": {appHost, "wild", "wild"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			g := l.gateway()
			l.siteOf(g, appHost)
			wild := &site{lab: l, app: newApp(t, g, func(o *gateway.AppOptions) { o.ID = tc.id }), host: tc.host}
			if err := wild.app.Start(gateway.Hosts{Any: true, Scheme: "https"}); err != nil {
				t.Fatal(err)
			}
			b := wild.browser()
			w := b.open("/")
			wantStatus(t, w, http.StatusSeeOther)
			wantStatus(t, b.open(l.idp.visit(t, w.Header().Get("Location"), "alice")), http.StatusSeeOther)
			w = b.open("/")
			if tc.aud == "" {
				wantRefused(t, w, refusal.UnknownHost)
				return
			}
			wantStatus(t, w, http.StatusOK)
			if aud := claimsOf(t, wild.got().header.Get("X-Sso-Assertion"))["aud"]; aud != tc.aud {
				t.Errorf("aud %v, want %s", aud, tc.aud)
			}
		})
	}
}

// The session's handle says nothing about other apps, and stays for this one.
func TestSessionIDPerApp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.gateway()
	one, two := l.siteOf(g, appHost, func(o *gateway.AppOptions) { o.ID = "one" }), l.siteOf(g, appHost, func(o *gateway.AppOptions) { o.ID = "two" })
	b := one.browser()
	b.signIn()
	sid := func(s *site) any {
		wantStatus(t, b.at(s).open("/"), http.StatusOK)
		return claimsOf(t, s.got().header.Get("X-Sso-Assertion"))["sid"]
	}
	if sid(one) != sid(one) || sid(one) == sid(two) {
		t.Error("sid must be one per login and app")
	}
	if strings.Contains(b.cookie("__Host-sso"), sid(one).(string)) {
		t.Error("sid is a part of the cookie")
	}
}

// Handlers after us replace header values in place, as Caddy's `headers` does,
// and append. Neither may reach another header, request or person.
func TestHeadersAreNotShared(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	people := map[string]*browser{}
	for _, name := range []string{"alice", "bob"} {
		people[name] = s.browser()
		people[name].signInAs(name)
	}
	mallory := strings.Repeat("mallory", 10)
	s.next = func(w http.ResponseWriter, r *http.Request, p *gateway.Principal) error {
		want := map[string]string{"Remote-User": p.Username, "Remote-Email": p.Email, "Remote-Name": p.Name, "Remote-Roles": strings.Join(p.Roles, ",")}
		for n, v := range want {
			if got := r.Header[n]; len(got) != 1 || got[0] != v {
				t.Errorf("%s of %s: %q", n, p.Username, got)
			}
		}
		for n := range want {
			_ = append(r.Header[n], mallory)
			for n, v := range want {
				if r.Header[n][0] != v {
					t.Errorf("appending to one header changed %s to %q", n, r.Header[n][0])
				}
			}
		}
		for n := range r.Header {
			for i := range r.Header[n] {
				r.Header[n][i] = mallory
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	for name, b := range people {
		for range 4 {
			wg.Go(func() {
				for range 200 {
					r := b.request(http.MethodGet, "/")
					w := httptest.NewRecorder()
					if err := s.app.ServeHTTP(w, r, gateway.Peer{Secure: true, Target: "/"}, s.next); err != nil || w.Code != http.StatusOK {
						t.Errorf("%s: status %d, error %v", name, w.Code, err)
					}
				}
			})
		}
	}
	wg.Wait()
}

// On a wildcard site each port is an origin of its own. Who walks through them
// all must not fill the memory.
func TestViewsAreBounded(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	app := newApp(t, l.gateway())
	if err := app.Start(gateway.Hosts{Any: true, Scheme: "https"}); err != nil {
		t.Fatal(err)
	}
	s := &site{lab: l, app: app, host: appHost}
	b := s.browser()
	b.signIn()
	cookies := cookieLine(b)
	for port := range 100 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = fmt.Sprintf("%s:%d", appHost, 1000+port)
		r.Header.Set("Cookie", cookies)
		wantStatus(t, s.serve(r, false), http.StatusOK)
		if iss := claimsOf(t, s.got().header.Get("X-Sso-Assertion"))["iss"]; iss != "https://"+r.Host {
			t.Fatalf("iss %v at %s", iss, r.Host)
		}
	}
	f, err := l.sessions.Find(t.Context(), b.cookie("__Host-sso"), appHost)
	mustDo(t, err)
	if n := gateway.Views(f); n < 1 || n > 16 {
		t.Errorf("one login has %d views, want 16 at most", n)
	}
}

// TestAssertionAfterSuspend has the machine sleep, or its clock set back: what was
// signed before is not sent any more.
func TestAssertionAfterSuspend(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	b.signIn()
	wantStatus(t, b.open("/"), http.StatusOK)
	ses, err := l.sessions.Find(t.Context(), b.cookie("__Host-sso"), appHost)
	mustDo(t, err)
	begun := time.Now()
	at := func(now time.Time) (jti string, age, left time.Duration) {
		t.Helper()
		token, err := gateway.AssertionAt(ses, now)
		mustDo(t, err)
		claims := claimsOf(t, token)
		since := func(name string) time.Duration {
			return now.Round(0).Sub(time.Unix(int64(claims[name].(float64)), 0))
		}
		return claims["jti"].(string), since("iat"), -since("exp")
	}
	first, _, _ := at(begun)
	if again, _, _ := at(begun.Add(time.Second)); again != first {
		t.Error("a cached assertion did not repeat its jti")
	}
	for name, d := range map[string]time.Duration{"suspended": 10 * time.Minute, "set back": -10 * time.Minute} {
		before, _, _ := at(begun)
		now := setClock(begun, d)
		if now.Sub(begun) != 0 || now.Round(0).Sub(begun.Round(0)) != d {
			t.Fatalf("%s: the clocks are %v and %v on", name, now.Sub(begun), now.Round(0).Sub(begun.Round(0)))
		}
		after, age, left := at(now)
		if after == before || left < 30*time.Second || age < -time.Second {
			t.Errorf("%s: an assertion is sent that is %v old, and good for %v", name, age, left)
		}
		l.signer.setErr(errors.New("no keys"))
		if token, err := gateway.AssertionAt(ses, setClock(now, d)); err == nil {
			t.Errorf("%s, and signing fails: %v is sent", name, claimsOf(t, token))
		}
		l.signer.setErr(nil)
	}
}

// setClock returns what a clock shows whose wall time was moved on, while its
// monotonic reading stood still: the bits of its seconds follow those of its
// nanoseconds.
func setClock(t time.Time, d time.Duration) time.Time {
	*(*int64)(unsafe.Pointer(&t)) += int64(d/time.Second) << 30
	return t
}
