package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// As names an app that keeps a session of its own, by a cookie. That cookie reaches the
// app only with the login, person and roles that it was set for. Otherwise it is removed
// and deleted, and the app begins a new session. Paths that need no login never have it.
// Poweradmin's own logout leads to the gateway's.
//
// To Proxmox VE the gateway signs people in itself, at the node's OpenID realm, whose
// provider is this site. The node's groups are the roles and groups of the site's rules.
type As struct {
	// The app: "netbox", "poweradmin" or "proxmox".
	App string `json:"app"`

	// The app's own name of the gateway's OpenID Provider. If a person has to sign in at
	// the app, the app's login there begins without a click. Default: none, for an app
	// that verifies the assertion. Not for Proxmox VE.
	Provider string `json:"provider,omitempty"`

	// The names of the session's cookies. Default: those that the app sets as it comes. Not
	// for Proxmox VE.
	Cookie []string `json:"cookie,omitempty"`

	Proxmox
}

// Proxmox has the options of Proxmox VE.
type Proxmox struct {
	// The name of the OpenID realm at the node. Required.
	Realm string `json:"realm,omitempty"`

	// The realm's client-key, or two while it is being changed. Use a placeholder rather
	// than the secret itself. Required.
	Secret []Secret `json:"secret,omitempty"`

	// The realm's client-id. Default: proxmox.
	Client string `json:"client,omitempty"`

	// The nodes at which the gateway signs people in, in this order: the next is tried if
	// one is down. Default: the upstreams of the site's `reverse_proxy`, with its TLS
	// settings. May be placeholders.
	Node []string `json:"node,omitempty"`

	// The SHA-256 of the nodes' certificate, in hexadecimal digits. Then no authority
	// verifies it. It counts for the gateway's own requests, not for `reverse_proxy`.
	Fingerprint string `json:"fingerprint,omitempty"`

	// A PEM file with the authorities of the nodes' certificates, such as a copy of
	// /etc/pve/pve-root-ca.pem. It counts for the gateway's own requests, not for
	// `reverse_proxy`. May be a placeholder.
	CA string `json:"ca,omitempty"`

	// Let requests with an API token pass to /api2/ without a login. The node alone checks
	// the token.
	APITokens bool `json:"api_tokens,omitempty"`

	// An API token by which the gateway sets the groups of a user at each login, for nodes
	// whose realm can't take them from a claim (libpve-access-control before 8.2.1).
	GroupToken Secret `json:"group_token,omitempty"`
}

// block returns the options of an app. Syntax of those of Proxmox VE:
//
//	realm <name>
//	secret <secret> [<previous>]
//	client <id>
//	node <url>…
//	fingerprint <sha256>
//	ca <file>
//	api_tokens
//	group_token <token>
func (a *As) block() block {
	if a.App != connect.Proxmox {
		return block{once("provider <id>", text(&a.Provider)), once("cookie <name>…", list(&a.Cookie))}
	}
	return block{
		once("realm <name>", text(&a.Realm)),
		once("secret <secret> [<previous>]", setSecrets(&a.Secret)),
		once("client <id>", text(&a.Client)),
		many("node <url>…", origins(&a.Node)),
		once("fingerprint <sha256>", text(&a.Fingerprint)),
		once("ca <file>", text(&a.CA)),
		once("api_tokens", flag(&a.APITokens)),
		once("group_token <token>", text(&a.GroupToken)),
	}
}

// setAs parses `as <app> { … }`.
func (h *Handler) setAs(d *caddyfile.Dispenser, e entry) error {
	h.As = &As{}
	if err := text(&h.As.App)(d, e); err != nil {
		return err
	}
	if apps := append(connect.Presets(), connect.Proxmox); !slices.Contains(apps, h.As.App) {
		return unknownWord(d, "app", apps)
	}
	if err := h.As.block().parse(d); err != nil {
		return err
	}
	err := h.As.complete()
	if err == nil && !strings.Contains(h.As.Realm+h.As.Fingerprint+string(h.As.GroupToken), "{") { // placeholders are replaced later
		_, err = h.As.app()
	}
	if err != nil {
		return d.Errf("as: %v", err)
	}
	return nil
}

// complete finds what is missing, and what can't be together.
func (a *As) complete() error {
	switch {
	case a.App != connect.Proxmox && !reflect.DeepEqual(a.Proxmox, Proxmox{}):
		return fmt.Errorf("%s has none of the options of proxmox: remove them", a.App)
	case a.App != connect.Proxmox:
	case a.Realm == "":
		return errors.New("proxmox needs `realm <name>`, the name of the OpenID realm at the node")
	case len(a.Secret) == 0:
		return errors.New("proxmox needs `secret <secret>`, the client-key of the realm at the node")
	case a.Provider != "" || len(a.Cookie) > 0:
		return errors.New("proxmox has neither `provider` nor `cookie`: remove them")
	case a.Fingerprint != "" && a.CA != "":
		return errors.New("proxmox has `ca` and `fingerprint`: remove one of them")
	}
	return nil
}

// resolve returns the app, with placeholders replaced. A Proxmox VE has no nodes yet.
func (a *As) resolve() (*connect.App, error) {
	if a == nil {
		return nil, nil
	}
	options := []option{{"realm", &a.Realm}, {"client", &a.Client}, {"fingerprint", &a.Fingerprint}, {"ca", &a.CA}}
	for i := range a.Node {
		options = append(options, option{"node", &a.Node[i]})
	}
	token, err := a.GroupToken.reveal("group_token")
	a.GroupToken = Secret(token)
	if err = errors.Join(a.complete(), resolve(options...), err); err != nil {
		return nil, fmt.Errorf("as: %w", err)
	}
	app, err := a.app()
	if err != nil {
		return nil, fmt.Errorf("as: %w", err)
	}
	a.GroupToken = "" // Caddy may log a module with its configuration
	return app, nil
}

func (a *As) app() (*connect.App, error) {
	if a.App != connect.Proxmox {
		return connect.New(a.App, a.Provider, a.Cookie)
	}
	if _, err := readFingerprint(a.Fingerprint); err != nil {
		return nil, err
	}
	return connect.NewProxmox(connect.ProxmoxOptions{
		Realm: a.Realm, Client: a.client(), APITokens: a.APITokens, GroupToken: string(a.GroupToken),
	})
}

func (a *As) client() string {
	if a.Client == "" {
		return connect.Proxmox
	}
	return a.Client
}

// clientIDs returns the ids of all clients of the site's OpenID provider.
func (h *Handler) clientIDs() (ids []string) {
	if h.OP != nil {
		for _, c := range h.OP.Client {
			ids = append(ids, c.ID)
		}
	}
	if h.As != nil && h.As.App == connect.Proxmox {
		ids = append(ids, h.As.client())
	}
	return ids
}

// asClient returns the client of the site's OpenID provider that the realm of a Proxmox VE
// is. Roles and groups of the site's rules are the groups that it is told.
func (h *Handler) asClient(app *connect.App) (client gateway.Client, err error) {
	client.Client = oidcop.Client{ID: h.As.client(), RedirectURIs: []string{connect.RedirectURL}}
	var errs []error
	check := func(option string, lines []mapping.Line) {
		for _, line := range lines {
			for _, name := range line.To {
				errs = append(errs, wording.About(option, app.CheckGroup(name)))
			}
		}
	}
	toGroups := func(r mapping.Rules) mapping.Rules {
		check("role", r.Role)
		check("group", r.Group)
		if len(r.Template) > 0 {
			errs = append(errs, errors.New("proxmox has no templates: write `role` instead of `template`"))
		}
		return mapping.Rules{Group: slices.Concat(r.Role, r.Group)}
	}
	client.Rules = toGroups(h.Rules)
	for _, from := range bound(h.From) {
		from.Rules = toGroups(from.Rules)
		client.From = append(client.From, from)
	}
	if h.OP != nil && slices.ContainsFunc(h.OP.Client, func(c Client) bool { return c.ID == client.ID }) {
		errs = append(errs, fmt.Errorf("`op` has a client %s, too: give one of them another id, for proxmox by `client <id>`", client.ID))
	}
	for _, s := range h.As.Secret {
		secret, err := s.reveal("secret")
		errs, client.Secrets = append(errs, err), append(client.Secrets, secret)
	}
	h.As.Secret = nil // Caddy may log a module with its configuration
	if h.Headers != (HeaderNames{}) {
		errs = append(errs, errors.New("proxmox reads no header: remove `headers`"))
	}
	return client, errors.Join(errs...)
}

// readFingerprint reads the SHA-256 of a certificate, as openssl and Proxmox VE show it.
func readFingerprint(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("the fingerprint %q is no SHA-256: expected 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` prints them", text)
	}
	return sum, nil
}
