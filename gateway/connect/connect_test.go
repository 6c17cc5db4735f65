package connect_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/cookie"
)

func poweradmin(t *testing.T) *connect.App {
	t.Helper()
	a, err := connect.New("poweradmin", "sso", nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// keys are good unless there is a fault.
type keys struct{ fault error }

func (k keys) MAC(_ context.Context, _ string, parts ...string) ([]byte, error) {
	return []byte(strings.Join(parts, "") + strings.Repeat("x", 16)), k.fault
}

type alice struct{}

func (alice) Tie() []string { return []string{"alice"} }

func request(cookie string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", cookie)
	return r
}

// A wire notes each header that is written, as a client gets it.
type wire struct {
	*httptest.ResponseRecorder
	sent []http.Header
}

func (w *wire) WriteHeader(int) { w.sent = append(w.sent, w.Header().Clone()) }

// An informational response has fields of its own (RFC 9110 §15.2), and a header that is
// written twice is sealed once.
func TestEarlyHints(t *testing.T) {
	t.Parallel()
	r := request("PHPSESSID=old")
	c := poweradmin(t).Take(r.Header)
	if err := c.Admit(r, connect.Visit{Keys: keys{}, Person: alice{}}); err != nil {
		t.Fatal(err)
	}
	on := &wire{ResponseRecorder: httptest.NewRecorder()}
	w := &cookie.Writer{ResponseWriter: on, Guests: c}
	w.Header().Set("Set-Cookie", "PHPSESSID=new; Path=/")
	w.WriteHeader(http.StatusEarlyHints)
	w.WriteHeader(http.StatusOK)
	w.End()
	first := on.sent[0]["Set-Cookie"]
	if len(first) != 1 || !strings.HasPrefix(first[0], "PHPSESSID=new~") || !strings.HasSuffix(first[0], "; Path=/") || strings.Count(first[0], "~") != 1 {
		t.Errorf("first %q", first)
	}
	if got := on.sent[1]["Set-Cookie"]; !slices.Equal(got, first) || !slices.Equal(on.Header()["Set-Cookie"], first) {
		t.Errorf("then %q, at last %q", got, on.Header()["Set-Cookie"])
	}
}

// If no seal can be made, no cookie passes.
func TestNoSeal(t *testing.T) {
	t.Parallel()
	fault := errors.New("no key")
	r := request("PHPSESSID=old~AAAAAAAAAAAAAAAAAAAAAA")
	c := poweradmin(t).Take(r.Header)
	if err := c.Admit(r, connect.Visit{Keys: keys{fault}, Person: alice{}}); !errors.Is(err, fault) || r.Header["Cookie"] != nil {
		t.Errorf("admitted %q, %v", r.Header["Cookie"], err)
	}
	if got := c.Set("PHPSESSID", "PHPSESSID=new"); got != "" {
		t.Errorf("set %q", got)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, app, want string
		cookies         []string
	}{
		{"another app", "grafana", `"grafana" is no app that is known: expected one of netbox, poweradmin, proxmox`, nil},
		{"a cookie with a blank", "poweradmin", `"a b" can't be the name of a cookie`, []string{"a b"}},
		{"a cookie that PHP renames", "poweradmin", `"a.b" can't be`, []string{"ok", "a.b"}},
		{"a cookie without a name", "poweradmin", `"" can't be`, []string{""}},
	} {
		if _, err := connect.New(tt.app, "", tt.cookies); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
