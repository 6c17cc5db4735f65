package connect

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A Node is one of a Proxmox VE cluster.
type Node struct {
	// URL is its origin, such as https://10.0.0.5:8006.
	URL string
	// Transport reaches it.
	Transport http.RoundTripper
}

// A node has the requests that the gateway itself sends to one.
type node struct {
	url    string
	client *fetch.Client
	checks *checklist
	failed atomic.Int64 // when a login failed because of this node, in Unix nanoseconds
}

const (
	// nodeTimeout bounds one request to a node. A node waits three seconds before it
	// refuses.
	nodeTimeout = 10 * time.Second
	// maxResponse bounds what a node responds, in bytes: a login has all privileges of the
	// user in it.
	maxResponse = 1 << 20
	// nodeRest is how long the others are asked first after a login failed because of a node.
	nodeRest = 30 * time.Second
)

func newNode(n Node, c *checklist) *node {
	return &node{url: strings.TrimSuffix(n.URL, "/"), client: fetch.New(fetch.Options{Transport: n.Transport, Timeout: nodeTimeout}), checks: c}
}

// inOrder returns the nodes in the order in which they are asked.
func inOrder(nodes []*node) []*node {
	return slices.SortedStableFunc(slices.Values(nodes), func(a, b *node) int { return a.rests() - b.rests() })
}

// rests says whether the others are asked first, as 0 or 1.
func (n *node) rests() int {
	if time.Since(time.Unix(0, n.failed.Load())) < nodeRest {
		return 1
	}
	return 0
}

// isNodes says whether a login failed because of the node, so that another may do it.
func isNodes(err error) bool {
	switch refusal.CodeOf(err) {
	case refusal.ProxmoxUnavailable, refusal.ProxmoxDiscovery, refusal.ProxmoxClock:
		return true
	}
	return false
}

// send sends a form to the API. header has the credentials, if any.
func (n *node) send(ctx context.Context, method, path string, header http.Header, fields url.Values) (*fetch.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, n.url+"/api2/json"+path, strings.NewReader(fields.Encode()))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := n.client.Do(req, maxResponse)
	if err != nil {
		return nil, refusal.New(refusal.ProxmoxUnavailable, fmt.Errorf("node %s: %w", n.url, err))
	}
	return response, nil
}

// data reads what a node responds.
func (n *node) data(response *fetch.Response, into any) error {
	var all struct {
		Data json.RawMessage `json:"data"`
	}
	err := json.Unmarshal(response.Body, &all)
	if err == nil {
		err = json.Unmarshal(all.Data, into)
	}
	if response.Status != http.StatusOK || err != nil || string(all.Data) == "null" {
		return refusal.New(refusal.ProxmoxUnavailable, fmt.Errorf("node %s: it responds %d, and not as Proxmox VE does: is the address right?", n.url, response.Status))
	}
	return nil
}

// message is why a node refuses: in the status line, and since Proxmox VE 8 in the body.
func message(response *fetch.Response) string {
	var body struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(response.Body, &body) == nil && body.Message != "" {
		return strings.TrimSpace(body.Message)
	}
	return response.Reason
}

// authURL asks a node where it would send a browser to sign in. issuer is what its realm should
// have.
func (n *node) authURL(ctx context.Context, realm, issuer string) (*url.URL, error) {
	response, err := n.send(ctx, http.MethodPost, "/access/openid/auth-url", nil, url.Values{"realm": {realm}, "redirect-url": {RedirectURL}})
	if err != nil {
		return nil, err
	}
	if response.Status >= http.StatusInternalServerError || response.Status == http.StatusBadRequest {
		why := message(response)
		code := discoveryFault(why)
		if response.Status > http.StatusNotImplemented { // pveproxy's own, such as "595 Connection refused": its daemon is down
			code = refusal.ProxmoxUnavailable
		}
		return nil, refusal.New(code, fmt.Errorf("node %s: realm %q can't sign anybody in: the node responds %d, %s; the realm's issuer-url has to be %s",
			n.url, realm, response.Status, wording.Theirs(why), issuer))
	}
	var to string
	if err := n.data(response, &to); err != nil {
		return nil, err
	}
	at, err := url.Parse(to)
	if err != nil {
		return nil, refusal.New(refusal.ProxmoxUnavailable, fmt.Errorf("node %s: it responds with an address that is none", n.url))
	}
	return at, nil
}

// discoveryFault tells by the message of a node what is wrong with its realm. The words are
// those of Proxmox VE and of its OpenID client.
func discoveryFault(message string) refusal.Code {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(strings.ToLower(message), w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("too many pending"):
		return refusal.ProxmoxUnavailable
	case has("unknownissuer"): // rustls's word for an unknown authority
		return refusal.ProxmoxDiscovery
	case has("issuer", "relative url", "invalid url"):
		return refusal.ProxmoxIssuer
	case has("certificate", "tls", "ssl", "dns", "resolve", "connect", "timed out", "timeout", "request failed", "unreachable", "discover", "parse", "server return", "invalid response"):
		return refusal.ProxmoxDiscovery
	case has("realm", "domain", "parameter"):
		return refusal.ProxmoxRealm
	}
	return refusal.ProxmoxUnavailable
}

// maxSkew is by how much the clock of a node may differ.
const maxSkew = time.Minute

// login brings a code to a node, and returns the ticket of user.
func (n *node) login(ctx context.Context, state, code, user string, redeemed func() bool) (string, error) {
	response, err := n.send(ctx, http.MethodPost, "/access/openid/login", nil, url.Values{"state": {state}, "code": {code}, "redirect-url": {RedirectURL}})
	if err != nil {
		return "", err
	}
	skew := time.Since(response.Date).Abs()
	fault := func(code refusal.Code, format string, args ...any) (string, error) {
		return "", refusal.New(code, fmt.Errorf("node %s: signing in %s: "+format, append([]any{n.url, wording.Quoted(user)}, args...)...))
	}
	switch {
	case response.Status == http.StatusOK:
	case response.Status >= http.StatusInternalServerError:
		return fault(refusal.ProxmoxUnavailable, "it responds %d, %s", response.Status, wording.Theirs(message(response)))
	case !redeemed():
		return fault(refusal.ProxmoxSecret, "it responds %d, and has not exchanged the code for tokens", response.Status)
	case !response.Date.IsZero() && skew > maxSkew:
		return fault(refusal.ProxmoxClock, "it responds %d, and its clock differs by %v", response.Status, skew.Round(time.Second))
	default:
		return fault(refusal.ProxmoxRefused, "it responds %d, %s, after it got the tokens", response.Status, wording.Theirs(message(response)))
	}
	var got struct {
		Ticket   string `json:"ticket"`
		Username string `json:"username"`
	}
	if err := n.data(response, &got); err != nil {
		return "", err
	}
	t, ok := readTicket(got.Ticket)
	if !ok {
		return fault(refusal.ProxmoxRefused, "it responds with something that is no ticket")
	}
	if err := n.checks.given.Run(&shown{ticket: t, of: user, named: got.Username}); err != nil {
		return fault(refusal.ProxmoxRefused, "its ticket is that of %s: %w; if the realm has another --username-claim than preferred_username, delete the realm and add it again", wording.Quoted(got.Username), err)
	}
	return got.Ticket, nil
}

// setGroups gives a user groups, and takes others away.
func (n *node) setGroups(ctx context.Context, token, user string, groups []string) error {
	response, err := n.send(ctx, http.MethodPut, "/access/users/"+url.PathEscape(user), http.Header{"Authorization": {"PVEAPIToken=" + token}}, url.Values{"groups": {strings.Join(groups, ",")}})
	if err == nil && response.Status != http.StatusOK {
		err = refusal.New(refusal.ProxmoxGroups, fmt.Errorf("node %s: setting the groups %s of %s: it responds %d, %s",
			n.url, wording.List(groups), wording.Quoted(user), response.Status, wording.Theirs(message(response))))
	}
	return err
}

// refuses says whether a node does not accept a ticket, such as after its keys were made anew.
func (n *node) refuses(ctx context.Context, text string) (bool, error) {
	response, err := n.send(ctx, http.MethodGet, "/version", http.Header{"Cookie": {ticketCookie + "=" + url.QueryEscape(text)}}, nil)
	return err == nil && response.Status == http.StatusUnauthorized, err
}
