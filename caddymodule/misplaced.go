package caddymodule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// misplaced is the error for a word that belongs elsewhere than in the block
// with the options own: it says where. It is nil for a word that is not known.
func misplaced(d *caddyfile.Dispenser, own block) error {
	word := d.Val()
	switch {
	case word == "{":
		return d.Err("unexpected '{': what stands before it on its line takes no block: remove the braces")
	case word == "sso":
		return d.Errf("'sso' does not stand in the block of another one: write the '}' that ends the block above it, if it is missing. For a site with several providers, %s", severalProviders)
	case slices.Contains(siteDirectives, word):
		return d.Errf("'%s' is a directive of the site: write the '}' that ends the block above it, before this line", word)
	case slices.Contains(protocols(), word):
		return d.Errf("'%s' is a protocol: write it in a site on the line of `sso`, as `sso %[1]s …`, or in the global option sso after a name, as `provider <name> %[1]s { … }`", word)
	}
	if instead := insteadOf(word, own); instead != "" {
		return d.Errf("'%s' %s", word, instead)
	}
	if places := placesOf(word); len(places) > 0 {
		return d.Errf("'%s' %s%s", word, strings.Join(places, "; or it "), inPlace(word, own))
	}
	return nil
}

// insteadOf says what to write in the block of `op`, of a client or of `as proxmox` for an
// option of a provider, a client or a site: apps have similar ones. It is "" in other blocks.
func insteadOf(word string, own block) string {
	client, short := new(Client).block(), strings.TrimPrefix(word, "client_")
	inClient, inOP := own.index("redirect_uri") >= 0, own.index("client") >= 0
	switch {
	case own.index("realm") >= 0:
		return insteadInProxmox(word, own)
	case !inClient && !inOP:
		return ""
	case short == "id":
		return "is no option here: write the ID behind `client`, as `client <id> { … }`"
	case inClient && client.index(short) >= 0:
		return "is an option of a provider: for an app that signs in here, write `" + client.usage(short) + "`"
	case inOP && client.index(short) >= 0:
		return "belongs in the block of `client <id>`: write `client <id> { " + client.usage(short) + " … }`"
	case len(providerOptions()[word]) > 0:
		return "is an option of a provider, and an app that signs in here has none of that name: leave it out, or write one of " + strings.Join(client.words(), ", ") + " into the block of `client <id>`"
	}
	return ""
}

// insteadInProxmox says the same for the block of `as proxmox`.
func insteadInProxmox(word string, own block) string {
	short := strings.TrimPrefix(word, "client_")
	switch {
	case short == "id":
		return "is an option of a provider: for the realm of Proxmox VE, write `" + own.usage("client") + "`"
	case own.index(short) >= 0:
		return "is an option of a provider: for the realm of Proxmox VE, write `" + own.usage(short) + "`"
	case word == "issuer":
		return "is not needed here: the gateway itself is the realm's provider; leave it out. The issuer is in the log at start, as openid_issuer"
	case word == "redirect_uri":
		return "is not needed here: the gateway itself brings the code to the node; leave it out"
	case len(providerOptions()[word]) > 0 || new(Client).block().index(word) >= 0:
		return "is no option of `as proxmox`: leave it out; its block can have " + strings.Join(own.words(), ", ")
	}
	return ""
}

// placesOf says where a word belongs, for each block that has it.
func placesOf(word string) (places []string) {
	add := func(there bool, format string, args ...any) {
		if there {
			places = append(places, fmt.Sprintf(format, args...))
		}
	}
	of := append(providerOptions()[word], "") // none is ""
	global, site, redis := new(App).block(), new(Handler).block(), new(RedisStore).block()
	op, client := new(OpenIDProvider).block(), new(Client).block()
	add(len(of) > 1, "is an option of %s: it belongs in the block of `provider <name> %s` in the global option sso, or of `sso %[2]s …` in a site",
		strings.Join(of[:len(of)-1], " and "), of[0])
	add(global.index(word) >= 0, "holds for all sites: it belongs in the global option sso at the top of the Caddyfile, as `%s`", global.usage(word))
	add(site.index(word) >= 0, "is said by each site: it belongs in the block of its `sso`, as `%s`", site.usage(word))
	add(client.index(word) >= 0 && site.index(word) < 0 && global.index(word) < 0, "is an option of an app that signs in here: it belongs in the block of `client <id>` in `op` of a site, as `%s`", client.usage(word))
	add(op.index(word) >= 0, "is an app that signs in here: it belongs in the block of `op` in a site, as `%s`", op.usage(word))
	add(redis.index(word) >= 0, "is an option of the store: it belongs in the block of `store redis <url>` in the global option sso, as `%s`", redis.usage(word))
	add(slices.Contains(modulesIn("sso.stores"), word), "is a kind of store: it belongs in the global option sso, as `%s`", global.usage("store"))
	add(len(places) == 0 && slices.Contains(spaceKinds, word), "is a kind of name space: it belongs in a provider's block, as `users %s <text>`", word)
	return places
}

// inPlace suggests what the block has for an option of another one: the client's own,
// a longer name, or the other protocol's word for a claim or an attribute.
func inPlace(option string, own block) string {
	like := func(word string) bool {
		rest, longer := strings.CutPrefix(word, option+"_")
		return word == "client_"+option || longer && !strings.Contains(rest, "_")
	}
	kinds := []string{"_claim", "_attribute", "_issuer", "_metadata"}
	for _, word := range own.words() {
		same := slices.ContainsFunc(kinds, func(kind string) bool {
			first, ok := strings.CutSuffix(option, kind)
			rest, begins := strings.CutPrefix(word, first)
			return ok && begins && slices.Contains(kinds, rest)
		})
		if same || like(word) {
			return "; here there is '" + word + "'"
		}
	}
	return ""
}

// severalProviders says how one site gets several providers.
const severalProviders = "define each in the global option at the top of the Caddyfile, as `sso { provider <name> <protocol> { … } }`, and write one `sso` without a protocol in the site, " +
	"and `same_people` in its block or `users` in a provider's, if you are asked whose people they are"

// siteDirectives are those that follow the block of `sso` in most sites. One
// that is met inside of it shows that the block has no end.
var siteDirectives = []string{
	"reverse_proxy", "respond", "file_server", "php_fastcgi", "handle", "handle_path", "route", "root", "encode", "log", "tls", "redir", "sso_strip",
}

// protocols are the kinds of providers that there are.
func protocols() []string { return modulesIn("sso.providers") }

// modulesIn names the modules of a namespace.
func modulesIn(namespace string) []string {
	var names []string
	for _, m := range caddy.GetModules(namespace) {
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
		for _, word := range provider.block().words() {
			of[word] = append(of[word], m.ID.Name())
		}
	}
	return of
}

// sharedNames takes the names of shared providers, and says where one is set up to
// a person who does it here.
func sharedNames(to *[]string) setter {
	return list(to).then(func(d *caddyfile.Dispenser) error {
		at := position(d)
		strange := slices.ContainsFunc(*to, func(name string) bool { return !validName(name) })
		if strange || d.NextBlock(d.Nesting()) {
			return fmt.Errorf("'provider' only names providers here, in a site: set them up in the global option sso at the top of the Caddyfile, "+
				"as `provider <name> <protocol> { … }`, or for this site alone on the line of its `sso`, as `sso <protocol> …`, at %s", at)
		}
		return nil
	})
}

// unknownProvider is the error for a name that no shared provider has.
func unknownProvider(name string, names []string) error {
	if len(names) == 0 {
		return wording.Aboutf("provider", "there is no %q, since the global option sso has no provider: write it there, as `provider %[1]s <protocol> { … }`", name)
	}
	if near := nearest(name, names); near != "" {
		return wording.Aboutf("provider", "there is no %q: did you mean %q? %s has %s", name, near, wording.Choice{Caddyfile: "The global option sso", Other: "The environment"}, strings.Join(names, ", "))
	}
	return wording.Aboutf("provider", "there is no %q: write one %s: %s", name, wording.Choice{Caddyfile: "that the global option sso has", Other: "of the environment"}, strings.Join(names, ", "))
}
