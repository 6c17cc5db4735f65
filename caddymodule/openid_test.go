package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// A wiki is an app that signs people in by OpenID Connect with libraries of others.
type wiki struct {
	*httptest.Server
	issuer, secret string
	options        []oauth2.AuthCodeOption

	mu      sync.Mutex
	secrets []string // that it has seen and that no log may show
	idToken string
	access  oauth2.TokenSource
	heard   []string // logout tokens
}

const wikiVerifier = "the-verifier-of-the-wiki-is-long-enough-to-be-one"

func newWiki(t *testing.T, issuer string) *wiki {
	t.Helper()
	a := &wiki{issuer: issuer, secret: "the secret of the wiki"}
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		_, config, err := a.client(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		options := append(slices.Clone(a.options), oidc.Nonce("nonce-of-the-wiki"), oauth2.S256ChallengeOption(wikiVerifier))
		http.Redirect(w, r, config.AuthCodeURL("state-of-the-wiki", options...), http.StatusFound)
	})
	mux.HandleFunc("/oauth/callback", func(w http.ResponseWriter, r *http.Request) {
		claims, err := a.callback(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(claims)
	})
	mux.HandleFunc("POST /backchannel", func(_ http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.heard = append(a.heard, r.FormValue("logout_token"))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the wiki") })
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *wiki) client(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	op, err := oidc.NewProvider(ctx, a.issuer)
	if err != nil {
		return nil, nil, err
	}
	return op, &oauth2.Config{
		ClientID: "wiki", ClientSecret: a.secret, Endpoint: op.Endpoint(), RedirectURL: a.URL + "/oauth/callback",
		Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
	}, nil
}

// callback exchanges the code, and returns what the ID token and userinfo say.
func (a *wiki) callback(r *http.Request) (claims map[string]any, err error) {
	if r.FormValue("state") != "state-of-the-wiki" || r.FormValue("error") != "" {
		return nil, fmt.Errorf("answered %v", r.Form)
	}
	op, config, err := a.client(r.Context())
	if err != nil {
		return nil, err
	}
	token, err := config.Exchange(r.Context(), r.FormValue("code"), oauth2.VerifierOption(wikiVerifier))
	if err != nil {
		return nil, err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := op.Verifier(&oidc.Config{ClientID: "wiki"}).Verify(r.Context(), raw)
	if err != nil || id.Nonce != "nonce-of-the-wiki" || id.VerifyAccessToken(token.AccessToken) != nil {
		return nil, fmt.Errorf("the ID token is not good: %v", err)
	}
	a.mu.Lock()
	a.idToken, a.access = raw, oauth2.StaticTokenSource(token)
	a.secrets = append(a.secrets, r.FormValue("code"), token.AccessToken, raw, a.secret, url.QueryEscape(a.secret))
	a.mu.Unlock()
	info, err := op.UserInfo(r.Context(), a.access)
	if err == nil {
		err = info.Claims(&claims)
	}
	return claims, err
}

// valid says whether the access token still is.
func (a *wiki) valid(t *testing.T) bool {
	t.Helper()
	op, _, err := a.client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = op.UserInfo(t.Context(), a.access)
	return err == nil
}

// documented is the Caddyfile of docs/openid-provider.md for this world: only names of
// hosts and files, and the provider, are replaced.
func (w *world) documented(t *testing.T, a *wiki) string {
	t.Helper()
	page, err := os.ReadFile("../docs/openid-provider.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("the page has no Caddyfile")
	}
	file := filepath.Join(w.dir, "wiki")
	if err := os.WriteFile(file, []byte(a.secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"id.example.com {", "ORIGIN {\n\tbind 127.0.0.1\n\tlog", "sso oidc https://login.example.com/realms/corp gateway {env.OIDC_SECRET} {", "PROVIDER",
		"/etc/caddy/secrets/wiki", file, "https://wiki.example.com", a.URL, "wiki-editors", "admins",
	).Replace(string(block[1]))
}

// TestOpenIDProvider follows docs/openid-provider.md with the libraries of others, and looks
// for codes and tokens in the logs.
func TestOpenIDProvider(t *testing.T) {
	for name, change := range map[string]func(a *wiki, caddyfile string) string{
		"E3 as documented": func(_ *wiki, caddyfile string) string { return caddyfile },
		"errors caddy": func(_ *wiki, caddyfile string) string {
			return strings.Replace(caddyfile, "\top {", "\terrors caddy\n\t\top {", 1) + "\n"
		},
		"form_post, signed userinfo": func(a *wiki, caddyfile string) string {
			a.options = append(a.options, oauth2.SetAuthURLParam("response_mode", "form_post"))
			return strings.Replace(caddyfile, "role editor", "userinfo_algorithm ES256\n\t\t\t\tbackchannel_logout "+a.URL+"/backchannel\n\t\t\t\trole editor", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := newWiki(t, w.origin()+"/.sso/op")
			w.mustLoad(w.global("") + change(a, w.documented(t, a)))
			b := newBrowser(t)
			status, body := b.get(a.URL + "/login")
			if a.options != nil {
				body = b.submit(body)
			}
			var claims map[string]any
			if err := json.Unmarshal([]byte(body), &claims); err != nil || claims["preferred_username"] != "alice" || claims["email"] != "alice@example.com" {
				t.Fatalf("signing in: %d %s", status, body)
			}
			if roles := fmt.Sprint(claims["roles"]); roles != "[editor reader]" {
				t.Errorf("roles %s", roles)
			}
			if status, _ := b.get(w.origin() + "/page"); status != http.StatusForbidden {
				t.Errorf("an app behind the site responds %d", status)
			}
			if status, body := b.get(w.origin() + "/"); status != http.StatusOK || !strings.Contains(body, "<bdi>alice@example.com</bdi>") || !strings.HasSuffix(b.seen[len(b.seen)-1], "/.sso/session") {
				t.Errorf("the front page is %d\n%s", status, body)
			}
			// The app logs out: the browser returns to it, and the tokens are dead.
			if !a.valid(t) {
				t.Error("control: the access token is not good")
			}
			leave := url.Values{"id_token_hint": {a.idToken}, "post_logout_redirect_uri": {a.URL + "/"}, "state": {"s"}}
			if _, body := b.get(w.origin() + "/.sso/op/logout?" + leave.Encode()); body != "the wiki" || !strings.HasSuffix(b.seen[len(b.seen)-1], "/?state=s") {
				t.Errorf("after the logout the browser shows %s at %s", body, b.seen)
			}
			if a.valid(t) {
				t.Error("the access token outlives the login")
			}
			if strings.Contains(name, "form_post") {
				a.wantHeard(t)
			}
			// A page of ours, or of handle_errors, for a client that is not known.
			if status, _ := b.get(w.origin() + "/.sso/op/authorize?client_id=x&redirect_uri=https://evil.example/&state=canary-state"); status != http.StatusBadRequest {
				t.Errorf("an unknown client: %d", status)
			}
			logs := w.logs()
			lookFor(t, logs, append(a.secrets, "canary-state", "state-of-the-wiki", "nonce-of-the-wiki"))
			if len(a.secrets) < 4 || !strings.Contains(logs, `"uri":"/.sso/op/authorize","redacted":true`) || !strings.Contains(logs, `"client":"wiki"`) {
				t.Errorf("the log lacks the requests:\n%.3000s", logs)
			}
		})
	}
}

var formField = regexp.MustCompile(`name="([^"]*)" value="([^"]*)"`)

// submit sends the form of a page.
func (b *browser) submit(page string) (body string) {
	b.t.Helper()
	action := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(page)
	if action == nil {
		b.t.Fatalf("no form:\n%s", page)
	}
	fields := url.Values{}
	for _, m := range formField.FindAllStringSubmatch(page, -1) {
		fields.Set(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	resp, err := b.PostForm(html.UnescapeString(action[1]), fields)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(content)
}

// wantHeard waits for a logout token that is good.
func (a *wiki) wantHeard(t *testing.T) {
	t.Helper()
	op, _, err := a.client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		a.mu.Lock()
		heard := slices.Clone(a.heard)
		a.mu.Unlock()
		if len(heard) == 0 && time.Now().Before(deadline) {
			continue
		}
		if len(heard) != 1 {
			t.Fatalf("the app heard %q", heard)
		}
		a.secrets = append(a.secrets, heard[0])
		if _, err := op.Verifier(&oidc.Config{ClientID: "wiki"}).Verify(t.Context(), heard[0]); err != nil {
			t.Errorf("the logout token is not good: %v", err)
		}
		return
	}
}
