package caddymodule_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestHTTPInclude has pages include others by httpInclude, which asks the site
// itself: public ones come, and private ones need a session that the inner request
// does not have.
func TestHTTPInclude(t *testing.T) {
	w := newWorld(t)
	for name, text := range map[string]string{
		"public.html":  `<p>{{httpInclude "/static/part.html?x=1"}}</p>`,
		"private.html": `<p>{{httpInclude "/private/part.html"}}</p>`,
		"tricky.html":  `<p>{{httpInclude "/static/../private/part.html"}}</p>`,
	} {
		if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.mustLoad(w.global("") + `ORIGIN {
	PROVIDER
		role User *
		public /static/* /public.html /private.html /tricky.html
	}
	root ` + w.dir + `
	templates
	respond /static/part.html "included for '{http.auth.user.id}'"
	respond /private/part.html "a secret"
	rewrite /mine.html /public.html
	file_server
}
`)
	stranger, alice := newBrowser(t), newBrowser(t)
	if status, body := alice.get(w.origin() + "/mine.html"); status != http.StatusOK || !strings.Contains(body, "included for ''") {
		t.Errorf("a signed-in person's page: %d %q", status, body)
	}
	for who, b := range map[string]*browser{"a stranger": stranger, "a signed-in person": alice} {
		if status, body := b.get(w.origin() + "/public.html"); status != http.StatusOK || !strings.Contains(body, "included for ''") {
			t.Errorf("%s: %d %q", who, status, body)
		}
		for _, page := range []string{"/private.html", "/tricky.html"} {
			if status, body := b.get(w.origin() + page); status == http.StatusOK || strings.Contains(body, "secret") {
				t.Errorf("%s gets %s: %d %q", who, page, status, body)
			}
		}
	}
	if logs := w.logs(); !strings.Contains(logs, "http 401") {
		t.Error("the log does not say that the included page needs a session")
	}
}
