package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestDisplayNames shows people a host, not the name that is made of an address.
func TestDisplayNames(t *testing.T) {
	t.Parallel()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	const issuer, metadata = "https://id.example.com:8443/realms/corp", "https://login.example.com/metadata.xml"
	for _, tt := range []struct {
		provider caddy.Module
		want     string
	}{
		{&caddymodule.OIDC{Issuer: issuer, ClientID: "app", TokenAuth: "none"}, "id.example.com"},
		{&caddymodule.OIDC{Issuer: issuer, ClientID: "app", TokenAuth: "none", DisplayName: "Corp"}, "Corp"},
		{&caddymodule.OIDC{Issuer: issuer, ClientID: "app", TokenAuth: "none", Name: "corp"}, ""}, // its name
		{&caddymodule.SAML{Metadata: metadata}, "login.example.com"},
		{&caddymodule.SAML{Metadata: metadata, Name: "corp"}, ""},
	} {
		if got, err := caddymodule.DisplayNameOf(ctx, tt.provider); err != nil || got != tt.want {
			t.Errorf("%+v: %q, %v; want %q", tt.provider, got, err, tt.want)
		}
	}
}

// TestTwoProviders has a site with two providers show the chooser, and takes
// each at its word, each at a callback of its own.
func TestTwoProviders(t *testing.T) {
	w := newWorld(t)
	corp := w.oidc("corp", w.op, `display_name "People of corp"`)
	partners := w.oidc("partners", gatewaytest.NewOP(t, gatewaytest.OPOptions{}), `display_name "People of partners"`)
	w.mustLoad(w.global(corp+partners+"same_people corp partners") + "ORIGIN {\n\tsso {\n\t\trole User *\n\t}\n\trespond \"{http.auth.user.id} of {http.auth.user.provider}\"\n}\n")
	for _, name := range []string{"corp", "partners"} {
		b := newBrowser(t)
		status, body := b.get(w.origin() + "/wanted")
		if status != http.StatusOK || !strings.Contains(body, "<bdi>People of corp</bdi>") || !strings.Contains(body, "<bdi>People of partners</bdi>") {
			t.Fatalf("the chooser answered %d %q", status, body)
		}
		if status, body = b.get(w.origin() + "/.sso/login?provider=" + name + "&return=%2Fwanted"); status != http.StatusOK || body != "alice of "+name {
			t.Errorf("%s: %d %q", name, status, body)
		}
		callback := w.origin() + "/.sso/oidc/callback/" + name + "?"
		if last := len(b.seen) - 1; !strings.HasPrefix(b.seen[last-1], callback) || b.seen[last] != w.origin()+"/wanted" {
			t.Errorf("%s: the browser went by %q", name, b.seen)
		}
		if logs := w.logs(); strings.Contains(logs, callback[len(w.origin()):]) {
			t.Error("the log has the callback's query")
		}
		if status, body = b.get(w.origin() + "/.sso/session"); status != http.StatusOK || !strings.Contains(body, "<bdi>People of "+name+"</bdi>") {
			t.Errorf("%s: the session page says %d %q", name, status, body)
		}
		if status, body = b.do(mustRequest(t, w.origin()+"/.sso/session")); status != http.StatusOK || !strings.Contains(body, `"provider":"`+name+`"`) {
			t.Errorf("%s: the session's JSON is %d %q", name, status, body)
		}
	}
}
