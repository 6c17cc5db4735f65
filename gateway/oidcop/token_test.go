package oidcop_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// TestToken is the table of token requests with a good code: the error that the client gets,
// its status, and whether the code is used up.
func TestToken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for name, test := range map[string]struct {
		user, secret string
		change       []string
		want         string
		usedUp       bool
	}{
		"good, by header":          {user: "web", secret: secret, usedUp: true},
		"good, by form":            {change: []string{"client_id", "web", "client_secret", secret}, usedUp: true},
		"good, id in both":         {user: "web", secret: secret, change: []string{"client_id", "web"}, usedUp: true},
		"good, the second secret":  {user: "web", secret: "the next secret", usedUp: true},
		"good, unknown parameters": {user: "web", secret: secret, change: []string{"resource", "x"}, usedUp: true},
		"wrong secret":             {user: "web", secret: "wrong", want: "invalid_client"},
		"wrong secret by form":     {change: []string{"client_id", "web", "client_secret", "wrong"}, want: "invalid_client"},
		"no secret":                {user: "web", want: "invalid_client"},
		"no secret by form":        {change: []string{"client_id", "web"}, want: "invalid_client"},
		"unknown client":           {user: "x", secret: secret, want: "invalid_client"},
		"no client":                {want: "invalid_client"},
		"two ways at once":         {user: "web", secret: secret, change: []string{"client_secret", secret}, want: "invalid_request"},
		"two clients":              {user: "web", secret: secret, change: []string{"client_id", "spa"}, want: "invalid_client"},
		"secret of a public one":   {user: "spa", secret: secret, want: "invalid_client"},
		"secret in place of a key": {user: "jwt", secret: secret, want: "invalid_client"},
		"no grant type":            {user: "web", secret: secret, change: []string{"grant_type", "-"}, want: "invalid_request"},
		"other grant type":         {user: "web", secret: secret, change: []string{"grant_type", "password"}, want: "unsupported_grant_type"},
		"no code":                  {user: "web", secret: secret, change: []string{"code", "-"}, want: "invalid_request"},
		"unknown code":             {user: "web", secret: secret, change: []string{"code", "x"}, want: "invalid_grant"},
		"code of another client":   {user: "other", secret: "other's secret", want: "invalid_grant", usedUp: true},
		"another redirect URI":     {user: "web", secret: secret, change: []string{"redirect_uri", "https://app.example/"}, want: "invalid_grant", usedUp: true},
		"no redirect URI":          {user: "web", secret: secret, change: []string{"redirect_uri", "-"}, want: "invalid_grant", usedUp: true},
		"wrong verifier":           {user: "web", secret: secret, change: []string{"code_verifier", strings.Repeat("x", 43)}, want: "invalid_grant", usedUp: true},
		"no verifier":              {user: "web", secret: secret, change: []string{"code_verifier", "-"}, want: "invalid_grant", usedUp: true},
		"the challenge again":      {user: "web", secret: secret, change: []string{"code_verifier", challenge()}, want: "invalid_grant", usedUp: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := l.code()
			rec, failed := post(l.Provider, oidcop.TokenPath, test.user, test.secret, exchangeForm(code, test.change...))
			status := map[string]int{"": http.StatusOK, "invalid_client": http.StatusUnauthorized}[test.want]
			if status == 0 {
				status = http.StatusBadRequest
			}
			if got := read(rec); rec.Code != status || got.Error != test.want || (got.Access != "") != (test.want == "") {
				t.Errorf("%d %s, want %q", rec.Code, rec.Body, test.want)
			}
			if want := test.want == "invalid_client" || test.want == "invalid_grant"; failed != want {
				t.Errorf("counts as failed: %v, want %v", failed, want)
			}
			if (rec.Header().Get("WWW-Authenticate") != "") != (test.want == "invalid_client") || rec.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers are %v", rec.Header())
			}
			again, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(code))
			if usedUp := again.Code != http.StatusOK; usedUp != test.usedUp {
				t.Errorf("used up: %v, want %v", usedUp, test.usedUp)
			}
		})
	}
}

// TestBasic: id and secret should be form-urlencoded. Clients that don't do it are understood.
func TestBasic(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for value, want := range map[string]int{
		basic("web:" + url.QueryEscape(secret)):                     http.StatusOK,
		basic("web:" + secret):                                      http.StatusOK,
		basic("w%65b:" + secret):                                    http.StatusOK,
		"basic" + strings.TrimPrefix(basic("web:"+secret), "Basic"): http.StatusOK,
		basic("web:" + secret + " "):                                http.StatusUnauthorized,
		basic("web"):                                                http.StatusUnauthorized,
		basic(":"):                                                  http.StatusUnauthorized,
		basic("web:%zz"):                                            http.StatusUnauthorized,
		"Basic !":                                                   http.StatusUnauthorized,
		"Basic":                                                     http.StatusUnauthorized,
		"Bearer x":                                                  http.StatusUnauthorized,
	} {
		r := httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath, strings.NewReader(exchangeForm(l.code()).Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", value)
		if rec, _ := serve(l.Provider, r); rec.Code != want {
			t.Errorf("%q: %d %s", value, rec.Code, rec.Body)
		}
	}
	// A public client with an empty secret.
	r := httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath, strings.NewReader(exchangeForm(l.code("client_id", "spa")).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", basic("spa:"))
	if rec, _ := serve(l.Provider, r); rec.Code != http.StatusOK {
		t.Errorf("public client: %d %s", rec.Code, rec.Body)
	}
}

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

func TestTokenForm(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const form = "application/x-www-form-urlencoded"
	for name, test := range map[string]struct{ query, contentType, body string }{
		"in the query": {"?grant_type=authorization_code", form, ""},
		"JSON":         {"", "application/json", `{"grant_type":"authorization_code"}`},
		"twice":        {"", form, "grant_type=authorization_code&grant_type=x"},
		"65 kB":        {"", form, "x=" + strings.Repeat("x", 64<<10)},
		"malformed":    {"", form, "grant_type=%zz"},
	} {
		r := httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath+test.query, strings.NewReader(test.body))
		r.Header.Set("Content-Type", test.contentType)
		if rec, failed := serve(l.Provider, r); rec.Code != http.StatusBadRequest || read(rec).Error != "invalid_request" || failed {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}

// TestIDToken holds what an ID token says.
func TestIDToken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	got := l.tokens("web", "scope", "openid profile x")
	if got.Type != "Bearer" || got.ExpiresIn != 300 || got.Scope != "openid profile" || got.Refresh != "" {
		t.Errorf("responded %+v", got)
	}
	claims := claimsOf(t, got.ID)
	for name, want := range map[string]any{"iss": issuer, "sub": "sub-alice", "aud": "web", "nonce": "n", "acr": "mfa"} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	for _, name := range []string{"iat", "exp", "auth_time", "at_hash", "amr", "sid"} {
		if claims[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	if len(claims) != 11 {
		t.Errorf("claims are %v", claims)
	}
	told := claimsOf(t, l.tokens("told", "nonce", "-", "claims", `{"id_token":{"email":null,"email_verified":{"essential":true},"roles":null,"iss":{"value":"x"}}}`).ID)
	if told["policy"] != "tpl" || told["realm"] != "corp" || told["login"] != "alice" || told["roles"] == nil || told["groups"] == nil ||
		told["email"] != "alice@example.com" || told["email_verified"] != true || told["iss"] != issuer || told["nonce"] != nil {
		t.Errorf("claims are %v", told)
	}
	if a, b := told["sid"], claims["sid"]; a == b || a == "login:alice" {
		t.Errorf("sid is %v for both clients", a)
	}
}

func TestPairwise(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	got := l.tokens("pair")
	sub := claimsOf(t, got.ID)["sub"]
	if sub == "sub-alice" || sub == "" || claimsOf(t, l.tokens("pair").ID)["sub"] != sub {
		t.Errorf("sub is %v", sub)
	}
	rec, _ := userinfo(l.Provider, got.Access)
	if rec.Header().Get("Content-Type") != "application/jwt" {
		t.Fatalf("userinfo is %v", rec.Header())
	}
	if claims := claimsOf(t, rec.Body.String()); claims["sub"] != sub || claims["iss"] != issuer || claims["aud"] != "pair" {
		t.Errorf("userinfo is %v", claims)
	}
}

// TestLifetimes: a code lives for a minute, an access token for five, and none beyond the login.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		code := l.code()
		time.Sleep(time.Minute)
		if rec, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(code)); read(rec).Error != "invalid_grant" {
			t.Errorf("a code after a minute: %d %s", rec.Code, rec.Body)
		}
		got, long := l.tokens("web"), l.tokens("long")
		time.Sleep(5*time.Minute - time.Second)
		if rec, _ := userinfo(l.Provider, got.Access); rec.Code != http.StatusOK {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		time.Sleep(time.Second)
		for _, token := range []string{got.Access, long.Access} {
			if rec, failed := userinfo(l.Provider, token); rec.Code != http.StatusUnauthorized || !failed {
				t.Errorf("an access token after five minutes: %d %s", rec.Code, rec.Body)
			}
		}
		time.Sleep(8*time.Hour - 8*time.Minute)
		next, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(long.Refresh))
		if left := read(next).ExpiresIn; left < 60 || left > 120 {
			t.Errorf("an access token shortly before the login ends lives for %d seconds: %s", left, next.Body)
		}
		time.Sleep(2 * time.Minute)
		if rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(read(next).Refresh)); read(rec).Error != "invalid_grant" {
			t.Errorf("a refresh token beyond the login: %d %s", rec.Code, rec.Body)
		}
	})
}

// TestLoginOver: everything ends with the login, at once and on all nodes, and so does what a
// client's rules have come to refuse.
func TestLoginOver(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*lab){
		"ended":  func(l *lab) { l.people.end("login:alice") },
		"denied": func(l *lab) { l.people.deny("long", "login:alice") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			code, got, other := l.code("client_id", "long"), l.tokens("long"), l.node()
			end(l)
			for _, op := range []*oidcop.Provider{l.Provider, other} {
				if rec, _ := userinfo(op, got.Access); rec.Code != http.StatusUnauthorized {
					t.Errorf("userinfo: %d %s", rec.Code, rec.Body)
				}
				for _, form := range []url.Values{exchangeForm(code), refreshForm(got.Refresh)} {
					if rec, _ := post(op, oidcop.TokenPath, "long", secret, form); read(rec).Error != "invalid_grant" {
						t.Errorf("token: %d %s", rec.Code, rec.Body)
					}
				}
			}
		})
	}
}

// overStores runs a test over each kind of store.
func overStores(t *testing.T, run func(t *testing.T, st store.Store)) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		run(t, gatewaytest.NewMemStore())
	})
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		st, err := boltstore.Open(filepath.Join(t.TempDir(), "sso.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		run(t, st)
	})
}

// TestOnce: if a code or a refresh token is used several times at once, on any node, at most
// one use succeeds; after them all its tokens have ended.
func TestOnce(t *testing.T) {
	overStores(t, func(t *testing.T, st store.Store) {
		l := newLabOver(t, st)
		nodes := []*oidcop.Provider{l.Provider, l.node()}
		for name, form := range map[string]url.Values{
			"code": exchangeForm(l.code("client_id", "long")), "refresh token": refreshForm(l.tokens("long").Refresh),
		} {
			var mu sync.Mutex
			var good []tokens
			var done sync.WaitGroup
			for i := range 6 {
				done.Go(func() {
					rec, _ := post(nodes[i%2], oidcop.TokenPath, "long", secret, form)
					mu.Lock()
					defer mu.Unlock()
					if got := read(rec); rec.Code == http.StatusOK {
						good = append(good, got)
					} else if got.Error != "invalid_grant" {
						t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
					}
				})
			}
			done.Wait()
			if len(good) != 1 {
				t.Errorf("%s: %d uses succeed", name, len(good))
				continue
			}
			if rec, _ := userinfo(nodes[1], good[0].Access); rec.Code != http.StatusUnauthorized {
				t.Errorf("%s: its tokens are good after it was used twice: %d", name, rec.Code)
			}
		}
	})
}

// TestRefresh: rotation, and what an old token does.
func TestRefresh(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	first := l.tokens("long", "scope", "openid email profile")
	rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(first.Refresh))
	second := read(rec)
	if rec.Code != http.StatusOK || second.Refresh == first.Refresh || second.Access == first.Access || second.Scope != "email openid profile" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	old, fresh := claimsOf(t, first.ID), claimsOf(t, second.ID)
	for _, name := range []string{"iss", "sub", "aud", "auth_time", "sid"} {
		if old[name] != fresh[name] {
			t.Errorf("%s has changed from %v to %v", name, old[name], fresh[name])
		}
	}
	if fresh["nonce"] != nil {
		t.Error("the nonce is there again")
	}
	rec, _ = post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(second.Refresh, "scope", "openid email groups"))
	if read(rec).Error != "invalid_scope" {
		t.Errorf("a wider scope: %d %s", rec.Code, rec.Body)
	}
	rec, _ = post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(second.Refresh, "scope", "openid"))
	third := read(rec)
	if third.Scope != "openid" {
		t.Errorf("a narrower scope: %d %s", rec.Code, rec.Body)
	}
	if rec, _ := userinfo(l.Provider, third.Access); strings.Contains(rec.Body.String(), "email") {
		t.Errorf("userinfo is %s", rec.Body)
	}
	if rec, _ := userinfo(l.Provider, first.Access); !strings.Contains(rec.Body.String(), "alice@example.com") {
		t.Errorf("userinfo of the older token is %s", rec.Body)
	}
	for i := range 5 { // the oldest access tokens go
		rec, _ = post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(third.Refresh))
		if third = read(rec); rec.Code != http.StatusOK {
			t.Fatalf("refresh %d: %d %s", i, rec.Code, rec.Body)
		}
	}
	if rec, _ := userinfo(l.Provider, first.Access); rec.Code != http.StatusUnauthorized {
		t.Errorf("the oldest access token: %d", rec.Code)
	}
	// The very first refresh token, long after: all ends.
	if rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(first.Refresh)); read(rec).Error != "invalid_grant" {
		t.Errorf("reuse: %d %s", rec.Code, rec.Body)
	}
	if rec, _ := userinfo(l.Provider, third.Access); rec.Code != http.StatusUnauthorized {
		t.Errorf("an access token after reuse: %d", rec.Code)
	}
	if rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(third.Refresh)); read(rec).Error != "invalid_grant" {
		t.Errorf("the newest refresh token after reuse: %d %s", rec.Code, rec.Body)
	}
}

// TestFaults: whatever call of the store fails, nobody gets a token, and the code is as good as
// before or used up.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(l *lab) *httptest.ResponseRecorder{
		"token": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := post(l.Provider, oidcop.TokenPath, "told", secret, exchangeForm(l.code("client_id", "told")))
			return rec
		},
		"refresh": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(l.tokens("long").Refresh))
			return rec
		},
		"userinfo": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := userinfo(l.Provider, l.tokens("web").Access)
			return rec
		},
		"introspect": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := post(l.Provider, oidcop.IntrospectionPath, "web", secret, url.Values{"token": {l.tokens("web").Access}})
			return rec
		},
		"revoke": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := post(l.Provider, oidcop.RevocationPath, "web", secret, url.Values{"token": {l.tokens("web").Access}})
			return rec
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := gatewaytest.NewMemStore()
			l := newLabOver(t, st)
			calls := 0
			count := func(op gatewaytest.MemOp) error {
				if !op.Done {
					calls++
				}
				return nil
			}
			play(l) // from here on the store is prepared
			st.SetHook(count)
			control := play(l)
			if control.Code != http.StatusOK {
				t.Fatalf("control: %d %s", control.Code, control.Body)
			}
			for fail := range calls {
				calls = 0
				st.SetHook(func(op gatewaytest.MemOp) error {
					_ = count(op)
					if calls == fail+1 {
						return errDown
					}
					return nil
				})
				failed := &recorder{TB: t}
				rec := played(failed, l, play)
				if failed.fatal { // the fault hit what comes before
					continue
				}
				if rec.Code != http.StatusServiceUnavailable || strings.Contains(rec.Body.String(), "_token\"") || read(rec).Error != "temporarily_unavailable" || rec.Header().Get("Retry-After") == "" {
					t.Errorf("call %d fails: %d %s", fail, rec.Code, rec.Body)
				}
			}
		})
	}
	l := newLab(t)
	got, code := l.tokens("web"), l.code()
	l.people.down = errDown
	if rec, failed := userinfo(l.Provider, got.Access); rec.Code != http.StatusServiceUnavailable || failed {
		t.Errorf("people are not known: %d %s", rec.Code, rec.Body)
	}
	if rec, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(code)); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("people are not known: %d %s", rec.Code, rec.Body)
	}
	l.people.down = nil
	if rec, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(code)); rec.Code != http.StatusOK {
		t.Errorf("after the fault: %d %s", rec.Code, rec.Body)
	}
}

// A recorder is a test that notes a fatal error.
type recorder struct {
	testing.TB
	fatal bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Fatalf(string, ...any) { r.fatal = true; panic(r) }

func (r *recorder) Context() context.Context { return r.TB.Context() }

func played(r *recorder, l *lab, play func(*lab) *httptest.ResponseRecorder) (rec *httptest.ResponseRecorder) {
	defer func() {
		if p := recover(); p != nil && p != any(r) {
			panic(p)
		}
	}()
	own := *l
	own.t = r
	return play(&own)
}
