package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// OpenIDProvider signs people in to apps that speak OpenID Connect. Its issuer is
// `https://<site>/.sso/op`. A person who has no session there signs in at one of the
// site's providers, and returns to the app.
//
// The site itself needs no rules then. Without them nobody may enter an app behind it.
type OpenIDProvider struct {
	// The apps that may sign people in here.
	Client []Client `json:"client,omitempty"`
}

// Client is an app that signs people in by OpenID Connect.
type Client struct {
	// The identifier that the app sends. Unique. Required.
	ID string `json:"id,omitempty"`

	// The app's secret, or two while it is being changed. Use a placeholder rather than
	// the secret itself. An app without secret and keys is a public client: PKCE alone
	// protects its codes.
	Secret []Secret `json:"secret,omitempty"`

	// The public keys of an app that has no secret but signs its requests for tokens
	// (private_key_jwt): the https address of its JWK Set, or a file with it. May be a
	// placeholder, also for the JWK Set itself.
	Keys string `json:"keys,omitempty"`

	// The addresses to which people return with a code, byte for byte as the app sends
	// them. At least one. May be placeholders.
	RedirectURI []string `json:"redirect_uri,omitempty"`

	// The addresses to which the app may have people return after a logout. May be
	// placeholders. Default: none; people stay on our page.
	PostLogout []string `json:"post_logout,omitempty"`

	// The address that is told when a login ends (OpenID Connect Back-Channel Logout). May
	// be a placeholder. Default: none.
	BackchannelLogout string `json:"backchannel_logout,omitempty"`

	// The algorithm of ID tokens: RS256 or ES256. Default: RS256, which every app reads.
	Algorithm string `json:"algorithm,omitempty"`

	// The algorithm of signed userinfo: RS256 or ES256. Default: userinfo is JSON.
	UserinfoAlgorithm string `json:"userinfo_algorithm,omitempty"`

	// Give this app subjects that no other app has. If it is changed, the app takes
	// everybody for a new person. Default: all apps have the same.
	Pairwise bool `json:"pairwise,omitempty"`

	// Issue refresh tokens, each for one use. They end with the login.
	Refresh bool `json:"refresh,omitempty"`

	// Accept requests without PKCE. If a code leaks, anybody who has the app's secret
	// can use it.
	InsecureNoPKCE bool `json:"insecure_no_pkce,omitempty"`

	// More claims by their names, beside those of the scopes. The values are kinds: user,
	// name, email, first_name, last_name, roles, groups, template or provider.
	Claim map[string]string `json:"claim,omitempty"`

	// A person whom no role, template or group rule matches can't sign in to the app. What
	// the rules give is in the claims roles, template and groups.
	mapping.Rules

	// Rules for the people of some providers only, as those of a site.
	From []From `json:"from,omitempty"`
}

// block returns the options of `op`. Syntax:
//
//	client <id> { … }
func (p *OpenIDProvider) block() block { return block{many("client <id> { … }", p.setClient)} }

// block returns the options of a client. Syntax:
//
//	role <app_role>[,<app_role>…] <group>…
//	template <app_template> <group>…
//	group <app_group>[,<app_group>…] <group>…
//	from <provider>… {
//		role|template|group …
//	}
//	secret <secret> [<previous>]
//	keys <url>|<file>
//	redirect_uri <url>…
//	post_logout <url>…
//	backchannel_logout <url>
//	algorithm RS256|ES256
//	userinfo_algorithm RS256|ES256
//	claim <name> <kind>
//	pairwise
//	refresh
//	insecure_no_pkce
func (c *Client) block() block {
	return append(ruleBlock(&c.Rules), block{
		many("from <provider>… { role|template|group … }", setFrom(&c.From)),
		once("secret <secret> [<previous>]", setSecrets(&c.Secret)),
		once("keys <url>|<file>", text(&c.Keys)),
		many("redirect_uri <url>…", clientURLs(&c.RedirectURI)),
		many("post_logout <url>…", clientURLs(&c.PostLogout)),
		once("backchannel_logout <url>", func(d *caddyfile.Dispenser, e entry) error {
			return text(&c.BackchannelLogout).then(func(d *caddyfile.Dispenser) error { return checkClientURL(d, e.word(), c.BackchannelLogout) })(d, e)
		}),
		once("algorithm RS256|ES256", choice(&c.Algorithm)),
		once("userinfo_algorithm RS256|ES256", choice(&c.UserinfoAlgorithm)),
		many("claim <name> <kind>", c.setClaim),
		once("pairwise", flag(&c.Pairwise)),
		once("refresh", flag(&c.Refresh)),
		once("insecure_no_pkce", flag(&c.InsecureNoPKCE)),
	}...)
}

// setOP parses `op { client <id> { … } }`.
func (h *Handler) setOP(d *caddyfile.Dispenser, e entry) error {
	at := position(d)
	if d.NextArg() {
		return e.wrong(d)
	}
	h.OP = new(OpenIDProvider)
	if err := h.OP.block().parse(d); err != nil {
		return err
	}
	if len(h.OP.Client) == 0 {
		return fmt.Errorf("the block of 'op' has no client, so no app could sign anybody in: write `client <id> { … }` for each app, at %s", at)
	}
	return nil
}

func (p *OpenIDProvider) setClient(d *caddyfile.Dispenser, e entry) error {
	at, c := position(d), Client{}
	if !d.NextArg() {
		return e.wrong(d)
	}
	if c.ID = d.Val(); slices.ContainsFunc(p.Client, func(other Client) bool { return other.ID == c.ID }) {
		return d.Errf("there are two clients with the id '%s': give each app an id of its own", c.ID)
	}
	if d.NextArg() {
		return e.wrong(d)
	}
	if err := c.block().parse(d); err != nil {
		return err
	}
	err := c.complete()
	if err == nil {
		err = checkRules(c.Rules, c.From)
	}
	if err != nil {
		return fmt.Errorf("client %s at %s: %w", c.ID, at, err)
	}
	p.Client = append(p.Client, c)
	return nil
}

// complete finds what is missing, and what can't be together.
func (c *Client) complete() error {
	switch {
	case len(c.RedirectURI) == 0:
		return fmt.Errorf("it needs `%s`, the address to which people return", c.block().usage("redirect_uri"))
	case len(c.Role)+len(c.Template)+len(c.Group)+len(c.From) == 0:
		return errors.New("it has no rule, so nobody could sign in to it: write role, template or group lines; `role user *` lets in everybody")
	case len(c.Secret) > 0 && c.Keys != "":
		return errors.New("it has a secret and keys: remove `secret` if the app signs its requests, else `keys`")
	case c.InsecureNoPKCE && len(c.Secret) == 0 && c.Keys == "":
		return errors.New("insecure_no_pkce needs a secret or keys: without them anybody could use the app's codes")
	}
	return nil
}

func (c *Client) setClaim(d *caddyfile.Dispenser, e entry) error {
	var name, kind string
	if !d.NextArg() {
		return e.wrong(d)
	}
	if name = d.Val(); !d.NextArg() {
		return e.wrong(d)
	}
	if kind = d.Val(); !slices.Contains(oidcop.Kinds(), kind) {
		return unknownWord(d, "kind of claim", oidcop.Kinds())
	}
	if c.Claim[name] != "" {
		return d.Errf("the claim '%s' is given twice: write it once", name)
	}
	if d.NextArg() {
		return e.wrong(d)
	}
	if c.Claim == nil {
		c.Claim = map[string]string{}
	}
	c.Claim[name] = kind
	return nil
}

// clientURLs adds addresses of an app to a list.
func clientURLs(to *[]string) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		if err := list(to)(d, e); err != nil {
			return err
		}
		for _, address := range *to {
			if err := checkClientURL(d, e.word(), address); err != nil {
				return err
			}
		}
		return nil
	}
}

// checkClientURL refuses what can't be an address of an app. If it has a placeholder, it is
// checked after that is resolved.
func checkClientURL(d *caddyfile.Dispenser, word, address string) error {
	if strings.Contains(address, "{") {
		return nil
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme == "" || u.User != nil || strings.ContainsAny(address, "#* "):
		return d.Errf("'%s' cannot be '%s': expected the app's whole address without a fragment or pattern, such as https://app.example.com/callback", word, withoutUser(address))
	case u.Scheme == "http" && !fetch.IsLoopback(u.Hostname()):
		return d.Errf("'%s' cannot be '%s': expected https, because anybody on the way could read what is sent there; http is for this machine alone", word, address)
	}
	return nil
}

// clients returns the clients for the gateway, with placeholders resolved and files read.
func (h *Handler) clients() (clients []gateway.Client, err error) {
	if h.OP == nil {
		return nil, nil
	}
	if len(h.OP.Client) == 0 {
		return nil, errors.New("op: there is no client, so no app could sign anybody in")
	}
	var errs []error
	for i := range h.OP.Client {
		c := &h.OP.Client[i]
		built, err := c.build()
		if err != nil {
			errs = append(errs, fmt.Errorf("op: client %s: %w", c.ID, err))
		} else {
			h.warnOfClient(built.Client)
		}
		c.Secret = nil // Caddy may log a module with its configuration
		clients = append(clients, built)
	}
	return clients, errors.Join(errs...)
}

// shortestClientSecret is how many bytes a secret has that nobody guesses at /token.
const shortestClientSecret = 16

// warnOfClient warns of a client in whose name others may ask.
func (h *Handler) warnOfClient(c oidcop.Client) {
	client := []zap.Field{zap.String("site", h.site), zap.String("client", c.ID)}
	if len(c.Secrets) == 0 && len(c.Keys) == 0 && c.KeysURL == "" {
		h.app.warn("the client has neither `secret` nor `keys`, so it is public: anybody can ask in its name, and PKCE alone protects its codes. If the app can keep a secret, write `secret <secret>`", client...)
	}
	for _, secret := range c.Secrets {
		if secret != "" && len(secret) < shortestClientSecret {
			h.app.warn("the secret of the client is short, so it can be guessed: make one with `openssl rand -hex 32`", client...)
		}
	}
}

func (c *Client) build() (built gateway.Client, err error) {
	if err := c.complete(); err != nil {
		return built, err
	}
	options := []option{{"keys", &c.Keys}, {"backchannel_logout", &c.BackchannelLogout}}
	for i := range c.RedirectURI {
		options = append(options, option{"redirect_uri", &c.RedirectURI[i]})
	}
	for i := range c.PostLogout {
		options = append(options, option{"post_logout", &c.PostLogout[i]})
	}
	errs := []error{resolve(options...), literalLines(linesOf(c.Rules, c.From))}
	built.Client = oidcop.Client{
		ID: c.ID, RedirectURIs: c.RedirectURI, PostLogoutURIs: c.PostLogout, BackchannelLogoutURI: c.BackchannelLogout,
		Algorithm: oidcop.Algorithm(c.Algorithm), UserInfoAlgorithm: oidcop.Algorithm(c.UserinfoAlgorithm),
		InsecureNoPKCE: c.InsecureNoPKCE, Refresh: c.Refresh, Pairwise: c.Pairwise, Claims: c.Claim,
	}
	built.Rules, built.From = c.Rules, bound(c.From)
	for _, s := range c.Secret {
		secret, err := s.reveal("secret")
		errs, built.Secrets = append(errs, err), append(built.Secrets, secret)
	}
	switch key := strings.TrimSpace(c.Keys); {
	case key == "":
	case json.Valid([]byte(key)):
		built.Keys = []byte(key)
	case strings.Contains(key, "://"):
		built.KeysURL = key
	default:
		built.Keys, err = readFile("keys", key)
		built.Keys, errs = bytes.TrimSpace(built.Keys), append(errs, err)
	}
	return built, errors.Join(errs...)
}

// startOpenID binds the OpenID providers of sites to the store. Their keys are made in the
// background, because RSA keys take a second.
func (a *App) startOpenID(ps *pooledSessions) {
	all := a.gateway.BindOpenID(func(issuer string, algs []oidcop.Algorithm) oidcop.Backing {
		signers := map[oidcop.Algorithm]oidcop.Signer{}
		for _, alg := range algs {
			signers[alg] = ps.opKeys[alg]
			go func() { _ = ps.opKeys[alg].Make(a.ctx) }() // Run reports a fault
		}
		return oidcop.Backing{Issuer: issuer, Records: ps.Vault(), Index: ps.store, Signers: signers}
	})
	for _, op := range all {
		go op.Run(a.ctx)
	}
}
