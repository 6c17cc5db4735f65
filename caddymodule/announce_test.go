package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// An announced is the line that a start logs of one site.
type announced struct {
	Msg, Site, Protected string
	Public, Protect      []string
	Providers            []struct {
		Name, Protocol string
		RedirectURI    []string `json:"redirect_uri"`
		ACS, Metadata  []string
	}
}

// announcements returns those lines of a log.
func announcements(t *testing.T, logs string) (all []announced) {
	t.Helper()
	for line := range strings.Lines(logs) {
		if strings.Contains(line, `"this site is protected; `) {
			var a announced
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
	}
	return all
}

// TestAnnouncedAddresses reads the line of each site at start: the protected paths, and
// the addresses to register.
func TestAnnouncedAddresses(t *testing.T) {
	const rule = "\n\t\trole User *\n\t}\n}\n"
	for name, tt := range map[string]struct {
		global, sso      string // options beside sso, and in its block
		site             string
		protected        string
		redirect         []string // of the first OpenID Provider
		acs, metadata    []string // of the first SAML provider
		public, protect  []string
		providers, lines int
	}{
		"one provider": {site: "http://a.localhost:PORT {\n\tPROVIDER" + rule, protected: "all paths", redirect: []string{"http://a.localhost:PORT/.sso/oidc/callback"}},
		"public paths": {
			site: "http://a.localhost:PORT {\n\tPROVIDER\n\t\tpublic /healthz /static/*" + rule, protected: "all paths except those of `public`",
			public: []string{"/healthz", "/static/*"}, redirect: []string{"http://a.localhost:PORT/.sso/oidc/callback"},
		},
		"protect paths": {
			site: "http://a.localhost:PORT {\n\tPROVIDER\n\t\tprotect /admin/*" + rule, protected: "only the paths of `protect`",
			protect: []string{"/admin/*"}, redirect: []string{"http://a.localhost:PORT/.sso/oidc/callback"},
		},
		"two hosts": {
			site: "http://a.localhost:PORT, http://b.localhost:PORT {\n\tPROVIDER" + rule, protected: "all paths",
			redirect: []string{"http://a.localhost:PORT/.sso/oidc/callback", "http://b.localhost:PORT/.sso/oidc/callback"},
		},
		"a wildcard": {site: "http://*.localhost:PORT {\n\tPROVIDER" + rule, protected: "all paths", redirect: []string{"http://*.localhost:PORT/.sso/oidc/callback"}},
		"no host":    {site: ":PORT {\n\tPROVIDER\n\t\tbase_url https://App.example.com:443" + rule, protected: "all paths", redirect: []string{"https://app.example.com/.sso/oidc/callback"}},
		"behind a proxy that ends TLS": {
			global: "servers {\n\ttrusted_proxies static 10.0.0.1\n\t}", site: "http://app.example.com:PORT {\n\tPROVIDER" + rule,
			protected: "all paths", redirect: []string{"https://app.example.com/.sso/oidc/callback"},
		},
		"plain http that is meant": {
			site: "http://app.example.com:PORT {\n\tPROVIDER\n\t\tinsecure_http" + rule, protected: "all paths", redirect: []string{"http://app.example.com:PORT/.sso/oidc/callback"},
		},
		"a callback of its own": {
			site: "http://a.localhost:PORT {\n\tPROVIDER\n\t\tcallback_path /oauth2/callback" + rule, protected: "all paths", redirect: []string{"http://a.localhost:PORT/oauth2/callback"},
		},
		"nested with a prefix": {
			site:      "http://a.localhost:PORT {\n\thandle /x/* {\n\tPROVIDER\n\t\tnested\n\t\tprefix /x/.sso\n\t\trole User *\n\t}\n\t}\n}\n",
			protected: "all paths", redirect: []string{"http://a.localhost:PORT/x/.sso/oidc/callback"},
		},
		"a callback that ends like an ACS": {
			site: "http://a.localhost:PORT {\n\tPROVIDER\n\t\tcallback_path /legacy/saml/acs" + rule, protected: "all paths", redirect: []string{"http://a.localhost:PORT/legacy/saml/acs"},
		},
		"SAML alone": {
			site: "http://a.localhost:PORT {\n\tsso saml https://id.localhost/metadata {" + rule, protected: "all paths",
			acs: []string{"http://a.localhost:PORT/.sso/saml/acs"}, metadata: []string{"http://a.localhost:PORT/.sso/saml/metadata"},
		},
		"several of each": {
			sso: `				provider one saml {
					metadata https://one.localhost/metadata
				}
				provider two saml {
					metadata https://two.localhost/metadata
				}
				provider three oidc {
					issuer https://three.localhost
					client_id a
					token_auth none
				}
				provider four oidc {
					issuer https://four.localhost
					client_id a
					token_auth none
				}
				same_people one two three four`,
			site: "http://a.localhost:PORT {\n\tsso {" + rule, protected: "all paths", providers: 4,
			redirect: []string{"http://a.localhost:PORT/.sso/oidc/callback/three"},
			acs:      []string{"http://a.localhost:PORT/.sso/saml/acs"}, metadata: []string{"http://a.localhost:PORT/.sso/saml/metadata/one"},
		},
		"two sites": {
			site:      "http://a.localhost:PORT {\n\tPROVIDER" + rule + "http://b.localhost:PORT {\n\tPROVIDER" + rule,
			protected: "all paths", redirect: []string{"http://a.localhost:PORT/.sso/oidc/callback"}, lines: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			global := strings.Replace(w.global(tt.sso), "\tadmin off\n", "\tadmin off\n\tauto_https off\n\t"+tt.global+"\n", 1)
			w.mustLoad(global + tt.site)
			all := announcements(t, w.logs())
			if len(all) != max(tt.lines, 1) {
				t.Fatalf("%d lines: %+v", len(all), all)
			}
			got := all[0]
			if got.Site == "" || got.Protected != tt.protected || !slices.Equal(got.Public, tt.public) || !slices.Equal(got.Protect, tt.protect) || len(got.Providers) != max(tt.providers, 1) {
				t.Errorf("%+v", got)
			}
			port := fmt.Sprint(w.port)
			same := func(got, want []string) {
				if strings.ReplaceAll(strings.Join(want, " "), "PORT", port) != strings.Join(got, " ") {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			var redirect, acs, metadata []string
			for _, p := range got.Providers {
				switch {
				case p.Name == "" || (p.Protocol == "saml") != (p.ACS != nil):
					t.Errorf("%+v", p)
				case redirect == nil && p.Protocol == "oidc":
					redirect = p.RedirectURI
				case acs == nil && p.Protocol == "saml":
					acs, metadata = p.ACS, p.Metadata
				}
			}
			same(redirect, tt.redirect)
			same(acs, tt.acs)
			same(metadata, tt.metadata)
		})
	}
}

// TestProvidersAreTriedAtStart warns of a provider that can't be used before anybody signs
// in, at the start and after a reload that adds the provider.
func TestProvidersAreTriedAtStart(t *testing.T) {
	w := newWorld(t)
	const site = "http://a.localhost:PORT {\n\tsso {\n\t\trole User *\n\t}\n}\n"
	const issuer = "https://nobody.localhost:1/corp"
	warning := func(t *testing.T, provider, address string) string {
		t.Helper()
		for range 500 {
			if line := lineWith(w.logs(), address); strings.Contains(line, `"level":"warn"`) {
				return line
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("no warning of provider %s in %s", provider, w.logs())
		return ""
	}
	one := "provider one oidc {\n\t\t\tissuer " + issuer + "\n\t\t\tclient_id a\n\t\t\ttoken_auth none\n\t\t}\n\t\t"
	two := "provider two saml {\n\t\t\tmetadata https://nobody.localhost:1/metadata\n\t\t}\n\t\tsame_people one two\n\t\t"
	w.mustLoad(w.global(one) + site)
	for _, want := range []string{"discovery document", "refused"} {
		if got := warning(t, "one", issuer); !strings.Contains(got, want) {
			t.Errorf("%s lacks %q", got, want)
		}
	}
	w.mustLoad(w.global(one+two) + site)
	for _, want := range []string{"metadata", "refused"} {
		if got := warning(t, "two", "https://nobody.localhost:1/metadata"); !strings.Contains(got, want) {
			t.Errorf("%s lacks %q", got, want)
		}
	}
}
