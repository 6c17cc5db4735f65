package connect

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A ticket of Proxmox VE is "PVE:<user>@<realm>:<time>::<signature>". The time is Unix
// seconds in eight hexadecimal digits. A colon in the user is escaped.
type ticket struct {
	text string
	user string // with its realm
	made time.Time
}

// maxTicket bounds a ticket, in bytes. One with a signature of 4096 bits has 800.
const maxTicket = 2048

// readTicket takes a ticket apart. It can't verify the signature: only nodes can.
func readTicket(text string) (ticket, bool) {
	plain, signature, signed := strings.Cut(text, "::")
	parts := strings.Split(plain, ":")
	if len(text) > maxTicket || !signed || len(parts) != 3 || parts[0] != "PVE" || len(parts[2]) != 8 || !isBase64(signature) {
		return ticket{}, false
	}
	user, err := url.PathUnescape(parts[1])
	seconds, wrong := strconv.ParseUint(parts[2], 16, 32)
	if err != nil || wrong != nil || !isUser(user) {
		return ticket{}, false
	}
	return ticket{text, user, time.Unix(int64(seconds), 0)}, true
}

// isUser says whether a text is the name of a user with its realm.
func isUser(text string) bool {
	at := strings.LastIndexByte(text, '@')
	return at > 0 && len(text) <= maxUser && !strings.ContainsFunc(text[:at], notUser) && isRealm(text[at+1:])
}

func notUser(c rune) bool { return c <= ' ' || c == 0x7f || unicode.IsSpace(c) || c == ':' || c == '/' }

// unsafe are characters that a node takes in a name, and should not. It decodes the names in
// tickets, so %61lice would be alice. It writes names as they are into the script of its page.
// In its file of users a comma or a semicolon ends a name, so the groups of "x,bob" would be
// bob's; an @ first makes a group of it, and an exclamation mark an API token.
const unsafe = `%'"\<>,;!` + "`"

// checkUser returns why a person can't be signed in under a name. text has the realm.
func checkUser(text string) error {
	name := text[:strings.LastIndexByte(text, '@')]
	at := strings.IndexFunc(name, func(c rune) bool { return notUser(c) || strings.ContainsRune(unsafe, c) })
	switch {
	case name == "":
		return errors.New("the name is empty")
	case name[0] == '@':
		return errors.New("a name has no @ first")
	case at >= 0:
		return fmt.Errorf("a name has no %q there", []rune(name[at:])[0])
	case len(text) > maxUser:
		return fmt.Errorf("it has %d bytes with the realm, and %d are the most", len(text), maxUser)
	}
	return nil
}

// isHalf says whether a user is that of a ticket that waits for a second factor.
func isHalf(user string) bool {
	return strings.HasPrefix(user, "!") || strings.HasPrefix(user, "tfa!") || strings.HasPrefix(user, "u2f!")
}

// So long may a user be with its realm, and a realm, in bytes.
const (
	maxUser  = 64
	maxRealm = 32
)

func isRealm(text string) bool {
	return len(text) > 1 && len(text) <= maxRealm && isLetter(rune(text[0])) && !strings.ContainsFunc(text, notNodeName)
}

// isGroup says whether a node knows a group by this name. It leaves others out in silence.
func isGroup(text string) bool { return text != "" && !strings.ContainsFunc(text, notNodeName) }

func notNodeName(c rune) bool {
	return !isLetter(c) && (c < '0' || c > '9') && !strings.ContainsRune("._-", c)
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// isBase64 says whether a text can go into a cookie as a signature.
func isBase64(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool { return !isLetter(c) && (c < '0' || c > '9') && !strings.ContainsRune("+/=", c) })
}
