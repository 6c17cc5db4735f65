package gateway_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/mapping"
)

func TestOpenIDOptions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*gateway.AppOptions)
		hosts  gateway.Hosts
		want   string
	}{
		"no rule":         {change: func(o *gateway.AppOptions) { o.Clients[1].Rules = mapping.Rules{} }, want: `op: client "vault" has no rule`},
		"a bad rule":      {change: func(o *gateway.AppOptions) { o.Clients[0].Rules = lets("", "x") }, want: `op: client "wiki": role[0]`},
		"no redirect URI": {change: func(o *gateway.AppOptions) { o.Clients[0].RedirectURIs = nil }, want: `client "wiki"`},
		"twice":           {change: func(o *gateway.AppOptions) { o.Clients[1].ID = "wiki" }, want: `client "wiki"`},
		"any host":        {hosts: gateway.Hosts{Any: true}, want: "op: the issuer needs one address"},
		"and a wildcard":  {hosts: gateway.Hosts{Exact: []string{appHost}, Any: true}, want: "op: the issuer needs one address"},
		"plain http":      {hosts: gateway.Hosts{Exact: []string{appHost}, Scheme: "http"}, want: "`base_url https://app.example`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := gateway.AppOptions{}
			withClients(&opts)
			opts.Clients = slices.Clone(opts.Clients)
			if tc.change != nil {
				tc.change(&opts)
			}
			app, err := newLab(t).gateway().NewApp(opts)
			if err == nil {
				err = app.Start(tc.hosts)
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

// At its own OpenID provider nobody could ever sign in.
func TestOpenIDOfItself(t *testing.T) {
	t.Parallel()
	rp, err := oidcrp.New(oidcrp.Config{Issuer: "https://app.example/.sso/op", ClientID: "wiki", ClientSecret: wikiSecret}, oidcrp.Deps{})
	mustDo(t, err)
	g := newLab(t).gateway(func(o *gateway.Options) { o.Providers = []gateway.NamedProvider{{Name: "self", Provider: rp}} })
	opts := gateway.AppOptions{}
	withClients(&opts)
	app, err := g.NewApp(opts)
	mustDo(t, err)
	if err := app.Start(gateway.Hosts{Exact: []string{appHost}}); err == nil || !strings.Contains(err.Error(), `provider "self"`) {
		t.Errorf("starts: %v", err)
	}
	mustDo(t, app.Start(gateway.Hosts{Exact: []string{"other.example"}}))
}

// With insecure_http an OpenID provider starts without TLS.
func TestOpenIDInsecureHTTP(t *testing.T) {
	t.Parallel()
	opts := gateway.AppOptions{InsecureHTTP: true}
	withClients(&opts)
	app, err := newLab(t).gateway().NewApp(opts)
	mustDo(t, err)
	mustDo(t, app.Start(gateway.Hosts{Exact: []string{appHost}, Scheme: "http"}))
	if got := app.OpenIDIssuer(); got != "http://app.example/.sso/op" {
		t.Errorf("the issuer is %s", got)
	}
}

// A gateway can sign people in at another gateway.
func TestOpenIDOfAnotherGateway(t *testing.T) {
	t.Parallel()
	const own = "https://second.example/.sso/oidc/callback"
	first := newLab(t)
	op := first.openIDOf(first.gateway(), func(o *gateway.AppOptions) { o.Clients[0].RedirectURIs = []string{own} })
	rp, err := oidcrp.New(oidcrp.Config{Issuer: "https://app.example/.sso/op", ClientID: "wiki", ClientSecret: wikiSecret}, oidcrp.Deps{Transport: into{op}})
	mustDo(t, err)
	second := newLab(t)
	s := second.siteOf(second.gateway(func(o *gateway.Options) { o.Providers = []gateway.NamedProvider{{Name: "first", Provider: rp}} }), "second.example",
		func(o *gateway.AppOptions) { o.Rules = lets("Member", "*") })
	b := s.browser()
	path, isOp := strings.CutPrefix(b.open("/page").Header().Get("Location"), "https://app.example")
	if !isOp {
		t.Fatalf("the person is sent to %q", path)
	}
	other := op.browser() // the same one, with cookies of its own at this host
	w := other.follow(other.open(path))
	back, isOwn := strings.CutPrefix(w.Header().Get("Location"), "https://second.example")
	if !isOwn {
		t.Fatalf("the person comes back to %q", w.Header().Get("Location"))
	}
	wantRedirect(t, b.open(back), "https://second.example/page")
	wantStatus(t, b.open("/page"), http.StatusOK)
	if p := s.got().principal; p.Username != "alice" || p.Email != "alice@corp.example" || !slices.Equal(p.Roles, []string{"Member"}) {
		t.Errorf("the app is told %+v", p)
	}
}

// into sends a client's requests to a site.
type into struct{ *site }

func (i into) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.Host = r.URL.RequestURI(), r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	return i.serve(in, false).Result(), nil
}
