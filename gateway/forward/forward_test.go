package forward_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// A signer signs nothing: a token of it is the claims.
type signer struct{ err error }

func (s *signer) Sign(claims []byte) (string, error) { return string(claims), s.err }

var headerNames = forward.HeaderNames{
	Assertion: "x-sso-assertion", User: "remote-user", Groups: "Remote-Groups", Email: "Remote-Email", Name: "Remote-Name", Roles: "Remote-Roles",
	Template: "Remote-Template", FirstName: "Remote-First-Name", LastName: "Remote-Last-Name", Provider: "Remote-Provider",
}

// sent returns the headers of a statement as a request gets them.
func sent(t *testing.T, s forward.Statement, f forward.Format) http.Header {
	t.Helper()
	h, row := http.Header{}, headerNames.Canonical()
	if err := forward.New(new(signer), s, f).Set(h, &row, new(forward.Row), time.Now()); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestValues(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		p    forward.Principal
		want map[string]string // all but the assertion
	}{
		"plain": {
			forward.Principal{Username: "alice", Email: "a@b.example", Name: "Alice Example", Provider: "corp", Roles: []string{"Admin", "User"}, Groups: []string{"admins"}},
			map[string]string{
				"Remote-User": "alice", "Remote-Email": "a@b.example", "Remote-Name": "Alice Example", "Remote-Provider": "corp",
				"Remote-Roles": "Admin,User", "Remote-Groups": "admins",
			},
		},
		"template, first and last name": {
			forward.Principal{Username: "alice", Template: "Full, 100%", FirstName: "Alice", LastName: "Ångström"},
			map[string]string{"Remote-User": "alice", "Remote-Template": "Full, 100%25", "Remote-First-Name": "Alice", "Remote-Last-Name": "%C3%85ngstr%C3%B6m"},
		},
		"nothing but a user name": {forward.Principal{Username: "dora"}, map[string]string{"Remote-User": "dora"}},
		"not ASCII": {
			forward.Principal{Username: "zoë", Name: "Zoë Łukasz 漢 😀"},
			map[string]string{"Remote-User": "zo%C3%AB", "Remote-Name": "Zo%C3%AB %C5%81ukasz %E6%BC%A2 %F0%9F%98%80"},
		},
		"percent":                         {forward.Principal{Username: "100%", Name: "%41"}, map[string]string{"Remote-User": "100%25", "Remote-Name": "%2541"}},
		"blanks inside":                   {forward.Principal{Username: "erin  x", Name: " Erin "}, map[string]string{"Remote-User": "erin  x", "Remote-Name": "%20Erin%20"}},
		"direction marks":                 {forward.Principal{Username: "a\u202eb\u200b"}, map[string]string{"Remote-User": "a%E2%80%AEb%E2%80%8B"}},
		"a line break":                    {forward.Principal{Username: "a\r\nB: c\x00\x7f"}, map[string]string{"Remote-User": "a%0D%0AB: c%00%7F"}},
		"a comma in a value is one value": {forward.Principal{Username: "o'hara, \"x\"; y=z"}, map[string]string{"Remote-User": "o'hara, \"x\"; y=z"}},
		"a comma in a name of a list": {
			forward.Principal{Username: "erin", Groups: []string{"staff,admins", "100%, really", "plain"}, Roles: []string{"a,b", "c"}},
			map[string]string{"Remote-User": "erin", "Remote-Groups": "staff%2Cadmins,100%25%2C really,plain", "Remote-Roles": "a%2Cb,c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := sent(t, forward.Statement{Principal: tc.p}, forward.Format{})
			if h.Get("X-Sso-Assertion") == "" || len(h) != len(tc.want)+1 {
				t.Errorf("headers %v", h)
			}
			for n, want := range tc.want {
				if got := h[n]; !slices.Equal(got, []string{want}) {
					t.Errorf("%s: %q, want %q", n, got, want)
				}
			}
			if got, err := url.PathUnescape(h.Get("Remote-User")); err != nil || got != tc.p.Username {
				t.Errorf("Remote-User decodes to %q (%v), want %q", got, err, tc.p.Username)
			}
		})
	}
}

// all writes every header in one encoding.
func all(e forward.Encoding, separator byte) forward.Format {
	f := forward.Format{Separator: separator}
	for i := range f.Encodings {
		f.Encodings[i] = e
	}
	return f
}

// TestFormats has the same person in every encoding.
func TestFormats(t *testing.T) {
	t.Parallel()
	person := forward.Principal{
		Username: "zoë", Name: "Zoë Łukasz, 100%", FirstName: "\u00a0Zoë ", LastName: "Łukasz", Template: "a\r\nB: c\x7f", Groups: []string{"x|y", "x,y"}, Roles: []string{"a|b", "c"},
	}
	mixed := forward.Format{Separator: '|'}
	mixed.Encodings[4] = forward.UTF8 // the name
	for name, tc := range map[string]struct {
		format                                     forward.Format
		user, name, first, last, template, grps, r string
	}{
		"percent": {
			forward.Format{}, "zo%C3%AB", "Zo%C3%AB %C5%81ukasz, 100%25", "%C2%A0Zo%C3%AB%20", "%C5%81ukasz", "a%0D%0AB: c%7F", "x|y,x%2Cy", "a|b,c",
		},
		"another separator": {
			forward.Format{Separator: '|'}, "zo%C3%AB", "Zo%C3%AB %C5%81ukasz, 100%25", "%C2%A0Zo%C3%AB%20", "%C5%81ukasz", "a%0D%0AB: c%7F", "x%7Cy|x,y", "a%7Cb|c",
		},
		"utf8":   {all(forward.UTF8, 0), "zoë", "Zoë Łukasz, 100%", "\u00a0Zoë ", "Łukasz", "a%0D%0AB: c%7F", "x|y,x%2Cy", "a|b,c"},
		"latin1": {all(forward.Latin1, '|'), "zo\xeb", "Zo\xeb %C5%81ukasz, 100%25", "%C2%A0Zo\xeb%20", "%C5%81ukasz", "a%0D%0AB: c%7F", "x%7Cy|x,y", "a%7Cb|c"},
		"one header of its own": {
			mixed, "zo%C3%AB", "Zoë Łukasz, 100%", "%C2%A0Zo%C3%AB%20", "%C5%81ukasz", "a%0D%0AB: c%7F", "x%7Cy|x,y", "a%7Cb|c",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := sent(t, forward.Statement{Principal: person}, tc.format)
			for n, want := range map[string]string{
				"User": tc.user, "Name": tc.name, "First-Name": tc.first, "Last-Name": tc.last, "Template": tc.template, "Groups": tc.grps, "Roles": tc.r,
			} {
				got := h.Get("Remote-" + n)
				if got != want {
					t.Errorf("%s: %q, want %q", n, got, want)
				}
				if !httpguts.ValidHeaderFieldValue(got) {
					t.Errorf("%s: %q is not the value of a header", n, got)
				}
			}
			if claims := claimsOf(t, h.Get("X-Sso-Assertion")); claims["family_name"] != "Łukasz" || claims["given_name"] != person.FirstName || claims["template"] != person.Template {
				t.Errorf("claims: %v", claims)
			}
		})
	}
}

// TestFormatCheck refuses what an app would read as another name, or as two.
func TestFormatCheck(t *testing.T) {
	t.Parallel()
	for _, e := range []forward.Encoding{forward.Percent, forward.Latin1, forward.UTF8} {
		for name, fits := range map[string]bool{
			"admins": true, "Net Ops": true, "zoë": true, "漢": true, "100%": true, "a%7Cb": true, "a,b": true,
			"a|b": false, "|": false, " a": false, "a\u00a0": false, "a\nb": false, "a\x00": false, "\xff": false,
		} {
			roles, groups := all(e, '|').Check([]string{"x", name}, nil), all(e, '|').Check(nil, []string{name})
			if want := fits || e != forward.UTF8; (roles == nil) != want || (groups == nil) != want {
				t.Errorf("%v %q as a role: %v, as a group: %v", e, name, roles, groups)
			}
		}
	}
}

// FuzzFormat reads lists as an app does: it decodes what the encoding encodes, and finds
// the names that were written.
func FuzzFormat(f *testing.F) {
	f.Add("x|y", "zoë 100%", byte('|'))
	f.Add(" a", "%7C\u00a0", byte(','))
	f.Fuzz(func(t *testing.T, one, two string, separator byte) {
		if separator == 0 || strings.IndexByte(",;|:", separator) < 0 || one == "" || two == "" || !utf8.ValidString(one+two) {
			return
		}
		names := []string{one, two}
		for _, e := range []forward.Encoding{forward.Percent, forward.Latin1, forward.UTF8} {
			format := all(e, separator)
			value := sent(t, forward.Statement{Principal: forward.Principal{Groups: names}}, format).Get("Remote-Groups")
			if !httpguts.ValidHeaderFieldValue(value) || strings.TrimSpace(value) != value && e != forward.UTF8 {
				t.Fatalf("%v: the value is %q", e, value)
			}
			got := strings.Split(value, string(separator))
			for i := range got {
				if e == forward.Latin1 {
					var text []rune
					for _, c := range []byte(got[i]) {
						text = append(text, rune(c))
					}
					got[i] = latin1Unescape(string(text))
				} else if e == forward.Percent {
					got[i], _ = url.PathUnescape(got[i])
				}
			}
			if (e != forward.UTF8 || format.Check(nil, names) == nil) && !slices.Equal(got, names) {
				t.Fatalf("%v: %q is read as %q", e, names, got)
			}
		}
	})
}

// latin1Unescape decodes what is percent-encoded, which is UTF-8, in text that was read
// as ISO 8859-1.
func latin1Unescape(s string) string {
	return regexp.MustCompile("(%[0-9A-F]{2})+").ReplaceAllStringFunc(s, func(coded string) string {
		text, _ := url.PathUnescape(coded)
		return text
	})
}

// The claims hold values as they are, and empty lists as lists.
func TestClaims(t *testing.T) {
	t.Parallel()
	h := sent(t, forward.Statement{Principal: forward.Principal{Username: "zoë, 100%"}, AuthTime: time.Unix(1234, 0)}, forward.Format{})
	claims := claimsOf(t, h.Get("X-Sso-Assertion"))
	want := map[string]any{
		"iss": "", "aud": "", "sub": "", "preferred_username": "zoë, 100%", "email_verified": false, "sid": "", "idp": "",
		"roles": []any{}, "groups": []any{}, "auth_time": 1234.0,
		"iat": claims["iat"], "nbf": claims["nbf"], "exp": claims["exp"], "jti": claims["jti"],
	}
	if !reflect.DeepEqual(claims, want) {
		t.Errorf("claims\n%v\nwant\n%v", claims, want)
	}
}

func claimsOf(t *testing.T, token string) (claims map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(token), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// A header without a name is not sent, and an assertion without one is not signed.
func TestUnnamedHeaders(t *testing.T) {
	t.Parallel()
	broken, h, row := &signer{errors.New("no key")}, http.Header{}, forward.HeaderNames{User: "x-webauth-user"}.Canonical()
	headers := forward.New(broken, forward.Statement{Principal: forward.Principal{Username: "alice", Email: "a@b.example"}}, forward.Format{})
	if err := headers.Set(h, &row, new(forward.Row), time.Now()); err != nil {
		t.Fatal(err)
	}
	if len(h) != 1 || h.Get("X-Webauth-User") != "alice" {
		t.Errorf("headers %v", h)
	}
	row = headerNames.Canonical()
	if err := headers.Set(http.Header{}, &row, new(forward.Row), time.Now()); !errors.Is(err, broken.err) {
		t.Errorf("error %v, want the signer's", err)
	}
}

func TestCheckNames(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		names  forward.HeaderNames
		faults int
	}{
		"none":              {forward.HeaderNames{}, 0},
		"the usual":         {forward.DefaultNames, 0},
		"all":               {headerNames, 0},
		"underscore":        {forward.HeaderNames{User: "Remote_User"}, 1},
		"blank":             {forward.HeaderNames{User: "Remote User"}, 1},
		"hyphen only":       {forward.HeaderNames{User: "-User"}, 1},
		"twice":             {forward.HeaderNames{User: "X-A", Name: "x-a"}, 1},
		"cookie":            {forward.HeaderNames{User: "Cookie"}, 1},
		"host":              {forward.HeaderNames{User: "Host"}, 1},
		"authority":         {forward.HeaderNames{User: ":authority"}, 1},
		"connection":        {forward.HeaderNames{Assertion: "connection"}, 1},
		"line break":        {forward.HeaderNames{User: "X\r\nY"}, 1},
		"several at a time": {forward.HeaderNames{User: "a b", Email: "Host", Name: "X-A", Roles: "x-A"}, 3},
	} {
		err := tc.names.Check()
		faults := 0
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			faults = len(joined.Unwrap())
		}
		if faults != tc.faults {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An identity must not stand where a proxy or an app finds something else.
func TestNamesOfHTTP(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Expect", "Range", "TE", "Trailer", "Upgrade", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Transfer-Encoding", "Content-Length",
		"Content-Type", "Content-Encoding", "Content-Range", "Destination", "Depth", "If", "If-Match", "If-None-Match", "If-Range", "If-Modified-Since",
		"Accept", "Accept-Encoding", "Access-Control-Request-Method", "Sec-Fetch-Site", "Sec-WebSocket-Key", "Via", "Forwarded", "X-Forwarded-For",
		"X-Forwarded-Port", "X-Real-IP", "X-HTTP-Method-Override", "X-Original-URL", "Date", "User-Agent", "x-requested-with", "HTTP2-Settings",
	} {
		if err := (forward.HeaderNames{FirstName: name}).Check(); err == nil || !strings.Contains(err.Error(), "has a meaning in HTTP") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"Authorization", "From", "X-Forwarded-User", "X-Forwarded-Email", "Section", "Sec-Istio-Auth-Userinfo", "Ifs", "Proxy-User", "Secure-User", "X-Content-User"} {
		if err := (forward.HeaderNames{User: name}).Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBoundGroups(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		count  int
		prefix string
		want   int
	}{
		"none":                        {0, "", 0},
		"a hundred":                   {100, "g", 100},
		"one more":                    {101, "g", 100},
		"long names":                  {180, strings.Repeat("n", 200), 14},
		"long names that are encoded": {180, strings.Repeat("ü", 100), 5},
		"one that is too long":        {1, strings.Repeat("n", 4<<10), 0},
	} {
		var groups []string
		for i := range tc.count {
			groups = append(groups, fmt.Sprintf("%s-%04d", tc.prefix, i))
		}
		got := forward.Format{}.BoundGroups(groups)
		if len(got) != tc.want || !slices.Equal(got, groups[:tc.want]) {
			t.Errorf("%s: %d groups, want the first %d", name, len(got), tc.want)
		}
	}
}
