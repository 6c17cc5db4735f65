package oidcrp_test

import (
	"cmp"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A promise is one thing that must be refused in a login by OpenID Connect.
// Attacks in testdata/attacks name theirs by its key.
type promise struct {
	key, text string
	// tests are further distinct attacks on it that are no files. Variants of
	// one mutation stand in one line, separated by bars, and count once. A name
	// is one of flowAttacks, or a test: Test…/subtest here, or gateway.Test…/subtest
	// or fetch.Test…/subtest in those packages.
	tests []string
	// later says why there is not enough to attack yet.
	later string
}

// promises say what is promised, and which tests beside the corpus show it.
var promises = []promise{
	{key: "state", text: "An answer belongs to a login that this browser began at this site: state", tests: []string{
		"state/guessed", "state/of another browser's login", "state/of another site", "answer/of an attacker, in a browser without a login | answer/of an attacker, in a browser with a login under way", "answer/at another site, with the cookies", "cookies/a planted one beside it | cookies/a planted one in front",
	}},
	{key: "nonce", text: "A token belongs to the login that asked for it: nonce"},
	{key: "pkce", text: "PKCE with S256, always: a code is worth nothing to another login", tests: []string{
		"code/of another browser's login | TestCodeInjection/PKCE stops it at the provider", "code/of another tab | state/of another tab",
	}},
	{key: "answer-iss", text: "iss beside the code is the provider's own", tests: []string{
		"mix-up/an honest provider's answer in a login at another",
	}},
	{key: "iss-announced", text: "iss is there if the provider announces it (RFC 9207)"},
	{key: "error-alone", text: "error and code exclude each other, and an error is the end"},
	{key: "no-tokens-by-browser", text: "No token comes by way of the browser, no parameter twice", tests: []string{
		"parameters/state twice | parameters/state in front",
	}},
	{key: "once", text: "A code is there, and it and a state work once", tests: []string{
		"code/used before, under a new state | TestCodeUsedTwice", "reload/state used before, with a new code | gateway.TestSignedInByNow", "gateway.TestEqualAnswersAtOnce",
	}},
	{key: "algorithms", text: "Algorithms: what the provider announces, never none, never HMAC"},
	{key: "typ", text: "typ is absent or JWT: logout and access tokens are no ID tokens"},
	{key: "crit", text: "Critical extensions are refused"},
	{key: "compact", text: "Only the compact serialisation of a JWS is read"},
	{key: "keys", text: "Keys are the provider's, fetched and for signing; kid picks among them only"},
	{key: "signature", text: "The signature holds"},
	{key: "iss", text: "iss of the token"},
	{key: "aud", text: "aud has us in it"},
	{key: "azp", text: "azp is us, and there beside several audiences"},
	{key: "exp", text: "exp"},
	{key: "iat", text: "iat"},
	{key: "nbf", text: "nbf"},
	{key: "at_hash", text: "at_hash binds the access token"},
	{key: "auth_time", text: "auth_time is fresh where a new sign-in was asked for (max_age)"},
	{key: "sub", text: "sub is there"},
	{key: "userinfo-sub", text: "Userinfo is about the same person"},
	{key: "userinfo-signed", text: "Signed userinfo is verified like a token"},
	{key: "userinfo-answer", text: "Userinfo's answer counts with status 200 and the right content type only"},
	{key: "exact-names", text: "Names are matched exactly", tests: []string{
		"TestUserInfo/names are exact",
	}},
	{key: "json", text: "A name stands once, and text is text"},
	{key: "types", text: "Wrong types are refused, not coerced"},
	{key: "email", text: "An e-mail address is one"},
	{key: "email-verified", text: "An e-mail address is a user name only if the same document calls it verified"},
	{key: "token-status", text: "The token endpoint's answer counts with status 200 only"},
	{key: "token-content-type", text: "and as application/json only"},
	{key: "token-answer", text: "and with a bearer token and an ID token only"},
	{key: "broken-key", text: "One broken key spoils only itself", tests: []string{
		"TestOneBrokenKey/no object", "TestOneBrokenKey/unknown type", "TestOneBrokenKey/RSA without e", "TestOneBrokenKey/off its curve",
	}},
	{key: "one-source", text: "No field is mixed of two sources", tests: []string{
		"TestUserInfo/verification without its e-mail is ignored", "TestUserInfo/e-mail without its verification", "TestUserInfo/groups are never added up", "TestUserInfo/the ID token goes first",
	}},
	{key: "redirects", text: "No redirect is followed", tests: []string{
		"fetch.TestClientDo/redirect is not followed",
	}},
	{key: "documents", text: "Documents of the provider count with status 200 and as JSON only"},
	{key: "time", text: "Time is limited", tests: []string{
		"TestSlowEndpoints/token endpoint hangs", "TestSlowEndpoints/keys hang", "TestSlowEndpoints/userinfo hangs", "TestSlowEndpoints/all of them slow", "fetch.TestClientTimeout/endless answer",
	}},
	{key: "size", text: "Size is limited", tests: []string{
		"parameters/100 kB",
	}},
	{key: "tls", text: "TLS is verified", tests: []string{
		"fetch.TestClientDo/unknown authority | TestTLS", "fetch.TestClientDo/wrong host name", "fetch.TestClientOldTLS",
	}},
	{key: "key-fetches", text: "Keys are fetched anew seldom, whoever asks for whatever key", tests: []string{
		"TestAttackKeyFlood/unknown kids", "TestAttackKeyFlood/no kid", "TestAttackKeyFlood/the kid of a key that is known", "TestAttackKeyFlood/an algorithm that no key has",
	}},
	{key: "https", text: "https only, but for loopback", tests: []string{
		"TestNewRefuses/issuer by http", "fetch.TestClientCheckURL/http on a name that begins with localhost",
	}},
	{key: "discovery-issuer", text: "Discovery's issuer is ours byte for byte"},
	{key: "discovery-endpoints", text: "Discovery's endpoints are https addresses"},
	{key: "reload", text: "A configuration that changes under way lets nobody in", tests: []string{
		"reload/provider gone", "reload/provider renamed", "reload/another provider under the name | reload/names exchanged", "TestFlowOfAnotherIssuer",
	}},
	{key: "logout-tokens", text: "Logout tokens: POST only, verified in full, jti once", later: "there is no back-channel logout yet, and so no endpoint that takes one; as an ID token one is refused"},
	{key: "access-tokens", text: "Access tokens: for us, and no ID token among them", later: "nothing takes a bearer token yet; as an ID token one is refused"},
}

// source is where an attack is known from.
var source = regexp.MustCompile(`CVE-[0-9]|CWE-[0-9]|(RFC [0-9]+|OpenID Connect [A-Z][A-Za-z -]+|Response Mode) (§|appendix )[A-Z0-9]`)

// TestAttackPromises holds the table: each promise is shown by three distinct
// attacks at least, each of them exists, and each file belongs to a promise.
func TestAttackPromises(t *testing.T) {
	t.Parallel()
	files := map[string]map[string]bool{} // by promise: attacks without variants
	for _, p := range promises {
		files[p.key] = map[string]bool{}
	}
	for _, a := range corpus(t) {
		if !source.MatchString(a.About) {
			t.Errorf("%s does not say where it is known from", a.Name)
		}
		for _, key := range a.Promises {
			if files[key] == nil {
				t.Errorf("%s belongs to %s, which nobody promises", a.Name, key)
				continue
			}
			files[key][cmp.Or(a.VariantOf, a.Name)] = true
		}
	}
	known := map[string]bool{}
	for _, a := range flowAttacks() {
		known[a.name] = true
	}
	for _, p := range promises {
		t.Run(p.key, func(t *testing.T) {
			distinct := len(files[p.key]) + len(p.tests)
			if (distinct < 3) != (p.later != "") {
				t.Errorf("%s: is shown by %d distinct attacks, want three or a reason, not both", p.text, distinct)
			}
			seen := map[string]bool{}
			for _, line := range p.tests {
				for name := range strings.SplitSeq(line, " | ") {
					if seen[name] {
						t.Errorf("%s stands twice", name)
					}
					seen[name] = true
					if !known[name] && !exists(t, name) {
						t.Errorf("there is no %s", name)
					}
				}
			}
		})
	}
}

// exists says whether there is a test of that name.
func exists(t *testing.T, name string) bool {
	t.Helper()
	for pkg, dir := range map[string]string{"gateway.": "..", "fetch.": "../fetch"} {
		if rest, ok := strings.CutPrefix(name, pkg); ok {
			return gatewaytest.Named(t, dir, rest)
		}
	}
	return gatewaytest.Named(t, ".", name)
}
