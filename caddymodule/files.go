package caddymodule

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// fixesPath says whether the path is the configuration's once a rewrite is done.
func fixesPath(r *rewrite.Rewrite, p progress) bool {
	fixed := p.fixed
	if path, _, _ := strings.Cut(r.URI, "?"); path != "" {
		if p.matched {
			path = fileMatch.ReplaceAllString(path, "")
		}
		fixed = !p.place.says(path)
	}
	for _, s := range r.URISubstring {
		fixed = fixed && !p.place.says(s.Find+s.Replace)
	}
	for _, s := range r.PathRegexp {
		fixed = fixed && !p.place.says(s.Replace)
	}
	return fixed && !p.place.says(r.StripPathPrefix+r.StripPathSuffix)
}

var (
	fileMatch    = regexp.MustCompile(`\{http\.matchers\.file\.(relative|type)\}`)
	ownWords     = regexp.MustCompile(`\{(http\.error\.(status_code|status_text|id|sso\.code)|env\.[^{}]*|system\.[^{}]*)\}`)
	ofHost       = regexp.MustCompile(`\{http\.request\.host(\.labels\.\d+)?\}`)
	ofPlace      = regexp.MustCompile(`\{http\.vars\.(root|fs)\}`)
	ofFileSystem = regexp.MustCompile(`\bfile\b`)
)

// A chosen says what the client chooses.
type chosen struct {
	root, fs bool // the place of files
	host     bool // the name of the host, which no matcher holds to exact names
	words    bool // by a `map`, what would be the server's own
}

func (c chosen) or(d chosen) chosen {
	return chosen{c.root || d.root, c.fs || d.fs, c.host || d.host, c.words || d.words}
}

// says says whether a text with placeholders may hold what a client sent. Only
// placeholders that are known to be the server's own can't.
func (c chosen) says(s string) bool {
	if !c.words {
		s = ownWords.ReplaceAllString(s, "")
	}
	return strings.Contains(s, "{")
}

// saysAt is says for a text that may name the host. A host that matched an exact name
// is the configuration's; any other may be what the client likes, over HTTP/3 also a template.
func (c chosen) saysAt(s string) bool {
	if !c.host {
		s = ofHost.ReplaceAllString(s, "")
	}
	return c.says(s)
}

// finds is says for a text that may name the place of files.
func (c chosen) finds(s string) bool {
	return c.root || c.fs || c.says(ofPlace.ReplaceAllString(s, ""))
}

// after is c once variables are set (the directives root, fs and vars). A variable whose
// name has a placeholder can be either.
func (c chosen) after(vars caddyhttp.VarsMiddleware) chosen {
	d := c
	for name, value := range vars {
		text, _ := value.(string)
		switch name {
		case "root":
			d.root = c.saysAt(text)
		case "fs":
			d.fs = c.saysAt(text)
		}
	}
	for name, value := range vars { // in which order these are set is not known
		if text, _ := value.(string); strings.Contains(name, "{") && c.says(name+text) {
			d.root, d.fs = true, true
		}
	}
	return d
}

// mapped is c once a map has its destinations: they stand in for what has no value.
func (c chosen) mapped(m *maphandler.Handler) chosen {
	c.words = c.words || slices.ContainsFunc(m.Destinations, func(name string) bool { return ownWords.MatchString("{" + name + "}") })
	return c
}

// namesHost says whether a handler of headers gives the host another name.
func namesHost(h *headers.Handler) bool {
	if h.Request == nil {
		return false
	}
	names := slices.Concat(slices.Collect(maps.Keys(h.Request.Add)), slices.Collect(maps.Keys(h.Request.Set)), slices.Collect(maps.Keys(h.Request.Replace)))
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, "Host") || strings.ContainsAny(name, "{*") })
}

// keeps notes which settings the client chooses from now on. Those that it chose in the
// main routes stay for the routes of an error, in which the host is matched anew. Behind
// sso only people who are let in choose the place of files.
func (f *follower) keeps(place chosen, p progress) progress {
	if f.where == "" {
		f.place = f.place.or(chosen{place.root && !p.guarded, place.fs && !p.guarded, place.host && !p.place.host, place.words})
	}
	p.place = place
	return p
}

// choosesFiles says whether the client has a say in which file is served of a path
// that is the configuration's.
func choosesFiles(h *fileserver.FileServer, place chosen) bool {
	texts := slices.Concat([]string{h.Root, h.FileSystem, string(h.StatusCode)}, h.Hide, h.IndexNames, h.PrecompressedOrder)
	if h.Browse != nil {
		texts = append(texts, h.Browse.TemplateFile)
	}
	return slices.ContainsFunc(texts, place.finds)
}

// servesFiles checks a file server: it is harmless if the client does not choose
// the file.
func (f *follower) servesFiles(h *fileserver.FileServer, p progress) {
	const advice = "`rewrite * /{err.status_code}.html`"
	switch {
	case p.fixed && choosesFiles(h, p.place):
		f.reads("file_server", "has a placeholder in its settings, or in those of `root` or `fs`, by which a client chooses the file", "write there what does not come from the request", p)
	case p.fixed:
	case p.changed:
		f.reads("file_server", "serves any file that a client asks for, in spite of the `rewrite` or `try_files` before it", "let that be "+advice+", and hold for all requests", p)
	default:
		f.reads("file_server", "serves any file that a client asks for, for errors can come before 'sso' is asked", "write the line "+advice+" before it", p)
	}
}

// reads checks a handler by which a client may read more than the page of an error.
func (f *follower) reads(name, what, fix string, p progress) {
	switch {
	case f.where == "" || p.guarded:
	case p.stripped:
		f.opened(name)
	default:
		f.fault("'%s' in %s %s: %s; or write the line `sso_strip` before '%[1]s', if everybody may read all of its files", name, f.where, what, fix)
	}
}

// filesIn says whether the placeholders of the file matcher are the
// configuration's after a set of matchers, if they were so before.
func filesIn(set caddyhttp.MatcherSet, place chosen, before bool) bool {
	for _, matcher := range set {
		switch m := matcher.(type) {
		case *fileserver.MatchFile:
			before = len(m.TryFiles) > 0 && !slices.ContainsFunc(m.TryFiles, place.says) && !place.finds(m.Root+m.FileSystem)
		case *caddyhttp.MatchNot:
			for _, inner := range m.MatcherSets {
				before = filesIn(inner, place, before) && before // what did not match has set nothing
			}
		case *caddyhttp.MatchExpression:
			before = before && !ofFileSystem.MatchString(m.Expr)
		}
	}
	return before
}
