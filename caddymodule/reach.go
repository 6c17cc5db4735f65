package caddymodule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"
)

const (
	defaultPrefix = "/.sso"
	freePrefix    = "/.auth" // to suggest, if another handler takes defaultPrefix
)

// ownLines are the lines by which the handler's own addresses lie where it gets them;
// none if they do already, or if no such lines are known.
func (p place) ownLines() (lines []string) {
	prefix := p.handler.prefix()
	if !p.takesBelow(prefix) {
		if prefix = p.partPrefix(); prefix == "" {
			return nil
		}
		lines = append(lines, "`prefix "+prefix+"`")
	}
	if callback := p.handler.CallbackPath; callback != "" && !p.reachedBy(callback, methodGet) {
		lines = append(lines, "`callback_path "+prefix+"/oidc/callback`")
	}
	return lines
}

// takesBelow says whether the handler gets its own addresses, if they have this prefix.
func (p place) takesBelow(prefix string) bool {
	return p.reachedBy(prefix+"/login", methodGet) && p.reachedBy(prefix+"/oidc/callback", methodGet) && p.reachedBy(prefix+"/saml/acs", methodPost)
}

// partPrefix is a prefix below the path of the part that the handler guards, or one that
// no route before it takes.
func (p place) partPrefix() string {
	for _, prefix := range append(slices.Clip(p.prefixes), freePrefix) {
		if p.takesBelow(prefix) {
			return prefix
		}
	}
	return ""
}

// asPart says what to write where an sso guards a part of its site only.
func (p place) asPart() string {
	lines := append([]string{"`nested`"}, p.ownLines()...)
	return "write " + strings.Join(lines, " and ") + " in its block, and " + appLine
}

// asParts says what to write where the whole site is divided into parts.
func (p place) asParts() string {
	own := ""
	if lines := p.ownLines(); lines != nil {
		own = " (here with " + strings.Join(lines, " and ") + ")"
	}
	return "put the parts of the site into `handle` blocks, each with an 'sso' of its own that is `nested`" + own + ", and " + appLine
}

// appLine is what sites of one host need: their apps have an audience each.
const appLine = "`app <id>` if another 'sso' has that host"

// An address is one where the gateway itself answers, for a provider or for all.
type address struct {
	path               string
	method             methods // of requests without which nobody can sign in
	provider, protocol string
	metadata           string // the path of the metadata for a SAML provider
}

// addresses are those without which nobody can sign in at a handler.
func (a *App) addresses(h *Handler) []address {
	prefix := h.prefix()
	list := []address{{path: prefix + "/login", method: methodGet}}
	of := map[string]int{} // how many providers a protocol has
	for _, p := range a.providers {
		if slices.Contains(h.opts.Providers, p.Name) {
			list = append(list, address{provider: p.Name, protocol: string(p.Provider.Protocol())})
			of[string(p.Provider.Protocol())]++
		}
	}
	for i := range list[1:] {
		own := &list[1+i]
		below := ""
		if of[own.protocol] > 1 {
			below = "/" + own.provider
		}
		if own.protocol == "saml" {
			own.path, own.method, own.metadata = prefix+"/saml/acs", methodPost, prefix+"/saml/metadata"+below
		} else {
			own.path, own.method = cmp.Or(h.CallbackPath, prefix+"/oidc/callback")+below, methodGet
		}
	}
	return list
}

// prefix is that of the handler's own addresses.
func (h *Handler) prefix() string { return cmp.Or(h.Prefix, defaultPrefix) }

// owns says whether the handler itself answers at all paths of a pattern.
func (h *Handler) owns(pattern string) bool {
	base := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(pattern), "*"), "/")
	return slices.ContainsFunc([]string{h.prefix(), cmp.Or(h.CallbackPath, h.prefix())}, func(own string) bool {
		own = strings.ToLower(own)
		return base == own || strings.HasPrefix(base, own+"/")
	})
}

// A reach says which of a handler's own addresses it does not get.
type reach struct {
	lost    []string // it gets no request for them
	taken   []string // or not all
	takers  []string // the handlers in routes before it that get them
	nobody  bool     // nobody can sign in, or not at some provider
	strange bool     // another app answers
}

// reachOf finds the addresses at which no other handler of the host answers.
func (a *App) reachOf(p place, places []place) (r reach) {
	for _, own := range a.addresses(p.handler) {
		w := p.way(own.path)
		reached := w.methods&own.method != 0
		takers := w.names(reached)
		if reached && takers == nil {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(places), func(other place) bool {
			return !other.besides(p) || !slices.Contains(a.addresses(other.handler), own) || !other.reachedBy(own.path, own.method)
		})
		if len(others) > 0 {
			r.strange = r.strange || !reached && !slices.ContainsFunc(others, func(other place) bool { return other.handler.config == p.handler.config })
			continue
		}
		to := &r.taken
		if !reached {
			to = &r.lost
			r.nobody = r.nobody || takers == nil || own.provider != ""
		}
		if !slices.Contains(*to, own.path) {
			*to = append(*to, own.path)
		}
		for _, taker := range takers {
			if name := "'" + taker + "'"; !slices.Contains(r.takers, name) {
				r.takers = append(r.takers, name)
			}
		}
	}
	return r
}

// checkReach refuses a nested handler that does not get its own addresses, if no other
// one at its host answers there: nobody could sign in, and somebody else would get the
// providers' answers. If another handler takes only some of them, or perhaps not all
// requests, it warns.
func (a *App) checkReach(p place, places []place) error {
	if !p.handler.Nested || p.server == "" {
		return nil
	}
	r := a.reachOf(p, places)
	if err := a.checkLost(p, r); err != nil {
		return err
	}
	a.warnOfAssets(p, places)
	if r.strange && p.handler.skipsChooser() {
		a.warn("a sign-in that begins at this 'sso' comes back to another one of the host, which has an audience of its own and refuses it (flow_unknown)",
			zap.String("site", p.handler.site), zap.String("fix", p.asPart()))
	}
	return nil
}

// checkLost reports the addresses that a handler does not get.
func (a *App) checkLost(p place, r reach) error {
	if r.lost == nil && r.taken == nil {
		return nil
	}
	cause, fix := "the paths above it don't match them", "have the matchers above it take these paths, too"
	if r.takers != nil {
		cause, fix = strings.Join(r.takers, ", ")+" in a route before it takes them", "put this 'sso' before it, or have the matchers of that route leave out these paths"
	}
	if lines := p.ownLines(); lines != nil {
		fix = "write " + strings.Join(lines, " and ") + " in its block, and " + appLine + "; at the provider, the address registered there changes with it"
	}
	if r.nobody {
		return fmt.Errorf("site %s: the 'sso' that is `nested` never gets requests for %s, because %s, and no other 'sso' of the host answers there: "+
			"nobody could sign in, and another handler would get the provider's answers, unspent codes among them: %s", p.handler.site, strings.Join(r.lost, ", "), cause, fix)
	}
	a.warn("a handler in a route before the 'sso' that is `nested` takes requests for the addresses of that 'sso': people may be unable to sign in",
		zap.String("site", p.handler.site), zap.Strings("handlers", r.takers), zap.Strings("addresses", slices.Concat(r.lost, r.taken)), zap.String("fix", fix))
	return nil
}

// warnOfAssets warns if style and scripts of a handler's pages are somebody else's to
// answer: the pages work without, but less well.
func (a *App) warnOfAssets(p place, places []place) {
	assets := p.handler.prefix() + "/assets/"
	answered := func(other place) bool {
		return other.handler.prefix() == p.handler.prefix() && other.besides(p) && other.reachedBy(assets+"post.js", methodGet)
	}
	if !p.reachedBy(assets+"post.js", methodGet) && !slices.ContainsFunc(places, answered) {
		a.warn("the 'sso' that is `nested` never gets requests for the style and the scripts of its own pages: they look bare, a browser goes on to the provider later, and fragments of addresses get lost",
			zap.String("site", p.handler.site), zap.String("fix", "have the matchers above it take "+assets+"*, too"))
	}
}

// skipsChooser says whether the handler itself sends people to a provider.
func (h *Handler) skipsChooser() bool {
	return h.Autologin != "off" && (h.Autologin != "" || len(h.opts.Providers) == 1)
}

// besides says whether p may get requests of other's host.
func (p place) besides(other place) bool {
	if p.server == "" { // in another handler, of which server nobody knows
		_, all := other.names.take(hostOf(p.handler.BaseURL))
		return all
	}
	return p.handler != other.handler && p.server == other.server && p.names.overlap(other.names)
}
