package target

import "strings"

// Forms names the ways to write a protected path so that some back end or other
// reads it all the same. docs/options.md has a row for each.
func Forms() []string {
	names := []string{notAPath, encoded, parameters, backslash, emptyName, dotSegment, foreign}
	for _, f := range forms {
		names = append(names, f.name)
	}
	return append(names, headerForms...)
}

// headerForms are judged by package gateway: headers by which a request names
// another path than its target, and methods that reach another one by themselves.
var headerForms = []string{"`Destination` and `If`", "`X-Original-URL` and its like", "methods that reach below a path", "methods whose body may name a path"}

// A form is one way in which a plain path can be read as a protected one. All
// names are in lower case, and so are the protected ones.
type form struct {
	name string
	// whole returns a path as a back end may read it.
	whole func(path string) string
	// reads returns a name as a back end may open it.
	reads func(name string) string
	// same says whether a name may be taken for a protected one.
	same func(name, protected string) bool
	// anything says whether a path with such a name may be read as any path.
	anything func(name string) bool
	// skip says whether a name may be left out.
	skip func(name string) bool
	// leads says whether the path may begin behind a name that it begins with.
	leads func(name string) bool
	// precedes says the same of a name wherever it stands.
	precedes func(name string) bool
	// file says whether a protected name is that of a file, which all below it asks.
	file func(protected string) bool
	// behind says whether a name may follow a path that is protected alone.
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

// withoutStream cuts off the stream of an NTFS file: "admin::$DATA".
func withoutStream(name string) string {
	name, _, _ = strings.Cut(name, ":")
	return name
}

// onlyDots says whether nothing is left of a name without what Windows leaves out at
// its end: dots, and blanks, which some write as plus signs.
func onlyDots(name string) bool { return strings.Trim(withoutStream(name), ".+") == "" }

// isShort says whether a name may be the short one (8.3) of another: "ADMINI~1",
// or "AD12AB~1.PHP" where there are several. The rest of the name says too little
// of the other.
func isShort(name string) bool {
	for i := 1; i < len(name)-1; i++ {
		if name[i] == '~' && name[i+1] >= '0' && name[i+1] <= '9' {
			return true
		}
	}
	return false
}

// lacksExtension says whether a name is a protected one without its extension, as
// a server may find by itself ("login" for "login.php").
func lacksExtension(name, protected string) bool {
	return len(protected) > len(name) && protected[len(name)] == '.' && strings.HasPrefix(protected, name) &&
		!strings.Contains(protected[len(name)+1:], ".")
}

// inParentheses says whether a name is what ASP.NET takes out of a path before it
// reads it: "(S(lit3py55t21z5v55vlm25s55))".
func inParentheses(name string) bool { return closing(name) == len(name)-1 }

// joinsNames says whether a name begins like that, but is not that alone: what is
// left joins what stands before, as in "/adm/(S(x))in" (CVE-2023-36899).
func joinsNames(name string) bool {
	return name[0] == '(' && strings.Contains(name, ")") && !inParentheses(name)
}

// closing returns where the parenthesis ends that a name begins with, or -1.
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

// isLanguage says whether a name may be a language tag (RFC 5646), with either
// sign between its parts: "en", "de-DE", "zh_Hans_CN", "es-419".
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

// isIndex says whether a name is that of a directory's own page, with an extension
// or without.
func isIndex(name string) bool {
	base, _, _ := strings.Cut(withoutStream(name), ".")
	switch strings.TrimRight(base, "+") {
	case "index", "default", "home":
		return true
	}
	return false
}
