package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// A sign-in goes on at the client, whatever the providers speak.
func TestOpenIDSignIn(t *testing.T) {
	t.Parallel()
	for name, newLab := range protocols {
		t.Run("E3 "+name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.openID()
			tokens := s.browser().tokens()
			claims := claimsOf(t, tokens["id_token"].(string))
			if claims["iss"] != "https://app.example/.sso/op" || claims["aud"] != "wiki" || claims["nonce"] != "n" || claims["sub"] == "" {
				t.Errorf("the ID token says %v", claims)
			}
			status, info := s.userinfo(tokens["access_token"])
			want := map[string]any{"preferred_username": "alice", "email": "alice@corp.example", "email_verified": true, "name": "Alice Example", "roles": []any{"Reader"}}
			for claim, value := range want {
				if status != http.StatusOK || !reflect.DeepEqual(info[claim], value) {
					t.Errorf("userinfo: status %d, %s is %v", status, claim, info[claim])
				}
			}
			if info["groups"] != nil {
				t.Errorf("groups that nobody asked for: %v", info["groups"])
			}
			ev := l.seen()
			if last := ev[len(ev)-1]; last.Type != gateway.EventGrant || last.Client != "wiki" || last.Username != "alice" {
				t.Errorf("events %+v", ev)
			}
		})
	}
}

func TestOpenIDChooser(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	other := newFakeIDP("https://other.example")
	s := l.openID(beside(named("other", other)))
	b := s.browser()
	_, query, _ := strings.Cut(b.open(wikiAsks()).Header().Get("Location"), "/.sso/login?")
	params, err := url.ParseQuery(query)
	mustDo(t, err)
	wantCode(t, b.follow(b.bring(other.answer(t, b.choose("other", params.Get("return")), "alice"))))
}

// Several tabs sign in at once: each comes to its client.
func TestOpenIDTabs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.openID().browser()
	one, two := b.begin(wikiAsks()), b.begin(wikiAsks("client_id", "vault"))
	wantCode(t, b.follow(b.bring(two)))
	wantCode(t, b.follow(b.bring(one)))
}

// bob may use the wiki alone. Nobody may use an app behind the site, which has no rules.
func TestOpenIDDenied(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.idp.person("carol", provider.Identity{Username: "carol"})
	onlyVault := func(o *gateway.AppOptions) { o.Clients = o.Clients[1:] }
	s := l.openID()
	b := s.browser()
	b.bring(b.beginAs(wikiAsks(), "bob"))
	wantCode(t, b.open(wikiAsks()))
	w := b.open(wikiAsks("client_id", "vault"))
	wantRefused(t, w, refusal.AccessDenied)
	if body := w.Body.String(); !strings.Contains(body, "bob") || !strings.Contains(body, "as=other") || !strings.Contains(body, url.QueryEscape(opAuthorize)) {
		t.Errorf("the page has no way on:\n%s", body)
	}
	wantError(t, b.open(wikiAsks("client_id", "vault", "prompt", "none")), "access_denied")
	if !strings.Contains(w.Body.String(), "<dd><code>vault</code></dd>") {
		t.Errorf("the page does not name the client:\n%s", w.Body)
	}
	wantRefused(t, b.fetch("/"), refusal.AccessDenied)
	wantRefused(t, b.open("/page"), refusal.AccessDenied)
	if s.reached() != 0 {
		t.Error("a request reached an app behind the site")
	}
	// Nobody's rules match: there is no login at all.
	strict := l.openIDOf(l.gateway(), onlyVault).browser()
	wantKept(t, l, 1, 1, 0)
	strict.bring(strict.beginAs(wikiAsks("client_id", "vault"), "carol"))
	w = strict.open("/.sso/refused")
	wantRefused(t, w, refusal.AccessDenied)
	if !strings.Contains(w.Body.String(), "<dd><code>vault</code></dd>") {
		t.Errorf("the page does not name the client:\n%s", w.Body)
	}
	ev := l.seen()
	if last := ev[len(ev)-1]; last.Client != "vault" || !strings.HasPrefix(last.Err.Error(), "client vault: the provider sent no groups") {
		t.Errorf("event %+v", last)
	}
	wantKept(t, l, 1, 1, 0)
}

// At a site of clients alone, each link of our pages leads somewhere: people see who they are
// at the front page, and a client's faulty request has no button that sends it again.
func TestOpenIDLinks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.openID()
	b := s.browser()
	b.bring(b.beginAs(wikiAsks(), "bob"))
	for _, from := range []string{"/.sso/logout", "/.sso/logged-out"} {
		if body := b.open(from).Body.String(); !strings.Contains(body, `href="/"`) {
			t.Fatalf("the page at %s does not lead to /:\n%s", from, body)
		}
	}
	w := b.open("/")
	wantRedirect(t, w, "https://app.example/.sso/session")
	if w = b.follow(w); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "bob@corp.example") || strings.Contains(w.Body.String(), "Reader") {
		t.Errorf("the session page: %d\n%s", w.Code, w.Body)
	}
	// There is no app to open.
	for _, page := range []string{"/.sso/session", wikiAsks("state", strings.Repeat("s", 9000)), "/.sso/nothing"} {
		if body := b.open(page).Body.String(); strings.Contains(body, `href="/"`) {
			t.Errorf("the page at %.40s leads to / and back:\n%s", page, body)
		}
	}
	for _, bad := range []string{wikiAsks("client_id", "Wiki"), opAuthorize + "?a=%zz"} {
		w := b.open(bad)
		wantRefused(t, w, refusal.BadRequest)
		if body := w.Body.String(); strings.Contains(body, "<a class=") || !strings.Contains(body, "tell its administrator") {
			t.Errorf("%s: the page has a button:\n%s", bad, body)
		}
	}
	// Nobody admits bob any more.
	strict := b.at(l.openIDOf(l.gateway(), func(o *gateway.AppOptions) { o.Clients = o.Clients[1:] }))
	wantRefused(t, strict.open("/.sso/session"), refusal.AccessDenied)
	ev := l.seen()
	if got := fmt.Sprint(ev[len(ev)-1].Err); got != "no client of the site's `op` admits the person; groups named by the provider: 1" {
		t.Errorf("the log says %s", got)
	}
	// The site has rules of its own, and an app.
	app := b.at(l.openIDOf(l.gateway(), func(o *gateway.AppOptions) { o.Rules = lets("User", "admins") }))
	wantRefused(t, app.open("/"), refusal.AccessDenied)
	if s.reached()+strict.reached()+app.reached() != 0 {
		t.Error("a request reached an app behind the site")
	}
}

// A request has one limit, whether the person is signed in or not.
func TestOpenIDRequestSize(t *testing.T) {
	t.Parallel()
	b := newLab(t).openID().browser()
	long, tooLong := strings.Repeat("s", 6<<10), strings.Repeat("s", 15000)
	for _, signedIn := range []bool{false, true} {
		if signedIn {
			b.tokens()
		}
		for _, more := range [][]string{nil, {"prompt", "login"}, {"prompt", "none"}, {"response_mode", "form_post"}, {"response_type", "token"}} {
			if w := b.open(wikiAsks(append(more, "state", long)...)); w.Code != http.StatusSeeOther && w.Code != http.StatusOK {
				t.Errorf("signed in %v, %v: %d", signedIn, more, w.Code)
			}
			wantRefused(t, b.open(wikiAsks(append(more, "state", tooLong)...)), refusal.TooLarge)
		}
	}
}

// A person whom the site's own rules let in goes on to its app.
func TestOpenIDBesideAnApp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.openIDOf(l.gateway(), func(o *gateway.AppOptions) { o.Rules = lets("User", "admins") })
	b := s.browser()
	b.signIn()
	wantStatus(t, b.open("/"), http.StatusOK)
	wantCode(t, b.open(wikiAsks()))
}

func TestOpenIDSilent(t *testing.T) {
	t.Parallel()
	s := newLab(t).openID()
	b := s.browser()
	frame := []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Site", "same-site"}
	silent := wikiAsks("prompt", "none")
	wantError(t, b.open(silent), "login_required")
	wantError(t, b.send(b.request(http.MethodGet, silent, frame...)), "login_required")
	wantRefused(t, b.send(b.request(http.MethodGet, wikiAsks(), frame...)), refusal.Unauthenticated)
	b.tokens()
	wantCode(t, b.send(b.request(http.MethodGet, silent, frame...)))
	wantError(t, b.open(wikiAsks("prompt", "none", "max_age", "0")), "login_required")
	mustDo(t, s.store.Delete(t.Context(), s.store.keys("login")...)) // the session is still in the cache
	wantError(t, b.open(silent), "login_required")
}

func TestOpenIDFormPost(t *testing.T) {
	t.Parallel()
	s := newLab(t).openID()
	b := s.browser()
	b.tokens()
	w := b.open(wikiAsks("response_mode", "form_post"))
	wantStatus(t, w, http.StatusOK)
	action, fields := formOf(t, w)
	if action != wikiCallback || fields.Get("code") == "" || fields.Get("state") != "st&te" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the form posts %v to %s, with %v", fields, action, w.Header())
	}
	if !strings.Contains(w.Body.String(), "wiki.example") {
		t.Errorf("the page does not say where to:\n%s", w.Body)
	}
	if status, _ := s.token(fields.Get("code"), wikiSecret); status != http.StatusOK {
		t.Errorf("its code is worth %d", status)
	}
}

// A client may post its request. Our cookies come with the query that it becomes.
func TestOpenIDPost(t *testing.T) {
	t.Parallel()
	s := newLab(t).openID()
	b := s.browser()
	b.tokens()
	post := func(path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Host = s.host
		for name, value := range map[string]string{
			"Origin": "https://wiki.example", "Sec-Fetch-Site": "cross-site", "Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded",
		} {
			r.Header.Set(name, value)
		}
		return b.serve(r, false)
	}
	_, query, _ := strings.Cut(wikiAsks(), "?")
	w := post(opAuthorize, query)
	wantRedirect(t, w, "https://app.example"+wikiAsks())
	wantCode(t, b.follow(w))
	wantRefused(t, post(wikiAsks(), query), refusal.BadRequest)
	wantRefused(t, post(opAuthorize, "a=%zz"), refusal.BadRequest)
	wantRefused(t, post(opAuthorize, "a="+strings.Repeat("a", 10<<10)), refusal.TooLarge)
	wantRefused(t, post(opAuthorize, ""), refusal.BadRequest)
}

// A request that is not a client's own is never redirected.
func TestOpenIDWrongClient(t *testing.T) {
	t.Parallel()
	b := newLab(t).openID().browser()
	for _, change := range [][]string{
		{"client_id", "other"},
		{"client_id", ""},
		{"client_id", "WIKI"},
		{"redirect_uri", "https://wiki.example/callback/"},
		{"redirect_uri", "https://evil.example/callback"},
		{"redirect_uri", ""},
		{"redirect_uri", "https://wiki.example/callback?x"},
	} {
		for range 2 { // before and after the sign-in
			w := b.open(wikiAsks(change...))
			if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
				t.Errorf("%q: %d to %q", change, w.Code, w.Header().Get("Location"))
			}
			b.follow(b.open(wikiAsks()))
		}
	}
	wantError(t, b.open(wikiAsks("response_type", "token")), "unsupported_response_type")
	wantRefused(t, b.open(wikiAsks("sso_filler", strings.Repeat("x", 9<<10), "prompt", "login")), refusal.TooLarge)
}

// Tokens end with the login at once, on another node too.
func TestOpenIDTokensEndWithTheLogin(t *testing.T) {
	t.Parallel()
	alice := session.AccountKey{Protocol: provider.OIDC, Issuer: "https://id.example", Subject: "sub-alice"}
	for name, end := range map[string]func(t *testing.T, b *browser){
		"logout":        func(_ *testing.T, b *browser) { b.post("/.sso/logout") },
		"block":         func(t *testing.T, b *browser) { mustDo(t, b.sessions.BlockAccount(t.Context(), alice)) },
		"all revoked":   func(t *testing.T, b *browser) { mustDo(t, b.sessions.RevokeAll(t.Context())) },
		"rules changed": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			here, there := l.openID(), newLabOn(t, l.store).openID()
			b := here.browser()
			tokens, code := b.tokens(), wantCode(t, b.open(wikiAsks()))
			for _, s := range []*site{here, there} {
				if status, _ := s.userinfo(tokens["access_token"]); status != http.StatusOK {
					t.Fatalf("control: %d", status)
				}
			}
			if end != nil {
				end(t, b)
			} else {
				there = l.openIDOf(l.gateway(), func(o *gateway.AppOptions) { o.Clients[0].Rules = lets("Reader", "nobody") })
			}
			if status, _ := there.userinfo(tokens["access_token"]); status < 400 || status >= 500 {
				t.Errorf("the access token is worth %d", status)
			}
			if status, _ := there.token(code, wikiSecret); status != http.StatusBadRequest {
				t.Errorf("the code is worth %d", status)
			}
		})
	}
}

// A client may be for the people of some providers. Others are refused there, and go on at
// the clients that are for them.
func TestOpenIDFromSomeProviders(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	other := newFakeIDP("https://other.example")
	only := func(names ...string) func(*gateway.AppOptions) {
		return func(o *gateway.AppOptions) {
			o.Clients = slices.Clone(o.Clients)
			o.Clients[1].Rules, o.Clients[1].From = mapping.Rules{}, []gateway.From{{Providers: names, Rules: lets("Owner", "*")}}
		}
	}
	s := l.openIDOf(l.gateway(beside(named("other", other))), only("corp"))
	b := s.browser()
	b.inAt(other, "other", "alice")
	wantCode(t, b.open(wikiAsks()))
	wantRefused(t, b.open(wikiAsks("client_id", "vault")), refusal.AccessDenied)
	b = s.browser()
	b.inAt(l.idp, "corp", "alice")
	got := backAt(t, b.open(wikiAsks("client_id", "vault")), wikiCallback)
	status, tokens := s.askAs("vault", wikiSecret, "/.sso/op/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "redirect_uri": {wikiCallback}, "code_verifier": {verifier},
	})
	if status != http.StatusOK {
		t.Fatalf("the client gets %v, then %d %v", got, status, tokens)
	}
	if roles := claimsOf(t, tokens["id_token"].(string))["roles"]; !reflect.DeepEqual(roles, []any{"Owner"}) {
		t.Errorf("the client is told the roles %v", roles)
	}
	for want, change := range map[string]func(*gateway.AppOptions){
		"provider other has no rule at the site or at a client": func(o *gateway.AppOptions) { only("corp")(o); o.Clients = o.Clients[1:] },
		`client "vault": provider other has no rule`: func(o *gateway.AppOptions) {
			only("corp")(o)
			o.Clients[1].From = append(o.Clients[1].From, gateway.From{Providers: []string{"other"}})
		},
	} {
		opts := gateway.AppOptions{}
		withClients(&opts)
		change(&opts)
		_, err := l.gateway(beside(named("other", other))).NewApp(opts)
		wantFaults(t, err, want)
	}
}
