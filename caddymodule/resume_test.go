package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// resumeSite has an app that is down, and an error route with another one behind a
// nested sso.
const resumeSite = `ORIGIN {
	PROVIDER
		role User TOP
		public /open/*
		MORE
	}
	@number expression ` + "`{http.request.header.X-Number} != '' && int({http.request.header.X-Number}) > 3`" + `
	header @number X-Number yes
	respond /whoami "{http.auth.user.id}"
	reverse_proxy DOWN
	handle_errors {
		route {
			rewrite * /errors/{err.status_code}
			PROVIDER
				role Reader NESTED
				nested
				base_url ORIGIN
				app errors
				OTHER
			}
			reverse_proxy APP
		}
	}
}
`

// TestNestedInErrorRoutes holds that an sso in an error route knows the person whom
// the one at the top knows, although that has taken the cookie, and lets them in by rules
// of its own.
func TestNestedInErrorRoutes(t *testing.T) {
	app := newUpstream(t)
	w := newWorld(t)
	verifier, err := verify.New(verify.Config{Issuer: w.origin(), Audience: "errors", JWKSURL: w.origin() + "/.sso/jwks.json"})
	if err != nil {
		t.Fatal(err)
	}
	load := func(pairs ...string) {
		t.Helper()
		down := strings.NewReplacer("DOWN", fmt.Sprintf("127.0.0.1:%d", gatewaytest.FreePort()), "APP", app.addr())
		site := strings.NewReplacer(append(pairs, "TOP", "team", "NESTED", "team", "MORE", "", "OTHER", "")...).Replace(resumeSite)
		w.mustLoad(w.global("secret 0123456789abcdef0123456789abcdef") + down.Replace(site))
	}
	// ask sends a request as a script does, and wants what the error route's app is
	// told of the user; "" if it is not reached.
	ask := func(b *browser, path, number string, status int, user string) {
		t.Helper()
		before := app.last()
		r := mustRequest(t, w.origin()+path)
		r.Header.Set("X-Number", number)
		r.Header.Set("Remote-User", "mallory")
		got, body := b.do(r)
		last := app.last()
		switch {
		case got != status:
			t.Errorf("%s: %d %s, want %d", path, got, body, status)
		case user == "":
			if last != before {
				t.Errorf("%s: the app is reached by %v", path, last.Header)
			}
			return
		case last == before:
			t.Errorf("%s: the app is not reached", path)
			return
		}
		id, err := verifier.Verify(t.Context(), last.Header.Get(verify.DefaultHeader))
		if err != nil || id.Username != user || len(id.Roles) != 1 || id.Roles[0] != "Reader" {
			t.Errorf("%s: the assertion is of %+v, %v", path, id, err)
		}
		if last.Header.Get("Remote-User") != user || last.Header.Get("Cookie") != "" || !strings.HasPrefix(last.URL.Path, "/errors/") {
			t.Errorf("%s: the app got %s %v", path, last.URL, last.Header)
		}
	}
	load("TOP", "team others")
	bob, alice, nobody := w.signInAs("bob", "others"), w.signInAs("alice", "team"), newBrowser(t)

	ask(alice, "/page", "", http.StatusOK, "alice")            // the app is down
	ask(alice, "/page", "no number", http.StatusOK, "alice")   // an error before the first sso
	ask(alice, "/open/page", "", http.StatusOK, "alice")       // on a public path
	ask(bob, "/page", "", http.StatusForbidden, "")            // the nested rules know him not
	ask(bob, "/open/page", "", http.StatusForbidden, "")       //
	ask(nobody, "/open/page", "", http.StatusUnauthorized, "") // nobody is signed in
	ask(nobody, "/open/page", "no number", http.StatusUnauthorized, "")
	follow := nobody.CheckRedirect
	nobody.CheckRedirect = func(r *http.Request, _ []*http.Request) error { return http.ErrUseLastResponse }
	r := mustRequest(t, w.origin()+"/open/page?x=1")
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	resp, err := nobody.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != w.origin()+"/.sso/login?return=%2Fopen%2Fpage%3Fx%3D1" {
		t.Errorf("a visitor is answered %d and sent to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	nobody.CheckRedirect = follow
	if status, body := nobody.get(resp.Header.Get("Location")); status != http.StatusOK || body != "from the app" {
		t.Errorf("coming back, a visitor is answered %d %s", status, body)
	} else if last := nobody.seen[len(nobody.seen)-1]; last != w.origin()+"/open/page?x=1" {
		t.Errorf("a visitor comes back to %s", last)
	}

	// The first sso hands its refusals over.
	load("MORE", "errors caddy", "NESTED", "others")
	ask(bob, "/page", "", http.StatusOK, "bob")
	ask(alice, "/page", "", http.StatusForbidden, "")

	// A login of another definition does not count.
	load("OTHER", "name other\n\t\t\t\tusername_claim email")
	ask(alice, "/page", "", http.StatusUnauthorized, "")
	ask(alice, "/open/page", "", http.StatusUnauthorized, "")

	// A login that is over counts nowhere.
	load("MORE", "errors caddy")
	ended := newBrowser(t)
	ended.Jar.SetCookies(mustRequest(t, w.origin()).URL, alice.Jar.Cookies(mustRequest(t, w.origin()).URL))
	ask(ended, "/page", "", http.StatusOK, "alice")
	w.logOut(alice)
	for _, path := range []string{"/page", "/open/page"} {
		ask(ended, path, "", http.StatusUnauthorized, "")
		ask(ended, path, "no number", http.StatusUnauthorized, "")
	}
}
