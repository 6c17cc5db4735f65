package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// warnOfDoubts warns of configurations that can start but are risky, or do less than
// they say.
func (a *App) warnOfDoubts(places []place) {
	a.warnOfIdle(places)
	for _, p := range a.providers {
		if p.site == "" && !slices.ContainsFunc(a.handlers, func(h *Handler) bool { return slices.Contains(h.opts.Providers, p.Name) }) {
			a.warn("no site offers this provider: write its name in the option `provider` of a site, or remove it", zap.String("provider", p.Name))
		}
		a.warnOfInsecure(zap.String("provider", p.Name), p.config)
	}
	for _, p := range places {
		a.warnOfInsecure(zap.String("site", p.handler.site), p.handler.config)
		if op := p.handler.OP; op != nil {
			for _, c := range op.Client {
				config, _ := json.Marshal(c) //nolint:gosec // only its insecure_* options are read
				a.warnOfInsecure(zap.String("client", c.ID), string(config))
			}
		}
		a.warnOfLifetime(p)
		a.warnOfBaseURL(p)
		a.warnOfPlainHTTP(p)
		a.warnOfUnverified(p)
	}
}

// warnOfUnverified warns if reverse_proxy sends the tickets of Proxmox VE to whoever responds.
func (a *App) warnOfUnverified(p place) {
	if !p.handler.opts.As.IsProxmox() {
		return
	}
	for _, proxy := range proxiesIn(p.routes()) {
		if t, ok := proxy.Transport.(*reverseproxy.HTTPTransport); ok && t.TLS != nil && t.TLS.InsecureSkipVerify {
			a.warn("reverse_proxy does not verify the certificates of the nodes, so an attacker on the network can take the tickets of Proxmox VE; `ca` and `fingerprint` count for sign-in alone",
				zap.String("site", p.handler.site), zap.String("fix", "in its `transport`, write `tls_trust_pool file <pem>` instead of `tls_insecure_skip_verify`"))
			return
		}
	}
}

// insecure says what each option permits that gives up a protection.
var insecure = map[string]string{
	"insecure_http":          "an attacker who can read the network can take over sessions",
	"insecure_http_issuer":   "an attacker who can change what the network carries can sign in as anybody",
	"insecure_http_metadata": "an attacker who can change what the network carries can sign in as anybody",
	"insecure_no_pkce":       "an attacker who has the client's secret can use an authorization code that leaks",
	"insecure_sha1":          "signatures that use SHA-1 are accepted, and such signatures can be forged",
}

// warnOfInsecure warns of each insecure_* option in the JSON of a provider or a site.
func (a *App) warnOfInsecure(whose zap.Field, config string) {
	var options map[string]any
	if json.Unmarshal([]byte(config), &options) != nil {
		return
	}
	for _, word := range slices.Sorted(maps.Keys(options)) {
		if strings.HasPrefix(word, "insecure_") && options[word] == true {
			a.warn("an insecure option is on: remove it as soon as you can", whose, zap.String("option", word), zap.String("risk", insecure[word]))
		}
	}
}

// warnOfIdle warns of an idle timeout that a lifetime always precedes.
func (a *App) warnOfIdle(places []place) {
	idle, longest := time.Duration(a.Idle), time.Duration(0)
	for _, p := range a.providers {
		longest = max(longest, a.lifetimeOf(p))
	}
	noEffect := func(lifetime string) string {
		return "`idle` has no effect, because every login reaches its " + lifetime + " first: write a shorter `idle`, or a longer " + lifetime
	}
	switch {
	case idle <= 0:
		return
	case idle >= longest:
		a.warn(noEffect("`lifetime`"), zap.Duration("idle", idle), zap.Duration("lifetime", longest))
		return
	}
	for _, p := range places {
		if own := time.Duration(p.handler.Lifetime); own > 0 && idle >= own {
			a.warn(noEffect(inSyntax("`lifetime`", "SSO_SITE_LIFETIME")), zap.String("site", p.handler.site), zap.Duration("idle", idle), zap.Duration("lifetime", own))
		}
	}
}

// lifetimeOf is the longest that a login at a provider lives.
func (a *App) lifetimeOf(p builtProvider) time.Duration {
	return cmp.Or(p.Lifetime, time.Duration(a.Lifetime), gateway.DefaultLifetime)
}

// warnOfLifetime warns of a site's lifetime that no login reaches.
func (a *App) warnOfLifetime(p place) {
	own, longest := time.Duration(p.handler.Lifetime), time.Duration(0)
	for _, offered := range a.providers {
		if slices.Contains(p.handler.opts.Providers, offered.Name) {
			longest = max(longest, a.lifetimeOf(offered))
		}
	}
	if own > longest {
		a.warn(inSyntax("the site's `lifetime`", "SSO_SITE_LIFETIME")+" has no effect, because each login ends earlier (after `login`): write a shorter one, or a longer "+
			inSyntax("`lifetime` in the global option sso or for a provider", "SSO_LIFETIME"),
			zap.String("site", p.handler.site), zap.Duration("lifetime", own), zap.Duration("login", longest))
	}
}

// warnOfNoSite warns of providers that no site uses. The http app may have been
// provisioned, or not: it finds this app all the same.
func (a *App) warnOfNoSite(ctx caddy.Context) {
	isOurs := func(m caddy.Module) bool { _, ok := m.(*Handler); return ok }
	if len(a.shared) == 0 || slices.ContainsFunc(ctx.Modules(), isOurs) {
		return
	}
	if _, err := ctx.AppIfConfigured("http"); err != nil && !errors.Is(err, caddy.ErrNotConfigured) {
		return // the sites are wrong, and Caddy itself reports the fault
	}
	web, drawn := HTTPAppOf(ctx), new(outline)
	if web != nil && drawn.draw(web) != nil {
		return // the same
	}
	if len(a.handlers)+len(drawn.handlers) == 0 {
		a.warn("no site has the directive sso, so nothing is protected: write `sso { role <name> <group>… }` in each site that you want to protect")
	}
}

// warnOfBaseURL warns of a base URL whose host is none of the site's: the gateway refuses
// requests to any other host than that of base_url.
func (a *App) warnOfBaseURL(p place) {
	host := hostOf(p.handler.BaseURL)
	if host == "" || p.names == nil {
		return
	}
	if some, _ := p.names.take(host); !some {
		a.warn("`base_url` names a host that is not the site's, so every request to the site is refused (unknown_host): write one of the site's hosts, or leave `base_url` out",
			zap.String("site", p.handler.site), zap.String("base_url", p.handler.BaseURL))
	}
}

// warnOfPlainHTTP warns of hosts over plain http, at which people can sign in only if a
// proxy before Caddy ends TLS. An https base URL says that there is one. Caddy does not tell
// modules whether it trusts proxies.
func (a *App) warnOfPlainHTTP(p place) {
	u, err := target.ParseOrigin(p.handler.BaseURL)
	switch {
	case p.handler.InsecureHTTP, p.server == "":
		return
	case err == nil && (u.Scheme == "https" || isLoopback(u.Hostname())):
		return
	case err != nil && (p.hosts.Scheme != "http" || !slices.ContainsFunc(slices.Concat(p.hosts.Exact, p.hosts.Wild), func(name string) bool { return !isLoopback(name) })):
		return
	}
	fix := "leave http:// out of the site's address; or, behind such a proxy, write an https `base_url` in this site's `sso`"
	if err == nil {
		fix = "write https:// in `base_url`"
	}
	a.warn("nobody can sign in over plain http beyond this machine (insecure_http), unless a proxy before Caddy ends TLS: "+fix,
		zap.String("site", p.handler.site), zap.Strings("addresses", p.plainAddresses()))
}

// plainAddresses are those of the site that begin with http://.
func (p place) plainAddresses() []string {
	if p.handler.BaseURL != "" {
		return []string{p.handler.BaseURL}
	}
	var addresses []string
	for _, name := range slices.Concat(p.hosts.Exact, p.hosts.Wild) {
		addresses = append(addresses, target.Origin("http", strings.TrimSuffix(fmt.Sprintf("%s:%s", name, p.hosts.Port), ":")))
	}
	return addresses
}
