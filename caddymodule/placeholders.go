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

// personal are the placeholders, without the prefix.
var personal = map[string]func(*forward.Principal) string{
	"id":         func(p *forward.Principal) string { return p.Username },
	"username":   func(p *forward.Principal) string { return p.Username },
	"email":      func(p *forward.Principal) string { return p.Email },
	"name":       func(p *forward.Principal) string { return p.Name },
	"first_name": func(p *forward.Principal) string { return p.FirstName },
	"last_name":  func(p *forward.Principal) string { return p.LastName },
	"roles":      func(p *forward.Principal) string { return joinNames(p.Roles) },
	"groups":     func(p *forward.Principal) string { return joinNames(p.Groups) },
	"template":   func(p *forward.Principal) string { return p.Template },
	"provider":   func(p *forward.Principal) string { return p.Provider },
	"account":    func(p *forward.Principal) string { return p.Account },
	"session":    func(p *forward.Principal) string { return p.SessionID },
}

// tell sets the placeholders. In an error route those of the first sso are there, and
// a proxy that was given up may still look for others: only values can be changed then. On
// public paths, where p is nil, they are empty: a placeholder that is not known would be
// passed on as it is written.
func tell(r *http.Request, p *forward.Principal) {
	if p == nil {
		p = &nobody
	}
	repl := replacerOf(r)
	if failed(r) == nil {
		repl.Map(placeholders(p))
		return
	}
	for name, of := range personal {
		repl.Set(placeholderPrefix+name, of(p))
	}
}

// placeholders looks up what is known of a person, when it is asked for.
func placeholders(p *forward.Principal) caddy.ReplacerFunc {
	return func(key string) (any, bool) {
		key, ours := strings.CutPrefix(key, placeholderPrefix)
		if of := personal[key]; ours && of != nil {
			return of(p), true
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
