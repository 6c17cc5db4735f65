//go:build integration

package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A samlWorld is a fleet with any number of sites. Each site is a service provider of its
// own with an app of its own; its identity provider is Keycloak, reached through a relay so
// that it can fail, or SimpleSAMLphp.
type samlWorld struct {
	fleet
	opts  samlOptions
	kc    *keycloak
	idp   *relay
	sites []*samlSite
}

// samlOptions say what differs from: bolt, one node, the provider up.
type samlOptions struct {
	store string
	nodes int
	// global are more lines of the global sso block.
	global func(w *samlWorld) string
	// caddy are more of Caddy's global options.
	caddy string
	// idpHost is Keycloak's host name; 127.0.0.1 by default. The gateway finds
	// no other name: a site's metadata are then a file.
	idpHost string
	idpDown bool
	stopped bool
	// oneByOne is that of the gateway.
	oneByOne bool
}

// unlimited are options for a test that brings many answers which are refused,
// all from one address.
func unlimited() samlOptions {
	return samlOptions{global: func(*samlWorld) string { return "\t\tlimit off" }}
}

// A samlSite is a site and what its service provider is registered as.
type samlSite struct {
	name string
	// php makes SimpleSAMLphp the provider, not Keycloak.
	php bool
	// client are attributes of the registration at Keycloak, mappers its
	// mappers; options those of the registration at SimpleSAMLphp.
	client  map[string]string
	mappers []map[string]any
	options map[string]any
	// unregistered leaves the registration to the test.
	unregistered bool
	// provider returns what follows `sso`, with the begin of its block or
	// without, block more lines of that. Without provider: `saml` and the
	// metadata's URL.
	provider func(w *samlWorld, s *samlSite) string
	block    string

	app        *app
	host, base string
}

func newSAMLWorld(t *testing.T, o samlOptions, sites ...samlSite) *samlWorld {
	t.Helper()
	w := &samlWorld{fleet: newFleet(t, o.nodes, o.store == "redis"), opts: o, kc: theKeycloak(t)}
	w.idp = newRelay(t, w.kc.port)
	if !o.idpDown {
		w.idp.up()
	}
	for _, s := range sites {
		s.app = newApp(t)
		s.host = s.name + ".one.test"
		s.base = fmt.Sprintf("https://%s:%d", s.host, w.port)
		s.app.trust(t, s.base, s.host)
		w.sites = append(w.sites, &s)
		if !s.unregistered {
			w.register(&s)
		}
	}
	for _, n := range w.nodes {
		n.oneByOne = o.oneByOne
		w.configure(n)
		if !o.stopped {
			n.start()
		}
	}
	// The key that signs requests is made for whoever needs it first. On a slow machine that
	// takes longer than a sign-in waits.
	if !o.stopped && len(w.sites) > 0 {
		c := newClient(t)
		eventually(t, "the key is made", 2*time.Minute, func() bool { return c.fetch(w.sites[0].entityID()).status != http.StatusServiceUnavailable })
	}
	return w
}

// register makes a site known to its identity provider.
func (w *samlWorld) register(s *samlSite) {
	w.t.Helper()
	if s.php {
		theSimpleSAMLphp(w.t).register(w.t, spMetadata(s.entityID(), s.acs()), s.options)
		return
	}
	w.kc.samlClient(w.t, s.entityID(), s.acs(), s.client, s.mappers...)
}

// entityID and acs are what a site is known by unless it is told otherwise.
func (s *samlSite) entityID() string { return s.base + "/.sso/saml/metadata" }
func (s *samlSite) acs() string      { return s.base + "/.sso/saml/acs" }

// site returns the site with a name.
func (w *samlWorld) site(name string) *samlSite {
	w.t.Helper()
	for _, s := range w.sites {
		if s.name == name {
			return s
		}
	}
	w.t.Fatalf("there is no site %s", name)
	return nil
}

// gw is the first node.
func (w *samlWorld) gw() *gateway { return w.nodes[0].gateway }

// configure writes a node's Caddyfile.
func (w *samlWorld) configure(n *node) {
	w.t.Helper()
	store := "store bolt"
	if w.redis != nil {
		store = fmt.Sprintf("store redis redis://%s/0\n\t\tsecret %s", w.redis.Addr, w.secret)
	}
	global := ""
	if w.opts.global != nil {
		global = w.opts.global(w)
	}
	p := certificates(w.t)
	var sites strings.Builder
	for _, s := range w.sites {
		provider := "saml " + w.metadataURL(s)
		if s.provider != nil {
			provider = s.provider(w, s)
		}
		if !strings.Contains(provider, "{\n") {
			provider += " {"
		}
		if strings.HasPrefix(provider, "saml https://") {
			provider += "\n\t\tca " + p.caFile
		}
		if strings.HasPrefix(provider, "saml ") {
			provider += "\n\t\tname " + s.name
		}
		fmt.Fprintf(&sites, "%s {\n\tbind %s\n\ttls %s %s\n\tlog\n\tsso %s\n%s%s\n\t}\n\treverse_proxy %s {\n\t\tflush_interval -1\n\t}\n}\n",
			s.base, n.ip, p.certFile, p.keyFile, provider, roleLines, s.block, s.app.address())
	}
	n.write(fmt.Sprintf("%s\tsso {\n\t\t%s\n%s\n\t}", w.opts.caddy, store, global), sites.String())
}

// idpBase is the origin that Keycloak answers as.
func (w *samlWorld) idpBase() string {
	host := w.opts.idpHost
	if host == "" {
		host = "127.0.0.1"
	}
	return fmt.Sprintf("https://%s:%d", host, w.idp.port)
}

// idpEntityID is the realm's entity ID at its relay.
func (w *samlWorld) idpEntityID() string { return w.idpBase() + "/realms/" + realmName }

// metadataURL is where the metadata of a site's provider are.
func (w *samlWorld) metadataURL(s *samlSite) string {
	if s.php {
		return theSimpleSAMLphp(w.t).metadataURL()
	}
	return w.idpBase() + samlPath + "/descriptor"
}

// metadataOf returns the metadata of a site's provider.
func (w *samlWorld) metadataOf(s *samlSite) string {
	w.t.Helper()
	at := w.metadataURL(s)
	resp, err := newClient(w.t).http.Get(at)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("asking for %s: %s, %v", at, resp.Status, err)
	}
	return string(b)
}

// metadataFile writes the metadata of a site's provider to a file of the first
// node and returns its path.
func (w *samlWorld) metadataFile(s *samlSite) string {
	w.t.Helper()
	file := filepath.Join(w.gw().dir, s.name+".xml")
	if err := os.WriteFile(file, []byte(w.metadataOf(s)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// codeOf returns the code of a problem or of our page, or "".
func codeOf(p *page) string {
	if code := codeIn(p.body); code != "" {
		return code
	}
	_, rest, ok := strings.Cut(p.body, "<code>")
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(rest, "</code>")
	return code
}
