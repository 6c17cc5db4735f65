package caddymodule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// misplaced is the error for a word that belongs elsewhere than in the block
// with the options own: it says where. It is nil for a word that is not known.
func misplaced(d *caddyfile.Dispenser, own usages) error {
	word := d.Val()
	options := providerOptions()
	of := options[word]
	switch {
	case word == "{":
		return d.Err("unexpected '{': what stands before it on its line has no block")
	case slices.Contains(siteDirectives, word):
		return d.Errf("'%s' is a directive of the site: is the '}' missing that ends the block above it?", word)
	case slices.Contains(protocols(), word):
		return d.Errf("'%s' is a protocol: in a site it stands on the line of `sso`, as `sso %[1]s …`; in the global option sso after a name, as `provider <name> %[1]s { … }`", word)
	case len(of) > 0:
		return d.Errf("'%s' is an option of %s: it belongs in the block of `provider <name> %s` in the global option sso, or of `sso %[3]s …` in a site%s",
			word, strings.Join(of, " and "), of[0], inPlace(word, own))
	case globalUsage[word] != "" && own["client_"+word] == "": // a `secret` beside a client_id is rather the client's
		return d.Errf("'%s' holds for all sites: it belongs in the global option sso at the top of the Caddyfile, as `%s`", word, globalUsage[word])
	case siteUsage[word] != "":
		return d.Errf("'%s' is said by each site: it belongs in the block of its `sso`, as `%s`", word, siteUsage[word])
	}
	return nil
}

// inPlace suggests what the block has for another provider's option: the option
// that begins with the same word, as in groups_claim and groups_attribute.
func inPlace(option string, own usages) string {
	first, _, compound := strings.Cut(option, "_")
	for _, word := range own.words() {
		if compound && strings.HasPrefix(word, first+"_") {
			return "; here there is '" + word + "'"
		}
	}
	return ""
}

// siteDirectives are those that follow the block of `sso` in most sites. One
// that is met inside of it shows that the block has no end.
var siteDirectives = []string{
	"reverse_proxy", "respond", "file_server", "php_fastcgi", "handle", "handle_path", "route", "root", "encode", "log", "tls", "redir", "sso_strip",
}

// protocols are the kinds of providers that there are.
func protocols() []string {
	var names []string
	for _, m := range caddy.GetModules("sso.providers") {
		names = append(names, m.ID.Name())
	}
	return names
}

// providerOptions names for each option of a provider the protocols that have it.
func providerOptions() map[string][]string {
	of := map[string][]string{}
	for _, m := range caddy.GetModules("sso.providers") {
		provider, err := as[providerModule](m.New())
		if err != nil {
			continue
		}
		for word := range provider.usages() {
			of[word] = append(of[word], m.ID.Name())
		}
	}
	return of
}

// unmarshalProviderNames parses the names of shared providers, and says where
// one is set up to who does it here.
func unmarshalProviderNames(d *caddyfile.Dispenser) ([]string, error) {
	names, err := unmarshalArgs(d, siteUsage)
	if err != nil {
		return nil, err
	}
	at := position(d)
	strange := slices.ContainsFunc(names, func(name string) bool { return !validName(name) })
	if strange || d.NextBlock(d.Nesting()) {
		return nil, fmt.Errorf("'provider' only names providers here, in a site: they are set up in the global option sso at the top of the Caddyfile, "+
			"as `provider <name> <protocol> { … }`, or for this site alone on the line of its `sso`, as `sso <protocol> …`, at %s", at)
	}
	return names, nil
}
