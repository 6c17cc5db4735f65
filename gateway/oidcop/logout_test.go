package oidcop_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const bye = "https://app.example/bye"

// TestLogout is the table of logout requests.
func TestLogout(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	id, other := l.tokens("web").ID, l.tokens("told").ID
	for name, test := range map[string]struct {
		params   url.Values
		code     refusal.Code
		ends     bool
		returnTo string
	}{
		"nothing":              {params: url.Values{}},
		"hint":                 {params: url.Values{"id_token_hint": {id}}, ends: true},
		"hint and return":      {params: url.Values{"id_token_hint": {id}, "post_logout_redirect_uri": {bye}, "state": {"a&b"}}, ends: true, returnTo: bye + "?state=a%26b"},
		"hint, no state":       {params: url.Values{"id_token_hint": {id}, "post_logout_redirect_uri": {bye}}, ends: true, returnTo: bye},
		"an empty state":       {params: url.Values{"id_token_hint": {id}, "post_logout_redirect_uri": {bye}, "state": {""}}, ends: true, returnTo: bye + "?state="},
		"hint and state":       {params: url.Values{"id_token_hint": {id}, "state": {"s"}}, ends: true},
		"state alone":          {params: url.Values{"state": {"s"}}},
		"a query added":        {params: url.Values{"id_token_hint": {id}, "post_logout_redirect_uri": {bye + "?foo=bar"}}, code: refusal.BadRequest},
		"hint and client":      {params: url.Values{"id_token_hint": {id}, "client_id": {"web"}}, ends: true},
		"client and return":    {params: url.Values{"client_id": {"web"}, "post_logout_redirect_uri": {bye}}, returnTo: bye},
		"return alone":         {params: url.Values{"post_logout_redirect_uri": {"https://evil.example/"}}},
		"another URI":          {params: url.Values{"id_token_hint": {id}, "post_logout_redirect_uri": {bye + "/"}}, code: refusal.BadRequest},
		"a redirect URI":       {params: url.Values{"client_id": {"web"}, "post_logout_redirect_uri": {callback}}, code: refusal.BadRequest},
		"another client's":     {params: url.Values{"client_id": {"told"}, "post_logout_redirect_uri": {bye}}, code: refusal.BadRequest},
		"another client":       {params: url.Values{"id_token_hint": {other}, "client_id": {"web"}}, code: refusal.BadRequest},
		"unknown client":       {params: url.Values{"client_id": {"x"}}, code: refusal.BadRequest},
		"no token":             {params: url.Values{"id_token_hint": {"x"}}, code: refusal.BadRequest},
		"a changed token":      {params: url.Values{"id_token_hint": {id[:len(id)-4] + "AAAA"}}, code: refusal.BadRequest},
		"a parameter twice":    {params: url.Values{"client_id": {"web", "web"}}, code: refusal.BadRequest},
		"another login's hint": {params: url.Values{"id_token_hint": {other}}, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := l.Logout(t.Context(), test.params)
			if test.code != "" || err != nil {
				if err == nil || refusal.CodeOf(err) != test.code {
					t.Errorf("%v, want %s", err, test.code)
				}
				return
			}
			if got.Ends("login:alice") != test.ends || got.Ends("login:bob") || got.ReturnTo() != test.returnTo {
				t.Errorf("ends %v, returns to %q", got.Ends("login:alice"), got.ReturnTo())
			}
		})
	}
}

// TestHint: an ID token of an earlier sign-in says who is wanted.
func TestHint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		got := l.tokens("web")
		time.Sleep(time.Hour) // it has expired
		nobody, err := l.keys.SignAs(t.Context(), "JWT", []byte(`{"iss":"`+issuer+`","aud":"web","at_hash":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		for name, test := range map[string]struct {
			login, hint string
			change      []string
			want        string
		}{
			"the same":         {"login:alice", got.ID, nil, ""},
			"another person":   {"login:bob", got.ID, nil, "login_required"},
			"another client":   {"login:alice", got.ID, []string{"client_id", "spa"}, "invalid_request"},
			"the same sub too": {"login:alice", got.ID, []string{"claims", `{"id_token":{"sub":{"value":"sub-alice"}}}`}, ""},
			"another sub too":  {"login:alice", got.ID, []string{"claims", `{"id_token":{"sub":{"value":"sub-bob"}}}`}, "invalid_request"},
			"an access token":  {"login:alice", got.Access, nil, "invalid_request"},
			"signed userinfo":  {"login:alice", signedUserInfo(l), []string{"client_id", "pair"}, "invalid_request"},
			"of nobody":        {"login:alice", nobody, nil, "invalid_request"},
			"a changed header": {"login:alice", "e30" + got.ID[strings.IndexByte(got.ID, '.'):], nil, "invalid_request"},
		} {
			answer, refused := authorize(t.Context(), l.Provider, test.login, request(append(test.change, "id_token_hint", test.hint)...))
			if refused != "" || answer.Get("error") != test.want {
				t.Errorf("%s: %v %s", name, answer, refused)
			}
		}
	})
}

func signedUserInfo(l *lab) string {
	rec, _ := userinfo(l.Provider, l.tokens("pair").Access)
	return rec.Body.String()
}

// TestStale: prompt=login and max_age want a new login, once.
func TestStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		began := time.Now()
		time.Sleep(10 * time.Minute)
		for name, test := range map[string]struct {
			change []string
			want   bool
		}{
			"nothing said":          {nil, false},
			"prompt=login":          {[]string{"prompt", "login"}, true},
			"prompt=select_account": {[]string{"prompt", "select_account"}, true},
			"prompt=consent":        {[]string{"prompt", "consent"}, false},
			"max_age=0":             {[]string{"max_age", "0"}, true},
			"max_age of 9 minutes":  {[]string{"max_age", "540"}, true},
			"max_age of 11 minutes": {[]string{"max_age", "660"}, false},
		} {
			a, err := l.Authorization(t.Context(), request(test.change...))
			if err != nil || a.Stale(began, began) != test.want || !a.Asked.IsZero() {
				t.Errorf("%s: %v, want %v: %v", name, a.Stale(began, began), test.want, err)
				continue
			}
			params, err := a.Again(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			again, err := l.node().Authorization(t.Context(), params)
			if err != nil || again.Asked.IsZero() || again.Refused() != nil {
				t.Fatalf("%s, again: %v %+v", name, err, again)
			}
			if again.Stale(began, began) != test.want || again.Stale(again.Asked, began) {
				t.Errorf("%s: after the sign-in %v, without one %v", name, again.Stale(again.Asked, began), again.Stale(began, began))
			}
			// The note is of this request alone, and of no other time.
			note := params.Get("sso_asked")
			other, err := l.Authorization(t.Context(), set(params, "nonce", "other"))
			if err != nil || !other.Asked.IsZero() {
				t.Errorf("%s: the note counts for another request: %v", name, err)
			}
			forged, err := l.Authorization(t.Context(), request(append(test.change, "sso_asked", "946684800"+note[strings.IndexByte(note, '.'):])...))
			if err != nil || !forged.Asked.IsZero() {
				t.Errorf("%s: the note counts for another time: %v", name, err)
			}
		}
		a, err := l.Authorization(t.Context(), request("max_age", "0"))
		if err != nil || !a.Stale(time.Time{}, time.Now()) {
			t.Errorf("max_age=0 in the moment of the login: not stale, %v", err)
		}
		params, err := a.Again(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Minute)
		if a, err = l.Authorization(t.Context(), params); err != nil || !a.Asked.IsZero() || !a.Stale(time.Now(), time.Now()) {
			t.Errorf("the note counts after 15 minutes: %+v %v", a, err)
		}
	})
}

// An app is a client that hears logout tokens.
type app struct {
	mu     sync.Mutex
	tokens []string
	status int
}

func (a *app) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	a.mu.Lock()
	defer a.mu.Unlock()
	rec := httptest.NewRecorder()
	if r.URL.String() != "https://told.example/logout" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != formType {
		a.status = http.StatusTeapot
	}
	rec.WriteHeader(a.status)
	a.tokens = append(a.tokens, form.Get("logout_token"))
	return rec.Result(), nil
}

func (a *app) heard() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tokens
}

func (a *app) answer(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = status
}

// TestBackchannelLogout: when a login ends, a client that asks for it hears it once, from one
// of the nodes, whatever they see at the same time.
func TestBackchannelLogout(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*lab, []*oidcop.Provider){
		"logout": func(l *lab, nodes []*oidcop.Provider) {
			l.people.end("login:alice")
			for _, op := range nodes {
				op.LoginsChanged("login:alice")
			}
		},
		"revoked with others": func(l *lab, nodes []*oidcop.Provider) {
			l.people.end("login:alice")
			for _, op := range nodes {
				op.LoginsChanged("")
			}
		},
		"more announcements than fit": func(l *lab, _ []*oidcop.Provider) {
			op, before := l.node(), l.people.reads()
			change := func() {
				for range 3000 {
					op.LoginsChanged("login:bob")
				}
			}
			change()
			go op.Run(l.t.Context())
			time.Sleep(time.Second)
			if n := l.people.reads() - before; n > 2 {
				l.t.Errorf("one login was read %d times", n)
			}
			change()
			l.people.end("login:alice")
			op.LoginsChanged("login:alice")
		},
		"idle": func(l *lab, _ []*oidcop.Provider) { // nobody announces it
			l.people.end("login:alice")
			time.Sleep(6 * time.Minute)
		},
		"after a longer lifetime": func(l *lab, nodes []*oidcop.Provider) {
			l.people.prolong("login:alice", 12*time.Hour)
			time.Sleep(16 * time.Hour)
			if got := len(l.apps.(*app).heard()); got != 0 {
				l.t.Errorf("the login is not over, and the client heard %d times", got)
			}
			l.people.end("login:alice")
			nodes[0].LoginsChanged("login:alice")
		},
		"denied, then expired": func(l *lab, nodes []*oidcop.Provider) {
			l.people.deny("told", "login:alice")
			l.expires(nodes)
		},
		"unreadable, then expired": func(l *lab, nodes []*oidcop.Provider) {
			l.people.fail(vault.ErrRecord)
			l.expires(nodes)
		},
		"expired": func(*lab, []*oidcop.Provider) { time.Sleep(8*time.Hour + 6*time.Minute) },
		"while nobody ran": func(l *lab, _ []*oidcop.Provider) {
			l.people.end("login:alice")
			go l.node().Run(l.t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				st := gatewaytest.NewMemStore()
				l, a := newLabOver(t, st), &app{status: http.StatusOK}
				l.apps = a
				nodes := []*oidcop.Provider{l.Provider, l.node()}
				for _, op := range nodes {
					go op.Run(t.Context())
				}
				got := l.tokens("told")
				l.tokens("told") // a second sign-in with the same login
				l.tokens("web")
				time.Sleep(time.Minute)
				for _, op := range nodes {
					op.LoginsChanged("login:alice")
					op.LoginsChanged("")
				}
				time.Sleep(time.Minute)
				if heard := a.heard(); len(heard) != 0 {
					t.Fatalf("the login is not over, and the client heard %d times", len(heard))
				}
				end(l, nodes)
				time.Sleep(time.Second)
				heard := a.heard()
				if len(heard) != 1 {
					t.Fatalf("the client heard %d times", len(heard))
				}
				claims, id := claimsOf(t, heard[0]), claimsOf(t, got.ID)
				events, _ := claims["events"].(map[string]any)
				if claims["iss"] != issuer || claims["aud"] != "told" || claims["sub"] != "sub-alice" || claims["sid"] != id["sid"] || claims["nonce"] != nil ||
					claims["jti"] == nil || claims["exp"].(float64)-claims["iat"].(float64) != 120 || events["http://schemas.openid.net/event/backchannel-logout"] == nil {
					t.Errorf("the logout token says %v", claims)
				}
				if header := claimsOf(t, "."+heard[0][:strings.LastIndexByte(heard[0], '.')]); header["typ"] != "logout+jwt" {
					t.Errorf("its header is %v", header)
				}
				time.Sleep(24 * time.Hour)
				if faults := l.logs.FilterMessage("logout tokens wait for the store").Len(); faults != 0 {
					t.Errorf("%d faults are logged", faults)
				}
				if heard := a.heard(); len(heard) != 1 {
					t.Errorf("the client heard %d times in the end", len(heard))
				}
				if dump := st.Dump(); bytes.Contains(dump, []byte("login:alice")) {
					t.Errorf("something is left: %s", dump)
				}
			})
		})
	}
}

// expires announces a login that has not ended, and waits until it has expired.
func (l *lab) expires(nodes []*oidcop.Provider) {
	nodes[0].LoginsChanged("login:alice")
	time.Sleep(time.Second)
	if got := len(l.apps.(*app).heard()); got != 0 {
		l.t.Errorf("the login is not over, and the client heard %d times", got)
	}
	time.Sleep(8*time.Hour + 6*time.Minute)
}

// TestBackchannelRetries: a client that is down hears it later, a bounded number of times.
func TestBackchannelRetries(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int{http.StatusOK: 2, http.StatusInternalServerError: 4} {
		synctest.Test(t, func(t *testing.T) {
			st := gatewaytest.NewMemStore()
			l, a := newLabOver(t, st), &app{status: http.StatusServiceUnavailable}
			l.apps = a
			l.tokens("told")
			for _, op := range []*oidcop.Provider{l.Provider, l.node()} {
				go op.Run(t.Context())
			}
			l.people.end("login:alice")
			l.LoginsChanged("login:alice")
			time.Sleep(time.Second)
			a.answer(status)
			time.Sleep(20 * time.Second)
			if got := len(a.heard()); got != 1 {
				t.Errorf("%d attempts at once", got)
			}
			time.Sleep(6 * time.Hour)
			if got := len(a.heard()); got != want {
				t.Errorf("%d attempts in all, want %d", got, want)
			}
			if bytes.Contains(st.Dump(), []byte("login:alice")) {
				t.Error("something is left")
			}
		})
	}
}

// TestBackchannelFaults: while the store is down, nothing is lost.
func TestBackchannelFaults(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(*lab, *gatewaytest.MemStore, error){
		"store": func(_ *lab, st *gatewaytest.MemStore, err error) {
			st.SetHook(func(gatewaytest.MemOp) error { return err })
		},
		"people": func(l *lab, _ *gatewaytest.MemStore, err error) { l.people.fail(err) },
	} {
		synctest.Test(t, func(t *testing.T) {
			st := gatewaytest.NewMemStore()
			l, a := newLabOver(t, st), &app{status: http.StatusNoContent}
			l.apps = a
			l.tokens("told")
			go l.Run(t.Context())
			synctest.Wait()
			down(l, st, errDown)
			l.people.end("login:alice")
			l.LoginsChanged("login:alice")
			time.Sleep(8*time.Hour + time.Minute + 7*time.Second) // longer than the login, and between two ticks
			down(l, st, nil)
			l.LoginsChanged("login:bob") // no fault of this one makes up for those before
			time.Sleep(time.Minute)
			if got := len(a.heard()); got != 1 {
				t.Errorf("%s: heard %d times", name, got)
			}
			if l.logs.FilterMessage("logout tokens wait for the store").Len() == 0 {
				t.Errorf("%s: nothing is logged", name)
			}
		})
	}
}
