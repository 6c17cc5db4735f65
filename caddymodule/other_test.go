package caddymodule_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestSignedInAsSomebodyElse links a signed-in person from another site to a
// sign-in as somebody else. Nothing changes until they say yes on our own page;
// then the provider has to ask anew.
func TestSignedInAsSomebodyElse(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("saml")
	var other atomic.Bool         // bob is at the provider, instead of alice
	var ago atomic.Pointer[int64] // how many seconds ago the person signed in there, if it says so
	now := int64(0)
	ago.Store(&now)
	idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) {
		if other.Load() {
			a.NameID = "bob"
		}
		if s := ago.Load(); s != nil {
			a.AuthnInstant = a.AuthnInstant.Add(-time.Duration(*s) * time.Second)
		}
	}})
	w.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
		if other.Load() {
			claims["sub"], claims["preferred_username"] = "b0b-0002", "bob"
		}
		delete(claims, "auth_time")
		if s := ago.Load(); s != nil {
			claims["auth_time"] = time.Now().Unix() - *s
		}
	}})
	w.mustLoad(w.global(w.oidc("oidc", w.op)+w.saml("saml", idp)) + `
ORIGIN {
	sso {
		same_people oidc saml
		role User *
	}
	respond "{http.auth.user.id} of {http.auth.user.provider}"
}
`)
	signedIn := func(t *testing.T, b *browser, want string) {
		t.Helper()
		if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK || body != want {
			t.Errorf("%d %q, want %q", status, body, want)
		}
	}
	// yes posts what the page asks, as the person's browser does, from a site.
	yes := func(t *testing.T, b *browser, page, from string) (int, string) {
		t.Helper()
		action := regexp.MustCompile(`<form [^>]*method="post" action="([^"]*)"`).FindStringSubmatch(page)
		if action == nil || !strings.Contains(page, "<bdi>alice</bdi>") {
			t.Fatalf("nobody is asked: %s", page)
		}
		r, err := http.NewRequest(http.MethodPost, w.origin()+html.UnescapeString(action[1]), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Sec-Fetch-Site", from)
		b.seen = []string{r.URL.String()}
		status, body := b.do(r)
		at, err := url.Parse(b.seen[len(b.seen)-1])
		if err != nil {
			t.Fatal(err)
		}
		if f := formOf(t, at, body); f != nil {
			return b.answer(f)
		}
		return status, body
	}
	for _, protocol := range []string{"oidc", "saml"} {
		link := w.origin() + "/.sso/login?as=other&return=%2Fwanted&provider=" + protocol
		for name, tt := range map[string]struct {
			ago  int64 // -1: the provider does not say
			code string
		}{
			"the provider asks":              {0, ""},
			"the provider does not ask":      {3600, protocol + "_time_invalid"},
			"the provider does not say when": {-1, ""},
		} {
			t.Run(protocol+", "+name, func(t *testing.T) {
				other.Store(false)
				now := int64(0)
				ago.Store(&now)
				b := newBrowser(t)
				if status, body := b.samlIn(w, protocol); status != http.StatusOK || body != "alice of "+protocol {
					t.Fatalf("signing in: %d %q", status, body)
				}
				other.Store(true)
				if ago.Store(&tt.ago); tt.ago < 0 {
					ago.Store(nil)
				}
				status, page := b.get(link)
				if status != http.StatusOK {
					t.Fatalf("%d %s", status, page)
				}
				signedIn(t, b, "alice of "+protocol)
				if status, body := yes(t, b, page, "cross-site"); status != http.StatusForbidden || !strings.Contains(body, "cross_site") {
					t.Errorf("posted by another site: %d %s", status, body)
				}
				signedIn(t, b, "alice of "+protocol)
				status, body := yes(t, b, page, "same-origin")
				if tt.code != "" {
					if status != http.StatusBadRequest || !strings.Contains(body, tt.code) {
						t.Errorf("%d %s, want %s", status, body, tt.code)
					}
					signedIn(t, b, "alice of "+protocol)
					return
				}
				if status != http.StatusOK || body != "bob of "+protocol {
					t.Errorf("%d %q", status, body)
				}
				signedIn(t, b, "bob of "+protocol)
			})
		}
	}
	for _, protocol := range []string{"oidc", "saml"} {
		t.Run(protocol+", a page of the site itself", func(t *testing.T) {
			now := int64(0)
			ago.Store(&now)
			other.Store(false)
			b := newBrowser(t)
			b.samlIn(w, protocol)
			other.Store(true)
			r := mustRequest(t, w.origin()+"/.sso/login?as=other&provider=oidc")
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			if status, body := b.do(r); status != http.StatusOK || body != "bob of oidc" {
				t.Errorf("%d %q", status, body)
			}
		})
	}
}
