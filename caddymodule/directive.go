package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway/target"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	sso [oidc <issuer> <client_id> [<client_secret>] | saml [<metadata>]] {
//		role <app_role>[,<app_role>…] <group>…
//		template <app_template> <group>…
//		group <app_group>[,<app_group>…] <group>…
//		from <provider>… {
//			role|template|group …
//		}
//		same_people <provider> <provider>…
//		public <path>…
//		protect <path>…
//		provider <name>…
//		autologin <name>|off
//		base_url <url>
//		lifetime <duration>
//		app <id>
//		as <app> {
//			provider <id>
//			cookie <name>…
//			...
//		}
//		headers <kind> <name>|off …
//		header_encoding percent|utf8|latin1 [<kind>…]
//		list_separator <character>
//		keep_headers <name>…
//		prefix <path>
//		callback_path <path>
//		allowed_origins <origin>…
//		insecure_http
//		errors caddy
//		title <text>
//		logo <file>
//		help <text>|<url>|<e-mail>
//		op {
//			client <id> {
//				...
//			}
//		}
//		nested
//	}
//
// If the first line names a provider, the block may have that provider's options too:
// see OIDC and SAML. For the options of `client` see Client, for those of `as proxmox` see
// Proxmox.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	start := position(d)
	inline, given, err := unmarshalInline(d)
	if err != nil {
		return err
	}
	options := h.block()
	if inline != nil {
		options = append(options, inline.block()...)
	}
	if err := options.parse(d, given...); err != nil {
		return err
	}
	if inline != nil {
		if err := inline.complete(); err != nil {
			return fmt.Errorf("%w, at %s", err, start)
		}
		h.InlineRaw = guestJSON(inline, "protocol")
	}
	_, openErr := target.NewOpen(h.Public, h.Protect)
	var rulesErr error
	if h.OP == nil || len(h.Role)+len(h.Template)+len(h.Group)+len(h.From) > 0 {
		rulesErr = checkRules(h.Rules, h.From)
	}
	switch err := errors.Join(openErr, h.checkHeaders(), rulesErr); {
	case err != nil && strings.HasPrefix(err.Error(), d.File()+":"):
		return err // it has its place
	case err != nil:
		return fmt.Errorf("'sso' at %s: %w", start, err)
	}
	return nil
}

// block returns the options of a site.
func (h *Handler) block() block {
	return append(ruleBlock(&h.Rules), block{
		many("from <provider>… { role|template|group … }", setFrom(&h.From)),
		many("same_people <provider> <provider>…", setSamePeople(&h.SamePeople)),
		many("public <path>…", paths(&h.Public)),
		many("protect <path>…", paths(&h.Protect)),
		once("provider <name>…", sharedNames(&h.Provider)),
		once("autologin <name>|off", text(&h.Autologin)),
		once("base_url <url>", origin(&h.BaseURL)),
		once("lifetime <duration>", duration(&h.Lifetime)),
		once("app <id>", text(&h.App)),
		once("as <app> { … }", h.setAs),
		many("headers <kind> <name>|off …", h.Headers.set),
		many("header_encoding percent|utf8|latin1 [<kind>…]", h.HeaderEncoding.set),
		once("list_separator <character>", text(&h.ListSeparator)),
		many("keep_headers <name>…", list(&h.KeepHeaders)),
		once("prefix <path>", path(&h.Prefix)),
		once("callback_path <path>", path(&h.CallbackPath)),
		many("allowed_origins <origin>…", origins(&h.AllowedOrigins)),
		once("insecure_http", flag(&h.InsecureHTTP)),
		once("errors caddy", choice(&h.Errors)),
		once("title <text>", text(&h.Title)),
		once("logo <file>", text(&h.Logo)),
		once("help <text>|<url>|<e-mail>", text(&h.Help)),
		once("op { client <id> { … } }", h.setOP),
		once("nested", flag(&h.Nested)),
	}...)
}

// unmarshalInline parses the rest of the line that begins with `sso`.
func unmarshalInline(d *caddyfile.Dispenser) (_ providerModule, given []string, err error) {
	if !d.NextArg() {
		return nil, nil, nil
	}
	info, err := caddy.GetModule("sso.providers." + d.Val())
	if err != nil {
		if all := protocols(); validName(d.Val()) && nearest(d.Val(), all) == "" {
			return nil, nil, d.Errf("unrecognized protocol '%s': it can be %s; if you mean a provider of the global option sso, write `provider %[1]s` in the block", d.Val(), strings.Join(all, ", "))
		}
		return nil, nil, unknownWord(d, "protocol", protocols())
	}
	provider, err := as[providerModule](info.New())
	if err != nil {
		return nil, nil, err
	}
	given, err = provider.unmarshalArguments(d)
	return provider, given, err
}

// lines adds a line of `<to>[,<to>…] <group>…`.
func lines(list *[]mapping.Line) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		at := position(d)
		args := d.RemainingArgsAsTokens()
		if len(args) < 2 {
			return e.wrong(d)
		}
		to, err := givenNames(e.word(), args)
		if err != nil {
			return d.Errf("'%s': %v", e.word(), err)
		}
		groups, err := listed(d, e.word(), args[1:])
		if err != nil {
			return err
		}
		if err := literal(e.word(), slices.Concat(to, groups)...); err != nil {
			return d.WrapErr(err)
		}
		if err := misread(d, e.word(), to, args); err != nil {
			return err
		}
		_, r := meantBy(rule{words(to), words(groups)}) // as JSON has it, without the quotes
		*list = append(*list, mapping.Line{To: to, From: groups, Quoted: r > hasSigns, Position: at})
		return nil
	}
}

// givenNames returns the names that a rule gives. They are in its first word, with commas
// between them. A word in quotes is one name.
func givenNames(word string, args []caddyfile.Token) ([]string, error) {
	first, last := args[0], 0
	for _, t := range args {
		if strings.Contains(t.Text, `"`) && !t.Quoted() {
			return nil, errors.New(`a quotation mark in the middle of a word is a part of the name: put the whole name in quotes, with \" for each mark in it; write a rule for each such name`)
		}
	}
	isOpen := func(t caddyfile.Token) bool { return !t.Quoted() && strings.HasSuffix(t.Text, ",") }
	for last+1 < len(args) && (isOpen(args[last]) || !args[last+1].Quoted() && strings.HasPrefix(args[last+1].Text, ",")) {
		last++
	}
	switch {
	case last == 0 && first.Quoted():
		return []string{first.Text}, nil
	case last == 0 && strings.Contains(first.Text, " ") && strings.Contains(first.Text, ","):
		return nil, errors.New("this word of `import` has a blank and a comma: if it is one name, write \"{args[0]}\" with the quotes; if it is several, write them without a blank, such as A,B")
	case last == 0 || strings.Contains(first.Text, ",,"):
		return mapping.SplitNames(first.Text)
	}
	var names []string
	for _, t := range args[:last+1] {
		if t.Quoted() {
			return nil, errors.New("a word in quotes is one name: write a rule for each name, or several names without quotes and blanks, such as A,B")
		}
		names = append(names, strings.FieldsFunc(t.Text, func(c rune) bool { return c == ',' })...)
	}
	return nil, fmt.Errorf("several names are written without a blank at the comma: write `%s %s <group>…`; or remove the comma if you mean one name", word, strings.Join(names, ","))
}

const patternRule = "expected one path, such as /healthz, or all paths below one, such as /static/*; there are no other patterns"

// paths adds patterns of paths to a list.
func paths(to *[]string) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		var args []string
		if err := list(&args)(d, e); err != nil {
			return err
		}
		*to = append(*to, args...)
		return checkPaths(d, e.word(), args)
	}
}

func checkPaths(d *caddyfile.Dispenser, word string, args []string) error {
	if err := literal(word, args...); err != nil {
		return d.WrapErr(err)
	}
	for _, p := range args {
		bare := strings.TrimSuffix(p, "/*")
		if !strings.HasPrefix(p, "/") || strings.Contains(bare, "*") {
			all := strings.TrimRight(p, "*")
			fixed := strings.TrimSuffix(all, "/") + "/*"
			if all != p && p[0] == '/' && !strings.Contains(all, "*") && checkPattern(word, fixed) == nil {
				return d.WrapErr(wording.Errorf("'%s' cannot be '%s': %s: write %s", word, p, patternRule, wording.Option{Word: word, Args: fixed}))
			}
			return d.Errf("'%s' cannot be '%s': %s", word, p, patternRule)
		}
		if err := checkPattern(word, p); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func checkPattern(word, pattern string) error {
	public, protect := []string{pattern}, []string(nil)
	if word == "protect" {
		public, protect = protect, public
	}
	_, err := target.NewOpen(public, protect)
	return err
}

// path takes the path of one of the gateway's own addresses.
func path(to *string) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		return text(to).then(func(d *caddyfile.Dispenser) error {
			if p := *to; len(p) < 2 || p[0] != '/' || strings.HasSuffix(p, "/") || strings.ContainsAny(p, "*?#") {
				return d.Errf("'%s' cannot be '%s': expected a path such as /auth, without a slash at the end", e.word(), p)
			}
			return nil
		})(d, e)
	}
}

func origin(to *string) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		return text(to).then(func(d *caddyfile.Dispenser) error { return checkOrigin(d, e.word(), *to) })(d, e)
	}
}

func origins(to *[]string) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		if err := list(to)(d, e); err != nil {
			return err
		}
		for _, arg := range *to {
			if err := checkOrigin(d, e.word(), arg); err != nil {
				return err
			}
		}
		return nil
	}
}

// checkOrigin refuses a text that is no origin. If it has a placeholder, it is checked
// after that is resolved.
func checkOrigin(d *caddyfile.Dispenser, word, arg string) error {
	if strings.Contains(arg, "{") {
		return nil
	}
	rest, ok := strings.CutPrefix(arg, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(arg, "http://")
	}
	if !ok || rest == "" || strings.ContainsAny(rest, "/?#@ *") {
		return d.Errf("'%s' cannot be '%s': expected http:// or https:// in lower case and a host, without path and user name, such as https://app.example.com", word, withoutUser(arg))
	}
	return nil
}
