package caddymodule

import (
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// fixesPath says whether the path is the configuration's once a rewrite is done.
func fixesPath(r *rewrite.Rewrite, p progress) bool {
	fixed := p.fixed
	if path, _, _ := strings.Cut(r.URI, "?"); path != "" {
		if p.matched {
			path = fileMatch.ReplaceAllString(path, "")
		}
		fixed = !fromClient(path)
	}
	for _, s := range r.URISubstring {
		fixed = fixed && !fromClient(s.Find+s.Replace)
	}
	for _, s := range r.PathRegexp {
		fixed = fixed && !fromClient(s.Replace)
	}
	return fixed && !fromClient(r.StripPathPrefix+r.StripPathSuffix)
}

var (
	fileMatch    = regexp.MustCompile(`\{http\.matchers\.file\.(relative|type)\}`)
	ownWords     = regexp.MustCompile(`\{(http\.error\.(status_code|status_text|id|sso\.code)|env\.[^{}]*|system\.[^{}]*)\}`)
	ofHost       = regexp.MustCompile(`\{http\.request\.host(\.labels\.\d+)?\}`)
	ofFileSystem = regexp.MustCompile(`\bfile\b`)
)

// fromClient says whether a text with placeholders may hold what a client sent.
// Only placeholders that are known to be the server's own can't.
func fromClient(s string) bool { return strings.Contains(ownWords.ReplaceAllString(s, ""), "{") }

// A chosen says what the client chooses of the place of files.
type chosen struct{ root, fs bool }

func (c chosen) or(d chosen) chosen { return chosen{c.root || d.root, c.fs || d.fs} }

// after is c once variables are set (the directives root, fs and vars). A host that
// matched is the configuration's. A variable whose name has a placeholder can be either.
func (c chosen) after(vars caddyhttp.VarsMiddleware) chosen {
	for name, value := range vars {
		text, _ := value.(string)
		byClient := fromClient(ofHost.ReplaceAllString(text, ""))
		switch {
		case name == "root":
			c.root = byClient
		case name == "fs":
			c.fs = byClient
		}
	}
	for name, value := range vars { // in which order these are set is not known
		if text, _ := value.(string); strings.Contains(name, "{") && fromClient(name+text) {
			return chosen{true, true}
		}
	}
	return c
}

// sets notes which variables a handler sets. Those of the main routes stay for the
// routes of an error.
func (f *follower) sets(vars caddyhttp.VarsMiddleware, p progress) progress {
	p.place = p.place.after(vars)
	if f.where == "" && !p.guarded {
		f.place = f.place.or(p.place)
	}
	return p
}

// choosesFiles says whether the client has a say in which file is served of a path
// that is the configuration's.
func choosesFiles(h *fileserver.FileServer, place chosen) bool {
	texts := slices.Concat([]string{h.Root, h.FileSystem, string(h.StatusCode)}, h.Hide, h.IndexNames, h.PrecompressedOrder)
	if h.Browse != nil {
		texts = append(texts, h.Browse.TemplateFile)
	}
	return slices.ContainsFunc(texts, func(s string) bool { return byClient(s, place) })
}

// byClient is fromClient for a text that may name the place of files.
func byClient(s string, place chosen) bool {
	s = strings.NewReplacer("{http.vars.root}", "", "{http.vars.fs}", "").Replace(s)
	return place != chosen{} || fromClient(s)
}

// servesFiles judges a file server: it is harmless if the client does not choose
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

// reads judges a handler by which a client may read more than the page of an error.
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
			before = len(m.TryFiles) > 0 && !slices.ContainsFunc(m.TryFiles, fromClient) && !byClient(m.Root+m.FileSystem, place)
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
