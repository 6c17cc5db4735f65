package caddymodule_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestDoubts has `caddy validate` warn of what can start but is risky, or does less than
// it says.
func TestDoubts(t *testing.T) {
	const (
		plain   = "nobody can sign in over plain http beyond this machine"
		foreign = "`base_url` names a host that is not the site's"
		risky   = "an insecure option is on"
		alone   = "this path alone is public"
	)
	for name, tt := range map[string]struct {
		global, address, site string
		want                  []string // each in a line of the log; else there is none
	}{
		"plain http":                        {address: "http://app.example.com:PORT", want: []string{plain, "app.example.com"}},
		"plain http, a wildcard":            {address: "http://*.example.com:PORT", want: []string{plain, "*.example.com"}},
		"plain http, one host of two":       {address: "http://a.localhost:PORT, http://app.example.com:PORT", want: []string{plain}},
		"plain http, by base_url":           {address: ":PORT", site: "base_url http://app.example.com", want: []string{plain}},
		"plain http that is meant":          {address: "http://app.example.com:PORT", site: "insecure_http", want: []string{risky, "insecure_http"}},
		"plain http, and an https base_url": {address: "http://app.example.com:PORT", site: "base_url https://app.example.com"},
		"plain http behind a trusted proxy": {global: "servers {\n\t\ttrusted_proxies static 10.0.0.1\n\t}", address: "http://app.example.com:PORT", want: []string{plain, "unless a proxy before Caddy ends TLS", "write an https `base_url`"}},
		"a trusted proxy and base_url":      {global: "servers {\n\t\ttrusted_proxies static 10.0.0.1\n\t}", address: "http://app.example.com:PORT", site: "base_url https://app.example.com"},
		"plain http on loopback":            {address: "http://a.localhost:PORT, http://127.0.0.1:PORT, http://*.localhost:PORT"},
		"https":                             {address: "app.example.com"},
		"a foreign base_url":                {address: "app.example.com", site: "base_url https://other.example.com", want: []string{foreign, "https://other.example.com"}},
		"a base_url that a wildcard takes":  {address: "*.example.com", site: "base_url https://other.example.com"},
		"a base_url beside the wildcard":    {address: "*.example.com", site: "base_url https://example.org", want: []string{foreign}},
		"a base_url in capitals":            {address: "app.example.com", site: "base_url https://APP.example.com:8443"},
		"no PKCE":                           {address: "app.example.com", site: "insecure_no_pkce", want: []string{risky, "insecure_no_pkce", "can use an authorization code that leaks"}},
		"a public path alone":               {address: "app.example.com", site: "public /static/", want: []string{alone, "write `public /static/*`"}},
		"a public path and all below":       {address: "app.example.com", site: "public /static/ /static/*"},
		"the front page and a file":         {address: "app.example.com", site: "public / /robots.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			global := strings.Replace(w.global(""), "\tadmin off\n", "\tadmin off\n\tauto_https disable_certs\n\t"+tt.global+"\n", 1)
			config := strings.NewReplacer("PROVIDER", w.provider(), "PORT", fmt.Sprint(w.port)).Replace(
				global + tt.address + " {\n\tPROVIDER\n\t\trole User *\n\t\t" + tt.site + "\n\t}\n}\n")
			if err := validate(t, mustAdapt(t, config)); err != nil {
				t.Fatal(err)
			}
			var warnings []string
			for line := range strings.Lines(w.logs()) {
				if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, `"logger":"sso`) {
					warnings = append(warnings, line)
				}
			}
			if len(tt.want) == 0 && len(warnings) > 0 || len(tt.want) > 0 && len(warnings) != 1 {
				t.Fatalf("warnings: %s", warnings)
			}
			for _, want := range tt.want {
				if !strings.Contains(warnings[0], want) {
					t.Errorf("%s lacks %q", warnings[0], want)
				}
			}
		})
	}
}
