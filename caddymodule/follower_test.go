package caddymodule_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// jsonWords are the handlers and matchers of TestRoutesInJSON.
var jsonWords = strings.NewReplacer(
	"SSO", `{"handler":"sso","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}`,
	"TOP", `{"handler":"sso","base_url":"http://app.localhost","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}`,
	"INNAMED", `{"handler":"sso","nested":true,"base_url":"http://app.localhost","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}`,
	"NESTED", `{"handler":"sso","nested":true,"prefix":"/api/.sso","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}`,
	"STRIP", `{"handler":"sso_strip"}`,
	"PROXY", `{"handler":"reverse_proxy","upstreams":[{"dial":"localhost:8080"}]}`,
	"FILES", `{"handler":"file_server"}`,
	"PAGE", `{"handler":"rewrite","uri":"/error.html"}`,
	"FOUND", `{"handler":"rewrite","uri":"{http.matchers.file.relative}"}`,
	"PLUGIN", `{"handler":"wild_plugin"}`,
	"WILD", `{"match":[{"host":["*.localhost"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"sso","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}]}]}],"terminal":true}`,
	"MAPPED", `{"handler":"map","source":"{http.request.uri.query.f}","mappings":[{"input_regexp":"(.*)","outputs":["$1"]}],"destinations":`,
	"TEXT", `{"handler":"static_response","body":"x"}`,
	"HOST", `"host":["app.localhost"]`,
	"PATH", `"path":["/api/*"]`,
	"SITE", `{"match":[{"host":["app.localhost"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"sso","inline":{"protocol":"oidc","issuer":"https://id.example.com","client_id":"app","client_secret":"s"},"role":[{"to":["User"],"from":["*"]}]}]}]}],"terminal":true}`,
)

// TestRoutesInJSON checks the tree of routes, whatever it was written in. Words in
// capitals are those of jsonWords.
func TestRoutesInJSON(t *testing.T) {
	golden(t, "routes", 130, func(t *testing.T, tree string) string {
		t.Helper()
		lines := strings.Split(tree, "\n") // of routes, error routes and named routes
		for i, part := range []string{"routes ", "errors ", "named "} {
			lines[i] = strings.TrimPrefix(lines[i], part)
		}
		dir := t.TempDir()
		t.Setenv("XDG_DATA_HOME", dir)
		port := fmt.Sprint(gatewaytest.FreePort())
		said := loadBoth(t, []byte(jsonWords.Replace(fmt.Sprintf(`{"admin":{"disabled":true,"config":{"persist":false}},"storage":{"module":"file_system","root":%q},
			"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%s"],"automatic_https":{"disable":true},
			"routes":[%s],"errors":{"routes":[%s]},"named_routes":{%s}}}}}}`, dir, port, lines[0], lines[1], lines[2]))))
		return strings.ReplaceAll(said, port, "PORT")
	})
}

// forge puts all into a request that only the gateway may say.
func forge(r *http.Request, cookie string) {
	for _, n := range []string{"Remote-User", "remote_groups", "X-Sso-Assertion", "X_Sso_Anything", "X-Webauth-User", "X-Forwarded-User"} {
		r.Header[n] = []string{"mallory"}
	}
	r.Header.Set("Connection", "Remote-User, X-Kept")
	r.Header.Set("Upgrade", "h2c")
	r.Header.Set("Cookie", "app=1; sso="+cookie+"; __Host-sso="+cookie+"; sso-b="+cookie)
	r.Trailer = http.Header{"Remote-User": {"mallory"}, "X-Sum": {"1"}}
}

// mustBeStripped looks for what was forged in what an app got.
func mustBeStripped(t *testing.T, got *http.Request, secrets ...string) {
	t.Helper()
	if got == nil {
		t.Fatal("the app was not reached")
	}
	all := fmt.Sprint(got.Method, got.RequestURI, got.Header, got.Trailer, got.Form)
	for _, secret := range append(secrets, "mallory") {
		if strings.Contains(all, secret) {
			t.Errorf("the app got %q: %s", secret, all)
		}
	}
	if c := got.Header.Get("Cookie"); c != "app=1" && c != "" {
		t.Errorf("the app got the cookies %q", c)
	}
}

// TestErrorBeforeSSO has a matcher before sso that fails on what the client sends.
// Caddy then runs the error routes on the request as it came.
func TestErrorBeforeSSO(t *testing.T) {
	app := newUpstream(t, "sso=x", "__Host-sso-b=x", "page=1")
	const before = "@many expression `int({http.request.header.X-Number}) > 3`\n\theader @many X-Many yes\n\t"
	const rest = "\tPROVIDER\n\t\trole User *\n\t\theaders user X-Webauth-User\n\t}\n\treverse_proxy APP\n}\n"
	w := newWorld(t)
	unstripped := strings.ReplaceAll("ORIGIN {\n\t"+before+"handle_errors {\n\t\treverse_proxy APP\n\t}\n"+rest, "APP", app.addr())
	if err := w.load(w.global("") + unstripped); err == nil || !strings.Contains(err.Error(), "write the line `sso_strip` before it") {
		t.Fatalf("without sso_strip: %v", err)
	}
	w.mustLoad(w.global("") + strings.Replace(unstripped, "handle_errors {\n", "handle_errors {\n\t\tsso_strip\n", 1))
	b := newBrowser(t)
	signIn := mustRequest(t, w.origin()+"/")
	signIn.Header = http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "X-Number": {"1"}}
	if status, body := b.do(signIn); status != http.StatusOK || app.last().Header.Get("X-Webauth-User") != "alice" {
		t.Fatalf("the control: %d %s", status, body)
	}
	r, err := http.NewRequest(http.MethodPost, w.origin()+"/page?q=1", io.NopCloser(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	forge(r, b.cookie(w.origin()))
	r.Header.Set("X-Number", "none")
	resp, err := gatewaytest.Transport(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	mustBeStripped(t, app.last(), b.cookie(w.origin()))
	if got := app.last(); got.RequestURI != "/page?q=1" || got.Header.Get("Cookie") != "app=1" {
		t.Errorf("the app got %s %q", got.RequestURI, got.Header.Get("Cookie"))
	}
	if got := resp.Header["Set-Cookie"]; len(got) != 1 || got[0] != "page=1" {
		t.Errorf("the app set %q", got)
	}
}

// TestErrorOfStrictSNI asks for another host than the TLS name is: 421 comes before
// all routes.
func TestErrorOfStrictSNI(t *testing.T) {
	app := newUpstream(t)
	w := newWorld(t)
	secure := gatewaytest.FreePort()
	global := strings.Replace(w.global(""), "\tadmin off\n", fmt.Sprintf("\tadmin off\n\tskip_install_trust\n\thttp_port %d\n\thttps_port %d\n\tservers {\n\t\tstrict_sni_host on\n\t}\n", w.port, secure), 1)
	config := global + `
https://app.localhost, https://b.localhost {
	log
	CERTIFICATE
	handle_errors {
		reverse_proxy APP
	}
	PROVIDER
		role User *
	}
	reverse_proxy APP
}
`
	config = strings.NewReplacer("APP", app.addr(), "CERTIFICATE", w.certificate("app.localhost", "b.localhost")).Replace(config)
	if err := w.load(config); err == nil || !strings.Contains(err.Error(), "write the line `sso_strip` before it") {
		t.Fatalf("without sso_strip: %v", err)
	}
	w.mustLoad(strings.Replace(config, "handle_errors {\n", "handle_errors {\n\t\tsso_strip\n", 1))
	client := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "app.localhost"},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", secure))
		},
	}
	for _, target := range []string{"/page", "/.sso/oidc/callback?code=canarycode&state=canarystate"} {
		r := mustRequest(t, fmt.Sprintf("https://b.localhost:%d%s", secure, target))
		forge(r, "canary")
		r.Trailer = nil
		resp, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		mustBeStripped(t, app.last(), "canary")
	}
	for line := range strings.Lines(w.logs()) {
		if strings.Contains(line, "handled request") && strings.Contains(line, "canary") {
			t.Errorf("the access log has a code: %s", line)
		}
	}
	if !strings.Contains(w.logs(), `"uri":"/.sso/oidc/callback","redacted":true`) {
		t.Error("no line stands for the callback")
	}
	if !strings.Contains(w.logs(), "strict host matching") {
		t.Error("it was not that error")
	}
}

// TestRefusedGoNoFurther hands refusals to error routes with an app in them: a
// code that nobody has used stays here, and the log warns that the app is open.
func TestRefusedGoNoFurther(t *testing.T) {
	app := newUpstream(t)
	w := newWorld(t)
	config := strings.ReplaceAll(`ORIGIN {
	handle_errors {
		reverse_proxy APP {
			header_up X-Uri "{uri} {http.request.orig_uri} {http.request.orig_uri.query} {query} {http.request.body} {http.request.uri.query.code}"
		}
	}
	PROVIDER
		role User *
		errors caddy
	}
	reverse_proxy APP
}
`, "APP", app.addr())
	if err := w.load(w.global("") + config); err == nil || !strings.Contains(err.Error(), "write the line `sso_strip` before it") {
		t.Fatalf("without sso_strip: %v", err)
	}
	w.mustLoad(w.global("") + strings.Replace(config, "handle_errors {\n", "handle_errors {\n\t\tsso_strip\n", 1))
	if !strings.Contains(w.logs(), "everybody gets in to what is behind these handlers") {
		t.Error("there was no warning")
	}
	form := url.Values{"code": {"canarycode"}, "state": {"canarystate"}}
	for _, r := range []*http.Request{
		mustRequest(t, w.origin()+"/.sso/oidc/callback?"+form.Encode()),
		mustRequest(t, w.origin()+"/.sso/saml/acs?"+form.Encode()),
		mustPost(t, w.origin()+"/.sso/oidc/callback", form),
		mustPost(t, w.origin()+"/.sso/saml/acs", url.Values{"SAMLResponse": {"canary"}, "RelayState": {"canary"}}),
		mustRequest(t, w.origin()+"/page"),
	} {
		t.Run(r.Method+r.URL.Path, func(t *testing.T) {
			forge(r, "canary")
			r.Trailer = nil
			resp, err := gatewaytest.Transport(t).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			got := app.last()
			mustBeStripped(t, got, "canary")
			if got.URL.Path != r.URL.Path {
				t.Errorf("the app was asked for %s", got.URL.Path)
			}
		})
	}
}

func mustPost(t *testing.T, address string, form url.Values) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// TestWarnsOfUnknownHandlers names the handlers before sso that it does not know, once,
// although the sites are checked twice.
func TestWarnsOfUnknownHandlers(t *testing.T) {
	for global, want := range map[string]int{"order wild_plugin before sso": 1, "": 0} {
		w := newWorld(t)
		w.mustLoad(strings.Replace(w.global(""), "\tadmin off\n", "\tadmin off\n\t"+global+"\n", 1) + "ORIGIN {\n\tPROVIDER\n\t\trole User *\n\t}\n\twild_plugin\n\trespond ok\n}\n")
		if got := strings.Count(w.logs(), "handlers that sso does not know come before it"); got != want {
			t.Errorf("%q: warned %d times", global, got)
		}
	}
}
