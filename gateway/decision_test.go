package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
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

// Each header has its value from the provider or from the rules. Package forward writes it.
func TestIdentityHeaders(t *testing.T) {
	t.Parallel()
	names := forward.DefaultNames
	names.User, names.Template, names.FirstName, names.LastName, names.Provider = "x-user", "X-Role", "X-Given", "X-Family", "X-Idp"
	for name, tc := range map[string]struct {
		id    provider.Identity
		rules mapping.Rules
		want  map[string]string // "": not sent
	}{
		"nothing but a user name": {
			provider.Identity{Username: "dora"},
			everyone,
			map[string]string{"X-User": "dora", "Remote-User": "", "Remote-Email": "", "Remote-Name": "", "X-Given": "", "Remote-Roles": "User", "Remote-Groups": "", "X-Idp": "corp"},
		},
		"first and last name": {
			provider.Identity{Username: "zoë", FirstName: "Zoë", LastName: "Ash"},
			everyone,
			map[string]string{"X-User": "zo%C3%AB", "Remote-Name": "Zo%C3%AB Ash", "X-Given": "Zo%C3%AB", "X-Family": "Ash"},
		},
		"last name only": {provider.Identity{Username: "bob", LastName: "Example"}, everyone, map[string]string{"Remote-Name": "Example", "X-Role": ""}},
		"groups that no line names": {
			provider.Identity{Username: "erin", Groups: []string{"a", "b", "c"}},
			mapping.Rules{Role: []mapping.Line{line("User", "b")}},
			map[string]string{"Remote-Groups": "b"},
		},
		"the app's own groups": {
			provider.Identity{Username: "erin", Groups: []string{"netops", "staff"}},
			mapping.Rules{Group: []mapping.Line{line("operators", "netops"), line("others", "nobody")}, Role: []mapping.Line{line("User", "staff")}, Template: []mapping.Line{line("full", "staff")}},
			map[string]string{"Remote-Groups": "operators", "Remote-Roles": "User", "X-Role": "full"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.idp.person("x", tc.id)
			b := l.site(rules(tc.rules), func(o *gateway.AppOptions) { o.Headers = names }).browser()
			b.signInAs("x")
			wantStatus(t, b.open("/"), http.StatusOK)
			for n, want := range tc.want {
				if got := b.got().header[n]; strings.Join(got, "|") != want || (got != nil) != (want != "") {
					t.Errorf("%s: %q, want %q", n, got, want)
				}
			}
		})
	}
}

// If a value can't be sent to an app safely, the person is refused, and nothing is
// kept.
func TestBadIdentity(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		id   provider.Identity
		code refusal.Code
	}{
		"no user name":          {provider.Identity{Email: "a@b.example"}, refusal.NoUsername},
		"blank user name":       {provider.Identity{Username: " \u00a0"}, refusal.NoUsername},
		"zero width":            {provider.Identity{Username: "\u200b"}, refusal.NoUsername},
		"braille blank":         {provider.Identity{Username: "\u2800"}, refusal.NoUsername},
		"hangul filler":         {provider.Identity{Username: "\u3164 \u115f"}, refusal.NoUsername},
		"a selector alone":      {provider.Identity{Username: "\ufe0f\U000e0100"}, refusal.NoUsername},
		"a direction alone":     {provider.Identity{Username: "\u202e\ufeff"}, refusal.NoUsername},
		"a blank behind":        {provider.Identity{Username: "alice "}, refusal.BadCharacters},
		"a blank before":        {provider.Identity{Username: " alice"}, refusal.BadCharacters},
		"no-break space":        {provider.Identity{Username: "alice\u00a0"}, refusal.BadCharacters},
		"ideographic space":     {provider.Identity{Username: "\u3000alice"}, refusal.BadCharacters},
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
			w := b.bring(b.beginAs("/", "x"))
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

// A person's groups are bounded, alike in the header, the claim and the principal.
func TestManyGroups(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var groups []string
	for i := range 2000 {
		groups = append(groups, fmt.Sprintf("group-%04d", i))
	}
	l.idp.person("frank", provider.Identity{Username: "frank", Groups: groups})
	b := l.site(rules(mapping.Rules{Role: []mapping.Line{line("User", groups...)}})).browser()
	b.signInAs("frank")
	wantStatus(t, b.open("/"), http.StatusOK)
	got := b.got()
	sent := strings.Split(got.header.Get("Remote-Groups"), ",")
	claimed := fmt.Sprint(claimsOf(t, got.header.Get("X-Sso-Assertion"))["groups"])
	if !slices.Equal(sent, groups[:100]) || claimed != fmt.Sprint(sent) || !slices.Equal(got.principal.Groups, sent) {
		t.Errorf("the header has %q, the claim %s, the principal %q", sent, claimed, got.principal.Groups)
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
	s.next = func(w http.ResponseWriter, r *http.Request, p *forward.Principal) error {
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
