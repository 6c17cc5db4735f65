package gateway_test

import (
	"errors"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

func TestCookieIsBoundToItsHost(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	s := openNode(t, store)
	cookie := signInAt(t, s, "alice")
	wantSession(t, s, cookie)
	for _, host := range []string{"", "other.example", "app.example.evil.example", "sub.app.example", "app.exampl", "APP.EXAMPLE", "app.example:8443", "app.example\x00"} {
		if f, err := s.Find(t.Context(), cookie, host); err == nil || f != (gateway.Found{}) {
			t.Errorf("the cookie opens a session at %q", host)
		}
	}
}

func newCookie(t *testing.T, s *gateway.Sessions) (bits, cookie string) {
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

func TestCookieAttackMalformedIsNoSession(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	good := signInAt(t, s, "alice")
	wantSession(t, s, good)
	for name, value := range malformed(good) {
		if value == good {
			t.Errorf("%s: changes nothing", name)
		}
		if f, err := s.Find(t.Context(), value, nodeHost); err != gateway.ErrNoSession || f != (gateway.Found{}) {
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

// Random cookies cost no round trip to the store.
func TestCookieForgeriesNeverReachTheStore(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	s := openNode(t, store)
	good := signInAt(t, s, "alice")
	_, foreign := newCookie(t, openNode(t, gatewaytest.NewMemStore()))
	store.SetHook(faulty())
	wantNoSession(t, s, foreign)
	for _, value := range malformed(good) {
		wantNoSession(t, s, value)
	}
	wantFault(t, s, good) // the control: this one does
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
	if _, err := other.SessionBits(t.Context(), cookie, nodeHost); !errors.Is(err, gateway.ErrNoSession) {
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
	store.SetHook(faulty("Get"))
	wantFault(t, openNode(t, store), cookie)
}

func TestBrowserCookieForm(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("A", 42) + "E"
	for value, want := range map[string]bool{
		good: true, strings.Repeat("_", 42) + "8": true,
		"": false, good[1:]: false, good + "A": false, good[1:] + "=": false, strings.Repeat("A", 42) + "B": false,
		good[:42] + "\n": false, strings.Repeat("\r", 43): false, "+" + good[1:]: false, " " + good[1:]: false,
	} {
		if gateway.IsRandomText(value) != want {
			t.Errorf("%q: valid is %v", value, !want)
		}
	}
}

func TestTakeCookies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		lines            []string
		plain            bool // over http
		session, browser string
		left             []string
		provider         string
	}{
		{"none", nil, false, "", "", nil, ""},
		{"others only", []string{"a=1; b=2"}, false, "", "", []string{"a=1; b=2"}, ""},
		{"alone", []string{"__Host-sso=x"}, false, "x", "", nil, ""},
		{"both", []string{"__Host-sso=x; __Host-sso-b=y"}, false, "x", "y", nil, ""},
		{"first", []string{"__Host-sso=x; a=1; b=2"}, false, "x", "", []string{"a=1; b=2"}, ""},
		{"amid", []string{"a=1; __Host-sso=x; b=2"}, false, "x", "", []string{"a=1; b=2"}, ""},
		{"last", []string{"a=1; b=2; __Host-sso=x"}, false, "x", "", []string{"a=1; b=2"}, ""},
		{"several lines", []string{"a=1", "__Host-sso=x", "b=2; __Host-sso-b=y"}, false, "x", "y", []string{"a=1", "b=2"}, ""},
		{"no blanks", []string{"a=1;__Host-sso=x;b=2"}, false, "x", "", []string{"a=1;b=2"}, ""},
		{"more blanks", []string{"a=1;  __Host-sso = x\t;  b=2"}, false, "x", "", []string{"a=1;  b=2"}, ""},
		{"twice", []string{"__Host-sso=x; __Host-sso=y"}, false, "", "", nil, ""},
		{"twice, the same", []string{"__Host-sso=x; __Host-sso=x"}, false, "", "", nil, ""},
		{"twice, in two lines", []string{"__Host-sso=x; a=1", "__Host-sso=y"}, false, "", "", []string{"a=1"}, ""},
		{"twice, once empty", []string{"__Host-sso=; __Host-sso=x"}, false, "", "", nil, ""},
		{"twice, once without a value", []string{"__Host-sso; __Host-sso=x"}, false, "", "", nil, ""},
		{"thrice", []string{"__Host-sso=x; __Host-sso=x; __Host-sso=x"}, false, "", "", nil, ""},
		{"browser twice spares the session", []string{"__Host-sso=x; __Host-sso-b=1; __Host-sso-b=2"}, false, "x", "", nil, ""},
		{"without the prefix over https", []string{"sso=x; sso-b=y; a=1"}, false, "", "", []string{"a=1"}, ""},
		{"a planted one does not count over https", []string{"sso=evil; __Host-sso=x"}, false, "x", "", nil, ""},
		{"over http", []string{"sso=x; sso-b=y; a=1"}, true, "x", "y", []string{"a=1"}, ""},
		{"with the prefix over http", []string{"__Host-sso=x; sso=y"}, true, "y", "", nil, ""},
		{"other names", []string{"SSO=1; __host-sso=2; sso2=3; xsso=4; __Host-sso-c=5; __Secure-sso=6"}, false, "", "", []string{"SSO=1; __host-sso=2; sso2=3; xsso=4; __Host-sso-c=5; __Secure-sso=6"}, ""},
		{"our name as a value", []string{"a=__Host-sso; b==sso"}, false, "", "", []string{"a=__Host-sso; b==sso"}, ""},
		{"quotes are no part of ours", []string{`__Host-sso="x"`}, false, `"x"`, "", nil, ""},
		// Apps that know RFC 2109 would read all of it as the value of a, and may
		// show it to a script ("cookie sandwich").
		{"between quotes of others", []string{`$Version=1; a="b; __Host-sso=x; c=d"`}, false, "x", "", []string{`$Version=1; a="b; c=d"`}, ""},
		{"as the value of one without a name", []string{"=__Host-sso=x; a=1"}, false, "", "", []string{"=__Host-sso=x; a=1"}, ""},
		{"equals signs in the value", []string{"__Host-sso=a=b"}, false, "a=b", "", nil, ""},
		{"empty pairs", []string{"; ;a=1;;", ";"}, false, "", "", []string{"; ;a=1;;", ";"}, ""},
		{"order and bytes of the others", []string{`b="2, \"x\""; __Host-sso=x; a; =c; é=1`}, false, "x", "", []string{`b="2, \"x\""; a; =c; é=1`}, ""},
		{"the provider", []string{"__Host-sso-p=corp; a=1"}, false, "", "", []string{"a=1"}, "corp"},
		{"the provider over http", []string{"sso-p=corp; __Host-sso-p=other"}, true, "", "", nil, "corp"},
		{"the provider without the prefix over https", []string{"sso-p=corp"}, false, "", "", nil, ""},
		{"the provider twice spares the others", []string{"__Host-sso-p=a; __Host-sso=x; __Host-sso-p=a; __Host-sso-b=y"}, false, "x", "y", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			if tt.lines != nil {
				h["Cookie"] = slices.Clone(tt.lines)
			}
			given := h["Cookie"]
			session, browser, provider := gateway.TakeCookies(h, !tt.plain)
			if session != tt.session || browser != tt.browser || provider != tt.provider {
				t.Errorf("took %q, %q and %q, want %q, %q and %q", session, browser, provider, tt.session, tt.browser, tt.provider)
			}
			if left := h["Cookie"]; !slices.Equal(left, tt.left) {
				t.Errorf("left %q, want %q", left, tt.left)
			}
			if _, ok := h["Cookie"]; ok != (tt.left != nil) {
				t.Errorf("the header is there: %v", ok)
			}
			if !slices.Equal(given, tt.lines) {
				t.Errorf("the slice of lines, which others share, became %q", given)
			}
		})
	}
}

// cookiesOf reads a Cookie header as apps do.
func cookiesOf(lines []string) (pairs []string) {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if pair = textproto.TrimString(pair); pair != "" {
				pairs = append(pairs, pair)
			}
		}
	}
	return pairs
}

func oursIs(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	name = strings.TrimPrefix(textproto.TrimString(name), "__Host-")
	return name == "sso" || name == "sso-b" || name == "sso-p"
}

func FuzzTakeCookies(f *testing.F) {
	f.Add("a=1; __Host-sso=x; b=2", "", true)
	f.Add("__Host-sso=x;__Host-sso=y", "sso=1", true)
	f.Add("sso;;=;sso-b=\t", "; sso", false)
	f.Add(" sso = 1 ;__Host-__Host-sso=2", "\x00sso=1; \x0bsso=2", false)
	f.Fuzz(func(t *testing.T, one, two string, secure bool) {
		given := []string{one, two}
		h := http.Header{"Cookie": slices.Clone(given), "Other": {one}}
		gateway.TakeCookies(h, secure)
		left := cookiesOf(h["Cookie"])
		for _, pair := range left {
			if oursIs(pair) {
				t.Errorf("%q still holds %q", h["Cookie"], pair)
			}
		}
		want := slices.DeleteFunc(cookiesOf(given), oursIs)
		if !slices.Equal(left, want) {
			t.Errorf("of %q this is left: %q, want %q", given, left, want)
		}
		for _, c := range (&http.Request{Header: h}).Cookies() {
			if oursIs(c.Name) {
				t.Errorf("net/http still sees %q", c.Name)
			}
		}
		if h.Get("Other") != one {
			t.Error("another header was changed")
		}
		session, browser, provider := gateway.TakeCookies(h, secure)
		if session != "" || browser != "" || provider != "" {
			t.Errorf("a second look finds %q, %q and %q", session, browser, provider)
		}
	})
}

func FuzzSessionCookie(f *testing.F) {
	g := readGolden(f)
	s := g.open(f, g.store(f), []byte(g.Secret))
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
		_ = gateway.IsRandomText(value)
	})
}
