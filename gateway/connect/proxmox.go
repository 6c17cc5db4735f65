package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// Proxmox VE reads no header. Its session is a ticket, which only a node can sign. So the
// gateway signs a person in at a node, by the OpenID realm of the node: it asks the node
// for a request, makes the code for it, and brings the code to the node. No browser takes
// part. The ticket goes into the browser's cookie, which the interface's script reads and
// renews, and into each request to the node.
//
// The value of that cookie can't have a seal. So the seal is in a cookie of its own, which
// scripts can't read. A ticket without it is replaced: nobody uses the ticket of another
// person, another login or other roles. The gateway watches the renewal, and seals the new
// ticket if it is the same user's.
const (
	ticketCookie = "PVEAuthCookie"
	sealCookie   = "PVEAuthSeal"
)

// RedirectURL is the redirect URI of the node's requests. No browser ever goes there: the
// name exists nowhere (RFC 6761 §6.4).
const RedirectURL = "https://proxmox.invalid"

// ProxmoxOptions describe a Proxmox VE.
type ProxmoxOptions struct {
	// Realm is the node's name of its OpenID realm.
	Realm string
	// Client is the realm's client id.
	Client string
	// APITokens lets requests with an API token pass to the API without a login.
	APITokens bool
	// GroupToken is an API token by which the gateway sets the groups of a user. Empty: the
	// node takes them from the claim.
	GroupToken string
}

// Tokens is the gateway's OpenID Provider, as a node uses it.
type Tokens interface {
	// Issuer returns the issuer identifier.
	Issuer() string
	// Code returns a code for a login, as the answer to a request.
	Code(ctx context.Context, request url.Values, login string) (string, error)
	// Redeemed says whether the client has got tokens for a code.
	Redeemed(ctx context.Context, code string) bool
	// Groups returns the groups that the client is told of the person of a login.
	Groups(ctx context.Context, client, login string) ([]string, error)
}

type proxmox struct {
	opts   ProxmoxOptions
	checks *checklist
	spools spools
	tokens atomic.Pointer[Tokens]
	nodes  atomic.Pointer[[]*node]

	turns   chan struct{} // one for each login under way
	mu      sync.Mutex
	flights map[string]*flight
}

// NewProxmox returns what is known about Proxmox VE. It needs SetNodes and SetTokens before
// it can sign anybody in.
func NewProxmox(opts ProxmoxOptions) (*App, error) {
	var err error
	if !isRealm(opts.Realm) {
		err = wording.Aboutf("realm", "%q can't be a realm of Proxmox VE: expected 2 to 32 letters, digits, dots, hyphens and underscores, a letter first", opts.Realm)
	}
	if err == nil && opts.GroupToken != "" && (!isToken(opts.GroupToken) || strings.ContainsFunc(opts.GroupToken, func(c rune) bool { return c <= ' ' || c > '~' })) {
		err = wording.Aboutf("group_token", "is no API token: expected <user>@<realm>!<id>=<secret>")
	}
	return &App{
		Cookies: []string{ticketCookie, sealCookie},
		proxmox: &proxmox{opts: opts, checks: checks(), turns: make(chan struct{}, maxLogins), flights: map[string]*flight{}},
	}, err
}

// CheckGroup returns what is wrong with the name of a role or group. Proxmox VE would leave
// it out in silence.
func (a *App) CheckGroup(name string) error {
	if !a.IsProxmox() || isGroup(name) {
		return nil
	}
	fit := strings.Map(func(c rune) rune {
		if notNodeName(c) {
			return '-'
		}
		return c
	}, name)
	return fmt.Errorf("%q can't be a group of Proxmox VE, which leaves it out in silence: use letters, digits, dots, hyphens and underscores, as in %q", name, fit)
}

// IsProxmox says whether the app is Proxmox VE: it gets a ticket, and no identity header.
func (a *App) IsProxmox() bool { return a != nil && a.proxmox != nil }

// SetNodes says where the nodes are. The gateway signs in at the first that responds.
func (a *App) SetNodes(nodes []Node) {
	made := make([]*node, len(nodes))
	for i, n := range nodes {
		made[i] = newNode(n, a.proxmox.checks)
	}
	a.proxmox.nodes.Store(&made)
}

// SetTokens gives the OpenID Provider that the realm uses. Other apps need none.
func (a *App) SetTokens(t Tokens) {
	if a.IsProxmox() {
		a.proxmox.tokens.Store(&t)
	}
}

// admit gives a request the ticket of its person.
func (p *proxmox) admit(c *Cookies, r *http.Request, v Visit) error {
	user := v.User + "@" + p.opts.Realm
	if err := checkUser(user); err != nil {
		return refusal.New(refusal.ProxmoxUser, fmt.Errorf("%s can't be a user of Proxmox VE: %w", wording.Quoted(user), err))
	}
	if atOpenID(r) {
		return refusal.New(refusal.NotFound, errors.New("only the gateway signs people in at the node's realm"))
	}
	c.key = strings.Join(v.Person.Tie(), "\x00")
	text, err := p.brought(c, user)
	if text != "" && r.Method == http.MethodGet && r.URL.Path == "/" && p.refused(r.Context(), text) {
		text, c.seals = "", nil
		p.forget(c.key)
	}
	if err == nil && text == "" {
		if text, err = p.signIn(r.Context(), c.key, user, v.Login); err == nil {
			err = c.give(text, v.Secure)
		}
	}
	if err != nil {
		return err
	}
	c.user, c.secure = user, v.Secure
	delete(r.Header, "Authorization")
	r.Header["Cookie"] = []string{ticketCookie + "=" + url.QueryEscape(text)}
	return cmp.Or(fitHeader(r), p.spools.fitBody(r, maxBody))
}

// renewAfter is the age at which a ticket is replaced. It ends after two hours.
const renewAfter = 90 * time.Minute

// brought returns the ticket that came with a request, or "" if none is this person's.
func (p *proxmox) brought(c *Cookies, user string) (string, error) {
	var tickets []*shown
	var seals []string
	for _, pair := range c.brought {
		name, value := split(pair)
		text, err := url.PathUnescape(value)
		t, ok := readTicket(text)
		switch {
		case name == sealCookie:
			seals = append(seals, strings.Split(value, ".")...)
		case name == ticketCookie && err == nil && ok:
			if s := (&shown{ticket: t, of: user, named: user}); p.checks.brought.Run(s) == nil {
				tickets = append(tickets, s)
			}
		}
	}
	for _, t := range tickets[:min(len(tickets), maxSeals)] {
		seal, err := c.text(ticketCookie, t.text)
		if err != nil {
			return "", err
		}
		if t.seal, t.seals = seal, seals; p.checks.sealed.Run(t) == nil {
			c.seals = []string{seal}
			return t.text, nil
		}
	}
	return "", nil
}

// maxSeals is how many tickets are sealed at once: until the script has changed its cookie,
// the browser sends the earlier one.
const maxSeals = 2

// give sets the cookies of a ticket in the browser.
func (c *Cookies) give(text string, secure bool) error {
	if err := c.sealTicket(text, secure); err != nil {
		return err
	}
	c.lines = append(c.lines, ticketCookie+"="+url.QueryEscape(text)+attributes(secure))
	return nil
}

// sealTicket sets the cookie that seals a ticket.
func (c *Cookies) sealTicket(text string, secure bool) error {
	seal, err := c.text(ticketCookie, text)
	if err != nil {
		return err
	}
	c.seals = append([]string{seal}, c.seals...)
	c.lines = []string{sealCookie + "=" + strings.Join(c.seals[:min(len(c.seals), maxSeals)], ".") + attributes(secure) + "; HttpOnly"}
	return nil
}

func attributes(secure bool) string {
	if secure {
		return "; Path=/; Secure; SameSite=Lax"
	}
	return "; Path=/; SameSite=Lax"
}

// A flight is one login at a node, for all requests that need it.
type flight struct {
	done   chan struct{}
	ended  time.Time
	ticket string
	err    error
}

const (
	// signInTimeout bounds a login at the nodes, without the time that it waits for others.
	signInTimeout = 25 * time.Second
	// retryAfter is how long a failed login counts: each costs the node three seconds.
	retryAfter = 5 * time.Second
	// maxLogins bounds the logins under way: a node has three workers, and a login blocks one.
	maxLogins = 3
	// maxWait is how long a login waits for others.
	maxWait = time.Minute
	// maxFlights bounds how many logins are remembered.
	maxFlights = 4096
)

// signIn signs a person in at a node, once for any number of requests. key names the
// person, their login and roles.
func (p *proxmox) signIn(ctx context.Context, key, user, login string) (string, error) {
	p.mu.Lock()
	f := p.flights[key]
	if f == nil || f.over() {
		p.forgetOld()
		f = &flight{done: make(chan struct{})}
		p.flights[key] = f
		go p.fly(f, user, login)
	}
	p.mu.Unlock()
	select {
	case <-f.done:
		return f.ticket, f.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// over says whether the flight ended so long ago that it no longer counts. The caller holds
// the lock.
func (f *flight) over() bool {
	switch {
	case f.ended.IsZero():
		return false
	case f.err != nil:
		return time.Since(f.ended) > retryAfter
	}
	return time.Since(f.ended) > renewAfter
}

// forgetOld makes room for a flight. The caller holds the lock.
func (p *proxmox) forgetOld() {
	for key, f := range p.flights {
		if f.over() || len(p.flights) >= maxFlights && !f.ended.IsZero() {
			delete(p.flights, key)
		}
	}
}

func (p *proxmox) fly(f *flight, user, login string) {
	ticket, err := p.inTurn(user, login)
	p.mu.Lock()
	defer p.mu.Unlock()
	f.ticket, f.err, f.ended = ticket, err, time.Now()
	close(f.done)
}

// inTurn signs a person in once fewer than maxLogins others are being signed in.
func (p *proxmox) inTurn(user, login string) (string, error) {
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-time.After(maxWait):
		return "", refusal.New(refusal.ProxmoxUnavailable, fmt.Errorf("the login waited %v for those of other people", maxWait))
	}
	ctx, cancel := context.WithTimeout(context.Background(), signInTimeout)
	defer cancel()
	return p.login(ctx, user, login)
}

// forget has the next request of a person sign in at a node: it did not accept the ticket.
func (p *proxmox) forget(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flights[key]; f != nil && !f.ended.IsZero() && time.Since(f.ended) > retryAfter {
		delete(p.flights, key)
	}
}

// login signs a person in at the first node that can.
func (p *proxmox) login(ctx context.Context, user, login string) (text string, err error) {
	tokens, nodes := p.tokens.Load(), p.nodes.Load()
	if tokens == nil || nodes == nil {
		return "", refusal.New(refusal.NotReady, nil)
	}
	var fault error
	for _, n := range inOrder(*nodes) {
		if text, err = p.loginAt(ctx, n, *tokens, user, login); !isNodes(err) {
			return text, err
		}
		n.failed.Store(time.Now().UnixNano())
		if fault == nil || refusal.CodeOf(fault) == refusal.ProxmoxUnavailable {
			fault = err // the one that says most
		}
		if ctx.Err() != nil {
			break
		}
	}
	return "", fault
}

// refused asks a node whether it refuses a ticket. The interface's page does not answer 401
// then: it shows the node's own form.
func (p *proxmox) refused(ctx context.Context, text string) bool {
	nodes := p.nodes.Load()
	if nodes == nil {
		return false
	}
	for _, n := range inOrder(*nodes) {
		refused, err := n.refuses(ctx, text)
		if err == nil || ctx.Err() != nil {
			return refused
		}
		n.failed.Store(time.Now().UnixNano())
	}
	return false
}

func (p *proxmox) loginAt(ctx context.Context, n *node, tokens Tokens, user, login string) (string, error) {
	to, err := n.authURL(ctx, p.opts.Realm, tokens.Issuer())
	if err != nil {
		return "", err
	}
	request := to.Query()
	if at, _, _ := strings.Cut(to.String(), "?"); at != tokens.Issuer()+"/authorize" || request.Get("client_id") != p.opts.Client {
		return "", refusal.New(refusal.ProxmoxIssuer, fmt.Errorf("node %s: realm %q has another provider or client: it sends people to %s, as client %s; expected the issuer-url %s and the client-id %s",
			n.url, p.opts.Realm, wording.Quoted(at), wording.Quoted(request.Get("client_id")), tokens.Issuer(), p.opts.Client))
	}
	code, err := tokens.Code(ctx, request, login)
	if refused, ok := errors.AsType[*refusal.Error](err); ok && (refused.Code == refusal.ClientRefused || refused.Code == refusal.BadRequest) {
		return "", refusal.New(refusal.ProxmoxRealm, fmt.Errorf("node %s: realm %q asks for what this site does not give: %w", n.url, p.opts.Realm, refused.Err))
	}
	if err != nil {
		return "", err
	}
	text, err := n.login(ctx, request.Get("state"), code, user, func() bool { return tokens.Redeemed(ctx, code) })
	if err != nil || p.opts.GroupToken == "" {
		return text, err
	}
	groups, err := tokens.Groups(ctx, p.opts.Client, login)
	if err != nil {
		return "", err
	}
	for i, g := range groups {
		groups[i] = g + "-" + p.opts.Realm
	}
	return text, n.setGroups(ctx, p.opts.GroupToken, user, groups)
}
