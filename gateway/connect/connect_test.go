package connect_test

import (
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

func seal(name, value string) ([]byte, error) {
	return []byte(name + value + strings.Repeat("x", 16)), nil
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
	c := poweradmin(t).Take(http.Header{"Cookie": {"PHPSESSID=old"}})
	if err := c.Admit(http.Header{}, seal); err != nil {
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
	c := poweradmin(t).Take(http.Header{"Cookie": {"PHPSESSID=old~AAAAAAAAAAAAAAAAAAAAAA"}})
	h := http.Header{}
	if err := c.Admit(h, func(string, string) ([]byte, error) { return nil, fault }); !errors.Is(err, fault) || h["Cookie"] != nil {
		t.Errorf("admitted %q, %v", h["Cookie"], err)
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
		{"another app", "grafana", `"grafana" is no app that is known: expected one of netbox, poweradmin`, nil},
		{"a cookie with a blank", "poweradmin", `"a b" can't be the name of a cookie`, []string{"a b"}},
		{"a cookie that PHP renames", "poweradmin", `"a.b" can't be`, []string{"ok", "a.b"}},
		{"a cookie without a name", "poweradmin", `"" can't be`, []string{""}},
	} {
		if _, err := connect.New(tt.app, "", tt.cookies); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
