package oidcop_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
)

var errDown = errors.New("down")

// into lets a client reach a provider without a network.
type into struct{ op *oidcop.Provider }

func (i into) RoundTrip(r *http.Request) (*http.Response, error) {
	server := httptest.NewRequest(r.Method, r.URL.String(), r.Body).WithContext(context.WithoutCancel(r.Context()))
	server.Header = r.Header
	rec, _ := serve(i.op, server)
	return rec.Result(), nil
}

// TestSignIn signs in with our own relying party, the strictest client there is at hand.
func TestSignIn(t *testing.T) {
	t.Parallel()
	for _, client := range []struct{ id, secret, method string }{
		{"web", secret, "client_secret_basic"},
		{"web", secret, "client_secret_post"},
		{"web", "the next secret", "client_secret_basic"},
		{"spa", "", "none"},
	} {
		t.Run(client.id+" by "+client.method+" "+client.secret, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			rp, err := oidcrp.New(oidcrp.Config{
				Issuer: issuer, ClientID: client.id, ClientSecret: oidcrp.Secret(client.secret), TokenEndpointAuthMethod: client.method,
			}, oidcrp.Deps{Transport: into{l.Provider}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := signIn(t, l.Provider, rp)
			if err != nil {
				t.Fatal(err)
			}
			id := got.Identity
			if got.Subject != "sub-alice" || id.Username != "alice" || id.DisplayName != "Å alice" || id.Email != "alice@example.com" || !id.EmailVerified {
				t.Errorf("signed in as %q %+v", got.Subject, id)
			}
		})
	}
}

// TestRS256 signs in with keys that all nodes share.
func TestRS256(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	op, err := oidcop.New(oidcop.Options{People: l.people, Clients: []oidcop.Client{{ID: "web", Secrets: []string{secret}, RedirectURIs: []string{callback}}}})
	if err != nil {
		t.Fatal(err)
	}
	v := newVault(t, l.store, "s")
	keys := signing.NewSet(signing.OpenIDRS256, v, func(context.Context) error { return nil }, zap.NewNop())
	if err := keys.Make(t.Context()); err != nil { // takes longer than a client waits, on a busy machine
		t.Fatal(err)
	}
	op.Bind(oidcop.Backing{Issuer: issuer, Records: v, Signers: map[oidcop.Algorithm]oidcop.Signer{oidcop.RS256: keys}})
	rp, err := oidcrp.New(oidcrp.Config{Issuer: issuer, ClientID: "web", ClientSecret: secret}, oidcrp.Deps{Transport: into{op}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := signIn(t, op, rp); err != nil || got.Subject != "sub-alice" {
		t.Errorf("signed in as %+v: %v", got, err)
	}
}

// signIn signs alice in at a relying party.
func signIn(t *testing.T, op *oidcop.Provider, rp *oidcrp.Provider) (*provider.Answer, error) {
	t.Helper()
	begun, err := rp.Begin(t.Context(), provider.BeginRequest{State: "st", CallbackURL: callback})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := url.Parse(begun.Location)
	if err != nil {
		t.Fatal(err)
	}
	params, refused := authorize(t.Context(), op, "login:alice", asked.Query())
	if refused != "" || params.Get("from") != "op" {
		t.Fatalf("refused by %q, or the redirect URI's own query is lost: %v", refused, params)
	}
	params.Del("from")
	done := provider.CompleteRequest{Params: params, Private: begun.Private, CallbackURL: callback}
	got, err := rp.Complete(t.Context(), done)
	if _, again := rp.Complete(t.Context(), done); refusal.CodeOf(again) != refusal.OIDCCodeRejected {
		t.Errorf("the code a second time: %v", again)
	}
	return got, err
}

// BenchmarkSignIn is an authorization with the exchange of its code.
func BenchmarkSignIn(b *testing.B) {
	l := newLab(b)
	for i := 0; b.Loop(); i++ {
		l.people.logins["login:"+strconv.Itoa(i)] = l.people.logins["login:alice"]
		answer, _ := authorize(b.Context(), l.Provider, "login:"+strconv.Itoa(i), request())
		if rec, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(answer.Get("code"))); rec.Code != http.StatusOK {
			b.Fatal(rec.Body)
		}
	}
}

// TestAuthorization is the table of requests: what the client, or the person, gets.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	noPKCE := []string{"client_id", "legacy", "code_challenge", "-", "code_challenge_method", "-"}
	for name, test := range map[string]struct {
		change []string
		want   string // the error, or ""
	}{
		"good":                   {},
		"by form_post":           {change: []string{"response_mode", "form_post"}},
		"by query, said":         {change: []string{"response_mode", "query"}},
		"no state":               {change: []string{"state", "-"}},
		"an empty state":         {change: []string{"state", ""}},
		"no nonce":               {change: []string{"nonce", "-"}},
		"unknown parameters":     {change: []string{"ui_locales", "de", "display", "page", "x", "y"}},
		"unknown scopes":         {change: []string{"scope", "openid x offline_access"}},
		"without PKCE, if so":    {change: noPKCE},
		"prompt=consent":         {change: []string{"prompt", "consent"}},
		"acr that is there":      {change: []string{"claims", `{"id_token":{"acr":{"essential":true,"values":["mfa"]}}}`}},
		"acr that is voluntary":  {change: []string{"claims", `{"id_token":{"acr":{"values":["hw"]}}}`}},
		"acr that is wished":     {change: []string{"acr_values", "hw"}},
		"sub that is there":      {change: []string{"claims", `{"id_token":{"sub":{"value":"sub-alice"}}}`}},
		"sub that is essential":  {change: []string{"claims", `{"id_token":{"sub":{"essential":true}}}`}},
		"sub in both":            {change: []string{"claims", `{"id_token":{"sub":{"value":"sub-alice"}},"userinfo":{"sub":{"value":"sub-alice"}}}`}},
		"sub that is a number":   {[]string{"claims", `{"id_token":{"sub":{"value":1}}}`}, "invalid_request"},
		"claims unknown":         {change: []string{"claims", `{"userinfo":{"x":null},"other":{}}`}},
		"loopback with a port":   {change: []string{"client_id", "native", "redirect_uri", "http://127.0.0.1:49152/cb"}},
		"loopback without one":   {change: []string{"client_id", "native", "redirect_uri", "http://127.0.0.1/cb"}},
		"loopback by IPv6":       {change: []string{"client_id", "native", "redirect_uri", "http://[::1]:1/cb"}},
		"an app's own scheme":    {change: []string{"client_id", "native", "redirect_uri", "com.example.app:/cb"}},
		"no response type":       {[]string{"response_type", "-"}, "invalid_request"},
		"implicit flow":          {[]string{"response_type", "id_token token"}, "unsupported_response_type"},
		"hybrid flow":            {[]string{"response_type", "code id_token"}, "unsupported_response_type"},
		"answer in a fragment":   {[]string{"response_mode", "fragment"}, "invalid_request"},
		"answer by JARM":         {[]string{"response_mode", "jwt"}, "invalid_request"},
		"form with broken UTF-8": {[]string{"response_mode", "form_post", "state", "\xff"}, "invalid_request"},
		"form with a line break": {[]string{"response_mode", "form_post", "state", "a\nb"}, "invalid_request"},
		"form to an app's own":   {[]string{"response_mode", "form_post", "client_id", "native", "redirect_uri", "com.example.app:/cb"}, "invalid_request"},
		"prompt of two":          {change: []string{"prompt", "login consent"}},
		"request object":         {[]string{"request", "e30.e30."}, "request_not_supported"},
		"request object by URL":  {[]string{"request_uri", "https://evil.example/"}, "request_uri_not_supported"},
		"registration":           {[]string{"registration", "{}"}, "registration_not_supported"},
		"no scope":               {[]string{"scope", "-"}, "invalid_scope"},
		"no openid":              {[]string{"scope", "email"}, "invalid_scope"},
		"openid within a word":   {[]string{"scope", "openidx"}, "invalid_scope"},
		"huge scope":             {[]string{"scope", "openid " + strings.Repeat("x", 1024)}, "invalid_scope"},
		"huge nonce":             {[]string{"nonce", strings.Repeat("n", 1025)}, "invalid_request"},
		"scope of 1024 bytes":    {change: []string{"scope", "openid " + strings.Repeat("x", 1017)}},
		"nonce of 1024 bytes":    {change: []string{"nonce", strings.Repeat("n", 1024)}},
		"no PKCE":                {[]string{"code_challenge", "-", "code_challenge_method", "-"}, "invalid_request"},
		"no challenge":           {[]string{"code_challenge", "-"}, "invalid_request"},
		"plain PKCE":             {[]string{"code_challenge_method", "plain"}, "invalid_request"},
		"PKCE of no method":      {[]string{"code_challenge_method", "-"}, "invalid_request"},
		"short challenge":        {[]string{"code_challenge", "abc"}, "invalid_request"},
		"challenge with padding": {[]string{"code_challenge", challenge() + "="}, "invalid_request"},
		"prompt=none login":      {[]string{"prompt", "none login"}, "invalid_request"},
		"prompt unknown":         {[]string{"prompt", "create"}, "invalid_request"},
		"max_age no number":      {[]string{"max_age", "-1"}, "invalid_request"},
		"max_age huge":           {[]string{"max_age", "99999999999999999999"}, "invalid_request"},
		"claims no JSON":         {[]string{"claims", "{"}, "invalid_request"},
		"claims an array":        {[]string{"claims", "[]"}, "invalid_request"},
		"claims twice":           {[]string{"claims", `{"userinfo":{},"userinfo":{}}`}, "invalid_request"},
		"claims of two people":   {[]string{"claims", `{"id_token":{"sub":{"value":"a"}},"userinfo":{"sub":{"value":"b"}}}`}, "invalid_request"},
		"huge claims":            {[]string{"claims", `{"userinfo":{"` + strings.Repeat("x", 8<<10) + `":null}}`}, "invalid_request"},
		"65 claims":              {[]string{"claims", `{"userinfo":{"a":null` + manyClaims(64) + `}}`}, "invalid_request"},
		"65 claims of ID tokens": {[]string{"claims", `{"id_token":{"a":null` + manyClaims(64) + `}}`}, "invalid_request"},
		"64 claims":              {change: []string{"claims", `{"userinfo":{"a":null` + manyClaims(63) + `},"id_token":{"a":null` + manyClaims(63) + `}}`}},
		"sub of another":         {[]string{"claims", `{"id_token":{"sub":{"value":"sub-bob"}}}`}, "login_required"},
		"acr that is not there":  {[]string{"claims", `{"id_token":{"acr":{"essential":true,"value":"hw"}}}`}, "unmet_authentication_requirements"},
		"hint that is none":      {[]string{"id_token_hint", "x"}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			params := request(test.change...)
			got, refused := authorize(t.Context(), l.Provider, "login:alice", params)
			if refused != "" || got.Get("error") != test.want || got.Has("code") != (test.want == "") || got.Get("iss") != issuer ||
				got.Get("state") != params.Get("state") || got.Has("state") != params.Has("state") {
				t.Errorf("got %v, refused by %q", got, refused)
			}
		})
	}
}

func manyClaims(n int) (text string) {
	for i := range n {
		text += `,"x` + strconv.Itoa(i) + `":null`
	}
	return text
}

// TestAuthorizationPage has requests that must not be answered to the client at all.
func TestAuthorizationPage(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for name, test := range map[string]struct {
		params url.Values
		want   refusal.Code
	}{
		"no client":            {request("client_id", "-"), refusal.BadRequest},
		"unknown client":       {request("client_id", "x"), refusal.BadRequest},
		"no redirect URI":      {request("redirect_uri", "-"), refusal.BadRequest},
		"unknown redirect URI": {request("redirect_uri", "https://evil.example/"), refusal.BadRequest},
		"client twice":         {more("client_id", "web"), refusal.BadRequest},
		"redirect URI twice":   {more("redirect_uri", callback), refusal.BadRequest},
		"17 kB":                {request("x", strings.Repeat("x", 17<<10)), refusal.TooLarge},
	} {
		if got, refused := authorize(t.Context(), l.Provider, "login:alice", test.params); got != nil || refused != test.want {
			t.Errorf("%s: got %v, refused by %q", name, got, refused)
		}
	}
	local := l.without("web", func(c *oidcop.Client) { c.RedirectURIs = []string{"http://127.0.0.1/cb"} })
	for uri, want := range map[string]refusal.Code{"http://127.0.0.1/cb": "", "http://127.0.0.1:1/cb": refusal.BadRequest} {
		if _, refused := authorize(t.Context(), local, "login:alice", request("redirect_uri", uri)); refused != want {
			t.Errorf("a client with a secret, at %s: %q", uri, refused)
		}
	}
	l.people.deny("web", "login:bob")
	for login, want := range map[string]error{"login:bob": refusal.New(refusal.AccessDenied, nil), "login:gone": oidcop.ErrNoLogin} {
		a, err := l.Authorization(t.Context(), request())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Grant(t.Context(), login); err == nil || err.Error() != want.Error() {
			t.Errorf("%s: %v, want %v", login, err, want)
		}
	}
}

// more is a request with another value of a parameter, beside any that it has.
func more(name, value string) url.Values {
	params := request()
	params.Add(name, value)
	return params
}

// TestRepeated: the client hears of a parameter that stands twice. An unknown one may do that, such
// as resource (RFC 8707 §2).
func TestRepeated(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for name, state := range map[string]string{"response_type": "st", "scope": "st", "state": "", "nonce": "st", "code_challenge": "st", "code_challenge_method": "st"} {
		got, refused := authorize(t.Context(), l.Provider, "login:alice", more(name, request().Get(name)))
		if refused != "" || got.Get("error") != "invalid_request" || got.Get("state") != state || got.Has("state") != (state != "") || got.Get("iss") != issuer {
			t.Errorf("%s: got %v, refused by %q", name, got, refused)
		}
	}
	for _, name := range []string{"response_mode", "prompt", "max_age", "claims", "login_hint", "acr_values", "id_token_hint", "sso_asked"} {
		params := more(name, "form_post")
		params.Add(name, "form_post")
		if a, err := l.Authorization(t.Context(), params); err != nil || a.Refused() == nil || a.Refused().Refusal.Code != "invalid_request" || a.Refused().Form != nil {
			t.Errorf("%s: %+v %v", name, a, err)
		}
	}
	params := more("resource", "https://a.example")
	params.Add("resource", "https://b.example")
	got, refused := authorize(t.Context(), l.Provider, "login:alice", params)
	if got.Get("code") == "" {
		t.Fatalf("resource: got %v, refused by %q", got, refused)
	}
	form := exchangeForm(got.Get("code"))
	form["resource"] = params["resource"]
	rec, _ := post(l.Provider, oidcop.TokenPath, "web", secret, form)
	access := read(rec).Access
	if rec.Code != http.StatusOK {
		t.Errorf("token with resource twice: %d %s", rec.Code, rec.Body)
	}
	for path, known := range map[string]url.Values{
		oidcop.TokenPath: exchangeForm("x", "refresh_token", "x", "scope", "x"), oidcop.IntrospectionPath: {"token": {access}, "token_type_hint": {"x"}},
		oidcop.RevocationPath: {"token": {access}, "token_type_hint": {"x"}},
	} {
		for _, name := range slices.Concat(slices.Collect(maps.Keys(known)), []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"}) {
			form := maps.Clone(known)
			form[name] = []string{"web", "web"}
			if rec, failed := post(l.Provider, path, "web", secret, form); rec.Code != http.StatusBadRequest || read(rec).Error != "invalid_request" || failed {
				t.Errorf("%s, %s twice: %d %s", path, name, rec.Code, rec.Body)
			}
		}
		known["resource"] = params["resource"]
		if rec, _ := post(l.Provider, path, "web", secret, known); path != oidcop.TokenPath && rec.Code != http.StatusOK {
			t.Errorf("%s, resource twice: %d %s", path, rec.Code, rec.Body)
		}
	}
}

// TestAuthorizationFaults: whatever call of the store fails, there is no code.
func TestAuthorizationFaults(t *testing.T) {
	t.Parallel()
	st := gatewaytest.NewMemStore()
	l := newLabOver(t, st)
	l.code("client_id", "pair")
	for fail := 1; ; fail++ {
		calls := 0
		st.SetHook(func(op gatewaytest.MemOp) error {
			if !op.Done {
				calls++
			}
			if calls == fail {
				return errDown
			}
			return nil
		})
		answer, refused := authorize(t.Context(), l.Provider, "login:alice", request("client_id", "pair"))
		if calls < fail {
			if answer.Get("code") == "" || fail < 3 {
				t.Errorf("after %d calls: %v %s", calls, answer, refused)
			}
			return
		}
		if answer != nil || refused != refusal.StoreUnavailable {
			t.Errorf("call %d fails: %v %s", fail, answer, refused)
		}
	}
}

func TestResponse(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for uri, want := range map[string]string{"https://app.example/cb": "?", "https://app.example/cb?": "", "https://app.example/cb?a=b": "&", "https://app.example/cb?a=b&": ""} {
		op := l.without("web", func(c *oidcop.Client) { c.RedirectURIs = []string{uri} })
		a, err := op.Authorization(t.Context(), request("redirect_uri", uri))
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Refuse("x", "").Location; got != uri+want+"error=x&iss="+url.QueryEscape(issuer)+"&state=st" {
			t.Errorf("to %s: %s", uri, got)
		}
	}
	a, err := l.Authorization(t.Context(), request("response_mode", "form_post", "state", `"><script>`))
	if err != nil {
		t.Fatal(err)
	}
	answer := a.Refuse("login_required", "nobody is signed in")
	if answer.Location != callback || answer.Form.Get("state") != `"><script>` || answer.Form.Get("error") != "login_required" {
		t.Errorf("by form_post: %+v", answer)
	}
	a, err = l.Authorization(t.Context(), request("prompt", "none"))
	if err != nil || !a.Silent() || a.Refused() != nil {
		t.Fatalf("prompt=none: %+v %v", a, err)
	}
	if answer = a.Refuse("login_required", ""); answer.Form != nil || answer.Location != callback+"&error=login_required&iss="+url.QueryEscape(issuer)+"&state=st" {
		t.Errorf("by query: %+v", answer)
	}
	a, err = l.Authorization(t.Context(), request("login_hint", "alice", "acr_values", "a b", "claims", `{"id_token":{"acr":{"essential":true,"values":["mfa"]}}}`))
	if err != nil || a.LoginHint != "alice" || !slices.Equal(a.ACRValues, []string{"mfa", "a", "b"}) || a.Silent() {
		t.Errorf("hints: %+v %v", a, err)
	}
}
