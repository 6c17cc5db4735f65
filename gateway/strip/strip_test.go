package strip_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/strip"
)

// ourNames are the headers of two apps.
var ourNames = [][]string{
	{"X-Sso-Assertion", "Remote-User", "Remote-Groups", "Remote-Email", "Remote-Name", "Remote-Roles"},
	{"Cf-Access-Jwt-Assertion", "X-Webauth-User", "X-Forwarded-Groups", ""},
}

// ours are spellings of names in ourNames, and what begins as names of ours do.
var ours = []string{
	"Remote-User", "remote-user", "REMOTE-USER", "rEmOtE-uSeR",
	"Remote_User", "remote_user", "REMOTE_USER", "Remote.User", "Remote User", "Remote\tUser", "Remote~User", "Remote!User", "Remote|User",
	" Remote-User", "Remote-User ", "\tRemote_User",
	"Remote-Groups", "Remote_Groups", "Remote-Email", "remote.email", "Remote-Name", "REMOTE_NAME", "Remote-Roles", "remote_roles",
	"X-Sso-Assertion", "x_sso_assertion", "X.Sso.Assertion", "X-SSO-ASSERTION", "X-Sso-Anything", "x_sso_", "X-Sso-" + strings.Repeat("a", 100),
	// Of the second set:
	"X-Webauth-User", "x_webauth_user", "X-Forwarded-Groups", "Cf-Access-Jwt-Assertion", "cf.access_jwt assertion",
}

// others look like ours and are not.
var others = []string{
	"Remote", "User", "RemoteUser", "X-Remote-Users", "Remote-User-2", "Remote--User", "-Remote-User", "X-Ssoo", "X-Sso", "Xsso-User", "X-Webauth", "X-Webauthn-User",
	"Authorization", "X-Request-Id", "X-Forwarded-For", "Accept-Language",
}

func TestStripLists(t *testing.T) {
	t.Parallel()
	f := strip.New(ourNames...)
	for name, tc := range map[string]struct{ in, want []string }{
		"only ours":             {[]string{"Remote-User"}, nil},
		"ours among others":     {[]string{"close, Remote-User, X-Other"}, []string{"close, X-Other"}},
		"other case and blanks": {[]string{"close,\t rEmOtE-UsEr \t,X-Other"}, []string{"close,X-Other"}},
		"underscores":           {[]string{"Remote_User, keep-alive"}, []string{" keep-alive"}},
		"several lines":         {[]string{"close", "Remote-User", "X-Sso-Assertion, X-Other"}, []string{"close", " X-Other"}},
		"twice":                 {[]string{"Remote-User, Remote-User,Remote-User"}, nil},
		"empty members":         {[]string{",,Remote-User,,close"}, []string{",,,close"}},
		"nothing of ours":       {[]string{"close, X-Other"}, []string{"close, X-Other"}},
		"a longer name":         {[]string{"Remote-User-2"}, []string{"Remote-User-2"}},
	} {
		for _, header := range []string{"Connection", "Proxy-Connection", "Trailer"} {
			t.Run(header+" "+name, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodGet, "/public", nil)
				r.Header[header] = slices.Clone(tc.in)
				if got := f.Strip(r, strip.Names{}).Header[header]; !slices.Equal(got, tc.want) {
					t.Errorf("%q became %q, want %q", tc.in, got, tc.want)
				}
			})
		}
	}
}

// FuzzNameFilter holds the filter against the plain reading: two names are one
// if they are equal once case is folded and all that is no letter or digit is
// an underscore.
func FuzzNameFilter(f *testing.F) {
	for _, n := range slices.Concat(ours, others) {
		f.Add(n, "X-Webauth-User")
	}
	f.Add("", "")
	f.Add(" ", " ")
	f.Add("Rémote-User", "R-Mote-User")
	f.Add(strings.Repeat("a", 64), strings.Repeat("A", 64))
	f.Add(strings.Repeat("a", 65), strings.Repeat("A", 65))
	cgi := func(name string) string {
		return strings.Map(func(c rune) rune {
			if c < 128 && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z') {
				return c
			}
			return '_'
		}, strings.ToLower(string([]byte(name))))
	}
	f.Fuzz(func(t *testing.T, name, renamed string) {
		for i := range len(name + renamed) {
			if (name + renamed)[i] >= 128 {
				return // no server passes such names on
			}
		}
		names := []string{"X-Sso-Assertion", "Remote-User", renamed}
		got := strip.New(names[:2], names[2:]).Claim(name, strip.Names{}) == strip.Ours
		trimmed := strings.Trim(name, " \t")
		want := strings.HasPrefix(cgi(trimmed), "x_sso_")
		for _, ours := range names {
			want = want || ours != "" && trimmed != "" && cgi(trimmed) == cgi(ours)
		}
		if got != want {
			t.Fatalf("is %q one of ours (%q)? %v, want %v", name, names, got, want)
		}
	})
}
