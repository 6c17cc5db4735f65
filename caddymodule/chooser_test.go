package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestTwoProviders has a site with two providers show the chooser, and takes
// each at its word, each at a callback of its own.
func TestTwoProviders(t *testing.T) {
	w := newWorld(t)
	other := gatewaytest.NewOP(t, gatewaytest.OPOptions{})
	var providers strings.Builder
	for name, op := range map[string]*gatewaytest.OP{"corp": w.op, "partners": other} {
		ca := w.path(name + ".pem")
		if err := os.WriteFile(ca, op.Roots, 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&providers, "\tprovider %s oidc {\n\t\t\tissuer %s\n\t\t\tclient_id `%s`\n\t\t\tclient_secret `%s`\n\t\t\tdisplay_name \"People of %s\"\n\t\t\tca %s\n\t\t}\n\t",
			name, op.Issuer, op.ClientID, op.ClientSecret, name, ca)
	}
	w.mustLoad(w.global(providers.String()+"same_people corp partners") + "ORIGIN {\n\tsso {\n\t\trole User *\n\t}\n\trespond \"{http.auth.user.id} of {http.auth.user.provider}\"\n}\n")
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
		r, err := http.NewRequest(http.MethodGet, w.origin()+"/.sso/session", nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, body = b.do(r); status != http.StatusOK || !strings.Contains(body, `"provider":"`+name+`"`) {
			t.Errorf("%s: the session's JSON is %d %q", name, status, body)
		}
	}
}
