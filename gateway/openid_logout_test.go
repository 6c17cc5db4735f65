package gateway_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// wikiLeaves is a request of the wiki to log out, with changes: names and values in pairs.
func wikiLeaves(change ...string) string {
	params := url.Values{"client_id": {"wiki"}, "post_logout_redirect_uri": {wikiBye}, "state": {"b&e"}}
	for i := 0; i < len(change); i += 2 {
		params.Set(change[i], change[i+1])
	}
	return "/.sso/op/logout?" + params.Encode()
}

const backToWiki = wikiBye + "?state=b%26e"

// postFrom posts a form from a page, with the browser's cookies if they come.
func (b *browser) postFrom(site, target string) *httptest.ResponseRecorder {
	b.t.Helper()
	path, query, _ := strings.Cut(target, "?")
	r := b.request(http.MethodPost, path, "Sec-Fetch-Site", site, "Sec-Fetch-Mode", "navigate", "Accept", "text/html", "Content-Type", "application/x-www-form-urlencoded")
	n := httptest.NewRequest(http.MethodPost, path, strings.NewReader(query))
	n.Host, n.Header = r.Host, r.Header
	return b.send(n)
}

// A client that has an ID token of the login ends it at once.
func TestOpenIDLogoutWithHint(t *testing.T) {
	t.Parallel()
	s := newLab(t).openID()
	for name, send := range map[string]func(b *browser, target string) *httptest.ResponseRecorder{
		"GET": func(b *browser, target string) *httptest.ResponseRecorder {
			return b.open(target, "Sec-Fetch-Site", "cross-site")
		},
		"POST": func(b *browser, target string) *httptest.ResponseRecorder { return b.postFrom("cross-site", target) },
	} {
		b := s.browser()
		tokens := b.tokens()
		w := send(b, wikiLeaves("id_token_hint", tokens["id_token"].(string)))
		if name == "POST" {
			w = b.follow(w)
		}
		wantRedirect(t, w, backToWiki)
		if w.Header().Get("Clear-Site-Data") == "" {
			t.Errorf("%s: the browser keeps pages", name)
		}
		wantError(t, b.open(wikiAsks("prompt", "none")), "login_required")
		if status, _ := s.userinfo(tokens["access_token"]); status != http.StatusUnauthorized {
			t.Errorf("%s: the access token is worth %d", name, status)
		}
	}
}

// A login that this node does not accept ends, too: it is stored, and other nodes may accept it.
func TestOpenIDLogoutOfALoginNotAcceptedHere(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.openID()
	b := s.browser()
	tokens := b.tokens()
	there := l.openID(func(o *gateway.Options) {
		changed := newFakeIDP(l.idp.issuer)
		changed.definition = "changed"
		o.Providers = []gateway.NamedProvider{named("corp", changed)}
	})
	wantRedirect(t, b.at(there).open(wikiLeaves("id_token_hint", tokens["id_token"].(string))), backToWiki)
	if status, _ := s.userinfo(tokens["access_token"]); status != http.StatusUnauthorized {
		t.Errorf("the access token is worth %d", status)
	}
}

// Without that, a page asks: a foreign page may have sent the browser here.
func TestOpenIDLogoutAsks(t *testing.T) {
	t.Parallel()
	s := newLab(t).openID()
	other := s.browser().tokens()["id_token"].(string)
	action := regexp.MustCompile(`action="([^"]*)"`)
	for name, target := range map[string]string{
		"no hint": wikiLeaves(), "hint of another login": wikiLeaves("id_token_hint", other), "no client": "/.sso/op/logout", "nowhere to go": "/.sso/op/logout?client_id=wiki",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := s.browser()
			b.tokens()
			for _, w := range []*httptest.ResponseRecorder{b.open(target, "Sec-Fetch-Site", "cross-site"), b.postFrom("same-site", wikiLeaves())} {
				page := b.follow(w)
				wantStatus(t, page, http.StatusOK)
				if !strings.Contains(page.Body.String(), "Sign out?") {
					t.Fatalf("no page asks:\n%s", page.Body)
				}
			}
			wantCode(t, b.open(wikiAsks())) // nothing has ended
			m := action.FindStringSubmatch(b.follow(b.open(target)).Body.String())
			if m == nil || !strings.HasPrefix(m[1], "/.sso/logout") {
				t.Fatalf("the form posts to %q", m)
			}
			post := html.UnescapeString(m[1])
			for _, site := range []string{"cross-site", "same-site"} {
				wantRefused(t, b.send(b.request(http.MethodPost, post, "Sec-Fetch-Site", site, "Accept", "text/html")), refusal.CrossSite)
			}
			wantCode(t, b.open(wikiAsks()))
			w := b.post(post, "Sec-Fetch-Mode", "navigate")
			if !strings.Contains(target, "post_logout") {
				wantRedirect(t, w, "https://app.example/.sso/logged-out")
			} else if wantStatus(t, w, http.StatusOK); linkOf(t, w, "Continue") != backToWiki || !strings.Contains(w.Body.String(), "<bdi>wiki.example</bdi>") {
				t.Errorf("the page after the logout:\n%s", w.Body)
			}
			wantError(t, b.open(wikiAsks("prompt", "none")), "login_required")
			// Nobody is signed in: there is nothing to ask about.
			switch w := b.open(target); {
			case strings.Contains(target, "post_logout"):
				wantRedirect(t, w, backToWiki)
			default:
				wantRedirect(t, w, "https://app.example/.sso/logged-out")
			}
		})
	}
}

// An app on a device has a scheme of its own (RFC 8252 §7.1).
func TestOpenIDLogoutToADevice(t *testing.T) {
	t.Parallel()
	const out = "com.example.app:/out"
	l := newLab(t)
	s := l.openIDOf(l.gateway(), func(o *gateway.AppOptions) {
		o.Clients[0].Secrets, o.Clients[0].PostLogoutURIs = nil, []string{out}
	})
	b := s.browser()
	wantCode(t, b.follow(b.bring(b.begin(wikiAsks()))))
	w := b.post("/.sso/logout?client_id=wiki&state=a%26b&post_logout_redirect_uri="+out, "Sec-Fetch-Mode", "navigate")
	wantStatus(t, w, http.StatusOK)
	if page := w.Body.String(); linkOf(t, w, "Continue") != out+"?state=a%26b" || !strings.Contains(page, `content="0; url=`+out+`?state=a%26b"`) || !strings.Contains(page, "<bdi>com.example.app</bdi>") {
		t.Errorf("the page after the logout:\n%s", page)
	}
}

// A faulty request ends nothing and redirects nowhere.
func TestOpenIDLogoutRefuses(t *testing.T) {
	t.Parallel()
	b := newLab(t).openID().browser()
	token := b.tokens()["id_token"].(string)
	for name, target := range map[string]string{
		"unknown client":         wikiLeaves("client_id", "evil"),
		"another client's token": wikiLeaves("client_id", "vault", "id_token_hint", token),
		"unregistered address":   wikiLeaves("post_logout_redirect_uri", "https://evil.example/"),
		"redirect URI":           wikiLeaves("post_logout_redirect_uri", wikiCallback, "id_token_hint", token),
		"forged token":           wikiLeaves("id_token_hint", token[:strings.LastIndex(token, ".")]+".AAAA"),
	} {
		for _, at := range []string{target, strings.Replace(target, "/op/logout", "/logout", 1)} {
			w := b.open(at)
			if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
				t.Errorf("%s: %d to %q", name, w.Code, w.Header().Get("Location"))
			}
		}
	}
	wantCode(t, b.open(wikiAsks()))
	// The client has ended its own session. The person can end the one here, and stays here.
	stranger := b.browser()
	for _, target := range []string{wikiLeaves("post_logout_redirect_uri", "https://wiki.example/"), "/.sso/op/logout?client_id=Wiki", "/.sso/op/logout?a=%zz"} {
		for _, at := range []string{target, strings.Replace(target, "/op/logout", "/logout", 1)} {
			if body := stranger.open(at).Body.String(); strings.Contains(body, "Sign out") {
				t.Errorf("%s: nobody is signed in:\n%s", at, body)
			}
			w := b.open(at)
			if body := w.Body.String(); linkOf(t, w, "Sign out") != "/.sso/logout" || !strings.Contains(body, "Signed in as <bdi>alice</bdi>") {
				t.Errorf("%s: the page says\n%s", at, body)
			}
		}
	}
	wantStatus(t, b.open("/.sso/logout"), http.StatusOK)
	wantRedirect(t, b.post("/.sso/logout", "Sec-Fetch-Mode", "navigate"), "https://app.example/.sso/logged-out")
}

// With `logout provider`, the person leaves at the provider and stays there.
func TestOpenIDLogoutAtTheProvider(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.openID(func(o *gateway.Options) {
		o.Providers[0].Provider = leavingIDP{l.idp, func(provider.LogoutRequest) (string, error) { return "https://id.example/bye", nil }}
	})
	b := s.browser()
	w := b.open(wikiLeaves("id_token_hint", b.tokens()["id_token"].(string)))
	wantStatus(t, w, http.StatusOK)
	if got := linkOf(t, w, "Continue"); got != "https://id.example/bye" {
		t.Errorf("it goes on to %s", got)
	}
}
