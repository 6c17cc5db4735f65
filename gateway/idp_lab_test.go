package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A fakeIDP is a Provider whose people sign in by their names.
type fakeIDP struct {
	issuer     string
	definition string // optional
	protocol   provider.Protocol

	mu        sync.Mutex
	people    map[string]provider.Identity
	beginErr  error
	slow      func(context.Context) error                            // optional: runs first
	complete  func(provider.CompleteRequest, *provider.Answer) error // optional
	begun     []provider.BeginRequest
	completed int
}

func newFakeIDP(issuer string) *fakeIDP {
	return &fakeIDP{issuer: issuer, protocol: provider.OIDC, people: map[string]provider.Identity{
		"alice": {Username: "alice", Email: "alice@corp.example", EmailVerified: true, DisplayName: "Alice Example", Groups: []string{"admins", "staff"}},
		"bob":   {Username: "bob", Email: "bob@corp.example", FirstName: "Bob", LastName: "Example", Groups: []string{"staff"}},
	}}
}

func (p *fakeIDP) Protocol() provider.Protocol { return p.protocol }
func (p *fakeIDP) Issuer() string              { return p.issuer }
func (p *fakeIDP) Definition() string          { return p.definition }

// person adds a person, or changes one.
func (p *fakeIDP) person(name string, id provider.Identity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.people[name] = id
}

// judge lets f change answers or refuse them.
func (p *fakeIDP) judge(f func(provider.CompleteRequest, *provider.Answer) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complete = f
}

func (p *fakeIDP) failBegin(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beginErr = err
}

// counts returns how many logins were begun and how many answers judged.
func (p *fakeIDP) counts() (begun, completed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.begun), p.completed
}

// delay lets f run before each call of the provider.
func (p *fakeIDP) delay(f func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = f
}

func (p *fakeIDP) wait(ctx context.Context) error {
	p.mu.Lock()
	slow := p.slow
	p.mu.Unlock()
	if slow == nil {
		return nil
	}
	return slow(ctx)
}

func (p *fakeIDP) Begin(ctx context.Context, req provider.BeginRequest) (*provider.Begun, error) {
	if err := p.wait(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beginErr != nil {
		return nil, p.beginErr
	}
	p.begun = append(p.begun, req)
	q := url.Values{"state": {req.State}, "redirect_uri": {req.CallbackURL}}
	return &provider.Begun{Location: p.issuer + "/authorize?" + q.Encode(), Private: []byte("private of " + req.State)}, nil
}

// visit is what the browser meets at the provider: person signs in, and the
// browser is sent back to the target that visit returns.
func (p *fakeIDP) visit(t testing.TB, location, person string) (target string) {
	t.Helper()
	q, ok := strings.CutPrefix(location, p.issuer+"/authorize?")
	if !ok {
		t.Fatalf("the browser was sent to %q, not to the provider", location)
	}
	params, err := url.ParseQuery(q)
	if err != nil {
		t.Fatal(err)
	}
	back, err := url.Parse(params.Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	return back.Path + "?" + url.Values{"state": params["state"], "code": {person}}.Encode()
}

func (p *fakeIDP) Complete(ctx context.Context, req provider.CompleteRequest) (*provider.Answer, error) {
	if err := p.wait(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.completed++
	id, ok := p.people[req.Params.Get("code")]
	judge := p.complete
	p.mu.Unlock()
	if !ok {
		return nil, refusal.New(refusal.OIDCCodeRejected, errors.New("no such code"))
	}
	if want := "private of " + req.Params.Get("state"); string(req.Private) != want {
		return nil, fmt.Errorf("private is %q, want %q", req.Private, want)
	}
	ans := &provider.Answer{Identity: id, Subject: "sub-" + req.Params.Get("code"), LogoutHint: "hint-" + id.Username}
	if judge != nil {
		if err := judge(req, ans); err != nil {
			return nil, err
		}
	}
	return ans, nil
}

var _ provider.Provider = (*fakeIDP)(nil)

// A leavingIDP is a fakeIDP that can end its own session too.
type leavingIDP struct {
	*fakeIDP
	logoutURL func(provider.LogoutRequest) (string, error)
}

// errHang lets a leavingIDP hang until it is given up.
var errHang = errors.New("hang")

func (p leavingIDP) LogoutURL(ctx context.Context, req provider.LogoutRequest) (string, error) {
	u, err := p.logoutURL(req)
	if errors.Is(err, errHang) {
		<-ctx.Done()
		err = ctx.Err()
	}
	return u, err
}
