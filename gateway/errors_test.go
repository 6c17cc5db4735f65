package gateway_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

var update = flag.Bool("update", false, "write docs/errors.md and the goldens anew")

// madeBy says which test makes a code happen: a function of this package, or
// of the package that alone can.
var madeBy = map[gateway.Code]struct{ dir, test string }{
	gateway.CodeInternal:            {".", "TestAnswerWithoutSubject"},
	gateway.CodeNotReady:            {".", "TestNotStarted"},
	gateway.CodeStoreUnavailable:    {".", "TestStoreDown"},
	gateway.CodeStoreReplaced:       {".", "TestStoreReplaced"},
	gateway.CodeProviderUnavailable: {".", "TestProviderDown"},
	gateway.CodeProviderUnknown:     {".", "TestChooser"},
	gateway.CodeUnauthenticated:     {".", "TestProblem"},
	gateway.CodeAccessDenied:        {".", "TestDenied"},
	gateway.CodeAccountBlocked:      {".", "TestBlockedAccount"},
	gateway.CodeNoUsername:          {".", "TestBadIdentity"},
	gateway.CodeBadCharacters:       {".", "TestBadIdentity"},
	gateway.CodeNotFound:            {".", "TestUnknownEndpoints"},
	gateway.CodeMethodNotAllowed:    {".", "TestErrorsToCaller"},
	gateway.CodeCrossSite:           {".", "TestLogoutCSRF"},
	gateway.CodeForeignOrigin:       {".", "TestForeignOrigin"},
	gateway.CodeUnknownHost:         {".", "TestHosts"},
	gateway.CodeInsecureHTTP:        {".", "TestCookieAttributes"},
	gateway.CodeTooLarge:            {".", "TestQueryLimits"},
	gateway.CodeBadRequest:          {".", "TestQueryLimits"},
	gateway.CodeTooManyAttempts:     {".", "TestLimit"},
	gateway.CodeFlowUnknown:         {".", "TestLostFlows"},
	gateway.CodeFlowOtherBrowser:    {".", "TestRestartOnce"},
	gateway.CodeCookiesBlocked:      {".", "TestCookiesBlocked"},
	gateway.CodeRedirectLoop:        {".", "TestRedirectLoop"},
	gateway.CodeAppLoop:             {".", "TestAppLoop"},
	gateway.CodeAnswerLost:          {".", "TestAnswerLost"},
	gateway.CodeAnswerReplayed:      {".", "TestReplayID"},

	gateway.CodeProviderRefused:     {"oidcrp", ""},
	gateway.CodeOIDCAnswerInvalid:   {"oidcrp", ""},
	gateway.CodeOIDCIssuerMismatch:  {"oidcrp", ""},
	gateway.CodeOIDCCodeRejected:    {"oidcrp", ""},
	gateway.CodeOIDCClientRejected:  {"oidcrp", ""},
	gateway.CodeOIDCTokenMalformed:  {"oidcrp", ""},
	gateway.CodeOIDCSignature:       {"oidcrp", ""},
	gateway.CodeOIDCAlgorithm:       {"oidcrp", ""},
	gateway.CodeOIDCAudience:        {"oidcrp", ""},
	gateway.CodeOIDCTime:            {"oidcrp", ""},
	gateway.CodeOIDCNonce:           {"oidcrp", ""},
	gateway.CodeOIDCClaimInvalid:    {"oidcrp", ""},
	gateway.CodeOIDCSubjectMismatch: {"oidcrp", ""},

	gateway.CodeSAMLMalformed:       {"samlsp", ""},
	gateway.CodeSAMLUnsigned:        {"samlsp", ""},
	gateway.CodeSAMLSignature:       {"samlsp", ""},
	gateway.CodeSAMLAlgorithm:       {"samlsp", ""},
	gateway.CodeSAMLEncrypted:       {"samlsp", ""},
	gateway.CodeSAMLIssuerMismatch:  {"samlsp", ""},
	gateway.CodeSAMLDestination:     {"samlsp", ""},
	gateway.CodeSAMLRequestMismatch: {"samlsp", ""},
	gateway.CodeSAMLAudience:        {"samlsp", ""},
	gateway.CodeSAMLTime:            {"samlsp", ""},
	gateway.CodeSAMLSubject:         {"samlsp", ""},
	gateway.CodeSAMLCondition:       {"samlsp", ""},
	gateway.CodeSAMLAttribute:       {"samlsp", ""},
}

func TestEveryCode(t *testing.T) {
	t.Parallel()
	names := codeNames(t)
	codes := gateway.Codes()
	if len(codes) != len(names) {
		t.Errorf("%d codes are declared, %d are in Codes", len(names), len(codes))
	}
	tests, attacks := map[string]map[string]string{}, map[string]map[gateway.Code]bool{}
	for i, code := range codes {
		if slices.Index(codes, code) != i {
			t.Errorf("%s is there twice", code)
		}
		name, declared := names[code]
		if !declared {
			t.Errorf("%s is no declared code", code)
		}
		wantRow(t, code)
		by, ok := madeBy[code]
		if !ok {
			t.Errorf("%s: no test makes it happen", code)
			continue
		}
		if tests[by.dir] == nil {
			tests[by.dir], attacks[by.dir] = testFunctions(t, by.dir), attackCodes(t, by.dir)
		}
		expected := regexp.MustCompile(`\bgateway\.` + name + `\b`)
		made := by.test == "" && attacks[by.dir][code]
		for test, body := range tests[by.dir] {
			made = made || (by.test == "" || by.test == test) && expected.MatchString(body)
		}
		if !made {
			t.Errorf("%s: no test %s in %s expects gateway.%s", code, by.test, by.dir, name)
		}
	}
	for code := range madeBy {
		if !slices.Contains(codes, code) {
			t.Errorf("%s is listed here and is no code", code)
		}
	}
}

// attackCodes are the codes that a package's corpus of attacks is refused with,
// if it has one.
func attackCodes(t *testing.T, dir string) map[gateway.Code]bool {
	t.Helper()
	corpus := filepath.Join(dir, "testdata", "attacks")
	if _, err := os.Stat(corpus); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	codes := map[gateway.Code]bool{}
	for _, a := range gatewaytest.Corpus(t, corpus) {
		codes[a.Code] = true
	}
	return codes
}

// wantRow checks that a code's row says something to each of its readers.
func wantRow(t *testing.T, code gateway.Code) {
	t.Helper()
	row := gateway.RefusalOf(code)
	if code != gateway.CodeInternal && row == gateway.RefusalOf(gateway.CodeInternal) {
		t.Errorf("%s has no row", code)
	}
	if http.StatusText(row.Status) == "" || row.Status < 400 {
		t.Errorf("%s: status %d", code, row.Status)
	}
	if (strings.HasPrefix(string(code), "oidc_") || strings.HasPrefix(string(code), "saml_")) && row.Status >= 500 {
		t.Errorf("%s: status %d for what was judged bad", code, row.Status)
	}
	if row.Title == "" || strings.HasSuffix(row.Title, ".") {
		t.Errorf("%s: title %q, want words without a full stop", code, row.Title)
	}
	for _, text := range []string{row.Text, row.Fix} {
		if len(text) < 20 || !strings.HasSuffix(text, ".") || strings.Contains(text, "  ") || strings.ToUpper(text[:1]) != text[:1] && !strings.HasPrefix(text, "exp, ") {
			t.Errorf("%s: %q, want sentences", code, text)
		}
	}
}

// codeNames reads the declared codes and the names of their constants.
func codeNames(t *testing.T) map[gateway.Code]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[gateway.Code]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "Code" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			names[gateway.Code(value)] = spec.Names[0].Name
		}
		return true
	})
	if len(names) == 0 {
		t.Fatal("no code was found in errors.go")
	}
	return names
}

// testFunctions reads the functions of a package's tests, without comments.
func testFunctions(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	functions := map[string]string{}
	for _, name := range files {
		if name == "errors_test.go" {
			continue // it names them all
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			key := fmt.Sprint(name, set.Position(decl.Pos()).Line) // tables
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				key = f.Name.Name
			}
			functions[key] = string(source[set.Position(decl.Pos()).Offset:set.Position(decl.End()).Offset])
		}
	}
	return functions
}

// TestErrorsPage holds docs/errors.md to the table.
func TestErrorsPage(t *testing.T) {
	t.Parallel()
	const path = "../docs/errors.md"
	want := errorsPage()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(got, want) {
		t.Fatalf("docs/errors.md is not what the table says: go test ./gateway -run TestErrorsPage -update")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func errorsPage() []byte {
	var b bytes.Buffer
	b.WriteString(`# Errors

Every refusal of the gateway has one of these codes. It stands on the page or in the JSON problem (RFC 9457) that the
client gets, beside a reference. The log line with the same reference has the cause in full; the client never sees it.

<!-- Made from the table in gateway/errors.go: go test ./gateway -run TestErrorsPage -update -->

| code | status | what the person sees |
|---|---|---|
`)
	for _, code := range gateway.Codes() {
		row := gateway.RefusalOf(code)
		fmt.Fprintf(&b, "| [`%s`](#%s) | %d | %s |\n", code, code, row.Status, row.Title)
	}
	for _, code := range gateway.Codes() {
		row := gateway.RefusalOf(code)
		fmt.Fprintf(&b, "\n## %s\n\n%d %s. The person reads:\n\n> **%s**\n>\n> %s\n\n**Cause and fix.** %s\n", code, row.Status, http.StatusText(row.Status), row.Title, row.Text, row.Fix)
	}
	return b.Bytes()
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	for name, tc := range map[string]struct {
		err  error
		text string
		code gateway.Code
	}{
		"with cause":    {gateway.NewError(gateway.CodeNotFound, cause), "not_found: the cause", gateway.CodeNotFound},
		"without":       {gateway.NewError(gateway.CodeNotFound, nil), "not_found", gateway.CodeNotFound},
		"wrapped":       {fmt.Errorf("doing: %w", gateway.NewError(gateway.CodeNotFound, cause)), "doing: not_found: the cause", gateway.CodeNotFound},
		"another error": {cause, "the cause", gateway.CodeInternal},
	} {
		if tc.err.Error() != tc.text || gateway.CodeOf(tc.err) != tc.code {
			t.Errorf("%s: %q with code %s", name, tc.err, gateway.CodeOf(tc.err))
		}
	}
	if !errors.Is(gateway.NewError(gateway.CodeNotFound, cause), cause) {
		t.Error("the cause is not wrapped")
	}
	if gateway.RefusalOf("no_such_code") != gateway.RefusalOf(gateway.CodeInternal) {
		t.Error("an unknown code has a row of its own")
	}
	codes := gateway.Codes()
	codes[0] = "changed"
	if gateway.Codes()[0] == "changed" {
		t.Error("Codes hands out its own slice")
	}
}
