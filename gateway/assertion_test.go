package gateway_test

import (
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/mapping"
)

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

		// A person of whom only the name is known: lists are empty, not null. Other
		// unknown claims are left out, but for the time of the login.
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

// If the signer fails, the last assertion is sent as long as it is good. Then the
// request is refused: nothing goes out unsigned.
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
			s := l.siteAt(l.gateway(), tc.host, tc.hosts, func(o *gateway.AppOptions) { *o = tc.opts })
			b := s.browser()
			w := b.open("/")
			wantStatus(t, w, http.StatusSeeOther)
			wantStatus(t, b.bring(l.idp.answer(t, w, "alice")), http.StatusSeeOther)
			wantStatus(t, b.open("/"), http.StatusOK)
			claims := claimsOf(t, s.got().header.Get("X-Sso-Assertion"))
			if claims["iss"] != tc.iss || claims["aud"] != tc.aud {
				t.Errorf("iss %v, aud %v, want %v, %v", claims["iss"], claims["aud"], tc.iss, tc.aud)
			}
		})
	}
}

// A site that takes any host makes no assertions for another site's app. Otherwise a
// client could write that app's host into Host, and get them by the wrong rules.
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
			wild := l.siteAt(g, tc.host, gateway.Hosts{Any: true, Scheme: "https"}, func(o *gateway.AppOptions) { o.ID = tc.id })
			b := wild.browser()
			w := b.open("/")
			wantStatus(t, w, http.StatusSeeOther)
			wantStatus(t, b.bring(l.idp.answer(t, w, "alice")), http.StatusSeeOther)
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
