package target

import "strings"

// Forms names the ways to write a protected path so that some back end still reads it
// as that path. docs/protect.md has a row for each.
func Forms() []string {
	names := []string{notAPath, encoded, parameters, backslash, emptyName, dotSegment, foreign}
	for _, f := range forms {
		names = append(names, f.name)
	}
	return append(names, headerForms...)
}

// headerForms are recognized by package public: headers by which a request names
// another path than its target, and methods that reach another path by themselves.
var headerForms = []string{"`Destination` and `If`", "`X-Original-URL` and its like", "methods that reach below a path", "methods whose body may name a path"}

// A form is one way to read a plain path as a protected one. All names are in lower
// case.
type form struct {
	name string
	// whole returns a path as a back end may read it.
	whole func(path string) string
	// reads returns a name as a back end may read it.
	reads func(name string) string
	// same reports whether a back end may read a name as a protected one.
	same func(name, protected string) bool
	// anything reports whether a path with this name may be read as any path.
	anything func(name string) bool
	// skip reports whether a back end may leave out a name.
	skip func(name string) bool
	// leads reports whether the path may begin behind a first name.
	leads func(name string) bool
	// precedes reports the same of a name anywhere in the path.
	precedes func(name string) bool
	// file reports whether a protected name is a file, which also serves all paths
	// below it.
	file func(protected string) bool
	// behind reports whether a name may follow a path that is protected without those
	// below it.
	behind func(name string) bool
}

var forms = []form{
	{name: "case", whole: strings.ToLower},
	{name: "streams", reads: withoutStream},
	{name: "dots and plus signs at the end of a name", reads: func(name string) string { return strings.TrimRight(name, ".+") }, skip: onlyDots},
	{name: "short names of Windows", same: func(name, _ string) bool { return isShort(name) }, behind: isShort},
	{name: "an added extension", same: func(name, protected string) bool {
		rest, ok := strings.CutPrefix(name, protected)
		return ok && strings.HasPrefix(strings.TrimLeft(rest, "+"), ".")
	}},
	{name: "a missing extension", same: lacksExtension},
	{name: "a path behind a file", file: func(protected string) bool { return strings.Contains(protected, ".") }},
	{name: "names in parentheses", skip: inParentheses, anything: joinsNames},
	{name: "a file name before it", precedes: func(name string) bool { return name == "index" || strings.Contains(name, ".") }},
	{name: "a language before it", leads: isLanguage},
	{name: "the index of a directory", behind: isIndex},
}

// withoutStream removes the stream of an NTFS file: "admin::$DATA".
func withoutStream(name string) string {
	name, _, _ = strings.Cut(name, ":")
	return name
}

// onlyDots reports whether a name is empty after Windows has removed dots and blanks
// at its end. Some clients write blanks as plus signs.
func onlyDots(name string) bool { return strings.Trim(withoutStream(name), ".+") == "" }

// isShort reports whether a name may be the short one (8.3) of another: "ADMINI~1",
// or "AD12AB~1.PHP" if there are several. The rest of it says too little about the
// long name.
func isShort(name string) bool {
	for i := 1; i < len(name)-1; i++ {
		if name[i] == '~' && name[i+1] >= '0' && name[i+1] <= '9' {
			return true
		}
	}
	return false
}

// lacksExtension reports whether a name is a protected one without its extension,
// which a server may add by itself ("login" for "login.php").
func lacksExtension(name, protected string) bool {
	return len(protected) > len(name) && protected[len(name)] == '.' && strings.HasPrefix(protected, name) &&
		!strings.Contains(protected[len(name)+1:], ".")
}

// inParentheses reports whether ASP.NET removes the name from a path before it reads
// the path: "(S(lit3py55t21z5v55vlm25s55))".
func inParentheses(name string) bool { return closing(name) == len(name)-1 }

// joinsNames reports whether a name only begins like that. ASP.NET joins the rest to
// the name before, as in "/adm/(S(x))in" (CVE-2023-36899).
func joinsNames(name string) bool {
	return name[0] == '(' && strings.Contains(name, ")") && !inParentheses(name)
}

// closing returns the index at which the parenthesis at the start of name closes, or
// -1.
func closing(name string) int {
	if name[0] != '(' {
		return -1
	}
	depth := 0
	for i := range len(name) {
		switch name[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// isLanguage reports whether a name may be a language tag (RFC 5646), with either
// separator: "en", "de-DE", "zh_Hans_CN", "es-419".
func isLanguage(name string) bool {
	first, rest, more := strings.Cut(strings.ReplaceAll(name, "_", "-"), "-")
	if len(first) < 2 || len(first) > 3 || strings.Trim(first, letters) != "" {
		return false
	}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, "-")
		if len(part) < 2 || len(part) > 8 || strings.Trim(part, letters+"0123456789") != "" {
			return false
		}
	}
	return true
}

const letters = "abcdefghijklmnopqrstuvwxyz"

// isIndex reports whether a name is a directory's index page, with or without an
// extension.
func isIndex(name string) bool {
	base, _, _ := strings.Cut(withoutStream(name), ".")
	switch strings.TrimRight(base, "+") {
	case "index", "default", "home":
		return true
	}
	return false
}
