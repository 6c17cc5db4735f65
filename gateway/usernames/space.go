// Package usernames keeps the people of several providers apart where one app
// sees them all.
//
// A Space says where the user names of one provider lie. A prefix or a suffix is
// added to the name that the provider says. A domain adds nothing: the name must
// be an address in it. The zero Space is the main one, with names as they are.
//
// Divide makes of a site's providers the People of each. Providers that are the
// same people share one space. No name of one space is a name of another: a name
// that falls into another provider's space is refused.
//
// # What is compared
//
// Whether a name falls into another provider's space is judged generously, for
// an app may take names for equal that differ in octets. Case, compatibility
// forms (Unicode NFKC: "ｐ" is "p"), accents, blanks, invisible characters and
// the kind of a dash make no difference, nor do dots at the end of a domain.
// Letters of other scripts that only look alike are different letters.
//
// Whether a name is one of the provider's own domain, and whether an e-mail is,
// is judged strictly: the domain is the configured one, but for the case of
// ASCII letters, and that a name in Unicode is its ASCII form (IDNA 2008:
// "bücher.example" is "xn--bcher-kva.example"). A subdomain is another domain.
package usernames

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// A Space says where the user names of a provider lie: at most one of its fields
// is set.
type Space struct {
	// What is put before the provider's user names: with "partner-" its alice is
	// partner-alice.
	Prefix string `json:"prefix,omitempty"`

	// What is put behind the provider's user names: with "@partner" its alice is
	// alice@partner.
	Suffix string `json:"suffix,omitempty"`

	// The domain that the provider's user names are addresses in, without the @.
	// Nothing is added; somebody with another user name is refused.
	Domain string `json:"domain,omitempty"`
}

// ErrOutside is a user name that is no address in the space's domain.
var ErrOutside = errors.New("the user name is no address in the provider's domain")

// maxText bounds the text of a space, in bytes.
const maxText = 100

// Check refuses a space that could not keep names apart. Only printable ASCII
// is taken: it reads the same to every app.
func (s Space) Check() error {
	given := 0
	for _, text := range []string{s.Prefix, s.Suffix, s.Domain} {
		if text != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return errors.New("expected a prefix, a suffix or a domain, and only one of them")
	case s.Domain != "":
		return CheckDomain(s.Domain)
	}
	return checkText(s.Prefix + s.Suffix)
}

func checkText(text string) error {
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`%,{}"`, r) }
	if len(text) > maxText || strings.ContainsFunc(text, odd) {
		return fmt.Errorf("%q can't keep user names apart: expected at most %d printable ASCII characters without blanks, commas, quotes, braces and percent signs", text, maxText)
	}
	return nil
}

// CheckDomain refuses what is no domain name.
func CheckDomain(domain string) error {
	fault := fmt.Errorf("%q is no domain: expected a name such as partner.example, without @ and *, in its ASCII form (xn--…) or in small letters", domain)
	ascii, ok := asciiDomain(domain)
	if !ok || len(ascii) > 253 {
		return fault
	}
	for label := range strings.SplitSeq(ascii, ".") {
		odd := func(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') }
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.ContainsFunc(label, odd) {
			return fault
		}
	}
	return nil
}

// Name returns a user name of the provider as it is called in its space.
func (s Space) Name(username string) (string, error) {
	if s.Domain != "" && (!inDomain(username, s.Domain) || strings.Count(alike(username, sharp[0]), "@") != 1) {
		return "", fmt.Errorf("%w: %s", ErrOutside, s)
	}
	return s.Prefix + username + s.Suffix, nil
}

// inDomain says whether an address is one of a domain, strictly.
func inDomain(address, domain string) bool {
	local, of, found := strings.Cut(address, "@")
	if !found || strings.TrimSpace(local) == "" {
		return false
	}
	of, ok := asciiDomain(of)
	want, valid := asciiDomain(domain)
	return ok && valid && of == want
}

// asciiDomain returns the one form of a domain that is compared. Only what is
// valid in Unicode has one: nothing is mapped, such as full width or capital letters.
func asciiDomain(domain string) (ascii string, ok bool) {
	domain = lowerASCII(domain)
	if strings.IndexFunc(domain, func(r rune) bool { return r >= 0x80 }) < 0 {
		return domain, true
	}
	ascii, err := idna.Registration.ToASCII(domain)
	return ascii, err == nil
}

// inASCII is the space with its domain in the form that is compared.
func (s Space) inASCII() Space {
	if ascii, ok := asciiDomain(s.Domain); ok {
		s.Domain = ascii
	}
	return s
}

// Holds says whether some app may take a name for one of the space. The main
// space holds nothing.
func (s Space) Holds(name string) bool {
	return slices.ContainsFunc(sharp, func(eszett string) bool { return s.holds(name, eszett) })
}

func (s Space) holds(name, eszett string) bool {
	name = alike(name, eszett)
	switch {
	case s.Prefix != "":
		return strings.HasPrefix(name, alike(s.Prefix, eszett))
	case s.Suffix != "":
		suffix := alike(s.Suffix, eszett)
		host := strings.TrimRight(name, ".") // as the name of a host
		return strings.HasSuffix(name, suffix) || strings.HasSuffix(host, suffix) || strings.HasSuffix(inUnicode(host, eszett), inUnicode(suffix, eszett))
	case s.Domain != "":
		_, domain, found := cutLast(inUnicode(name, eszett), "@")
		_, mine, _ := cutLast(inUnicode("@"+alike(s.Domain, eszett), eszett), "@")
		return found && strings.TrimRight(domain, ".") == mine
	}
	return false
}

// sharp is what apps take the letter ß for: most for ss, some databases for s
// (MySQL's utf8mb4_general_ci). One app does one or the other, not both.
var sharp = []string{"ss", "s"}

// meets says whether all names of one of two spaces lie in the other.
func (s Space) meets(other Space) bool { return s.Holds(other.sample()) || other.Holds(s.sample()) }

// sample is a name of the space whose own part is in no other space's text.
func (s Space) sample() string {
	if s.Domain != "" {
		return "\ufffd@" + s.Domain
	}
	return s.Prefix + "\ufffd" + s.Suffix
}

// String is the option that sets the space, as messages have it.
func (s Space) String() string {
	switch {
	case s.Prefix != "":
		return "`users prefix " + s.Prefix + "`"
	case s.Suffix != "":
		return "`users suffix " + s.Suffix + "`"
	case s.Domain != "":
		return "`users domain " + s.Domain + "`"
	}
	return "no `users`"
}

// alike returns a form that is the same for names that an app may take for one.
// It works rune by rune on the decomposed name, so that the form of a prefix of
// ASCII begins that of every name with the prefix. eszett is one of sharp.
func alike(name, eszett string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(name) {
		switch {
		case unicode.In(r, unicode.M, unicode.C, unicode.Z), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
		case r == 'ß' || r == 'ẞ':
			b.WriteString(eszett)
		case r == '。':
			b.WriteByte('.') // IDNA (UTS 46) reads it so
		case unicode.Is(unicode.Pd, r) || r == '−' || r == '⁃': // a minus sign and a bullet look like one
			b.WriteByte('-')
		case r == '\u2800' || r == '\ufffc': // look like nothing
		case strokes[unicode.ToLower(r)] != "":
			b.WriteString(strokes[unicode.ToLower(r)])
		default:
			// Both ways: ı has no lower case but i's upper case, ſ likewise.
			b.WriteRune(unicode.ToLower(unicode.ToUpper(r)))
		}
	}
	return b.String()
}

// inUnicode reads the domain of a name, which is in the form of alike, as a person
// does: without xn--.
func inUnicode(name, eszett string) string {
	local, domain, found := cutLast(name, "@")
	if !found || !strings.Contains(domain, "xn--") {
		return name
	}
	labels := strings.Split(domain, ".")
	for i, label := range labels {
		if text, err := idna.Punycode.ToUnicode(label); err == nil {
			labels[i] = alike(text, eszett)
		}
	}
	return local + "@" + strings.Join(labels, ".")
}

// strokes are Latin letters that Unicode does not decompose, though collations of
// databases take them for others (DUCET).
var strokes = map[rune]string{
	'ø': "o", 'ł': "l", 'đ': "d", 'ð': "d", 'ħ': "h", 'ŧ': "t", 'ƀ': "b", 'ɨ': "i", 'ƶ': "z", 'ǥ': "g", 'æ': "ae", 'œ': "oe", 'þ': "th",
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Visible says whether a character can tell one user name from another on a page.
// U+2800 is the empty one of the Braille patterns.
func Visible(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.IsSpace(r) && r != '\u2800' &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
