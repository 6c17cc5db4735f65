//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-sso/caddy-sso/integration/proxmox"
)

// console opens a console and proves that it works. The channel gets the time of its end.
func (w *proxmoxWorld) console(c *client) <-chan time.Time {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	w.t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, w.base+"/api2/json/nodes/pve1/vncwebsocket?port=5900&vncticket=x", &websocket.DialOptions{
		HTTPClient: &http.Client{Jar: c.http.Jar, Transport: c.http.Transport}, HTTPHeader: http.Header{"Origin": {w.base}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		w.t.Fatal(err)
	}
	if _, msg, err := conn.Read(ctx); err != nil || string(msg) != "hello" {
		w.t.Fatalf("the console says %q, %v", msg, err)
	}
	return untilEnd(func() { _, _, _ = conn.Read(ctx) })
}

// uploads sends an image with and without its length, and one whose sender goes away.
func (w *proxmoxWorld) uploads(c *client) {
	w.t.Helper()
	const path = "/api2/json/nodes/pve1/storage/local/upload"
	image := make([]byte, 2<<20)
	_, _ = rand.Read(image)
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	_ = m.WriteField("content", "iso")
	file, err := m.CreateFormFile("filename", "a.iso")
	if err == nil {
		_, err = file.Write(image)
	}
	if err != nil || m.Close() != nil {
		w.t.Fatal(err)
	}
	want := fmt.Sprintf("%x", sha256.Sum256(image))
	send := func(ctx context.Context, body io.Reader) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+path, body)
		if err != nil {
			w.t.Fatal(err)
		}
		req.Header.Set("Content-Type", m.FormDataContentType())
		return c.http.Do(req)
	}
	for name, body := range map[string]io.Reader{"with a length": bytes.NewReader(form.Bytes()), "without a length": io.MultiReader(bytes.NewReader(form.Bytes()))} {
		resp, err := send(w.t.Context(), body)
		if err != nil {
			w.t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			w.t.Errorf("an upload %s: %d %s", name, resp.StatusCode, text)
		}
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	reader, writer := io.Pipe()
	go func() {
		_, _ = writer.Write(form.Bytes()[:1<<20])
		cancel()
	}()
	if _, err := send(ctx, reader); err == nil {
		w.t.Error("the sender did not go away")
	}
	if left, _ := filepath.Glob(filepath.Join(w.g.dir, "caddy-sso-body-*")); len(left) > 0 {
		w.t.Errorf("%v is left", left)
	}
}

// TestProxmoxNodes: with `node`, the gateway's own requests trust the node by `ca` or
// `fingerprint`.
func TestProxmoxNodes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ lines, wrong string }{
		"the fingerprint":       {"node NODE\n\t\t\tfingerprint FINGERPRINT", ""},
		"another fingerprint":   {"node NODE\n\t\t\tfingerprint OTHER", "`fingerprint` is another"},
		"the authority":         {"node NODE\n\t\t\tca CERTIFICATES", ""},
		"another authority":     {"node NODE\n\t\t\tca STRANGER", "certificate"},
		"the system's":          {"node NODE", "certificate"},
		"without a node's name": {"ca CERTIFICATES", ""},
	} {
		t.Run("E2 "+name, func(t *testing.T) {
			t.Parallel()
			w := newProxmoxWorld(t, proxmox.Settings{}, tt.lines, nil)
			_, p := w.signIn()
			if tt.wrong == "" {
				w.signedIn(p)
			} else if !strings.Contains(p.body, "proxmox_unavailable") || !strings.Contains(w.g.log.String(), tt.wrong) {
				t.Errorf("the page is %s\n%s", p, lastLines(w.g.log.String(), 10))
			}
		})
	}
}
