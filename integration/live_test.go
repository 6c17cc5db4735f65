//go:build integration

package integration

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestLiveCut holds connections open over HTTP/1.1 and ends the login in
// another tab: all of them end, at the client and at the app. Connections of
// another login go on.
func TestLiveCut(t *testing.T) {
	bothStores(t, worldOptions{}, func(t *testing.T, w *world) {
		c, other := newClient(t), newClient(t)
		c.echoed(c.signIn(w.base+"/", "alice"))
		other.echoed(other.signIn(w.base+"/", "bob"))

		ends := map[string]<-chan time.Time{
			"/live/ws":     holdWebSocket(t, c, w.base),
			"/live/events": holdEvents(t, c, w.base),
			"/live/poll":   holdPoll(t, c, w.base),
		}
		others := holdEvents(t, other, w.base)
		eventually(t, "the long poll reaches the app", 5*time.Second, func() bool { return len(w.app.seen("/live/poll")) == 1 })
		time.Sleep(500 * time.Millisecond)
		for path, end := range ends {
			select {
			case <-end:
				t.Fatalf("%s ended before the logout", path)
			default:
			}
		}

		logout := time.Now()
		c.logOut(w.base)
		for path, end := range ends {
			select {
			case at := <-end:
				if took := at.Sub(logout); took > 2*time.Second {
					t.Errorf("%s ended %v after the logout", path, took)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%s lives on at the client", path)
			}
		}
		for len(ends) > 0 {
			select {
			case path := <-w.app.ended:
				delete(ends, path)
			case <-time.After(10 * time.Second):
				t.Fatalf("these live on at the app: %v", slices.Collect(maps.Keys(ends)))
			}
		}
		select {
		case <-others:
			t.Error("a connection of another login was cut")
		case <-time.After(500 * time.Millisecond):
		}
	})
}

// holdWebSocket opens a WebSocket, proves that it works, and tells when it
// ends.
func holdWebSocket(t *testing.T, c *client, base string) <-chan time.Time {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, base+"/live/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Jar: c.http.Jar, Transport: c.http.Transport}, HTTPHeader: http.Header{"Origin": {base}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, msg, err := conn.Read(ctx); err != nil || string(msg) != "hello" {
		t.Fatalf("the echo is %q, %v", msg, err)
	}
	return untilEnd(func() { _, _, _ = conn.Read(ctx) })
}

// holdEvents opens an event stream, waits for its third event, and tells when
// it ends.
func holdEvents(t *testing.T, c *client, base string) <-chan time.Time {
	t.Helper()
	resp := hold(t, c, base+"/live/events")
	lines := bufio.NewReader(resp.Body)
	for range 6 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return untilEnd(func() { _, _ = io.Copy(io.Discard, lines) })
}

// holdPoll sends a request that is not answered for a minute, and tells when it
// ends.
func holdPoll(t *testing.T, c *client, base string) <-chan time.Time {
	t.Helper()
	req := liveRequest(t, base+"/live/poll")
	return untilEnd(func() {
		resp, err := liveClient(c).Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}

func hold(t *testing.T, c *client, target string) *http.Response {
	t.Helper()
	resp, err := liveClient(c).Do(liveRequest(t, target))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s is answered %d", target, resp.StatusCode)
	}
	return resp
}

func liveRequest(t *testing.T, target string) *http.Request {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	return req
}

// liveClient is the client without its time limit.
func liveClient(c *client) *http.Client {
	return &http.Client{Jar: c.http.Jar, Transport: c.http.Transport}
}

// untilEnd runs f aside and tells when it returned.
func untilEnd(f func()) <-chan time.Time {
	end := make(chan time.Time, 1)
	go func() {
		f()
		end <- time.Now()
	}()
	return end
}

// TestLiveCutAtTheEnd holds that a connection does not outlive the login's own
// end either.
func TestLiveCutAtTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{block: "\t\tlifetime 4s"})
	c := newClient(t)
	c.echoed(c.signIn(w.base+"/", "alice"))
	expires := c.session(w.base).Expires
	select {
	case at := <-holdEvents(t, c, w.base):
		if late := at.Sub(expires); late < -2*time.Second || late > 3*time.Second {
			t.Errorf("the stream ended %v after the login", late)
		}
	case <-time.After(15 * time.Second):
		t.Error("the stream lives on")
	}
}

// TestReloadKeepsLogins holds that reloading ends no login.
func TestReloadKeepsLogins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	c := newClient(t)
	c.echoed(c.signIn(w.base+"/", "alice"))
	for range 5 {
		w.gw.reload()
		c.echoed(c.fetch(w.base + "/"))
	}
}
