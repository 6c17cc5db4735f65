//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// opWorldOptions say what differs from one site with the app behind
// reverse_proxy.
type opWorldOptions struct {
	// block are more lines of the site's sso block, site what stands in the
	// place of the reverse_proxy, caddy more global options.
	block, site, caddy string
	// env is added to the binary's environment.
	env []string
}

// ambiguousNames are the global options by which Caddy hands on headers with
// underscores and dots like ours. By itself it drops all such names before any
// handler, ours too, sees them; and with these options, those with hyphens.
const ambiguousNames = `	servers {
		expected_underscore_headers remote_* x_sso* x_harm*
		expected_dot_headers remote.* x.sso* x.harm*
	}
`

// newOPWorld is newWorld with gatewaytest's provider in Keycloak's stead: alice
// is signed in there as soon as she comes. For tests that are not about the
// provider.
func newOPWorld(t *testing.T, o opWorldOptions) (*world, *client) {
	t.Helper()
	op := gatewaytest.NewOP(t, gatewaytest.OPOptions{})
	w := &world{t: t, opts: worldOptions{origin: "https://app.test"}, app: newApp(t), gw: newGateway(t)}
	w.base = fmt.Sprintf("%s:%d", w.opts.origin, gatewaytest.FreePort())
	w.gw.env = append(o.env, "SSO_TEST_CLIENT_SECRET="+op.ClientSecret)
	roots := filepath.Join(w.gw.dir, "op.pem")
	if err := os.WriteFile(roots, op.Roots, 0o600); err != nil {
		t.Fatal(err)
	}
	if o.site == "" {
		o.site = fmt.Sprintf("\treverse_proxy %s {\n\t\tflush_interval -1\n\t}", w.app.address())
	}
	p := certificates(t)
	w.gw.write(o.caddy+"\tsso {\n\t\tstore bolt\n\t}", fmt.Sprintf(`%s {
	tls %s %s
	sso oidc %s %s {env.SSO_TEST_CLIENT_SECRET} {
		ca %s
		role  Admin admins
		group team  staff
%s
	}
%s
}
`, w.base, p.certFile, p.keyFile, op.Issuer, op.ClientID, roots, o.block, o.site))
	w.gw.start()
	w.app.trust(t, w.base, w.host())

	c := newClient(t)
	tr := transport(p)
	tr.TLSClientConfig.RootCAs = p.pool.Clone()
	tr.TLSClientConfig.RootCAs.AppendCertsFromPEM(op.Roots)
	t.Cleanup(tr.CloseIdleConnections)
	c.http.Transport = tr
	return w, c
}
