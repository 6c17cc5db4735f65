package caddymodule_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestOpenPaths asks real sites for paths as only a client that writes them itself
// can: a login is needed unless the app answers.
func TestOpenPaths(t *testing.T) {
	w := newWorld(t)
	sites := map[string]string{
		"top.localhost":      "\tSSO {\n\t\tOPTIONS\n\t\tprotect /admin/*\n\t}\n\tAPP\n",
		"protect.localhost":  "\thandle_path /wiki/* {\n\t\tSSO {\n\t\tOPTIONS\n\t\tnested\n\t\tprefix /wiki/.sso\n\t\tprotect /admin/*\n\t}\n\tAPP\n\t}\n",
		"public.localhost":   "\thandle_path /wiki/* {\n\t\tSSO {\n\t\tOPTIONS\n\t\tnested\n\t\tprefix /wiki/.sso\n\t\tpublic /open/*\n\t}\n\tAPP\n\t}\n",
		"prefixed.localhost": "\thandle_path /wiki/* {\n\t\tSSO {\n\t\tOPTIONS\n\t\tnested\n\t\tprefix /wiki/.sso\n\t\tpublic /wiki/open/*\n\t}\n\tAPP\n\t}\n",
		"uri.localhost":      "\troute {\n\t\turi strip_prefix /wiki\n\t\tSSO {\n\t\tOPTIONS\n\t\tnested\n\t\tprotect /admin/*\n\t}\n\tAPP\n\t}\n",
		"changed.localhost":  "\troute {\n\t\turi replace /old/ /new/\n\t\turi replace nimda admin\n\t\tSSO {\n\t\tOPTIONS\n\t\tnested\n\t\tprotect /admin/*\n\t}\n\tAPP\n\t}\n",
		"rewrite.localhost":  "\troute {\n\t\trewrite * /open{uri}\n\t\tSSO {\n\t\tOPTIONS\n\t\tnested\n\t\tpublic /open/*\n\t}\n\tAPP\n\t}\n",
	}
	var caddyfile strings.Builder
	for host, site := range sites {
		fmt.Fprintf(&caddyfile, "http://%s:PORT {\n%s}\n", host, strings.NewReplacer(
			"\tSSO {\n\t\tOPTIONS\n", "\tPROVIDER\n\t\trole User *\n", "APP", `respond "app {http.request.uri.path} {http.request.header.X-Original-URL}"`).Replace(site))
	}
	w.mustLoad(w.global("") + caddyfile.String())
	for _, tt := range []struct {
		host, request string
		open          string // what the app answers
	}{
		{"top.localhost", "GET /blog", "app /blog "},
		{"top.localhost", "GET /admin/x", ""},
		{"top.localhost", "GET /(S(x))/admin", ""},
		{"top.localhost", "GET /index.php/admin/x", ""},
		{"top.localhost", "GET /admin.json", ""},
		{"top.localhost", "GET /ADMINI~1", ""},
		{"top.localhost", "GET /blog X-Original-URL: /admin", ""},
		{"top.localhost", "GET /blog X-Original-URL: /news", "app /blog "},
		{"top.localhost", "MOVE /blog Destination: http://other.example/admin/x", ""},
		{"top.localhost", "COPY /blog Destination: /news", "app /blog "},
		{"top.localhost", "DELETE /", ""},

		{"protect.localhost", "GET /wiki/page", "app /page "},
		{"protect.localhost", "GET /wiki/admin/x", ""},
		{"protect.localhost", "GET /wiki/admin", ""},
		{"protect.localhost", "GET /WIKI/admin/x", ""},
		{"protect.localhost", "GET /wiki/ADMIN.php", ""},
		{"protect.localhost", "GET /wiki/%61dmin", ""},
		{"protect.localhost", "GET /wiki//admin", ""},
		{"protect.localhost", "GET /wiki/../wiki/admin", ""},
		{"protect.localhost", "GET http://protect.localhost/wiki/admin/x", ""},
		{"protect.localhost", "MOVE /wiki/page Destination: /wiki/admin/x", ""},
		{"protect.localhost", "MOVE /wiki/page Destination: /admin/x", ""},
		{"protect.localhost", "MOVE /wiki/page Destination: /wiki/x", "app /page "},
		{"protect.localhost", "COPY /WIKI/page Destination: /wiki/admin/x", ""},
		{"protect.localhost", "COPY /wiki/page Destination: /WIKI/admin/x", ""},
		{"protect.localhost", "COPY /wiki/page Destination: /docs/admin/x", ""},
		{"protect.localhost", "COPY /wiki/page Destination: /wiki/x/Admin.php", ""},
		{"protect.localhost", "COPY /wiki/page Destination: /WIKI/", ""},
		{"protect.localhost", "COPY /wiki/page Destination: /WIKI", ""},
		{"protect.localhost", "COPY /WIKI/page Destination: /wiki/x/", "app /page "},

		{"public.localhost", "GET /wiki/open/x", "app /open/x "},
		{"public.localhost", "GET /wiki/shut", ""},
		{"public.localhost", "GET /wiki/open/../shut", ""},
		{"public.localhost", "GET /wiki/open%2fx", ""},
		{"public.localhost", "GET /wiki/open/;/x", ""},
		{"public.localhost", "MOVE /wiki/open/x Destination: /wiki/open/y", "app /open/x "},
		{"public.localhost", "MOVE /wiki/open/x Destination: /wiki/shut", ""},
		{"prefixed.localhost", "GET /wiki/open/x", "app /open/x "},
		{"prefixed.localhost", "GET /wiki/shut", ""},

		{"uri.localhost", "GET /wiki/page", "app /page "},
		{"uri.localhost", "GET /wiki/admin/x", ""},
		{"uri.localhost", "GET /admin/x", ""},
		{"uri.localhost", "COPY /page Destination: /wiki/admin/x", ""},
		{"changed.localhost", "COPY /old/page Destination: /old/x/admin/y", ""},
		{"changed.localhost", "COPY /old/page Destination: /old/nimda/y", ""},
		{"changed.localhost", "COPY /page Destination: /x", "app /page "},
		{"rewrite.localhost", "GET /shut", ""},
		{"rewrite.localhost", "GET /open/x", ""},
	} {
		status, body := ask(t, w.port, tt.host, tt.request)
		if tt.open == "" && status != http.StatusUnauthorized && (status < 400 || strings.Contains(body, "app ")) || tt.open != "" && body != tt.open {
			t.Errorf("%s: %s: %d %s", tt.host, tt.request, status, body)
		}
	}
}

// ask sends a request of method, target and at most one header, as it is written.
func ask(t *testing.T, port int, host, request string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	line, header, _ := strings.Cut(request, ": ")
	words := strings.Fields(line)
	if header != "" {
		header = words[2] + ": " + header + "\r\n"
	}
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n%s\r\n", words[0], words[1], host, port, header)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := bufio.NewReader(resp.Body).ReadString(0)
	if err != nil && text == "" && resp.ContentLength > 0 {
		t.Fatal(err)
	}
	return resp.StatusCode, text
}
