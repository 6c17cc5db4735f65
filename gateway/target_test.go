package gateway_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
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
		"dot dot at the end":              {"/static/..", false},
		"dot":                             {"/static/./a", false},
		"dot at the end":                  {"/static/.", false},
		"encoded dots":                    {"/static/%2e%2e/secret", false},
		"half encoded dots":               {"/static/.%2e/secret", false},
		"upper case encoding":             {"/static/%2E%2E/secret", false},
		"twice encoded dots":              {"/static/%252e%252e/secret", false},
		"encoded slash":                   {"/static%2fa", false},
		"encoded slash and dots":          {"/static/..%2fsecret", false},
		"encoded backslash":               {"/static/..%5csecret", false},
		"backslash":                       {`/static/..\secret`, false},
		"backslash for a slash":           {`/static\..\secret`, false},
		"path parameter":                  {"/static/..;/secret", false},
		"path parameter at the end":       {"/static/a;v=1", false},
		"encoded path parameter":          {"/static/..%3b/secret", false},
		"NUL":                             {"/static/%00/../secret", false},
		"NUL at the end":                  {"/healthz%00", false},
		"encoded letter":                  {"/%68ealthz", false},
		"encoded question mark":           {"/healthz%3fx", false},
		"encoded number sign":             {"/healthz%23", false},
		"number sign":                     {"/healthz#", false},
		"number sign, then a path":        {"/static/#/../../secret", false},
		"two slashes before":              {"//static/a", false},
		"two slashes after":               {"/static//a", false},
		"two slashes, then dots":          {"/static//../secret", false},
		"space":                           {"/static/%20", false},
		"non-ASCII, encoded":              {"/static/%c3%a9", false},
		"non-ASCII, raw":                  {"/static/\xc3\xa9", false},
		"overlong slash":                  {"/static/..%c0%afsecret", false},
		"full width dots":                 {"/static/\uff0e\uff0e/secret", false},
		"absolute form":                   {"http://app.example/healthz", true},
		"absolute form, other scheme":     {"https://app.example/static/a", true},
		"absolute form with query":        {"http://app.example/healthz?a", true},
		"absolute form, dot dot":          {"http://app.example/static/../secret", false},
		"absolute form, encoded":          {"http://app.example/static/%2e%2e/secret", false},
		"absolute form, backslash":        {`http://app.example/static/..\secret`, false},
		"absolute form, number sign":      {"http://app.example/static/#/../../secret", false},
		"absolute form, parameter":        {"http://app.example/static/..;/secret", false},
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
		if err != nil {
			t.Fatal(err)
		}
		if w := s.serve(r, false); w.Code < 400 || s.reached() > 0 {
			t.Errorf("%s without a path: status %d, reached the app %d times", method, w.Code, s.reached())
		}
	}
}

// A client may not be let in by one path and have the app answer for another.
func TestPublicByHeader(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.gateway()
	opened, shut := l.siteOf(g, appHost, public("/open/*")), l.siteOf(g, "other.example", protect("/shut/*"))
	for name, tc := range map[string]struct {
		header string
		values []string
		public bool
	}{
		"private":             {"X-Original-Url", []string{"/shut/a"}, false},
		"private, rewritten":  {"X-Rewrite-Url", []string{"/shut/a"}, false},
		"underscores":         {"X_original_URL", []string{"/shut/a"}, false},
		"dots":                {"X.Rewrite.Url", []string{"/shut/a"}, false},
		"with a query":        {"X-Original-Url", []string{"/shut/a?b=/open/a"}, false},
		"absolute":            {"X-Original-Url", []string{"http://app.example/shut/a"}, false},
		"round about":         {"X-Original-Url", []string{"/open/../shut/a"}, false},
		"encoded":             {"X-Original-Url", []string{"/open/%2e%2e/shut/a"}, false},
		"without a slash":     {"X-Original-Url", []string{"shut/a"}, false},
		"empty":               {"X-Original-Url", []string{""}, false},
		"public, then not":    {"X-Original-Url", []string{"/open/a", "/shut/a"}, false},
		"public":              {"X-Original-Url", []string{"/open/b?c"}, true},
		"public, twice":       {"X-Rewrite-Url", []string{"/open/b", "/open/c"}, true},
		"a longer name":       {"X-Original-Url-2", []string{"/shut/a"}, true},
		"a name of that size": {"X-Original-Ur1", []string{"/shut/a"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range []*site{opened, shut} {
				r, ok := wire("/open/a", s.host)
				if !ok {
					t.Fatal("net/http refuses the target")
				}
				r.Header[tc.header] = tc.values
				if got := passed(t, s, r); got != tc.public {
					t.Errorf("%s: public %v, want %v", s.host, got, tc.public)
				}
			}
		})
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
		"encoded dot dot":          {"/x/%2e%2e/admin", false},
		"two slashes":              {"//admin/x", false},
		"two slashes alone":        {"//", false},
		"two slashes at the end":   {"/blog//", false},
		"dot":                      {"/./admin/x", false},
		"dot at the end":           {"/blog/.", false},
		"dot dot at the end":       {"/blog/..", false},
		"a name with dots":         {"/.well-known/...a/b..c/..d/e.", true},
		"parameter":                {"/admin;x/y", false},
		"parameter elsewhere":      {"/;/admin", false},
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

// returnURLs are what a login might be asked to return to, and where it must.
var returnURLs = map[string]struct{ target, want string }{
	"root":                      {"/", "/"},
	"path":                      {"/a/b", "/a/b"},
	"path and query":            {"/a?b=c&d=%2F", "/a?b=c&d=%2F"},
	"encoded path":              {"/a%20b/%C3%A9", "/a%20b/%C3%A9"},
	"URL in the query":          {"/a?u=https://evil.example/", "/a?u=https://evil.example/"},
	"colon in the path":         {"/a:b", "/a:b"},
	"our session page":          {"/.sso/session", "/.sso/session"},
	"empty":                     {"", "/"},
	"no slash":                  {"a", "/"},
	"absolute":                  {"https://evil.example/", "/"},
	"absolute, ours":            {"https://app.example/a", "/"},
	"scheme-relative":           {"//evil.example/", "/"},
	"three slashes":             {"///evil.example/", "/"},
	"backslash":                 {`/\evil.example/`, "/"},
	"two backslashes":           {`\\evil.example/`, "/"},
	"backslash later":           {`/a\b`, "/"},
	"encoded backslash":         {"/%5cevil.example", "/"},
	"encoded slash":             {"/%2fevil.example", "/"},
	"encoded slash and a slash": {"/%2f/evil.example", "/"},
	"tab":                       {"/\t/evil.example", "/"},
	"encoded tab":               {"/%09/evil.example", "/"},
	"line feed":                 {"/\n/evil.example", "/"},
	"header injection":          {"/a\r\nSet-Cookie: sso=x", "/"},
	"encoded header injection":  {"/a%0d%0aSet-Cookie:x", "/"},
	"NUL":                       {"/a\x00", "/"},
	"encoded NUL":               {"/a%00", "/"},
	"space before":              {" /a", "/"},
	"space":                     {"/a b", "/"},
	"non-ASCII":                 {"/é?ü=\u00a0", "/%C3%A9?%C3%BC=%C2%A0"},
	"no UTF-8":                  {"/\xff", "/%FF"},
	"fragment":                  {"/a?b#c/d?e#f", "/a?b#c/d?e#f"},
	"non-ASCII fragment":        {"/#ü", "/#%C3%BC"},
	"only a fragment":           {"#b", "/"},
	"blank in a fragment":       {"/#a b", "/"},
	"backslash in a fragment":   {`/#a\b`, "/#a%5Cb"},
	"backslash in a query":      {`/x?q=a\b`, "/x?q=a%5Cb"},
	"encoded backslash inside":  {`/a%5Cb/%5c?%5C`, `/a%5Cb/%5c?%5C`},
	"fragment hides our logout": {"/.sso/logout#/a", "/"},
	"bad escape":                {"/a%zz", "/"},
	"scheme":                    {"javascript:alert(1)", "/"},
	"data":                      {"data:text/html,x", "/"},
	"user":                      {"@evil.example", "/"},
	"port":                      {":443", "/"},
	"dot host":                  {".evil.example", "/"},
	"our logout":                {"/.sso/logout", "/"},
	"our login":                 {"/.sso/login?return=/", "/"},
	"our prefix":                {"/.sso", "/"},
	"our login, round about":    {"/a/../.sso/login", "/"},
	"our login, encoded":        {"/%2esso/login", "/"},
	"our callback":              {"/.sso/oidc/callback?state=x", "/"},
	"a name like ours":          {"/.ssox", "/.ssox"},
	"too long":                  {"/" + strings.Repeat("a", 8192), "/"},
	"just not too long":         {"/" + strings.Repeat("a", 8191), "/" + strings.Repeat("a", 8191)},
}

func TestReturnURL(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	signedIn := s.browser()
	signedIn.signIn()
	for name, tc := range returnURLs {
		t.Run(name, func(t *testing.T) {
			login := "/.sso/login?" + url.Values{"return": {tc.target}}.Encode()
			wantRedirect(t, signedIn.open(login), "https://app.example"+tc.want)
			fresh := s.browser()
			callback := fresh.begin(login)
			wantRedirect(t, fresh.open(callback), "https://app.example"+tc.want)
		})
	}
}

// The page that a person wanted comes back with its query, as it was asked.
func TestReturnToTarget(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	for name, tc := range map[string]struct{ target, want string }{
		"path and query":  {"/a%20b?c=d&e=%2f%2F", "/a%20b?c=d&e=%2f%2F"},
		"absolute form":   {"http://app.example/a?b", "/a?b"},
		"two slashes":     {"//evil.example/", "/"},
		"a semicolon":     {"/a;b?c;d", "/a;b?c;d"},
		"an encoded path": {"/%2e%2e/a", "/%2e%2e/a"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			r, ok := wire(tc.target, appHost)
			if !ok {
				t.Fatal("net/http refuses the target")
			}
			r.Header.Set("Accept", "text/html")
			w := b.send(r)
			wantStatus(t, w, http.StatusSeeOther)
			wantRedirect(t, b.open(s.idp.visit(t, w.Header().Get("Location"), "alice")), "https://app.example"+tc.want)
		})
	}
}

// FuzzReturnURL holds every Location after a login against two readings, that
// of net/url and that of browsers.
func FuzzReturnURL(f *testing.F) {
	for _, tc := range returnURLs {
		f.Add(tc.target)
	}
	s := newLab(f).site()
	b := s.browser()
	b.signIn()
	once := 0
	f.Fuzz(func(t *testing.T, target string) {
		s.lab.t = t
		once++ // the same query again and again is a loop of the app's
		w := b.open("/.sso/login?" + url.Values{"return": {target}, "once": {strconv.Itoa(once)}}.Encode())
		wantStatus(t, w, http.StatusSeeOther)
		location := w.Header().Get("Location")
		u, err := url.Parse(location)
		if err != nil || u.Scheme != "https" || u.Host != appHost || u.User != nil {
			t.Fatalf("%q led to %q (%v)", target, location, err)
		}
		if got := browserReads(location); !strings.HasPrefix(got, "https://app.example/") || strings.HasPrefix(got, "https://app.example//") {
			t.Fatalf("%q led to %q, which a browser reads as %q", target, location, got)
		}
		if clean := path.Clean(u.Path); strings.HasPrefix(clean, "/.sso/") && clean != "/.sso/session" {
			t.Fatalf("%q led back to the gateway: %q", target, location)
		}
	})
}

// browserReads does to a URL what the URL Standard (§4.4) does first: blanks
// and controls at the ends go, tabs and line breaks everywhere, a backslash is
// a slash.
func browserReads(location string) string {
	location = strings.TrimFunc(location, func(c rune) bool { return c <= ' ' })
	location = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(location)
	head, query, found := strings.Cut(location, "?")
	head = strings.ReplaceAll(head, `\`, "/")
	if found {
		return head + "?" + query
	}
	return head
}

func TestHosts(t *testing.T) {
	t.Parallel()
	exact := gateway.Hosts{Exact: []string{appHost, "alias.example", "[2001:db8::1]"}, Scheme: "https"}
	wildcard := gateway.Hosts{Any: true, Scheme: "https"}
	for name, tc := range map[string]struct {
		hosts  gateway.Hosts
		host   string
		origin string // "": refused
	}{
		"exact":                   {exact, "app.example", "https://app.example"},
		"exact, second":           {exact, "alias.example", "https://alias.example"},
		"upper case":              {exact, "APP.Example", "https://app.example"},
		"own port":                {exact, "app.example:8443", "https://app.example:8443"},
		"the scheme's port":       {exact, "app.example:443", "https://app.example"},
		"IPv6":                    {exact, "[2001:DB8::1]", "https://[2001:db8::1]"},
		"IPv6 and port":           {exact, "[2001:db8::1]:8443", "https://[2001:db8::1]:8443"},
		"another host":            {exact, "evil.example", ""},
		"a part of ours":          {exact, "example", ""},
		"ours as a part":          {exact, "app.example.evil.example", ""},
		"ours in the user":        {exact, "app.example@evil.example", ""},
		"user":                    {exact, "evil@app.example", ""},
		"port is a name":          {exact, "app.example:evil", ""},
		"port and more":           {exact, "app.example:80@evil.example", ""},
		"empty port":              {exact, "app.example:", ""},
		"huge port":               {exact, "app.example:999999", ""},
		"two ports":               {exact, "app.example:1:2", ""},
		"slash":                   {exact, "app.example/evil", ""},
		"question mark":           {exact, "app.example?evil", ""},
		"number sign":             {exact, "app.example#evil", ""},
		"backslash":               {exact, `app.example\evil`, ""},
		"blank":                   {exact, "app.example evil", ""},
		"list":                    {exact, "app.example,evil.example", ""},
		"percent":                 {exact, "app%2eexample", ""},
		"dot at the end":          {exact, "app.example.", ""},
		"other IPv6":              {exact, "[2001:db8::2]", ""},
		"IPv6 with a zone":        {exact, "[2001:db8::1%25evil]", ""},
		"IPv6 without brackets":   {exact, "2001:db8::1", ""},
		"bracket only":            {exact, "[app.example]", ""},
		"empty":                   {exact, "", ""},
		"wildcard":                {wildcard, "any.example", "https://any.example"},
		"wildcard, upper case":    {wildcard, "ANY.example:8443", "https://any.example:8443"},
		"wildcard, user":          {wildcard, "evil@any.example", ""},
		"wildcard, slash":         {wildcard, "any.example/evil", ""},
		"wildcard, empty":         {wildcard, "", ""},
		"wildcard, line break":    {wildcard, "any.example\r\nX: y", ""},
		"wildcard, no port after": {wildcard, "any.example:8a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := &site{lab: l, app: newApp(t, l.gateway()), host: tc.host}
			if err := s.app.Start(tc.hosts); err != nil {
				t.Fatal(err)
			}
			for _, target := range []string{"/", "/.sso/login", "/.sso/login?provider=corp", "/.sso/logout", "/.sso/oidc/callback?state=" + strings.Repeat("A", 43) + "&code=alice"} {
				r := httptest.NewRequest(http.MethodGet, target, nil)
				r.Host = tc.host
				r.Header.Set("Accept", "text/html")
				w := s.serve(r, false)
				location := w.Header().Get("Location")
				if tc.origin == "" {
					wantRefused(t, w, refusal.UnknownHost)
					if location != "" || w.Header().Get("Set-Cookie") != "" {
						t.Errorf("%s: Location %q, Set-Cookie %q", target, location, w.Header().Get("Set-Cookie"))
					}
					continue
				}
				if strings.HasPrefix(location, "https://id.example") {
					u, err := url.Parse(location)
					if err != nil {
						t.Fatal(err)
					}
					location = u.Query().Get("redirect_uri")
				}
				if location != "" && !strings.HasPrefix(location, tc.origin+"/") {
					t.Errorf("%s: Location or redirect_uri %q, want one of %s", target, location, tc.origin)
				}
			}
			begun, completed := l.idp.counts()
			if tc.origin == "" && begun+completed+l.store.written() > 0 {
				t.Errorf("begun %d, completed %d, written %d: a foreign host did something", begun, completed, l.store.written())
			}
			if tc.origin != "" && begun != 3 {
				t.Errorf("%d logins were begun, want 3", begun)
			}
		})
	}
}

func TestBaseURL(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.siteOf(l.gateway(), "inner.example", func(o *gateway.AppOptions) { o.BaseURL = "https://App.Example:443/" })
	b := s.browser()
	w := b.open("/")
	wantRefused(t, w, refusal.UnknownHost)
	w = b.open("/", "Host", "app.example")
	wantStatus(t, w, http.StatusSeeOther)
	if got := l.idp.begun[0].CallbackURL; got != "https://app.example/.sso/oidc/callback" {
		t.Errorf("callback %q", got)
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.gateway()
	if err := newApp(t, g).Start(gateway.Hosts{Scheme: "https"}); err == nil || !strings.Contains(err.Error(), "base_url") {
		t.Errorf("no host: %v, want the fix", err)
	}
	if err := newApp(t, g).Start(gateway.Hosts{Exact: []string{"a/b"}}); err == nil || !strings.Contains(err.Error(), "base_url") {
		t.Errorf("bad host: %v, want the fix", err)
	}
	if err := newApp(t, g, func(o *gateway.AppOptions) { o.BaseURL = "https://app.example" }).Start(gateway.Hosts{}); err != nil {
		t.Errorf("base_url and no host: %v", err)
	}
	if err := newApp(t, g).Start(gateway.Hosts{Exact: []string{"app.example"}}); err == nil || !strings.Contains(err.Error(), `"app.example"`) {
		t.Errorf("an audience that another site has: %v", err)
	}
	if err := newApp(t, g, func(o *gateway.AppOptions) { o.ID = "second" }).Start(gateway.Hosts{Exact: []string{"app.example"}}); err != nil {
		t.Errorf("the same host under another id: %v", err)
	}
}
