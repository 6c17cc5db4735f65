//go:build integration

package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestHeaderAttackWebSocket holds the same for the request that opens a
// WebSocket, and that only the site's own pages open one.
func TestHeaderAttackWebSocket(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, headersSite())
	origin := field{"Origin", cl.base}
	ask := func(t *testing.T, cookie string, fields ...field) socket {
		t.Helper()
		head := []string{
			"GET /live/ws HTTP/1.1", "Host: " + strings.TrimPrefix(cl.base, "https://"), "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		}
		if cookie != "" {
			head = append(head, cookie)
		}
		if !slices.ContainsFunc(fields, func(f field) bool { return strings.EqualFold(f.name, "Connection") }) {
			head = append(head, "Connection: Upgrade")
		}
		for _, f := range fields {
			head = append(head, f.name+": "+f.value)
		}
		resp, conn := rawRequest(t, cl, strings.Join(head, "\r\n")+"\r\n\r\n")
		_ = conn.Close()
		return socket{code: fmt.Sprint(resp.StatusCode)}
	}
	testWebSockets(t, cl, cookieLine(cl.signIn(0), cl.base), ask, map[string][]field{
		"Connection lists identity":       {{"Connection", "Upgrade, Remote-User, X-Sso-Assertion, Remote-Roles"}, origin},
		"Connection lists it beside":      {{"Connection", "Upgrade"}, {"Connection", "remote-user"}, origin, {"Remote_User", "evil"}},
		"Connection lists it underscored": {{"Connection", "upgrade, Remote_User"}, origin, {"Remote_User", "evil"}},
	}, map[string][]field{
		"Upgrade in another spelling": {{"connection", "uPGRADE"}, {"Origin", "https://evil.test"}},
	})
}

// A socket is a WebSocket, or what was answered instead.
type socket struct {
	stream        // nil if nobody is to speak over it
	code   string // the status; empty if it was refused without one
}

func (s socket) opened() bool { return s.code == "101" || s.code == "200" }

// testWebSockets asks for WebSockets with forged headers and foreign origins: opened and
// refused are more of them.
func testWebSockets(t *testing.T, cl *cluster, cookie string, ask func(t *testing.T, cookie string, fields ...field) socket, opened, refused map[string][]field) {
	t.Helper()
	seen := func() []*received { return cl.app.seen("/live/ws") }
	origin, evil := field{"origin", cl.base}, field{"origin", "https://evil.test"}
	maps.Copy(opened, map[string][]field{
		"the control":      {origin},
		"forged headers":   {origin, {"remote-user", "evil"}, {"remote_roles", "evil"}, {"x-sso-assertion", "evil"}},
		"forged and twice": {origin, {"remote-user", "evil"}, {"remote.user", "evil2"}, {"remote-user", "evil3"}},
		"no browser":       {{"remote_user", "evil"}},
	})
	for name, fields := range opened {
		t.Run("F3 "+name, func(t *testing.T) {
			before := len(seen())
			s := ask(t, cookie, fields...)
			if !s.opened() {
				t.Fatalf("answered %q", s.code)
			}
			if s.stream != nil {
				s.converse(t)
			}
			if len(seen()) != before+1 {
				t.Fatal("the app did not see it")
			}
			checkIdentity(t, seen()[before], true)
		})
	}
	maps.Copy(refused, map[string][]field{
		"a foreign origin":           {evil},
		"null":                       {{"origin", "null"}},
		"the same host without port": {{"origin", "https://app.test"}},
		"http instead of https":      {{"origin", strings.Replace(cl.base, "https", "http", 1)}},
		"a host that begins like it": {{"origin", cl.base + ".evil.test"}},
		"two origins":                {origin, evil},
		"two origins in one field":   {{"origin", cl.base + ", https://evil.test"}},
		"an empty origin":            {{"origin", ""}},
	})
	for name, fields := range refused {
		t.Run("F3 origin: "+name, func(t *testing.T) {
			before := len(seen())
			if s := ask(t, cookie, fields...); s.code != "" && s.code[0] != '4' || s.code == "" && name != "an Upgrade beside it" {
				t.Errorf("answered %q", s.code)
			}
			if len(seen()) != before {
				t.Error("the app saw it")
			}
		})
	}
	t.Run("F3 a stranger", func(t *testing.T) {
		before := len(seen())
		if s := ask(t, "", origin); s.code != "401" {
			t.Errorf("answered %q", s.code)
		}
		if len(seen()) != before {
			t.Error("the app saw it")
		}
	})
}
