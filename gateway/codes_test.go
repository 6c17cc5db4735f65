package gateway_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// madeBy says which test makes a code happen: a function of this package, or
// of the package that alone can.
var madeBy = map[refusal.Code]struct{ dir, test string }{
	refusal.Internal:            {".", "TestAnswerWithoutSubject"},
	refusal.NotReady:            {".", "TestNotStarted"},
	refusal.StoreUnavailable:    {".", "TestStoreDown"},
	refusal.StoreReplaced:       {".", "TestStoreReplaced"},
	refusal.ProviderUnavailable: {".", "TestProviderDown"},
	refusal.ProviderUnknown:     {".", "TestChooser"},
	refusal.Unauthenticated:     {".", "TestProblem"},
	refusal.AccessDenied:        {".", "TestDenied"},
	refusal.AccountBlocked:      {".", "TestBlockedAccount"},
	refusal.NoUsername:          {".", "TestBadIdentity"},
	refusal.UsernameForeign:     {".", "TestForeignUserNames"},
	refusal.BadCharacters:       {".", "TestBadIdentity"},
	refusal.NotFound:            {".", "TestUnknownEndpoints"},
	refusal.MethodNotAllowed:    {".", "TestErrorsToCaller"},
	refusal.CrossSite:           {".", "TestLogoutCSRF"},
	refusal.ForeignOrigin:       {".", "TestForeignOrigin"},
	refusal.UnknownHost:         {".", "TestHosts"},
	refusal.InsecureHTTP:        {".", "TestCookieAttributes"},
	refusal.TooLarge:            {".", "TestQueryLimits"},
	refusal.BadRequest:          {".", "TestQueryLimits"},
	refusal.TooManyAttempts:     {".", "TestLimit"},
	refusal.FlowUnknown:         {".", "TestLostFlows"},
	refusal.FlowOtherBrowser:    {".", "TestRestartOnce"},
	refusal.CookiesBlocked:      {".", "TestCookiesBlocked"},
	refusal.RedirectLoop:        {".", "TestRedirectLoop"},
	refusal.AppLoop:             {".", "TestAppLoop"},
	refusal.AnswerLost:          {".", "TestAnswerLost"},
	refusal.AnswerReplayed:      {".", "TestReplayID"},

	refusal.ProviderRefused:     {"oidcrp", ""},
	refusal.OIDCAnswerInvalid:   {"oidcrp", ""},
	refusal.OIDCIssuerMismatch:  {"oidcrp", ""},
	refusal.OIDCCodeRejected:    {"oidcrp", ""},
	refusal.OIDCClientRejected:  {"oidcrp", ""},
	refusal.OIDCTokenMalformed:  {"oidcrp", ""},
	refusal.OIDCSignature:       {"oidcrp", ""},
	refusal.OIDCAlgorithm:       {"oidcrp", ""},
	refusal.OIDCAudience:        {"oidcrp", ""},
	refusal.OIDCTime:            {"oidcrp", ""},
	refusal.OIDCNonce:           {"oidcrp", ""},
	refusal.OIDCClaimInvalid:    {"oidcrp", ""},
	refusal.OIDCEmailUnverified: {"oidcrp", ""},
	refusal.OIDCSubjectMismatch: {"oidcrp", ""},

	refusal.SAMLMalformed:       {"samlsp", ""},
	refusal.SAMLUnsigned:        {"samlsp", ""},
	refusal.SAMLSignature:       {"samlsp", ""},
	refusal.SAMLAlgorithm:       {"samlsp", ""},
	refusal.SAMLEncrypted:       {"samlsp", ""},
	refusal.SAMLIssuerMismatch:  {"samlsp", ""},
	refusal.SAMLDestination:     {"samlsp", ""},
	refusal.SAMLRequestMismatch: {"samlsp", ""},
	refusal.SAMLAudience:        {"samlsp", ""},
	refusal.SAMLTime:            {"samlsp", ""},
	refusal.SAMLSubject:         {"samlsp", ""},
	refusal.SAMLCondition:       {"samlsp", ""},
	refusal.SAMLAttribute:       {"samlsp", ""},
}

func TestEveryCode(t *testing.T) {
	t.Parallel()
	names := codeNames(t)
	codes := refusal.Codes()
	if len(codes) != len(names) {
		t.Errorf("%d codes are declared, %d are in Codes", len(names), len(codes))
	}
	tests, attacks := map[string]map[string]string{}, map[string]map[refusal.Code]bool{}
	for i, code := range codes {
		if slices.Index(codes, code) != i {
			t.Errorf("%s is there twice", code)
		}
		name, declared := names[code]
		if !declared {
			t.Errorf("%s is no declared code", code)
		}
		by, ok := madeBy[code]
		if !ok {
			t.Errorf("%s: no test makes it happen", code)
			continue
		}
		if tests[by.dir] == nil {
			tests[by.dir], attacks[by.dir] = testFunctions(t, by.dir), attackCodes(t, by.dir)
		}
		expected := regexp.MustCompile(`\brefusal\.` + name + `\b`)
		made := by.test == "" && attacks[by.dir][code]
		for test, body := range tests[by.dir] {
			made = made || (by.test == "" || by.test == test) && expected.MatchString(body)
		}
		if !made {
			t.Errorf("%s: no test %s in %s expects refusal.%s", code, by.test, by.dir, name)
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
func attackCodes(t *testing.T, dir string) map[refusal.Code]bool {
	t.Helper()
	corpus := filepath.Join(dir, "testdata", "attacks")
	if _, err := os.Stat(corpus); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	codes := map[refusal.Code]bool{}
	for _, a := range gatewaytest.Corpus(t, corpus) {
		codes[a.Code] = true
	}
	return codes
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
		if name == "codes_test.go" {
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

// codeNames reads the declared codes and the names of their constants.
func codeNames(t *testing.T) map[refusal.Code]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "refusal/refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[refusal.Code]string{}
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
			names[refusal.Code(value)] = spec.Names[0].Name
		}
		return true
	})
	if len(names) == 0 {
		t.Fatal("no code was found in refusal/refusal.go")
	}
	return names
}
