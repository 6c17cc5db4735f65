package caddymodule

import (
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
)

func init() { caddy.RegisterModule(OIDC{}) }

// OIDC is an OpenID Provider that people sign in at, with the authorization
// code flow and PKCE.
//
// Its discovery document is fetched in the background, at the start, and the log
// says what is wrong with it. A provider that is down stops neither Caddy nor those
// who are signed in.
//
// Register the gateway there as a confidential client with the redirect URI
// `https://<site>/.sso/oidc/callback`, one for each site.
type OIDC struct {
	// The provider's name in the configuration, in addresses and in logs:
	// letters, digits, dots, dashes and underscores. Default: made of issuer and
	// client_id.
	Name string `json:"name,omitempty"`

	// The name that our pages show. Default: the provider's name.
	DisplayName string `json:"display_name,omitempty"`

	// How long a login at this provider may live. Default: the app's lifetime.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	People

	// The issuer identifier, byte for byte as the provider's discovery document
	// names it. Required. May be a placeholder.
	Issuer string `json:"issuer,omitempty"`

	// The client's identifier at the provider. Required. May be a placeholder.
	ClientID string `json:"client_id,omitempty"`

	// The client's secret. Better a placeholder than the secret itself. Without
	// one the client is a public one, secured by PKCE alone.
	ClientSecret Secret `json:"client_secret,omitempty"`

	// The scopes to ask for; openid must be among them. Default: openid, profile, email.
	Scopes []string `json:"scopes,omitempty"`

	// The claim with the user name. Default: preferred_username. Nothing takes
	// its place when it is missing: the login is refused. A claim that its owner
	// can change at will lets him take another's name. An e-mail address must be
	// verified: see trust_email.
	UsernameClaim string `json:"username_claim,omitempty"`

	// Trust the e-mail addresses of this provider, whatever its claim
	// email_verified says. For a provider that never sends the claim (AD FS) or
	// doesn't keep it, and where nobody but its administrators can change an
	// address: anybody else could take another's user name. Default: an address is
	// a user name only if it is verified, and one that the provider calls
	// unverified is in no header.
	TrustEmail bool `json:"trust_email,omitempty"`

	// The claim with the groups, by its exact name or as a path
	// ("realm_access.roles"). Default: groups.
	GroupsClaim string `json:"groups_claim,omitempty"`

	// How far a logout goes: "local" ends the session here, "provider" the one
	// at the provider as well. Default: local.
	Logout string `json:"logout,omitempty"`

	// How the client proves itself at the token endpoint: client_secret_basic,
	// client_secret_post or none. Default: what the provider announces.
	TokenAuth string `json:"token_auth,omitempty"`

	// A file of PEM certificates to verify the provider's TLS certificate by.
	// Default: the system's.
	CA string `json:"ca,omitempty"`

	// Leave PKCE out, for a provider that refuses it. A code that leaks can
	// then be used by whoever has the client's secret.
	InsecureNoPKCE bool `json:"insecure_no_pkce,omitempty"`

	// Permit plain http to a provider that is not on this machine. An attacker
	// on the network in between can then sign in as anybody.
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

// unmarshalArguments parses what follows `sso oidc` on its line. Syntax:
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
	if fault := issuerFault(args[0]); fault != "" {
		onLine := strings.NewReplacer("`issuer ", "`sso oidc ", "/v2.0`", "/v2.0 …`")
		return nil, d.Err("the first argument of 'sso oidc': " + onLine.Replace(fault))
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
// In a site's own block `lifetime` is the site's. In the app's block the name
// stands before the block.
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
	if fault := issuerFault(o.Issuer); fault != "" {
		return d.Err("'issuer': " + fault)
	}
	return nil
}

// checkScopes refuses scopes that can't be asked for (OIDC Core §3.1.2.1).
func (o *OIDC) checkScopes(d *caddyfile.Dispenser) error {
	if err := literal("scopes", o.Scopes...); err != nil {
		return d.Err(err.Error())
	}
	if !slices.Contains(o.Scopes, "openid") {
		return d.Errf("'scopes': openid must be among them: write `scopes openid %s`", strings.Join(o.Scopes, " "))
	}
	return nil
}

func (o *OIDC) complete() error {
	for _, need := range []struct{ option, value string }{{"issuer", o.Issuer}, {"client_id", o.ClientID}} {
		if need.value == "" {
			return fmt.Errorf("an OpenID Provider needs `%s`", o.block().usage(need.option))
		}
	}
	if fault := issuerFault(o.Issuer); fault != "" {
		return errors.New("issuer: " + fault)
	}
	return nil
}

// build implements providerModule.
func (o *OIDC) build(ctx caddy.Context) (builtProvider, error) {
	named, err := o.configure(ctx)
	// The secret stays in the provider alone: Caddy can log a module as
	// it is configured.
	o.ClientSecret = ""
	if err != nil && o.Name != "" {
		err = fmt.Errorf("provider %s: %w", o.Name, err)
	} else if err != nil {
		err = fmt.Errorf("provider %s: %w", withoutUser(o.Issuer), err)
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
	}
	if cfg.ClientSecret == "" && o.TokenAuth != "none" {
		// `{$NAME}` of a variable that is not set leaves no trace of itself, and what
		// follows it on the line moves up: the secret may be the client_id now, and in
		// the name.
		ctx.Logger().Warn("there is no client_secret, so the client is a public one: if that is meant, write `token_auth none`", zap.String("issuer", withoutUser(o.Issuer)))
	}
	if !validName(o.Name) {
		return builtProvider{}, fmt.Errorf("name: '%s' cannot be a provider's name: %s", o.Name, nameRule)
	}
	provider, err := oidcrp.New(cfg, oidcrp.Deps{Logger: ctx.Logger().With(zap.String("provider", o.Name))})
	if err != nil {
		return builtProvider{}, err
	}
	return builtProvider{
		NamedProvider: gateway.NamedProvider{
			Name: o.Name, DisplayName: o.DisplayName, Lifetime: time.Duration(o.Lifetime), Provider: provider,
			Users: o.Users, EmailDomains: o.EmailDomains,
		},
		bind: func(ps *pooledSessions) { provider.KeepIn(ps.Vault()) },
	}, nil
}

// config makes of the options, with placeholders replaced and files read, what
// the provider is made of.
func (o *OIDC) config() (cfg oidcrp.Config, err error) {
	secret, secretErr := o.ClientSecret.reveal("client_secret")
	err = errors.Join(resolve(
		option{"issuer", &o.Issuer}, option{"client_id", &o.ClientID}, option{"display_name", &o.DisplayName}, option{"ca", &o.CA},
		option{"username_claim", &o.UsernameClaim}, option{"groups_claim", &o.GroupsClaim},
	), literal("scopes", o.Scopes...), secretErr, o.complete())
	if err != nil {
		return cfg, err
	}
	if o.Lifetime < 0 {
		return cfg, errors.New("lifetime: must not be negative")
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
