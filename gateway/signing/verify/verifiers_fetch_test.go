//go:build integration

package verify_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A jwksServer publishes keys, and counts the requests.
type jwksServer struct {
	*httptest.Server
	mu      sync.Mutex
	status  int
	body    string
	fetches int
}

func newPublisher(t *testing.T, f *forger) *jwksServer {
	t.Helper()
	p := &jwksServer{status: http.StatusOK, body: string(f.jwks(t))}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fetches++
		if r.URL.Path == "/elsewhere" {
			t.Error("a redirect is followed")
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(p.status)
		_, _ = io.WriteString(w, p.body)
	}))
	t.Cleanup(p.Close)
	p.URL += "/.sso/jwks.json"
	return p
}

func (p *jwksServer) set(status int, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.body = status, body
}

func (p *jwksServer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func (p *jwksServer) want(t *testing.T, fetches int) {
	t.Helper()
	if got := p.count(); got != fetches {
		t.Fatalf("%d fetches so far, want %d", got, fetches)
	}
}

// TestVerifiersFetch plays days of rotation and failure: the clock is the question's.
func TestVerifiersFetch(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	good := string(f.jwks(t))
	rotated := string(marshal(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: f.ec.Public(), KeyID: "new"}}}))
	for language := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			p, temp := newPublisher(t, f), t.TempDir()
			const unknown = "signed by no key of the gateway's JWK Set"
			unavailable := "the gateway's keys are not available: fetching the JWK Set at " + p.URL + ": "
			programs := []*program{startProgram(t, language, p.URL, temp)}
			if language == "PHP" { // it has processes, not threads
				programs = append(programs, startProgram(t, language, p.URL, temp), startProgram(t, language, p.URL, temp))
			}
			clock := int64(now)
			ask := func(kid, want string) {
				t.Helper()
				var all sync.WaitGroup
				for _, program := range programs {
					all.Go(func() {
						got := program.ask(question{Now: clock, Values: []string{token(t, f, kid)}, Times: 8})
						wantStatuses(t, kid, got)
						if got.Error != want && (want != unavailable || !strings.HasPrefix(got.Error, want) || !got.Unavailable) {
							t.Errorf("%d s: key %s: %q, want %q", clock-now, kid, got.Error, want)
						}
					})
				}
				all.Wait()
			}
			ask("ec", "")
			p.want(t, 1)
			for range 9 {
				clock++
				ask("other", unknown)
			}
			p.want(t, 1)
			p.set(http.StatusOK, rotated)
			ask("new", unknown) // too soon to ask again
			clock++
			ask("new", "")
			ask("ec", unknown) // withdrawn
			p.want(t, 2)

			fetches := 2
			for name, set := range map[string]func(){
				"redirect":   func() { p.set(http.StatusFound, rotated) },
				"unknown":    func() { p.set(http.StatusUnauthorized, rotated) },
				"error":      func() { p.set(http.StatusInternalServerError, rotated) },
				"203":        func() { p.set(http.StatusNonAuthoritativeInfo, rotated) },
				"login page": func() { p.set(http.StatusOK, "<!doctype html>") },
				"no keys":    func() { p.set(http.StatusOK, "{}") },
				"no list":    func() { p.set(http.StatusOK, `{"keys":1}`) },
				"too large":  func() { p.set(http.StatusOK, good+strings.Repeat(" ", 256<<10)) },
				"keys twice": func() { p.set(http.StatusOK, strings.TrimSuffix(good, "}")+`,"keys":[]}`) },
			} {
				t.Log(name)
				set()
				clock += 10
				fetches++
				ask("other", unavailable)
				ask("new", "") // the last good keys stay
				p.want(t, fetches)
			}
			for range 20 {
				clock += 3700 // an hour: a fetch is tried
				fetches++
				ask("new", "")
				for range 1000 { // it may begin later: nobody waits for it, nor for the one before
					if p.count() >= fetches {
						break
					}
					time.Sleep(5 * time.Millisecond)
					ask("new", "")
				}
				p.want(t, fetches)
			}
			clock += 12_400
			ask("new", unavailable) // a day
			p.set(http.StatusOK, rotated)
			ask("new", unavailable)
			p.want(t, fetches+1)
			clock += 10
			ask("new", "")
			p.want(t, fetches+2)
		})
	}
}

// TestVerifiersKeys: a key that can't be used spoils only itself.
func TestVerifiersKeys(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	for language := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			p := newPublisher(t, f)
			program, clock := startProgram(t, language, p.URL, t.TempDir()), int64(now)
			for name, k := range badKeys(t, f) {
				for _, with := range [][]any{{}, goodKeys(t, f)} {
					p.set(http.StatusOK, string(marshal(t, map[string]any{"keys": append([]any{k}, with...)})))
					clock += 2 * 86400 // the keys before are forgotten
					got := program.ask(question{Now: clock, Values: []string{token(t, f, "ec")}, Times: 1})
					if got.Unavailable != (len(with) == 0) || (got.Who == nil) != (len(with) == 0) {
						t.Errorf("%s, with %d good keys: %+v", name, len(with), got)
					}
				}
			}
		})
	}
}
