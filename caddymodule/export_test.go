package caddymodule

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// Parts that the tests look at by themselves.
var (
	PeerOf  = peerOf
	Nearest = nearest
)

// LoadOrMakeSecret is loadOrMakeSecret.
func LoadOrMakeSecret(ctx context.Context, st storage) ([]byte, error) {
	return loadOrMakeSecret(ctx, st, func() error { return nil })
}

// StoredMarker returns the marker memory in a storage.
func StoredMarker(st storage, store string) session.MarkerMemory {
	return storedNote{func() storage { return st }, markerFile, store}
}

// BuildSAML returns what the options of a provider come to.
func BuildSAML(ctx caddy.Context, s *SAML) (samlsp.Config, gateway.NamedProvider, error) {
	built, err := s.build(ctx)
	if err != nil {
		return samlsp.Config{}, built.NamedProvider, err
	}
	cfg, err := s.config()
	return cfg, built.NamedProvider, err
}

// DisplayNameOf builds a provider and returns the name for pages.
func DisplayNameOf(ctx caddy.Context, p caddy.Module) (string, error) {
	built, err := p.(providerModule).build(ctx)
	return built.DisplayName, err
}

// A Block is the options of a block in the Caddyfile.
type Block struct {
	File    string // whose comment has the syntax
	Page    string // below docs/
	Chapter string // of the page, with the table
	Usages  []string
}

// Blocks are those that docs/ has a table for.
func Blocks() []Block {
	usages := func(b block) (usages []string) {
		for _, e := range b {
			usages = append(usages, strings.Split(e.usage, " | ")...)
		}
		return usages
	}
	return []Block{
		{"directive.go", "options.md", "In a site", usages(new(Handler).block())},
		{"caddyfile.go", "options.md", "In the global option", usages(new(App).block())},
		{"oidc.go", "options.md", "Of an OpenID Provider", usages(new(OIDC).block())},
		{"client.go", "options.md", "Of an app that signs in here", usages(new(Client).block())},
		{"as.go", "options.md", "Of Proxmox VE", usages((&As{App: connect.Proxmox}).block())},
		{"saml_caddyfile.go", "saml.md", "Options", usages(new(SAML).block())},
	}
}

// SendAway does to an answer what an app does that is about to be stopped, or
// is not.
func SendAway(retiring bool, w http.ResponseWriter, r *http.Request) {
	a := new(App)
	a.retiring.Store(retiring)
	a.sendAway(w, r)
}

// DropCredentials is what error routes do to a request for an address of ours.
func DropCredentials(r *http.Request) *http.Request { return dropCredentials(r) }

// Refusals are those that shorten the audit log.
type Refusals = refusals

// NewRefusals returns refusals that are logged by log.
func NewRefusals(log func(ev gateway.Event, more int)) *Refusals { return newRefusals(log) }

// Note notes a refusal.
func (r *Refusals) Note(ev gateway.Event) { r.note(ev) }

// Flush ends counting.
func (r *Refusals) Flush() { r.flush() }

// A VariableTable is a table of docs/environment.md.
type VariableTable struct {
	Chapter string
	Head    string
	Options bool // the rows are options, not variables
	Rows    []VariableRow
}

// A VariableRow is a variable, and the text beside it.
type VariableRow struct{ Name, About string }

// VariableTables are those of docs/environment.md.
func VariableTables() []VariableTable {
	rows := func(prefix string, list []variable, owners ...owner) (rows []VariableRow) {
		for _, v := range list {
			if slices.Contains(owners, v.owner) {
				about := strings.ReplaceAll(strings.ReplaceAll(v.about, `\|`, "|"), "|", `\|`)
				rows = append(rows, VariableRow{prefix + v.name, about})
			}
		}
		return rows
	}
	global := globalVariables()
	const head = "| variable | sets |\n|---|---|\n"
	var without []VariableRow
	for _, e := range exceptions {
		without = append(without, VariableRow{e.word, e.why})
	}
	return []VariableTable{
		{"The sidecar", head, false, rows("SSO_", global, ofSidecar)},
		{"Sessions and sign-ins", head, false, rows("SSO_", global, ofApp)},
		{"The site", head, false, rows("SSO_", global, ofSite)},
		{"An OpenID Provider", head, false, rows("SSO_OIDC_<NAME>_", providerVariables("oidc"), ofProvider)},
		{"All OpenID Providers", head, false, rows("SSO_OIDC_", protocolVariables("oidc"), ofProtocol)},
		{"A SAML provider", head, false, rows("SSO_SAML_<NAME>_", providerVariables("saml"), ofProvider)},
		{"All SAML providers", head, false, rows("SSO_SAML_", protocolVariables("saml"), ofProtocol)},
		{"Options without a variable of their name", "| option | instead |\n|---|---|\n", true, without},
	}
}

// An OptionVariable is an option, and the variable of its name.
type OptionVariable struct {
	Of, Usage, Variable, Why string
	Set                      bool // the variable sets the option
}

// OptionVariables are those of all blocks of the Caddyfile.
func OptionVariables() (list []OptionVariable) {
	all := theVariables()
	add := func(of, prefix string, whose owner, b block) {
		for _, e := range b {
			o := OptionVariable{Of: of, Usage: e.usage, Variable: prefix + upper(e.word())}
			if i := slices.IndexFunc(exceptions, func(x exception) bool { return x.owner == whose && x.word == e.word() }); i >= 0 {
				o.Why = exceptions[i].why
			}
			found, _ := all.find(o.Variable)
			o.Set = whose == found.owner && found.word == e.word() && found.read != nil
			list = append(list, o)
		}
	}
	add("a site", "SSO_", ofSite, new(Handler).block())
	add("the global option", "SSO_", ofApp, new(App).block())
	for _, protocol := range protocols() {
		add("a provider of "+protocol, "SSO_"+upper(protocol)+"_X_", ofProvider, newProvider(protocol).block())
	}
	for _, e := range new(RedisStore).block() {
		name := "SSO_REDIS_" + upper(e.word())
		_, ok := all.find(name)
		list = append(list, OptionVariable{Of: "store redis", Usage: e.usage, Variable: name, Set: ok})
	}
	return list
}

// Speak has logs name variables until the end of a test.
func (s *Sidecar) Speak() (end func()) {
	configuring.Store(s.env)
	return func() { configuring.Store(nil) }
}

// InVariables writes the options in a text as variables.
func (s *Sidecar) InVariables(text string) string { return variableCore{env: s.env}.text(text) }

// InLog returns a logger whose lines name variables.
func (s *Sidecar) InLog(core zapcore.Core) *zap.Logger {
	return zap.New(variableCore{Core: core, env: s.env})
}

// GlobalWords are the options of the global block.
func GlobalWords() []string { return new(App).block().words() }

// Merge adds what another app configures.
func (a *App) Merge(other *App) error { return a.merge(other) }

// FindVariable looks a variable up.
func FindVariable(name string) (provider, field string, ok bool) {
	f, ok := theVariables().find(name)
	return f.provider, f.name, ok
}

// FollowedRoutes counts the routes through which the check of an app's sites follows requests.
func FollowedRoutes(a *App) (steps int, err error) {
	known := a.match(a.outline.handlers)
	places, err := a.findSites(a.outline.app, func(h *Handler) *Handler { return known[h] })
	counted := map[*routing]bool{}
	for _, p := range places {
		if !counted[p.in] {
			steps += p.in.steps
		}
		counted[p.in] = true
	}
	return steps, err
}
