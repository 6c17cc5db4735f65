package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler requires a sign-in at a provider, and lets a person in if a rule matches their
// groups. It names the person to the app in headers, which a client can't set, and in a
// signed assertion.
//
// It guards a whole site: it comes before all handlers that rewrite or respond, and has
// no matcher. `public` or `protect` name the paths that need no login. A few Caddyfile
// directives come even before it (`map`, `vars`, `root`, `log_…`, `header`,
// `request_body` and `redir`). They see the headers that the client sent. So may error
// routes: Strip is for them.
//
// Below `/.sso/` the gateway itself responds: `/.sso/session` names the person who is
// signed in, `/.sso/logout` ends the session, `/.sso/jwks.json` has the public keys of
// the assertion, and `/.sso/saml/metadata` has our metadata for a SAML provider
// (`/.sso/saml/metadata/<provider>`, if there are several).
//
// A connection can be upgraded to WebSocket only: h2c and other protocols carry requests
// that sso would not see.
//
// If a browser without a session opens a page, it is redirected to sign in. Any other
// request without a session gets a 401 with a JSON problem. A person who signed in but
// is not allowed in gets a 403. If the store is down or the app has not started, the
// response is a 503 with Retry-After.
//
// These placeholders name the person who makes the request. They are empty on public paths:
//
// Placeholder | Description
// ------------|------------
// `{http.auth.user.id}` | The user name, in its provider's name space (`users`). The access log has it, too
// `{http.auth.user.username}` | The same
// `{http.auth.user.email}` | The e-mail address
// `{http.auth.user.name}` | The person's name
// `{http.auth.user.first_name}` | The first name
// `{http.auth.user.last_name}` | The last name
// `{http.auth.user.roles}` | The app's roles, separated by commas. In a name, a comma becomes %2C and a percent sign %25
// `{http.auth.user.groups}` | The app's groups, the same way
// `{http.auth.user.template}` | The app's template
// `{http.auth.user.provider}` | The name of the provider
// `{http.auth.user.account}` | The account's identifier, opaque and stable
// `{http.auth.user.session}` | The session's identifier, opaque; no secret
//
// With `errors caddy`, `handle_errors` has these:
//
// Placeholder | Description
// ------------|------------
// `{http.error.sso.code}` | The code of the refusal, such as access_denied
// `{http.error.sso.title}` | What happened, for people
// `{http.error.sso.text}` | What they can do about it
type Handler struct {
	// The site's own provider. If `provider` is set too, this one comes first in the
	// chooser.
	InlineRaw json.RawMessage `json:"inline,omitempty" caddy:"namespace=sso.providers inline_key=protocol"`

	// The shared providers of this site, in the order of the chooser. Default: none if
	// the site has its own provider, else all.
	Provider []string `json:"provider,omitempty"`

	// The provider to use without showing the chooser. "off" shows the chooser even for a
	// single provider. Default: the provider, if there is only one.
	Autologin string `json:"autologin,omitempty"`

	// A person whom no role, template or group rule matches is refused.
	mapping.Rules

	// Rules for the people of some providers only. If a site's providers have several
	// name spaces, all its rules stand here, because two providers may use one group
	// name for different people. There the app gets only groups from `group` rules.
	From []From `json:"from,omitempty"`

	// Lists of this site's providers that sign in the same people, in addition to the
	// app's lists.
	SamePeople [][]string `json:"same_people,omitempty"`

	// Paths that need no login: exact, or a prefix that ends in "/*". They get no
	// identity either. A path that differs between its raw, decoded and cleaned forms is
	// never public. If a request names a second path, as in Destination, that must be
	// public, too. "/*" alone is refused: such a site needs no sso.
	Public []string `json:"public,omitempty"`

	// Only these paths need a login, in all forms that docs/protect.md lists. An app may
	// understand further forms, so public is the better choice.
	Protect []string `json:"protect,omitempty"`

	// The site's own origin as browsers see it, such as
	// "https://app.example.com". Default: made of the site's host names. Required for a
	// site without host names. May be a placeholder.
	BaseURL string `json:"base_url,omitempty"`

	// How long after a sign-in this site accepts the login. Default: until the login
	// ends.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// The audience of the assertion, which names the app. Default: the host of
	// `base_url`, else the site's first host name.
	App string `json:"app,omitempty"`

	// The app, if it keeps a session of its own. Default: none.
	As *As `json:"as,omitempty"`

	// The names of the headers that tell the app about the person. A client can't send
	// headers with these names.
	Headers HeaderNames `json:"headers,omitzero"`

	// The encoding of those headers, by kind ("user", "name" and so on; "*" is every
	// other kind). "percent" encodes everything but printable ASCII as %XX of its UTF-8.
	// "utf8" encodes nothing, for apps that decode nothing. "latin1" is ISO 8859-1, for
	// apps that read header values as such. Default: percent.
	HeaderEncoding HeaderEncoding `json:"header_encoding,omitempty"`

	// The character between roles, and between groups: ",", ";", "|" or ":".
	// In a name it is percent-encoded. Default: ",".
	ListSeparator string `json:"list_separator,omitempty"`

	// Headers of other gateways, such as X-Forwarded-User or X-Auth-Request-*, that a
	// client may send. If an app trusts such a header, it trusts the client. Default:
	// none. docs/headers.md lists the headers that are removed.
	KeepHeaders []string `json:"keep_headers,omitempty"`

	// The path of the gateway's own addresses. Default: "/.sso".
	Prefix string `json:"prefix,omitempty"`

	// The path of the redirect URI, for a provider whose registration can't be changed.
	// Default: "/.sso/oidc/callback". If a site has several OpenID Providers, each has a
	// callback below that path, with its name: "/.sso/oidc/callback/corp".
	CallbackPath string `json:"callback_path,omitempty"`

	// Origins of other sites whose pages may open WebSockets here.
	AllowedOrigins []string `json:"allowed_origins,omitempty"`

	// Allow sessions over plain http beyond loopback. An attacker who can read the
	// network can then take them over.
	InsecureHTTP bool `json:"insecure_http,omitempty"`

	// "caddy" hands refusals to `handle_errors`. Default: the gateway shows its own
	// pages.
	Errors string `json:"errors,omitempty"`

	// The app's name on our pages. Default: its host. May be a placeholder.
	Title string `json:"title,omitempty"`

	// A PNG or SVG file of at most 64 KiB for our pages. It is read when the
	// configuration is loaded. Default: our icon. May be a placeholder.
	Logo string `json:"logo,omitempty"`

	// Where people get help: a text, an http(s) URL or an e-mail address. All of our
	// pages show it. May be a placeholder.
	Help string `json:"help,omitempty"`

	// Makes this site an OpenID provider for other apps. One site of the configuration can
	// be one.
	OP *OpenIDProvider `json:"op,omitempty"`

	// Says that this handler guards only a part of its site, on purpose. It may stand
	// inside of other routes, and a site may have several. Outside of those routes the
	// client's identity headers are not removed, and the gateway's own addresses do not
	// exist. So the routes must lead requests for these addresses to the handler: in
	// `handle /admin/*`, set `prefix` to "/admin/.sso", and with an OpenID Provider leave
	// `callback_path` below it.
	Nested bool `json:"nested,omitempty"`

	app    *App
	log    *zap.Logger
	config string // its JSON: copies of one handler have the same
	site   string // for messages
	opts   gateway.AppOptions
	own    *gateway.App                // made from the options
	guard  atomic.Pointer[gateway.App] // own, or that of a copy in another server
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.sso",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision builds what the site needs and checks all of it.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log, h.site = loggerOf(ctx), siteName(ctx)
	if err := h.provision(ctx); err != nil {
		return noted(fmt.Errorf("site %s: %w", h.site, err))
	}
	return noted(h.app.checkSites(ctx))
}

func (h *Handler) provision(ctx caddy.Context) error {
	config, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	h.config = string(config)
	app, err := ctx.App("sso")
	if err != nil {
		return err
	}
	if h.app, err = as[*App](app); err != nil {
		return err
	}
	if err := errors.Join(resolve(option{"base_url", &h.BaseURL}, option{"app", &h.App}, option{"title", &h.Title}, option{"logo", &h.Logo}, option{"help", &h.Help}), h.literals()); err != nil {
		return err
	}
	providers, err := h.pickProviders(ctx)
	if err != nil {
		return err
	}
	if h.opts, err = h.options(providers); err != nil {
		return err
	}
	if h.opts.Brand, err = h.brand(); err != nil {
		return err
	}
	if h.own, err = h.app.gateway.NewApp(h.opts); err != nil {
		return err
	}
	h.app.private.add(h.opts.Headers)
	h.app.guardRequests(ctx)
	h.warnOfOpen()
	h.warnOfSigns()
	h.noteTemplate()
	h.noteCommas()
	h.guard.Store(h.own)
	h.app.handlers = append(h.app.handlers, h)
	return nil
}

// pickProviders returns the names of the providers for this site.
func (h *Handler) pickProviders(ctx caddy.Context) ([]string, error) {
	var names []string
	if len(h.InlineRaw) > 0 {
		if err := namesModule(h.InlineRaw, "protocol"); err != nil {
			return nil, fmt.Errorf("inline: %w", err)
		}
		config := string(h.InlineRaw)
		mod, err := ctx.LoadModule(h, "InlineRaw")
		if err != nil {
			return nil, fmt.Errorf("inline: %w", err)
		}
		module, err := as[providerModule](mod)
		if err != nil {
			return nil, err
		}
		built, err := module.build(ctx)
		if err != nil {
			return nil, err
		}
		built.config, built.site = config, h.site
		if err := h.app.addInline(built); err != nil {
			return nil, err
		}
		names = append(names, built.Name)
	}
	for _, name := range h.Provider {
		if !slices.Contains(h.app.shared, name) {
			return nil, unknownProvider(name, h.app.shared)
		}
	}
	names = append(names, h.Provider...)
	if len(names) == 0 {
		names = h.app.shared
	}
	if len(names) == 0 {
		return nil, errors.New("there is no provider, so nobody could sign in: write `sso oidc <issuer> <client_id> <client_secret>`, `sso saml <metadata>`, or `provider` in the global option sso")
	}
	return names, nil
}

func (h *Handler) options(providers []string) (gateway.AppOptions, error) {
	headers, err := h.Headers.resolve()
	format, wrong := h.headerFormat(headers)
	clients, faulty := h.clients()
	as, unknown := h.As.resolve()
	err = errors.Join(err, wrong, faulty, unknown)
	if as.IsProxmox() {
		own, wrong := h.asClient(as)
		h.warnOfClient(own.Client)
		headers, clients, err = forward.HeaderNames{}, append(clients, own), errors.Join(err, wording.About("as", wrong))
	}
	if h.Errors != "" && h.Errors != "caddy" {
		err = errors.Join(err, wording.Aboutf("errors", "can't be %q, only \"caddy\"", h.Errors))
	}
	return gateway.AppOptions{
		ID: h.App, Providers: providers, Autologin: h.Autologin, Rules: h.Rules, From: bound(h.From), SamePeople: h.SamePeople,
		Public: h.Public, Protect: h.Protect, Prefix: h.Prefix, CallbackPath: h.CallbackPath,
		BaseURL: h.BaseURL, Lifetime: time.Duration(h.Lifetime), Headers: headers, HeaderFormat: format, KeepHeaders: h.KeepHeaders,
		AllowedOrigins: h.AllowedOrigins, InsecureHTTP: h.InsecureHTTP, As: as, ErrorsToCaller: h.Errors == "caddy", Clients: clients,
	}, err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.app.sendAway(w, r)
	h.app.await(r.Context())
	guard, passed := h.guard.Load(), false
	err := guard.ServeHTTP(w, r, peerOf(r), func(w http.ResponseWriter, r *http.Request, p *forward.Principal) error {
		passed = true
		tell(r, p)
		err := next.ServeHTTP(w, r)
		if err != nil {
			leaveNote(guard.Passed(r.Context()), r)
		}
		return err
	})
	switch {
	case !passed:
		return h.answered(w, r, err)
	case gateway.Refused(err) != nil: // the login ended during the request
		return h.handOver(r, err)
	}
	return err
}

// failed returns the error that led the request to an error route, or nil.
func failed(r *http.Request) error {
	err, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	return err
}

// peerOf returns what Caddy knows about the client. The gateway must not guess it: Caddy
// knows the trusted proxies.
func peerOf(r *http.Request) gateway.Peer {
	ctx := r.Context()
	peer := gateway.Peer{Secure: r.TLS != nil, Target: r.RequestURI, Failed: failed(r)}
	if orig, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		peer.Target = orig.RequestURI
		if peer.Target == "" { // a request of the template function httpInclude
			peer.Target = orig.URL.RequestURI()
		}
	}
	vars, _ := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
	if ip, ok := vars[caddyhttp.ClientIPVarKey].(string); ok {
		peer.Addr, _ = netip.ParseAddr(ip)
	}
	if trusted, _ := vars[caddyhttp.TrustedProxyVarKey].(bool); trusted {
		if secure, known := forwardedSecure(r.Header); known {
			peer.Secure = secure
		}
	}
	return peer
}

// forwardedSecure says whether the nearest trusted proxy got the request over TLS. For a
// WebSocket handshake Traefik sends wss or ws. If the header is missing or there are two,
// known is false.
func forwardedSecure(h http.Header) (secure, known bool) {
	values := h["X-Forwarded-Proto"]
	if len(values) != 1 {
		return false, false
	}
	switch strings.ToLower(strings.TrimSpace(values[0])) {
	case "https", "wss":
		return true, true
	case "http", "ws":
		return false, true
	}
	return false, false
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
