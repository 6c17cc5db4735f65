package forward_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// A signer signs nothing: a token of it is the claims.
type signer struct{ err error }

func (s *signer) Sign(claims []byte) (string, error) { return string(claims), s.err }

var names = forward.HeaderNames{
	Assertion: "x-sso-assertion", User: "remote-user", Groups: "Remote-Groups", Email: "Remote-Email", Name: "Remote-Name", Roles: "Remote-Roles", Provider: forward.UsualProvider,
}

// sent returns the headers of a statement as a request gets them.
func sent(t *testing.T, s forward.Statement, names forward.HeaderNames) http.Header {
	t.Helper()
	h, row := http.Header{}, names.Canonical()
	if err := forward.New(new(signer), s).Set(h, &row, new(forward.Row), time.Now()); err != nil {
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
			h := sent(t, forward.Statement{Principal: tc.p}, names)
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

// The claims hold values as they are, and empty lists as lists.
func TestClaims(t *testing.T) {
	t.Parallel()
	h := sent(t, forward.Statement{Principal: forward.Principal{Username: "zoë, 100%"}, AuthTime: time.Unix(1234, 0)}, names)
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
	headers := forward.New(broken, forward.Statement{Principal: forward.Principal{Username: "alice", Email: "a@b.example"}})
	if err := headers.Set(h, &row, new(forward.Row), time.Now()); err != nil {
		t.Fatal(err)
	}
	if len(h) != 1 || h.Get("X-Webauth-User") != "alice" {
		t.Errorf("headers %v", h)
	}
	row = names.Canonical()
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
		"all":               {names, 0},
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
		got := forward.BoundGroups(groups)
		if len(got) != tc.want || !slices.Equal(got, groups[:tc.want]) {
			t.Errorf("%s: %d groups, want the first %d", name, len(got), tc.want)
		}
	}
}
