package mapping

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SplitNames splits the app names of one line at commas ("Editor,Viewer"). Blanks and
// tabs around a name are removed, those inside are kept. The error joins all faults:
// an empty part, and names with characters that Compile refuses. A name that contains
// a comma must not come here.
func SplitNames(s string) ([]string, error) {
	var names []string
	var errs []error
	for part := range strings.SplitSeq(s, ",") {
		name := strings.Trim(part, " \t")
		for _, fault := range nameFaults(name) {
			errs = append(errs, fmt.Errorf("reading names %q: %s", s, fault))
		}
		names = append(names, name)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return names, nil
}

// nameFaults returns the faults of a name of either side, each with its fix.
func nameFaults(name string) []string {
	switch {
	case name == "":
		return []string{"a name is empty; write the name, or remove the stray comma or quotes"}
	case !utf8.ValidString(name):
		return []string{fmt.Sprintf("name %q is not valid UTF-8; save the configuration as UTF-8", name)}
	}
	var faults []string
	if strings.ContainsRune(name, utf8.RuneError) {
		// JSON and Caddyfile readers replace undecodable bytes by it, so a file in
		// Latin-1 shows up here and not above.
		faults = append(faults, fmt.Sprintf("name %q contains U+FFFD, which stands for lost bytes; save the configuration as UTF-8", name))
	}
	if strings.ContainsFunc(name, isControl) {
		faults = append(faults, fmt.Sprintf("name %q contains a control character or line break; remove it", name))
	}
	first, _ := utf8.DecodeRuneInString(name)
	last, _ := utf8.DecodeLastRuneInString(name)
	if isPadding(first) || isPadding(last) {
		faults = append(faults, fmt.Sprintf("name %q begins or ends with a blank or an invisible character; remove it", name))
	}
	return faults
}

// isControl also covers U+2028 and U+2029, which some readers of logs and headers
// treat as line ends.
func isControl(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// isPadding reports whether r is invisible at the start or end of a name. Joiners and
// marks are legitimate inside a name (Persian, Hebrew), so only the ends are checked.
func isPadding(r rune) bool {
	if isControl(r) {
		return false // has a fault of its own
	}
	return unicode.IsSpace(r) || strings.ContainsRune("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", r)
}

// quotedNames returns the first and the last name within quotes that a Caddyfile does
// not know, and which have become part of the names: 'Net Ops' is read as the two
// names «'Net» and «Ops'».
func quotedNames(names []string) (first, last string, found bool) {
	for i, name := range names {
		opening, size := utf8.DecodeRuneInString(name)
		closing, ok := map[rune]string{'\'': "'", '‘': "’", '“': "”"}[opening]
		if !ok {
			continue
		}
		if len(name) > size && strings.HasSuffix(name[size:], closing) {
			return name, name, true
		}
		for _, later := range names[i+1:] {
			if strings.HasSuffix(later, closing) {
				return name, later, true
			}
		}
	}
	return "", "", false
}
