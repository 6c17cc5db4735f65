package entry_test

import (
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/entry"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// TestSameIssuer: what the provider of another protocol calls its issuer is another thing.
func TestSameIssuer(t *testing.T) {
	t.Parallel()
	const op = "https://app.example/.sso/op"
	at := func(name string, protocol provider.Protocol, issuer string) *entry.Provider {
		return &entry.Provider{Name: name, Users: usernames.Space{Prefix: name + "-"}, Provider: &known{protocol: protocol, issuer: issuer, definition: "1"}}
	}
	saml, oidc, slash := at("saml", provider.SAML, op), at("oidc", provider.OIDC, op), at("slash", provider.OIDC, op+"/")
	for name, tt := range map[string]struct {
		providers []*entry.Provider
		own       string // the provider that is the site's own
	}{
		"by SAML":           {[]*entry.Provider{saml, named("corp")}, ""},
		"by both protocols": {[]*entry.Provider{saml, oidc}, "oidc"},
		"slash at the end":  {[]*entry.Provider{slash}, "slash"},
	} {
		opts := entry.Options{Providers: tt.providers}
		for _, p := range tt.providers {
			opts.From = append(opts.From, entry.From{Providers: []string{p.Name}, Rules: mapping.Rules{Role: lines("User", "*")}})
		}
		p := policyOf(t, opts)
		if err := p.CheckIssuer(op); (err != nil) != (tt.own != "") || err != nil && !strings.Contains(err.Error(), `provider "`+tt.own+`"`) {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.RivalOf(tt.providers[0]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoRule: each provider has a rule at the site or at a client. A site without clients has one
// for each provider.
func TestNoRule(t *testing.T) {
	t.Parallel()
	everybody := mapping.Rules{Role: lines("User", "*")}
	fromCorp := []entry.From{{Providers: []string{"corp"}, Rules: everybody}}
	opts := entry.Options{
		Providers: []*entry.Provider{named("corp"), named("other")}, SamePeople: [][]string{{"corp", "other"}}, SomeProviders: true, Logger: zap.NewNop(),
	}
	clients := entry.ClientOptions{Clients: []entry.Client{{
		Client: oidcop.Client{ID: "wiki", RedirectURIs: []string{"https://wiki.example/cb"}}, From: fromCorp,
	}}}
	if _, err := policyOf(t, opts).NewClients(clients); err == nil || !strings.Contains(err.Error(), "provider other has no rule at the site or at a client") {
		t.Errorf("at neither: %v", err)
	}
	atSite := opts
	atSite.Rules = everybody
	if _, err := policyOf(t, atSite).NewClients(clients); err != nil {
		t.Errorf("at the site: %v", err)
	}
	opts.From, opts.SomeProviders = fromCorp, false
	if _, err := entry.New(opts); err == nil || !strings.Contains(err.Error(), "provider other has no rule, so nobody could get in by it") {
		t.Errorf("at the site, for corp alone: %v", err)
	}
}
