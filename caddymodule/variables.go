package caddymodule

import (
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

// A variable of the environment sets an option. The environment is a second syntax for
// the options of a Caddyfile: the value becomes the option's arguments, and the option's
// own parser reads them. docs/environment.md is compared with these rows.
type variable struct {
	name  string // without the prefix of its owner
	owner owner
	word  string // of the option; empty: the reader of the environment itself uses the value
	read  reader // nil: the variable has no effect, or read elsewhere
	about string // for docs/environment.md
	note  string // if it has no effect: why
	// same is the value that says what holds without the variable; strict refuses any other.
	same   string
	strict bool
}

// An owner is what a variable belongs to.
type owner int

const (
	ofSidecar owner = iota // the sidecar's server
	ofSite                 // the directive of the sidecar's site
	ofApp                  // the global option
	ofProtocol
	ofProvider
)

const variablePrefix = "SSO_"

// upper is the name of an option's variable.
func upper(word string) string { return strings.ToUpper(word) }

// An exception is an option that has no variable of its own name. docs/environment.md shows
// why.
type exception struct {
	owner owner
	word  string
	why   string
}

var exceptions = []exception{
	{ofSite, "role", "write `SSO_ROLE_MAPPING`"},
	{ofSite, "template", "write `SSO_TEMPLATE_MAPPING`"},
	{ofSite, "group", "write `SSO_GROUP_MAPPING`"},
	{ofSite, "from", "write `SSO_SAML_<NAME>_ROLE_MAPPING` and the like, with the provider in the name"},
	{ofSite, "same_people", "there is one site: write the global option's `SSO_SAME_PEOPLE`"},
	{ofSite, "lifetime", "write `SSO_SITE_LIFETIME`: `SSO_LIFETIME` is the global option"},
	{ofSite, "nested", "the sidecar guards the whole of its one site"},
	{ofSite, "op", "the sidecar guards one app: a gateway with a Caddyfile is the OpenID provider of many"},
	{ofSite, "as", "it has a block: write a Caddyfile for such an app"},
	{ofSite, "errors", "the sidecar has no `handle_errors`, so its own pages are shown"},
	{ofApp, "provider", "write the variables of a provider: `SSO_PROVIDER` is the site's option"},
	{ofApp, "store", "write `SSO_REDIS_URL` and `SSO_REDIS_PREFIX`, or `SSO_STORE_FILE`"},
	{ofApp, "secret", "write `SSO_SECRET`, and `SSO_SECRET_PREVIOUS` for the previous one"},
	{ofApp, "environment", "only a Caddyfile has it: it switches these variables on"},
	{ofProvider, "name", "the name is in the variables"},
}

// optionVariables are those of a block's options: each has the option's name.
func optionVariables(b block, whose owner) []variable {
	var list []variable
	for _, word := range b.words() {
		if slices.ContainsFunc(exceptions, func(e exception) bool { return e.owner == whose && e.word == word }) {
			continue
		}
		e := b[b.index(word)]
		about := "`" + e.usage + "`"
		list = append(list, variable{name: upper(word), owner: whose, word: word, read: readerOf(e), about: about})
	}
	return list
}

const (
	aboutRoles     = "rules that give roles: `<group>=<role>[|<role>…][,<group>=…]`"
	aboutTemplates = "rules that give one template; the first that matches counts"
	aboutGroups    = "rules that give the app's groups"
	aboutSwitch    = "`false` switches it off; `true` without it"
)

// ruleVariables are the rules for everybody, or for the people of some providers.
func ruleVariables(whose owner) []variable {
	return []variable{
		{name: "ROLE_MAPPING", owner: whose, word: "role", read: readRules, about: aboutRoles},
		{name: "TEMPLATE_MAPPING", owner: whose, word: "template", read: readRules, about: aboutTemplates},
		{name: "GROUP_MAPPING", owner: whose, word: "group", read: readRules, about: aboutGroups},
	}
}

// globalVariables are those that begin with SSO_ alone.
func globalVariables() []variable {
	list := []variable{
		{name: "UPSTREAM", about: "the app, such as `127.0.0.1:3000` or `unix//run/app.sock`. Required"},
		{name: "LISTEN", about: "where the sidecar takes requests: `[<address>]:<port>`. `:8080` without it"},
		{name: "HEALTH_LISTEN", about: "where `/healthz` and `/readyz` answer. `:8081` without it; `off` has none"},
		{name: "TRUSTED_PROXIES", about: "the addresses of proxies in front of the sidecar, such as `10.0.0.0/8` or `private_ranges`: their `X-Forwarded-For` names the client"},
		{name: "SHUTDOWN_DELAY", about: "how long a stopping sidecar takes new requests, while `/readyz` says 503. `3s` without it"},
		{name: "GRACE_PERIOD", about: "how long requests under way may take after that. `5s` without it"},
		{name: "LOG_LEVEL", about: "`DEBUG`, `INFO`, `WARN` or `ERROR`. `INFO` without it"},
		{name: "ENABLED", owner: ofApp, about: "`false` switches all providers off; `true` without it"},
		{name: "SECRET", owner: ofApp, word: "secret", about: "`secret <secret>`"},
		{name: "SECRET_PREVIOUS", owner: ofApp, word: "secret", about: "the secret before, while it changes"},
		{name: "REDIS_URL", owner: ofApp, word: "store", about: "`store redis <url>`"},
		{name: "REDIS_PREFIX", owner: ofApp, word: "store", about: "`prefix <prefix>` of `store redis`"},
		{name: "STORE_FILE", owner: ofApp, word: "store", about: "`store bolt <path>`"},
	}
	site := new(Handler).block()
	lifetime := site[site.index("lifetime")]
	return slices.Concat(list, optionVariables(new(App).block(), ofApp), optionVariables(site, ofSite),
		[]variable{{name: "SITE_LIFETIME", owner: ofSite, word: "lifetime", read: readerOf(lifetime), about: "`" + lifetime.usage + "` of the site"}},
		ruleVariables(ofSite))
}

// noEffect is a variable of the DNS console that has no counterpart here.
func noEffect(name string, whose owner, same, why string) variable {
	return variable{name: name, owner: whose, same: same, note: why, about: "no effect: " + why}
}

// only is a variable of the DNS console that can have one value here.
func only(name string, whose owner, same, why string) variable {
	v := noEffect(name, whose, same, why)
	v.strict, v.about = true, "only `"+same+"`: "+why
	return v
}

const (
	noSLO      = "signing out ends the session here, and not yet at the provider"
	noEndpoint = "the provider's discovery document names the endpoints"
	noClaim    = "the claim with the standard's name is used"
)

// protocolVariables are those that begin with SSO_OIDC_ or SSO_SAML_ and name no provider.
func protocolVariables(protocol string) []variable {
	list := slices.Concat([]variable{{name: "ENABLED", owner: ofProtocol, about: aboutSwitch}}, ruleVariables(ofProtocol), []variable{
		{name: "PERMISSION_TEMPLATE_MAPPING", owner: ofProtocol, word: "template", read: readRules, about: "the same as `TEMPLATE_MAPPING`"},
		{name: "DEFAULT_PERMISSION_TEMPLATE", owner: ofProtocol, word: "template", read: readDefault, about: "the template of everybody who gets none by another rule: the last rule is `*=<template>`"},
		only("AUTO_PROVISION", ofProtocol, "true", "an account is made at the first sign-in, if a rule lets the person in"),
		noEffect("LINK_BY_EMAIL", ofProtocol, "false", "accounts are never linked by e-mail: the app finds a person by the user name"),
		noEffect("SYNC_USER_INFO", ofProtocol, "true", "the app is told what the provider said at the last sign-in"),
	})
	if protocol != "saml" {
		return list
	}
	return append(list,
		variable{name: "SP_ENTITY_ID", owner: ofProtocol, word: "sp_entity_id", about: "`SP_ENTITY_ID` of all SAML providers"},
		variable{name: "SP_NAME_ID_FORMAT", owner: ofProtocol, word: "name_id_format", about: "`NAME_ID_FORMAT` of all SAML providers"},
		noEffect("SP_ACS_URL", ofProtocol, "", "the log names the ACS to register"),
		noEffect("SP_SLS_URL", ofProtocol, "", noSLO),
		noEffect("SP_X509_CERT", ofProtocol, "", "the gateway makes its own key; the certificate is in its metadata"),
		noEffect("SP_PRIVATE_KEY", ofProtocol, "", "the gateway makes its own key; the certificate is in its metadata"),
	)
}

// aliases are the DNS console's names of options, by protocol.
var aliases = map[string][][2]string{
	"oidc": {{"USERNAME_ATTR", "username_claim"}, {"GROUPS_ATTR", "groups_claim"}},
	"saml": {
		{"X509_CERT", "certificate"},
		{"USERNAME_ATTR", "username_attribute"},
		{"EMAIL_ATTR", "email_attribute"},
		{"FIRST_NAME_ATTR", "first_name_attribute"},
		{"LAST_NAME_ATTR", "last_name_attribute"},
		{"DISPLAY_NAME_ATTR", "display_name_attribute"},
		{"GROUPS_ATTR", "groups_attribute"},
	},
}

// providerVariables are those that begin with SSO_<PROTOCOL>_<NAME>_.
func providerVariables(protocol string) []variable {
	b := newProvider(protocol).block()
	list := slices.Concat(
		optionVariables(b, ofProvider), ruleVariables(ofProvider),
		[]variable{
			{name: "ENABLED", owner: ofProvider, about: aboutSwitch},
			{name: "NAME", owner: ofProvider, about: "`DISPLAY_NAME`, if that is not set. The name in addresses and logs is that in the variables, in small letters"},
		},
	)
	for _, alias := range aliases[protocol] {
		list = append(list, variable{
			name: alias[0], owner: ofProvider, word: alias[1], read: readerOf(b[b.index(alias[1])]), about: "the same as `" + upper(alias[1]) + "`",
		})
	}
	if protocol == "saml" {
		return append(list, noEffect("SLO_URL", ofProvider, "", noSLO))
	}
	list = append(list,
		variable{name: "METADATA_URL", owner: ofProvider, about: "the address of the discovery document, in place of `ISSUER`"},
		variable{name: "TENANT", owner: ofProvider, about: "the tenant's ID at Entra ID, in place of `ISSUER`"},
		variable{name: "BASE_URL", owner: ofProvider, about: "the address of a Keycloak, with `REALM` in place of `ISSUER`"},
		variable{name: "REALM", owner: ofProvider, about: "the realm at `BASE_URL`"},
		noEffect("AUTO_DISCOVERY", ofProvider, "true", noEndpoint),
	)
	for _, name := range []string{"AUTHORIZE_URL", "TOKEN_URL", "USERINFO_URL", "LOGOUT_URL"} {
		list = append(list, noEffect(name, ofProvider, "", noEndpoint))
	}
	for _, claim := range [][2]string{{"EMAIL_ATTR", "email"}, {"FIRST_NAME_ATTR", "given_name"}, {"LAST_NAME_ATTR", "family_name"}, {"DISPLAY_NAME_ATTR", "name"}} {
		list = append(list, only(claim[0], ofProvider, claim[1], noClaim))
	}
	return list
}

// newProvider makes a provider of a protocol that protocols names.
func newProvider(protocol string) providerModule {
	info, err := caddy.GetModule("sso.providers." + protocol)
	if err != nil {
		return nil
	}
	provider, _ := info.New().(providerModule)
	return provider
}

// variables has all variables, looked up by their names.
type variables struct {
	global   map[string]variable
	protocol map[string]map[string]variable
	provider map[string]map[string]variable
}

// theVariables are all variables, of the modules that this program has.
var theVariables = sync.OnceValue(allVariables)

func allVariables() variables {
	all := variables{byName(globalVariables()), map[string]map[string]variable{}, map[string]map[string]variable{}}
	for _, protocol := range protocols() {
		if newProvider(protocol) != nil { // else another plugin's module
			all.protocol[protocol] = byName(protocolVariables(protocol))
			all.provider[protocol] = byName(providerVariables(protocol))
		}
	}
	return all
}

func byName(list []variable) map[string]variable {
	m := make(map[string]variable, len(list))
	for _, v := range list {
		m[v.name] = v
	}
	return m
}

// isSidecars reports whether a variable of this name behind SSO_ is the sidecar's own.
func (all variables) isSidecars(name string) bool {
	v, ok := all.global[name]
	return ok && v.owner == ofSidecar
}

// fromKubernetes reports whether Kubernetes sets a variable of this name for a service that
// is called sso.
func fromKubernetes(name string) bool {
	return strings.HasPrefix(name, "SSO_SERVICE_") || name == "SSO_PORT" || strings.HasPrefix(name, "SSO_PORT_")
}

// A found is what the name of a variable means.
type found struct {
	variable
	protocol string
	provider string // as in the name, in capitals
}

// find looks a name up, which has no __FILE at its end. A name that is reserved is no
// provider's; of several fields at its end the longest counts.
func (all variables) find(name string) (found, bool) {
	rest, ok := strings.CutPrefix(name, variablePrefix)
	if !ok {
		return found{}, false
	}
	if v, ok := all.global[rest]; ok {
		return found{variable: v}, true
	}
	capitals, rest, _ := strings.Cut(rest, "_")
	protocol := strings.ToLower(capitals)
	if capitals != upper(protocol) {
		return found{}, false
	}
	if v, ok := all.protocol[protocol][rest]; ok {
		return found{variable: v, protocol: protocol}, true
	}
	for at := range len(rest) {
		if rest[at] != '_' {
			continue
		}
		v, ok := all.provider[protocol][rest[at+1:]]
		if provider := rest[:at]; ok && validVariable(provider) {
			return found{variable: v, protocol: protocol, provider: provider}, true
		}
	}
	return found{}, false
}

// validVariable reports whether s can stand for a provider in the name of a variable.
func validVariable(s string) bool {
	return s == strings.ToUpper(s) && !strings.ContainsAny(s, ".-") && validName(strings.ToLower(s))
}
