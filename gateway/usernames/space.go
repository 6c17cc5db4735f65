// Package usernames keeps the people of several providers apart if one app sees them
// all.
//
// A Space is where the user names of one provider lie. A prefix or a suffix is added
// to the provider's name of a person. A domain adds nothing: the name must be an
// address in it. The zero Space is the main one, with names as they are.
//
// Divide returns the People of each of a site's providers. Providers of the same
// people share one space. A name that falls into another provider's space is refused.
//
// # Comparison
//
// Whether a name falls into another provider's space is decided generously, because
// an app may treat different octets as the same name. Case, compatibility forms
// (Unicode NFKC: "ｐ" is "p"), accents, blanks, invisible characters, the kind of a
// dash, and dots at the end of a domain make no difference. Letters of other scripts
// that only look alike are different letters.
//
// Whether a name or an e-mail lies in the provider's own domain is decided strictly.
// Only the case of ASCII letters is ignored, and a domain in Unicode is its ASCII
// form (IDNA 2008: "bücher.example" is "xn--bcher-kva.example"). A subdomain is
// another domain.
package usernames

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A Space is where the user names of a provider lie. At most one of its fields is
// set.
type Space struct {
	// Prefix is put before the provider's user names: with "partner-", alice becomes
	// partner-alice.
	Prefix string `json:"prefix,omitempty"`

	// Suffix is put behind the provider's user names: with "@partner", alice becomes
	// alice@partner.
	Suffix string `json:"suffix,omitempty"`

	// Domain is the domain, without the @, in which the provider's user names are
	// addresses. Nothing is added; a person with another user name is refused.
	Domain string `json:"domain,omitempty"`
}

// ErrOutside means that a user name is no address in the space's domain.
var ErrOutside = errors.New("the user name is no address in the provider's domain")

// maxText bounds the text of a space, in bytes.
const maxText = 100

// Check refuses a space that could not keep names apart. Only printable ASCII is
// allowed: every app reads it the same.
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

// CheckDomain refuses text that is no domain name.
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

// Name returns a user name of the provider in its space.
func (s Space) Name(username string) (string, error) {
	if s.Domain != "" && (!inDomain(username, s.Domain) || strings.Count(alike(username, sharp[0]), "@") != 1) {
		return "", fmt.Errorf("%w: %s", ErrOutside, s)
	}
	return s.Prefix + username + s.Suffix, nil
}

// inDomain reports whether address lies in domain, strictly.
func inDomain(address, domain string) bool {
	local, of, found := strings.Cut(address, "@")
	if !found || strings.TrimSpace(local) == "" {
		return false
	}
	of, ok := asciiDomain(of)
	want, valid := asciiDomain(domain)
	return ok && valid && of == want
}

// asciiDomain returns the form of a domain that is compared. A domain that is not
// valid in Unicode has none: nothing is mapped, such as full width or capital
// letters.
func asciiDomain(domain string) (ascii string, ok bool) {
	domain = lowerASCII(domain)
	if strings.IndexFunc(domain, func(r rune) bool { return r >= 0x80 }) < 0 {
		return domain, true
	}
	ascii, err := idna.Registration.ToASCII(domain)
	return ascii, err == nil
}

// inASCII returns the space with its domain in the form that is compared.
func (s Space) inASCII() Space {
	if ascii, ok := asciiDomain(s.Domain); ok {
		s.Domain = ascii
	}
	return s
}

// Holds reports whether some app may see a name as one of the space. The main space
// holds nothing.
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

// sharp has the letters that apps read ß as: most as ss, some databases as s (MySQL's
// utf8mb4_general_ci). One app does one or the other, not both.
var sharp = []string{"ss", "s"}

// meets reports whether one of two spaces lies within the other.
func (s Space) meets(other Space) bool { return s.Holds(other.sample()) || other.Holds(s.sample()) }

// sample returns a name of the space whose own part occurs in no other space.
func (s Space) sample() string {
	if s.Domain != "" {
		return "\ufffd@" + s.Domain
	}
	return s.Prefix + "\ufffd" + s.Suffix
}

// String returns the option that sets the space, for messages.
func (s Space) String() string { return fmt.Sprint(s.option()) }

// option returns the option that sets the space, for errors.
func (s Space) option() any {
	for _, part := range [][2]string{{"prefix", s.Prefix}, {"suffix", s.Suffix}, {"domain", s.Domain}} {
		if part[1] != "" {
			return wording.Option{Word: "users", Args: part[0] + " " + part[1]}
		}
	}
	return wording.Choice{Caddyfile: "no `users`", Other: "none"}
}

// alike returns one form for all names that an app may see as the same. It works rune
// by rune on the decomposed name. So if a name begins with an ASCII prefix, its form
// begins with the prefix's form. eszett is one of sharp.
func alike(name, eszett string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(name) {
		switch {
		case unicode.In(r, unicode.M, unicode.C, unicode.Z), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
		case r == 'ß' || r == 'ẞ':
			b.WriteString(eszett)
		case r == '。':
			b.WriteByte('.') // as in IDNA (UTS 46)
		case unicode.Is(unicode.Pd, r) || r == '−' || r == '⁃': // the last two, a minus sign and a bullet, look like dashes
			b.WriteByte('-')
		case r == '\u2800' || r == '\ufffc': // invisible
		case strokes[unicode.ToLower(r)] != "":
			b.WriteString(strokes[unicode.ToLower(r)])
		default:
			// Both ways: ı has no lower case but i's upper case, ſ likewise.
			b.WriteRune(unicode.ToLower(unicode.ToUpper(r)))
		}
	}
	return b.String()
}

// inUnicode decodes the domain of a name (in the form of alike) to what a person
// reads: without xn--.
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

// strokes are Latin letters that Unicode does not decompose, but that collations of
// databases equate with others (DUCET).
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

// Visible reports whether a character can distinguish user names on a page. U+2800 is
// the empty Braille pattern.
func Visible(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.IsSpace(r) && r != '\u2800' &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
