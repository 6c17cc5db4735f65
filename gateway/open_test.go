package gateway_test

import (
	"bufio"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// wire reads a request as net/http's server does. ok is false where that
// server answers 400 itself.
func wire(target, host string) (r *http.Request, ok bool) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nAccept: application/json\r\n\r\n")))
	return r, err == nil
}

func public(patterns ...string) func(*gateway.AppOptions) {
	return func(o *gateway.AppOptions) { o.Public = patterns }
}

func protect(patterns ...string) func(*gateway.AppOptions) {
	return func(o *gateway.AppOptions) { o.Protect = patterns }
}

// passed says whether a request without a session reached the app. If it did,
// it must have come without an identity; if not, it must have been refused.
func passed(t testing.TB, s *site, r *http.Request) bool {
	t.Helper()
	before := s.reached()
	w := s.serve(r, false)
	if s.reached() == before {
		wantRefused(t, w, refusal.Unauthenticated)
		return false
	}
	if got := s.got(); got.principal != nil {
		t.Errorf("%s: the app was told of %+v", r.RequestURI, got.principal)
	}
	return true
}

func TestPublic(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/healthz", "/static/*", "/exact/"))
	for name, tc := range map[string]struct {
		target string
		public bool
	}{
		"exact":                           {"/healthz", true},
		"exact with query":                {"/healthz?x=/../secret", true},
		"exact with an odd query":         {"/healthz?%2e%2e/;a=b\\", true},
		"exact of another case":           {"/Healthz", false},
		"longer than exact":               {"/healthzz", false},
		"below exact":                     {"/healthz/x", false},
		"slash after exact":               {"/healthz/", false},
		"exact that ends in a slash":      {"/exact/", true},
		"prefix":                          {"/static/a/b.css", true},
		"prefix itself with slash":        {"/static/", true},
		"prefix itself without":           {"/static", false},
		"prefix is no part of a name":     {"/staticfiles", false},
		"prefix of another case":          {"/STATIC/a", false},
		"deeper":                          {"/x/static/a", false},
		"root":                            {"/", false},
		"dot dot":                         {"/static/../secret", false},
		"dot dot that stays":              {"/static/a/../b", false},
		"dot":                             {"/static/./a", false},
		"encoded dots":                    {"/static/%2e%2e/secret", false},
		"encoded slash":                   {"/static%2fa", false},
		"backslash":                       {`/static/..\secret`, false},
		"backslash for a slash":           {`/static\..\secret`, false},
		"path parameter":                  {"/static/..;/secret", false},
		"NUL":                             {"/static/%00/../secret", false},
		"encoded letter":                  {"/%68ealthz", false},
		"number sign, then a path":        {"/static/#/../../secret", false},
		"two slashes before":              {"//static/a", false},
		"space":                           {"/static/%20", false},
		"non-ASCII, encoded":              {"/static/%c3%a9", false},
		"absolute form":                   {"http://app.example/healthz", true},
		"absolute form, other scheme":     {"https://app.example/static/a", true},
		"absolute form with query":        {"http://app.example/healthz?a", true},
		"absolute form, number sign":      {"http://app.example/static/#/../../secret", false},
		"absolute form, no path":          {"http://app.example", false},
		"absolute form, path in query":    {"http://app.example?/healthz", false},
		"absolute form, two slashes":      {"http://app.example//healthz", false},
		"absolute form, user":             {"http://healthz@app.example/secret", false},
		"absolute form, path in the user": {"http://x/healthz@app.example/secret", false},
		"opaque":                          {"http:/healthz", false},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := wire(tc.target, appHost)
			if !ok {
				t.Fatalf("net/http refuses %q before us: the case shows nothing", tc.target)
			}
			if got := passed(t, s, r); got != tc.public {
				t.Errorf("%q: public %v, want %v", tc.target, got, tc.public)
			}
		})
	}
}

func TestPublicStar(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(protect("/shut"))
	for _, method := range []string{http.MethodOptions, http.MethodConnect} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + map[string]string{
			http.MethodOptions: "*", http.MethodConnect: "app.example:443",
		}[method] + " HTTP/1.1\r\nHost: app.example\r\n\r\n")))
		mustDo(t, err)
		if w := s.serve(r, false); w.Code < 400 || s.reached() > 0 {
			t.Errorf("%s without a path: status %d, reached the app %d times", method, w.Code, s.reached())
		}
	}
}

// A method whose body may name another path needs a login on each.
func TestPublicByMethod(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/open/*"))
	ask := func(method, header, value string) bool {
		r, ok := wire("/open/a", appHost)
		if !ok {
			t.Fatal("net/http refuses the target")
		}
		r.Method = method
		if header != "" {
			r.Header.Set(header, value)
		}
		return passed(t, s, r)
	}
	for want, methods := range map[bool]string{
		true:  "GET HEAD POST PUT PATCH OPTIONS DELETE COPY MOVE PROPFIND PROPPATCH MKCOL LOCK UNLOCK TRACE",
		false: "SEARCH REPORT BIND REBIND UNBIND MERGE UPDATE ACL QUERY MKCALENDAR MKREDIRECTREF LINK X get",
	} {
		for method := range strings.FieldsSeq(methods) {
			if ask(method, "", "") != want {
				t.Errorf("%s: public %v, want %v", method, !want, want)
			}
			if named := want || method == "get"; ask("POST", "X-HTTP-Method-Override", method) != named {
				t.Errorf("POST that names %s: public %v, want %v", method, !named, named)
			}
		}
	}
}

func TestProtect(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(protect("/admin/*", "/Settings", "/exact/", "/wiki/Special:Users", "/secret.php", "/v1.2", "/team/index.php", "/Club/Default.aspx", "/a/home"), public("/admin/login"))
	for name, tc := range map[string]struct {
		target string
		open   bool
	}{
		"elsewhere":                {"/", true},
		"elsewhere, deeper":        {"/blog/admin/x", true},
		"a longer name":            {"/administration", true},
		"prefix":                   {"/admin/x", false},
		"prefix with slash":        {"/admin/", false},
		"prefix without slash":     {"/admin", false},
		"prefix of another case":   {"/ADMIN/x", false},
		"prefix of mixed case":     {"/aDmIn", false},
		"exact":                    {"/Settings", false},
		"exact of another case":    {"/sEttings", false},
		"exact with slash":         {"/settings/", false},
		"below exact":              {"/settings/x", true},
		"exact that has a slash":   {"/exact/", false},
		"exact but for its slash":  {"/exact", false},
		"public within":            {"/admin/login", true},
		"public of another case":   {"/admin/Login", false},
		"query":                    {"/?/admin/", true},
		"encoded":                  {"/%61dmin/x", false},
		"encoded elsewhere":        {"/a%20b", false},
		"dot dot":                  {"/x/../admin/x", false},
		"two slashes":              {"//admin/x", false},
		"dot":                      {"/./admin/x", false},
		"a name with dots":         {"/.well-known/...a/b..c/..d/e.", true},
		"parameter":                {"/admin;x/y", false},
		"backslash":                {`/x\..\admin`, false},
		"NUL":                      {"/admin%00", false},
		"absolute form":            {"http://app.example/ADMIN", false},
		"absolute form, no path":   {"http://app.example", false},
		"absolute form, elsewhere": {"http://app.example/blog", true},
		"Kelvin sign is no k":      {"/\u212a", false},
		"dot behind a name":        {"/admin./x", false},
		"dots behind a name":       {"/ADMIN.../x", false},
		"dot behind exact":         {"/settings.", false},
		"dot and slash":            {"/settings./", false},
		"stream":                   {"/admin::$INDEX_ALLOCATION/x", false},
		"stream with a name":       {"/admin:$I30:$INDEX_ALLOCATION/x", false},
		"stream of exact":          {"/Settings::$DATA", false},
		"dot, then stream":         {"/settings.:a", false},
		"stream elsewhere":         {"/wiki/Special:Admin", true},
		"another name with dots":   {"/admin.x/y", false}, // a file admin.x, as a server may say
		"a longer name with dots":  {"/admins.x/y", true},
		"what a file is asked":     {"/secret.php/x", false},
		"of another case, deeper":  {"/SECRET.php./x/y", false},
		"of its stream":            {"/secret.php::$DATA/x", false},
		"of its short name":        {"/SECRET~1.PHP/x", false},
		"of a file that names it":  {"/index.php/secret.php/x", false},
		"slash behind a file":      {"/secret.php/", false},
		"below a name with a dot":  {"/v1.2/x", false},
		"another file":             {"/secrets.php/x", true},
		"a directory of its index": {"/team", false},
		"that, with slash":         {"/Team/", false},
		"that, another index":      {"/club/index.html", false},
		"that, in another way":     {"/en/team./", false},
		"that, by a short name":    {"/CLUB/DEFAUL~1.ASP", false},
		"that, behind parentheses": {"/club/(S(x))/", false},
		"below that":               {"/team/x", true},
		"above that":               {"/", true},
		"no index by itself":       {"/a/", true},
		"an index without ending":  {"/settings/index", false},
		"a short name of an index": {"/settings/INDEX~1.HTM", false},
		"an index with a stream":   {"/settings/index:x", false},
		"a name like an index":     {"/settings/indexes", true},
		"a colon of its own":       {"/wiki/special:users", false},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := wire(tc.target, appHost)
			if !ok {
				t.Fatalf("net/http refuses %q before us: the case shows nothing", tc.target)
			}
			if got := passed(t, s, r); got != tc.open {
				t.Errorf("%q: open %v, want %v", tc.target, got, tc.open)
			}
		})
	}
}

// FuzzPublicPath holds what is let through without a login against an oracle
// of its own: the target must read the same raw, decoded and cleaned, and so
// read it must be public.
func FuzzPublicPath(f *testing.F) {
	for _, target := range []string{
		"/open/a", "/open/", "/open", "/healthz", "/open/../x", "/open/%2e%2e/x", "/open//x", "/open/;x", `/open/\x`, "/open/%00", "/open/#/../x",
		"http://app.example/open/a", "http://app.example/open/#/../../x", "http://h/open@x/y", "//open/a", "//", "/.open/..a", "/OPEN/a", "/shut/a", "/SHUT", "/shut", "*",
		"/open/..", "/open/.", "/open/.%2e/secret", "/open/%2E%2E/secret", "/open/%252e%252e/secret", "/open/..%2fsecret",
		"/open/..%5csecret", "/open/a;v=1", "/open/..%3b/secret", "/healthz%00", "/healthz%3fx", "/healthz%23",
		"/open//../secret", "/open//a", "/healthz#", "/open/..%c0%afsecret", "/open/\uff0e\uff0e/secret", "/open/\xc3\xa9",
		"http://app.example/open/../secret", "http://app.example/open/%2e%2e/secret", `http://app.example/open/..\secret`,
		"http://app.example/open/..;/secret", "/x/%2e%2e/shut", "//", "/blog//", "/blog/.", "/blog/..", "/;/shut",
		"/open/a?b#c", "A::///", "/open/\xff", "/open/\u212a", "/SHUT../a", "/shut::$data",
	} {
		f.Add(target)
	}
	l := newLab(f)
	g := l.gateway()
	opened, shut := l.siteOf(g, appHost, public("/open/*", "/healthz")), l.siteOf(g, "other.example", protect("/shut/*"))
	f.Fuzz(func(t *testing.T, target string) {
		l.t = t
		if strings.ContainsAny(target, "\r\n") {
			return
		}
		for _, s := range []*site{opened, shut} {
			r, ok := wire(target, s.host)
			if !ok {
				return
			}
			before := s.reached()
			w := s.serve(r, false)
			if s.reached() == before {
				continue
			}
			if w.Code != http.StatusOK {
				t.Fatalf("%q: reached the app and was answered %d", target, w.Code)
			}
			decoded := r.URL.Path
			raw := target
			if !strings.HasPrefix(target, "/") {
				_, rest, _ := strings.Cut(target, "://")
				raw = rest[strings.IndexByte(rest, '/'):]
			}
			raw, _, _ = strings.Cut(raw, "?")
			if clean := path.Clean(decoded); decoded != raw || decoded != clean && decoded != strings.TrimSuffix(clean, "/")+"/" {
				t.Fatalf("%q: public, though it reads raw %q, decoded %q, cleaned %q", target, raw, decoded, clean)
			}
			if strings.ContainsAny(decoded, "\\;%#?\x00\x7f ") || strings.ContainsFunc(decoded, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Fatalf("%q: public with a character that servers read differently", target)
			}
			if s == opened && !strings.HasPrefix(decoded, "/open/") && decoded != "/healthz" {
				t.Fatalf("%q: public, but no pattern says so", target)
			}
			first, _, _ := strings.Cut(strings.ToLower(decoded[1:]), "/")
			if first, _, _ = strings.Cut(first, ":"); s == shut && strings.TrimRight(first, ".") == "shut" {
				t.Fatalf("%q: open, though it is protected", target)
			}
		}
	})
}
