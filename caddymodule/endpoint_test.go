package caddymodule_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// A speaker is a provider that nobody signs in at.
type speaker struct {
	provider.Provider
	protocol provider.Protocol
}

func (s speaker) Protocol() provider.Protocol { return s.protocol }

func (s speaker) Issuer() string { return "" }

// endpoints returns the table of a site with a provider of each protocol.
func endpoints(t *testing.T) []gateway.Endpoint {
	t.Helper()
	g, err := gateway.New(gateway.Options{Providers: []gateway.NamedProvider{
		{Name: "corp", Provider: speaker{protocol: provider.OIDC}}, {Name: "partners", Provider: speaker{protocol: provider.SAML}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	app, err := g.NewApp(gateway.AppOptions{Rules: mapping.Rules{Role: []mapping.Line{{To: []string{"User"}, From: []string{"*"}}}}, SamePeople: [][]string{{"corp", "partners"}}, Clients: []gateway.Client{{
		Client: oidcop.Client{ID: "wiki", RedirectURIs: []string{"https://wiki.example/"}}, Rules: mapping.Rules{Role: []mapping.Line{{To: []string{"User"}, From: []string{"*"}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return app.Endpoints()
}

// TestNoCredentialsInLogsOfEndpoints sends secrets to every endpoint, and to
// addresses of ours where there is none, and looks for them in the logs. Where
// credentials are due, the log has a line without them, whatever the request is.
func TestNoCredentialsInLogsOfEndpoints(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(w.global(w.oidc("corp", w.op)+w.saml("partners", w.addIdP("partners"))+"same_people corp partners") + strings.Replace(samlSite, "sso {", "sso {\n\t\top {\n\t\t\tclient wiki {\n\t\t\t\tredirect_uri https://wiki.example/\n\t\t\t\trole User *\n\t\t\t}\n\t\t}", 1))

	table := append(endpoints(t),
		gateway.Endpoint{Path: "/.sso/nothing"}, gateway.Endpoint{Path: "/.sso"}, gateway.Endpoint{Path: "/.sso/saml/acs/x"})
	secret := 0
	for _, e := range table {
		path := regexp.MustCompile(`{.*}`).ReplaceAllString(e.Path, "corp")
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut} {
			before := len(w.logs())
			for _, target := range []string{path + "?code=canary-in-query", path} {
				r, err := http.NewRequest(method, w.origin()+target, strings.NewReader("SAMLResponse=Y2FuYXJ5&RelayState=canary-in-form"))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				b := newBrowser(t)
				b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				switch status, _ := b.do(r); {
				case e.Methods == nil && status != http.StatusNotFound,
					e.Methods != nil && !slices.Contains(e.Methods, method) && status != http.StatusMethodNotAllowed && status != http.StatusBadRequest:
					t.Errorf("%s %s: status %d", method, target, status)
				}
			}
			logs := w.logs()[before:]
			lookFor(t, logs, []string{"canary-in-query", "canary-in-form", "Y2FuYXJ5"})
			want := 1 // for the query
			if e.Credentials || method == http.MethodPost {
				want = 2
			}
			if got := strings.Count(logs, fmt.Sprintf(`"uri":%q,"redacted":true`, path)); got != want {
				t.Errorf("%s %s: %d lines in the requests' stead, want %d:\n%s", method, path, got, want, logs)
			}
		}
		if e.Credentials {
			secret++
		}
	}
	if secret < 9 {
		t.Errorf("only %d endpoints take credentials", secret)
	}
}
