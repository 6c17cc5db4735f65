package pages_test

import (
	"bytes"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The clock of a synctest bubble begins here.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

var chrome = pages.Chrome{Prefix: "/.sso", App: "grafana.example.com"}

// branded is the chrome of a site with a title, a logo and help.
var branded = pages.Chrome{Prefix: "/.sso", App: "Team wiki", Host: "wiki.example.com", Brand: pages.Brand{Title: "Team wiki", Logo: logo, Help: "it@example.com"}}

var logo, _ = pages.NewLogo([]byte(logoSVG))

const logoSVG = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><script>alert(1)</script><rect width="1" height="1"/></svg>`

// examples has each type of page, in each form that looks different.
func examples() map[string]any {
	denied := pages.Refusal{
		Chrome: chrome, Code: refusal.AccessDenied,
		Reference: "8f2c1b7e9a40", Username: "carol", OtherURL: "/.sso/login?as=other&return=%2F", LogoutURL: "/.sso/logout",
	}
	loop := pages.Refusal{
		Chrome: chrome, Code: refusal.RedirectLoop,
		Reference: "8f2c1b7e9a40", RetryURL: "/d?a=1", Seen: pages.Seen{Here: "http://grafana.example.com", Site: "https://grafana.example.com"},
	}
	bare := pages.Refusal{Chrome: chrome, Code: refusal.NotFound}
	gone := bare
	gone.HomeURL = "/"
	framed := pages.Refusal{Chrome: chrome, Code: refusal.Unauthenticated, Reference: "8f2c1b7e9a40", SignInURL: "/.sso/login?return=%2Fd%3Fa"}
	kept := denied
	kept.Provider, kept.Address, kept.LogoutURL, kept.RetryURL = "Müller & Söhne", "/.sso/refused", "", "/d"
	ofClient := denied
	ofClient.Client = "wiki"
	nameless := kept
	nameless.Code, nameless.Username, nameless.Address = refusal.NoUsername, "", ""
	alice := pages.Session{
		Chrome: chrome, Username: "alice", Email: "alice@example.com", Name: "Alice Liddell", Provider: "corp",
		Roles: []string{"Admin", "Editor"}, Groups: []string{"staff", `DOMAIN\Net Ops`}, Template: "engineering",
		Since: bubbleStart.Add(-40 * time.Minute), Expires: bubbleStart.Add(7*time.Hour + 20*time.Minute), LogoutURL: "/.sso/logout",
	}
	var groups []string
	for i := range 13 {
		groups = append(groups, "group "+strconv.Itoa(i))
	}
	return map[string]any{
		"chooser": pages.Chooser{Chrome: chrome, Choices: []pages.Choice{
			{Name: "corp", Label: "Corporate account", URL: "/.sso/login?provider=corp&return=%2Fd"},
			{Name: "partner", Label: "Müller & Söhne", URL: "/.sso/login?provider=partner"},
		}},
		"chooser_last": pages.Chooser{Chrome: chrome, Choices: []pages.Choice{
			{Name: "partner", Label: "Müller & Söhne", URL: "/.sso/login?provider=partner", Last: true},
			{Name: "corp", Label: "Corporate account", URL: "/.sso/login?provider=corp"},
		}},
		"chooser_one": pages.Chooser{Chrome: chrome, Choices: []pages.Choice{
			{Name: "corp", Label: "Corporate account", URL: "/.sso/login?provider=corp"},
		}},
		"chooser_none":        pages.Chooser{Chrome: chrome},
		"chooser_branded":     pages.Chooser{Chrome: branded, Choices: []pages.Choice{{Name: "corp", Label: "Corporate account", URL: "/.sso/login?provider=corp"}}},
		"refusal":             denied,
		"refusal_client":      ofClient,
		"refusal_bare":        bare,
		"refusal_loop":        loop,
		"refusal_home":        gone,
		"refusal_framed":      framed,
		"refusal_kept":        kept,
		"refusal_nameless":    nameless,
		"session":             alice,
		"session_many_groups": pages.Session{Chrome: chrome, Username: "bob", Groups: groups},
		"form": pages.Form{
			Chrome: chrome, Provider: "Corporate account", Action: "https://id.example.com/sso?tenant=a&b",
			Fields:   []pages.Field{{Name: "RelayState", Value: "state"}, {Name: "SAMLRequest", Value: "PHNhbWw+/w=="}},
			AgainURL: "/.sso/login?provider=corp&return=%2Fd%3Fa",
		},
		"form_link": pages.Form{
			Chrome: chrome, Provider: "Corporate account", Action: "https://id.example.com/authorize?client_id=a&state=b",
			AgainURL: "/.sso/login?provider=corp&return=%2Fd%3Fa",
		},
		"repost": pages.Repost{
			Chrome: chrome, Action: "/.sso/saml/acs",
			Fields: []pages.Field{{Name: "SAMLResponse", Value: "PHNhbWw+/w=="}, {Name: "RelayState", Value: "state"}, {Name: "sso_repost", Value: "1"}},
		},
		"logout": pages.Logout{Chrome: chrome, Username: "alice", Provider: "Corporate account", Action: "/.sso/logout"},
		"logout_at_provider": pages.Logout{
			Chrome: chrome, Username: "alice", Provider: "Corporate account", AtProvider: true, Action: "/.sso/logout",
		},
		"leave":        pages.Leave{Chrome: chrome, Provider: "Corporate account", URL: "https://id.example.com/logout?hint=a&back=b"},
		"leave_client": pages.Leave{Chrome: chrome, Provider: "wiki.example", Back: true, URL: "https://wiki.example/bye?state=a&b=c"},
		"other": pages.Other{
			Chrome: chrome, Username: "alice", StayURL: "/d",
			Choices: []pages.Choice{{Name: "partner", Label: "Müller & Söhne", URL: "/.sso/login?as=other&provider=partner&return=%2Fd"}},
		},
		"other_several": pages.Other{
			Chrome: chrome, Username: "alice", StayURL: "/d",
			Choices: []pages.Choice{
				{Name: "partner", Label: "Müller & Söhne", URL: "/.sso/login?as=other&provider=partner&return=%2Fd", Last: true},
				{Name: "corp", Label: "Corporate account", URL: "/.sso/login?as=other&provider=corp&return=%2Fd"},
			},
		},
		"logout_nobody":     pages.Logout{Chrome: chrome, Action: "/.sso/logout"},
		"loggedout":         pages.LoggedOut{Chrome: chrome, SignInURL: "/"},
		"logout_branded":    pages.Logout{Chrome: branded, Username: "alice", Action: "/.sso/logout"},
		"loggedout_branded": pages.LoggedOut{Chrome: branded, SignInURL: "/"},
		"loggedout_no_link": pages.LoggedOut{Chrome: chrome},
	}
}

func newRenderer(t testing.TB) *pages.Renderer {
	t.Helper()
	rd, err := pages.New(pages.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return rd
}

func render(t testing.TB, rd *pages.Renderer, page any) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	rd.Page(w, httptest.NewRequest(http.MethodGet, "/.sso/x", nil), http.StatusOK, page)
	return w
}

var version = regexp.MustCompile(`\?v=[0-9a-f]{16}"`)

func TestPageGolden(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	if files, err := filepath.Glob("testdata/*.html"); err != nil || len(files) != len(examples()) {
		t.Errorf("%d golden files for %d examples, %v", len(files), len(examples()), err)
	}
	for name, page := range examples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := version.ReplaceAll(render(t, rd, page).Body.Bytes(), []byte(`?v=VERSION"`))
				compareGolden(t, filepath.Join("testdata", name+".html"), got)
			})
		})
	}
}

func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the page differs from %s (see -update); got:\n%s", file, got)
	}
}

func TestPageOfEveryRefusalShowsItsTexts(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	for _, code := range refusal.Codes() {
		meaning := code.Meaning()
		w := httptest.NewRecorder()
		rd.Page(w, httptest.NewRequest(http.MethodGet, "/", nil), meaning.Status,
			pages.Refusal{Chrome: chrome, Code: code, Reference: "ref-1"})
		if w.Code != meaning.Status {
			t.Errorf("%s: status %d, want %d", code, w.Code, meaning.Status)
		}
		text := textOf(t, w.Body.String())
		for _, want := range []string{meaning.Title, meaning.Text, string(code), "ref-1"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the page does not say %q", code, want)
			}
		}
		if meaning.Fix != "" && strings.Contains(text, meaning.Fix) {
			t.Errorf("%s: the page tells the visitor the operator's fix", code)
		}
	}
}

func TestPageRefusesWhatIsNoPage(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]any{
		"nil": nil, "string": "secret-canary", "pointer": &pages.Chooser{}, "chrome": chrome,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, logs := observer.New(zapcore.DebugLevel)
			rd, err := pages.New(pages.Options{Logger: zap.New(core)})
			if err != nil {
				t.Fatal(err)
			}
			w := render(t, rd, page)
			if w.Code != http.StatusInternalServerError {
				t.Errorf("status %d, want 500", w.Code)
			}
			if got, want := w.Body.String(), refusal.Internal.Meaning().Title+"\n"; got != want {
				t.Errorf("body %q, want %q", got, want)
			}
			if got := w.Header().Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("content type %q", got)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("cache control %q", got)
			}
			if logs.Len() != 1 {
				t.Fatalf("%d log entries, want 1", logs.Len())
			}
			if cause := logs.All()[0].ContextMap()["error"].(string); strings.Contains(cause, "secret-canary") {
				t.Errorf("the log shows the value: %s", cause)
			}
		})
	}
}

func TestPageWritesNothingOnHead(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	for name, page := range map[string]any{"page": examples()["refusal"], "no page": nil} {
		get, head := httptest.NewRecorder(), httptest.NewRecorder()
		rd.Page(get, httptest.NewRequest(http.MethodGet, "/", nil), http.StatusForbidden, page)
		rd.Page(head, httptest.NewRequest(http.MethodHead, "/", nil), http.StatusForbidden, page)
		length := strconv.Itoa(get.Body.Len())
		if get.Header().Get("Content-Length") != length || head.Header().Get("Content-Length") != length || head.Body.Len() != 0 || head.Code != get.Code {
			t.Errorf("%s: GET %d, %v, HEAD %d, %v, %d bytes", name, get.Code, get.Header(), head.Code, head.Header(), head.Body.Len())
		}
	}
}

// A page, its style and its icon together.
func TestPageIsSmall(t *testing.T) {
	t.Parallel()
	const limit = 30_000
	rd := newRenderer(t)
	for name, page := range examples() {
		html := render(t, rd, page).Body.String()
		size := len(html)
		links := regexp.MustCompile(`/\.sso/assets/([a-z.]+)\?v=`).FindAllStringSubmatch(html, -1)
		if len(links) == 0 {
			t.Fatalf("%s: links no assets", name)
		}
		counted := map[string]bool{}
		for _, l := range links {
			if !counted[l[1]] {
				counted[l[1]] = true
				w := httptest.NewRecorder()
				rd.Asset(w, httptest.NewRequest(http.MethodGet, "/", nil), branded.Brand, l[1])
				size += w.Body.Len()
			}
		}
		if size >= limit {
			t.Errorf("%s: %d bytes, want less than %d", name, size, limit)
		}
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second:                   "",
		0:                              "",
		time.Second:                    "in less than two minutes",
		2*time.Minute - 1:              "in less than two minutes",
		2 * time.Minute:                "in about 2 minutes",
		119*time.Minute + time.Second:  "in about 119 minutes",
		2 * time.Hour:                  "in about 2 hours",
		7*time.Hour + 59*time.Minute:   "in about 8 hours",
		47*time.Hour + 59*time.Minute:  "in about 48 hours",
		48 * time.Hour:                 "in about 2 days",
		30*24*time.Hour + 23*time.Hour: "in about 31 days",
	} {
		if got := pages.Within(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func BenchmarkPage(b *testing.B) {
	rd := newRenderer(b)
	page := examples()["chooser"]
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		rd.Page(httptest.NewRecorder(), r, http.StatusOK, page)
	}
}
