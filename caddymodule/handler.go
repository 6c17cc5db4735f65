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
	"github.com/caddy-sso/caddy-sso/mapping"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler lets people in who signed in at a provider and whose groups the rules
// know. It tells the app who they are, in headers that nobody else can set and in
// a signed assertion.
//
// It guards a whole site: it stands before everything that rewrites or answers,
// and has no matcher. `public` or `protect` name the paths that need no login.
// Handlers that come first even so, in the order of Caddyfile directives `map`,
// `vars`, `root`, `log_…`, `header`, `request_body` and `redir`, see requests
// with the headers that the client sent. So may error routes: Strip is for them.
//
// Below `/.sso/` the gateway answers itself: `/.sso/session` says who is signed
// in, `/.sso/logout` ends the session, `/.sso/jwks.json` has the public keys of
// the assertion, and with a SAML provider `/.sso/saml/metadata` has what it needs
// to know of the site (`/.sso/saml/metadata/<provider>`, if there are several).
//
// Of what a connection can be upgraded to, only WebSocket is passed on: h2c and
// others carry requests that nobody would guard.
//
// A browser without a session that asks for a page is sent to sign in. Any other
// request without a session is answered 401 with a JSON problem; that of a person who
// signed in but may not pass, 403; if the store is down or the app has not started,
// 503 with Retry-After.
//
// These placeholders say who makes the request; on public paths they are empty:
//
// Placeholder | Description
// ------------|------------
// `{http.auth.user.id}` | The user name, in its provider's name space (`users`), also written to the access log
// `{http.auth.user.username}` | The same
// `{http.auth.user.email}` | The e-mail address
// `{http.auth.user.name}` | The person's name
// `{http.auth.user.first_name}` | The first name
// `{http.auth.user.last_name}` | The last name
// `{http.auth.user.roles}` | The app's roles, separated by commas; within a name a comma is %2C, a percent sign %25
// `{http.auth.user.groups}` | The app's groups, the same way
// `{http.auth.user.template}` | The one template that matched
// `{http.auth.user.provider}` | The name of the provider
// `{http.auth.user.account}` | An opaque, stable name of the account
// `{http.auth.user.session}` | An opaque name of the session; no secret
//
// With `errors` set to `caddy`, these are set in `handle_errors`:
//
// Placeholder | Description
// ------------|------------
// `{http.error.sso.code}` | The code of the refusal, such as access_denied
// `{http.error.sso.title}` | What happened, for people
// `{http.error.sso.text}` | What they can do about it
type Handler struct {
	// The site's own provider, which no other site uses. With `provider` too, it
	// comes first in the chooser.
	InlineRaw json.RawMessage `json:"inline,omitempty" caddy:"namespace=sso.providers inline_key=protocol"`

	// Which of the app's providers may sign people in here, in the chooser's
	// order. Default: the site's own, else all of the app's.
	Provider []string `json:"provider,omitempty"`

	// The provider to use without showing the chooser: its name, or "off" for the
	// chooser even if there is only one. Default:
	// the only provider, if there is only one.
	Autologin string `json:"autologin,omitempty"`

	// Rules that give roles: all lines that match count. `to` are the app's
	// names, `from` the provider's groups, byte for byte, or "*" for everybody.
	// A person whom no role, template or group line matches is refused.
	Role []mapping.Line `json:"role,omitempty"`

	// Rules that give the one template: the first line that matches counts.
	Template []mapping.Line `json:"template,omitempty"`

	// Rules that give the app's groups: all lines that match count.
	Group []mapping.Line `json:"group,omitempty"`

	// Rules that hold for the people of some providers only. At a site whose
	// providers have several name spaces all rules stand here: what a group means
	// depends on whose it is. There the app is told no groups but those that a
	// `group` rule gives.
	From []From `json:"from,omitempty"`

	// Lists of this site's providers that are ways in for the same people, in
	// addition to those of the app.
	SamePeople [][]string `json:"same_people,omitempty"`

	// Paths that need no login: exact, or a prefix that ends in "/*". They get
	// no identity either. A path that reads differently raw, decoded and cleaned
	// is never public, nor is a request that names another path that is not, such
	// as by Destination. "/*" alone is refused: such a site needs no sso.
	Public []string `json:"public,omitempty"`

	// The other way round: with this, only these paths need a login, in every form
	// in which docs/options.md says that an app may read them. An app may have
	// others: public is the better choice.
	Protect []string `json:"protect,omitempty"`

	// The site's own origin as browsers see it, such as
	// "https://app.example.com". Default: learnt from the site's host names.
	// Required for a site without. May be a placeholder.
	BaseURL string `json:"base_url,omitempty"`

	// How long after the login this site accepts it. Default: as long as it
	// lives.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// What the assertion calls the app (its audience). Default: the host of
	// `base_url`, else the site's first host name.
	App string `json:"app,omitempty"`

	// How the headers are called by which the app learns who it is. A client
	// can't send them, whatever they are called.
	Headers HeaderNames `json:"headers,omitzero"`

	// How the values of those headers are written, by their kinds ("user", "name" and
	// so on; "*" for those that are not named): "percent", percent-encoded UTF-8
	// that has printable ASCII alone; "utf8" as it is, for apps that decode nothing;
	// "latin1", ISO 8859-1, for apps that read header values so. Default: percent.
	HeaderEncoding HeaderEncoding `json:"header_encoding,omitempty"`

	// The character between roles, and between groups: ",", ";", "|" or ":".
	// Within a name it is percent-encoded. Default: ",".
	ListSeparator string `json:"list_separator,omitempty"`

	// Headers of other gateways, such as X-Forwarded-User or X-Auth-Request-*, that
	// a client may send all the same. An app that believes them believes the client.
	// Default: none; docs/options.md lists those that are taken away.
	KeepHeaders []string `json:"keep_headers,omitempty"`

	// The path below which the gateway answers itself. Default: "/.sso".
	Prefix string `json:"prefix,omitempty"`

	// Where an OpenID Provider sends the browser back to, if its registration
	// can't be changed. Default: "/.sso/oidc/callback". If a site has several
	// OpenID Providers, each has a callback of its own below it, named like it:
	// "/.sso/oidc/callback/corp".
	CallbackPath string `json:"callback_path,omitempty"`

	// Origins of other sites whose pages may open WebSockets here.
	AllowedOrigins []string `json:"allowed_origins,omitempty"`

	// Permit sessions over plain http on names that are not loopback. An attacker
	// who can read the network can then take them over.
	InsecureHTTP bool `json:"insecure_http,omitempty"`

	// "caddy" hands refusals to `handle_errors` instead of showing the gateway's
	// own pages.
	Errors string `json:"errors,omitempty"`

	// What our pages call the app. Default: its host. May be a placeholder.
	Title string `json:"title,omitempty"`

	// A PNG or SVG file of at most 64 KiB, which our pages show instead of their own
	// icon. It is read when the configuration is loaded. May be a placeholder.
	Logo string `json:"logo,omitempty"`

	// Where people get help: a text, an http(s) URL or an e-mail address. All of our
	// pages show it. May be a placeholder.
	Help string `json:"help,omitempty"`

	// Says that this handler guards only a part of a site on purpose. It may
	// stand inside of other routes, and there may be several. Outside of those
	// routes identity headers are not removed, and the gateway's own addresses
	// are not answered. So the routes around it must let those addresses through:
	// in `handle /admin/*`, set `prefix` to "/admin/.sso", and with an OpenID
	// Provider leave `callback_path` below it.
	Nested bool `json:"nested,omitempty"`

	app    *App
	log    *zap.Logger
	config string // as it was configured, to tell copies from others
	site   string // for messages
	opts   gateway.AppOptions
	own    *gateway.App                // made of its options
	guard  atomic.Pointer[gateway.App] // its own, or that of a copy in another server
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
	h.log, h.site = ctx.Logger(), siteName(ctx)
	if err := h.provision(ctx); err != nil {
		return fmt.Errorf("site %s: %w", h.site, err)
	}
	return h.app.checkSites(ctx)
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
		built.config = config
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
		return nil, errors.New("nobody could sign in, for there is no provider: write `sso oidc <issuer> <client_id> <client_secret>`, `sso saml <metadata>`, or `provider` in the global option sso")
	}
	return names, nil
}

func (h *Handler) options(providers []string) (gateway.AppOptions, error) {
	headers, err := h.Headers.resolve()
	format, wrong := h.headerFormat(headers)
	err = errors.Join(err, wrong)
	if h.Errors != "" && h.Errors != "caddy" {
		err = errors.Join(err, fmt.Errorf("errors: can't be %q, only \"caddy\"", h.Errors))
	}
	return gateway.AppOptions{
		ID: h.App, Providers: providers, Autologin: h.Autologin, Rules: h.rules(), From: h.bound(), SamePeople: h.SamePeople,
		Public: h.Public, Protect: h.Protect, Prefix: h.Prefix, CallbackPath: h.CallbackPath,
		BaseURL: h.BaseURL, Lifetime: time.Duration(h.Lifetime), Headers: headers, HeaderFormat: format, KeepHeaders: h.KeepHeaders,
		AllowedOrigins: h.AllowedOrigins, InsecureHTTP: h.InsecureHTTP, ErrorsToCaller: h.Errors == "caddy",
	}, err
}

func (h *Handler) rules() mapping.Rules {
	return mapping.Rules{Role: h.Role, Template: h.Template, Group: h.Group}
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
	case gateway.Refused(err) != nil: // the login ended on the way
		return h.handOver(r, err)
	}
	return err
}

// failed returns the error that a request has ended in before, in an error route.
func failed(r *http.Request) error {
	err, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	return err
}

// peerOf tells what Caddy knows of a request and the gateway must not guess.
func peerOf(r *http.Request) gateway.Peer {
	ctx := r.Context()
	peer := gateway.Peer{Secure: r.TLS != nil, Target: r.RequestURI, Failed: failed(r)}
	if orig, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		peer.Target = orig.RequestURI
		if peer.Target == "" { // the server asks itself, by the template function httpInclude
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

// forwardedSecure says whether the nearest of the trusted proxies was asked over
// TLS, by WebSocket's schemes too: Traefik says those of a handshake. If it does
// not say, or says it twice, that is not known.
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
