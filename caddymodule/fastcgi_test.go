package caddymodule_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// newFastCGI runs an app that is asked by FastCGI, as PHP is, and answers with all
// that it was told.
func newFastCGI(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		_ = fcgi.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			_, _ = fmt.Fprintln(w, r.Method, r.URL.RequestURI(), r.Header, string(body), err, fcgi.ProcessEnv(r))
		}))
	}()
	return ln.Addr().String()
}

// TestNoCredentialsOverFastCGI sends a code to addresses of ours whose requests
// come to PHP: it is told of the address, and of nothing that the request brought.
func TestNoCredentialsOverFastCGI(t *testing.T) {
	const before = "@many expression `int({http.request.header.X-Number}) > 3`\n\theader @many X-Many yes\n"
	const guarded = "\tPROVIDER\n\t\trole User *\n\t\tpublic /open\n%s\t}\n"
	for _, tt := range []struct{ name, site string }{
		{"an error before sso", before + "handle_errors {\n\t\tsso_strip\n\t\tPHP\n\t}\n" + fmt.Sprintf(guarded, "") + "PHP\n"},
		{"refused by sso", "handle_errors {\n\t\tsso_strip\n\t\tPHP\n\t}\n" + fmt.Sprintf(guarded, "\t\terrors caddy\n") + "PHP\n"},
		{"no error", "handle /.sso/* {\n\t\tsso_strip\n\t\tPHP\n\t}\n\thandle {\n" + fmt.Sprintf(guarded, "\t\tnested\n") + "PHP\n\t}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			php := "reverse_proxy " + newFastCGI(t) + " {\n\t\ttransport fastcgi {\n\t\t\troot /srv\n\t\t\tenv MORE \"{uri} {query} {http.request.orig_uri} {http.request.orig_uri.query} {http.request.header.Referer}\"\n\t\t}\n\t}"
			w.mustLoad(w.global("") + "ORIGIN {\n\t" + strings.ReplaceAll(tt.site, "PHP", php) + "}\n")
			ask := func(r *http.Request) string {
				t.Helper()
				r.Header.Set("Referer", w.origin()+"/.sso/oidc/callback?code=canaryreferer")
				client := http.Client{Transport: gatewaytest.Transport(t), Timeout: 20 * time.Second}
				resp, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				told, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return string(told)
			}
			control := mustPost(t, w.origin()+"/open?code=a", url.Values{"state": {"b"}})
			control.Header.Set("X-Number", "1")
			if told := ask(control); !strings.HasPrefix(told, "POST /open?code=a ") || !strings.Contains(told, "state=b") || !strings.Contains(told, "canaryreferer") {
				t.Fatalf("the control: PHP was told %s", told)
			}
			form := url.Values{"code": {"canarycode"}, "state": {"canarystate"}}
			for _, r := range []*http.Request{
				mustRequest(t, w.origin()+"/.sso/oidc/callback?"+form.Encode()),
				mustRequest(t, w.origin()+"/.sso/saml/acs?"+form.Encode()),
				mustPost(t, w.origin()+"/.sso/oidc/callback?"+form.Encode(), form),
				mustPost(t, w.origin()+"/.sso/saml/acs", url.Values{"SAMLResponse": {"canary"}, "RelayState": {"canary"}}),
			} {
				forge(r, "canary")
				r.Trailer = nil
				r.Header.Set("X-Number", "none")
				told := ask(r)
				if !strings.HasPrefix(told, r.Method+" "+r.URL.Path+" ") {
					t.Errorf("PHP was told %s", told)
				}
				if strings.Contains(told, "canary") || strings.Contains(told, "mallory") {
					t.Errorf("%s %s: PHP was told %s", r.Method, r.URL.Path, told)
				}
			}
		})
	}
}
