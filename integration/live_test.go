//go:build integration

package integration

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

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
