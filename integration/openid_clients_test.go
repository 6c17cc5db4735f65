//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOpenIDClients drives the OpenID provider of a site by client libraries and apps that
// others wrote. The people sign in at the demo's provider.
func TestOpenIDClients(t *testing.T) {
	t.Parallel()
	w := newOpenIDWorld(t)
	for name, library := range openIDLibraries {
		t.Run("E3 "+name, func(t *testing.T) {
			t.Parallel()
			run := &openIDRun{w, openIDApp{t, library(t, certificates(t).caFile)}, w.browser(t, "alice")}
			run.signsIn()
			run.refusals()
			run.freshness()
			run.tokens()
			run.logout()
		})
	}
	t.Run("E3 mod_auth_openidc", func(t *testing.T) {
		t.Parallel()
		testApache(t, w)
	})
	t.Run("E3 Synapse", func(t *testing.T) {
		t.Parallel()
		testSynapse(t, w)
	})
}

// An openIDRun is what one library is put through by one person. The steps come in order.
type openIDRun struct {
	*openIDWorld
	openIDApp
	browser *openIDBrowser
}

// step is t.Run of one step.
func (r *openIDRun) step(name string, f func(r *openIDRun, t *testing.T)) {
	r.openIDApp.t.Run(name, func(t *testing.T) {
		before := r.browser.t
		r.browser.t = t
		defer func() { r.browser.t = before }()
		f(&openIDRun{r.openIDWorld, openIDApp{t, r.lib}, r.browser}, t)
	})
}

// tokensOf signs the person in to a client.
func (r *openIDRun) tokensOf(t *testing.T, params map[string]string) *openIDTokens {
	t.Helper()
	tokens, err := r.finish(r.browser.answer(r.begin(params)))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// signsIn signs alice in to each client. The provider asks her once.
func (r *openIDRun) signsIn() {
	subjects := map[string]any{}
	for _, client := range []string{"basic", "post", "es256", "rs256", "public"} {
		setup := r.setup(client)
		if _, isGo := r.lib.(*goOIDC); isGo && setup.Method == "private_key_jwt" {
			continue // golang.org/x/oauth2 has nothing for it
		}
		r.step("alice signs in by "+client, func(r *openIDRun, t *testing.T) {
			metadata := r.configure(setup)
			if metadata["issuer"] != r.issuer() || metadata["token_endpoint"] != r.issuer()+"/token" || metadata["authorization_response_iss_parameter_supported"] != true {
				t.Errorf("the metadata are %v", metadata)
			}
			params := map[string]string{}
			if client == "post" || client == "public" {
				params["response_mode"] = "form_post"
			}
			answer := r.browser.answer(r.begin(params))
			if (answer.Form != "") != (len(params) > 0) {
				t.Errorf("the answer comes as %+v", answer)
			}
			tokens, err := r.finish(answer)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{
				"iss": r.issuer(), "aud": client, "roles": []any{"user"}, "preferred_username": "alice", "name": "Alice Ångström",
				"email": "alice@example.com", "email_verified": true,
			}
			switch client {
			case "basic":
				want["roles"] = []any{"admin"}
			case "post":
				want["login"], want["mail"] = "alice", "alice@example.com"
			}
			expectClaims(t, "the ID token", tokens.Claims, want)
			for _, name := range []string{"sub", "sid"} {
				if text, _ := tokens.Claims[name].(string); text == "" {
					t.Errorf("the ID token has the %s %v", name, tokens.Claims[name])
				}
			}
			if at, _ := tokens.Claims["auth_time"].(float64); time.Since(time.Unix(int64(at), 0)).Abs() > 5*time.Minute {
				t.Errorf("auth_time is %v", tokens.Claims["auth_time"])
			}
			if !strings.EqualFold(tokens.TokenType, "Bearer") || tokens.ExpiresIn <= 0 || tokens.ExpiresIn > 300 || (tokens.RefreshToken != "") != (client == "basic" || client == "es256") {
				t.Errorf("the token response is %+v", tokens)
			}
			subjects[client] = tokens.Claims["sub"]
			info, err := r.userinfo(tokens.AccessToken, tokens.Claims["sub"])
			if err != nil {
				t.Fatal(err)
			}
			expectClaims(t, "userinfo", info, map[string]any{
				"sub": tokens.Claims["sub"], "preferred_username": "alice", "name": "Alice Ångström",
				"email": "alice@example.com", "email_verified": true, "roles": want["roles"],
			})
		})
	}
	if r.browser.asks != 1 || subjects["post"] != subjects["basic"] || subjects["public"] == subjects["basic"] {
		r.openIDApp.t.Errorf("the provider asked %d times; the subjects are %v", r.browser.asks, subjects)
	}
}

func expectClaims(t *testing.T, where string, got, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if fmt.Sprint(got[name]) != fmt.Sprint(value) {
			t.Errorf("%s has the %s %v, want %v", where, name, got[name], value)
		}
	}
}

// refusals are what the provider, or the library, does not accept.
func (r *openIDRun) refusals() {
	r.step("a wrong secret", func(r *openIDRun, t *testing.T) {
		setup := r.setup("basic")
		setup.Secret += "x"
		r.configure(setup)
		// x/oauth2 and openid-client leave the code to the challenge of a 401.
		if _, err := r.finish(r.browser.answer(r.begin(nil))); !refused(err, "invalid_client", "401") {
			t.Errorf("got %v", err)
		}
	})
	r.configure(r.setup("basic"))
	r.step("another verifier", func(r *openIDRun, t *testing.T) {
		answer := r.browser.answer(r.begin(nil))
		answer.Verifier = strings.Repeat("v", 43)
		if _, err := r.finish(answer); !refused(err, "invalid_grant") {
			t.Errorf("got %v", err)
		}
		answer.Verifier = ""
		if _, err := r.finish(answer); !refused(err, "invalid_grant") {
			t.Errorf("the code was not used up: %v", err)
		}
	})
	r.step("a code twice ends the tokens of the first", func(r *openIDRun, t *testing.T) {
		answer := r.browser.answer(r.begin(nil))
		tokens, err := r.finish(answer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.finish(answer); !refused(err, "invalid_grant") {
			t.Errorf("got %v", err)
		}
		r.expectOver(t, tokens)
	})
	r.step("another issuer's answer", func(r *openIDRun, t *testing.T) {
		answer := r.browser.answer(r.begin(nil))
		to := r.browser.url(answer.URL)
		query := to.Query()
		if query.Get("iss") != r.issuer() {
			t.Errorf("iss is %q", query.Get("iss"))
		}
		query.Set("iss", "https://evil.test")
		to.RawQuery = query.Encode()
		if _, err := r.finish(openIDAnswer{State: answer.State, URL: to.String()}); err == nil {
			t.Error("the library takes it")
		}
	})
	r.step("another redirect URI never redirects", func(r *openIDRun, t *testing.T) {
		location, _ := r.begin(map[string]string{"redirect_uri": openIDOrigin + "evil"})
		if p := r.browser.toApp(location); p.status != http.StatusBadRequest || p.header.Get("Location") != "" {
			t.Errorf("got %s", p)
		}
	})
	r.step("carol, whom the client refuses", func(r *openIDRun, t *testing.T) {
		carol := r.openIDWorld.browser(t, "carol")
		location, _ := r.begin(nil)
		if p := carol.toApp(location); p.status != http.StatusForbidden || p.header.Get("Location") != "" {
			t.Errorf("got %s", p)
		}
		if _, err := r.finish(carol.answer(r.begin(map[string]string{"prompt": "none"}))); !refused(err, "access_denied") {
			t.Errorf("got %v", err)
		}
	})
}

// expectOver expects that all tokens of a grant are over.
func (r *openIDRun) expectOver(t *testing.T, tokens *openIDTokens) {
	t.Helper()
	if _, err := r.userinfo(tokens.AccessToken, tokens.Claims["sub"]); !refused(err, "invalid_token", "401") {
		t.Errorf("userinfo: got %v", err)
	}
	if response, known := r.active(tokens.AccessToken); known && response["active"] != false {
		t.Errorf("the access token is %v", response)
	}
	if tokens.RefreshToken != "" {
		if _, err := r.refresh(tokens.RefreshToken); !refused(err, "invalid_grant") {
			t.Errorf("refreshing: got %v", err)
		}
	}
}

// freshness is what a client asks of the login itself.
func (r *openIDRun) freshness() {
	r.step("prompt=none", func(r *openIDRun, t *testing.T) {
		before := r.browser.asks
		if tokens := r.tokensOf(t, map[string]string{"prompt": "none"}); tokens.Claims["sub"] == "" || r.browser.asks != before {
			t.Errorf("the provider asked, or got %+v", tokens)
		}
		nobody := r.openIDWorld.browser(t, "alice")
		if _, err := r.finish(nobody.answer(r.begin(map[string]string{"prompt": "none"}))); !refused(err, "login_required") || nobody.asks != 0 {
			t.Errorf("got %v; the provider asked %d times", err, nobody.asks)
		}
	})
	for _, again := range []struct {
		name, value string
		asks        int
	}{{"max_age", "3600", 0}, {"max_age", "0", 1}, {"prompt", "login", 1}} {
		r.step(again.name+"="+again.value, func(r *openIDRun, t *testing.T) {
			before, now := r.browser.asks, time.Now()
			tokens := r.tokensOf(t, map[string]string{again.name: again.value})
			if r.browser.asks-before != again.asks {
				t.Errorf("the provider asked %d times", r.browser.asks-before)
			}
			if at, _ := tokens.Claims["auth_time"].(float64); again.asks > 0 && int64(at) < now.Unix() {
				t.Errorf("auth_time is %v, before %d", at, now.Unix())
			}
		})
	}
}

// tokens are renewed, looked at and revoked.
func (r *openIDRun) tokens() {
	r.step("refresh tokens work once", func(r *openIDRun, t *testing.T) {
		first := r.tokensOf(t, nil)
		second, err := r.refresh(first.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		if second.RefreshToken == "" || second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken {
			t.Errorf("nothing is new in %+v", second)
		}
		if info, err := r.userinfo(second.AccessToken, first.Claims["sub"]); err != nil || info["preferred_username"] != "alice" {
			t.Errorf("userinfo is %v, %v", info, err)
		}
		if _, err := r.refresh(first.RefreshToken); !refused(err, "invalid_grant") {
			t.Errorf("the first one again: %v", err)
		}
		second.Claims = first.Claims
		r.expectOver(t, second)
	})
	r.step("introspection and revocation", func(r *openIDRun, t *testing.T) {
		tokens := r.tokensOf(t, nil)
		response, known := r.active(tokens.AccessToken)
		if !known {
			return // the library can't
		}
		expectClaims(t, "introspection", response, map[string]any{
			"active": true, "client_id": "basic", "username": "alice", "sub": tokens.Claims["sub"], "iss": r.issuer(), "token_type": "Bearer",
		})
		if scope, _ := response["scope"].(string); !slices.Contains(strings.Fields(scope), "profile") {
			t.Errorf("its scope is %v", response["scope"])
		}
		if response, _ := r.active("nothing.a.nothing"); len(response) != 1 || response["active"] != false {
			t.Errorf("a token of nobody is %v", response)
		}
		var done any
		if err := r.lib.call("revoke", map[string]any{"token": tokens.AccessToken}, &done); err != nil {
			t.Fatal(err)
		}
		r.expectOver(t, tokens)
	})
}

// logout ends the login from the app. The app hears of it by the back channel, too.
func (r *openIDRun) logout() {
	r.step("logout by the app", func(r *openIDRun, t *testing.T) {
		tokens := r.tokensOf(t, nil)
		location := r.endSession(t, tokens)
		p := r.browser.toApp(location)
		if to := p.goesOn(); to != "" {
			p = r.browser.toApp(to) // by way of the provider
		}
		if got := p.header.Get("Location"); got != openIDBye+"?state=where-i-was" {
			t.Errorf("got %s, to %q\nby %s", p, got, strings.Join(r.browser.hops, " → "))
		}
		if p := r.browser.fetch(r.base + "/.sso/session"); p.status != http.StatusUnauthorized {
			t.Errorf("the session is still there: %s", p)
		}
		r.expectOver(t, tokens)
		var told map[string]any
		eventually(t, "the app is told", logoutPatience, func() bool {
			for _, token := range r.logouts.of("basic") {
				var claims map[string]any
				if err := r.lib.call("logout_token", map[string]any{"token": token}, &claims); err != nil {
					t.Fatalf("the library refuses the logout token: %v", err)
				}
				if claims["sid"] == tokens.Claims["sid"] {
					told = claims
				}
			}
			return told != nil
		})
		expectClaims(t, "the logout token", told, map[string]any{"sub": tokens.Claims["sub"], "iss": r.issuer(), "aud": "basic", "nonce": nil})
		if _, ok := told["events"].(map[string]any)["http://schemas.openid.net/event/backchannel-logout"].(map[string]any); !ok {
			t.Errorf("its events are %v", told["events"])
		}
	})
}

// endSession is the app's request to end the session.
func (r *openIDRun) endSession(t *testing.T, tokens *openIDTokens) string {
	t.Helper()
	params := map[string]string{"id_token_hint": tokens.IDToken, "post_logout_redirect_uri": openIDBye, "state": "where-i-was"}
	var end struct{ URL string }
	err := r.lib.call("end_session", map[string]any{"params": params}, &end)
	if err == nil && strings.HasPrefix(end.URL, r.issuer()+"/logout?") {
		return end.URL
	}
	if _, isGo := r.lib.(*goOIDC); !isGo {
		t.Fatalf("the library goes to %q, %v", end.URL, err)
	}
	to := r.browser.url(r.issuer() + "/logout") // what an app does that has no call for it
	query := to.Query()
	for name, value := range params {
		query.Set(name, value)
	}
	to.RawQuery = query.Encode()
	return to.String()
}
