//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A world is one gateway with one protected site, the app behind it, and
// Keycloak, reached through a relay so that it can fail.
type world struct {
	t      *testing.T
	opts   worldOptions
	gw     *gateway
	app    *app
	kc     *keycloak
	idp    *relay
	client kcClient
	redis  *gatewaytest.Redis // nil with bolt
	secret string             // of the store's records
	base   string             // the site's origin
}

// worldOptions say what differs from: bolt, https://app.test, the roles below.
type worldOptions struct {
	// store is "bolt" (the default) or "redis".
	store string
	// origin is the site's origin without its port.
	origin string
	// block are more lines of the site's sso block, global of the global one,
	// site of the site before its reverse_proxy, caddy of the global options.
	block, global, site, caddy string
	// idpDown leaves the relay to Keycloak down.
	idpDown bool
	// stopped leaves the gateway to be started by the test.
	stopped bool
	// oneByOne is that of the gateway.
	oneByOne bool
	// register changes the registration at Keycloak.
	register func(rep map[string]any)
}

// roleLines are the site's rules: carol, who has no group, has no role.
const roleLines = `
		role  Admin   "Caddy Admins"
		role  Viewer  viewers "DOMAIN\Domain Admins" grp-179-a-rather-long-group-name-to-blow-up-cookies
		role  Odd     "comma,group" "semi;group" "a&b <c> \"q\""
		group ops     urn:example:team:ops
		group net     "Équipe Réseau – Zürich 東京" child
`

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	if o.origin == "" {
		o.origin = "https://app.test"
	}
	w := &world{t: t, opts: o, app: newApp(t), kc: theKeycloak(t), secret: "canary-store-secret-" + randomHex(32)}
	w.base = fmt.Sprintf("%s:%d", o.origin, gatewaytest.FreePort())
	w.idp = newRelay(t, w.kc.port)
	if !o.idpDown {
		w.idp.up()
	}
	var change []func(map[string]any)
	if o.register != nil {
		change = append(change, o.register)
	}
	w.client = w.kc.client(t, w.base, change...)
	if o.store == "redis" {
		w.redis = gatewaytest.StartRedis(t)
	}
	w.gw = newGateway(t)
	w.gw.oneByOne = o.oneByOne
	w.configure()
	if !o.stopped {
		w.gw.start()
	}
	w.app.trust(t, w.base, w.host())
	return w
}

// configure writes the Caddyfile anew from w's options.
func (w *world) configure() {
	w.t.Helper()
	w.gw.write(w.globalBlock(), w.site(w.base))
}

func (w *world) globalBlock() string {
	store := "\t\tstore bolt\n"
	if w.redis != nil {
		store = fmt.Sprintf("\t\tstore redis redis://%s/0\n\t\tsecret %s\n", w.redis.Addr, w.secret)
	}
	return w.opts.caddy + "\tsso {\n" + store + w.opts.global + "\n\t}"
}

// site is the protected site at an origin.
func (w *world) site(base string) string {
	p := certificates(w.t)
	tls := ""
	if strings.HasPrefix(base, "https:") {
		tls = fmt.Sprintf("\ttls %s %s\n", p.certFile, p.keyFile)
	}
	return fmt.Sprintf(`%s {
%s	log
	sso oidc %s %s %s {
		ca %s
%s%s
	}
%s
	reverse_proxy %s {
		flush_interval -1
	}
}
`, base, tls, w.issuer(), w.client.id, w.client.secret, p.caFile, roleLines, w.opts.block, w.opts.site, w.app.address())
}

// issuer is Keycloak's as the site knows it.
func (w *world) issuer() string { return w.kc.issuer(w.idp.port) }

// host is the site's host name, the assertion's audience.
func (w *world) host() string {
	_, rest, _ := strings.Cut(w.opts.origin, "://")
	return rest
}

// atIdP is what URLs at the provider begin with.
func (w *world) atIdP() string { return fmt.Sprintf("https://127.0.0.1:%d/", w.idp.port) }

// eachStore runs a test with each store, in parallel.
func eachStore(t *testing.T, f func(t *testing.T, store string)) {
	t.Helper()
	for _, store := range []string{"bolt", "redis"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			f(t, store)
		})
	}
}

// bothStores runs a test against a world with each store: each has all of its own but
// Keycloak.
func bothStores(t *testing.T, o worldOptions, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	eachStore(t, func(t *testing.T, store string) {
		own := o
		own.store = store
		f(t, newWorld(t, own))
	})
}
