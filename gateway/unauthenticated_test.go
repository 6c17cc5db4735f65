package gateway_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// linkOf returns the address of the link on a page that has a text.
func linkOf(t testing.TB, w *httptest.ResponseRecorder, text string) string {
	t.Helper()
	m := regexp.MustCompile(`<a class="button[^"]*" href="([^"]*)"[^>]*>` + regexp.QuoteMeta(text) + `</a>`).FindStringSubmatch(w.Body.String())
	if m == nil {
		t.Fatalf("no link %q on the page:\n%s", text, w.Body)
	}
	return html.UnescapeString(m[1])
}

// TestUnauthenticatedLink holds that each page which says "sign in first" has a
// link that does so, and that leads back to where the person is.
func TestUnauthenticatedLink(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ method, target, mode, dest, referer, want string }{
		"a frame":                             {"GET", "/inner?b", "navigate", "iframe", "https://app.example/outer?a=1&c=%2F", "/outer?a=1&c=%2F"},
		"a frame of a page that says nothing": {"GET", "/inner?b", "navigate", "iframe", "", "/inner?b"},
		"a frame of another site":             {"GET", "/inner?b", "navigate", "iframe", "https://evil.example/outer", "/inner?b"},
		"a form":                              {"POST", "/save", "navigate", "document", "https://app.example/edit?id=5", "/edit?id=5"},
		"a form of a page that says nothing":  {"POST", "/save", "navigate", "document", "", "/"},
		"a form, the Referer is ours":         {"POST", "/save", "navigate", "document", "https://app.example/.sso/logout", "/"},
		"a form, the Referer is odd":          {"POST", "/save", "navigate", "document", "https://app.example//evil.example/", "/"},
		"a prefetch":                          {"GET", "/next", "prefetch", "document", "https://app.example/here", "/here"},
		"a script that takes HTML":            {"GET", "/part", "cors", "empty", "https://app.example/here#part", "/here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newLab(t).site().browser()
			header := []string{"Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Mode", tc.mode, "Sec-Fetch-Dest", tc.dest, "Referer", tc.referer}
			if tc.mode == "prefetch" {
				header = append(slices.Replace(header, 3, 4, "navigate"), "Sec-Purpose", "prefetch")
			}
			w := b.send(b.request(tc.method, tc.target, header...))
			wantStatus(t, w, http.StatusUnauthorized)
			link := linkOf(t, w, "Sign in")
			if want := "/.sso/login?return=" + url.QueryEscape(tc.want); link != want {
				t.Errorf("the link leads to %s, want %s", link, want)
			}
			wantRedirect(t, b.bring(b.begin(link)), "https://app.example"+tc.want)
			if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'self'") {
				t.Errorf("the policy is %q", csp)
			}
			// A script can send its page there, too.
			if problem := b.at(newLab(t).site()).fetch("/api", header[2:]...); tc.method == "GET" && !strings.Contains(problem.Body.String(), `"login":"/.sso/login?return=`) {
				t.Errorf("the problem has no address to sign in: %s", problem.Body)
			}
		})
	}
}

// TestReturnURLDropped holds that the log says why a person was not sent back, and
// that it does not repeat a query.
func TestReturnURLDropped(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		target string
		want   string // "" if nothing is dropped
	}{
		"a path":           {"/a?b#c", ""},
		"nothing":          {"", ""},
		"too long":         {"/a?" + strings.Repeat("canary", 2000), "are the limit"},
		"another site":     {"https://evil.example/?canary", "no path of this site"},
		"another site, //": {"//evil.example/?canary", "another site's address"},
		"a blank":          {"/a b?canary", "a blank"},
		"our own":          {"/.sso/logout?canary", "the gateway itself"},
		"malformed":        {"/%zz?canary", "malformed"},
		"control":          {"/%0a?canary", "control character"},
		"a long fragment":  {"/a#" + strings.Repeat("canary", 2000), "are the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, logs := observer.New(zap.InfoLevel)
			l := newLab(t)
			s := l.siteOf(l.gateway(func(o *gateway.Options) { o.Logger = zap.New(core) }), appHost)
			wantStatus(t, s.browser().open("/.sso/login?"+url.Values{"return": {tc.target}}.Encode()), http.StatusSeeOther)
			lines := logs.FilterMessageSnippet("return URL").All()
			if tc.want == "" {
				if len(lines) > 0 {
					t.Errorf("the log says %v", lines)
				}
				return
			}
			if len(lines) != 1 {
				t.Fatalf("%d lines, want one", len(lines))
			}
			fields := lines[0].ContextMap()
			if reason, _ := fields["error"].(string); !strings.Contains(reason, tc.want) {
				t.Errorf("the log says %q, want %q", reason, tc.want)
			}
			if path, _ := fields["path"].(string); path == "" || strings.Contains(path, "canary") || len(path) > 200 {
				t.Errorf("the log names the path %q", path)
			}
		})
	}
}

// inTab is what a browser sends when it opens a page in a tab, besides what it navigates with.
var inTab = []string{"Upgrade-Insecure-Requests", "1", "Sec-Fetch-Site", "none"}

// againOf returns where a page's script begins the login anew, without the fragment, or "".
func againOf(w *httptest.ResponseRecorder) string {
	m := regexp.MustCompile(`data-again="([^"]*)"`).FindStringSubmatch(w.Body.String())
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// The page that a browser gets begins the login anew if the address has a fragment: where
// it leads to must sign in at the same provider, with the fragment. It leads on
// there without one, too.
func TestPageKeepsFragment(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		s := l.site()
		for range 3 {
			b := s.browser()
			w := b.open("/deep?a=1", inTab...)
			wantStatus(t, w, http.StatusOK)
			again := againOf(w)
			if again == "" {
				t.Fatalf("the page does not say where the login begins:\n%s", w.Body)
			}
			w = b.open(again+"%23part%2F%C3%A9", inTab...)
			if againOf(w) != "" {
				t.Error("the login would begin anew for ever")
			}
			wantRedirect(t, b.bring(l.idp.answer(t, w, "alice")), "https://app.example/deep?a=1#part/%C3%A9")
		}
		for range 3 {
			b := s.browser()
			wantRedirect(t, b.bring(l.idp.answer(t, b.open("/deep?a=1", inTab...), "alice")), "https://app.example/deep?a=1")
		}
	})
}

// Only a browser that opens a page in a tab gets one. Another client gets the redirect,
// and so does a login that begins anew for another reason.
func TestPageIsForTabs(t *testing.T) {
	t.Parallel()
	b := newLab(t).site().browser()
	wantStatus(t, b.open("/", inTab...), http.StatusOK)
	wantStatus(t, b.open("/.sso/login?return=/a", inTab...), http.StatusOK)
	wantStatus(t, b.open("/.sso/login?return=/a%23b", inTab...), http.StatusSeeOther)
	wantStatus(t, b.open("/.sso/login?return=/a&as=other", inTab...), http.StatusSeeOther)
	for name, header := range map[string][]string{
		"no header at all":                 {},
		"the page of a service worker":     {"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "empty", "Upgrade-Insecure-Requests", "1"},
		"a page loaded ahead for a worker": append(slices.Clone(navigating), "Upgrade-Insecure-Requests", "1", "Service-Worker-Navigation-Preload", "true"),
		"no Upgrade-Insecure-Requests":     navigating,
		"no Sec-Fetch-Dest":                {"Sec-Fetch-Mode", "navigate", "Upgrade-Insecure-Requests", "1"},
		"no Sec-Fetch-Mode":                {"Sec-Fetch-Dest", "document", "Upgrade-Insecure-Requests", "1"},
	} {
		w := b.send(b.request(http.MethodGet, "/", append([]string{"Accept", "text/html"}, header...)...))
		if w.Code != http.StatusSeeOther || w.Body.Len() > 0 || len(w.Header()) != 3 {
			t.Errorf("%s: answered %d with the header %v: %s", name, w.Code, w.Header(), w.Body)
		}
	}
}
