package cookie_test

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
)

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
		{"a refusal", []string{"__Host-sso-r=x; a=1; sso-r=y"}, false, "", "", []string{"a=1"}, ""},
		{"the provider twice spares the others", []string{"__Host-sso-p=a; __Host-sso=x; __Host-sso-p=a; __Host-sso-b=y"}, false, "x", "y", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			if tt.lines != nil {
				h["Cookie"] = slices.Clone(tt.lines)
			}
			given := h["Cookie"]
			own := cookie.Take(h, !tt.plain)
			if own.Session != tt.session || own.Browser != tt.browser || own.Provider != tt.provider {
				t.Errorf("took %q, want %q, %q and %q", own, tt.session, tt.browser, tt.provider)
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
	return name == "sso" || name == "sso-b" || name == "sso-p" || name == "sso-r"
}

func FuzzTakeCookies(f *testing.F) {
	f.Add("a=1; __Host-sso=x; b=2", "", true)
	f.Add("__Host-sso=x;__Host-sso=y", "sso=1", true)
	f.Add("sso;;=;sso-b=\t", "; sso", false)
	f.Add(" sso = 1 ;__Host-__Host-sso=2", "\x00sso=1; \x0bsso=2", false)
	f.Fuzz(func(t *testing.T, one, two string, secure bool) {
		given := []string{one, two}
		h := http.Header{"Cookie": slices.Clone(given), "Other": {one}}
		cookie.Take(h, secure)
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
		if own := cookie.Take(h, secure); own != (cookie.Own{}) {
			t.Errorf("a second look finds %q", own)
		}
	})
}
