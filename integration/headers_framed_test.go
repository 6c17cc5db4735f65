//go:build integration

package integration

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// testFramedHeaders is TestHeaderAttack over another protocol.
// trailers says whether the server hands on the trailers of a request at all.
func testFramedHeaders(t *testing.T, dial dialler, trailers bool) {
	t.Helper()
	options := opWorldOptions{block: "\t\tpublic /public/*", env: []string{extendedConnect}}
	t.Run("F3 Caddy as it comes", func(t *testing.T) {
		w, c := newOPWorld(t, options)
		c.echoed(c.navigate(w.base + "/"))
		cookie := cookieLine(c, w.base)
		testMessages(t, w, dial, cookie, trailers, messages(), "x-harmless")
		testFramedStranger(t, w, dial)
		testCookieCrumbs(t, w, dial, cookie)
	})
	t.Run("F3 Caddy lets ambiguous names through", func(t *testing.T) {
		options.caddy = ambiguousNames
		w, c := newOPWorld(t, options)
		c.echoed(c.navigate(w.base + "/"))
		corpus := slices.DeleteFunc(messages(), func(m message) bool {
			return !strings.ContainsAny(strings.Join(fieldText(slices.Concat(m.fields, m.trailers)), ""), "_.")
		})
		testMessages(t, w, dial, cookieLine(c, w.base), trailers, corpus, "x_harmless", "x.harmless")
	})
}

// testMessages plays messages on every kind of path. The harmless fields must
// reach the app.
func testMessages(t *testing.T, w *world, dial dialler, cookie string, trailers bool, corpus []message, harmless ...string) {
	t.Helper()
	for name, control := range map[string]struct {
		cookie, path string
		identity     bool
	}{
		"signed in":            {cookie, "/attack", true},
		"public":               {"", "/public/attack", false},
		"public and signed in": {cookie, "/public/attack", false},
	} {
		t.Run(name, func(t *testing.T) {
			client := &framedClient{dial: dial}
			defer client.drop()
			for _, h := range harmless {
				good := message{fields: []field{{h, "a"}, {"trailer", "x-trailing"}}, body: "x", trailers: []field{{"x-trailing", "b"}}}
				got := client.echo(t, w, control.cookie, control.path, good)
				if got.answer == nil {
					t.Fatalf("the control was refused: %q", got.status)
				}
				checkIdentity(t, got.answer, control.identity)
				if got.answer.Body != "x" || !strings.Contains(strings.ToLower(got.answer.Raw), h+": a\r\n") || trailers != strings.Contains(got.answer.Raw, "X-Trailing: b\r\n") {
					t.Fatalf("the control's harmless fields did not reach the app: %q", got.answer.Raw)
				}
			}
			for _, m := range corpus {
				t.Run(m.name, func(t *testing.T) {
					playMessage(t, client.echo(t, w, control.cookie, control.path, m), m, control.identity)
				})
			}
		})
	}
}

// playMessage holds what a message led to against what it may lead to.
func playMessage(t *testing.T, got rawAnswer, m message, identity bool) {
	t.Helper()
	refused := got.status == "" || strings.HasPrefix(got.status, "4")
	// A body that ends in nonsense is on its way already: reverse_proxy gives
	// up, and says 502.
	refused = refused || got.status == "502" && m.refusable && m.trailers != nil
	switch {
	case m.refused && !refused, got.answer == nil && !refused:
		t.Fatalf("answered %q", got.status)
	case refused && !m.refused && !m.refusable:
		t.Fatalf("refused though it is well-formed: %q", got.status)
	case !refused:
		checkIdentity(t, got.answer, identity)
	}
}

func testFramedStranger(t *testing.T, w *world, dial dialler) {
	t.Helper()
	t.Run("a stranger's forged identity does not pass for a session", func(t *testing.T) {
		client := &framedClient{dial: dial}
		defer client.drop()
		for _, name := range identityNames {
			if got := client.echo(t, w, "", "/stranger", message{fields: []field{{strings.ToLower(name), "alice"}}}); got.status != "401" {
				t.Errorf("%s: answered %q", name, got.status)
			}
		}
		if n := len(w.app.seen("/stranger")); n != 0 {
			t.Errorf("the app saw %d requests", n)
		}
	})
}

// testCookieCrumbs holds that the session is found in one of several Cookie
// fields (RFC 9113 §8.2.3), that two sessions are none, and that the app sees
// neither.
func testCookieCrumbs(t *testing.T, w *world, dial dialler, cookie string) {
	t.Helper()
	t.Run("cookies in several fields", func(t *testing.T) {
		client := &framedClient{dial: dial}
		defer client.drop()
		pair := strings.TrimPrefix(cookie, "Cookie: ")
		good := client.echo(t, w, "", "/crumbs", message{fields: []field{{"cookie", "a=1"}, {"cookie", pair}, {"cookie", "b=2"}}})
		if good.answer == nil {
			t.Fatalf("the control was refused: %q", good.status)
		}
		checkIdentity(t, good.answer, true)
		if got := good.answer.Header.Get("Cookie"); !strings.Contains(got, "a=1") || !strings.Contains(got, "b=2") || strings.Contains(got, "sso") {
			t.Errorf("the app's cookies are %q", got)
		}
		for name, fields := range map[string][]field{
			"twice":                {{"cookie", pair}, {"cookie", pair}},
			"beside a planted one": {{"cookie", pair}, {"cookie", "__Host-sso=" + strings.Repeat("A", 86)}},
			"behind a planted one": {{"cookie", "__Host-sso="}, {"cookie", pair}},
		} {
			if got := client.echo(t, w, "", "/crumbs", message{fields: fields}); got.status != "401" {
				t.Errorf("%s: answered %q", name, got.status)
			}
		}
	})
}

// testFramedWebSockets opens WebSockets by extended CONNECT (RFC 8441,
// RFC 9220).
func testFramedWebSockets(t *testing.T, dial dialler) {
	t.Helper()
	w, c := newOPWorld(t, opWorldOptions{block: "\t\tpublic /public/*", env: []string{extendedConnect}})
	c.echoed(c.navigate(w.base + "/"))
	cookie := cookieLine(c, w.base)
	seen := func() []*received { return w.app.seen("/live/ws") }

	control := connect(t, dial, w, cookie, field{"origin", w.base})
	if control.code != "200" {
		t.Fatalf("the control was answered %q", control.code)
	}
	control.converse(t)
	checkIdentity(t, seen()[0], true)

	evil := field{"origin", "https://evil.test"}
	for name, fields := range map[string][]field{
		"forged headers":   {{"origin", w.base}, {"remote-user", "evil"}, {"remote_roles", "evil"}, {"x-sso-assertion", "evil"}},
		"forged and twice": {{"origin", w.base}, {"remote-user", "evil"}, {"remote.user", "evil2"}, {"remote-user", "evil3"}},
		"no browser":       {{"remote_user", "evil"}},
	} {
		t.Run("F3 "+name, func(t *testing.T) {
			before := len(seen())
			s := connect(t, dial, w, cookie, fields...)
			if s.code != "200" {
				t.Fatalf("answered %q", s.code)
			}
			s.converse(t)
			if len(seen()) != before+1 {
				t.Fatal("the app did not see it")
			}
			checkIdentity(t, seen()[before], true)
		})
	}
	for name, fields := range map[string][]field{
		"a foreign origin":           {evil},
		"null":                       {{"origin", "null"}},
		"the same host without port": {{"origin", "https://app.test"}},
		"http instead of https":      {{"origin", strings.Replace(w.base, "https", "http", 1)}},
		"a host that begins like it": {{"origin", w.base + ".evil.test"}},
		"two origins":                {{"origin", w.base}, evil},
		"two origins in one field":   {{"origin", w.base + ", https://evil.test"}},
		"an empty origin":            {{"origin", ""}},
		"an Upgrade beside it":       {evil, {"upgrade", "websocket"}},
	} {
		t.Run("F3 origin: "+name, func(t *testing.T) {
			before := len(seen())
			if s := connect(t, dial, w, cookie, fields...); s.code != "" && s.code[0] != '4' || s.code == "" && name != "an Upgrade beside it" {
				t.Errorf("answered %q", s.code)
			}
			if len(seen()) != before {
				t.Error("the app saw it")
			}
		})
	}
	t.Run("F3 a stranger", func(t *testing.T) {
		before := len(seen())
		if s := connect(t, dial, w, "", field{"origin", w.base}); s.code != "401" {
			t.Errorf("answered %q", s.code)
		}
		if len(seen()) != before {
			t.Error("the app saw it")
		}
	})
	t.Run("F3 other CONNECT", func(t *testing.T) { testOtherConnect(t, dial, w, cookie) })
	t.Run("E8 live cut", func(t *testing.T) { testFramedCut(t, dial, w, c, cookie) })
}

// testOtherConnect holds that nothing else is done by CONNECT, whoever asks
// for whatever path.
func testOtherConnect(t *testing.T, dial dialler, w *world, cookie string) {
	t.Helper()
	authority := strings.TrimPrefix(w.base, "https://")
	before := len(w.app.seen("/live/ws")) + len(w.app.seen("/public/x"))
	// elsewhere is none of this site's: Caddy has no route for it.
	const elsewhere = "plain, to another host"
	for name, fields := range map[string][]field{
		"plain":                        {{":method", "CONNECT"}, {":authority", authority}},
		elsewhere:                      {{":method", "CONNECT"}, {":authority", "127.0.0.1:22"}},
		"connect-udp":                  extended(w, "connect-udp", "/live/ws"),
		"connect-ip on a public path":  extended(w, "connect-ip", "/public/x"),
		"WebSocket in capitals":        extended(w, "WebSocket", "/live/ws"),
		"another that begins like it":  extended(w, "websocket2", "/live/ws"),
		"webtransport on a public one": extended(w, "webtransport", "/public/x"),
	} {
		for _, who := range []string{"", cookie} {
			conn := dial(t, w)
			if who != "" {
				fields = append(slices.Clip(fields), field{"cookie", strings.TrimPrefix(who, "Cookie: ")})
			}
			s, err := conn.open(fields, false)
			if err != nil {
				t.Fatal(err)
			}
			status, err := s.status()
			conn.close()
			if err != nil || status != "405" && name != elsewhere {
				t.Errorf("%s: answered %q, %v", name, status, err)
			}
		}
	}
	if got := len(w.app.seen("/live/ws")) + len(w.app.seen("/public/x")); got != before {
		t.Errorf("the app saw %d of them", got-before)
	}
}

func extended(w *world, protocol, path string) []field {
	return head(w, "CONNECT", path, "", field{":protocol", protocol})
}

// testFramedCut ends the login in another tab.
func testFramedCut(t *testing.T, dial dialler, w *world, c *client, cookie string) {
	t.Helper()
	for len(w.app.ended) > 0 {
		<-w.app.ended
	}
	s := connect(t, dial, w, cookie, field{"origin", w.base})
	if s.code != "200" {
		t.Fatalf("answered %q", s.code)
	}
	s.converse(t)
	end := untilEnd(func() { _, _ = readAll(s) })
	select {
	case <-end:
		t.Fatal("it ended before the logout")
	case <-time.After(300 * time.Millisecond):
	}
	logout := time.Now()
	c.logOut(w.base)
	select {
	case at := <-end:
		if took := at.Sub(logout); took > 2*time.Second {
			t.Errorf("it ended %v after the logout", took)
		}
	case <-time.After(10 * time.Second):
		t.Error("it lives on at the client")
	}
	select {
	case <-w.app.ended:
	case <-time.After(10 * time.Second):
		t.Error("it lives on at the app")
	}
	if again := connect(t, dial, w, cookie, field{"origin", w.base}); again.code != "401" {
		t.Errorf("after the logout it was answered %q", again.code)
	}
}

// A framedSocket is a WebSocket on a stream, or what was answered instead.
type framedSocket struct {
	stream
	code string // the status; empty if it was refused without one
}

// connect asks for a WebSocket. Its connection ends with the test.
func connect(t *testing.T, dial dialler, w *world, cookie string, fields ...field) framedSocket {
	t.Helper()
	conn := dial(t, w)
	t.Cleanup(conn.close)
	all := append([]field{{":protocol", "websocket"}, {"sec-websocket-version", "13"}}, fields...)
	s, err := conn.open(head(w, "CONNECT", "/live/ws", cookie, all...), false)
	if err != nil {
		t.Fatal(err)
	}
	status, err := s.status()
	if err != nil {
		return framedSocket{}
	}
	return framedSocket{s, status}
}

// converse sends a text message and awaits its echo (RFC 6455 §5.2; the mask is
// of zeros).
func (s framedSocket) converse(t *testing.T) {
	t.Helper()
	if err := s.send([]byte("\x81\x85\x00\x00\x00\x00hello"), false); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for want := []byte("\x81\x05hello"); !bytes.Equal(got, want); {
		b, err := s.read()
		if got = append(got, b...); err != nil || len(got) > len(want) {
			t.Fatalf("the echo is %q, %v", got, err)
		}
	}
}
