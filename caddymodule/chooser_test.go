package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

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
