//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A client is a person at a browser without the browser: it keeps cookies,
// follows redirects and fills in Keycloak's form.
type client struct {
	t    *testing.T
	http *http.Client
	// hops are the URLs of the last navigation.
	hops []string
}

// A page is what a navigation ended with.
type page struct {
	status int
	url    *url.URL
	header http.Header
	body   string
}

func newClient(t *testing.T) *client {
	t.Helper()
	jar := newBrowserJar()
	c := &client{t: t}
	tr := transport(certificates(t))
	t.Cleanup(tr.CloseIdleConnections)
	c.http = &http.Client{Jar: jar, Transport: tr, Timeout: 30 * time.Second, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		c.hops = append(c.hops, r.URL.String())
		jar.setCrossSite(false) // a redirect makes a GET of it
		// A browser names neither the address that redirected it nor, once the
		// method is GET, an origin; net/http does.
		r.Header.Del("Referer")
		r.Header.Del("Origin")
		if r.Header.Get("Sec-Fetch-Site") != "" && r.URL.Host != via[0].URL.Host {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		if len(via) > 15 {
			return fmt.Errorf("more than 15 redirects: %s", strings.Join(c.hops, " → "))
		}
		return nil
	}}
	return c
}

// navigate opens a URL as a person does: a top-level navigation.
func (c *client) navigate(target string) *page {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	asNavigation(req)
	return c.do(req)
}

// asNavigation sets the headers that a browser sends with a navigation.
func asNavigation(req *http.Request) {
	req.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	req.Header.Set("Sec-Fetch-Site", "none")
}

// fetch requests a URL as a script or an API client does: JSON is fine.
func (c *client) fetch(target string) *page {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	return c.do(req)
}

// submit posts a form of the page p to where it says.
func (c *client) submit(p *page, action string, fields url.Values) *page {
	c.t.Helper()
	to, err := p.url.Parse(action)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, to.String(), strings.NewReader(fields.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	asNavigation(req)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", p.url.Scheme+"://"+p.url.Host)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if to.Hostname() != p.url.Hostname() {
		req.Header.Set("Origin", "null") // Keycloak's pages tell nobody where they are
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if jar, ok := c.http.Jar.(*browserJar); ok {
			jar.setCrossSite(true)
			defer jar.setCrossSite(false)
		}
	}
	return c.do(req)
}

func (c *client) do(req *http.Request) *page {
	c.t.Helper()
	c.hops = []string{req.URL.String()}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return &page{resp.StatusCode, resp.Request.URL, resp.Header, string(body)}
}

// stopBefore makes the client stop before it follows a redirect to a URL that
// begins with prefix, for one call of f.
func (c *client) stopBefore(prefix string, f func() *page) *page {
	follow := c.http.CheckRedirect
	defer func() { c.http.CheckRedirect = follow }()
	c.http.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), prefix) {
			return http.ErrUseLastResponse
		}
		return follow(r, via)
	}
	return f()
}

var formAction = regexp.MustCompile(`<form[^>]*\bid="kc-form-login"[^>]*\baction="([^"]*)"`)

// isLoginForm says whether the page is Keycloak's form.
func (p *page) isLoginForm() bool { return formAction.MatchString(p.body) }

// enter fills in Keycloak's form.
func (c *client) enter(form *page, user, password string) *page {
	c.t.Helper()
	m := formAction.FindStringSubmatch(form.body)
	if m == nil {
		c.t.Fatalf("expected Keycloak's form, got %s\nby %s", form, strings.Join(c.hops, " → "))
	}
	return c.submit(form, html.UnescapeString(m[1]), url.Values{"username": {user}, "password": {password}, "credentialId": {""}})
}

// signIn opens a URL, signs in at Keycloak, and returns what that ended with.
func (c *client) signIn(target, user string) *page {
	c.t.Helper()
	return c.enter(c.navigate(target), user, user)
}

// echoed returns what the app says it received; the test ends if the page is
// not the app's.
func (c *client) echoed(p *page) *received {
	c.t.Helper()
	text := p.body
	if _, rest, ok := strings.Cut(text, "<script id=received type=application/json>"); ok {
		text, _, _ = strings.Cut(rest, "</script>")
	}
	var r received
	if p.status != http.StatusOK || json.Unmarshal([]byte(text), &r) != nil || r.Method == "" {
		c.t.Fatalf("expected the app, got %s\nby %s", p, strings.Join(c.hops, " → "))
	}
	return &r
}

// cookies returns the cookies that the client would send to a URL.
func (c *client) cookies(target string) []*http.Cookie {
	c.t.Helper()
	return c.http.Jar.Cookies(c.url(target))
}

// with gives the client cookies of a site.
func (c *client) with(base string, cookies []*http.Cookie) *client {
	c.t.Helper()
	c.http.Jar.SetCookies(c.url(base), cookies)
	return c
}

// url parses a URL.
func (c *client) url(target string) *url.URL {
	c.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		c.t.Fatal(err)
	}
	return u
}

// logOut ends the session at the site, as a person does on its page, and goes
// on to the provider if the site says so.
func (c *client) logOut(base string) *page {
	c.t.Helper()
	p := c.endSession(base)
	if to := p.goesOn(); to != "" {
		return c.navigate(to)
	}
	return p
}

// refresh is what makes a browser go on from a page by itself.
var refresh = regexp.MustCompile(`<meta http-equiv="refresh" content="0; url=([^"]*)">`)

// goesOn returns where a browser goes on from a page by itself, or "".
func (p *page) goesOn() string {
	m := refresh.FindStringSubmatch(p.body)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// endSession is logOut up to the site's own answer.
func (c *client) endSession(base string) *page {
	c.t.Helper()
	ask := c.navigate(base + "/.sso/logout")
	if ask.status != http.StatusOK {
		c.t.Fatalf("expected the page that asks, got %s", ask)
	}
	return c.submit(ask, "/.sso/logout", url.Values{})
}

// String shows a page in failures.
func (p *page) String() string {
	text := regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>|<[^>]*>`).ReplaceAllString(p.body, " ")
	return fmt.Sprintf("%d at %s: %.400s", p.status, p.url.Redacted(), strings.Join(strings.Fields(text), " "))
}
