package caddymodule

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/fetch"
)

// findNodes tells each Proxmox VE its nodes: those of the configuration, else the upstreams
// of the site's reverse_proxy.
func findNodes(places []place) error {
	var errs []error
	for _, p := range places {
		if app := p.handler.opts.As; app.IsProxmox() {
			nodes, err := p.nodes()
			if err != nil {
				errs = append(errs, fmt.Errorf("site %s: as: %w", p.handler.site, err))
			}
			app.SetNodes(nodes)
		}
	}
	return errors.Join(errs...)
}

func (p place) nodes() (nodes []connect.Node, err error) {
	as := p.handler.As
	own, err := as.transport()
	if err != nil {
		return nil, err
	}
	proxies := proxiesIn(p.routes())
	for _, other := range proxies {
		if !sameUpstreams(other, proxies[0]) {
			return nil, fmt.Errorf("the site has a `reverse_proxy` to %s and one to %s: the app that is no Proxmox VE would get the tickets of Proxmox VE. Give it a site of its own",
				dials(proxies[0]), dials(other))
		}
	}
	for _, proxy := range proxies {
		for _, n := range upstreams(proxy, nil) {
			host, plain := strings.CutPrefix(n.URL, "http://")
			if plain && fetch.New(fetch.Options{}).CheckURL(n.URL) != nil {
				return nil, fmt.Errorf("`reverse_proxy` would reach the node %s by plain http: write `https://%[1]s` there", host)
			}
		}
	}
	for _, url := range as.Node {
		nodes = append(nodes, connect.Node{URL: url, Transport: own})
	}
	if len(nodes) == 0 && len(proxies) > 0 {
		nodes = upstreams(proxies[0], own)
	}
	if len(nodes) == 0 {
		return nil, errors.New("the site has no `reverse_proxy` with a fixed upstream, so the node is not known: write `node https://<host>:8006` in the block of `as proxmox`")
	}
	for _, n := range nodes {
		if err := fetch.New(fetch.Options{Transport: n.Transport}).CheckURL(n.URL); err != nil {
			return nil, fmt.Errorf("node: %s %w", n.URL, err)
		}
	}
	return nodes, nil
}

// upstreams returns the nodes behind a reverse_proxy. own replaces its transport, if it is
// not nil.
func upstreams(proxy *reverseproxy.Handler, own http.RoundTripper) (nodes []connect.Node) {
	scheme := "http://"
	if t, ok := proxy.Transport.(reverseproxy.TLSTransport); ok && t.TLSEnabled() {
		scheme = "https://"
	}
	if own == nil {
		own = withReplacer{proxy.Transport}
	}
	for _, up := range proxy.Upstreams {
		if !strings.ContainsAny(up.Dial, "{/") {
			nodes = append(nodes, connect.Node{URL: scheme + up.Dial, Transport: own})
		}
	}
	return nodes
}

// sameUpstreams says whether two proxies lead to the same servers.
func sameUpstreams(a, b *reverseproxy.Handler) bool {
	return a == b || dials(a) == dials(b) && a.DynamicUpstreams == nil && b.DynamicUpstreams == nil
}

// dials names the servers of a proxy, sorted.
func dials(proxy *reverseproxy.Handler) string {
	var all []string
	for _, up := range proxy.Upstreams {
		all = append(all, up.Dial)
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(slices.Compact(all), " "), "servers that it looks up")
}

// routes returns the routes of the site.
func (p place) routes() caddyhttp.RouteList {
	for _, handler := range slices.Backward(p.line) {
		if sub, ok := handler.(*caddyhttp.Subroute); ok {
			return sub.Routes
		}
	}
	if p.in == nil {
		return nil
	}
	return p.in.routes
}

func proxiesIn(routes caddyhttp.RouteList) (found []*reverseproxy.Handler) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *reverseproxy.Handler:
				found = append(found, h)
			case *caddyhttp.Subroute:
				found = append(found, proxiesIn(h.Routes)...)
			}
		}
	}
	return found
}

// withReplacer is a transport of reverse_proxy outside of a request: it may ask for
// placeholders.
type withReplacer struct{ http.RoundTripper }

func (t withReplacer) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.RoundTripper.RoundTrip(r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())))
}

// transport returns how the gateway verifies the nodes. Nil: as reverse_proxy does, or by
// the system's authorities.
func (a *As) transport() (http.RoundTripper, error) {
	sum, err := readFingerprint(a.Fingerprint)
	if err != nil || sum == nil && a.CA == "" {
		return nil, err
	}
	if sum != nil {
		return fetch.Pinned(func(state tls.ConnectionState) error {
			got := sha256.Sum256(state.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(got[:], sum) != 1 {
				return fmt.Errorf("the certificate has the fingerprint %x, and `fingerprint` is another", got)
			}
			return nil
		}), nil
	}
	pem, err := readFile("ca", a.CA)
	if err != nil {
		return nil, err
	}
	roots, err := fetch.Pool(pem)
	if err != nil {
		return nil, err
	}
	return fetch.Trusting(roots), nil
}
