package oidcrp_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestChecksAreSealed holds that only the tests can drop a check: no option,
// variable, build tag or exported name of the product can.
func TestChecksAreSealed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found, calls := leaks(t, string(text))
		made += calls
		for _, leak := range found {
			t.Errorf("%s: %s", file, leak)
		}
	}
	if made != 1 {
		t.Errorf("a checklist is made %d times, want once, in New", made)
	}
}

func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a build tag":                   "//go:build debug\n\npackage oidcrp",
		"the environment":               "package oidcrp\nimport \"os\"\nvar _ = os.Args",
		"flags":                         "package oidcrp\nimport \"flag\"\nvar _ = flag.Args",
		"linkname":                      "package oidcrp\nimport _ \"unsafe\"",
		"an exported variable":          "package oidcrp\nvar Strict = true",
		"a checklist in a variable":     "package oidcrp\nvar all = allChecks()",
		"another checklist":             "package oidcrp\nfunc f() { _ = &checklist{} }",
		"checks exchanged":              "package oidcrp\nfunc f(p *Provider) { p.checks = nil }",
		"a list exchanged":              "package oidcrp\nfunc f(p *Provider) { p.checks.json = nil }",
		"a check exchanged":             "package oidcrp\nfunc f(p *Provider) { p.checks.json[0].run = nil }",
		"a reader exchanged":            "package oidcrp\nfunc f(c *checklist) { c.read = nil }",
		"what fetches exchanged":        "package oidcrp\nfunc f(p *Provider) { p.outbound = nil }",
		"a pointer to the checks":       "package oidcrp\nfunc f(p *Provider) { _ = &p.checks.json }",
		"an exported type":              "package oidcrp\ntype Checks = checklist",
		"an exported way in":            "package oidcrp\nfunc (p *Provider) Checks() *checklist { return p.checks }",
		"an exported field":             "package oidcrp\ntype Deps struct{ Checks *checklist }",
		"an option that takes a reader": "package oidcrp\ntype Deps struct{ Outbound outbound }",
	} {
		if found, _ := leaks(t, text); len(found) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
}

// leaks are the ways in which a file of the product could have a check dropped.
// calls is how often New makes a checklist there.
func leaks(t *testing.T, text string) (found []string, calls int) {
	t.Helper()
	file, err := parser.ParseFile(gotoken.NewFileSet(), "x.go", text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, group := range file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:") {
				add("has %s", c.Text)
			}
		}
	}
	for _, imported := range file.Imports {
		if slices.Contains([]string{`"os"`, `"flag"`, `"unsafe"`, `"reflect"`, `"syscall"`}, imported.Path.Value) {
			add("imports %s", imported.Path.Value)
		}
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.GenDecl:
			leaksOf(decl, add)
		case *ast.FuncDecl:
			if decl.Name.IsExported() && mentions(decl.Type, sealed) {
				add("%s is exported and has a part in the checks", decl.Name.Name)
			}
			if decl.Body != nil {
				calls += leaksIn(decl, add)
			}
		}
	}
	return found, calls
}

// sealed are the types that make up the checks; sealedFields hold them.
var (
	sealed       = []string{"check", "checklist", "outbound", "keySet", "remote"}
	sealedFields = []string{"checks", "outbound", "keys", "read", "split"}
)

// leaksOf looks at what is declared beside functions.
func leaksOf(decl *ast.GenDecl, add func(string, ...any)) {
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if decl.Tok == gotoken.VAR && (name.IsExported() || mentions(spec, append(sealed, "allChecks"))) && name.Name != "_" {
					add("the variable %s could change the checks", name.Name)
				}
			}
		case *ast.TypeSpec:
			if spec.Assign.IsValid() && mentions(spec.Type, sealed) {
				add("%s is another name for a part of the checks", spec.Name.Name)
			}
			if fields, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range fields.Fields.List {
					for _, name := range f.Names {
						if name.IsExported() && mentions(f.Type, sealed) {
							add("the field %s.%s is exported", spec.Name.Name, name.Name)
						}
					}
				}
			}
		}
	}
}

// leaksIn looks at a function's body. It returns how often New makes a
// checklist.
func leaksIn(fn *ast.FuncDecl, add func(string, ...any)) (calls int) {
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if fn.Name.Name != "New" && selects(left) {
					add("%s exchanges a part of the checks", fn.Name.Name)
				}
			}
		case *ast.UnaryExpr:
			if _, made := n.X.(*ast.CompositeLit); n.Op == gotoken.AND && !made && selects(n.X) {
				add("%s takes the address of a part of the checks", fn.Name.Name)
			}
		case *ast.CompositeLit:
			if name, ok := n.Type.(*ast.Ident); ok && name.Name == "checklist" && fn.Name.Name != "allChecks" {
				add("%s makes a checklist of its own", fn.Name.Name)
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "allChecks" {
				calls++
			}
		}
		return true
	})
	return calls
}

// selects says whether an expression leads to or through a sealed field.
func selects(e ast.Expr) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains(sealedFields, sel.Sel.Name) {
			found = true
		}
		return !found
	})
	return found
}

// mentions says whether one of the names stands in a piece of source.
func mentions(n ast.Node, names []string) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && slices.Contains(names, id.Name) {
			found = true
		}
		return !found
	})
	return found
}
