package session_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

func TestCookieIsBoundToItsHost(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	s := openNode(t, store)
	cookie := signInAt(t, s, "alice")
	wantSession(t, s, cookie)
	for _, host := range []string{"", "other.example", "app.example.evil.example", "sub.app.example", "app.exampl", "APP.EXAMPLE", "app.example:8443", "app.example\x00"} {
		if f, err := s.Find(t.Context(), cookie, host); err == nil || f != (session.Session{}) {
			t.Errorf("the cookie opens a session at %q", host)
		}
	}
}

func newCookie(t *testing.T, s *session.Node) (bits, cookie string) {
	t.Helper()
	bits, cookie, err := s.Cookie(t.Context(), nodeHost)
	mustDo(t, err)
	return bits, cookie
}

func TestCookieHas256FreshBits(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	seen := map[string]bool{}
	var ones [256]int
	const rounds = 1000
	for range rounds {
		bits, cookie := newCookie(t, s)
		if len(bits) != 32 || len(cookie) != 86 || seen[bits] {
			t.Fatalf("%d bytes, %d characters, seen before: %v", len(bits), len(cookie), seen[bits])
		}
		seen[bits] = true
		if got, err := s.SessionBits(t.Context(), cookie, nodeHost); err != nil || got != bits {
			t.Fatal("the cookie does not open its bits")
		}
		for i := range ones {
			ones[i] += int(bits[i/8] >> (i % 8) & 1)
		}
	}
	for i, n := range ones { // ten standard deviations
		if n < rounds/2-160 || n > rounds/2+160 {
			t.Errorf("bit %d is set in %d of %d", i, n, rounds)
		}
	}
}

// malformed returns values that look like a good cookie and are none.
func malformed(good string) map[string]string {
	last := strings.Index(base64url, good[len(good)-1:])
	out := map[string]string{
		"empty":               "",
		"one short":           good[:len(good)-1],
		"one long":            good + "A",
		"padded":              good + "==",
		"padded in length":    good[:len(good)-2] + "==",
		"blank before":        " " + good,
		"blank after":         good + " ",
		"blank within":        good[:40] + " " + good[41:],
		"tab within":          good[:40] + "\t" + good[41:],
		"quoted":              `"` + good + `"`,
		"quoted in length":    `"` + good[1:len(good)-1] + `"`,
		"percent":             good[:40] + "%41" + good[43:],
		"NUL":                 good[:40] + "\x00" + good[41:],
		"not ASCII":           good[:40] + "é" + good[42:],
		"standard alphabet":   good[:40] + "+" + good[41:],
		"slash":               good[:40] + "/" + good[41:],
		"all A":               strings.Repeat("A", len(good)),
		"bits of nothing":     strings.Repeat("A", 43) + good[43:],
		"line breaks":         good[:len(good)-2] + "\r\n",
		"only line breaks":    strings.Repeat("\n", len(good)),
		"mostly line breaks":  strings.Repeat("\n", len(good)-8) + "AAAAAAAA",
		"half line breaks":    good[:43] + strings.Repeat("\r", len(good)-43),
		"other case":          strings.ToLower(good),
		"twice":               good + good,
		"MAC and bits turned": good[43:] + good[:43],
	}
	for _, bit := range []int{1, 2, 4, 8} { // which no byte of the value is made from
		out["trailing bit "+string(base64url[bit])] = good[:len(good)-1] + string(base64url[last^bit])
	}
	return out
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// A malformed cookie is no session, and costs no round trip to the store.
func TestCookieAttackMalformedIsNoSession(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	s := openNode(t, store)
	good := signInAt(t, s, "alice")
	_, foreign := newCookie(t, openNode(t, gatewaytest.NewMemStore()))
	wantSession(t, s, good)
	store.SetHook(gatewaytest.Faulty())
	wantFault(t, s, good) // the control: this one does
	wantNoSession(t, s, foreign)
	for name, value := range malformed(good) {
		if value == good {
			t.Errorf("%s: changes nothing", name)
		}
		if f, err := s.Find(t.Context(), value, nodeHost); err != session.ErrNone || f != (session.Session{}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range good { // any one character
		other := good[:i] + string(base64url[(strings.IndexByte(base64url, good[i])+1)%64]) + good[i+1:]
		wantNoSession(t, s, other)
	}
	if n, cookies, _ := s.Cached(); n != 1 || cookies != 1 {
		t.Errorf("%d logins and %d cookies are cached", n, cookies)
	}
}

// A cookie outlives the secret: it is bound to the store.
func TestCookieOutlivesTheSecret(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	bits, cookie := newCookie(t, openNode(t, store, "a"))
	_, err := openVault(t, store, "b", "a").ResealShared(t.Context())
	mustDo(t, err)
	if got, err := openNode(t, store, "b").SessionBits(t.Context(), cookie, nodeHost); err != nil || got != bits {
		t.Errorf("after a change of the secret: %v", err)
	}
	other := openNode(t, gatewaytest.NewMemStore(), "a")
	newCookie(t, other)
	if _, err := other.SessionBits(t.Context(), cookie, nodeHost); !errors.Is(err, session.ErrNone) {
		t.Errorf("in another store: %v", err)
	}
}

// Where nothing was ever made there is no session; where it can't be known
// there is a fault.
func TestCookieWithoutNameKey(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	_, cookie := newCookie(t, openNode(t, gatewaytest.NewMemStore()))
	wantNoSession(t, openNode(t, store), cookie)
	if keys := store.Keys(); len(keys) != 0 {
		t.Errorf("looking makes %q", keys)
	}
	store.SetHook(gatewaytest.Faulty("Get"))
	wantFault(t, openNode(t, store), cookie)
}

func FuzzSessionCookie(f *testing.F) {
	g := readGolden(f)
	s := open(f, session.Options{Store: g.store(f), Secrets: [][]byte{[]byte(g.Secret)}})
	bits, err := s.SessionBits(f.Context(), g.Cookie, nodeHost)
	if err != nil || len(bits) != 32 {
		f.Fatal("the good cookie opens nothing")
	}
	f.Add(g.Cookie, nodeHost)
	f.Add(strings.Repeat("\n", 86), nodeHost)
	f.Add(strings.Repeat("A", 86), "")
	for _, value := range malformed(g.Cookie) {
		f.Add(value, nodeHost)
	}
	f.Fuzz(func(t *testing.T, value, host string) {
		got, err := s.SessionBits(t.Context(), value, host)
		if want := value == g.Cookie && host == nodeHost; want != (got == bits) || want != (err == nil) || !want && got != "" {
			t.Errorf("%q opens something at %q: %v", value, host, err)
		}
	})
}
