package public_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/public"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// The site's public paths. Its other paths need a login.
var patterns = []string{"/healthz", "/open/*"}

func TestNeedsNoLogin(t *testing.T) {
	t.Parallel()
	open, err := target.NewOpen(patterns, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		request string // method and target, and then headers
		current string // path after a rewrite; "": none
		want    bool
	}{
		"a public path":                  {request: "GET /healthz", want: true},
		"below one":                      {request: "GET /open/a?x=/shut", want: true},
		"another path":                   {request: "GET /shut"},
		"two readings":                   {request: "GET /open/../shut"},
		"a method of the web":            {request: "PUT /open/a", want: true},
		"a method that reaches below":    {request: "DELETE /open/a", want: true},
		"a method whose body has paths":  {request: "REPORT /open/a"},
		"a method in a header":           {request: "POST /open/a\nX-HTTP-Method-Override: REPORT"},
		"a method of the web, in one":    {request: "POST /open/a\nX-HTTP-Method-Override: put", want: true},
		"a path in a header":             {request: "GET /open/a\nX-Original-URL: /shut"},
		"a path in another header":       {request: "GET /open/a\nX-Rewrite-Url: /shut"},
		"a path in a header, with _":     {request: "GET /open/a\nX_original_URL: /shut"},
		"a path in a header, with dots":  {request: "GET /open/a\nX.Rewrite.Url: /shut"},
		"with a query":                   {request: "GET /open/a\nX-Original-URL: /shut?b=/open/a"},
		"absolute":                       {request: "GET /open/a\nX-Original-URL: http://app.example/shut"},
		"round about":                    {request: "GET /open/a\nX-Original-URL: /open/../shut"},
		"without a slash":                {request: "GET /open/a\nX-Original-URL: shut"},
		"an empty one":                   {request: "GET /open/a\nX-Original-URL:"},
		"two, one not public":            {request: "GET /open/a\nX-Original-URL: /open/a\r\nX-Original-URL: /shut"},
		"two public paths":               {request: "GET /open/a\nX-Rewrite-Url: /open/b\r\nX-Rewrite-Url: /open/c", want: true},
		"a header with a longer name":    {request: "GET /open/a\nX-Original-Url-2: /shut", want: true},
		"a public path in one":           {request: "GET /open/a\nX-Original-URL: /healthz", want: true},
		"a destination":                  {request: "COPY /open/a\nDestination: https://app.example/shut"},
		"a public destination":           {request: "COPY /open/a\nDestination: https://app.example/open/b", want: true},
		"a resource's state":             {request: "PUT /open/a\nIf: </shut> ([\"x\"])"},
		"a state of its own":             {request: "PUT /open/a\nIf: ([\"x\"])", want: true},
		"rewritten to its rest":          {request: "GET /open/a", current: "/a", want: true},
		"rewritten to a public path":     {request: "GET /shut", current: "/open/a"},
		"rewritten, to another public":   {request: "GET /open/a", current: "/healthz"},
		"rewritten, with a destination":  {request: "COPY /open/a\nDestination: /open/b", current: "/c"},
		"a control: rewritten to itself": {request: "GET /open/a", current: "/open/a", want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, headers, _ := strings.Cut(tc.request, "\n")
			wire := first + " HTTP/1.1\r\nHost: app.example\r\n"
			if headers != "" {
				wire += headers + "\r\n"
			}
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire + "\r\n")))
			if err != nil {
				t.Fatal(err)
			}
			original := target.Path(r.RequestURI)
			if tc.current != "" {
				r.URL.Path, r.URL.RawPath = tc.current, ""
			}
			if got := public.NeedsNoLogin(open, original, r); got != tc.want {
				t.Errorf("%s: %v, want %v", tc.request, got, tc.want)
			}
		})
	}
}
