package passage_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func resetStream(w http.ResponseWriter) {
	stream := w.(http3.HTTPStreamer).HTTPStream()
	stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
}

// A before is a handler before the site: it changes the header when it is written.
type before struct {
	http.ResponseWriter
	begun bool
}

func (b *before) WriteHeader(status int) {
	if status >= http.StatusOK && !b.begun {
		b.begun = true
		b.Header().Del("Secret")
		b.Header().Add("Before", b.Header().Get("First"))
	}
	b.ResponseWriter.WriteHeader(status)
}

func (b *before) Write(data []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.ResponseWriter.Write(data)
}

func (b *before) FlushError() error {
	b.WriteHeader(http.StatusOK)
	return http.NewResponseController(b.ResponseWriter).Flush()
}

func (b *before) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// startHTTP3 has a real server answer for the site, behind other handlers. It returns a
// client, and the server's address.
func (s *site) startHTTP3(behind func(http.ResponseWriter, *http.Request)) (*http3.Transport, string) {
	s.t.Helper()
	s.reset = resetStream
	certificates := httptest.NewTLSServer(nil)
	s.t.Cleanup(certificates.Close)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		s.t.Fatal(err)
	}
	patient := &quic.Config{HandshakeIdleTimeout: time.Minute, MaxIdleTimeout: time.Minute}
	server := &http3.Server{
		QUICConfig: patient,
		Handler:    http.HandlerFunc(behind),
		TLSConfig:  http3.ConfigureTLSConfig(&tls.Config{Certificates: certificates.TLS.Certificates}),
	}
	go func() { _ = server.Serve(conn) }()
	client := &http3.Transport{QUICConfig: patient, TLSClientConfig: certificates.Client().Transport.(*http.Transport).TLSClientConfig}
	s.t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		_ = conn.Close()
	})
	return client, "https://" + conn.LocalAddr().String() + "/"
}

// A request over HTTP/3 ends with its login whatever its handler does meanwhile, and
// however much of the answer there is. Another's over the same connection goes on, and
// its answer is what its handler and those before it have made of it.
func TestCutHTTP3(t *testing.T) {
	t.Parallel()
	fill := func(w http.ResponseWriter) {
		w.Header().Set("X", fmt.Sprint(time.Now().UnixNano()))
		w.Header()["Y"] = append(w.Header()["Y"][:0], "y")
	}
	for name, tc := range map[string]struct{ begin, more func(http.ResponseWriter) }{
		"nothing":                 {func(http.ResponseWriter) {}, fill},
		"an informational answer": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, fill},
		"a status":                {func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }, fill},
		"something small":         {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "small") }, fill},
		"something small, copied": {func(w http.ResponseWriter) { _, _ = w.(io.ReaderFrom).ReadFrom(io.LimitReader(endless{}, 10)) }, fill},
		"something large":         {func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 100_000)) }, fill},
		"something flushed":       {func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, fill},
		"more and more":           {func(http.ResponseWriter) {}, func(w http.ResponseWriter) { _, _ = io.WriteString(w, "small") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen, over := make(chan struct{}), make(chan struct{})
			s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
				until := seen
				if r.Header.Get("Whose") == "bob" {
					until = over
				}
				w.Header().Del("Gone")
				w.Header().Set("Secret", "1")
				w.Header().Set("Trailer", "Sum")
				tc.begin(w)
				for {
					select {
					case <-until:
						w.Header().Set("Late", "1")
						w.Header().Set("Sum", "sum")
						w.Header().Set(http.TrailerPrefix+"Other", "other")
						return
					default:
						tc.more(w)
						time.Sleep(50 * time.Microsecond)
					}
				}
			})
			client, address := s.startHTTP3(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("First", "1")
				w.Header().Set("Gone", "1")
				b := &before{ResponseWriter: w}
				s.ServeHTTP(b, r)
				b.WriteHeader(http.StatusOK)
			})
			ask := func(user, cookie string) <-chan *http.Response {
				answered := make(chan *http.Response, 1)
				r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header = http.Header{"Session": {cookie}, "Whose": {user}}
				go func() {
					defer close(answered)
					resp, err := client.RoundTrip(r)
					if err != nil {
						return
					}
					if _, err = io.Copy(io.Discard, resp.Body); err == nil {
						answered <- resp
					}
				}()
				return answered
			}
			alice, bob := s.signIn("alice"), s.signIn("bob")
			alices, bobs := ask("alice", alice), ask("bob", bob)
			s.wantReached(2)
			s.signOut(alice)
			select {
			case resp := <-alices:
				if resp != nil {
					t.Errorf("the answer looks whole: %s", resp.Status)
				}
			case <-time.After(within):
				t.Error("the request lives on")
			}
			close(seen)
			select {
			case <-bobs:
				t.Error("another's request has ended")
			default:
			}
			close(over)
			resp := <-bobs
			if resp == nil {
				t.Fatal("another's request was cut")
			}
			h, tr := resp.Header, resp.Trailer
			if h.Get("First") != "1" || h.Get("Before") != "1" || h.Get("Gone") != "" || h.Get("Secret") != "" || h.Get("Date") == "" {
				t.Errorf("another's header is %v", h)
			}
			if resp.StatusCode != http.StatusOK || tr.Get("Sum") != "sum" || tr.Get("Other") != "other" {
				t.Errorf("another's answer is %s with the trailer %v", resp.Status, tr)
			}
		})
	}
}

// Over HTTP/3 the handlers around the site, such as an error route that adds a header of
// its own, and the client see the same header as without sso.
func TestHeaderHTTP3(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(http.ResponseWriter){
		"nothing":                  func(http.ResponseWriter) {},
		"reads":                    func(w http.ResponseWriter) { w.Header().Get("First") },
		"sets":                     func(w http.ResponseWriter) { w.Header().Set("Own", "1") },
		"sets and takes back":      func(w http.ResponseWriter) { w.Header().Set("Own", "1"); w.Header().Del("Own") },
		"takes back another's":     func(w http.ResponseWriter) { w.Header().Del("First") },
		"sets a Date":              func(w http.ResponseWriter) { w.Header().Set("Date", "own") },
		"sets a Date and takes it": func(w http.ResponseWriter) { w.Header().Set("Date", "own"); w.Header().Del("Date") },
		"wants no Date":            func(w http.ResponseWriter) { w.Header()["Date"] = nil },
		"an informational answer":  func(w http.ResponseWriter) { w.Header().Set("Link", "a"); w.WriteHeader(http.StatusEarlyHints) },
		"two informational answers": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Link", "a")
			w.WriteHeader(http.StatusEarlyHints)
		},
		"informational, with a Date":  func(w http.ResponseWriter) { w.Header().Set("Date", "own"); w.WriteHeader(http.StatusEarlyHints) },
		"informational, and then one": func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints); w.WriteHeader(http.StatusTeapot) },
		"a status":                    func(w http.ResponseWriter) { w.Header().Set("Own", "1"); w.WriteHeader(http.StatusTeapot) },
		"something":                   func(w http.ResponseWriter) { _, _ = io.WriteString(w, "small") },
		"something flushed":           func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { next(w) })
			client, address := s.startHTTP3(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("First", "1")
				if r.Header.Get("Session") == "" {
					next(w)
				} else {
					s.ServeHTTP(w, r)
				}
				w.Header().Set("After", fmt.Sprint(w.Header()["Date"] == nil))
				w.Header().Add("Date", "another")
				w.WriteHeader(http.StatusNotFound)
			})
			ask := func(cookie string) string {
				var all []string
				see := func(status int, h textproto.MIMEHeader) error {
					for i, date := range h["Date"] {
						if date != "own" && date != "another" {
							h["Date"][i] = "now"
						}
					}
					all = append(all, fmt.Sprint(status, h))
					return nil
				}
				r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: see}), http.MethodGet, address, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header["Session"] = []string{cookie}
				resp, err := client.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				_ = see(resp.StatusCode, textproto.MIMEHeader(resp.Header))
				return strings.Join(all, "\n")
			}
			if want, got := ask(""), ask(s.signIn("alice")); got != want {
				t.Errorf("the client sees\n%s\nand without sso\n%s", got, want)
			}
		})
	}
}
