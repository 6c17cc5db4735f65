package caddymodule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("sso", parseGlobalOption)
	httpcaddyfile.RegisterDirective("sso", parseDirective)
	// Before every handler that rewrites or answers: nothing may see a request
	// whose identity headers have not been taken away, and no try_files may
	// swallow the gateway's own addresses.
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

// parseDirective parses the directive into a route without matcher.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next()
	if h.IsNamedRoute() {
		return nil, h.Err("'sso' stands at the top of a site, not in a named route")
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

var globalUsage = usages{
	"provider":    "provider <name> <protocol> { … }",
	"same_people": "same_people <provider> <provider>…",
	"store":       "store redis <url> | store bolt [<path>]",
	"secret":      "secret <secret> [<previous>]",
	"lifetime":    "lifetime <duration>",
	"idle":        "idle <duration>",
	"limit":       "limit <failed> [<window> [<requests> [<under way>]]] | limit off",
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Syntax:
//
//	sso {
//		provider <name> oidc {
//			issuer        <url>
//			client_id     <id>
//			client_secret <secret>
//			...
//		}
//		provider <name> saml {
//			metadata <url|file|xml>
//			...
//		}
//		same_people <provider> <provider>…
//		store redis <url> {
//			prefix <prefix>
//		}
//		store bolt [<path>]
//		secret   <secret> [<previous>]
//		lifetime <duration>
//		idle     <duration>
//		limit    <failed> [<window> [<requests> [<under way>]]] | off
//	}
//
// A provider's options are described at OIDC and SAML. The order of providers is the
// order of the chooser.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("the global option 'sso' takes no arguments, only a block; '%s' belongs in a site", d.Val())
	}
	seen := once{}
	names := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		if word != "provider" && word != "same_people" {
			if err := seen.check(d); err != nil {
				return err
			}
		}
		var err error
		switch word {
		case "provider":
			err = a.unmarshalProvider(d, names)
		case "same_people":
			err = unmarshalSamePeople(&a.SamePeople, d, globalUsage)
		case "store":
			a.StoreRaw, err = unmarshalGuest(d, "sso.stores.", "type", "store")
		case "secret":
			args := d.RemainingArgs()
			if len(args) < 1 || len(args) > 2 {
				return globalUsage.wrong(d, word)
			}
			for _, arg := range args {
				a.Secret = append(a.Secret, Secret(arg))
			}
		case "lifetime":
			a.Lifetime, err = unmarshalDuration(d, globalUsage)
		case "idle":
			a.Idle, err = unmarshalDuration(d, globalUsage)
		case "limit":
			err = a.Limit.unmarshal(d)
		default:
			return globalUsage.unknown(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmarshalProvider parses `provider <name> <protocol> { … }`.
func (a *App) unmarshalProvider(d *caddyfile.Dispenser, names map[string]bool) error {
	if !d.NextArg() {
		return globalUsage.wrong(d, "provider")
	}
	name := d.Val()
	if !validName(name) {
		return d.Errf("'%s' cannot be a provider's name: %s", name, nameRule)
	}
	if names[name] {
		return d.Errf("there are two providers with the name '%s'", name)
	}
	names[name] = true
	mod, err := newGuest(d, "sso.providers.", "provider", "protocol")
	if err != nil {
		if slices.Contains(protocols(), name) {
			err = d.Errf("the name stands before the protocol: `provider <name> %s { … }`", name)
		}
		return err
	}
	provider, err := as[providerModule](mod)
	if err != nil {
		return err
	}
	if d.NextArg() {
		return globalUsage.wrong(d, "provider")
	}
	seen := once{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() == "name" {
			return d.Errf("this provider has the name '%s' already, which stands behind 'provider'", name)
		}
		if !provider.repeatable(d.Val()) {
			if err := seen.check(d); err != nil {
				return err
			}
		}
		known, err := provider.unmarshalOption(d)
		if err != nil {
			return err
		}
		if !known {
			return provider.usages().unknown(d)
		}
	}
	if err := provider.complete(); err != nil {
		return d.Errf("provider %s: %v", name, err)
	}
	provider.setName(name)
	a.ProvidersRaw = append(a.ProvidersRaw, guestJSON(provider, "protocol"))
	return nil
}

// newGuest makes the module that the next argument of the option word names
// within a namespace. kind is what to call the argument.
func newGuest(d *caddyfile.Dispenser, namespace, word, kind string) (caddy.Module, error) {
	if !d.NextArg() {
		return nil, globalUsage.wrong(d, word)
	}
	info, err := caddy.GetModule(namespace + d.Val())
	if err != nil {
		return nil, unknownWord(d, kind, modulesIn(strings.TrimSuffix(namespace, ".")))
	}
	return info.New(), nil
}

// unmarshalGuest parses the module that the next argument names, which parses
// its own arguments and block.
func unmarshalGuest(d *caddyfile.Dispenser, namespace, inlineKey, word string) ([]byte, error) {
	mod, err := newGuest(d, namespace, word, word)
	if err != nil {
		return nil, err
	}
	unmarshaler, err := as[caddyfile.Unmarshaler](mod)
	if err != nil {
		return nil, err
	}
	if err := unmarshaler.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return guestJSON(mod, inlineKey), nil
}

func guestJSON(mod caddy.Module, inlineKey string) []byte {
	return caddyconfig.JSONModuleObject(mod, inlineKey, mod.CaddyModule().ID.Name(), nil)
}

// A once holds the words that a block has had.
type once map[string]bool

// check refuses the current word if it was there before.
func (o once) check(d *caddyfile.Dispenser) error {
	if o[d.Val()] {
		return d.Errf("'%s' is given twice", d.Val())
	}
	o[d.Val()] = true
	return nil
}

// unmarshalArg parses the one argument of the current word.
func unmarshalArg(d *caddyfile.Dispenser, u usages) (string, error) {
	word := d.Val()
	var arg string
	if !d.AllArgs(&arg) || arg == "" {
		return "", u.wrong(d, word)
	}
	return arg, nil
}

// unmarshalArgs parses the one or more arguments of the current word.
func unmarshalArgs(d *caddyfile.Dispenser, u usages) ([]string, error) {
	word := d.Val()
	args := d.RemainingArgsAsTokens()
	if len(args) == 0 {
		return nil, u.wrong(d, word)
	}
	if err := joined(d, word, args); err != nil {
		return nil, err
	}
	return listed(d, word, args)
}

// joined refuses words of a list that a comma joins, where none belongs to a word: in
// a path one may, but not before the slash of another.
func joined(d *caddyfile.Dispenser, word string, tokens []caddyfile.Token) error {
	line, found := word, false
	for _, token := range tokens {
		words := []string{token.Text}
		inner := strings.Trim(token.Text, ",")
		if strings.Contains(inner, ",") && !token.Quoted() && (inner[0] != '/' || strings.Contains(inner, ",/")) {
			found, words = true, strings.Split(inner, ",")
		}
		for _, w := range words {
			line += " " + withoutUser(w)
		}
	}
	if !found {
		return nil
	}
	return d.Errf("wrong arguments for '%s': blanks alone separate the words of this list: write `%s`, or put the word in quotes if the comma belongs to it", word, line)
}

// listed returns the words of a list. A comma at the edge of one was meant to
// separate it from the next, which blanks do.
func listed(d *caddyfile.Dispenser, word string, tokens []caddyfile.Token) ([]string, error) {
	words := make([]string, len(tokens))
	for i, token := range tokens {
		words[i] = token.Text
		if strings.Trim(token.Text, ",") != token.Text && !token.Quoted() {
			return nil, d.Errf("wrong arguments for '%s': there is a comma at the edge of '%s', but blanks alone separate the words of this list: remove the comma, or put the word in quotes if the comma belongs to it", word, withoutUser(token.Text))
		}
	}
	return words, nil
}

// unmarshalFlag parses a word that stands alone.
func unmarshalFlag(d *caddyfile.Dispenser, u usages) (bool, error) {
	word := d.Val()
	if d.NextArg() {
		return false, u.wrong(d, word)
	}
	return true, nil
}

// unmarshalChoice parses an argument that is one of words.
func unmarshalChoice(d *caddyfile.Dispenser, u usages, words ...string) (string, error) {
	word := d.Val()
	arg, err := unmarshalArg(d, u)
	if err != nil {
		return "", err
	}
	for _, w := range words {
		if arg == w {
			return arg, nil
		}
	}
	return "", unknownWord(d, "value for '"+word+"':", words)
}

// unmarshalSwitch parses on or off.
func unmarshalSwitch(d *caddyfile.Dispenser, u usages) (string, error) {
	word := d.Val()
	arg, err := unmarshalArg(d, u)
	if err == nil && arg != "on" && arg != "off" {
		err = u.wrong(d, word)
	}
	return arg, err
}

func unmarshalDuration(d *caddyfile.Dispenser, u usages) (caddy.Duration, error) {
	word := d.Val()
	arg, err := unmarshalArg(d, u)
	if err != nil {
		return 0, err
	}
	dur, err := caddy.ParseDuration(arg)
	if err != nil || dur < time.Second {
		return 0, d.Errf("'%s' cannot be '%s': expected a duration of a second or more, such as 30m, 8h or 7d", word, arg)
	}
	return caddy.Duration(dur), nil
}

// position is where the current token stands.
func position(d *caddyfile.Dispenser) string {
	return fmt.Sprintf("%s:%d", d.File(), d.Line())
}
