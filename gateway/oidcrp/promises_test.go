package oidcrp_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A promise is one thing that must be refused in a login by OpenID Connect.
type promise struct {
	text string
	// attacks are the distinct attacks on it. Variants of one mutation stand in
	// one line, separated by bars, and count once. A name is one of attacks or
	// flowAttacks, or a test: Test…/subtest here, gateway.Test…/subtest in the
	// package gateway.
	attacks []string
	// later says, in place of attacks, why there is nothing to attack yet.
	later string
}

// promises say what is promised, and which attacks show it.
var promises = []promise{
	{text: "An answer belongs to a login that this browser began at this site: state", attacks: []string{
		"state/guessed", "state/of another browser's login", "state/of another site", "answer/of an attacker, in a browser without a login | answer/of an attacker, in a browser with a login under way",
		"answer/at another site, with the cookies", "cookies/a planted one beside it | cookies/a planted one in front",
	}},
	{text: "A token belongs to the login that asked for it: nonce", attacks: []string{
		"nonce/another", "nonce/missing | nonce/empty", "nonce/as an array", "nonce/of an attacker", "token/of an earlier login",
	}},
	{text: "PKCE with S256, always: a code is worth nothing to another login", attacks: []string{
		"code/of another browser's login", "code/of another tab | state/of another tab", "challenge/taken out on the way", "challenge/of an attacker", "TestCodeInjection/PKCE stops it at the provider",
	}},
	{text: "iss beside the code is the provider's own", attacks: []string{
		"answer/iss of another provider", "answer/iss with a slash more | answer/iss in capitals", "answer/iss empty",
		"mix-up/an honest provider's answer in a login at another", "mix-up/an answer that claims to be an honest provider's", "mix-up/an error of another provider | answer/error of another provider",
	}},
	{text: "iss is there if the provider announces it (RFC 9207)", attacks: []string{
		"answer/iss missing though announced", "answer/ISS for iss", "answer/iss empty", "discovery/iss announced as a string",
	}},
	{text: "error and code exclude each other", attacks: []string{
		"answer/error beside code | parameters/error beside code", "answer/empty error beside code", "answer/error of a script beside code",
	}},
	{text: "No token comes by way of the browser, no parameter twice", attacks: []string{
		"answer/id_token beside code | answer/access_token beside code", "answer/JARM response beside code", "answer/code twice | parameters/code twice, once escaped", "answer/state twice | parameters/state in front",
	}},
	{text: "A code and a state work once", attacks: []string{
		"code/used before, under a new state", "reload/state used before, with a new code", "TestCodeUsedTwice", "gateway.TestUsedFlow", "gateway.TestEqualAnswersAtOnce",
	}},
	{text: "Algorithms: what the provider announces, never none, never HMAC", attacks: []string{
		"alg/none | alg/none in mixed case", "alg/none that keeps the signature", "alg/HS256 with the client secret", "alg/HS256 with the public key, CVE-2015-9235",
		"alg/known but not announced", "alg/of another type than the key's", "discovery/no algorithm of ours",
	}},
	{text: "typ is absent or JWT: logout and access tokens are no ID tokens", attacks: []string{
		"header/typ at+jwt", "header/typ logout+jwt", "header/typ empty | header/typ null | header/typ as a number", "signed userinfo/typ at+jwt",
	}},
	{text: "Critical extensions are refused", attacks: []string{
		"header/crit with exp", "header/crit empty", "header/crit that go-jose knows", "header/b64 without crit", "header/zip",
	}},
	{text: "Only the compact serialisation of a JWS is read", attacks: []string{
		"form/JWE", "form/five parts that begin with a JWS", "form/flattened JSON serialisation", "form/general JSON serialisation", "form/detached payload",
	}},
	{text: "Keys are the provider's, fetched and for signing; kid picks among them only", attacks: []string{
		"key/for encryption | key/of unknown use", "key/operations for encryption | key/no operations", "key/symmetric", "key/RSA with 1024 bits", "header/jwk of an attacker, CVE-2018-0114", "header/jku | header/x5u",
		"signature/kid as a path", "signature/other key under the same kid | signature/other key without kid", "key/under the kid of another", "mix-up/an honest provider's token passed on",
	}},
	{text: "The signature holds", attacks: []string{
		"signature/empty", "signature/all zero, CVE-2022-21449", "signature/claims exchanged", "signature/other key under its own kid",
	}},
	{text: "iss of the token", attacks: []string{
		"iss/another | mix-up/a token in an honest provider's name", "iss/with a slash more | iss/in capitals", "iss/missing", "iss/as an array", "names/ISS behind another's iss",
	}},
	{text: "aud has us in it", attacks: []string{"aud/another | aud/longer than ours", "aud/empty array | aud/missing", "aud/with a number", "aud/as an object"}},
	{text: "azp is us, and there beside several audiences", attacks: []string{"azp/another", "azp/empty", "azp/missing beside several audiences", "azp/another beside several audiences"}},
	{text: "exp", attacks: []string{"exp/past | exp/just beyond the skew", "exp/missing | exp/null", "exp/as a string", "exp/beyond all time"}},
	{text: "iat", attacks: []string{"iat/future", "iat/before the login began", "iat/missing", "iat/negative"}},
	{text: "nbf", attacks: []string{"nbf/future", "nbf/far future", "nbf/as a boolean"}},
	{text: "at_hash binds the access token", attacks: []string{"at_hash/of another access token", "at_hash/empty", "at_hash/access token exchanged"}},
	{text: "auth_time is fresh where a new sign-in was asked for (max_age)", attacks: []string{
		"auth_time/old though a new login was asked for", "auth_time/missing though a new login was asked for", "auth_time/future", "auth_time/as a string",
	}},
	{text: "sub is there", attacks: []string{"sub/missing | sub/null", "sub/empty", "sub/256 bytes", "sub/with NUL", "sub/as a number"}},
	{text: "Userinfo is about the same person", attacks: []string{
		"userinfo/sub of another | userinfo/sub in capitals", "userinfo/sub missing", "userinfo/sub as an array", "userinfo/sub twice", "signed userinfo/sub of another",
	}},
	{text: "Signed userinfo is judged like a token", attacks: []string{
		"signed userinfo/other key", "signed userinfo/alg none", "signed userinfo/iss of another | signed userinfo/iss missing", "signed userinfo/aud of another | signed userinfo/aud missing", "signed userinfo/plain JSON",
	}},
	{text: "Names are matched exactly", attacks: []string{
		"names/SUB for sub | names/a long s in sub", "names/Nonce for nonce", "names/AUD for aud", "names/ISS behind another's iss", "discovery/Issuer for issuer", "token endpoint/names in capitals", "JWKS/KEYS for keys", "TestUserInfo/names are exact",
	}},
	{text: "A name stands once, and text is text", attacks: []string{
		"json/sub twice | json/email twice", "json/groups twice, once escaped", "json/name twice deep inside", "json/no UTF-8", "json/half a surrogate pair",
	}},
	{text: "Wrong types are refused, not coerced", attacks: []string{
		"email_verified/as a string | email_verified/as a number", "groups/as an object | groups/as a number", "groups/with a number | groups/with an array", "user name/as a number | user name/as an array", "amr/as a string", "sid/as a number",
	}},
	{text: "An e-mail address is one", attacks: []string{
		"email/two @ | userinfo/two @ in email", "email/a comma", "email/a blank | email/a tab | email/a line break", "email/NUL | email/DEL", "email/a zero-width space | email/a reversed direction", "email/no @",
	}},
	{text: "The token endpoint's answer counts with status 200 only", attacks: []string{
		"token endpoint/status 201", "token endpoint/status 302 with a body", "token endpoint/status 500 with a body", "token endpoint/error beside tokens",
	}},
	{text: "and as application/json only", attacks: []string{
		"token endpoint/text content | token endpoint/HTML content", "token endpoint/no content type", "token endpoint/JWKS content", "token endpoint/form",
	}},
	{text: "One broken key spoils only itself", attacks: []string{
		"TestOneBrokenKey/no object", "TestOneBrokenKey/unknown type", "TestOneBrokenKey/RSA without e", "TestOneBrokenKey/off its curve", "TestOneBrokenKey/a name twice",
	}},
	{text: "No field is mixed of two sources", attacks: []string{
		"TestUserInfo/verification without its e-mail is ignored", "TestUserInfo/e-mail without its verification", "TestUserInfo/groups are never added up", "TestUserInfo/the ID token goes first",
	}},
	{text: "No redirect is followed", attacks: []string{
		"discovery/redirect | discovery/redirect with a document", "JWKS/redirect", "token endpoint/redirect", "userinfo/redirect", "gateway.TestOutboundDo/redirect is not followed",
	}},
	{text: "Time is limited", attacks: []string{
		"TestSlowEndpoints/token endpoint hangs", "TestSlowEndpoints/keys hang", "TestSlowEndpoints/userinfo hangs", "TestSlowEndpoints/all of them slow", "gateway.TestOutboundTimeout/endless answer",
	}},
	{text: "Size is limited", attacks: []string{
		"token endpoint/2 MB", "userinfo/2 MB", "discovery/300 kB", "JWKS/600 kB", "JWKS/101 keys", "json/60,000 values", "answer/code of 9 kB", "parameters/100 kB", "groups/10,001",
	}},
	{text: "TLS is verified", attacks: []string{"gateway.TestOutboundDo/unknown authority | TestTLS", "gateway.TestOutboundDo/wrong host name", "gateway.TestOutboundOldTLS"}},
	{text: "Keys are fetched anew seldom, whoever asks for whatever key", attacks: []string{
		"TestAttackKeyFlood/unknown kids | TestUnknownKidFlood", "TestAttackKeyFlood/no kid", "TestAttackKeyFlood/the kid of a key that is known", "TestAttackKeyFlood/an algorithm that no key has",
	}},
	{text: "https only, but for loopback", attacks: []string{
		"TestNewRefuses/issuer by http", "discovery/token_endpoint by http", "discovery/jwks_uri by http", "discovery/userinfo_endpoint by http", "discovery/authorization_endpoint by http", "gateway.TestOutboundCheckURL/http on a name that begins with localhost",
	}},
	{text: "Discovery's issuer is ours byte for byte", attacks: []string{
		"discovery/issuer of another | mix-up/a document in an honest provider's name", "discovery/issuer with a slash more", "discovery/issuer in capitals", "discovery/issuer missing", "discovery/issuer as an array",
	}},
	{text: "Discovery's endpoints are https addresses", attacks: []string{
		"discovery/end_session_endpoint by http", "discovery/end_session_endpoint as a script", "discovery/userinfo_endpoint relative", "discovery/token_endpoint with a password", "discovery/authorization_endpoint with a fragment",
	}},
	{text: "A configuration that changes under way lets nobody in", attacks: []string{
		"reload/provider gone", "reload/provider renamed", "reload/another provider under the name | reload/names exchanged", "TestFlowOfAnotherIssuer",
	}},
	{text: "Logout tokens: POST only, judged in full, jti once", later: "there is no back-channel logout yet, and so no endpoint that takes one; as an ID token one is refused: header/typ logout+jwt"},
	{text: "Access tokens: for us, and no ID token among them", later: "nothing takes a bearer token yet; as an ID token one is refused: header/typ at+jwt"},
}

// TestAttackPromises holds the table: each promise is shown by three distinct
// attacks at least, and each of them exists.
func TestAttackPromises(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, a := range attacks() {
		known[a.name] = true
	}
	for _, a := range flowAttacks() {
		if known[a.name] {
			t.Errorf("an attack on an answer and one on a login are both called %s", a.name)
		}
		known[a.name] = true
	}
	sources := map[string]testSource{"": readTests(t, "."), "gateway.": readTests(t, "..")}
	for _, p := range promises {
		t.Run(p.text, func(t *testing.T) {
			if p.later != "" {
				if len(p.attacks) > 0 {
					t.Error("has both attacks and a reason for having none")
				}
				return
			}
			if len(p.attacks) < 3 {
				t.Errorf("is shown by %d distinct attacks, want three", len(p.attacks))
			}
			seen := map[string]bool{}
			for _, line := range p.attacks {
				for name := range strings.SplitSeq(line, " | ") {
					if seen[name] {
						t.Errorf("%s stands twice", name)
					}
					seen[name] = true
					if !known[name] && !exists(sources, name) {
						t.Errorf("there is no %s", name)
					}
				}
			}
		})
	}
}

// exists says whether there is a test of that name.
func exists(sources map[string]testSource, name string) bool {
	pkg := ""
	if strings.HasPrefix(name, "gateway.") {
		pkg = "gateway."
	}
	test, subtest, hasSubtest := strings.Cut(strings.TrimPrefix(name, pkg), "/")
	texts, there := sources[pkg][test]
	return there && (!hasSubtest || texts[subtest])
}

// A testSource has the texts in each test function of a package, the names of
// subtests among them.
type testSource map[string]map[string]bool

func readTests(t *testing.T, dir string) testSource {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	source := testSource{}
	for _, file := range files {
		parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			source[fn.Name.Name] = textsIn(fn)
		}
	}
	return source
}

func textsIn(fn *ast.FuncDecl) map[string]bool {
	texts := map[string]bool{}
	ast.Inspect(fn, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == gotoken.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				texts[s] = true
			}
		}
		return true
	})
	return texts
}
