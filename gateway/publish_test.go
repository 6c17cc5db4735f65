package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestSessionEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		s := l.site(func(o *gateway.AppOptions) { o.Rules.Template = append(o.Rules.Template, line("Editor", "staff")) })
		b := s.browser()
		b.signIn()
		began := time.Now().UTC()
		time.Sleep(time.Minute)
		wantStatus(t, b.open("/"), http.StatusOK)
		p := s.got().principal
		w := b.fetch("/.sso/session")
		wantStatus(t, w, http.StatusOK)
		if h := w.Header(); h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("headers %v", h)
		}
		var got map[string]any
		mustDo(t, json.Unmarshal(w.Body.Bytes(), &got))
		want := map[string]any{
			"username": "alice", "email": "alice@corp.example", "name": "Alice Example", "roles": "[Admin User]", "groups": "[admins staff]",
			"template": "Editor", "provider": "corp", "account": p.Account, "session": p.SessionID,
			"since": began.Format(time.RFC3339), "expires": began.Add(8 * time.Hour).Format(time.RFC3339),
		}
		if !maps.EqualFunc(got, want, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
			t.Errorf("session\n%v\nwant\n%v", got, want)
		}
		if body := w.Body.String(); strings.Contains(body, b.cookie("__Host-sso")) || strings.Contains(body, "hint-") {
			t.Error("the answer has a secret in it")
		}

		page := b.open("/.sso/session")
		wantStatus(t, page, http.StatusOK)
		for _, want := range []string{"alice", "Admin", "Editor", "/.sso/logout"} {
			if !strings.Contains(page.Body.String(), want) {
				t.Errorf("the page does not say %q", want)
			}
		}

		// A signed-in person whom this app denies is told so.
		denied := b.at(l.siteOf(l.gateway(), appHost, func(o *gateway.AppOptions) { o.Rules = mappingFor("nobody") }))
		wantRefused(t, denied.fetch("/.sso/session"), refusal.AccessDenied)
		w = denied.open("/.sso/session")
		wantRefused(t, w, refusal.AccessDenied)
		if body := w.Body.String(); !strings.Contains(body, "alice") || !strings.Contains(body, "/.sso/logout") {
			t.Error("the page does not say who is signed in, or offers no way out")
		}
	})
}

func TestJWKS(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	w := b.fetch("/.sso/jwks.json")
	wantStatus(t, w, http.StatusOK)
	if h := w.Header(); h.Get("Content-Type") != "application/jwk-set+json" || h.Get("Cache-Control") != "public, max-age=300" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", h)
	}
	if got := w.Body.String(); got != `{"keys":[]}` {
		t.Errorf("body %q", got)
	}
	l.signer.setErr(errors.New("no key yet"))
	w = b.fetch("/.sso/jwks.json")
	wantRefused(t, w, refusal.StoreUnavailable)
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
