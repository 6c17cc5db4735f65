package oidcrp_test

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// inProcess returns an OP that is reached without sockets.
func inProcess(t *testing.T) *gatewaytest.OP {
	t.Helper()
	return gatewaytest.NewOP(t, gatewaytest.OPOptions{InProcess: true})
}

// configFor returns the configuration for op.
func configFor(op *gatewaytest.OP) oidcrp.Config {
	return oidcrp.Config{Issuer: op.Issuer, ClientID: op.ClientID, ClientSecret: oidcrp.Secret(op.ClientSecret), RootCAs: op.Roots}
}

// newProvider returns a Provider at op, by way of sockets if it has a server.
func newProvider(t *testing.T, op *gatewaytest.OP, change ...func(*oidcrp.Config)) *oidcrp.Provider {
	t.Helper()
	return newWith(t, op, oidcrp.Deps{}, change...)
}

func newWith(t *testing.T, op *gatewaytest.OP, deps oidcrp.Deps, change ...func(*oidcrp.Config)) *oidcrp.Provider {
	t.Helper()
	config := configFor(op)
	if op.Roots == nil && deps.Transport == nil {
		deps.Transport = op.Transport()
	}
	for _, c := range change {
		c(&config)
	}
	p, err := oidcrp.New(config, deps)
	if err != nil {
		t.Fatalf("making the provider: %v", err)
	}
	return p
}

func mustLogin(t *testing.T, op *gatewaytest.OP, p *oidcrp.Provider) *provider.Answer {
	t.Helper()
	answer, err := op.Login(t.Context(), p)
	if err != nil {
		t.Fatalf("logging in: %v", err)
	}
	return answer
}

func wantCode(t *testing.T, err error, want refusal.Code) {
	t.Helper()
	if err == nil {
		t.Fatalf("was let in, want %s", want)
	}
	if got := refusal.CodeOf(err); got != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	for _, alg := range gatewaytest.OPAlgs {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			op := gatewaytest.NewOP(t, gatewaytest.OPOptions{Alg: alg})
			p := newProvider(t, op)
			before := time.Now().Truncate(time.Second)
			got := mustLogin(t, op, p)
			if at := got.Identity.AuthTime; at.Before(before) || at.After(time.Now()) {
				t.Errorf("auth_time is %v", at)
			}
			got.Identity.AuthTime = time.Time{}
			want := &provider.Answer{
				Identity: provider.Identity{
					Username: "alice", Email: "alice@example.com", EmailVerified: true,
					FirstName: "Alice", LastName: "Ångström", DisplayName: "Alice Ångström",
					Groups: []string{"staff", "admins"}, ACR: "1", AMR: []string{"pwd", "otp"},
				},
				Subject: "a1ice-0001", SessionID: "sid-1",
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if n := op.Requests(gatewaytest.OPUserInfoPath); n != 0 {
				t.Errorf("userinfo was asked %d times for nothing", n)
			}
		})
	}
}

func TestNewDoesNoNetwork(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	p := newProvider(t, op)
	if p.Issuer() != op.Issuer || p.Protocol() != provider.OIDC {
		t.Errorf("got %q, %q", p.Issuer(), p.Protocol())
	}
	if n := op.Requests(gatewaytest.OPDiscoveryPath); n != 0 {
		t.Errorf("discovery was fetched %d times", n)
	}
}

func TestBegin(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	begin := func(t *testing.T, force, other bool, change ...func(*oidcrp.Config)) (url.Values, *provider.Begun) {
		t.Helper()
		req := beginRequest
		req.ForceLogin, req.OtherPerson = force, other
		begun, err := newProvider(t, op, change...).Begin(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(begun.Location)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query(), begun
	}

	t.Run("parameters", func(t *testing.T) {
		t.Parallel()
		q, begun := begin(t, false, false)
		for name, want := range map[string]string{
			"response_type": "code", "client_id": op.ClientID, "redirect_uri": gatewaytest.OPCallback,
			"scope": "openid profile email", "state": strings.Repeat("s", 43), "code_challenge_method": "S256",
		} {
			if got := q.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if len(q.Get("nonce")) < 22 || len(q.Get("code_challenge")) != 43 || q.Has("prompt") || q.Has("max_age") {
			t.Errorf("got %v", q)
		}
		if len(begun.Private) > 4096 {
			t.Errorf("the private record has %d bytes", len(begun.Private))
		}
		again, _ := begin(t, false, false)
		if again.Get("nonce") == q.Get("nonce") || again.Get("code_challenge") == q.Get("code_challenge") {
			t.Error("nonce or challenge stand in two logins")
		}
	})
	t.Run("forced login", func(t *testing.T) {
		t.Parallel()
		q, _ := begin(t, true, false)
		if q.Get("prompt") != "login" || q.Get("max_age") != "0" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("another person, if the provider lets", func(t *testing.T) {
		t.Parallel()
		// max_age would make the answer depend on auth_time.
		if q, _ := begin(t, false, true); q.Get("prompt") != "login" || q.Has("max_age") {
			t.Errorf("got %v", q)
		}
	})
	t.Run("without PKCE", func(t *testing.T) {
		t.Parallel()
		q, _ := begin(t, false, false, func(c *oidcrp.Config) { c.InsecureNoPKCE = true })
		if q.Has("code_challenge") || q.Has("code_challenge_method") {
			t.Errorf("got %v", q)
		}
	})
	t.Run("own scopes", func(t *testing.T) {
		t.Parallel()
		q, _ := begin(t, false, false, func(c *oidcrp.Config) { c.Scopes = []string{"openid", "groups"} })
		if q.Get("scope") != "openid groups" {
			t.Errorf("got %v", q)
		}
	})
}

// Who wants to be somebody else is not signed in by what was before; a provider
// that does not say when the person signed in is believed.
func TestOtherPerson(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims func(map[string]any)
		code   refusal.Code
	}{
		"a new sign-in":              {code: ""},
		"no auth_time":               {func(claims map[string]any) { delete(claims, "auth_time") }, ""},
		"a clock that is behind":     {func(claims map[string]any) { claims["auth_time"] = time.Now().Add(-50 * time.Second).Unix() }, ""},
		"the sign-in of before":      {func(claims map[string]any) { claims["auth_time"] = time.Now().Add(-2 * time.Minute).Unix() }, refusal.OIDCTime},
		"a sign-in that is to come":  {func(claims map[string]any) { claims["auth_time"] = time.Now().Add(2 * time.Minute).Unix() }, refusal.OIDCTime},
		"an auth_time that is false": {func(claims map[string]any) { claims["auth_time"] = "now" }, refusal.OIDCClaimInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			op.SetHooks(gatewaytest.OPHooks{Claims: tt.claims})
			p := newProvider(t, op)
			_, err := op.Login(t.Context(), asOther{p})
			if tt.code == "" && err != nil || tt.code != "" && refusal.CodeOf(err) != tt.code {
				t.Errorf("got %v, want %q", err, tt.code)
			}
			if _, err := op.Login(t.Context(), p); name == "the sign-in of before" && err != nil {
				t.Errorf("as the same person: %v", err)
			}
		})
	}
}

// A provider that leaves out auth_time after a forced sign-in is at fault, and not the person.
func TestForcedWithoutAuthTime(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) { delete(claims, "auth_time") }})
	_, err := op.Login(t.Context(), forced{newProvider(t, op)})
	if refusal.CodeOf(err) != refusal.OIDCTime || !errors.Is(err, provider.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

// forced asks for a new sign-in.
type forced struct{ *oidcrp.Provider }

func (p forced) Begin(ctx context.Context, req provider.BeginRequest) (*provider.Begun, error) {
	req.ForceLogin = true
	return p.Provider.Begin(ctx, req)
}

// asOther asks for somebody else.
type asOther struct{ *oidcrp.Provider }

func (p asOther) Begin(ctx context.Context, req provider.BeginRequest) (*provider.Begun, error) {
	req.OtherPerson = true
	return p.Provider.Begin(ctx, req)
}

func TestTokenEndpointAuthMethod(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, config string
		public       bool
		announced    any
		want         string // basic, post or none
		code         refusal.Code
	}{
		{name: "basic is preferred", announced: []string{"client_secret_post", "client_secret_basic"}, want: "basic"},
		{name: "nothing announced means basic", want: "basic"},
		{name: "post if there is no basic", announced: []string{"private_key_jwt", "client_secret_post"}, want: "post"},
		{name: "configured", config: "client_secret_post", announced: []string{"client_secret_basic"}, want: "post"},
		{name: "public client", public: true, announced: []string{"client_secret_basic"}, want: "none"},
		{name: "nothing of ours", announced: []string{"private_key_jwt"}, code: refusal.OIDCClientRejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			op := gatewaytest.NewOP(t, gatewaytest.OPOptions{InProcess: true, Public: tt.public})
			used := ""
			op.SetHooks(gatewaytest.OPHooks{
				Discovery: func(doc map[string]any) {
					delete(doc, "token_endpoint_auth_methods_supported")
					if tt.announced != nil {
						doc["token_endpoint_auth_methods_supported"] = tt.announced
					}
				},
				Token: func(map[string]any) { used = op.LastAuthMethod() },
			})
			_, err := op.Login(t.Context(), newProvider(t, op, func(c *oidcrp.Config) { c.TokenEndpointAuthMethod = tt.config }))
			if tt.code != "" {
				wantCode(t, err, tt.code)
				return
			}
			if err != nil || used != tt.want {
				t.Fatalf("got %q, %v, want %q", used, err, tt.want)
			}
			if n := op.Requests(gatewaytest.OPTokenPath); n != 1 {
				t.Errorf("the token endpoint was asked %d times", n)
			}
		})
	}
}

func TestLogoutURL(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	atProvider := func(c *oidcrp.Config) { c.Logout = oidcrp.LogoutProvider }
	logout := func(t *testing.T, p *oidcrp.Provider, hint string) url.Values {
		t.Helper()
		got, err := p.LogoutURL(t.Context(), provider.LogoutRequest{Hint: hint, ReturnURL: "https://app.test/bye?x=1&y"})
		if err != nil {
			t.Fatal(err)
		}
		if got == "" {
			return nil
		}
		u, err := url.Parse(got)
		if err != nil || !strings.HasPrefix(got, op.Issuer+gatewaytest.OPEndSessionPath+"?") {
			t.Fatalf("got %q, %v", got, err)
		}
		return u.Query()
	}

	t.Run("at the provider", func(t *testing.T) {
		t.Parallel()
		p := newProvider(t, op, atProvider)
		hint := mustLogin(t, op, p).LogoutHint
		if strings.Count(hint, ".") != 2 {
			t.Fatalf("the hint is %q", hint)
		}
		q := logout(t, p, hint)
		if q.Get("id_token_hint") != hint || q.Get("client_id") != op.ClientID || q.Get("post_logout_redirect_uri") != "https://app.test/bye?x=1&y" {
			t.Errorf("got %v", q)
		}
	})
	t.Run("a long hint is left out", func(t *testing.T) {
		t.Parallel()
		q := logout(t, newProvider(t, op, atProvider), strings.Repeat("x", 4000))
		if q.Has("id_token_hint") || q.Get("client_id") != op.ClientID {
			t.Errorf("got %v", q)
		}
	})
	t.Run("a hint that would be left out is not kept", func(t *testing.T) {
		t.Parallel()
		op := inProcess(t)
		op.SetHooks(gatewaytest.OPHooks{Claims: setIn("groups", numbered(1000))})
		if hint := mustLogin(t, op, newProvider(t, op, atProvider)).LogoutHint; hint != "" {
			t.Errorf("%d bytes are kept for nothing", len(hint))
		}
	})
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		p := newProvider(t, op)
		if hint := mustLogin(t, op, p).LogoutHint; hint != "" {
			t.Errorf("a token is kept for nothing: %d bytes", len(hint))
		}
		if q := logout(t, p, "x"); q != nil {
			t.Errorf("got %v", q)
		}
	})
	t.Run("not offered", func(t *testing.T) {
		t.Parallel()
		op := inProcess(t)
		op.SetHooks(gatewaytest.OPHooks{Discovery: func(doc map[string]any) { doc["end_session_endpoint"] = nil }})
		if got, err := newProvider(t, op, atProvider).LogoutURL(t.Context(), provider.LogoutRequest{ReturnURL: "https://app.test/"}); got != "" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}
