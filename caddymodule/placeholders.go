package caddymodule

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// replacerOf returns the request's placeholders, which Caddy's server sets up.
func replacerOf(r *http.Request) *caddy.Replacer {
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		return repl
	}
	return caddy.NewReplacer()
}

const placeholderPrefix = "http.auth.user."

var nobody forward.Principal

// personal has the names of the placeholders, without the prefix.
var personal = [...]string{"id", "username", "email", "name", "first_name", "last_name", "roles", "groups", "template", "provider", "account", "session"}

// tell sets the placeholders. In an error route those of the first sso are there, and
// a proxy that was given up may still look for others: only values can be changed then.
func tell(r *http.Request, p *forward.Principal) {
	repl, values := replacerOf(r), placeholders(p)
	if failed(r) == nil {
		repl.Map(values)
		return
	}
	for _, name := range personal {
		value, _ := values(placeholderPrefix + name)
		repl.Set(placeholderPrefix+name, value)
	}
}

// placeholders looks up what is known of a person, when it is asked for. On
// public paths, where p is nil, that is empty: a placeholder that is not known
// would be passed on as it is written.
func placeholders(p *forward.Principal) caddy.ReplacerFunc {
	if p == nil {
		p = &nobody
	}
	return func(key string) (any, bool) {
		key, ok := strings.CutPrefix(key, placeholderPrefix)
		if !ok {
			return nil, false
		}
		switch key {
		case "id", "username":
			return p.Username, true
		case "email":
			return p.Email, true
		case "name":
			return p.Name, true
		case "first_name":
			return p.FirstName, true
		case "last_name":
			return p.LastName, true
		case "roles":
			return joinNames(p.Roles), true
		case "groups":
			return joinNames(p.Groups), true
		case "template":
			return p.Template, true
		case "provider":
			return p.Provider, true
		case "account":
			return p.Account, true
		case "session":
			return p.SessionID, true
		}
		return nil, false
	}
}

var nameEscaper = strings.NewReplacer(",", "%2C", "%", "%25")

// joinNames joins names by commas, so that a name is never split: a group of LDAP
// is full of them.
func joinNames(names []string) string {
	escaped := make([]string, len(names))
	for i, name := range names {
		escaped[i] = nameEscaper.Replace(name)
	}
	return strings.Join(escaped, ",")
}
