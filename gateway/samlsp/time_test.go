//go:build !race && unix

package samlsp_test

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crewjam/saml"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec/xmlsectest"
)

const hostileSize = 1 << 20

// fill repeats what each returns, until the document would be too large, or
// have too many elements.
func fill(room int, each func(i int) string) string {
	var b strings.Builder
	elements := 0
	for i := 0; ; i++ {
		s := each(i)
		elements += strings.Count(s, "<") - strings.Count(s, "</")
		if b.Len()+len(s) > room || elements > 19800 {
			return b.String()
		}
		b.WriteString(s)
	}
}

func times(n int, s string) string { return strings.Repeat(s, n) }

// hostile are what one could put into an assertion of the size that is taken,
// and into the tag of the response around it. Some are refused on reading.
var hostile = map[string]func(room int) (attrs, inner string){
	"attribute values": func(room int) (string, string) {
		return "", "<saml:AttributeStatement>" + fill(room-100, func(i int) string {
			return fmt.Sprintf(`<saml:Attribute Name="memberOf"><saml:AttributeValue>group %d</saml:AttributeValue></saml:Attribute>`, i)
		}) + "</saml:AttributeStatement>"
	},
	"wide":           func(int) (string, string) { return "", times(19000, "<b/>") },
	"wide with text": func(room int) (string, string) { return "", times(19000, "<b>"+times(room/19000-7, "x")+"</b>") },
	"deep": func(room int) (string, string) {
		return "", fill(room, func(int) string { return times(61, "<b>") + times(61, "</b>") })
	},
	"deeper":        func(room int) (string, string) { return "", times(room/7, "<b>") + times(room/7, "</b>") },
	"deep and wide": func(int) (string, string) { return "", times(60, "<b>") + times(18000, "<b/>") + times(60, "</b>") },
	"attributes": func(room int) (string, string) {
		return "", fill(room, func(int) string { return "<b" + many(64, ` a%d=""`) + "/>" })
	},
	"attributes that differ late": func(room int) (string, string) {
		return "", fill(room, func(int) string {
			return "<b" + many(64, ` aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%02d=""`) + "/>"
		})
	},
	"attributes of one tag": func(room int) (string, string) {
		return "", "<b" + fill(room, func(i int) string { return fmt.Sprintf(` a%d=""`, i) }) + "/>"
	},
	"attributes of many namespaces": func(room int) (string, string) {
		long := times(250, "n")
		return many(60, ` xmlns:p%d="`+long+`%[1]d"`), fill(room-17000, func(int) string { return "<b" + many(60, ` p%d:a=""`) + "/>" })
	},
	"namespaces": func(room int) (string, string) {
		return "", fill(room, func(int) string { return "<b" + many(64, ` xmlns:p%d="n"`) + "/>" })
	},
	"namespaces on a path": func(room int) (string, string) {
		var b strings.Builder
		for level := range 60 {
			fmt.Fprintf(&b, "<b%s>", many(64, fmt.Sprintf(` xmlns:p%%d_%d="n"`, level)))
		}
		return "", b.String() + times(min(18000, (room-b.Len()-300)/4), "<b/>") + times(60, "</b>")
	},
	"namespaces on a path, used": func(room int) (string, string) {
		var b strings.Builder
		for level := range 60 {
			fmt.Fprintf(&b, "<b%s>", many(64, fmt.Sprintf(` xmlns:p%%d_%d="n%%[1]d"`, level)))
		}
		return "", b.String() + fill(room-b.Len()-300, func(i int) string { return fmt.Sprintf(`<p%d_%d:b p%[2]d_%[1]d:a=""/>`, i%60, (i/60)%60) }) + times(60, "</b>")
	},
	"namespaces in turn": func(room int) (string, string) {
		return "", fill(room, func(i int) string {
			return times(30, fmt.Sprintf(`<p:b xmlns:p="n%d">`, i)+`<p:b xmlns:p="m">`) + times(60, "</p:b>")
		})
	},
	"long namespaces, many uses": func(int) (string, string) { return ` xmlns:p="` + times(256, "n") + `"`, times(19000, "<p:b/>") },
	"default namespace on and off": func(room int) (string, string) {
		return "", fill(room, func(int) string { return `<b xmlns="n"><b xmlns=""/></b>` })
	},
	"entities":                 func(room int) (string, string) { return "", times(room/4, "&lt;") },
	"character references":     func(room int) (string, string) { return "", times(room/5, "&#13;") },
	"entities in an attribute": func(room int) (string, string) { return "", `<b a="` + times(room/6, "&quot;") + `"/>` },
	"ampersands":               func(room int) (string, string) { return "", times(room, "&") },
	"much to escape":           func(room int) (string, string) { return "", times(room, ">") },
	"quotes to escape":         func(room int) (string, string) { return "", "<b a='" + times(room-8, `"`) + "'/>" },
	"line ends":                func(room int) (string, string) { return "", times(room, "\r") },
	"brackets":                 func(room int) (string, string) { return "", times(room, "]") },
	"comments":                 func(room int) (string, string) { return "", times(room/7, "<!---->") },
	"comments in text":         func(room int) (string, string) { return "", times(room/8, "x<!---->") },
	"open comment":             func(room int) (string, string) { return "", times(room/4, "<!--") },
	"CDATA":                    func(room int) (string, string) { return "", times(room/12, "<![CDATA[]]>") },
	"CDATA in text":            func(room int) (string, string) { return "", times(room/14, "x<![CDATA[x]]>") },
	"processing instructions":  func(room int) (string, string) { return "", times(room/6, "<?a b?>") },
	"doctypes":                 func(room int) (string, string) { return "", times(room/12, "<!DOCTYPE a>") },
	"open tags":                func(room int) (string, string) { return "", times(room, "<") },
	"huge name": func(room int) (string, string) {
		return "", "<" + times(room/2-4, "b") + "></" + times(room/2-4, "b") + ">"
	},
	"huge names": func(room int) (string, string) {
		return "", fill(room, func(int) string { return "<" + times(5000, "b") + " " + times(5000, "a") + `=""/>` })
	},
	"huge prefix": func(room int) (string, string) {
		return ` xmlns:` + times(1000, "p") + `="n"`, fill(room-1100, func(int) string { return "<" + times(1000, "p") + ":b/>" })
	},
	"names beyond ASCII": func(room int) (string, string) {
		return "", fill(room, func(int) string { return "<" + times(100, "\U000E0000") + "/>" })
	},
	"blanks in a tag": func(room int) (string, string) { return "", "<b" + times(room-5, " ") + "/>" },
	"blanks":          func(room int) (string, string) { return "", times(room, " ") },
	"IDs": func(room int) (string, string) {
		return "", fill(room*3/5, func(i int) string { return fmt.Sprintf(`<b ID="_%d" xml:id="_%[1]dx"/>`, i) })
	},
	"signatures of others": func(int) (string, string) { return "", times(19000, `<Signature xmlns="n"/>`) },
	"large signature value": func(room int) (string, string) {
		return "", `<ds:Signature xmlns:ds="` + xmlsec.DSig + `"><ds:SignatureValue>` + times(room-150, "A") + `</ds:SignatureValue></ds:Signature>`
	},
}

// elsewhere are such things in other places: what each replaces, and by what.
var elsewhere = map[string]func(room int) (old, with string){
	"transforms": func(room int) (string, string) {
		return "</ds:Transforms>", times(18000, `<ds:Transform/>`) + "</ds:Transforms>"
	},
	"references": func(room int) (string, string) {
		return "</ds:SignedInfo>", times(18000, `<ds:Reference/>`) + "</ds:SignedInfo>"
	},
	"elements in SignedInfo": func(room int) (string, string) { return "</ds:SignedInfo>", times(18000, `<b/>`) + "</ds:SignedInfo>" },
	"text in SignedInfo":     func(room int) (string, string) { return "</ds:SignedInfo>", times(room, `>`) + "</ds:SignedInfo>" },
	"PrefixList": func(room int) (string, string) {
		return xmlsec.Exclusive + `"/></ds:Transforms>`, xmlsec.Exclusive + `"><e:InclusiveNamespaces xmlns:e="` + xmlsec.Exclusive + `" PrefixList="` + times(room/2-100, "p ") + `"/></ds:Transform></ds:Transforms>`
	},
	"PrefixList of the method": func(room int) (string, string) {
		return xmlsec.Exclusive + `"/><ds:SignatureMethod`, xmlsec.Exclusive + `"><e:InclusiveNamespaces xmlns:e="` + xmlsec.Exclusive + `" PrefixList="` + times(room/2-100, "p ") + `"/></ds:CanonicalizationMethod><ds:SignatureMethod`
	},
	"algorithm": func(room int) (string, string) { return xmlsectest.DSigMore + "rsa-sha256", times(room, "a") },
	"URI":       func(room int) (string, string) { return `URI="#`, `URI="#` + times(room, "a") },
	"ID":        func(room int) (string, string) { return `ID="_assertion"`, `ID="` + times(room, "a") + `"` },
	"SignatureValue": func(room int) (string, string) {
		return "<ds:SignatureValue>", "<ds:SignatureValue>" + times(room, "A")
	},
	"SignatureValue, with blanks": func(room int) (string, string) {
		return "<ds:SignatureValue>", "<ds:SignatureValue>" + times(room, " ")
	},
	"DigestValue": func(room int) (string, string) { return "<ds:DigestValue>", "<ds:DigestValue>" + times(room, "A") },
	"KeyInfo": func(room int) (string, string) {
		return "</ds:SignatureValue></ds:Signature>", "</ds:SignatureValue><ds:KeyInfo>" + times(room, "A") + "</ds:KeyInfo></ds:Signature>"
	},
	"elements in KeyInfo": func(room int) (string, string) {
		return "</ds:SignatureValue></ds:Signature>", "</ds:SignatureValue><ds:KeyInfo>" + times(18000, "<ds:X509Data/>") + "</ds:KeyInfo></ds:Signature>"
	},
	"Issuer": func(room int) (string, string) { return "<saml:Issuer>", "<saml:Issuer>" + times(room, "a") },
	"status codes": func(room int) (string, string) {
		return "</samlp:Status>", times(50, "<samlp:StatusCode>") + times(50, "</samlp:StatusCode>") + times(18000, "<samlp:StatusCode/>") + "</samlp:Status>"
	},
	"status codes below many namespaces": func(room int) (string, string) {
		const n = 15000
		code := func(rest string) string { return `<samlp:StatusCode Value="` + saml.StatusSuccess + `"` + rest }
		kid := "<n:b" + times((room-4000)/n/7-2, ` n:a="#"`) + "/>"
		for i := 0; strings.Contains(kid, "#"); i++ {
			kid = strings.Replace(kid, `a="#"`, string(rune('a'+i))+`=""`, 1)
		}
		with := `<samlp:Status` + many(60, ` xmlns:p%d="n"`) + ` xmlns:n="n" n:used="">` + code(many(60, ` xmlns:p%d="n"`)+">") + times(n, kid)
		return "<samlp:Status>" + code("/>"), with + "</samlp:StatusCode>"
	},
	"behind the root": func(room int) (string, string) { return "</samlp:Response>", "</samlp:Response>" + times(room, " ") },
	"before the root": func(room int) (string, string) {
		return "<samlp:Response", times(room/7, "<!---->") + "<samlp:Response"
	},
}

// TestTimeHostile has the provider verify documents of the size that is taken:
// such as anybody could send, whose signature fails early; such as somebody
// could who has an answer of another login, whose signature holds over its
// SignedInfo, so that the digest fails; and such as only the identity provider
// could sign.
//
// Each costs at most 50 ms of a processor's time on the machine that this was
// written on. What else that one or another machine is slowed down by is measured
// each time, by what encoding/xml takes there for a document of that size.
func TestTimeHostile(t *testing.T) {
	docs := map[string]string{}
	for name, shape := range hostile {
		attrs, inner := shape(hostileSize - 8000)
		put := func(doc string) string {
			doc = strings.Replace(doc, ` ID="_response"`, attrs+` ID="_response"`, 1)
			return strings.Replace(doc, "</saml:Assertion>", inner+"</saml:Assertion>", 1)
		}
		late := put(hostileSigned(t, xmlsec.Exclusive, ""))
		docs[name+", late"] = late
		docs[name+", late, inclusive"] = put(hostileSigned(t, xmlsec.C14N10, ""))
		docs[name+", early"] = strings.ReplaceAll(late, "<ds:SignatureValue>", "<ds:SignatureValue>AAAA")
		if canSign(put(hostileFrame())) {
			docs[name+", signed"] = hostileSigned(t, xmlsec.Exclusive, put(hostileFrame()))
		}
	}
	for name, shape := range elsewhere {
		old, with := shape(hostileSize - 8000)
		docs[name] = replace(old, with)(hostileSigned(t, xmlsec.Exclusive, ""))
	}
	p, err := samlsp.New(baseConfig(), samlsp.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	digested := 0
	for name, doc := range docs {
		t.Run(name, func(t *testing.T) {
			if err := bounded(t, p, doc); err != nil && strings.Contains(err.Error(), "the element was changed after it was signed") {
				digested++
			}
		})
	}
	if digested < 40 {
		t.Errorf("only %d documents got as far as their digest", digested)
	}
}

// bounded holds one document to its time, and returns what Complete says of it.
// The best of a few tries counts.
func bounded(t *testing.T, p *samlsp.Provider, doc string) (err error) {
	t.Helper()
	const limit, idle = 50 * time.Millisecond, 7500 * time.Microsecond
	params := url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(doc))}}
	l := newLogin()
	best := time.Hour
	for range 10 {
		control := timed(t, func() { decode(t, benign) })
		took := timed(t, func() {
			_, err = p.Complete(t.Context(), provider.CompleteRequest{
				Params: params, Private: samlsp.Flow(l.request, idpEntity, l.begun, false), CallbackURL: acsURL, MetadataURL: spEntity,
			})
			if err != nil && refusal.CodeOf(err) == refusal.Internal {
				t.Error(err)
			}
		})
		if best = min(best, time.Duration(float64(took)/max(1, float64(control)/float64(idle)))); best < limit {
			t.Logf("%d bytes took %v beside a control of %v: %v", len(doc), took, control, err)
			return err
		}
	}
	t.Errorf("%d bytes took %v, want %v", len(doc), best, limit)
	return err
}

// timed returns the processor's time that f takes, of all threads, and so with
// the collection of its garbage: others on the machine don't count.
func timed(t *testing.T, f func()) time.Duration {
	t.Helper()
	begin := processorTime(t)
	f()
	return processorTime(t) - begin
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// benign is what the machine's speed is measured by.
var benign = []byte("<a>" + fill(hostileSize-7, func(i int) string { return fmt.Sprintf(`<b c="%d">some text</b>`, i) }) + "</a>")

func decode(t *testing.T, doc []byte) {
	t.Helper()
	dec := xml.NewDecoder(bytes.NewReader(doc))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// hostileFrame is the control with room for both signatures.
func hostileFrame() string {
	return strings.ReplaceAll(newLogin().fill(control), "</saml:Issuer>", "</saml:Issuer><sig/>")
}

// hostileSigned signs doc, or the frame, assertion and response.
func hostileSigned(t *testing.T, transform, doc string) string {
	t.Helper()
	if doc == "" {
		doc = hostileFrame()
	}
	s := xmlsectest.NewSignatory(rsaKey())
	s.Edit = func(info string) string {
		return replace(xmlsec.Exclusive+`"/></ds:Transforms>`, transform+`"/></ds:Transforms>`)(info)
	}
	return s.Sign(t, s.Sign(t, doc, "_assertion"), "_response")
}

// canSign reports whether a document can be read, and written canonically.
func canSign(doc string) bool {
	root, err := samlsp.Read([]byte(doc))
	if err != nil {
		return false
	}
	_, err = xmlsec.Canonicalize(root, xmlsec.Exclusive, hostileSize)
	return err == nil
}
