package xmlsec_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// What is read is shown in canonical form.
func TestRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, doc, want string }{
		{"smallest", `<a/>`, `<a></a>`},
		{"declaration", `<?xml version="1.0"?><a/>`, `<a></a>`},
		{"declaration in full", "<?xml  version = '1.0' encoding=\"utf-8\"\nstandalone='yes' ?>\n<a/>", `<a></a>`},
		{"byte order mark", "\uFEFF<?xml version='1.0' encoding='UTF-8'?><a/>", `<a></a>`},
		{"blanks and comments around the root", "<!-- a --> \r\n<a/>\t<!---->\n", `<a></a>`},
		{"comment within text", `<a>admin@example.com<!-- -->.evil.example</a>`, `<a>admin@example.com.evil.example</a>`},
		{"comment with markup", `<a><!-- <b> & ]]> <!DOCTYPE --></a>`, `<a></a>`},
		{"CDATA within text", `<a>x<![CDATA[<&]]]]>y<![CDATA[]]>&gt;<![CDATA[>]]></a>`, `<a>x&lt;&amp;]]y&gt;&gt;</a>`},
		{"references", `<a b="&lt;&amp;&quot;&apos;&gt;">&lt;&amp;&quot;&apos;&gt;&#65;&#x42;&#x0043;&#x1F600;</a>`, `<a b="&lt;&amp;&quot;'>">&lt;&amp;"'&gt;ABC😀</a>`},
		{"reference to an ampersand isn't read again", `<a>&#38;lt;&amp;lt;</a>`, `<a>&amp;lt;&amp;lt;</a>`},
		{"line ends", "<a b='1\r\n2\r3\n4\t5'>1\r\n2\r3\n4\r\r\n<![CDATA[\r\n\r]]></a>", "<a b=\"1 2 3 4 5\">1\n2\n3\n4\n\n\n\n</a>"},
		{"blanks by reference", "<a b='&#9;&#10;&#13;'>&#9;&#10;&#13;</a>", "<a b=\"&#x9;&#xA;&#xD;\">\t\n&#xD;</a>"},
		{"blanks in tags", "<a\n b\t=\r\n'1' ><c\n/></a\n>", `<a b="1"><c></c></a>`},
		{"quotes in quotes", `<a b='"' c="'"/>`, `<a b="&quot;" c="'"></a>`},
		{"end of CDATA in an attribute", `<a b="]]>"/>`, `<a b="]]>"></a>`},
		{"end of CDATA by reference", `<a>]]&gt;</a>`, `<a>]]&gt;</a>`},
		{"namespaces", `<p:a xmlns:p="urn:p" xmlns="urn:d"><b p:c="1" c="2" xmlns:q="urn:q"/><d xmlns=""/></p:a>`, `<p:a xmlns="urn:d" xmlns:p="urn:p"><b xmlns:q="urn:q" c="2" p:c="1"></b><d xmlns=""></d></p:a>`},
		{"prefix xml", `<a xml:lang="en" xmlns:xml="http://www.w3.org/XML/1998/namespace"/>`, `<a xml:lang="en"></a>`},
		{"prefix used above its declaration's end", `<a xmlns:p="urn:1"><p:b xmlns:p="urn:2"/><p:c/></a>`, `<a xmlns:p="urn:1"><p:b xmlns:p="urn:2"></p:b><p:c></p:c></a>`},
		{"same attribute in two namespaces", `<a xmlns:p="urn:1" xmlns:q="urn:2" p:b="" q:b="" b=""/>`, `<a xmlns:p="urn:1" xmlns:q="urn:2" b="" p:b="" q:b=""></a>`},
		{"names beyond ASCII", `<größe κλειδί="1"/>`, `<größe κλειδί="1"></größe>`},
		{"64 levels", nested(64), strings.Repeat("<a>", 64) + strings.Repeat("</a>", 64)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root, err := all().read([]byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			if root.Parent() != nil {
				t.Error("the root has a parent")
			}
			if got, err := xmlsec.Canonical(root, xmlsec.C14N10); err != nil || string(got) != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func nested(depth int) string {
	return strings.Repeat("<a>", depth) + strings.Repeat("</a>", depth)
}

// refused are documents with the checks that refuse them; without these they
// are read. No check stands for what can't be read in any way.
var refused = []struct {
	name, doc string
	checks    []string
}{
	{"size", "<a>" + strings.Repeat("x", 1<<20) + "</a>", []string{"xml size"}},
	{"no UTF-8", "<a>\xff</a>", []string{"xml characters"}},
	{"overlong UTF-8", "<a>\xc0\xbc</a>", []string{"xml characters"}},
	{"surrogate in UTF-8", "<a>\xed\xa0\x80</a>", []string{"xml characters"}},
	{"control character", "<a>\x01</a>", []string{"xml characters"}},
	{"null", "<a b='\x00'/>", []string{"xml characters"}},
	{"noncharacter", "<a>\uFFFE</a>", []string{"xml characters"}},
	{"control character in a comment", "<a><!-- \x02 --></a>", []string{"xml characters"}},
	{"XML 1.1", `<?xml version="1.1"?><a/>`, []string{"xml version"}},
	{"declared UTF-16", `<?xml version="1.0" encoding="UTF-16"?><a/>`, []string{"xml encoding"}},
	{"declared UTF-7", `<?xml version="1.0" encoding="UTF-7"?><a>+ADw-b+AD4-</a>`, []string{"xml encoding"}},
	{"DOCTYPE", `<!DOCTYPE a><a/>`, []string{"xml doctype"}},
	{"DOCTYPE with entities", `<!DOCTYPE a [<!ENTITY b "c">]><a/>`, []string{"xml doctype"}},
	{"DOCTYPE from elsewhere", `<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>`, []string{"xml doctype"}},
	{"DOCTYPE within the root", `<a><!DOCTYPE a></a>`, []string{"xml doctype"}},
	{"directive", `<a><!ELEMENT b></a>`, []string{"xml doctype"}},
	{"processing instruction", `<?b c?><a/>`, []string{"xml processing instructions"}},
	{"style sheet", `<?xml version="1.0"?><?xml-stylesheet href="b"?><a/>`, []string{"xml processing instructions"}},
	{"processing instruction in text", `<a>b<?c?>d</a>`, []string{"xml processing instructions"}},
	{"second declaration", `<?xml version="1.0"?><?xml version="1.0"?><a/>`, []string{"xml processing instructions"}},
	{"declaration behind a blank", ` <?xml version="1.0"?><a/>`, []string{"xml processing instructions"}},
	{"two colons", `<a:b:c xmlns:a="urn:a"></a:b:c>`, []string{"xml names"}},
	{"two colons in an attribute", `<a ::b=""/>`, []string{"xml names"}},
	{"prefix without a name", `<a xmlns:b="urn:b" b:=""/>`, []string{"xml names"}},
	{"name without a prefix", `<:a/>`, []string{"xml names"}},
	{"name of a digit", `<a 1="2"/>`, []string{"xml names"}},
	{"name with a sign", `<a£/>`, []string{"xml names"}},
	{"empty name", `< a=""/>`, []string{"xml names"}},
	{"entity", `<a>&b;</a>`, []string{"xml references"}},
	{"entity in an attribute", `<a b="&nbsp;"/>`, []string{"xml references"}},
	{"ampersand alone", `<a>b & c</a>`, []string{"xml references"}},
	{"reference to a null", `<a>&#0;</a>`, []string{"xml references"}},
	{"reference to a control character", `<a b="&#x1;"/>`, []string{"xml references"}},
	{"reference to a surrogate", `<a>&#xD800;</a>`, []string{"xml references"}},
	{"reference beyond Unicode", `<a>&#x110000;</a>`, []string{"xml references"}},
	{"reference that overflows", `<a>&#4294967361;</a>`, []string{"xml references"}},
	{"reference with many zeros", `<a>&#000000000000000065;</a>`, []string{"xml references"}},
	{"reference in capitals", `<a>&#X41;&LT;</a>`, []string{"xml references"}},
	{"reference with a sign", `<a>&#+65;&#-65;&#x_41;</a>`, []string{"xml references"}},
	{"text before the root", `b<a/>`, []string{"xml text outside the root"}},
	{"text behind the root", `<a/>b`, []string{"xml text outside the root"}},
	{"reference behind the root", `<a/>&#32;`, []string{"xml text outside the root"}},
	{"CDATA behind the root", `<a/><![CDATA[ ]]>`, []string{"xml text outside the root"}},
	{"null behind the root", "<a/>\x00", []string{"xml characters", "xml text outside the root"}},
	{"second byte order mark", "\uFEFF\uFEFF<a/>", []string{"xml text outside the root"}},
	{"second root", `<a/><b/>`, []string{"xml one root"}},
	{"second root behind a comment", `<a></a><!-- --><a></a>`, []string{"xml one root"}},
	{"65 levels", nested(65), []string{"xml depth"}},
	{"20,001 elements", "<a>" + strings.Repeat("<b/>", 20000) + "</a>", []string{"xml elements"}},
	{"65 attributes", "<a" + many(65, ` b%d=""`) + "/>", []string{"xml attributes"}},
	{"65 namespaces", "<a" + many(65, ` xmlns:b%d="urn:b"`) + "/>", []string{"xml attributes"}},
	{"prefix undeclared by an empty name", `<a xmlns:b=""/>`, []string{"xml namespaces"}},
	{"prefix xmlns declared", `<a xmlns:xmlns="urn:a"/>`, []string{"xml namespaces"}},
	{"prefix xml bound elsewhere", `<a xmlns:xml="urn:a"/>`, []string{"xml namespaces"}},
	{"namespace of xml under another prefix", `<a xmlns:b="http://www.w3.org/XML/1998/namespace"/>`, []string{"xml namespaces"}},
	{"namespace of xmlns", `<a xmlns="http://www.w3.org/2000/xmlns/"/>`, []string{"xml namespaces"}},
	{"namespace of 257 bytes", `<a xmlns:b="` + strings.Repeat("b", 257) + `"/>`, []string{"xml namespace length"}},
	{"undeclared prefix", `<b:a/>`, []string{"xml prefixes declared"}},
	{"undeclared prefix of an attribute", `<a b:c=""/>`, []string{"xml prefixes declared"}},
	{"prefix declared elsewhere", `<a><b xmlns:c="urn:c"/><c:d/></a>`, []string{"xml prefixes declared"}},
	{"element called xmlns:…", `<xmlns:a/>`, []string{"xml prefixes declared"}},
	{"attribute twice", `<a b="1" b="2"/>`, []string{"xml unique attributes"}},
	{"attribute twice among many", "<a" + many(9, ` b%d=""`) + ` b3=""/>`, []string{"xml unique attributes"}},
	{"attribute twice under two prefixes among many", `<a xmlns:b="urn:x" xmlns:c="urn:x"` + many(9, ` b%d=""`) + ` b:d="1" c:d="2"/>`, []string{"xml unique attributes"}},
	{"attribute twice under two prefixes", `<a xmlns:b="urn:x" xmlns:c="urn:x" b:d="1" c:d="2"/>`, []string{"xml unique attributes"}},
	{"prefix declared twice", `<a xmlns:b="urn:1" xmlns:b="urn:2"/>`, []string{"xml unique attributes"}},
	{"default namespace declared twice", `<a xmlns="urn:1" xmlns="urn:2"/>`, []string{"xml unique attributes"}},
	{"ID twice", `<a ID="1"><b ID="1"/></a>`, []string{"xml unique ids"}},
	{"ID and id", `<a ID="1"><b id="1"/></a>`, []string{"xml unique ids"}},
	{"ID and Id of one element", `<a ID="1" Id="1"/>`, []string{"xml unique ids"}},
	{"ID and xml:id", `<a ID="1"><b xml:id="1"/></a>`, []string{"xml unique ids"}},
	{"9 signatures", `<a xmlns:b="http://www.w3.org/2000/09/xmldsig#">` + strings.Repeat("<b:Signature/>", 9) + "</a>", []string{"xml signatures"}},

	{"nothing", "", nil},
	{"blanks alone", " \n", nil},
	{"comment alone", "<!-- -->", nil},
	{"text alone", "a", nil},
	{"UTF-16", "\xff\xfe<\x00a\x00/\x00>\x00", nil},
	{"open element", "<a><b></b>", nil},
	{"open tag", "<a", nil},
	{"open attribute", `<a b="`, nil},
	{"open attribute before a tag", `<a b="<c/>`, nil},
	{"open comment", `<a/><!-- `, nil},
	{"open CDATA", `<a><![CDATA[</a>`, nil},
	{"open declaration", `<?xml version="1.0"`, nil},
	{"crossed elements", `<a><b></a></b>`, nil},
	{"end without a beginning", `<a/></a>`, nil},
	{"end under another prefix", `<b:a xmlns:b="urn:b" xmlns:c="urn:b"></c:a>`, nil},
	{"end with an attribute", `<a></a b="">`, nil},
	{"end in capitals", `<a></A>`, nil},
	{"attribute without a value", `<a b/>`, nil},
	{"attribute without quotes", `<a b=c/>`, nil},
	{"attributes without a blank", `<a b="1"c="2"/>`, nil},
	{"slash within a tag", `<a / b="1"/>`, nil},
	{"less-than in an attribute", `<a b="<"/>`, nil},
	{"end of CDATA in text", `<a>]]></a>`, nil},
	{"dashes in a comment", `<a><!-- b -- c --></a>`, nil},
	{"comment of three dashes", `<a><!-- ---></a>`, nil},
	{"declaration without a version", `<?xml encoding="UTF-8"?><a/>`, nil},
	{"declaration out of order", `<?xml encoding="UTF-8" version="1.0"?><a/>`, nil},
	{"declaration with more", `<?xml version="1.0" b="c"?><a/>`, nil},
	{"declaration neither alone nor not", `<?xml version="1.0" standalone="maybe"?><a/>`, nil},
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := refusal.SAMLMalformed
			if slices.Contains(tt.checks, "xml size") {
				want = refusal.TooLarge
			}
			_, err := all().read([]byte(tt.doc))
			if refusal.CodeOf(err) != want || err == nil {
				t.Fatalf("got %v, want %s", err, want)
			}
			if len(tt.checks) > 0 {
				checktest.StoppedBy(t, tt.checks, func(without ...string) error {
					_, err := all(without...).read([]byte(tt.doc))
					return err
				})
			}
		})
	}
}

// Each check of the reader is all that stops some document.
func TestReadRefusesSwitchOff(t *testing.T) {
	t.Parallel()
	alone := map[string]bool{}
	for _, tt := range refused {
		if len(tt.checks) == 1 {
			alone[tt.checks[0]] = true
		}
	}
	for _, name := range checkNames() {
		if strings.HasPrefix(name, "xml ") && !alone[name] {
			t.Errorf("no document is refused by %q alone", name)
		}
	}
}

// An error says where, and nothing of what stands there.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	_, err := all().read([]byte("<a>\n<b>secret</c secret='secret'>"))
	var coded *refusal.Error
	if !errors.As(err, &coded) || coded.Err.Error() != "reading XML: line 2, byte 17: an end tag closes no open element, or has no end" {
		t.Errorf("got %v", err)
	}
	for _, tt := range refused {
		_, err := all().read([]byte(strings.ReplaceAll(tt.doc, "a", "secret")))
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}
