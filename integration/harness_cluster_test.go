//go:build integration

package integration

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A fleet is one gateway or several on one store. They listen at one port, at an address of
// their own each: the client picks the node.
type fleet struct {
	t      *testing.T
	nodes  []*node
	port   int
	redis  *gatewaytest.Redis // nil with bolt
	secret string             // of the store's records
	roots  *x509.CertPool     // that its people trust
}

// A node is one gateway of a fleet.
type node struct {
	*gateway
	ip    string
	redis string // where it finds Redis
}

// newFleet makes the nodes, which run nothing yet, and starts Redis with more arguments, if
// it is the store.
func newFleet(t *testing.T, nodes int, redis bool, redisArgs ...string) fleet {
	t.Helper()
	f := fleet{t: t, port: gatewaytest.FreePort(), secret: "canary-store-secret-" + randomHex(32), roots: certificates(t).pool.Clone()}
	if redis {
		f.redis = gatewaytest.StartRedis(t, redisArgs...)
	}
	for i := range max(1, nodes) {
		n := &node{gateway: newGateway(t), ip: fmt.Sprintf("127.0.0.%d", i+1)}
		if redis {
			n.redis = f.redis.Addr
		}
		f.nodes = append(f.nodes, n)
	}
	return f
}

// client is a new person who comes to a node. from, if given, is the address
// that the node sees.
func (f *fleet) client(at int, from ...string) *client {
	f.t.Helper()
	c := newClient(f.t)
	c.http.Transport = f.transport(at, from...)
	return c
}

// as is the same person at another node: other connections, and the cookies of a site as
// they are now. If one of the two loses its cookies by a logout, the other keeps its own.
func (f *fleet) as(c *client, base string, at int) *client {
	f.t.Helper()
	return f.client(at).with(base, c.cookies(base))
}

// dialAddress is where a node listens.
func (f *fleet) dialAddress(at int) string {
	return net.JoinHostPort(f.nodes[at].ip, fmt.Sprint(f.port))
}

func (f *fleet) transport(at int, from ...string) *http.Transport {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.roots},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !strings.HasSuffix(addr, fmt.Sprint(":", f.port)) {
				return dialLoopback(ctx, network, addr)
			}
			var d net.Dialer
			if len(from) > 0 {
				d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from[0]), 0))
			}
			return d.DialContext(ctx, network, f.dialAddress(at))
		},
	}
	f.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// A cluster is a fleet with one app behind it, whose nodes have the same origin, as behind
// a load balancer. The provider is a fake one that answers at once, so that only the
// gateways and the store are put to the test.
type cluster struct {
	fleet
	opts clusterOptions
	op   *gatewaytest.OP
	app  *app
	host string
	base string // the site's origin
}

type clusterOptions struct {
	// nodes is how many; with bolt it must be 1.
	nodes int
	// bolt is the path of the embedded store, or empty for Redis.
	bolt string
	// redisArgs are more arguments for redis-server.
	redisArgs []string
	// through returns where a node finds Redis, if not at the address given.
	through func(node int, addr string) string
	// block are more lines of the site's sso block, site of the site (where APP
	// stands for the app), global of the global block, caddy of Caddy's global
	// options; sites are more sites.
	block, site, global, caddy, sites string
	// secrets are others behind the store's, each after a blank.
	secrets string
	// proxy are more lines of reverse_proxy, upstream is another app behind it.
	proxy, upstream string
	// plain serves http://app.localhost instead of https://app.test.
	plain bool
	// stopped leaves the nodes to be started by the test.
	stopped bool
	// oneByOne is that of each node.
	oneByOne bool
	// env is added to the nodes' environment.
	env []string
}

func newCluster(t *testing.T, o clusterOptions) *cluster {
	t.Helper()
	cl := &cluster{fleet: newFleet(t, o.nodes, o.bolt == "", o.redisArgs...), opts: o, op: gatewaytest.NewOP(t, gatewaytest.OPOptions{}), app: newApp(t)}
	cl.roots.AppendCertsFromPEM(cl.op.Roots)
	cl.host, cl.base = "app.test", fmt.Sprintf("https://app.test:%d", cl.port)
	if o.plain {
		cl.host, cl.base = "app.localhost", fmt.Sprintf("http://app.localhost:%d", cl.port)
	}
	for i, n := range cl.nodes {
		if o.through != nil {
			n.redis = o.through(i, n.redis)
		}
		n.oneByOne = o.oneByOne
		n.env = slices.Concat(o.env, []string{"OP_SECRET=" + cl.op.ClientSecret, "STORE_SECRET=" + cl.secret})
		if err := os.WriteFile(filepath.Join(n.dir, "op.pem"), cl.op.Roots, 0o600); err != nil {
			t.Fatal(err)
		}
		cl.configure(n)
		if !o.stopped {
			n.start()
		}
	}
	cl.app.trust(t, cl.base, cl.host)
	return cl
}

// configure writes a node's Caddyfile anew from the options.
func (cl *cluster) configure(n *node) {
	cl.t.Helper()
	store := fmt.Sprintf("store redis redis://%s/0\n\t\tsecret {env.STORE_SECRET}%s", n.redis, cl.opts.secrets)
	if cl.redis == nil {
		store = "store bolt " + cl.opts.bolt
	}
	tls := ""
	if !cl.opts.plain {
		p := certificates(cl.t)
		tls = fmt.Sprintf("tls %s %s", p.certFile, p.keyFile)
	}
	n.write(fmt.Sprintf("%s\tsso {\n\t\t%s\n%s\n\t}", cl.opts.caddy, store, cl.opts.global), fmt.Sprintf(`%s {
	bind %s
	%s
	sso oidc %s %s {env.OP_SECRET} {
		ca op.pem
		role  Admin admins
		group team  staff
		public /open
%s
	}
%s
	reverse_proxy %s {
		flush_interval -1
%s
	}
}
%s
`, cl.base, n.ip, tls, cl.op.Issuer, cl.op.ClientID, cl.opts.block, strings.ReplaceAll(cl.opts.site, "APP", cl.app.address()), cmp.Or(cl.opts.upstream, cl.app.address()), cl.opts.proxy, cl.opts.sites))
}

// at is the same person at another node.
func (cl *cluster) at(c *client, at int) *client { return cl.as(c, cl.base, at) }

// signIn signs a new person in at a node.
func (cl *cluster) signIn(at int) *client {
	cl.t.Helper()
	c := cl.client(at)
	if r := c.echoed(c.navigate(cl.base + "/")); r.Identity == nil || r.Identity.Username != "alice" {
		cl.t.Fatalf("the app was told %+v, %s", r.Identity, r.AssertionError)
	}
	return c
}

// served says that c is served at a node, which therefore knows the login by
// now; the test ends if not.
func (cl *cluster) served(c *client, at int) {
	cl.t.Helper()
	other := cl.at(c, at)
	other.echoed(other.fetch(cl.base + "/"))
}

// A sample is one of the requests that are made all the time.
type sample struct {
	began  time.Time
	took   time.Duration
	status int // 0 if there was no answer
	code   string
	err    error
}

func (s sample) String() string {
	return fmt.Sprintf("%d %s %v after %v", s.status, s.code, s.err, s.took.Round(time.Millisecond))
}

// cutBy says whether the request was on its way through the app when a logout
// was asked for and not yet answered, and its connection was cut, since its answer had
// begun: else it is a 401. However busy the machine is, it ended after the logout began,
// and the logout took no longer than a request may.
func (s sample) cutBy(begun, answered time.Time) bool {
	return s.err != nil && s.began.Before(answered) && s.began.Add(s.took).After(begun) && answered.Sub(begun) < stale
}

// probe requests a URL with c's cookies all the time until stop is called,
// which returns what came of it, in the order of beginning.
func probe(c *client, target string, every time.Duration) (stop func() []sample) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var samples []sample
	var wg sync.WaitGroup
	var first sync.Once
	answered := make(chan struct{})
	client := &http.Client{Jar: c.http.Jar, Transport: c.http.Transport, Timeout: 15 * time.Second}
	wg.Go(func() {
		for ctx.Err() == nil {
			wg.Go(func() {
				s := request(client, target)
				mu.Lock()
				samples = append(samples, s)
				mu.Unlock()
				first.Do(func() { close(answered) })
			})
			time.Sleep(every)
		}
	})
	stop = func() []sample {
		cancel()
		wg.Wait()
		slices.SortFunc(samples, func(a, b sample) int { return a.began.Compare(b.began) })
		return samples
	}
	c.t.Cleanup(func() { cancel(); wg.Wait() })
	<-answered // each request ends within the client's timeout
	return stop
}

// request makes one request as an API client does.
func request(client *http.Client, target string) (s sample) {
	s.began = time.Now()
	defer func() { s.took = time.Since(s.began) }()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
	if err != nil {
		s.err = err
		return s
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		s.err = err
		return s
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.err = err
		return s
	}
	s.status, s.code = resp.StatusCode, codeIn(string(body))
	if s.status != http.StatusOK && s.code == "" {
		s.err = errors.New("the answer has no code")
	}
	return s
}

// codeIn returns the code of a problem, or "".
func codeIn(body string) string {
	_, rest, ok := strings.Cut(body, `"code":"`)
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(rest, `"`)
	return code
}
