package gateway_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A fakeIDP is a Provider whose people sign in by their names. By SAML it is asked by
// redirect or by a form, and answers by a form.
type fakeIDP struct {
	issuer     string
	definition string // optional
	protocol   provider.Protocol
	byForm     bool

	mu       sync.Mutex
	people   map[string]provider.Identity
	beginErr error
	slow     func(context.Context) error                            // optional: runs first
	complete func(provider.CompleteRequest, *provider.Answer) error // optional
	begun    []provider.BeginRequest
	asked    []provider.CompleteRequest
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

// refuse has the provider refuse every answer with err, unless that is nil.
func (p *fakeIDP) refuse(err error) {
	p.verify(func(provider.CompleteRequest, *provider.Answer) error { return err })
}

// verify lets f change answers or refuse them.
func (p *fakeIDP) verify(f func(provider.CompleteRequest, *provider.Answer) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complete = f
}

func (p *fakeIDP) failBegin(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beginErr = err
}

// counts returns how many logins were begun and how many answers verified.
func (p *fakeIDP) counts() (begun, completed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.begun), len(p.asked)
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
	begun := &provider.Begun{Location: p.issuer + "/authorize", Private: []byte("private of " + req.State)}
	params := url.Values{"state": {req.State}, "redirect_uri": {req.CallbackURL}}
	if p.protocol == provider.SAML {
		params = url.Values{"SAMLRequest": {"UmVxdWVzdA=="}, "RelayState": {req.State}}
	}
	if p.byForm {
		begun.Form = params
	} else {
		begun.Location += "?" + params.Encode()
	}
	return begun, nil
}

// An answer is what a browser brings from a provider: the target of a redirect, and by
// SAML a form.
type answer struct {
	target string
	form   url.Values
}

// answer is what the browser that got w meets at the provider: a person signs in.
func (p *fakeIDP) answer(t testing.TB, w *httptest.ResponseRecorder, person string) answer {
	t.Helper()
	var params url.Values
	location := w.Header().Get("Location")
	switch {
	case p.byForm:
		location, params = formOf(t, w)
	case location == "":
		location = linkOf(t, w, "Continue")
	}
	at, query, _ := strings.Cut(location, "?")
	asked, err := url.ParseQuery(query)
	if params == nil {
		params = asked
	}
	if at != p.issuer+"/authorize" || err != nil {
		t.Fatalf("the browser was sent to %q, not to the provider", location)
	}
	if p.protocol == provider.SAML {
		return answer{acs, response(person, params.Get("RelayState"))}
	}
	back, err := url.Parse(params.Get("redirect_uri"))
	mustDo(t, err)
	return answer{target: back.Path + "?" + url.Values{"state": params["state"], "code": {person}}.Encode()}
}

// response is the form that a SAML provider's page posts for a person.
func response(person, state string) url.Values {
	return url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(person))}, "RelayState": {state}}
}

func (p *fakeIDP) Complete(ctx context.Context, req provider.CompleteRequest) (*provider.Answer, error) {
	if err := p.wait(ctx); err != nil {
		return nil, err
	}
	person, state := req.Params.Get("code"), req.Params.Get("state")
	if p.protocol == provider.SAML {
		name, err := base64.StdEncoding.DecodeString(req.Params.Get("SAMLResponse"))
		if err != nil {
			return nil, refusal.New(refusal.SAMLMalformed, errors.New("no Base64"))
		}
		person, state = string(name), req.Params.Get("RelayState")
	}
	p.mu.Lock()
	p.asked = append(p.asked, req)
	id, ok := p.people[person]
	verify := p.complete
	p.mu.Unlock()
	if !ok {
		return nil, refusal.New(refusal.OIDCCodeRejected, errors.New("no such code"))
	}
	if want := "private of " + state; string(req.Private) != want {
		return nil, fmt.Errorf("private is %q, want %q", req.Private, want)
	}
	ans := &provider.Answer{Identity: id, Subject: "sub-" + person, LogoutHint: "hint-" + id.Username}
	if verify != nil {
		if err := verify(req, ans); err != nil {
			return nil, err
		}
	}
	return ans, nil
}

// A samlIDP is a fakeIDP with metadata of ours.
type samlIDP struct{ *fakeIDP }

func (p samlIDP) Metadata(_ context.Context, req provider.MetadataRequest) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beginErr != nil {
		return nil, p.beginErr
	}
	return []byte("metadata of " + p.issuer + " " + req.CallbackURL + " " + req.MetadataURL), nil
}

// named is a provider under a name.
func named(name string, p *fakeIDP) gateway.NamedProvider {
	n := gateway.NamedProvider{Name: name, DisplayName: strings.ToUpper(name[:1]) + name[1:], Provider: p}
	if p.protocol == provider.SAML {
		n.Provider = samlIDP{p}
	}
	return n
}

// fakeOf is the fake below a named provider.
func fakeOf(p gateway.NamedProvider) *fakeIDP {
	if saml, ok := p.Provider.(samlIDP); ok {
		return saml.fakeIDP
	}
	return p.Provider.(*fakeIDP)
}

// protocols make labs whose providers speak them.
var protocols = map[string]func(testing.TB) *lab{
	"OpenID Connect": newLab,
	"SAML":           newSAMLLab,
	"SAML by form": func(t testing.TB) *lab {
		l := newSAMLLab(t)
		l.idp.byForm = true
		return l
	},
}

func newSAMLLab(t testing.TB) *lab {
	l := newLab(t)
	l.idp.protocol = provider.SAML
	return l
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
