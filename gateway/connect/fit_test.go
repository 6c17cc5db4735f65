package connect_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestProxmoxBodies(t *testing.T) {
	t.Parallel()
	p := newPVE(t)
	send := func(body io.Reader, length int64) got {
		r := httptest.NewRequest(http.MethodPost, "https://pve.example/api2/json/nodes/a/storage/local/upload", body)
		r.ContentLength = length
		return p.serve(r, someone, http.StatusOK, "")
	}
	for name, size := range map[string]int{"empty": 0, "small": 10, "in memory": 256<<10 - 1, "on the bound": 256 << 10, "on disk": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			g := send(io.LimitReader(endless{}, int64(size)), -1)
			if g.err != nil || g.request.ContentLength != int64(size) {
				t.Fatalf("the node gets a length of %d, %v", g.request.ContentLength, g.err)
			}
			if body, err := io.ReadAll(g.request.Body); err != nil || len(body) != size || strings.Trim(string(body), "x") != "" {
				t.Errorf("the node gets %d bytes, %v", len(body), err)
			}
			if f, ok := g.request.Body.(*os.File); ok {
				_ = os.Remove(f.Name())
			}
		})
	}
	t.Run("a body with a length is not touched", func(t *testing.T) {
		if g := send(failingBody{}, 10); g.err != nil {
			t.Error(g.err)
		}
	})
	t.Run("a body that breaks off", func(t *testing.T) {
		wantCode(t, send(failingBody{}, -1).err, refusal.BadRequest)
	})
	t.Run("a console over HTTP/2", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodConnect, "https://pve.example/api2/json/nodes/a/vncwebsocket", failingBody{})
		r.ContentLength = -1
		if g := p.serve(r, someone, http.StatusOK, ""); g.err != nil || g.request.ContentLength != -1 {
			t.Errorf("its stream is read first: %v", g.err)
		}
	})
	t.Run("an upgrade with a body in chunks", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodPost, "https://pve.example/api2/json/nodes/a/vncwebsocket", strings.NewReader("body"))
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
		r.Header.Set("Upgrade", "websocket")
		if g := p.serve(r, someone, http.StatusOK, ""); g.err != nil || g.request.ContentLength != 4 || g.request.TransferEncoding != nil {
			t.Errorf("the node gets %d bytes %q, %v", g.request.ContentLength, g.request.TransferEncoding, g.err)
		}
	})
}

// TestProxmoxSpool: nothing is left of a body, whether it was sent on, broke off or was too
// large. Without a login there is no file at all.
func TestProxmoxSpool(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	empty := func(what string) {
		t.Helper()
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, %v", what, left, err)
		}
	}
	p := newPVE(t)
	request := func(ctx context.Context, body io.Reader) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "https://pve.example/pve-docs/", body).WithContext(ctx)
		r.ContentLength = -1
		return r
	}
	ctx, cancel := context.WithCancel(t.Context())
	g := p.serve(request(ctx, io.LimitReader(endless{}, 1<<20)), someone, http.StatusOK, "")
	file, ok := g.request.Body.(*os.File)
	if !ok {
		t.Fatalf("the body is a %T", g.request.Body)
	}
	cancel()
	for range 1000 {
		if _, err := file.Read(make([]byte, 1)); errors.Is(err, os.ErrClosed) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := file.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file is still open: %v", err)
	}
	empty("the request ended")
	wantCode(t, p.serve(request(t.Context(), io.MultiReader(io.LimitReader(endless{}, 1<<20), failingBody{})), someone, http.StatusOK, "").err, refusal.BadRequest)
	empty("the client went away")

	t.Setenv("TMPDIR", dir+"/nowhere")
	wantCode(t, p.serve(request(t.Context(), io.LimitReader(endless{}, 1<<20)), someone, http.StatusOK, "").err, refusal.Internal, "keeping the body")
	t.Setenv("TMPDIR", dir)
	connect.Spool(p.app, 4<<30-300<<10)
	wantCode(t, p.serve(request(t.Context(), io.LimitReader(endless{}, 1<<20)), someone, http.StatusOK, "").err, refusal.ProxmoxUnavailable, "together")
	if got := p.serve(request(t.Context(), io.LimitReader(endless{}, 290<<10)), someone, http.StatusOK, ""); got.err != nil {
		t.Errorf("what was refused still counts: %v", got.err)
	}
	empty("all files together are too large")

	anybody := func(size int64) error {
		r := request(t.Context(), io.MultiReader(io.LimitReader(endless{}, size), &watching{func() { empty("without a login") }}))
		return p.app.Take(r.Header).Unknown(r, false)
	}
	if err := anybody(256<<10 - 1); err != nil {
		t.Errorf("a short body without a login: %v", err)
	}
	wantCode(t, anybody(256<<10), refusal.TooLarge, "262143 bytes")
}

// watching is an empty body.
type watching struct{ see func() }

func (w *watching) Read([]byte) (int, error) { w.see(); return 0, io.EOF }

// TestProxmoxUnderscores: a node reads "Content_Length" as another Content-Length.
func TestProxmoxUnderscores(t *testing.T) {
	t.Parallel()
	p := newPVE(t)
	r := httptest.NewRequest(http.MethodGet, "https://pve.example/", nil)
	for _, name := range []string{"Content_Length", "Transfer_Encoding", "X_Forwarded_For", "X-Forwarded-For", "Csrfpreventiontoken"} {
		r.Header[name] = []string{"1"}
	}
	known := r.Clone(t.Context())
	g := p.serve(known, someone, http.StatusOK, "")
	if err := cmp.Or(g.err, p.app.Take(r.Header).Unknown(r, false)); err != nil {
		t.Fatal(err)
	}
	for _, header := range []http.Header{known.Header, r.Header} {
		names := slices.Sorted(maps.Keys(header))
		if slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, "_") }) || header["X-Forwarded-For"] == nil || header["Csrfpreventiontoken"] == nil {
			t.Errorf("the node gets %q", header)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

type failingBody struct{}

func (failingBody) Read([]byte) (int, error) { return 0, errors.New("broken off") }
