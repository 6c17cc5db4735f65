//go:build integration

package integration

import (
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// A browserJar is a cookie jar that knows SameSite: with a POST from another
// site a browser sends only cookies that say SameSite=None. net/http's jar
// sends them all.
type browserJar struct {
	*cookiejar.Jar

	mu         sync.Mutex
	everywhere map[string]bool // by host and name: SameSite=None
	crossSite  bool            // the request under way is a cross-site POST
}

func newBrowserJar() *browserJar {
	jar, _ := cookiejar.New(nil) // never fails
	return &browserJar{Jar: jar, everywhere: map[string]bool{}}
}

func (j *browserJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	j.mu.Lock()
	for _, c := range cookies {
		j.everywhere[u.Hostname()+" "+c.Name] = c.SameSite == http.SameSiteNoneMode
	}
	j.mu.Unlock()
	j.Jar.SetCookies(u, cookies)
}

func (j *browserJar) Cookies(u *url.URL) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	var sent []*http.Cookie
	for _, c := range j.Jar.Cookies(u) {
		if !j.crossSite || j.everywhere[u.Hostname()+" "+c.Name] {
			sent = append(sent, c)
		}
	}
	return sent
}

func (j *browserJar) setCrossSite(yes bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.crossSite = yes
}

// A form is a form of a page, with its fields as a person would send them
// without touching them.
type form struct {
	page   *page
	action string
	fields url.Values
}

var (
	formElement  = regexp.MustCompile(`(?is)<form\b([^>]*)>(.*?)</form>`)
	inputElement = regexp.MustCompile(`(?is)<(?:input|textarea)\b([^>]*)>`)
	attribute    = regexp.MustCompile(`(?is)\b([a-z-]+)\s*=\s*"([^"]*)"`)
)

// attributes returns the attributes of a tag.
func attributes(tag string) map[string]string {
	all := map[string]string{}
	for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
		all[strings.ToLower(m[1])] = html.UnescapeString(m[2])
	}
	return all
}

// forms returns the forms of a page.
func (p *page) forms() []*form {
	var all []*form
	for _, m := range formElement.FindAllStringSubmatch(p.body, -1) {
		f := &form{page: p, action: attributes(m[1])["action"], fields: url.Values{}}
		for _, in := range inputElement.FindAllStringSubmatch(m[2], -1) {
			if a := attributes(in[1]); a["name"] != "" && a["type"] != "submit" {
				f.fields.Add(a["name"], a["value"])
			}
		}
		all = append(all, f)
	}
	return all
}

// formWith returns the page's form that has a field, or nil.
func (p *page) formWith(field string) *form {
	for _, f := range p.forms() {
		if f.fields.Has(field) {
			return f
		}
	}
	return nil
}

// target is where the form goes.
func (f *form) target() string {
	to, err := f.page.url.Parse(f.action)
	if err != nil {
		return f.action
	}
	return to.String()
}

// send sends a form, as its button or its script does.
func (c *client) send(f *form) *page {
	c.t.Helper()
	return c.submit(f.page, f.action, f.fields)
}
