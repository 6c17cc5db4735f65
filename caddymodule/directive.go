package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway/target"
	"github.com/caddy-sso/caddy-sso/mapping"
)

var siteUsage = usages{
	"role":            siteRules["role"],
	"template":        siteRules["template"],
	"group":           siteRules["group"],
	"from":            "from <provider>… { role|template|group … }",
	"same_people":     "same_people <provider> <provider>…",
	"public":          "public <path>…",
	"protect":         "protect <path>…",
	"provider":        "provider <name>…",
	"autologin":       "autologin <name>|off",
	"base_url":        "base_url <url>",
	"lifetime":        "lifetime <duration>",
	"app":             "app <id>",
	"headers":         "headers <kind> <name>|off …",
	"header_encoding": "header_encoding percent|utf8|latin1 [<kind>…]",
	"list_separator":  "list_separator <character>",
	"keep_headers":    "keep_headers <name>…",
	"prefix":          "prefix <path>",
	"callback_path":   "callback_path <path>",
	"allowed_origins": "allowed_origins <origin>…",
	"insecure_http":   "insecure_http",
	"errors":          "errors caddy",
	"title":           "title <text>",
	"logo":            "logo <file>",
	"help":            "help <text>|<url>|<e-mail>",
	"nested":          "nested",
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	sso [oidc <issuer> <client_id> [<client_secret>] | saml [<metadata>]] {
//		role     <app_role>[,<app_role>…]   <group>…
//		template <app_template>             <group>…
//		group    <app_group>[,<app_group>…] <group>…
//		from <provider>… {
//			role     <app_role>[,<app_role>…]   <group>…
//			template <app_template>             <group>…
//			group    <app_group>[,<app_group>…] <group>…
//		}
//		public   <path>…
//		protect  <path>…
//		provider  <name>…
//		same_people <provider> <provider>…
//		autologin <name>|off
//		base_url  <url>
//		lifetime  <duration>
//		app       <id>
//		headers   assertion|user|groups|email|name|roles|template|first_name|last_name|provider <name>|off …
//		header_encoding percent|utf8|latin1 [<kind>…]
//		list_separator  <character>
//		keep_headers    <name>…
//		prefix          <path>
//		callback_path   <path>
//		allowed_origins <origin>…
//		insecure_http
//		errors caddy
//		title <text>
//		logo  <file>
//		help  <text>|<url>|<e-mail>
//		nested
//	}
//
// With a provider on the first line, the block may hold that provider's options
// too: see OIDC and SAML. role, template, group, from, same_people, public,
// protect, headers, header_encoding, keep_headers and allowed_origins may be repeated, everything
// else stands once.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	start := position(d)
	inline, err := unmarshalInline(d)
	if err != nil {
		return err
	}
	seen := once{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if !repeatable(d.Val()) && (inline == nil || !inline.repeatable(d.Val())) {
			if err := seen.check(d); err != nil {
				return err
			}
		}
		known, err := h.unmarshalOption(d)
		if !known && inline != nil {
			known, err = inline.unmarshalOption(d)
		}
		if err != nil {
			return err
		}
		if !known {
			return unknownOption(d, inline)
		}
	}
	if inline != nil {
		if err := inline.complete(); err != nil {
			return fmt.Errorf("%w, at %s", err, start)
		}
		h.InlineRaw = guestJSON(inline, "protocol")
	}
	_, openErr := target.NewOpen(h.Public, h.Protect)
	if err := errors.Join(openErr, h.checkHeaders(), h.checkRules()); err != nil {
		return fmt.Errorf("'sso' at %s: %w", start, err)
	}
	return nil
}

func repeatable(word string) bool {
	switch word {
	case "role", "template", "group", "from", "same_people", "public", "protect", "headers", "header_encoding", "keep_headers", "allowed_origins":
		return true
	}
	return false
}

// unmarshalInline parses what follows `sso` on its line.
func unmarshalInline(d *caddyfile.Dispenser) (providerModule, error) {
	if !d.NextArg() {
		return nil, nil
	}
	info, err := caddy.GetModule("sso.providers." + d.Val())
	if err != nil {
		if all := protocols(); validName(d.Val()) && nearest(d.Val(), all) == "" {
			return nil, d.Errf("unrecognized protocol '%s': it can be %s; a provider of the global option sso is named in the block, as `provider %[1]s`", d.Val(), strings.Join(all, ", "))
		}
		return nil, unknownWord(d, "protocol", protocols())
	}
	provider, err := as[providerModule](info.New())
	if err != nil {
		return nil, err
	}
	return provider, provider.unmarshalArguments(d)
}

// unknownOption suggests among the site's and the inline provider's words.
func unknownOption(d *caddyfile.Dispenser, inline providerModule) error {
	all := usages{}
	for word, usage := range siteUsage {
		all[word] = usage
	}
	if inline != nil {
		for word, usage := range inline.usages() {
			all[word] = usage
		}
	}
	return all.unknown(d)
}

// unmarshalOption parses one option of the site. It reports whether there is
// one of that name.
func (h *Handler) unmarshalOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "role":
		err = appendLine(&h.Role, d)
	case "template":
		err = appendLine(&h.Template, d)
	case "group":
		err = appendLine(&h.Group, d)
	case "from":
		var from From
		err = from.unmarshal(d)
		h.From = append(h.From, from)
	case "same_people":
		err = unmarshalSamePeople(&h.SamePeople, d, siteUsage)
	case "public":
		err = appendPaths(&h.Public, d)
	case "protect":
		err = appendPaths(&h.Protect, d)
	case "provider":
		h.Provider, err = unmarshalProviderNames(d)
	case "autologin":
		h.Autologin, err = unmarshalArg(d, siteUsage)
	case "base_url":
		h.BaseURL, err = unmarshalOrigin(d)
	case "lifetime":
		h.Lifetime, err = unmarshalDuration(d, siteUsage)
	case "app":
		h.App, err = unmarshalArg(d, siteUsage)
	case "headers":
		err = h.Headers.unmarshal(d)
	case "header_encoding":
		err = h.HeaderEncoding.unmarshal(d)
	case "list_separator":
		h.ListSeparator, err = unmarshalArg(d, siteUsage)
	case "keep_headers":
		err = appendNames(&h.KeepHeaders, d)
	case "prefix":
		h.Prefix, err = unmarshalPath(d)
	case "callback_path":
		h.CallbackPath, err = unmarshalPath(d)
	case "allowed_origins":
		err = h.appendOrigins(d)
	case "insecure_http":
		h.InsecureHTTP, err = unmarshalFlag(d, siteUsage)
	case "errors":
		h.Errors, err = unmarshalChoice(d, siteUsage, "caddy")
	case "title":
		h.Title, err = unmarshalArg(d, siteUsage)
	case "logo":
		h.Logo, err = unmarshalArg(d, siteUsage)
	case "help":
		h.Help, err = unmarshalArg(d, siteUsage)
	case "nested":
		h.Nested, err = unmarshalFlag(d, siteUsage)
	default:
		return false, nil
	}
	return true, err
}

// appendLine parses `<to>[,<to>…] <group>…`.
func appendLine(lines *[]mapping.Line, d *caddyfile.Dispenser) error {
	word, at := d.Val(), position(d)
	args := d.RemainingArgsAsTokens()
	if len(args) < 2 {
		return siteUsage.wrong(d, word)
	}
	to, err := mapping.SplitNames(args[0].Text)
	if err != nil {
		return d.Errf("'%s': %v", word, err)
	}
	groups, err := listed(d, word, args[1:])
	if err != nil {
		return err
	}
	if err := literal(word, slices.Concat(to, groups)...); err != nil {
		return d.Err(err.Error())
	}
	*lines = append(*lines, mapping.Line{To: to, From: groups, Position: at})
	return nil
}

const patternRule = "expected one path, such as /healthz, or all paths below one, such as /static/*; a `*` stands nowhere else, and there are no other patterns"

func appendPaths(paths *[]string, d *caddyfile.Dispenser) error {
	word := d.Val()
	args, err := unmarshalArgs(d, siteUsage)
	if err != nil {
		return err
	}
	if err := literal(word, args...); err != nil {
		return d.Err(err.Error())
	}
	for _, p := range args {
		bare := strings.TrimSuffix(p, "/*")
		if !strings.HasPrefix(p, "/") || strings.Contains(bare, "*") {
			fix := ""
			if all, ok := strings.CutSuffix(p, "/**"); ok && !strings.Contains(all, "*") {
				fix = ": write `" + word + " " + all + "/*`"
			}
			return d.Errf("'%s' cannot be '%s': %s%s", word, p, patternRule, fix)
		}
		public, protect := []string{p}, []string(nil)
		if word == "protect" {
			public, protect = protect, public
		}
		if _, err := target.NewOpen(public, protect); err != nil {
			return d.Err(err.Error())
		}
	}
	*paths = append(*paths, args...)
	return nil
}

// appendNames parses names of headers, and families of them.
func appendNames(names *[]string, d *caddyfile.Dispenser) error {
	args, err := unmarshalArgs(d, siteUsage)
	*names = append(*names, args...)
	return err
}

func unmarshalPath(d *caddyfile.Dispenser) (string, error) {
	word := d.Val()
	p, err := unmarshalArg(d, siteUsage)
	if err != nil {
		return "", err
	}
	if len(p) < 2 || p[0] != '/' || strings.HasSuffix(p, "/") || strings.ContainsAny(p, "*?#") {
		return "", d.Errf("'%s' cannot be '%s': expected a path such as /auth, without a slash at the end", word, p)
	}
	return p, nil
}

func unmarshalOrigin(d *caddyfile.Dispenser) (string, error) {
	word := d.Val()
	arg, err := unmarshalArg(d, siteUsage)
	if err != nil {
		return "", err
	}
	return arg, checkOrigin(d, word, arg)
}

func (h *Handler) appendOrigins(d *caddyfile.Dispenser) error {
	word := d.Val()
	args, err := unmarshalArgs(d, siteUsage)
	if err != nil {
		return err
	}
	for _, arg := range args {
		if err := checkOrigin(d, word, arg); err != nil {
			return err
		}
	}
	h.AllowedOrigins = append(h.AllowedOrigins, args...)
	return nil
}

// checkOrigin refuses what is no origin. A text with a placeholder is judged
// when that is resolved.
func checkOrigin(d *caddyfile.Dispenser, word, arg string) error {
	if strings.Contains(arg, "{") {
		return nil
	}
	rest, ok := strings.CutPrefix(arg, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(arg, "http://")
	}
	if !ok || rest == "" || strings.ContainsAny(rest, "/?#@ *") {
		return d.Errf("'%s' cannot be '%s': expected scheme and host without a path, such as https://app.example.com", word, withoutUser(arg))
	}
	return nil
}
