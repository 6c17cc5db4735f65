package caddymodule_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Rules for the sources of all tests of the module.

// A testSource is a file that belongs to tests only.
type testSource struct {
	name    string // below the module's root
	set     *token.FileSet
	file    *ast.File
	imports map[string]string // path by the name that the file uses
}

func testSources(t *testing.T) []*testSource {
	t.Helper()
	var all []*testSource
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git") {
			return errOr(err, fs.SkipDir)
		}
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".go") && strings.HasSuffix(path.Base(path.Dir(filepath.ToSlash(name))), "test") {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			all = append(all, newTestSource(strings.TrimPrefix(filepath.ToSlash(name), "../"), set, file))
		}
		return nil
	})
	if err != nil || len(all) < 150 {
		t.Fatalf("only %d files found: the test looks at the wrong tree; %v", len(all), err)
	}
	return all
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func newTestSource(name string, set *token.FileSet, file *ast.File) *testSource {
	s := &testSource{name: name, set: set, file: file, imports: map[string]string{}}
	for _, spec := range file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		used := path.Base(p)
		if spec.Name != nil {
			used = spec.Name.Name
		} else if regexp.MustCompile(`^v\d+$`).MatchString(used) {
			used = path.Base(path.Dir(p))
		}
		s.imports[used] = p
	}
	return s
}

// qualified returns "net/http.Get" for http.Get, or "" if n names nothing of
// another package.
func (s *testSource) qualified(n ast.Node) string {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok || x.Obj != nil || s.imports[x.Name] == "" {
		return ""
	}
	return s.imports[x.Name] + "." + sel.Sel.Name
}

// A finding is what a rule has against a place in a file.
type finding struct{ at, what string }

func (s *testSource) finding(n ast.Node, what string) finding {
	return finding{s.set.Position(n.Pos()).String(), what}
}

const gatewaytestPath = module + "gateway/gatewaytest"

// readsTestdata are the files that may name testdata without gatewaytest.Captured.
var readsTestdata = map[string]string{
	"caddymodule/golden_test.go":        "Caddyfiles of our own with what becomes of them; nothing in them has a date",
	"caddymodule/start_test.go":         "Caddyfiles of our own with what becomes of them; nothing in them has a date",
	"caddymodule/testsources_test.go":   "this rule",
	"caddymodule/wild_test.go":          "Caddyfiles of our own with what becomes of them; nothing in them has a date",
	"gateway/codes_test.go":             "attacks, which are made anew each time",
	"gateway/gatewaytest/captured.go":   "this is Captured",
	"integration/runner/runner_test.go": "names of files that it makes",
	"gateway/pages/pages_test.go":       "pages, which are rendered in a bubble",
}

// captured is what nobody writes by hand: certificates and signed tokens.
var captured = regexp.MustCompile(`MII[A-Za-z0-9+/]{60}|eyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20}`)

// capturedFindings are the documents that s reads without their clock. Whoever
// reads from testdata names it.
func (s *testSource) capturedFindings() (found []finding) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			switch s.qualified(call.Fun) {
			case gatewaytestPath + ".Captured", gatewaytestPath + ".CapturedNames", gatewaytestPath + ".Corpus":
				return false
			}
		}
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if strings.Contains(lit.Value, "testdata") {
				found = append(found, s.finding(lit, "testdata is read without its clock: use gatewaytest.Captured"))
			}
			if captured.MatchString(lit.Value) {
				found = append(found, s.finding(lit, "a captured document has no clock: put it into testdata, use gatewaytest.Captured"))
			}
		}
		if c, ok := n.(*ast.Comment); ok && strings.HasPrefix(c.Text, "//go:embed") && strings.Contains(c.Text, "testdata") {
			found = append(found, s.finding(c, "testdata is embedded without its clock: use gatewaytest.Captured"))
		}
		return true
	})
	return found
}

// TestCapturedDocumentsComeWithTheirClock: gatewaytest.Captured makes a test
// judge a document at the time it was captured; this test holds that nothing
// captured is read in another way.
func TestCapturedDocumentsComeWithTheirClock(t *testing.T) {
	t.Parallel()
	for _, s := range testSources(t) {
		found := s.capturedFindings()
		if readsTestdata[s.name] != "" {
			if len(found) == 0 {
				t.Errorf("%s is an exception that nothing needs", s.name)
			}
			continue
		}
		for _, f := range found {
			t.Errorf("%s: %s", f.at, f.what)
		}
	}
}

// globals are what tests must not share, with the reason.
var globals = map[string]string{
	"net/http.DefaultTransport": sharedTransport, "net/http.DefaultClient": sharedTransport,
	"net/http.Get": sharedTransport, "net/http.Head": sharedTransport, "net/http.Post": sharedTransport, "net/http.PostForm": sharedTransport,
	"net/http/httputil.NewSingleHostReverseProxy": sharedTransport,
	"net/http.DefaultServeMux":                    "all tests would share its routes", "net/http.Handle": "all tests would share its routes",
	"net/http.HandleFunc": "all tests would share its routes",
	"os.Setenv":           "use t.Setenv, which is undone", "os.Unsetenv": "use t.Setenv, which is undone", "os.Chdir": "use t.Chdir, which is undone",
	"log.SetOutput": sharedLog, "log.SetFlags": sharedLog, "log.SetPrefix": sharedLog, "log.Default": sharedLog,
	"log.Print": sharedLog, "log.Printf": sharedLog, "log.Println": sharedLog,
	"log/slog.SetDefault": sharedLog, "log/slog.Default": sharedLog,
	"go.uber.org/zap.ReplaceGlobals": sharedLog, "go.uber.org/zap.L": sharedLog, "go.uber.org/zap.S": sharedLog,
	"math/rand.Seed": "all tests would share the sequence",
	"go.opentelemetry.io/otel.SetTracerProvider": "all tests would share it", "go.opentelemetry.io/otel.SetTextMapPropagator": "all tests would share it",
}

const (
	sharedTransport = "another test's server that closes cuts the connections of http.DefaultTransport: use gatewaytest.Transport"
	sharedLog       = "all tests would share the log: give the code a logger of its own"
)

// withTransport are the types whose zero Transport is http.DefaultTransport.
var withTransport = []string{"net/http.Client", "net/http/httputil.ReverseProxy"}

// sharesGlobals are the places that may use a global, by file and global.
// Caddy runs once per process: caddy.Load, caddy.Stop and what belongs to them
// are used by the tests of caddymodule, which therefore never run in parallel.
var sharesGlobals = map[string]string{
	"gateway/samlsp/bench_test.go github.com/crewjam/saml.TimeNow": "crewjam/saml has no other clock; benchmarks run alone, and it is put back",
	"integration/harness_main_test.go scratch":                     "written before the first test begins",
}

// globalFindings are the globals that s uses, by name.
func (s *testSource) globalFindings(packageVars map[string]bool) map[string]finding {
	found := map[string]finding{}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if name := s.qualified(n); globals[name] != "" {
				found[name] = s.finding(n, globals[name])
			}
		case *ast.CompositeLit:
			if name := s.qualified(n.Type); slices.Contains(withTransport, name) && !hasKey(n, "Transport") {
				found[name] = s.finding(n, "it has no Transport: "+sharedTransport)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "new" && slices.Contains(withTransport, s.qualified(n.Args[0])) {
				found[s.qualified(n.Args[0])] = s.finding(n, "it has no Transport: "+sharedTransport)
			}
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, to := range n.Lhs {
					s.written(to, packageVars, found)
				}
			}
		case *ast.IncDecStmt:
			s.written(n.X, packageVars, found)
		}
		return true
	})
	return found
}

// written notes a variable that a test writes if other tests see it.
func (s *testSource) written(to ast.Expr, packageVars map[string]bool, found map[string]finding) {
	const what = "a test writes a variable of the whole package: keep it in the test"
	if name := s.qualified(to); name != "" {
		found[name] = s.finding(to, what)
	}
	id, ok := to.(*ast.Ident)
	if !ok || !packageVars[id.Name] {
		return
	}
	if id.Obj == nil || s.file.Scope.Lookup(id.Name) == id.Obj {
		found[id.Name] = s.finding(to, what)
	}
}

func hasKey(lit *ast.CompositeLit, key string) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		id, ok := kv.Key.(*ast.Ident)
		return ok && id.Name == key
	})
}

// packageVars are the variables that the package of each directory declares.
func packageVars(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range file.Scope.Objects {
			if obj.Kind == ast.Var {
				names[obj.Name] = true
			}
		}
	}
	return names
}

// TestTestsShareNoGlobals: a test that shares a global with another one fails
// when the machine is busy, far from the cause.
func TestTestsShareNoGlobals(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	vars := map[string]map[string]bool{}
	for _, s := range testSources(t) {
		dir := path.Dir(s.name)
		if vars[dir] == nil {
			vars[dir] = packageVars(t, dir)
		}
		for name, f := range s.globalFindings(vars[dir]) {
			key := s.name + " " + name
			if used[key] = true; sharesGlobals[key] == "" {
				t.Errorf("%s: %s: %s", f.at, name, f.what)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sharesGlobals)) {
		if !used[key] {
			t.Errorf("%s is an exception that nothing needs", key)
		}
	}
}
