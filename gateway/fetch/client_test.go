package fetch_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
)

func TestClientCheckURL(t *testing.T) {
	t.Parallel()
	strict := fetch.New(fetch.Options{})
	lax := fetch.New(fetch.Options{InsecureHTTP: true})
	for _, tt := range []struct {
		name, url         string
		strictOK, laxOkay bool
	}{
		{"https", "https://id.example.com/token?x=1", true, true},
		{"https with port", "https://id.example.com:8443/", true, true},
		{"http on localhost", "http://localhost:8080/x", true, true},
		{"http below localhost", "http://ID.LocalHost.:8080/x", true, true},
		{"http on 127.0.0.0/8", "http://127.8.9.1/x", true, true},
		{"http on ::1", "http://[::1]:80/x", true, true},
		{"http on mapped loopback", "http://[::ffff:127.0.0.1]/x", true, true},
		{"http elsewhere", "http://id.example.com/x", false, true},
		{"http on a name that begins with localhost", "http://localhost.example.com/x", false, true},
		{"http on a name that ends with localhost", "http://notlocalhost/x", false, true},
		{"http on an abbreviated address", "http://127.1/x", false, true},
		{"http on a private address", "http://10.0.0.1/x", false, true},
		{"empty", "", false, false},
		{"relative", "/token", false, false},
		{"without scheme", "//id.example.com/token", false, false},
		{"without host", "https:///token", false, false},
		{"port without host", "https://:443/token", false, false},
		{"opaque", "https:id.example.com", false, false},
		{"file", "file:///etc/passwd", false, false},
		{"ftp", "ftp://id.example.com/x", false, false},
		{"user information", "https://user:hunter2@id.example.com/", false, false},
		{"fragment", "https://id.example.com/#x", false, false},
		{"empty fragment", "https://id.example.com/#", false, false},
		{"control character", "https://id.example.com/\n", false, false},
		{"malformed with a password", "https://u:hunter2@[id", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := strict.CheckURL(tt.url); (err == nil) != tt.strictOK {
				t.Errorf("strict: got %v, want accepted=%v", err, tt.strictOK)
			}
			err := lax.CheckURL(tt.url)
			if (err == nil) != tt.laxOkay {
				t.Errorf("with InsecureHTTP: got %v, want accepted=%v", err, tt.laxOkay)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// serve starts a TLS server and returns it with a pool that trusts it.
func serve(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return srv, roots
}

func get(t *testing.T, o *fetch.Client, rawURL string, limit int64) (*fetch.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, rawURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o.Do(req, limit)
}

func TestClientDo(t *testing.T) {
	t.Parallel()
	var followed atomic.Bool
	srv, roots := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/json":
			w.Header().Set("Content-Type", `Application/JSON; charset="utf-8"`)
			_, _ = io.WriteString(w, "{}")
		case "/redirect":
			http.Redirect(w, r, "/followed", http.StatusFound)
		case "/followed":
			followed.Store(true)
		case "/types":
			w.Header()["Content-Type"] = []string{"application/json", "text/html"}
		case "/type":
			w.Header().Set("Content-Type", r.URL.Query().Get("is"))
		case "/bytes":
			_, _ = w.Write(bytes.Repeat([]byte("x"), 100))
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
		case "/gzip":
			if r.Header.Get("Accept-Encoding") != "" {
				t.Error("asks for compression")
			}
		}
	})
	o := fetch.New(fetch.Options{RootCAs: roots})
	get := func(t *testing.T, o *fetch.Client, rawURL string, limit int64) (resp *fetch.Response, err error) {
		t.Helper()
		for range 6 { // a Client gives up after five seconds, which is little for a slow machine
			if resp, err = get(t, o, rawURL, limit); !errors.Is(err, context.DeadlineExceeded) {
				break
			}
		}
		return resp, err
	}

	for _, tt := range []struct {
		name, path string
		limit      int64
		fails      bool
		want       fetch.Response
	}{
		{"answer", "/json", 100, false, fetch.Response{Status: 200, MediaType: "application/json", ContentType: `Application/JSON; charset="utf-8"`, Body: []byte("{}")}},
		{"redirect is not followed", "/redirect", 1000, false, fetch.Response{Status: 302, MediaType: "text/html", ContentType: "text/html; charset=utf-8", Body: []byte("<a href=\"/followed\">Found</a>.\n\n")}},
		{"two content types are none", "/types", 100, false, fetch.Response{Status: 200, ContentType: "application/json, text/html", Body: []byte{}}},
		{"body at the limit", "/bytes", 100, false, fetch.Response{Status: 200, MediaType: "text/plain", ContentType: "text/plain; charset=utf-8", Body: bytes.Repeat([]byte("x"), 100)}},
		{"body beyond the limit", "/bytes", 99, true, fetch.Response{}},
		{"body cut short", "/cut", 1000, true, fetch.Response{}},
		{"no compression", "/gzip", 100, false, fetch.Response{Status: 200, Body: []byte{}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := get(t, o, srv.URL+tt.path, tt.limit)
			if err == nil {
				if got.Reason != http.StatusText(got.Status) || time.Since(got.Date).Abs() > time.Minute {
					t.Errorf("reason %q, date %v", got.Reason, got.Date)
				}
				got.Reason, got.Date = "", time.Time{}
			}
			if tt.fails && err == nil || !tt.fails && (err != nil || !reflect.DeepEqual(*got, tt.want)) || followed.Load() {
				t.Errorf("got %+v, %v, followed=%v", got, err, followed.Load())
			}
		})
	}
	t.Run("odd parameters of a content type", func(t *testing.T) {
		t.Parallel()
		for came, want := range map[string]string{
			"application/json; utf-8": "application/json", "application/json; charset=": "application/json", "Application/JSON ;charset = utf-8": "application/json",
			"application/json;": "application/json", "application/json;;": "application/json", "application/json; charset=utf-8; charset=utf-8": "application/json",
			"application/json; charset=utf-8; ; =": "application/json", "application/jwt; \"": "application/jwt", `application/json; a="b, c"`: "application/json",
			"application/json; charset=utf-8, text/html": "", "application/json, text/html": "", "application/json text/html; utf-8": "", "; application/json": "",
			"application/; utf-8": "", "json utf-8": "",
		} {
			got, err := get(t, o, srv.URL+"/type?is="+url.QueryEscape(came), 100)
			if err != nil || got.MediaType != want || got.ContentType != came {
				t.Errorf("%s: got %+v, %v", came, got, err)
			}
		}
	})
	t.Run("unknown authority", func(t *testing.T) {
		t.Parallel()
		if _, err := get(t, fetch.New(fetch.Options{}), srv.URL+"/json?secret=hunter2", 100); err == nil {
			t.Fatal("accepted")
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Fatalf("the error shows the query: %v", err)
		}
	})
	t.Run("wrong host name", func(t *testing.T) {
		t.Parallel()
		u, err := url.Parse(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := get(t, o, "https://wrong.localhost:"+u.Port()+"/json", 100); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Fatalf("got %v, want a certificate error (and so a connection to loopback)", err)
		}
	})
	t.Run("URL that is not permitted", func(t *testing.T) {
		t.Parallel()
		if _, err := get(t, o, "http://192.0.2.1/", 100); err == nil || !strings.Contains(err.Error(), "plain http") {
			t.Fatalf("got %v", err)
		}
	})
}

func TestClientOldTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} // old on purpose
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	if _, err := get(t, fetch.New(fetch.Options{RootCAs: roots}), srv.URL, 100); err == nil {
		t.Fatal("TLS 1.1 was accepted")
	}
}

func TestClientLocalhost(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := fetch.New(fetch.Options{})
	for _, host := range []string{"localhost", "id.localhost", "ID.LOCALHOST"} {
		got, err := get(t, o, "http://"+host+":"+u.Port()+"/", 100)
		if err != nil || string(got.Body) != host+":"+u.Port() {
			t.Errorf("%s: got %+v, %v", host, got, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// trickle is a body that never ends, one byte a second.
type trickle struct{ ctx context.Context }

func (b trickle) Read(p []byte) (int, error) {
	select {
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	case <-time.After(time.Second):
		p[0] = 'x'
		return 1, nil
	}
}

func (trickle) Close() error { return nil }

func TestClientTimeout(t *testing.T) {
	t.Parallel()
	for name, transport := range map[string]roundTrip{
		"no answer": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"endless answer": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: trickle{r.Context()}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := get(t, fetch.New(fetch.Options{Transport: transport}), "https://id.example.com/", 1000)
				if err == nil || time.Since(start) != fetch.Timeout {
					t.Fatalf("got %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

// TestClientQuotesNothing has a server answer by what is no HTTP, which net/http
// quotes in its errors: it may be a token.
func TestClientQuotesNothing(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"a body alone":         `{"id_token":"canary"}` + "\r\n\r\n",
		"a word for a status":  "HTTP/1.1 canary OK\r\n\r\n",
		"a word for a version": "HTTP/canary 200 OK\r\n\r\n",
		"a header of its own":  "HTTP/1.1 200 OK\r\n{\"id_token\" \"canary\"}\r\n\r\n",
		"a line of a body":     "HTTP/1.1 200 OK\r\n canary\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+ln.Addr().String()+"/token", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = fetch.New(fetch.Options{}).Do(r, 1000)
			if err == nil || !strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, want that it is malformed and nothing of it", err)
			}
		})
	}
}
