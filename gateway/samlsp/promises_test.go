package samlsp_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A promise is one thing that must be refused in a login by SAML.
type promise struct {
	text string
	// corpus are the names that files of the corpus call it by.
	corpus []string
	// tests are attacks besides: Test…/subtest here, gateway.Test…/subtest in the
	// package gateway. Variants of one attack stand in one line, separated by
	// bars, and count once.
	tests []string
	// later says, in place of both, why there is nothing to attack yet.
	later string
}

// promises say what is promised, and which attacks show it.
var promises = []promise{
	{text: "Only the element whose signature was verified is consumed", corpus: []string{"consume only what is verified"}},
	{text: "There is exactly one Assertion, one Response, one root", corpus: []string{"one assertion, one response, one root"}},
	{text: "Size, depth, nodes, attributes, signatures, references and transforms are limited, before any canonicalisation", corpus: []string{"limits before anything is canonicalised"}},
	{text: "No DOCTYPE, no directives", corpus: []string{"no DOCTYPE, no directives"}},
	{text: "No undeclared prefix, no duplicate attribute or ID", corpus: []string{"no undeclared prefix, no duplicate attribute or ID"}},
	{text: "UTF-8 only", corpus: []string{"UTF-8 only"}},
	{text: "Keys come from configuration or metadata only, never from KeyInfo", corpus: []string{"keys from configuration or metadata only"}},
	{text: "An authority's key signs no assertion, in whatever order and shape certificates come", corpus: []string{"an authority signs nothing"}},
	{text: "Algorithms are those of a list", corpus: []string{"algorithms by a list"}},
	{text: "One SignedInfo, one Reference, which names the element", corpus: []string{"one SignedInfo, one Reference that names the element"}},
	{text: "Only enveloped-signature and canonicalisation are transforms", corpus: []string{"only enveloped and canonicalisation transforms"}},
	{text: "The signature that want_assertions_signed requires is there, and each one that is there holds", corpus: []string{"the signature that must be there, and every one that is"}},
	{text: "Nothing outside of the document is fetched or opened because of it", corpus: []string{"nothing is fetched because of a document"}},
	{text: "Status", corpus: []string{"Status"}},
	{text: "Version", corpus: []string{"Version"}},
	{text: "Issuer", corpus: []string{"Issuer"}, tests: []string{"TestAttackSAMLFlow/mix-up/an honest provider's name at another", "TestAttackSAMLFlow/mix-up/another provider in an honest one's name"}},
	{text: "Destination", corpus: []string{"Destination"}},
	{text: "Recipient", corpus: []string{"Recipient"}},
	{text: "InResponseTo", corpus: []string{"InResponseTo"}, tests: []string{"TestAttackSAMLFlow/state/of another tab", "TestAttackSAMLFlow/replay/a stolen answer in a login of the thief's"}},
	{text: "IssueInstant", corpus: []string{"IssueInstant"}},
	{text: "NotBefore and NotOnOrAfter, with the clocks' difference", corpus: []string{"NotBefore and NotOnOrAfter"}},
	{text: "SessionNotOnOrAfter", corpus: []string{"SessionNotOnOrAfter"}},
	{text: "AudienceRestriction is required, several are AND", corpus: []string{"AudienceRestriction"}},
	{text: "An AuthnStatement is required", corpus: []string{"an AuthnStatement"}},
	{text: "Unknown Conditions are refused; OneTimeUse", corpus: []string{"unknown conditions, OneTimeUse"}},
	{text: "One Subject, one NameID, text only", corpus: []string{"one Subject, one NameID, text only"}},
	{text: "The NameID has the format that was asked for", corpus: []string{"the NameID's format"}},
	{text: "At least one valid bearer SubjectConfirmation", corpus: []string{"a valid bearer confirmation"}},
	{text: "Each assertion ID works once, on all nodes", corpus: []string{"an assertion works once"}, tests: []string{
		"TestAttackSAMLFlow/replay/the assertion's ID in a new answer", "TestAttackSAMLSameAnswerAtOnce/D4 the same assertion ID in two logins",
	}},
	{text: "Each request ID is answered once", tests: []string{
		"TestAttackSAMLFlow/replay/the same answer again", "TestAttackSAMLFlow/replay/the same answer in another browser",
		"TestAttackSAMLFlow/replay/a stolen answer in a login of the thief's", "TestAttackSAMLSameAnswerAtOnce/D4 one login",
	}},
	{text: "Unsolicited responses are refused", corpus: []string{"no unsolicited responses"}, tests: []string{
		"TestAttackSAMLFlow/state/none", "TestAttackSAMLFlow/state/guessed", "TestAttackSAMLFlow/state/a path, as with unsolicited answers | TestAttackSAMLFlow/state/an address",
	}},
	{text: "An answer belongs to a login that this browser began", tests: []string{
		"TestAttackSAMLFlow/state/of an attacker's login | TestAttackSAMLFlow/state/of an attacker's login, beside an own one",
		"TestAttackSAMLFlow/state/of another tab", "TestAttackSAMLFlow/state/guessed",
	}},
	{text: "The provider is the one that was asked (mix-up)", tests: []string{
		"TestAttackSAMLFlow/mix-up/an honest provider's answer in a login at another", "TestAttackSAMLFlow/mix-up/an answer of another provider",
		"TestAttackSAMLFlow/mix-up/another provider in an honest one's name", "TestAttackSAMLFlow/mix-up/an honest provider's name at another",
	}},
	{text: "Comments, CDATA and entities neither shorten nor change a value", corpus: []string{"comments, CDATA and entities change no value"}, tests: []string{
		"TestAttackSAMLText/D4 CVE-2017-11427 a comment in the NameID | TestAttackSAMLText/CVE-2017-11428 a comment with text", "TestAttackSAMLText/a CDATA section behind", "TestAttackSAMLText/character references",
	}},
	{text: "One encoding, and no compression: deflate bombs go nowhere", corpus: []string{"one encoding, no compression"}},
	{text: "What is said about a person is bounded, single where it must be, and text", corpus: []string{"what is said about a person"}},
	{text: "Encryption: OAEP, AES-CBC and AES-GCM; what comes out is untrusted", later: "nothing is decrypted yet: encrypted-assertion, encrypted-name-id and encrypted-attribute are refused"},
	{text: "Unsolicited responses, when on: no InResponseTo, RelayState picks among allowed paths", later: "there is no such option yet"},
	{text: "Logout messages: signature, issuer, destination, ID once", later: "there is no logout by SAML yet, and so no endpoint that takes one: root-is-a-logout-response"},
}

// source is where an attack is known from.
var source = regexp.MustCompile(`(CVE|CWE|GO)-[0-9]|SAML (Core|Profiles|Bindings) [0-9]|XML [A-Z0-9]|Somorovsky et al.|Signature wrapping [1-8]`)

// TestAttackPromises holds the table: each promise is shown by three distinct
// attacks at least, each of them exists, and each file belongs to a promise.
func TestAttackPromises(t *testing.T) {
	t.Parallel()
	shown := map[string]map[string]bool{} // distinct attacks by what files call the promise
	for _, a := range corpus(t) {
		if !source.MatchString(a.Name + " " + a.About) {
			t.Errorf("%s does not say where it is known from", a.Name)
		}
		for _, name := range a.Promises {
			if shown[name] == nil {
				shown[name] = map[string]bool{}
			}
			if a.VariantOf != "" {
				shown[name][a.VariantOf] = true
			} else {
				shown[name][a.Name] = true
			}
		}
	}
	for _, p := range promises {
		t.Run(p.text, func(t *testing.T) {
			if p.later != "" {
				if len(p.corpus)+len(p.tests) > 0 {
					t.Error("has both attacks and a reason for having none")
				}
				return
			}
			distinct := len(p.tests)
			for _, name := range p.corpus {
				distinct += len(shown[name])
			}
			if distinct < 3 {
				t.Errorf("is shown by %d distinct attacks, want three", distinct)
			}
			for _, line := range p.tests {
				for name := range strings.SplitSeq(line, " | ") {
					if !exists(t, name) {
						t.Errorf("there is no %s", name)
					}
				}
			}
		})
	}
	for name := range shown {
		if !slices.ContainsFunc(promises, func(p promise) bool { return slices.Contains(p.corpus, name) }) {
			t.Errorf("files of the corpus belong to %q, which is promised nowhere", name)
		}
	}
}

// exists says whether there is a test of that name.
func exists(t *testing.T, name string) bool {
	t.Helper()
	if rest, ok := strings.CutPrefix(name, "gateway."); ok {
		return gatewaytest.Named(t, "..", rest)
	}
	return gatewaytest.Named(t, ".", name)
}
