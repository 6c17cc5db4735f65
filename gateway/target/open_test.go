package target_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/target"
)

func newOpen(t testing.TB, public, protect []string) *target.Open {
	t.Helper()
	o, err := target.NewOpen(public, protect)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestSwitchOffForms shows that each form of a protected path stops a path by itself.
func TestSwitchOffForms(t *testing.T) {
	t.Parallel()
	of := map[string]string{
		"case": "/ADMIN", "streams": "/admin::$data", "dots and plus signs at the end of a name": "/settings/...", "short names of Windows": "/ADMINI~1",
		"an added extension": "/admin.json", "a missing extension": "/login", "a path behind a file": "/login.php/x", "names in parentheses": "/adm/(s(x))in", "a file name before it": "/index.php/admin",
		"a language before it": "/de-DE/admin", "the index of a directory": "/settings/index.php",
	}
	for _, form := range target.PlainForms() {
		o := newOpen(t, nil, []string{"/admin/*", "/settings", "/login.php"})
		if o.Has(of[form], false) {
			t.Errorf("%s: %s is open", form, of[form])
		}
		target.ForgetForm(o, form)
		if !o.Has(of[form], false) {
			t.Errorf("%s: without it %s is not open", form, of[form])
		}
	}
	for form, path := range map[string]string{
		"no path": "*", "percent-encoding": "/%61", "path parameters": "/a;b", "backslashes": `/a\b`, "empty names": "//a", "dot segments": "/a/../b",
		"blanks, controls, all that is not ASCII, and what no path holds": "/a\tb",
	} {
		if got := target.Oddity(path); got != form || !slices.Contains(target.Forms(), form) {
			t.Errorf("%s: %q, want %q", path, got, form)
		}
	}
}

// Public paths win over protected ones only if they are public in each form.
func TestPublicWithinProtected(t *testing.T) {
	t.Parallel()
	o := newOpen(t, []string{"/admin/login", "/admin/assets/*", "/en/*", "/(app)/*"}, []string{"/admin/*"})
	for path, want := range map[string]bool{
		"/": true, "/blog": true, "/admin/login": true, "/admin/assets/a/b.css": true, "/admin/assets/": true, "/admin/assets": false, "/en/blog": true,
		"/admin/Login": false, "/admin/login/": false, "/admin/login.php": false, "/admin/x": false, "/en/admin/x": false, "/en/admin/login": true, "/(app)/admin/x": false,
		"/admin/assets/x.php/admin/x": false, "/admin/assets/x.php/b": true, "/admin/assets/x~1": false, "/admin/assets/x.": false, "/admin/assets/x::$DATA": false,
		"/admin/assets/(S(x))/y": false, "/admin/assets/(group)/page.js": true, "/x.php/admin/assets/a": true,
	} {
		if got := o.Has(path, false); got != want {
			t.Errorf("%s: open %v, want %v", path, got, want)
		}
	}
}

// A prefix that was stripped on the way, and other rewrites.
func TestOpenRewritten(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name              string
		public, protect   []string
		original, current string
		want              bool
	}{
		{"protected as it is left", nil, []string{"/admin/*"}, "/wiki/admin/x", "/admin/x", false},
		{"protected as it came", nil, []string{"/wiki/admin/*"}, "/wiki/admin/x", "/admin/x", false},
		{"not protected", nil, []string{"/admin/*"}, "/wiki/a", "/a", true},
		{"in a form of it", nil, []string{"/admin/*"}, "/wiki/ADMIN.php", "/ADMIN.php", false},
		{"odd as it came", nil, []string{"/admin/*"}, "/wiki/%61", "/a", false},
		{"odd as it is left", nil, []string{"/admin/*"}, "/wiki/a", "/a;b", false},
		{"rewritten to a protected one", nil, []string{"/admin/*"}, "/a", "/admin/a", false},
		{"rewritten from a protected one", nil, []string{"/admin/*"}, "/admin/a", "/a", false},
		{"rewritten elsewhere", nil, []string{"/admin/*"}, "/a", "/b", true},
		{"public with the prefix", []string{"/wiki/open/*"}, nil, "/wiki/open/x", "/open/x", true},
		{"public without the prefix", []string{"/open/*"}, nil, "/wiki/open/x", "/open/x", true},
		{"public with neither", []string{"/open/*"}, nil, "/wiki/shut/x", "/shut/x", false},
		{"rewritten to a public one", []string{"/open/*"}, nil, "/shut", "/open/shut", false},
		{"rewritten from a public one", []string{"/open/*"}, nil, "/open/x", "/shut", false},
		{"not just the rest", []string{"/wiki/open/*"}, nil, "/wiki/open/x", "/open/y", false},
		{"the rest of a name", []string{"/wiki/open/*"}, nil, "/wiki/open/x", "open/x", false},
		{"odd, public without the prefix", []string{"/open/*"}, nil, "/wiki;a/open/x", "/open/x", false},
		{"public within protected, with the prefix", []string{"/wiki/admin/login"}, []string{"/wiki/admin/*"}, "/wiki/admin/login", "/admin/login", true},
		{"public within protected, without the prefix", []string{"/admin/login"}, []string{"/admin/*"}, "/wiki/admin/login", "/admin/login", true},
		{"public as it came, protected as it is left", []string{"/wiki/*"}, []string{"/admin/*"}, "/wiki/admin/x", "/admin/x", false},
		{"rewritten to a public one within protected", []string{"/admin/login"}, []string{"/admin/*"}, "/x", "/admin/login", false},
	} {
		if got := newOpen(t, tc.public, tc.protect).HasRest(tc.original, tc.current, false); got != tc.want {
			t.Errorf("%s: open %v, want %v", tc.name, got, tc.want)
		}
	}
}

// A path beside that of the request, as the app may read it.
func TestOpenDestination(t *testing.T) {
	t.Parallel()
	o := newOpen(t, []string{"/admin/login/*"}, []string{"/admin/*"})
	for path, want := range map[string]bool{
		"/x": true, "/wiki/x/": true, "/": false, "/wiki/admin/x": false, "/a/b/ADMIN.php": false, "/wiki/admin/login/x": true, "/wiki/administration": true, "/wiki//admin": false,
		strings.Repeat("/admin/login", 600) + "/": true, strings.Repeat("/admin/login", 60000) + "/": false,
	} {
		if got := o.HasDestination(path, path, true); got != want {
			t.Errorf("%.50s: open %v, want %v", path, got, want)
		}
	}
}

// Patterns that leave nothing to guard.
func TestNothingToGuard(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		public, protect []string
		refused         bool
	}{
		{[]string{"/*"}, nil, true},
		{[]string{"/healthz", "/*"}, nil, true},
		{[]string{"/*"}, []string{"/admin/*"}, true},
		{[]string{"/admin/*"}, []string{"/admin/*"}, true},
		{[]string{"/a/*", "/b"}, []string{"/a/x/*", "/a/y", "/b"}, true},
		{[]string{"/"}, nil, false},
		{[]string{"/a/*"}, []string{"/a/*", "/b"}, false},
		{[]string{"/a/b/*"}, []string{"/a/*"}, false},
		{nil, []string{"/*"}, false},
	} {
		if _, err := target.NewOpen(tc.public, tc.protect); (err != nil) != tc.refused || err != nil && !strings.Contains(err.Error(), "leave it out at this site") {
			t.Errorf("public %q, protect %q: %v", tc.public, tc.protect, err)
		}
	}
}

// What an oracle of its own finds in a path, by regular expressions.
var (
	plainPath = regexp.MustCompile(`^(/[!-"$&-.0-:<-\[\]-~]*)+$`)
	shutName  = regexp.MustCompile(`^(shut\+*(\..*)?|.+~[0-9].*)$`)
	inner     = regexp.MustCompile(`\([^()]*\)`)
	leading   = regexp.MustCompile(`^([a-z]{2,3}([-_][a-z0-9]{2,8})*|\(.*\)|[.+]*(:.*)?)$`)
)

// readsAsShut says whether some back end may read a path as /shut or one below.
func readsAsShut(path string) bool {
	names := strings.Split(strings.Trim(strings.ToLower(path), "/"), "/")
	start := true
	for _, name := range names {
		cleaned, _, _ := strings.Cut(name, ":")
		cleaned = strings.TrimRight(cleaned, ".+")
		bare := name
		for inner.MatchString(bare) {
			bare = inner.ReplaceAllString(bare, "")
		}
		if name[:min(1, len(name))] == "(" && bare != "" && bare != name {
			return true // what is left joins the name before
		}
		if start && shutName.MatchString(name) || start && shutName.MatchString(cleaned) {
			return true
		}
		start = start && leading.MatchString(name) || strings.Contains(name, ".") || name == "index"
	}
	return false
}

// readsAsFile says whether some back end may read a path as /den/page.php, or as
// what is asked of it. It knows the plainest forms alone.
var readsAsFile = regexp.MustCompile(`(?i)^(/[a-z]{2}|/index\.php)*/den\.*(:[^/]*)?/page(\.php)?[.+]*(:[^/]*)?(/.*)?$`)

// readsAsIndex says the same of the index of /den.
var readsAsIndex = regexp.MustCompile(`(?i)^(/[a-z]{2}|/index\.php)*/den\.*(:[^/]*)?(/((index|default|home)\.[a-z]+(/.*)?)?)?$`)

// FuzzOpen holds what is open against the oracle: no path that a form of the table
// makes a protected one is open, for being public or for not being named.
func FuzzOpen(f *testing.F) {
	for _, path := range []string{
		"/open/a", "/shut", "/SHUT./x", "/shut::$data", "/(s(x))/shut", "/en/shut.json", "/open/x.php/shut", "/de-DE/index.php/(a)/SHU~1", "/open/%2e", "/a/shut", "/shu/(a)t", "/open/shut/x", "/.../shut", "/(0(0)0", "/(())", "/index/shut+", "/shu\"t", "/WIKI/shut/x", "/x/y/Shut.php", "/blog/", "/den/page.php/x", "/DEN/page.php./(a)/y", "/en/den/page.php/", "/DEN/", "/den./.", "/den/default.htm/x", "/den.json", "/en/den", "/den/INDEX~1.HTM", "/shut+.json",
	} {
		f.Add(path, 0)
		f.Add("/wiki"+path, 5)
	}
	public := newOpen(f, []string{"/open/*", "/healthz"}, nil)
	protect := newOpen(f, nil, []string{"/shut/*"})
	both := newOpen(f, []string{"/open/*", "/en/*"}, []string{"/shut/*"})
	index := newOpen(f, nil, []string{"/den/index.php"})
	file := newOpen(f, nil, []string{"/den/page.php"})
	f.Fuzz(func(t *testing.T, path string, cut int) {
		if open := public.Has(path, false); open && (!plainPath.MatchString(path) || !strings.HasPrefix(path, "/open/") && path != "/healthz") {
			t.Errorf("%q is public", path)
		}
		if index.Has(path, false) && readsAsIndex.MatchString(path) {
			t.Errorf("%q is open, though it shows a protected index", path)
		}
		if file.Has(path, false) && readsAsFile.MatchString(path) {
			t.Errorf("%q is open, though it asks a protected file", path)
		}
		for _, o := range []*target.Open{protect, both} {
			if o.Has(path, false) && (!plainPath.MatchString(path) || readsAsShut(path)) {
				t.Errorf("%q is open", path)
			}
			if o.Has(path, true) && !o.Has(path, false) {
				t.Errorf("%q is open with all below it, but not by itself", path)
			}
			if o.HasDestination(path, path, false) {
				for i, c := range path {
					if c == '/' && readsAsShut(path[i:]) {
						t.Errorf("%q is open as a destination", path)
					}
				}
			}
			if current := path[min(len(path), max(cut, 0)):]; o.HasRest(path, current, false) && (readsAsShut(path) || readsAsShut(current)) {
				t.Errorf("%q is open as %q", path, current)
			}
		}
	})
}

// TestLongPaths bounds the work that a path can make.
func TestLongPaths(t *testing.T) {
	o := newOpen(t, []string{"/open/*"}, []string{"/shut/x/y", "/en/x"})
	for _, name := range []string{"/(a)", "/en", "/a.b", "/shut.a", "/shut", "/...", "/shut.a/(a)", "/en/(a)", "/x~1"} {
		path := strings.Repeat(name, 60000/len(name))
		if allocated := testing.AllocsPerRun(1, func() { o.Has(path, false) }); allocated > 10 {
			t.Errorf("%s again and again allocates %v times", name, allocated)
		}
	}
}
