package caddymodule_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

// A programSpy notes when it is called.
type programSpy struct {
	caddymodule.Program
	calls    []string
	replaced func()
}

func (s *programSpy) Provision(caddy.Context, caddymodule.Private) error {
	s.calls = append(s.calls, "provision")
	return nil
}

func (s *programSpy) Replaced(caddy.Context) {
	s.calls = append(s.calls, "replaced")
	s.replaced()
}

// A program is told of a configuration before it is built, and of its end while it still
// serves. Nothing replaces one that just ends, nor one after which another has failed.
func TestProgramIsTold(t *testing.T) {
	w := newWorld(t)
	spy := &programSpy{replaced: func() {
		if status, body := newBrowser(t).get(w.origin()); status != http.StatusOK {
			t.Errorf("while it is replaced: %d %s", status, body)
		}
	}}
	caddymodule.SetProgram(spy)
	t.Cleanup(func() { caddymodule.SetProgram(nil) })
	w.mustLoad(w.global("") + site)
	if err := w.load(w.global("") + "ORIGIN {\n\thandle {\n\t\tPROVIDER\n\t\t\trole Admin admins\n\t\t}\n\t}\n}\n"); err == nil {
		t.Fatal("sso inside of handle was accepted")
	}
	w.mustLoad(w.global("lifetime 2h") + site)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"provision", "provision", "provision", "replaced"}; !slices.Equal(spy.calls, want) {
		t.Errorf("%v, want %v", spy.calls, want)
	}
}

func TestSendAway(t *testing.T) {
	for _, tt := range []struct {
		name     string
		retiring bool
		major    int
		upgrade  string
		want     string
	}{
		{"about to be stopped", true, 1, "", "close"},
		{"not about to", false, 1, "", ""},
		{"HTTP/2", true, 2, "", ""},
		{"HTTP/3", true, 3, "", ""},
		{"WebSocket", true, 1, "websocket", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.ProtoMajor = tt.major
			if tt.upgrade != "" {
				r.Header.Set("Upgrade", tt.upgrade)
			}
			caddymodule.SendAway(tt.retiring, w, r)
			if got := w.Header().Get("Connection"); got != tt.want {
				t.Errorf("Connection: %q, want %q", got, tt.want)
			}
		})
	}
}
