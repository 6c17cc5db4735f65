package caddymodule

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"go.uber.org/zap"
)

const (
	defaultPrefix = "/.sso"
	freePrefix    = "/.auth" // to suggest, if another handler takes defaultPrefix
)

// A step is what a request meets on its way to a handler: the matchers of a route, a
// handler that changes the path of what they match, or a handler that responds to it.
type step struct {
	sets  caddyhttp.MatcherSets
	group string // of the route
	moves bool
	strip string // what is cut off the path; "" if nobody knows what becomes of it

	ends    string                  // the handler that responds; "" if none does
	all     bool                    // to every request that the route takes
	earlier []caddyhttp.MatcherSets // of the group's routes before: what they take, this one does not
}

// stepAt is the step of a handler that may change the path, behind these matchers.
func (w *walker) stepAt(handler caddyhttp.MiddlewareHandler, sets caddyhttp.MatcherSets, group string) (step, bool) {
	s := step{sets: sets, moves: true, group: group}
	if r, ok := handler.(*rewrite.Rewrite); ok && len(sets) == 0 && !strings.Contains(r.StripPathPrefix, "{") {
		rest := *r
		if rest.StripPathPrefix = ""; !changesPath(&rest) {
			s.strip = r.StripPathPrefix
		}
	}
	return s, len(w.within(handler, nil, movesPath)) > 0
}

// movesPath names a handler that changes the path for those after it, or may.
func movesPath(handler caddyhttp.MiddlewareHandler) string {
	if r, ok := handler.(*rewrite.Rewrite); ok {
		if changesPath(r) {
			return "rewrite"
		}
		return ""
	}
	if name := answers(handler); name != "respond" && !slices.Contains(standard, name) {
		return name
	}
	return ""
}

// reachedBy says whether a request for a path may come to the place. Matchers of paths
// decide; all others may match.
func (p place) reachedBy(path string) bool {
	reached, _ := p.way(path)
	return reached
}

// way is reachedBy, and names the handler in a route before that takes such requests, or
// is meant for them.
func (p place) way(path string) (reached bool, taker string) {
	for _, s := range p.steps {
		switch can := mayMatch(s.sets, path); {
		case s.ends != "" && s.all && p.surelyTakes(s, path):
			return false, s.ends
		case s.ends != "":
			if can && namesOf(s.sets).overlap(p.names) && slices.ContainsFunc(s.sets, func(set caddyhttp.MatcherSet) bool { return slices.ContainsFunc(set, isFor(path)) }) {
				taker = s.ends
			}
		case !s.moves && !can:
			return false, ""
		case !s.moves || !can:
		case s.strip == "":
			return true, taker
		case len(path) >= len(s.strip) && strings.EqualFold(path[:len(s.strip)], s.strip):
			path = "/" + strings.TrimPrefix(path[len(s.strip):], "/")
		}
	}
	return true, taker
}

// surelyTakes says whether a route before the place takes all requests for a path.
func (p place) surelyTakes(s step, path string) bool {
	if slices.ContainsFunc(s.earlier, func(sets caddyhttp.MatcherSets) bool { return mayMatch(sets, path) }) {
		return false
	}
	return slices.ContainsFunc(s.sets, func(set caddyhttp.MatcherSet) bool {
		return !slices.ContainsFunc(set, func(matcher any) bool {
			if m, ok := matcher.(*caddyhttp.MatchHost); ok {
				return p.names == nil || slices.ContainsFunc(p.names, func(name string) bool { return !hostNames(*m).cover(name) })
			}
			return !isFor(path)(matcher)
		})
	})
}

// isFor returns whether a matcher is one of paths that takes all requests for a path.
func isFor(path string) func(matcher any) bool {
	return func(matcher any) bool {
		if m, ok := matcher.(*caddyhttp.MatchPath); ok {
			known := slices.DeleteFunc(slices.Clone(*m), func(pattern string) bool { return strings.Contains(pattern, "{") })
			return len(known) > 0 && mayTake(&known, path)
		}
		m, ok := matcher.(*caddyhttp.MatchPathRE)
		return ok && mayTake(m, path)
	}
}

// ends is the step of a route with a handler that responds, for the routes after it.
func (w *walker) ends(route caddyhttp.Route, earlier []caddyhttp.MatcherSets) (step, bool) {
	s := step{sets: route.MatcherSets, group: route.Group, earlier: earlier}
	if onlyHosts(s.sets) {
		return s, false // see before
	}
	stripped := false
	for _, handler := range route.Handlers {
		stripped = stripped || len(w.within(handler, nil, stripName)) > 0
		for _, name := range w.within(handler, nil, answers) {
			s.ends = cmp.Or(s.ends, name)
		}
		s.all = s.all || w.endsAll(handler)
	}
	s.all = s.all && !stripped // it is meant: no code is passed on
	return s, s.ends != ""
}

func stripName(handler caddyhttp.MiddlewareHandler) string {
	if _, ok := handler.(*Strip); ok {
		return "sso_strip"
	}
	return ""
}

// endsAll says whether a handler surely responds to whatever comes to it.
func (w *walker) endsAll(handler caddyhttp.MiddlewareHandler) bool {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return slices.ContainsFunc(h.Routes, func(route caddyhttp.Route) bool {
			return len(route.MatcherSets) == 0 && route.Group == "" && slices.ContainsFunc(route.Handlers, w.endsAll)
		})
	case *reverseproxy.Handler:
		return len(h.HandleResponse) == 0
	case *fileserver.FileServer:
		return !h.PassThru
	case *caddyhttp.StaticResponse:
		return answers(h) != ""
	}
	return false
}

func mayMatch(sets caddyhttp.MatcherSets, path string) bool {
	return len(sets) == 0 || slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool {
		return !slices.ContainsFunc(set, func(matcher any) bool { return !mayTake(matcher, path) })
	})
}

// mayTake says whether a matcher may match a request for a path.
func mayTake(matcher any, path string) bool {
	switch m := matcher.(type) {
	case *caddyhttp.MatchPath:
		ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
		r := (&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}}).WithContext(ctx)
		matches, err := m.MatchWithError(r)
		return matches || err != nil || slices.ContainsFunc(*m, func(pattern string) bool { return strings.Contains(pattern, "{") })
	case *caddyhttp.MatchPathRE:
		re, err := regexp.Compile(m.Pattern)
		return err != nil || re.MatchString(path)
	}
	return true
}

// ownLines are the lines by which the handler's own addresses lie where it gets them;
// none if they do already, or if no such lines are known.
func (p place) ownLines() (lines []string) {
	prefix := cmp.Or(p.handler.Prefix, defaultPrefix)
	if !p.takesBelow(prefix) {
		if prefix = p.partPrefix(); prefix == "" {
			return nil
		}
		lines = append(lines, "`prefix "+prefix+"`")
	}
	if callback := p.handler.CallbackPath; callback != "" && !p.reachedBy(callback) {
		lines = append(lines, "`callback_path "+prefix+"/oidc/callback`")
	}
	return lines
}

// takesBelow says whether the handler gets its own addresses, if they have this prefix.
func (p place) takesBelow(prefix string) bool {
	return p.reachedBy(prefix+"/login") && p.reachedBy(prefix+"/oidc/callback") && p.reachedBy(prefix+"/saml/acs")
}

// partPrefix is a prefix below the path of the part that the handler guards, or one that
// no route before it takes.
func (p place) partPrefix() string {
	stripped := ""
	for _, s := range p.steps {
		stripped += s.strip
		for _, set := range s.sets {
			for _, matcher := range set {
				m, ok := matcher.(*caddyhttp.MatchPath)
				if !ok {
					continue
				}
				for _, pattern := range *m {
					base, all := strings.CutSuffix(pattern, "*")
					prefix := stripped + strings.TrimSuffix(base, "/") + defaultPrefix
					if all && !strings.ContainsAny(prefix, "*{%") && p.takesBelow(prefix) {
						return prefix
					}
				}
			}
		}
	}
	if p.takesBelow(freePrefix) {
		return freePrefix
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
	provider, protocol string
	metadata           string // the path of the metadata for a SAML provider
}

// addresses are those without which nobody can sign in at a handler.
func (a *App) addresses(h *Handler) []address {
	prefix := cmp.Or(h.Prefix, defaultPrefix)
	list := []address{{path: prefix + "/login"}}
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
			own.path, own.metadata = prefix+"/saml/acs", prefix+"/saml/metadata"+below
		} else {
			own.path = cmp.Or(h.CallbackPath, prefix+"/oidc/callback") + below
		}
	}
	return list
}

// A reach says which of a handler's own addresses it does not get.
type reach struct {
	unreached     []string // no path above it matches them
	taken, takers []string // the handlers in routes before it that get them, or some requests
	all           bool     // it gets none of its addresses, and nobody else answers there
	strange       bool     // another app answers
}

// reachOf finds the addresses at which no other handler of the host answers.
func (a *App) reachOf(p place, places []place) reach {
	r := reach{all: true}
	add := func(to *[]string, text string) {
		if !slices.Contains(*to, text) {
			*to = append(*to, text)
		}
	}
	for _, own := range a.addresses(p.handler) {
		reached, taker := p.way(own.path)
		r.all = r.all && !reached
		if reached && taker == "" {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(places), func(other place) bool {
			return !other.besides(p) || !slices.Contains(a.addresses(other.handler), own) || !other.reachedBy(own.path)
		})
		switch {
		case len(others) > 0:
			r.all = false
			r.strange = r.strange || !reached && !slices.ContainsFunc(others, func(other place) bool { return other.handler.config == p.handler.config })
		case taker == "":
			add(&r.unreached, own.path)
		default:
			add(&r.taken, own.path)
			add(&r.takers, "'"+taker+"'")
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
	paths, cause, fix := r.unreached, "the paths above it don't match them", "have the matchers above it take these paths, too"
	if r.unreached == nil && r.taken != nil {
		paths, cause = r.taken, strings.Join(r.takers, ", ")+" in a route before it takes them"
		fix = "have the matchers of that route leave out these paths"
	}
	if lines := p.ownLines(); lines != nil {
		fix = "write " + strings.Join(lines, " and ") + " in its block, and " + appLine + "; at the provider, the address registered there changes with it"
	}
	if r.unreached != nil || r.taken != nil && r.all {
		return fmt.Errorf("site %s: the 'sso' that is `nested` never gets requests for %s, because %s, and no other 'sso' of the host answers there: "+
			"nobody could sign in, and another handler would get the provider's answers, unspent codes among them: %s", p.handler.site, strings.Join(paths, ", "), cause, fix)
	}
	if r.taken != nil {
		a.warn("a handler in a route before the 'sso' that is `nested` takes requests for the addresses of that 'sso': people may be unable to sign in",
			zap.String("site", p.handler.site), zap.Strings("handlers", r.takers), zap.Strings("addresses", r.taken), zap.String("fix", fix))
	}
	a.warnOfAssets(p, places)
	if r.strange && p.handler.skipsChooser() {
		a.warn("a sign-in that begins at this 'sso' comes back to another one of the host, which has an audience of its own and refuses it (flow_unknown)",
			zap.String("site", p.handler.site), zap.String("fix", p.asPart()))
	}
	return nil
}

// warnOfAssets warns if style and scripts of a handler's pages are somebody else's to
// answer: the pages work without, but less well.
func (a *App) warnOfAssets(p place, places []place) {
	assets := cmp.Or(p.handler.Prefix, defaultPrefix) + "/assets/"
	answered := func(other place) bool {
		same := cmp.Or(other.handler.Prefix, defaultPrefix) == cmp.Or(p.handler.Prefix, defaultPrefix)
		return same && other.besides(p) && other.reachedBy(assets+"post.js")
	}
	if !p.reachedBy(assets+"post.js") && !slices.ContainsFunc(places, answered) {
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
