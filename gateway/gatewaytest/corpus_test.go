package gatewaytest_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

const goodAttack = `What it is
(RFC 7515 §4.1.11).

code: oidc_token_malformed
checks: crit, second reading
promise: one
promise: another one
variant of: other

set header.crit []

set header.b64 true
`

func TestParseAttack(t *testing.T) {
	t.Parallel()
	got, err := gatewaytest.ParseAttack("CVE-2018-0114.txt", goodAttack)
	want := gatewaytest.Attack{
		Name: "CVE-2018-0114", About: "What it is (RFC 7515 §4.1.11).", Code: "oidc_token_malformed",
		Checks: []string{"crit", "second reading"}, Promises: []string{"one", "another one"}, VariantOf: "other",
		Body: "set header.crit []\n\nset header.b64 true",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestParseAttackRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"no paragraph":        {"What it is\n(RFC 7515 §4.1.11).", " "},
		"no code":             {"code: oidc_token_malformed\n", ""},
		"two codes":           {"checks: ", "code: x\nchecks: "},
		"an empty code":       {"code: oidc_token_malformed", "code: "},
		"no checks":           {"checks: crit, second reading\n", ""},
		"checks and fixed":    {"promise: one", "fixed: because\npromise: one"},
		"checks twice":        {"promise: one", "checks: typ\npromise: one"},
		"a check twice":       {"second reading", "crit"},
		"an empty check":      {"second reading", ", typ"},
		"no promise":          {"promise: one\npromise: another one\n", ""},
		"a promise twice":     {"another one", "one"},
		"an unknown word":     {"promise: one", "Promise: one"},
		"no value":            {"promise: one", "promise"},
		"no mutation":         {"set header.crit []\n\nset header.b64 true\n", ""},
		"line ends of DOS":    {"\n", "\r\n"},
		"a blank in the word": {"code:", "code :"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.ReplaceAll(goodAttack, change[0], change[1])
			if text == goodAttack {
				t.Fatal("nothing is changed")
			}
			if a, err := gatewaytest.ParseAttack("x.txt", text); err == nil {
				t.Errorf("is taken: %+v", a)
			}
		})
	}
	for _, file := range []string{"x", "x.md", ".txt", "a b.txt", "-x.txt", "x--y.txt", "x.txt~", "a/x.txt"} {
		if _, err := gatewaytest.ParseAttack(file, goodAttack); err == nil {
			t.Errorf("the file name %q is taken", file)
		}
	}
}

func TestReadCorpus(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	other := strings.Replace(goodAttack, "variant of: other\n", "", 1)
	good := fstest.MapFS{"README.md": file("x"), "one.txt": file(goodAttack), "other.txt": file(other)}
	got, err := gatewaytest.ReadCorpus(good)
	if err != nil || len(got) != 2 || got[0].Name != "one" || got[1].Name != "other" {
		t.Fatalf("got %+v, %v", got, err)
	}
	for name, dir := range map[string]fstest.MapFS{
		"empty":                  {},
		"README alone":           {"README.md": file("x")},
		"another file":           {"one.txt": file(other), "two.bin": file("x")},
		"a directory":            {"one.txt": file(other), "two/three.txt": file(other)},
		"a fault":                {"one.txt": file(other), "two.txt": file("x")},
		"a variant of none":      {"one.txt": file(goodAttack)},
		"a variant of itself":    {"other.txt": file(goodAttack)},
		"a variant of a variant": {"one.txt": file(goodAttack), "other.txt": file(strings.Replace(goodAttack, ": other", ": one", 1))},
	} {
		if got, err := gatewaytest.ReadCorpus(dir); err == nil {
			t.Errorf("%s: is taken: %+v", name, got)
		}
	}
}

func FuzzParseAttack(f *testing.F) {
	f.Add("x.txt", goodAttack)
	f.Add("x.txt", "a\n\nfixed: b\n\nc")
	f.Fuzz(func(t *testing.T, file, text string) {
		a, err := gatewaytest.ParseAttack(file, text)
		if err != nil {
			return
		}
		if a.Name == "" || a.About == "" || a.Code == "" || a.Body == "" || len(a.Promises) == 0 || (len(a.Checks) == 0) == (a.Fixed == "") {
			t.Errorf("is taken though something is missing: %+v", a)
		}
	})
}
