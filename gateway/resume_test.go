package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// An app in an error route checks the login of the request anew: if it has ended
// since, nobody is signed in.
func TestNestedAppOfAnError(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before, meanwhile bool // when the person signs out
		want              string
	}{
		"signed in":                       {want: "alice"},
		"signed out before the route":     {before: true},
		"signed out while the route runs": {meanwhile: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			g := l.gateway()
			s := l.siteOf(g, appHost)
			nested, err := g.NewApp(gateway.AppOptions{ID: "errors", BaseURL: "https://" + appHost, Rules: everyone})
			if err == nil {
				err = nested.Start(gateway.Hosts{})
			}
			mustDo(t, err)
			b := s.browser()
			b.signIn()
			signOut := func() { wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther) }
			var passed context.Context
			broken := errors.New("the app is down")
			s.next = func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
				passed = r.Context()
				return broken
			}
			r := b.request(http.MethodGet, "/page")
			if _, err := s.try(r, false); !errors.Is(err, broken) {
				t.Fatal(err)
			}
			if len(r.Header["Cookie"]) > 0 {
				t.Fatalf("the cookie is left: %v", r.Header)
			}
			if tc.before {
				signOut()
			}
			w, user, aborted := httptest.NewRecorder(), "", false
			func() {
				defer func() { aborted = recover() != nil }()
				err = gateway.Resume(passed, w, r, func(w http.ResponseWriter, r *http.Request) error {
					if tc.meanwhile {
						signOut()
					}
					return nested.ServeHTTP(w, r, gateway.Peer{Secure: true, Addr: clientAddr, Target: r.RequestURI},
						func(_ http.ResponseWriter, _ *http.Request, p *forward.Principal) error {
							user = p.Username
							return nil
						})
				})
			}()
			if refused := aborted || w.Code == http.StatusUnauthorized; err != nil || user != tc.want || refused != (tc.want == "") {
				t.Errorf("%d, %v, aborted: %t, the app is told of %q", w.Code, err, aborted, user)
			}
		})
	}
}
