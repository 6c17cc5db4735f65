package gateway_test

import (
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/strip"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// formRow is a row of the table of forms in docs/protect.md.
type formRow struct {
	name          string
	closed, opens []string
}

// formTable reads the table of docs/protect.md, and the options of its site.
func formTable(t *testing.T) (protected []string, rows []formRow) {
	t.Helper()
	page, err := os.ReadFile("../docs/protect.md")
	mustDo(t, err)
	quoted := regexp.MustCompile("`([^`]+)`")
	texts := func(cell string) (list []string) {
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			list = append(list, m[1])
		}
		return list
	}
	_, text, found := strings.Cut(string(page), "\n| form | needs a login | open |\n|---|---|---|\n")
	if !found {
		t.Fatal("there is no table of forms")
	}
	options := regexp.MustCompile("`protect ([^`]+)`:\n\n\\| form").FindSubmatch(page)
	if options == nil {
		t.Fatal("the table does not say what its site protects")
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 3 {
			t.Fatalf("a row of %d cells: %s", len(cells), line)
		}
		rows = append(rows, formRow{strings.TrimSpace(cells[0]), texts(cells[1]), texts(cells[2])})
	}
	return strings.Fields(string(options[1])), rows
}

// TestFormsOfProtectedPaths compares docs/protect.md with the gateway: the table has
// all forms, its closed examples need a login, and its open ones don't.
func TestFormsOfProtectedPaths(t *testing.T) {
	t.Parallel()
	protected, rows := formTable(t)
	s := newLab(t).site(protect(protected...))
	described := map[string]bool{}
	for _, row := range rows {
		described[row.name] = true
		if len(row.closed) == 0 || len(row.opens) == 0 {
			t.Errorf("%s: a row without an example", row.name)
		}
		t.Run(row.name, func(t *testing.T) {
			for _, example := range row.closed {
				if exampleOpen(t, s, example) {
					t.Errorf("%s: open", example)
				}
			}
			for _, example := range row.opens {
				if !exampleOpen(t, s, example) {
					t.Errorf("%s: needs a login", example)
				}
			}
		})
	}
	if got, want := slices.Sorted(maps.Keys(described)), slices.Sorted(slices.Values(target.Forms())); !slices.Equal(got, want) {
		t.Errorf("described are %q, there are %q", got, want)
	}
}

// exampleOpen says whether a request needs no login: a target, a method and a target,
// or a header of a request that is open without.
func exampleOpen(t *testing.T, s *site, example string) bool {
	t.Helper()
	method, to, header, value := "GET", example, "", ""
	if name, v, ok := strings.Cut(example, ": "); ok {
		header, value, to = name, v, "/blog"
		if strings.Contains(name, "Method") {
			to = "/"
		}
	} else if m, path, ok := strings.Cut(example, " "); ok {
		method, to = m, path
	}
	r, ok := wire(to, appHost)
	if !ok {
		t.Fatalf("net/http refuses %q before us: the case shows nothing", to)
	}
	r.Method = method
	if header != "" {
		if !passed(t, s, r.Clone(t.Context())) {
			t.Fatalf("%s %s needs a login without %s already", method, to, header)
		}
		r.Header.Set(header, value)
	}
	return passed(t, s, r)
}

// Some apps take another path from a header. At a site that decides by paths, such
// headers are removed, with and without a session.
func TestPathHeadersAreTaken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.gateway()
	for name, tc := range map[string]struct {
		change []func(*gateway.AppOptions)
		kept   bool
	}{
		"protect":         {[]func(*gateway.AppOptions){protect("/shut/*", "/")}, false},
		"public":          {[]func(*gateway.AppOptions){public("/open")}, false},
		"neither of both": {nil, true},
	} {
		s := l.siteOf(g, strings.ReplaceAll(name, " ", "-")+".example", tc.change...)
		b := s.browser()
		b.signIn()
		for _, path := range []string{"/open", "/shut/a"} {
			for _, header := range []string{"X-Original-Url", "X-Rewrite-Url", "X_original.url", "Script_name", "Path-Info", "X-Script-Name"} {
				before := s.reached()
				wantStatus(t, b.fetch(path, header, "/open"), http.StatusOK)
				if _, kept := s.got().header[header]; kept != tc.kept || s.reached() != before+1 {
					t.Errorf("%s: %s: %s kept: %v, want %v", name, path, header, kept, tc.kept)
				}
			}
		}
	}
	r := &http.Request{Trailer: http.Header{"X-Original-Url": nil, "X-Sum": nil}}
	if strip.TakePaths(r); len(r.Trailer) != 1 {
		t.Errorf("trailers: %v", r.Trailer)
	}
}
