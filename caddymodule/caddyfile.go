package caddymodule

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("sso", parseGlobalOption)
	httpcaddyfile.RegisterDirective("sso", parseDirective)
	// Before every handler that rewrites or responds: none of them may see identity
	// headers that a client sent, and no try_files may swallow the gateway's own
	// addresses.
	httpcaddyfile.RegisterDirectiveOrder("sso", httpcaddyfile.Before, "method")
}

// parseGlobalOption parses the global option into the app's configuration.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next()
	if existing != nil {
		return nil, d.Err("the global option 'sso' is given twice: write one block")
	}
	d.Prev()
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "sso", Value: caddyconfig.JSON(app, nil)}, nil
}

// parseDirective parses the directive into a route without a matcher.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next()
	if h.IsNamedRoute() {
		return nil, h.Err("'sso' stands in a named route, so other handlers of the site would run before it: put it at the top of a site")
	}
	if h.NextArg() && strings.ContainsAny(h.Val()[:min(1, len(h.Val()))], "/@*") {
		return nil, h.Errf("'sso' takes no matcher, because it guards the whole site: instead of '%s', "+
			"write `public <path>…` or `protect <path>…` inside its block to say what is open", h.Val())
	}
	h.Reset()
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return h.NewRoute(nil, handler), nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Syntax:
//
//	sso {
//		provider <name> <protocol> {
//			...
//		}
//		same_people <provider> <provider>…
//		store redis <url> {
//			prefix <prefix>
//		}
//		store bolt [<path>]
//		secret <secret> [<previous>]
//		lifetime <duration>
//		idle <duration>
//		limit <failed> [<window> [<requests> [<under way>]]]
//		limit off
//		environment
//	}
//
// For a provider's options see OIDC and SAML. The chooser shows the providers in this
// order.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("the global option 'sso' takes no arguments, only a block; write '%s' in a site", d.Val())
	}
	return a.block().parse(d)
}

// block returns the options of the global block.
func (a *App) block() block {
	names := map[string]bool{}
	return block{
		many("provider <name> <protocol> { … }", func(d *caddyfile.Dispenser, e entry) error { return a.setProvider(d, e, names) }),
		many("same_people <provider> <provider>…", setSamePeople(&a.SamePeople)),
		once("store redis <url> | store bolt [<path>]", a.setStore),
		once("secret <secret> [<previous>]", setSecrets(&a.Secret)),
		once("lifetime <duration>", duration(&a.Lifetime)),
		once("idle <duration>", duration(&a.Idle)),
		once("limit <failed> [<window> [<requests> [<under way>]]] | limit off", a.Limit.set),
		once("environment", flag(&a.Environment)),
	}
}

// setSecrets takes a secret, or two while it is being changed.
func setSecrets(to *[]Secret) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		args := d.RemainingArgs()
		if len(args) < 1 || len(args) > 2 {
			return e.wrong(d)
		}
		for _, arg := range args {
			*to = append(*to, Secret(arg))
		}
		return nil
	}
}

// setStore parses `store <type> …`. The module parses its own arguments and block.
func (a *App) setStore(d *caddyfile.Dispenser, e entry) error {
	mod, err := newGuest(d, e, "sso.stores", "store")
	if err != nil {
		return err
	}
	unmarshaler, err := as[caddyfile.Unmarshaler](mod)
	if err != nil {
		return err
	}
	if err := unmarshaler.UnmarshalCaddyfile(d); err != nil {
		return err
	}
	a.StoreRaw = guestJSON(mod, "type")
	return nil
}

// setProvider parses `provider <name> <protocol> { … }`.
func (a *App) setProvider(d *caddyfile.Dispenser, e entry, names map[string]bool) error {
	if !d.NextArg() {
		return e.wrong(d)
	}
	name := d.Val()
	if !validName(name) {
		return d.Errf("'%s' cannot be a provider's name: %s", name, nameRule)
	}
	if names[name] {
		return d.Errf("there are two providers with the name '%s': give each a name of its own", name)
	}
	names[name] = true
	mod, err := newGuest(d, e, "sso.providers", "protocol")
	if err != nil {
		if slices.Contains(protocols(), name) {
			err = d.Errf("a provider's name is missing: write it before the protocol, as `provider <name> %s { … }`", name)
		}
		return err
	}
	provider, err := as[providerModule](mod)
	if err != nil {
		return err
	}
	if d.NextArg() {
		return e.wrong(d)
	}
	named := once("name <name>", func(d *caddyfile.Dispenser, _ entry) error {
		return d.Errf("this provider already has the name '%s', from the line of 'provider': remove this line", name)
	})
	if err := append(block{named}, provider.block()...).parse(d); err != nil {
		return err
	}
	if err := provider.complete(); err != nil {
		return d.Errf("provider %s: %v", name, err)
	}
	provider.setName(name)
	a.ProvidersRaw = append(a.ProvidersRaw, guestJSON(provider, "protocol"))
	return nil
}

// newGuest makes a module of a namespace. The next argument of the option names it; kind
// is the word for that argument in errors.
func newGuest(d *caddyfile.Dispenser, e entry, namespace, kind string) (caddy.Module, error) {
	if !d.NextArg() {
		return nil, e.wrong(d)
	}
	info, err := caddy.GetModule(namespace + "." + d.Val())
	if err != nil {
		return nil, unknownWord(d, kind, modulesIn(namespace))
	}
	return info.New(), nil
}

func guestJSON(mod caddy.Module, inlineKey string) []byte {
	return caddyconfig.JSONModuleObject(mod, inlineKey, mod.CaddyModule().ID.Name(), nil)
}
