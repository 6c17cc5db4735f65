package main

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestDemo plays the stories that the demo is for, without a browser.
func TestDemo(t *testing.T) {
	temp := t.TempDir()
	for _, name := range []string{"TMPDIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(name, temp)
	}
	ctx, stop := signal.NotifyContext(t.Context(), endings()...)
	defer stop()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := runDemo(ctx, in, 0)
		_ = in.CloseWithError(err)
		ended <- err
	}()
	text := make([]byte, 4096)
	n, err := out.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	origins := regexp.MustCompile(`http://localhost:\d+`).FindAllString(string(text[:n]), -1)
	if len(origins) != 2 {
		t.Fatalf("it says %s", text[:n])
	}

	for _, story := range []struct{ provider, user, wiki, console string }{
		{"openid", "alice", "Editor", "Administrator"},
		{"saml", "alice", "Editor", "Administrator"},
		{"openid", "bob", "Reader", "Auditor"},
		{"saml", "bob", "Reader", "Auditor"},
		{"openid", "carol", "", ""},
		{"saml", "carol", "", ""},
	} {
		t.Run("E10 "+story.user+" by "+story.provider, func(t *testing.T) {
			for site, role := range map[string]string{origins[0]: story.wiki, origins[1]: story.console} {
				b := newBrowser(t)
				status, page := b.signIn(site, story.provider, story.user)
				if role == "" {
					if status != http.StatusForbidden || strings.Contains(page, "verified") {
						t.Errorf("%s: %d %s", site, status, page)
					}
					continue
				}
				display := map[string]string{"openid": "OpenID Connect", "saml": "SAML 2.0"}[story.provider]
				for _, want := range []string{">verified<", "<dd>" + display + "</dd>", "Hello, " + story.user, ">" + role + "<", "&#34;preferred_username&#34;: &#34;" + story.user + "&#34;", "Remote-User"} {
					if status != http.StatusOK || !strings.Contains(page, want) {
						t.Errorf("%s: %d, want %q in %s", site, status, want, page)
					}
				}
			}
		})
	}
	t.Run("E10 the apps have names and logos", func(t *testing.T) {
		for i, name := range []string{"Team wiki", "Server console"} {
			b := newBrowser(t)
			_, _, page := b.do(http.MethodGet, origins[i], nil)
			logo := regexp.MustCompile(`<img src="(/\.sso/assets/logo[^"]*)"`).FindStringSubmatch(page)
			if logo == nil || !strings.Contains(page, "<bdi>"+name+"</bdi>") || !strings.Contains(page, "Need help? <bdi>This is a demo") {
				t.Fatalf("the chooser is %s", page)
			}
			if status, _, picture := b.do(http.MethodGet, origins[i]+logo[1], nil); status != http.StatusOK || !strings.HasPrefix(picture, "<svg ") {
				t.Errorf("the logo of %s is %d %s", name, status, picture)
			}
		}
	})
	t.Run("E10 somebody unknown", func(t *testing.T) {
		b := newBrowser(t)
		if status, page := b.signIn(origins[0], "openid", "<mallory>"); status != http.StatusOK || !strings.Contains(page, "Who are you?") || strings.Contains(page, "mallory") {
			t.Errorf("%d %s", status, page)
		}
	})

	last := endings()[len(endings())-1] // SIGHUP: the terminal was closed
	if self, err := os.FindProcess(os.Getpid()); err != nil || self.Signal(last) != nil {
		t.Fatal("the signal can't be sent")
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ending: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
	left, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("it leaves %v: %v", left, err)
	}
	if _, err := newBrowser(t).http.Get(origins[0]); err == nil {
		t.Error("it still answers")
	}
}

// TestDemoPort: a port that is taken is no reason not to show anything.
func TestDemoPort(t *testing.T) {
	taken := map[int]bool{}
	first, err := freePort(t.Context(), 0, taken)
	if err != nil {
		t.Fatal(err)
	}
	taken[first] = true
	second, err := freePort(t.Context(), first, taken)
	if err != nil || second == first {
		t.Errorf("port %d is given twice: %v", second, err)
	}
}

// A browser follows redirects, keeps cookies and posts forms.
type browser struct {
	t    *testing.T
	http *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, Transport: gatewaytest.Transport(t), Timeout: 30 * time.Second}}
}

func (b *browser) do(method, address string, form url.Values) (status int, at *url.URL, page string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, resp.Request.URL, string(body)
}

var (
	formAction = regexp.MustCompile(`(?i)<form method="post" action="([^"]*)"`)
	hidden     = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// signIn opens a site, picks a provider, and says who is there.
func (b *browser) signIn(site, provider, user string) (status int, page string) {
	b.t.Helper()
	_, at, page := b.do(http.MethodGet, site, nil)
	link := regexp.MustCompile(`href="([^"]*provider=` + provider + `[^"]*)"`).FindStringSubmatch(page)
	if link == nil {
		b.t.Fatalf("%s has no link to %s: %s", at, provider, page)
	}
	_, at, page = b.do(http.MethodGet, resolve(b.t, at, link[1]), nil)
	fields := url.Values{"username": {user}}
	for range 3 { // the login form, the SAML response, and that once more
		action := formAction.FindStringSubmatch(page)
		if action == nil {
			break
		}
		status, at, page = b.do(http.MethodPost, resolve(b.t, at, action[1]), fields)
		fields = url.Values{}
		for _, field := range hidden.FindAllStringSubmatch(page, -1) {
			fields.Set(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
		}
		if len(fields) == 0 {
			break
		}
	}
	return status, page
}

func resolve(t *testing.T, base *url.URL, ref string) string {
	t.Helper()
	u, err := base.Parse(html.UnescapeString(ref))
	if err != nil {
		t.Fatal(err)
	}
	return u.String()
}

// TestNamesItself has Caddy's commands name this binary and both versions.
func TestNamesItself(t *testing.T) {
	nameAsTyped()
	if _, full := caddy.Version(); !strings.HasPrefix(full, "caddy-sso ") || !strings.Contains(full, ", with Caddy v2.") {
		t.Errorf("version: %s", full)
	}
	if got := filepath.Base(os.Args[0]); caddy.CustomBinaryName != got || !strings.Contains(caddy.CustomLongDescription, got+" demo") {
		t.Errorf("%s: %s", caddy.CustomBinaryName, caddy.CustomLongDescription)
	}
}

// TestDemoArguments refuses arguments that the demo does not have.
func TestDemoArguments(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`unknown command "foo"`:              {"demo", "foo"},
		"--port 80000: expected a port from": {"demo", "--port", "80000"},
		"--port -1: expected a port from":    {"demo", "--port", "-1"},
		"unknown flag: --wrong":              {"demo", "--wrong"},
	} {
		root, cmd := &cobra.Command{Use: "caddy-sso", SilenceUsage: true, SilenceErrors: true}, &cobra.Command{Use: "demo [--port <port>]"}
		caddycmd.Commands()["demo"].CobraFunc(cmd)
		root.AddCommand(cmd)
		root.SetArgs(args)
		if err := root.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", args, err, want)
		}
	}
}
