package target

import (
	"slices"
	"strings"
)

// protected matches paths as any back end may read them (see form).
type protected struct {
	list []protectedPath

	whole, reads                                  []func(string) string
	same                                          []func(name, protected string) bool
	anything, skip, leads, precedes, file, behind predicates
}

type predicates []func(name string) bool

func (p predicates) any(name string) bool {
	return slices.ContainsFunc(p, func(is func(string) bool) bool { return is(name) })
}

func newProtected(forms []form) *protected {
	s := new(protected)
	for _, f := range forms {
		s.whole = appendSet(s.whole, f.whole)
		s.reads = appendSet(s.reads, f.reads)
		s.same = appendSet(s.same, f.same)
		s.anything = appendSet(s.anything, f.anything)
		s.skip = appendSet(s.skip, f.skip)
		s.leads = appendSet(s.leads, f.leads)
		s.precedes = appendSet(s.precedes, f.precedes)
		s.file = appendSet(s.file, f.file)
		s.behind = appendSet(s.behind, f.behind)
	}
	return s
}

// A protectedPath is one pattern.
type protectedPath struct {
	names []string // in lower case
	all   bool     // all paths below, too
}

func (s *protected) add(bare string, prefix bool) {
	names := namesOf(strings.ToLower(bare))
	s.list = append(s.list, protectedPath{names, prefix})
	// A request for a directory gets its index page.
	if last := len(names) - 1; last >= 0 && isIndex(names[last]) && (names[last] == "index" || strings.Contains(names[last], ".")) {
		s.list = append(s.list, protectedPath{names[:last], false})
	}
}

func namesOf(path string) []string {
	if path = strings.Trim(path, "/"); path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// has reports whether a plain path may be read as a protected one; with below, also
// whether a protected path lies below it. Public paths don't count.
func (s *protected) has(path string, below bool, public patterns) bool {
	return s.hasFrom(false, path, below, public)
}

// hasFrom is has. With anywhere, the path may begin behind any of its names.
func (s *protected) hasFrom(anywhere bool, path string, below bool, public patterns) bool {
	read := path
	for _, whole := range s.whole {
		read = whole(read)
	}
	names := namesOf(read)
	if slices.ContainsFunc(names, s.anything.any) && !public.has(path, below) {
		return true
	}
	// For the app, the path may begin behind some of its first names.
	begins := true
	for i := range len(names) + 1 {
		if (begins || anywhere && i < len(names)) && s.isProtected(names[i:], below) && !public.has(path, below) {
			return true
		}
		if i < len(names) {
			begins = begins && (s.leads.any(names[i]) || s.skip.any(names[i])) || s.precedes.any(names[i]) && i < len(names)-1
			path = withoutFirst(path)
		}
	}
	return false
}

func withoutFirst(path string) string {
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[1+i:]
	}
	return "/"
}

func (s *protected) isProtected(names []string, below bool) bool {
	return slices.ContainsFunc(s.list, func(p protectedPath) bool { return s.read(names, p.names, p, below) })
}

// read reports whether names may be read as the rest (left) of a protected path or as
// a path below it; with below, also as a path above it.
func (s *protected) read(names, left []string, p protectedPath, below bool) bool {
	switch {
	case len(left) == 0 && (p.all || len(names) == 0):
		return true
	case len(names) == 0:
		return below
	case len(left) < len(p.names) && s.skip.any(names[0]) && s.read(names[1:], left, p, below):
		return true // hasFrom skips the first names
	case len(left) == 0:
		return s.behind.any(names[0])
	}
	same, file := s.isSame(names[0], left[0])
	// A file also serves the paths below it.
	return same && (file && len(left) == 1 || s.read(names[1:], left[1:], p, below))
}

// isSame reports whether a name may be read as a protected one, and whether that one
// is a file.
func (s *protected) isSame(name, protected string) (same, file bool) {
	for i := 0; ; i++ {
		if name == protected {
			return true, s.file.any(protected)
		}
		for _, is := range s.same {
			file = file || is(name, protected)
		}
		if i == len(s.reads) {
			return file, file
		}
		name = s.reads[i](name)
	}
}

func appendSet[F func(string) bool | func(string) string | func(string, string) bool](list []F, f F) []F {
	if f == nil {
		return list
	}
	return append(list, f)
}
