package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// A providerModule is a guest module in the namespace sso.providers. Its configuration is
// in the app's `providers` or in a handler's `inline`.
type providerModule interface {
	caddy.Module

	// block returns the options of its block in the Caddyfile.
	block() block
	// unmarshalArguments parses the rest of the line that begins with `sso <protocol>`,
	// and returns the options that it sets.
	unmarshalArguments(d *caddyfile.Dispenser) (given []string, err error)
	// complete is called after parsing. Its error names an option that is missing.
	complete() error
	// setName gives it the name from the Caddyfile.
	setName(name string)

	// build resolves placeholders and makes the provider. It does no network I/O. A
	// provider without a name gets one that depends on the client and the provider alone.
	build(ctx caddy.Context) (builtProvider, error)
}

// A builtProvider is a provider that is not yet bound to the store.
type builtProvider struct {
	gateway.NamedProvider
	config string // its JSON
	site   string // the one that it stands in; empty if it is shared
	// returns says that it sends browsers back after `logout provider`.
	returns bool
	// lacksSecret is the issuer of a client that has no secret, and does not say so.
	lacksSecret string
	// bind gives it the store for its documents, and its keys.
	bind func(*pooledSessions)
}

// namesModule refuses the JSON of a guest module if key, which names the module, is
// missing. Caddy's own error would show the whole JSON, with passwords.
func namesModule(raw json.RawMessage, key string) error {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return errors.New("expected a JSON object")
	}
	if name, ok := fields[key].(string); !ok || name == "" {
		return fmt.Errorf("expected a JSON object with the text %q", key)
	}
	return nil
}

// maxName limits a provider's name, in bytes.
const maxName = 64

const nameRule = "expected letters, digits, dots, dashes and underscores, beginning with a letter or digit, 64 at most, and not off"

// validName says whether s can be a provider's name, which becomes part of URLs and log
// lines.
func validName(s string) bool {
	return s != "" && s != "off" && len(s) <= maxName && slug(s) == s && !strings.ContainsAny(s[:1], "._-")
}

// slug makes a name of s: each character that a name can't have becomes a dash.
func slug(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, s)
}

// defaultName makes a provider's name of the identity provider and the client, which may
// be empty. If the name is too long, a digest replaces its end.
func defaultName(idp, client string) string {
	name := idp
	if client != "" {
		name += "-" + client
	}
	name = strings.TrimLeft(slug(name), "._-")
	if len(name) <= maxName {
		return name
	}
	return name[:maxName-9] + "-" + digest(idp, client)[:8]
}

// as returns v as a T. It fails if another plugin has registered a module of another
// kind in one of our namespaces.
func as[T any](v any) (T, error) {
	t, ok := v.(T)
	if !ok {
		return t, fmt.Errorf("a module of the kind %T can't be used here", v)
	}
	return t, nil
}
