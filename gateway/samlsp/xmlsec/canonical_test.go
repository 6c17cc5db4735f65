package xmlsec_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec/xmlsectest"
)

// The canonical forms in testdata/canonical.json are those of the Java
// platform's XML security, of the element whose ID is apex.
func TestCanonical(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Name, Document, Algorithm, Canonical string
		Prefixes                             []string
	}
	synctest.Test(t, func(t *testing.T) {
		if err := json.Unmarshal(file(t, "canonical.json"), &cases); err != nil {
			t.Fatal(err)
		}
	})
	if len(cases) < 35 {
		t.Fatalf("there are only %d cases", len(cases))
	}
	for _, tt := range cases {
		t.Run(tt.Name, func(t *testing.T) {
			t.Parallel()
			root, err := all().read([]byte(tt.Document))
			if err != nil {
				t.Fatal(err)
			}
			got, err := xmlsec.Canonical(xmlsectest.ByID(root, "apex"), tt.Algorithm, tt.Prefixes...)
			if err != nil || string(got) != tt.Canonical {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.Canonical)
			}
		})
	}
}

// The nearest ancestor's attribute is inherited (Canonical XML 1.0, 2.4).
func TestCanonicalInheritsTheNearest(t *testing.T) {
	t.Parallel()
	root, err := all().read([]byte(`<a xml:lang="de"><b xml:lang="en"><c ID="apex"/></b></a>`))
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{xmlsec.C14N10, xmlsec.C14N11} {
		if got, err := xmlsec.Canonical(xmlsectest.ByID(root, "apex"), algorithm); string(got) != `<c ID="apex" xml:lang="en"></c>` {
			t.Errorf("%s: got %s, %v", algorithm, got, err)
		}
	}
}

// What would be joined isn't guessed, and what would be huge isn't written.
func TestCanonicalRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, doc, algorithm string }{
		{"xml:base above", `<a xml:base="b/"><c ID="apex"/></a>`, xmlsec.C14N11},
		{"namespace on many", `<a xmlns:b="` + strings.Repeat("x", 256) + `"><c ID="apex">` + strings.Repeat(`<b:d/>`, 5000) + `</c></a>`, xmlsec.Exclusive},
		{"much to escape", `<a ID="apex">` + strings.Repeat(">", 1<<19) + `</a>`, xmlsec.C14N10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root, err := all().read([]byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := xmlsec.Canonical(xmlsectest.ByID(root, "apex"), tt.algorithm); err == nil {
				t.Errorf("got %d bytes", len(got))
			}
		})
	}
}
