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
	resp, err := (&http.Client{Jar: c.http.Jar, Transport: c.http.Transport}).Do(liveRequest(t, base+"/live/events")) // without a time limit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the stream is answered %d", resp.StatusCode)
	}
	lines := bufio.NewReader(resp.Body)
	for range 6 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return untilEnd(func() { _, _ = io.Copy(io.Discard, lines) })
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

// untilEnd runs f aside and tells when it returned.
func untilEnd(f func()) <-chan time.Time {
	end := make(chan time.Time, 1)
	go func() {
		f()
		end <- time.Now()
	}()
	return end
}

// liveConnections are connections that are held open, by path.
type liveConnections map[string]<-chan time.Time

// holdAll opens a WebSocket and an event stream and proves that they work.
func holdAll(t *testing.T, c *client, base string) liveConnections {
	t.Helper()
	return liveConnections{"/live/ws": holdWebSocket(t, c, base), "/live/events": holdEvents(t, c, base)}
}

func (l liveConnections) stillOpen(t *testing.T, which string) {
	t.Helper()
	for path, end := range l {
		select {
		case <-end:
			t.Fatalf("%s %s: it has ended", path, which)
		default:
		}
	}
}

// ends returns how long after a moment each connection ended.
func (l liveConnections) ends(t *testing.T, since time.Time) map[string]time.Duration {
	t.Helper()
	took := map[string]time.Duration{}
	deadline := time.After(30 * time.Second)
	for path, end := range l {
		select {
		case at := <-end:
			took[path] = at.Sub(since)
		case <-deadline:
			t.Fatalf("%s lives on", path)
		}
	}
	return took
}
