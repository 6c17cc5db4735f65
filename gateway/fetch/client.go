package fetch

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// Timeout bounds one request of a Client, from connecting to the last byte of the
// response.
const Timeout = 5 * time.Second

// ErrTooLarge is in the error of Client.Do if the response is larger than the limit.
var ErrTooLarge = errors.New("larger than the limit")

// A Client makes the gateway's own requests to providers. It follows no redirect,
// verifies TLS (1.2 or later), uses plain http with loopback only, limits the size of
// a response, and gives up after Timeout. A response is as untrusted as the provider.
//
// The proxy of the environment (HTTPS_PROXY, NO_PROXY) is used, except for loopback.
// "localhost" and names below ".localhost" are dialled as 127.0.0.1 or ::1 without a
// resolver (RFC 6761 §6.3). So plain http that is permitted by name really stays on
// this machine.
type Client struct {
	client       *http.Client
	insecureHTTP bool
	timeout      time.Duration
}

// Options configure a Client. The zero value is the strictest.
type Options struct {
	// RootCAs verify the provider's certificate. Nil: the system's.
	RootCAs *x509.CertPool
	// InsecureHTTP permits plain http beyond loopback. An attacker on the network in
	// between can then sign in as anybody.
	InsecureHTTP bool
	// Transport replaces the network, for tests and for servers that are reached in another
	// way. Nil: the hardened transport.
	Transport http.RoundTripper
	// Timeout replaces that of the package. Zero: Timeout.
	Timeout time.Duration
}

// A Response is a response with its whole body.
type Response struct {
	// Status is the HTTP status. Redirects are not followed, so it may be 3xx.
	Status int
	// MediaType is the Content-Type in lower case without parameters, even malformed
	// ones; empty if the header is missing or the type itself is malformed.
	MediaType string
	// ContentType is the header as it came, for messages.
	ContentType string
	// Reason is the text after the status, as the server wrote it.
	Reason string
	// Date is when the server responded by its own clock; zero if it does not say.
	Date time.Time
	// Challenge is the header WWW-Authenticate, which may tell why the server refuses
	// (RFC 6750 §3).
	Challenge string
	// Body is never larger than the limit of Do.
	Body []byte
	// RetryAfter is the server's Retry-After, at most MaxRetryAfter; zero if there is
	// none.
	RetryAfter time.Duration
}

// Unavailable returns the error for a provider that can't be reached, or that talks nonsense
// outside of the answer that is being verified.
func Unavailable(format string, args ...any) error {
	return refusal.New(refusal.ProviderUnavailable, fmt.Errorf(format, args...))
}

// Pool returns the certificates in PEM for Options; nil, which stands for the system's, if
// there are none.
func Pool(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("checking ca: no certificate in PEM form")
	}
	return pool, nil
}

// New returns a Client. It keeps idle connections for 30 seconds and needs no
// closing.
func New(opts Options) *Client {
	transport := opts.Transport
	if transport == nil {
		transport = hardenedTransport(opts.RootCAs)
	}
	return &Client{
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		insecureHTTP: opts.InsecureHTTP,
		timeout:      cmp.Or(opts.Timeout, Timeout),
	}
}

// Trusting returns the hardened transport with authorities of its own.
func Trusting(roots *x509.CertPool) http.RoundTripper { return hardenedTransport(roots) }

// Pinned returns the hardened transport to servers whose certificate verify accepts. No
// authority is asked, and no name is compared.
func Pinned(verify func(tls.ConnectionState) error) http.RoundTripper {
	t := hardenedTransport(nil)
	t.TLSClientConfig.InsecureSkipVerify, t.TLSClientConfig.VerifyConnection = true, verify
	return t
}

func hardenedTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if IsLoopback(r.URL.Hostname()) {
				return nil, nil
			}
			return http.ProxyFromEnvironment(r)
		},
		OnProxyConnectResponse: proxyRefusal,
		DialContext:            dialLocalhost,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // nothing here is worth a decompression bomb
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    Timeout,
		ResponseHeaderTimeout:  Timeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// proxyRefusal names the proxy if it, not the provider, refuses.
func proxyRefusal(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("the proxy %s, which HTTPS_PROXY names, does not connect to it: the status is %d; permit it there, or name the host in NO_PROXY", proxy.Host, resp.StatusCode)
}

// CheckURL refuses a URL that Do would not fetch. It must be absolute and https (or
// permitted http), with a host, without user information and without fragment.
func (c *Client) CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("is no URL") // url.Error would quote it, with a password
	}
	if strings.Contains(raw, "#") { // url.URL does not distinguish an empty fragment from none
		return errors.New("carries a fragment")
	}
	return c.check(u)
}

func (c *Client) check(u *url.URL) error {
	switch {
	case !u.IsAbs() || u.Hostname() == "" || u.Opaque != "":
		return errors.New("is no absolute URL with a host")
	case u.User != nil:
		return errors.New("carries a user name or password: leave them out")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("has the scheme %.20q: expected https", u.Scheme)
	case !c.insecureHTTP && !IsLoopback(u.Hostname()):
		return errors.New("uses plain http beyond loopback, where anybody on the network could read and change it: expected https")
	}
	return nil
}

// Do sends one request and reads its response. It fails if the URL is not permitted,
// no response comes in time, or the body is larger than limit bytes. No status is an
// error. The error names method, host and path, never a query, a header or a body.
//
// A request that reached the server is never sent twice, unless it is a GET whose
// connection was lost.
func (c *Client) Do(req *http.Request, limit int64) (*Response, error) {
	where := req.Method + " " + req.URL.Scheme + "://" + req.URL.Host + req.URL.EscapedPath()
	if err := c.check(req.URL); err != nil {
		return nil, fmt.Errorf("sending %s: the URL %w", where, err)
	}
	ctx, cancel := context.WithTimeout(req.Context(), c.timeout)
	defer cancel()
	resp, err := c.client.Do(req.WithContext(ctx)) //nolint:gosec // G704: fetching URLs of configuration and providers is its purpose; check bounds them
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, fmt.Errorf("sending %s: %w", where, wording.Network(unquoted(err)))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the response to %s: %w", where, wording.Network(err))
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("reading the response to %s: %w of %d bytes", where, ErrTooLarge, limit)
	}
	types := resp.Header.Values("Content-Type")
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	_, reason, _ := strings.Cut(resp.Status, " ")
	return &Response{
		Status: resp.StatusCode, Reason: reason, Date: date, MediaType: mediaType(types), ContentType: strings.Join(types, ", "),
		Challenge: resp.Header.Get("WWW-Authenticate"), Body: body, RetryAfter: retryAfter(resp.Header, time.Now()),
	}, nil
}

// mediaType reads the text before the parameters. Some servers send odd parameters
// ("application/json; utf-8"), and none of them matters here. A comma among odd
// parameters may begin another type.
func mediaType(types []string) string {
	if len(types) != 1 {
		return ""
	}
	media, _, err := mime.ParseMediaType(types[0])
	if err == nil {
		return media
	}
	bare, parameters, _ := strings.Cut(types[0], ";")
	if media, _, err = mime.ParseMediaType(bare); err != nil || strings.Contains(parameters, ",") {
		return ""
	}
	return media
}

// unquoted removes net/http's quotation of a response that is not HTTP.
func unquoted(err error) error {
	if what, _, quotes := strings.Cut(err.Error(), ` "`); quotes && strings.Contains(what, "malformed ") {
		return errors.New(what)
	}
	return err
}

// isLocalhost reports whether name is localhost or below it.
func isLocalhost(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// IsLoopback reports whether host, without a port, never leaves this machine, so that
// plain http is as good as https: localhost, *.localhost (RFC 6761 §6.3), 127.0.0.0/8
// or ::1.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return isLocalhost(host) || err == nil && addr.Unmap().IsLoopback()
}

func dialLocalhost(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isLocalhost(host) {
		return dialer.DialContext(ctx, network, addr)
	}
	conn, err := dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		return conn, nil
	}
	conn, err6 := dialer.DialContext(ctx, network, net.JoinHostPort("::1", port))
	if err6 == nil {
		return conn, nil
	}
	return nil, err
}
