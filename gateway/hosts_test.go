package gateway_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	exact := gateway.Hosts{Exact: []string{appHost, "alias.example", "[2001:db8::1]"}, Scheme: "https"}
	wildcard := gateway.Hosts{Any: true, Scheme: "https"}
	for name, tc := range map[string]struct {
		hosts  gateway.Hosts
		host   string
		origin string // "": refused
	}{
		"exact":                   {exact, "app.example", "https://app.example"},
		"exact, second":           {exact, "alias.example", "https://alias.example"},
		"upper case":              {exact, "APP.Example", "https://app.example"},
		"own port":                {exact, "app.example:8443", "https://app.example:8443"},
		"the scheme's port":       {exact, "app.example:443", "https://app.example"},
		"IPv6":                    {exact, "[2001:DB8::1]", "https://[2001:db8::1]"},
		"IPv6 and port":           {exact, "[2001:db8::1]:8443", "https://[2001:db8::1]:8443"},
		"another host":            {exact, "evil.example", ""},
		"a part of ours":          {exact, "example", ""},
		"ours as a part":          {exact, "app.example.evil.example", ""},
		"ours in the user":        {exact, "app.example@evil.example", ""},
		"user":                    {exact, "evil@app.example", ""},
		"port is a name":          {exact, "app.example:evil", ""},
		"port and more":           {exact, "app.example:80@evil.example", ""},
		"empty port":              {exact, "app.example:", ""},
		"huge port":               {exact, "app.example:999999", ""},
		"two ports":               {exact, "app.example:1:2", ""},
		"slash":                   {exact, "app.example/evil", ""},
		"question mark":           {exact, "app.example?evil", ""},
		"number sign":             {exact, "app.example#evil", ""},
		"backslash":               {exact, `app.example\evil`, ""},
		"blank":                   {exact, "app.example evil", ""},
		"list":                    {exact, "app.example,evil.example", ""},
		"percent":                 {exact, "app%2eexample", ""},
		"dot at the end":          {exact, "app.example.", ""},
		"other IPv6":              {exact, "[2001:db8::2]", ""},
		"IPv6 with a zone":        {exact, "[2001:db8::1%25evil]", ""},
		"IPv6 without brackets":   {exact, "2001:db8::1", ""},
		"bracket only":            {exact, "[app.example]", ""},
		"empty":                   {exact, "", ""},
		"wildcard":                {wildcard, "any.example", "https://any.example"},
		"wildcard, upper case":    {wildcard, "ANY.example:8443", "https://any.example:8443"},
		"wildcard, user":          {wildcard, "evil@any.example", ""},
		"wildcard, slash":         {wildcard, "any.example/evil", ""},
		"wildcard, empty":         {wildcard, "", ""},
		"wildcard, line break":    {wildcard, "any.example\r\nX: y", ""},
		"wildcard, no port after": {wildcard, "any.example:8a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.siteAt(l.gateway(), tc.host, tc.hosts)
			for _, target := range []string{"/", "/.sso/login", "/.sso/login?provider=corp", "/.sso/logout", "/.sso/oidc/callback?state=" + strings.Repeat("A", 43) + "&code=alice"} {
				w := s.browser().send(s.browser().request(http.MethodGet, target, "Accept", "text/html"))
				location := w.Header().Get("Location")
				if tc.origin == "" {
					wantRefused(t, w, refusal.UnknownHost)
					if location != "" || w.Header().Get("Set-Cookie") != "" {
						t.Errorf("%s: Location %q, Set-Cookie %q", target, location, w.Header().Get("Set-Cookie"))
					}
					continue
				}
				if strings.HasPrefix(location, "https://id.example") {
					u, err := url.Parse(location)
					mustDo(t, err)
					location = u.Query().Get("redirect_uri")
				}
				if location != "" && !strings.HasPrefix(location, tc.origin+"/") {
					t.Errorf("%s: Location or redirect_uri %q, want one of %s", target, location, tc.origin)
				}
			}
			begun, completed := l.idp.counts()
			if tc.origin == "" && begun+completed+l.store.written() > 0 {
				t.Errorf("begun %d, completed %d, written %d: a foreign host did something", begun, completed, l.store.written())
			}
			if tc.origin != "" && begun != 3 {
				t.Errorf("%d logins were begun, want 3", begun)
			}
		})
	}
}

func TestBaseURL(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.siteOf(l.gateway(), "inner.example", func(o *gateway.AppOptions) { o.BaseURL = "https://App.Example:443/" })
	b := s.browser()
	w := b.open("/")
	wantRefused(t, w, refusal.UnknownHost)
	w = b.open("/", "Host", "app.example")
	wantStatus(t, w, http.StatusSeeOther)
	if got := l.idp.begun[0].CallbackURL; got != "https://app.example/.sso/oidc/callback" {
		t.Errorf("callback %q", got)
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	g := newLab(t).gateway()
	for _, tc := range []struct {
		base, id string
		hosts    []string
		fault    string
	}{
		{"", "", nil, "base_url"},
		{"", "", []string{"a/b"}, "base_url"},
		{"https://app.example", "", nil, ""},
		{"", "", []string{"app.example"}, `"app.example"`}, // the audience of the one before
		{"", "second", []string{"app.example"}, ""},
	} {
		app := newApp(t, g, func(o *gateway.AppOptions) { o.BaseURL, o.ID = tc.base, tc.id })
		err := app.Start(gateway.Hosts{Exact: tc.hosts, Scheme: "https"})
		if (err == nil) != (tc.fault == "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}

// TestUnknownHostNames has the log say which hosts the site has, but not without end.
func TestUnknownHostNames(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("h%d.example", i))
	}
	for name, tc := range map[string]struct {
		hosts      gateway.Hosts
		base, host string
		want       string
	}{
		"two hosts":        {gateway.Hosts{Exact: []string{"a.example", "b.example"}}, "", "c.example", `host "c.example" is none of the site's hosts: "a.example", "b.example"`},
		"a base URL":       {gateway.Hosts{Exact: []string{"a.example"}}, "https://sso.example", "a.example", `host "a.example" is none of the site's hosts: "sso.example"`},
		"a malformed host": {gateway.Hosts{Any: true, Wild: []string{"*.example"}}, "", "a b", `host "a b" is none of the site's hosts: "*.example"`},
		"many":             {gateway.Hosts{Exact: many}, "", "c.example", `"h9.example", and 20 more`},
		"a long host":      {gateway.Hosts{Exact: many[:1]}, "", strings.Repeat("x", 5000), `: "h0.example"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.siteAt(l.gateway(), tc.host, tc.hosts, func(o *gateway.AppOptions) { o.BaseURL = tc.base })
			wantRefused(t, s.serve(s.browser().request(http.MethodGet, "/.sso/login"), false), refusal.UnknownHost)
			events := l.seen()
			if got := events[len(events)-1].Err.Error(); !strings.HasSuffix(got, tc.want) || len(got) > 500 {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
