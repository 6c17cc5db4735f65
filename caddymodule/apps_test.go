package caddymodule_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// blocks returns the fenced blocks of a text, by their languages.
func blocks(t *testing.T, text string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for i, part := range strings.Split(text, "```") {
		if language, block, ok := strings.Cut(part, "\n"); i%2 == 1 && ok {
			if found[language] != "" {
				t.Fatalf("two blocks of %s", language)
			}
			found[language] = block
		}
	}
	return found
}

// page returns a page, or a chapter of it.
func page(t *testing.T, file, chapter string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), "\n## "+chapter+"\n")
	if !found {
		t.Fatalf("%s has no chapter %q", file, chapter)
	}
	part, _, _ = strings.Cut(part, "\n## ")
	return part
}

// loadRecipe runs a Caddyfile of the docs, with the world's addresses and provider, before an app.
func (w *world) loadRecipe(caddyfile string, app http.Handler) {
	w.t.Helper()
	upstream := httptest.NewServer(app)
	w.t.Cleanup(upstream.Close)
	var out []string
	replaced := 0
	for line := range strings.Lines(caddyfile) {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasSuffix(trimmed, ".example.com {"):
			line = "ORIGIN {\n"
		case strings.HasPrefix(trimmed, "sso oidc https://id.example.com/realms/corp "), strings.HasPrefix(trimmed, "sso saml https://login.example.com/"):
			line = "\tPROVIDER\n"
		case strings.HasPrefix(trimmed, "reverse_proxy "):
			line = "\treverse_proxy " + strings.TrimPrefix(upstream.URL, "http://") + "\n"
		default:
			replaced--
		}
		replaced++
		out = append(out, line)
	}
	if replaced != 3 {
		w.t.Fatalf("%d lines of the recipe were recognised, want 3:\n%s", replaced, caddyfile)
	}
	w.mustLoad(w.global("") + strings.Join(out, ""))
}

// A someone is a person at the provider.
type someone struct{ username, first, last, email, groups string }

// isAt has the person sign in at the provider from now on.
func (s someone) isAt(op *gatewaytest.OP) {
	claims := func(m map[string]any) {
		groups := []any{}
		for _, group := range strings.Fields(s.groups) {
			groups = append(groups, group)
		}
		m["sub"], m["preferred_username"], m["email"], m["groups"] = "sub-"+s.username, s.username, s.email, groups
		m["name"], m["given_name"], m["family_name"] = strings.TrimSpace(s.first+" "+s.last), s.first, s.last
	}
	op.SetHooks(gatewaytest.OPHooks{Claims: claims, UserInfo: claims})
}

// opens returns what the app shows of the person who opens it, and tries to be others by
// headers.
func (w *world) opens(b *browser, who someone, forged ...string) (shown shownUser) {
	w.t.Helper()
	who.isAt(w.op)
	if status, _ := b.get(w.origin() + "/"); status != http.StatusOK { // signs in
		return shownUser{Status: status}
	}
	r := mustRequest(w.t, w.origin()+"/")
	for _, name := range forged {
		r.Header.Set(name, "Admin")
		r.Header[strings.ReplaceAll(name, "-", "_")] = []string{"Admin"}
	}
	status, body := b.do(r)
	if status == http.StatusOK {
		if err := json.Unmarshal([]byte(body), &shown); err != nil {
			w.t.Fatalf("the app shows %q", body)
		}
	}
	shown.Status = status
	return shown
}

// A shownUser is what a stand-in shows of who is signed in.
type shownUser struct {
	Status                              int
	Login, Name, First, Last, Email, Is string // Is: Grafana's role, NetBox's groups
	Super                               bool
}

// TestRecipeGrafana runs the recipe of docs/apps.md.
func TestRecipeGrafana(t *testing.T) {
	w := newWorld(t)
	docs := blocks(t, page(t, "../docs/apps.md", "Grafana"))
	app := newGrafana(t, docs["ini"])
	forged := []string{"X-Webauth-User", "X-Webauth-Role", "X-Webauth-Email", "X-Webauth-Name", "X-Webauth-Groups"}
	alice := someone{"alice", "Alice", "Ångström", "alice@example.com", "grafana-admins staff"}
	zoe := someone{"zoë", "Zoë", "Łukasz 100%", "zoe@example.com", "staff"}

	w.loadRecipe(docs["caddyfile"], app)
	if got, want := w.opens(newBrowser(t), alice, forged...), (shownUser{Status: 200, Login: "alice", Name: "Alice Ångström", Email: "alice@example.com", Is: "Admin"}); got != want {
		t.Errorf("alice is %+v, want %+v", got, want)
	}
	if got, want := w.opens(newBrowser(t), zoe, forged...), (shownUser{Status: 200, Login: "zoë", Name: "Zoë Łukasz 100%", Email: "zoe@example.com", Is: "Viewer"}); got != want {
		t.Errorf("zoë is %+v, want %+v", got, want)
	}
	demoted := alice
	demoted.groups = "grafana-editors"
	if got := w.opens(newBrowser(t), demoted); got.Is != "Editor" {
		t.Errorf("alice is %+v when she is no administrator any more", got)
	}

	// A person who has chosen their name so that all headers in a row read as bob's.
	bob := someone{"bob", "Bob", "Smith", "bob@example.com", ""}
	mallory := someone{"bo", "bBob", "Smithbo", "b@example.com", ""}
	for ttl, want := range map[string]string{app.proxy["sync_ttl"]: "bo", "15": "bob"} {
		app.forget()
		app.proxy["sync_ttl"] = ttl
		if got := w.opens(newBrowser(t), bob); got.Login != "bob" {
			t.Errorf("bob is %+v", got)
		}
		if got := w.opens(newBrowser(t), mallory); got.Login != want {
			t.Errorf("with sync_ttl = %s bo is %+v, want %s", ttl, got, want)
		}
	}

	// The stand-in tells a list of roles from a role, as Grafana does.
	app.forget()
	w.loadRecipe(strings.NewReplacer("template X-", "roles X-", "template ", "role ").Replace(docs["caddyfile"]), app)
	if got := w.opens(newBrowser(t), alice); got.Is != "Viewer" {
		t.Errorf("by a list of roles alice is %+v", got)
	}
	app.proxy["whitelist"] = "192.0.2.1"
	if got := w.opens(newBrowser(t), alice); got.Status != http.StatusUnauthorized {
		t.Errorf("from an address that is not listed alice is %+v", got)
	}
}

// TestRecipePoweradmin runs the site of docs/poweradmin.md. The stand-in begins a session for
// each request without one, and would believe one that comes. In integration, the app
// itself does.
func TestRecipePoweradmin(t *testing.T) {
	w := newWorld(t)
	docs := blocks(t, page(t, "../docs/poweradmin.md", "The site"))
	var sessions atomic.Int64
	w.loadRecipe(docs["caddyfile"], http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var shown shownUser
		if old, err := r.Cookie("PHPSESSID"); err == nil {
			shown.Name = old.Value
		} else {
			http.SetCookie(rw, &http.Cookie{Name: "PHPSESSID", Value: fmt.Sprint("session-", sessions.Add(1)), Path: "/"})
		}
		if parts := strings.Split(r.Header.Get("X-Sso-Assertion"), "."); len(parts) == 3 {
			claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
			var c struct {
				Username string `json:"preferred_username"`
				Template string
				Groups   []string
			}
			_ = json.Unmarshal(claims, &c)
			shown.Login, shown.Is = c.Username, strings.Join(append([]string{c.Template}, c.Groups...), " ")
		}
		_ = json.NewEncoder(rw).Encode(shown)
	}))
	alice := someone{"alice", "Alice", "Ångström", "alice@example.com", "dns-admins netops"}
	bob := someone{"bob", "Bob", "Smith", "bob@example.com", "dns-viewers"}
	b := newBrowser(t)
	for _, want := range []shownUser{
		{Status: 200, Login: "alice", Is: "Administrator Editors", Name: "session-1"}, // after the sign-in, w.opens asks once more
		{Status: 200, Login: "alice", Is: "Administrator Editors", Name: "session-1"},
	} {
		if got := w.opens(b, alice); got != want {
			t.Errorf("alice is %+v, want %+v", got, want)
		}
	}
	w.logOut(b)
	if got, want := w.opens(b, bob), (shownUser{Status: 200, Login: "bob", Is: "Viewer", Name: "session-2"}); got != want {
		t.Errorf("bob is %+v, want %+v", got, want)
	}
	if got := w.opens(newBrowser(t), someone{"carol", "Carol", "C", "carol@example.com", "staff"}); got.Status != http.StatusForbidden {
		t.Errorf("carol is %+v", got)
	}
	if status, body := newBrowser(t).get(w.origin() + "/api/v1/zones"); status != http.StatusOK || strings.Contains(body, "alice") {
		t.Errorf("the API: %d %s", status, body)
	}
}

// TestRecipeNetBox runs the recipe of docs/apps.md, and README's example.
func TestRecipeNetBox(t *testing.T) {
	w := newWorld(t)
	docs := blocks(t, page(t, "../docs/apps.md", "NetBox"))
	app := newNetBox(t, docs["python"])
	forged := []string{"Remote-User", "Remote-User-Group", "Remote-User-Email", "Remote-User-First-Name", "Remote-User-Last-Name"}
	alice := someone{"alice", "Alice", "Ångström", "alice@example.com", "netbox-admins netops staff"}
	zoe := someone{"zoë", "Zoë", "Łukasz", "zoe@example.com", "netops"}

	w.loadRecipe(docs["caddyfile"], app)
	b := newBrowser(t)
	if got, want := w.opens(b, alice, forged...), (shownUser{Status: 200, Login: "alice", First: "Alice", Last: "Ångström", Email: "alice@example.com", Is: "ipam-admins operators", Super: true}); got != want {
		t.Errorf("alice is %+v, want %+v", got, want)
	}
	if got, want := w.opens(newBrowser(t), zoe, forged...), (shownUser{Status: 200, Login: "zoë", First: "Zoë", Last: "%C5%81ukasz", Email: "zoe@example.com", Is: "operators"}); got != want {
		t.Errorf("zoë is %+v, want %+v", got, want)
	}
	if got := w.opens(newBrowser(t), someone{"carol", "Carol", "C", "carol@example.com", "staff"}); got.Status != http.StatusForbidden {
		t.Errorf("carol is %+v", got)
	}
	// NetBox reads groups when it makes a session of its own.
	demoted := alice
	demoted.groups = "netops"
	w.logOut(b)
	if status, _ := b.do(mustRequest(t, w.origin()+"/")); status != http.StatusUnauthorized {
		t.Errorf("after the logout: %d", status)
	}
	if got := w.opens(b, demoted); got.Is != "operators" || got.Super {
		t.Errorf("alice is %+v in the browser of her old session", got)
	}
	if got := w.opens(newBrowser(t), demoted); got.Is != "operators" || got.Super {
		t.Errorf("alice is %+v when she is no administrator any more", got)
	}

	_, readme, found := strings.Cut(page(t, "../README.md", "Set it up"), "```caddyfile\nnetbox.example.com {\n")
	if !found {
		t.Fatal("README has no example of NetBox")
	}
	readme, _, _ = strings.Cut(readme, "```")
	w.loadRecipe("netbox.example.com {\n"+readme, app)
	if got := w.opens(newBrowser(t), someone{"erin", "Erin", "E", "erin@example.com", "netbox-admins netops"}, forged...); got != (shownUser{
		Status: 200, Login: "erin", Email: "erin@example.com", Is: "ipam-admins operators", Super: true,
	}) {
		t.Errorf("README: erin is %+v", got)
	}

	// A group that has the separator in its name is one.
	w.loadRecipe(strings.Replace(docs["caddyfile"], "group operators ", "group \"x|ipam-admins\" ", 1), app)
	if got := w.opens(newBrowser(t), zoe); got.Is != "x%7Cipam-admins" || got.Super {
		t.Errorf("zoë is %+v", got)
	}

	// UTF-8 is not what NetBox reads.
	w.loadRecipe(strings.Replace(docs["caddyfile"], "latin1", "utf8", 1), app)
	if got := w.opens(newBrowser(t), alice); got.Last != "Ã\u0085ngstrÃ¶m" {
		t.Errorf("by utf8 alice is %+v", got)
	}

	// Without the recipe's names NetBox still reads them, and no client can send them.
	w.loadRecipe(strings.NewReplacer("\t\theaders groups Remote-User-Group email Remote-User-Email\n", "",
		"\t\theaders first_name Remote-User-First-Name last_name Remote-User-Last-Name\n", "").Replace(docs["caddyfile"]), app)
	if got := w.opens(newBrowser(t), someone{"dora", "Dora", "D", "dora@example.com", "netops"}, forged...); got != (shownUser{Status: 200, Login: "dora"}) {
		t.Errorf("dora is %+v", got)
	}
}
