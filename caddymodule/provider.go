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

// A providerModule is a guest module in the namespace sso.providers. Its
// configuration stands in the app's `providers`, or as a handler's `inline`.
type providerModule interface {
	caddy.Module

	// block are the options of its block in the Caddyfile.
	block() block
	// unmarshalArguments parses what follows `sso <protocol>` on the line, and
	// returns the options that it stands for.
	unmarshalArguments(d *caddyfile.Dispenser) (given []string, err error)
	// complete says which option is missing, after parsing.
	complete() error
	// setName gives it the name from the Caddyfile.
	setName(name string)

	// build makes the provider of the configuration with its placeholders
	// replaced. It does no network I/O. A provider without a name gets one that
	// stays the same as long as it is the same client at the same provider.
	build(ctx caddy.Context) (builtProvider, error)
}

// A builtProvider is a provider that is not yet bound to the store.
type builtProvider struct {
	gateway.NamedProvider
	config string // as it was configured
	// bind says where it keeps its documents and finds its keys.
	bind func(*pooledSessions)
}

// namesModule refuses the JSON of a guest module that does not say by key which
// one it is. Caddy's own error would show all of it, with passwords.
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

// maxName is how long a provider's name may be, in bytes.
const maxName = 64

const nameRule = "expected letters, digits, dots, dashes and underscores, beginning with a letter or digit, 64 at most, and not off"

// validName says whether s can name a provider: it becomes part of URLs and
// log lines.
func validName(s string) bool {
	return s != "" && s != "off" && len(s) <= maxName && slug(s) == s && !strings.ContainsAny(s[:1], "._-")
}

// slug makes a name of s: what can't be in a name becomes a dash.
func slug(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, s)
}

// defaultName names a client at an identity provider, readably as far as there
// is room. There may be no client, if one is like any other.
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

// as returns v as a T. A module that is registered with another kind in one of
// our namespaces gets an error.
func as[T any](v any) (T, error) {
	t, ok := v.(T)
	if !ok {
		return t, fmt.Errorf("a module of the kind %T can't be used here", v)
	}
	return t, nil
}
