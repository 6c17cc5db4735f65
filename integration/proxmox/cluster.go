//go:build integration

// Package proxmox is a double of a Proxmox VE cluster. Nodes listen on loopback with
// self-signed certificates and answer as pveproxy does: they read HTTP/1.1 themselves,
// because net/http accepts requests that pveproxy refuses.
//
//	cluster := proxmox.Start(t, proxmox.Settings{Roots: roots})
//	cluster.Pveum(`realm add gw --type openid --issuer-url https://… --client-id proxmox …`)
//	cluster.Nodes[0].URL // the site's reverse_proxy
//
// It was written from notes about the real code, and then compared with its sources. It knows
// nothing of the gateway.
package proxmox

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// Settings are a cluster's. The zero value is one node of a current version.
type Settings struct {
	// Nodes are the names of the nodes. Default: one, pve1.
	Nodes []string
	// Delay is how long a node waits before it answers 401. Default: 3 s, as the real one.
	Delay time.Duration
	// Old makes the nodes those before libpve-access-control 8.2.1: they don't know the
	// options groups-… and query-userinfo of a realm.
	Old bool
	// Roots are the authorities by which the nodes trust an OpenID provider. Default: the system's.
	Roots *x509.CertPool
	// Key signs the tickets. Default: a new one, which takes a while to make.
	Key *rsa.PrivateKey
}

// A Cluster is what its nodes share: users, realms, keys and the clock.
type Cluster struct {
	Nodes []*Node

	settings Settings
	client   *http.Client

	mu      sync.Mutex
	skew    time.Duration // how far the clock was moved
	keys    []authKey     // the newest first
	csrfKey []byte
	users   map[string]*user
	groups  map[string]bool
	realms  map[string]url.Values
	acl     []grant
	log     []string
	seen    []Request
	answer  func(http.ResponseWriter, *http.Request) bool
	open    int // consoles
}

// A Request is one that a node got.
type Request struct {
	Node, Method, Path string
	Header             http.Header
}

// Start starts a cluster, which ends with the test. Its one user is root@pam.
func Start(tb testing.TB, settings Settings) *Cluster {
	tb.Helper()
	if len(settings.Nodes) == 0 {
		settings.Nodes = []string{"pve1"}
	}
	if settings.Delay == 0 {
		settings.Delay = 3 * time.Second
	}
	if settings.Key == nil {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			tb.Fatal(err)
		}
		settings.Key = key
	}
	c := &Cluster{
		settings: settings, client: strictClient(settings.Roots),
		csrfKey: []byte(rand.Text()), groups: map[string]bool{},
		users:  map[string]*user{"root@pam": {enabled: true}},
		realms: map[string]url.Values{"pam": {"type": {"pam"}}, "pve": {"type": {"pve"}}},
		acl:    []grant{{path: "/", ugid: "root@pam", role: "Administrator"}},
	}
	// The key is older than any ticket, until it is rotated.
	c.keys = []authKey{{settings.Key, time.Now().Add(-ticketLife)}}
	for _, name := range settings.Nodes {
		n, err := newNode(c, name)
		if err == nil {
			err = n.up("127.0.0.1:0")
		}
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(n.Down)
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

// Now is the time of the cluster's clock.
func (c *Cluster) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Cluster) now() time.Time { return time.Now().Add(c.skew) }

// Move moves the cluster's clock, by a negative d into the past.
func (c *Cluster) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew += d
}

// RotateKey makes a new key for tickets, as a cluster does every 24 hours.
func (c *Cluster) RotateKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = []authKey{{key, c.now()}, c.keys[0]}
	return nil
}

// Answer has answer see each request first. If it returns true, it has answered. So a test
// makes a node that talks nonsense, or that hangs until the request's context ends, with Down.
func (c *Cluster) Answer(answer func(http.ResponseWriter, *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// Requests returns the requests with this method and path so far; an empty one means any.
func (c *Cluster) Requests(method, path string) []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.seen), func(r Request) bool {
		return method != "" && r.Method != method || path != "" && r.Path != path
	})
}

// Log returns the lines of the nodes' log. Only there a node says why a login failed.
func (c *Cluster) Log() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

// Consoles returns how many consoles are open.
func (c *Cluster) Consoles() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

func (c *Cluster) logf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, fmt.Sprintf(format, args...))
}
