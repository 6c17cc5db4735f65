//go:build integration

package integration

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// testFramedHeaders is TestHeaderAttack over another protocol.
// trailers says whether the server hands on the trailers of a request at all.
func testFramedHeaders(t *testing.T, dial dialler, trailers bool) {
	t.Helper()
	options := headersSite()
	options.oneByOne = true
	options.env = []string{extendedConnect}
	// play plays messages that go over one connection, after controls with a header each.
	play := func(t *testing.T, corpus []message, harmless ...string) (*cluster, *framedClient, string) {
		cl := newCluster(t, options)
		client := &framedClient{dial: dial}
		t.Cleanup(client.drop)
		cookie := cookieLine(cl.signIn(0), cl.base)
		var controls, attacks []exchange
		for _, h := range harmless {
			m := message{fields: []field{{h, "a"}, {"trailer", "x-trailing"}}, body: "x", trailers: []field{{"x-trailing", "b"}}}
			controls = append(controls, exchange{send: func(t *testing.T, cookie, path string) rawAnswer {
				got := client.echo(t, cl, cookie, path, m)
				if got.answer != nil && !strings.Contains(strings.ToLower(got.answer.Raw), h+": a\r\n") {
					t.Fatalf("%s did not reach the app: %q", h, got.answer.Raw)
				}
				return got
			}})
		}
		for _, m := range corpus {
			attacks = append(attacks, exchange{m.name, m.refusable, m.refused, func(t *testing.T, cookie, path string) rawAnswer {
				got := client.echo(t, cl, cookie, path, m)
				if got.status == "502" && m.refusable && m.trailers != nil {
					// A body that ends in nonsense is on its way already: reverse_proxy gives up.
					return rawAnswer{}
				}
				return got
			}})
		}
		playAttacks(t, cookie, controls, attacks, func(got rawAnswer) bool {
			return got.answer.Body == "x" && trailers == strings.Contains(got.answer.Raw, "X-Trailing: b\r\n")
		})
		return cl, client, cookie
	}
	t.Run("F3 Caddy as it comes", func(t *testing.T) {
		cl, client, cookie := play(t, messages(), "x-harmless")
		playStrangers(t, cl, func(t *testing.T, name string) rawAnswer {
			return client.echo(t, cl, "", "/stranger", message{fields: []field{{strings.ToLower(name), "alice"}}})
		})
		testCookieCrumbs(t, cl, client, cookie)
	})
	t.Run("F3 Caddy lets ambiguous names through", func(t *testing.T) {
		options.caddy = ambiguousNames
		play(t, slices.DeleteFunc(messages(), func(m message) bool {
			return !strings.ContainsAny(strings.Join(fieldText(slices.Concat(m.fields, m.trailers)), ""), "_.")
		}), "x_harmless", "x.harmless")
	})
}

// testCookieCrumbs holds that the session is found in one of several Cookie
// fields (RFC 9113 §8.2.3), that two sessions are none, and that the app sees
// neither.
func testCookieCrumbs(t *testing.T, cl *cluster, client *framedClient, cookie string) {
	t.Helper()
	t.Run("cookies in several fields", func(t *testing.T) {
		pair := strings.TrimPrefix(cookie, "Cookie: ")
		good := client.echo(t, cl, "", "/crumbs", message{fields: []field{{"cookie", "a=1"}, {"cookie", pair}, {"cookie", "b=2"}}})
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
			if got := client.echo(t, cl, "", "/crumbs", message{fields: fields}); got.status != "401" {
				t.Errorf("%s: answered %q", name, got.status)
			}
		}
	})
}

// testFramedWebSockets opens WebSockets by extended CONNECT (RFC 8441,
// RFC 9220).
func testFramedWebSockets(t *testing.T, dial dialler) {
	t.Helper()
	options := headersSite()
	options.env = []string{extendedConnect}
	cl := newCluster(t, options)
	c := cl.signIn(0)
	cookie := cookieLine(c, cl.base)
	ask := func(t *testing.T, cookie string, fields ...field) socket {
		return connect(t, dial, cl, cookie, fields...)
	}
	testWebSockets(t, cl, cookie, ask, map[string][]field{}, map[string][]field{
		"an Upgrade beside it": {{"origin", "https://evil.test"}, {"upgrade", "websocket"}},
	})
	t.Run("F3 other CONNECT", func(t *testing.T) { testOtherConnect(t, dial, cl, cookie) })
	t.Run("E8 live cut", func(t *testing.T) { testFramedCut(t, dial, cl, c, cookie) })
}

// testOtherConnect holds that nothing else is done by CONNECT, whoever asks
// for whatever path.
func testOtherConnect(t *testing.T, dial dialler, cl *cluster, cookie string) {
	t.Helper()
	authority := strings.TrimPrefix(cl.base, "https://")
	before := len(cl.app.seen("/live/ws")) + len(cl.app.seen("/public/x"))
	// elsewhere is none of this site's: Caddy has no route for it.
	const elsewhere = "plain, to another host"
	for name, fields := range map[string][]field{
		"plain":                        {{":method", "CONNECT"}, {":authority", authority}},
		elsewhere:                      {{":method", "CONNECT"}, {":authority", "127.0.0.1:22"}},
		"connect-udp":                  extended(cl, "connect-udp", "/live/ws"),
		"connect-ip on a public path":  extended(cl, "connect-ip", "/public/x"),
		"WebSocket in capitals":        extended(cl, "WebSocket", "/live/ws"),
		"another that begins like it":  extended(cl, "websocket2", "/live/ws"),
		"webtransport on a public one": extended(cl, "webtransport", "/public/x"),
	} {
		for _, who := range []string{"", cookie} {
			conn := dial(t, cl)
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
	if got := len(cl.app.seen("/live/ws")) + len(cl.app.seen("/public/x")); got != before {
		t.Errorf("the app saw %d of them", got-before)
	}
}

func extended(cl *cluster, protocol, path string) []field {
	return head(cl, "CONNECT", path, "", field{":protocol", protocol})
}

// testFramedCut ends the login in another tab.
func testFramedCut(t *testing.T, dial dialler, cl *cluster, c *client, cookie string) {
	t.Helper()
	for len(cl.app.ended) > 0 {
		<-cl.app.ended
	}
	s := connect(t, dial, cl, cookie, field{"origin", cl.base})
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
	late, logout := gatewaytest.Lateness(t), time.Now()
	c.logOut(cl.base)
	select {
	case at := <-end:
		if took := at.Sub(logout); took > 2*time.Second+late() {
			t.Errorf("it ended %v after the logout", took)
		}
	case <-time.After(30 * time.Second):
		t.Error("it lives on at the client")
	}
	select {
	case <-cl.app.ended:
	case <-time.After(30 * time.Second):
		t.Error("it lives on at the app")
	}
	if again := connect(t, dial, cl, cookie, field{"origin", cl.base}); again.code != "401" {
		t.Errorf("after the logout it was answered %q", again.code)
	}
}

// connect asks for a WebSocket. Its connection ends with the test.
func connect(t *testing.T, dial dialler, cl *cluster, cookie string, fields ...field) socket {
	t.Helper()
	conn := dial(t, cl)
	t.Cleanup(conn.close)
	all := append([]field{{":protocol", "websocket"}, {"sec-websocket-version", "13"}}, fields...)
	s, err := conn.open(head(cl, "CONNECT", "/live/ws", cookie, all...), false)
	if err != nil {
		t.Fatal(err)
	}
	status, err := s.status()
	if err != nil {
		return socket{}
	}
	return socket{s, status}
}

// converse sends a text message and awaits its echo (RFC 6455 §5.2; the mask is
// of zeros).
func (s socket) converse(t *testing.T) {
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
