package connect_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

const testIssuer = "https://pve.example/.sso/op"

// realKeys are those of one gateway.
type realKeys struct{}

func (realKeys) MAC(_ context.Context, purpose string, parts ...string) ([]byte, error) {
	h := hmac.New(sha256.New, []byte("key"))
	fmt.Fprintf(h, "%q%q", purpose, parts)
	return h.Sum(nil), nil
}

// A who is a person with a login and roles.
type who struct{ user, login, roles string }

func (w who) Tie() []string { return []string{w.user, w.login, w.roles} }

// A pve is a cluster, and the gateway's OpenID provider. It has no network.
type pve struct {
	t   *testing.T
	app *connect.App

	mu     sync.Mutex
	logins int
	groups string // of the last PUT
	sent   []string
	// answer replaces what the node responds. Nil: it responds as Proxmox VE does.
	answer   func(*http.Request) *http.Response
	issuer   string
	made     time.Time // of tickets; zero: now
	user     string    // whom the node signs in; "": the right one
	redeemed bool
}

func newPVE(t *testing.T, change ...func(*connect.ProxmoxOptions)) *pve {
	t.Helper()
	opts := connect.ProxmoxOptions{Realm: "gw", Client: "proxmox"}
	for _, c := range change {
		c(&opts)
	}
	app, err := connect.NewProxmox(opts)
	if err != nil {
		t.Fatal(err)
	}
	p := &pve{t: t, app: app, issuer: testIssuer, redeemed: true}
	app.SetNodes([]connect.Node{{URL: "https://node.example:8006", Transport: p}})
	app.SetTokens(p)
	return p
}

func (p *pve) Issuer() string                        { return testIssuer }
func (p *pve) Redeemed(context.Context, string) bool { return p.redeemed }

func (p *pve) Groups(context.Context, string, string) ([]string, error) {
	return []string{"Admin", "Auditor"}, nil
}

func (p *pve) Code(_ context.Context, request url.Values, login string) (string, error) {
	switch {
	case request.Has("response_mode"):
		return "", refusal.New(refusal.ClientRefused, errors.New("the response_mode"))
	case request.Get("nonce") != "n":
		return "", errors.New("another request")
	}
	return "code of " + login, nil
}

func respond(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " from the node"), Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
	}
}

func ticketOf(user string, made time.Time) string {
	return fmt.Sprintf("PVE:%s:%08X::c2ln+/%d==", user, made.Unix(), made.UnixNano())
}

func withData(v any) *http.Response {
	body, _ := json.Marshal(map[string]any{"data": v})
	return respond(http.StatusOK, string(body))
}

// RoundTrip is the node.
func (p *pve) RoundTrip(r *http.Request) (*http.Response, error) {
	_ = r.ParseForm()
	p.mu.Lock()
	p.sent = append(p.sent, r.Method+" "+r.URL.Path)
	answer := p.answer
	p.mu.Unlock()
	if answer != nil {
		if response := answer(r); response != nil {
			return response, nil
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case "/api2/json/access/openid/auth-url":
		return withData(p.issuer + "/authorize?" + url.Values{
			"client_id": {"proxmox"}, "redirect_uri": {r.Form.Get("redirect-url")}, "state": {`{"realm":"gw"}`}, "nonce": {"n"},
		}.Encode()), nil
	case "/api2/json/access/openid/login":
		p.logins++
		user, _, _ := strings.Cut(strings.TrimPrefix(r.Form.Get("code"), "code of "), " ")
		if user += "@gw"; p.user != "" {
			user = p.user
		}
		made := p.made
		if made.IsZero() {
			made = time.Now()
		}
		return withData(map[string]string{"ticket": ticketOf(user, made), "username": user, "CSRFPreventionToken": "csrf"}), nil
	case "/api2/json/access/users/alice@gw":
		p.groups = r.Header.Get("Authorization") + " " + r.Form.Get("groups")
		return respond(http.StatusOK, `{"data":null}`), nil
	}
	return respond(http.StatusNotFound, ""), nil
}

func (p *pve) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logins
}

// A got is what came of a request.
type got struct {
	request *http.Request // as the node gets it
	header  http.Header   // as the browser gets it
	body    string
	err     error
}

// serve takes a request of a person to a node, which answers with body.
func (p *pve) serve(r *http.Request, as who, status int, body string) got {
	c := p.app.Take(r.Header)
	err := c.Admit(r, connect.Visit{Keys: realKeys{}, Person: as, User: as.user, Login: as.user + " " + as.login, Secure: true})
	if err != nil {
		return got{err: err}
	}
	on := httptest.NewRecorder()
	w := &cookie.Writer{ResponseWriter: c.Wrap(on, r), Guests: c.Watch()}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
	_ = http.NewResponseController(w).Flush()
	c.Release()
	w.End()
	return got{r, on.Result().Header, on.Body.String(), nil}
}

// open opens a page with cookies.
func (p *pve) open(as who, cookies ...string) got {
	r := httptest.NewRequest(http.MethodGet, "https://pve.example/", nil)
	if len(cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	return p.serve(r, as, http.StatusOK, "page")
}

// kept are the cookies that a browser keeps of a response.
func (g got) kept(t *testing.T) []string {
	t.Helper()
	if g.err != nil {
		t.Fatal(g.err)
	}
	var kept []string
	for _, line := range g.header["Set-Cookie"] {
		pair, _, _ := strings.Cut(line, ";")
		kept = append(kept, pair)
	}
	slices.Sort(kept)
	return kept
}

// user is whose ticket the node gets.
func (g got) user(t *testing.T) string {
	t.Helper()
	if g.err != nil {
		t.Fatal(g.err)
	}
	lines := g.request.Header["Cookie"]
	if len(lines) != 1 || strings.Contains(lines[0], ";") {
		t.Fatalf("the node gets the cookies %q", lines)
	}
	text, err := url.QueryUnescape(strings.TrimPrefix(lines[0], "PVEAuthCookie="))
	parts := strings.Split(text, ":")
	if err != nil || len(parts) < 3 || parts[0] != "PVE" {
		t.Fatalf("the node gets the ticket %q", text)
	}
	return parts[1]
}

func wantCode(t *testing.T, err error, code refusal.Code, words ...string) {
	t.Helper()
	if got := refusal.CodeOf(err); err == nil || got != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}
