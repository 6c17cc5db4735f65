package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

func init() { caddy.RegisterModule(OIDC{}) }

// OIDC is an OpenID Provider. People sign in at it by the authorization code flow, with
// PKCE.
//
// Its discovery document is fetched in the background at start, and the log says what is
// wrong with it. If the provider is down, Caddy starts all the same, and people who are
// signed in stay so.
//
// Register the gateway there as a confidential client. Each site has a redirect URI of
// its own, `https://<site>/.sso/oidc/callback`.
type OIDC struct {
	// The provider's name in the configuration, in addresses and in logs:
	// letters, digits, dots, dashes and underscores. Default: made of issuer and client_id.
	Name string `json:"name,omitempty"`

	// The name that our pages show. Default: the provider's name; without a name, the
	// issuer's host.
	DisplayName string `json:"display_name,omitempty"`

	// How long a login at this provider may live. Default: the global `lifetime`.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	People

	// The issuer identifier, byte for byte as in the provider's discovery document.
	// Required. May be a placeholder.
	Issuer string `json:"issuer,omitempty"`

	// The client's identifier at the provider. Required. May be a placeholder.
	ClientID string `json:"client_id,omitempty"`

	// The client's secret. Use a placeholder rather than the secret itself. A client
	// without a secret is a public client: only PKCE protects it.
	ClientSecret Secret `json:"client_secret,omitempty"`

	// The scopes to ask for; openid must be among them. Default: openid, profile, email.
	Scopes []string `json:"scopes,omitempty"`

	// The claim with the user name. Default: preferred_username. If it is missing, the
	// sign-in is refused. If people can change the claim at will, they can take each
	// other's names. An e-mail address must be verified: see trust_email.
	UsernameClaim string `json:"username_claim,omitempty"`

	// Trust the e-mail addresses of this provider, whatever its claim email_verified
	// says. Use it for a provider that never sends the claim (AD FS) or does not
	// maintain it, and only if administrators alone can change an address. Otherwise a
	// person could take another's user name. Default: an address is accepted as user
	// name only if it is verified, and an unverified address is sent to no app.
	TrustEmail bool `json:"trust_email,omitempty"`

	// The claim with the groups, by its exact name or as a path
	// ("realm_access.roles"). Default: groups.
	GroupsClaim string `json:"groups_claim,omitempty"`

	// Which sessions a logout ends: "local" only ours, "provider" also the one at the
	// provider. Default: local.
	Logout string `json:"logout,omitempty"`

	// How the client authenticates at the token endpoint: client_secret_basic,
	// client_secret_post or none. Default: the method that the provider announces.
	TokenAuth string `json:"token_auth,omitempty"`

	// A file of PEM certificates that verify the provider's TLS certificate. Default: the
	// system's.
	CA string `json:"ca,omitempty"`

	// Send no PKCE, for a provider that refuses it. If a code leaks, anybody who has the
	// client's secret can use it.
	InsecureNoPKCE bool `json:"insecure_no_pkce,omitempty"`

	// Allow plain http to a provider beyond loopback. An attacker in between can then
	// sign in as anybody.
	InsecureHTTPIssuer bool `json:"insecure_http_issuer,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (OIDC) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "sso.providers.oidc",
		New: func() caddy.Module { return new(OIDC) },
	}
}

func (o *OIDC) setName(name string) { o.Name = name }

// unmarshalArguments parses the rest of the line that begins with `sso oidc`. Syntax:
//
//	<issuer> <client_id> [<client_secret>]
func (o *OIDC) unmarshalArguments(d *caddyfile.Dispenser) (given []string, err error) {
	args := d.RemainingArgs()
	const usage = "`sso oidc <issuer> <client_id> [<client_secret>]`"
	switch len(args) {
	case 0:
		return nil, nil
	case 2:
	case 3:
		o.ClientSecret, given = Secret(args[2]), []string{"client_secret"}
	default:
		return nil, d.Err("wrong arguments for 'sso oidc': expected " + usage)
	}
	if !mayBeIssuer(args[0]) {
		return nil, d.Err("the first argument of 'sso oidc' is no issuer: " + issuerRule + "; the order is " + usage)
	}
	if fault := issuerFault(args[0]); fault != nil {
		onLine := strings.NewReplacer("`issuer ", "`sso oidc ", "/v2.0`", "/v2.0 …`")
		return nil, d.Err("the first argument of 'sso oidc': " + onLine.Replace(fault.Error()))
	}
	o.Issuer, o.ClientID = args[0], args[1]
	return append(given, "issuer", "client_id"), nil
}

// block implements providerModule. Syntax:
//
//	name <name>
//	display_name <text>
//	lifetime <duration>
//	users prefix|suffix|domain <text>
//	email_domains <domain>…
//	issuer <url>
//	client_id <id>
//	client_secret <secret>
//	scopes <scope>…
//	username_claim <claim>
//	trust_email
//	groups_claim <claim>
//	logout local|provider
//	token_auth client_secret_basic|client_secret_post|none
//	ca <file>
//	insecure_no_pkce
//	insecure_http_issuer
//
// In a site's block, `lifetime` is the site's. In the global option, the name stands
// before the block.
func (o *OIDC) block() block {
	return append(block{
		once("name <name>", providerName(&o.Name)),
		once("display_name <text>", text(&o.DisplayName)),
		once("lifetime <duration>", duration(&o.Lifetime)),
		once("issuer <url>", text(&o.Issuer).then(o.checkIssuer)),
		once("client_id <id>", text(&o.ClientID)),
		once("client_secret <secret>", text(&o.ClientSecret)),
		once("scopes <scope>…", list(&o.Scopes).then(o.checkScopes)),
		once("username_claim <claim>", text(&o.UsernameClaim)),
		once("trust_email", flag(&o.TrustEmail)),
		once("groups_claim <claim>", text(&o.GroupsClaim)),
		once("logout local|provider", choice(&o.Logout)),
		once("token_auth client_secret_basic|client_secret_post|none", choice(&o.TokenAuth)),
		once("ca <file>", text(&o.CA)),
		once("insecure_no_pkce", flag(&o.InsecureNoPKCE)),
		once("insecure_http_issuer", flag(&o.InsecureHTTPIssuer)),
	}, o.People.block()...)
}

func (o *OIDC) checkIssuer(d *caddyfile.Dispenser) error {
	if !mayBeIssuer(o.Issuer) {
		return d.Err("this is no issuer: " + issuerRule)
	}
	if fault := issuerFault(o.Issuer); fault != nil {
		return d.WrapErr(fmt.Errorf("'issuer': %w", fault))
	}
	return nil
}

// checkScopes refuses scopes without openid (OIDC Core §3.1.2.1).
func (o *OIDC) checkScopes(d *caddyfile.Dispenser) error {
	if err := literal("scopes", o.Scopes...); err != nil {
		return d.WrapErr(err)
	}
	if !slices.Contains(o.Scopes, "openid") {
		return d.WrapErr(wording.Errorf("'scopes': openid must be among them: write %s", wording.Option{Word: "scopes", Args: "openid " + strings.Join(o.Scopes, " ")}))
	}
	return nil
}

func (o *OIDC) complete() error {
	for _, need := range []struct{ option, value string }{{"issuer", o.Issuer}, {"client_id", o.ClientID}} {
		if need.value == "" {
			return wording.Errorf("an OpenID Provider needs %s", o.block().option(need.option))
		}
	}
	if fault := issuerFault(o.Issuer); fault != nil {
		return wording.About("issuer", fault)
	}
	return nil
}

// build implements providerModule.
func (o *OIDC) build(ctx caddy.Context) (builtProvider, error) {
	named, err := o.configure(ctx)
	o.ClientSecret = "" // Caddy may log a module with its configuration
	if err != nil && o.Name != "" {
		err = &wording.ProviderError{Provider: o.Name, Err: err}
	} else if err != nil {
		err = &wording.ProviderError{Provider: withoutUser(o.Issuer), Err: err}
	}
	return named, err
}

func (o *OIDC) configure(ctx caddy.Context) (builtProvider, error) {
	cfg, err := o.config()
	if err != nil {
		return builtProvider{}, err
	}
	if o.Name == "" {
		o.Name = defaultName(withoutScheme(o.Issuer), o.ClientID)
		o.DisplayName = cmp.Or(o.DisplayName, hostOf(o.Issuer))
	}
	lacksSecret := ""
	if cfg.ClientSecret == "" && o.TokenAuth != "none" {
		lacksSecret = withoutUser(o.Issuer)
	}
	if !validName(o.Name) {
		return builtProvider{}, wording.Aboutf("name", "'%s' cannot be a provider's name: %s", o.Name, nameRule)
	}
	provider, err := oidcrp.New(cfg, oidcrp.Deps{Logger: loggerOf(ctx).With(zap.String("provider", o.Name))})
	if err != nil {
		return builtProvider{}, err
	}
	return builtProvider{
		NamedProvider: gateway.NamedProvider{
			Name: o.Name, DisplayName: o.DisplayName, Lifetime: time.Duration(o.Lifetime), Provider: provider,
			Users: o.Users, EmailDomains: o.EmailDomains,
		},
		returns: o.Logout == "provider", lacksSecret: lacksSecret,
		bind: func(ps *pooledSessions) { provider.KeepIn(ps.Vault()) },
	}, nil
}

// config resolves placeholders, reads files and returns the provider's configuration.
func (o *OIDC) config() (cfg oidcrp.Config, err error) {
	secret, secretErr := o.ClientSecret.reveal("client_secret")
	if secretErr == nil {
		secretErr = allVisible("client_secret", secret)
	}
	err = errors.Join(resolve(
		option{"issuer", &o.Issuer}, option{"client_id", &o.ClientID}, option{"display_name", &o.DisplayName}, option{"ca", &o.CA},
		option{"username_claim", &o.UsernameClaim}, option{"groups_claim", &o.GroupsClaim},
	), literal("scopes", o.Scopes...), secretErr, o.complete())
	if err != nil {
		return cfg, err
	}
	if o.Lifetime < 0 {
		return cfg, wording.Aboutf("lifetime", "must not be negative")
	}
	cfg = oidcrp.Config{
		Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: oidcrp.Secret(secret), Scopes: o.Scopes,
		UsernameClaim: o.UsernameClaim, TrustEmail: o.TrustEmail, GroupsClaim: o.GroupsClaim, Logout: oidcrp.Logout(o.Logout),
		TokenEndpointAuthMethod: o.TokenAuth,
		InsecureNoPKCE:          o.InsecureNoPKCE, InsecureHTTP: o.InsecureHTTPIssuer,
	}
	if o.CA != "" {
		cfg.RootCAs, err = readCA(o.CA)
		cfg.CAFile = o.CA
	}
	return cfg, err
}

// Interface guard
var _ providerModule = (*OIDC)(nil)
