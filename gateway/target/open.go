package target

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// Open holds the paths of a site that need no login, by its options `public` and
// `protect`. A path that may be read as another one is never open by `public`, and
// never open at all if that other one is protected. nil: no path is open.
type Open struct {
	public  patterns
	protect *protected // nil: every path that is not public
}

// NewOpen returns the Open of the patterns of `public` and `protect`: exact paths,
// and prefixes that end in "/*". It returns nil without patterns. Its error names
// every fault.
func NewOpen(public, protect []string) (*Open, error) {
	o := new(Open)
	var errs []error
	add := func(option string, patterns []string, into func(bare string, prefix bool)) {
		for _, p := range patterns {
			bare, prefix := strings.CutSuffix(p, "/*")
			whole := bare
			if prefix {
				whole += "/"
			}
			if fault := oddity(whole); fault != "" || strings.Contains(bare, "*") {
				if fault == "" || fault == notAPath {
					fault = "expected one path, such as /healthz, or all paths below one, such as /static/*"
				} else {
					fault = "expected a path that every server reads the same way, without " + fault
				}
				errs = append(errs, fmt.Errorf("%s: path pattern %q: %s", option, p, fault))
				continue
			}
			into(bare, prefix)
		}
	}
	add("public", public, o.public.add)
	if len(protect) > 0 {
		o.protect = newProtected(forms)
		add("protect", protect, o.protect.add)
	}
	if len(errs) == 0 {
		errs = append(errs, o.checkUse(public, protect))
	}
	if len(public)+len(protect) == 0 {
		return nil, nil
	}
	return o, errors.Join(errs...)
}

// checkUse refuses patterns that leave nothing to guard.
func (o *Open) checkUse(public, protect []string) error {
	const advice = "so `sso` has nothing to guard here and identifies nobody: leave it out at this site"
	if slices.Contains(public, "/*") {
		return wording.Aboutf("public", "/* is every path, %s; or name the paths that need no login", advice)
	}
	for _, p := range protect {
		if bare, prefix := strings.CutSuffix(p, "/*"); !o.public.has(bare, prefix) {
			return nil
		}
	}
	if len(protect) > 0 {
		return wording.Aboutf("public", "it has every path that %s names, %s; or remove some of the public paths", wording.Option{Word: "protect"}, advice)
	}
	return nil
}

// Has reports whether a raw path is open. With below, all paths below it must be
// open, too, for methods that reach there.
func (o *Open) Has(path string, below bool) bool {
	switch {
	case !Plain(path):
		return false
	case o.protect == nil:
		return o.public.has(path, below)
	}
	return !o.protect.has(path, below, o.public)
}

// HasRest reports whether a request is open whose path was rewritten before, from
// original to current: neither may be protected. A public pattern counts only if
// current is the rest of original without its first names. The pattern may include
// these names or not.
func (o *Open) HasRest(original, current string, below bool) bool {
	public := o.public
	if !strings.HasSuffix(original, current) {
		public = patterns{}
	}
	switch {
	case !Plain(original) || !Plain(current):
		return false
	case o.protect == nil:
		return public.has(original, below) || public.has(current, below)
	}
	return !o.protect.has(original, below, public) && !o.protect.has(current, below, public)
}

// maxDestination bounds a Destination in bytes.
const maxDestination = 8 << 10

// HasDestination is HasRest for a path in a Destination header. The app may read it
// without any of its first names, so no suffix of it may be protected.
func (o *Open) HasDestination(original, current string, below bool) bool {
	return len(original) <= maxDestination && o.HasRest(original, current, below) &&
		(o.protect == nil || !o.protect.hasFrom(true, original, below, o.public))
}

// strange reports whether some servers open another file by a plain path than it
// names, or show it in another way: ASP.NET without cookies, short names, streams,
// and dots at the end of a name.
func strange(path string) bool {
	for name := range strings.SplitSeq(path[1:], "/") {
		if name != "" && (isShort(name) || strings.Contains(name, ":$") || strings.Contains(name, "::") || name[len(name)-1] == '.' ||
			len(name) > 2 && name[0] == '(' && name[2] == '(' || joinsNames(name)) {
			return true
		}
	}
	return false
}

// patterns match paths as written.
type patterns struct {
	exact    []string
	prefixes []string // with the slash at the end, without the star
}

func (s *patterns) add(bare string, prefix bool) {
	if prefix {
		s.prefixes = append(s.prefixes, bare+"/")
	} else {
		s.exact = append(s.exact, bare)
	}
}

// has reports whether a path, and with below all paths below it, is in the set.
func (s *patterns) has(path string, below bool) bool {
	if below {
		path = strings.TrimSuffix(path, "/") + "/"
	} else if slices.Contains(s.exact, path) {
		return true
	}
	return slices.ContainsFunc(s.prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) && !strange(path)
}
