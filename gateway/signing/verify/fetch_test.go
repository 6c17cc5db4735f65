package verify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// A publisher plays the gateway's JWKS endpoint.
type publisher struct {
	mu      sync.Mutex
	status  int
	body    string
	err     error
	delay   time.Duration
	deaf    bool // goes on when the request is given up
	fetches atomic.Int32
}

func (p *publisher) set(change func(*publisher)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	p.fetches.Add(1)
	p.mu.Lock()
	delay, done := p.delay, r.Context().Done()
	if p.deaf {
		done = nil
	}
	p.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-done:
		return nil, r.Context().Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	res := &http.Response{StatusCode: p.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(p.body)), Request: r}
	switch {
	case r.URL.Host != "app.example.com":
		res.StatusCode = http.StatusOK
	case p.status == http.StatusFound:
		res.Header.Set("Location", "https://attacker.example/jwks.json")
	}
	return res, nil
}

// fetching returns a verifier that asks a publisher of f's keys.
func fetching(t *testing.T, f *forger) (*verify.Verifier, *publisher) {
	t.Helper()
	p := &publisher{status: http.StatusOK, body: string(f.jwks(t))}
	client := &http.Client{Transport: p}
	v := newVerifier(t, verify.Config{JWKSURL: "https://app.example.com/.sso/jwks.json", Client: client})
	if client.CheckRedirect != nil {
		t.Error("New changed the client that it was given")
	}
	return v, p
}

// token is good at any time of these tests, and names a key.
func token(t *testing.T, f *forger, kid string) string {
	t.Helper()
	payload := string(marshal(t, goodClaims(map[string]any{"exp": now + 1e9})))
	return f.es256(t, f.ec, strings.Replace(goodHeader, `"ec"`, `"`+kid+`"`, 1), payload)
}

func wantFetches(t *testing.T, p *publisher, want int32) {
	t.Helper()
	if got := p.fetches.Load(); got != want {
		t.Errorf("%d fetches so far, want %d", got, want)
	}
}

func TestFetchIsLazyAndShared(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	synctest.Test(t, func(t *testing.T) {
		v, p := fetching(t, f)
		wantFetches(t, p, 0)
		p.set(func(p *publisher) { p.delay = time.Second })
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := v.Verify(t.Context(), token(t, f, "ec")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		wantFetches(t, p, 1)
		time.Sleep(59 * time.Minute)
		if _, err := v.Verify(t.Context(), token(t, f, "ec")); err != nil {
			t.Error(err)
		}
		wantFetches(t, p, 1)
	})
}

// TestFetchSurvivesACaller has the first caller give up. The fetch goes on for the
// others.
func TestFetchSurvivesACaller(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	synctest.Test(t, func(t *testing.T) {
		v, p := fetching(t, f)
		p.set(func(p *publisher) { p.delay = 2 * time.Second })
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			time.Sleep(100 * time.Millisecond)
			if _, err := v.Verify(t.Context(), token(t, f, "ec")); err != nil {
				t.Errorf("second caller: %v", err)
			}
		}()
		_, err := v.Verify(impatient, token(t, f, "ec"))
		if !errors.Is(err, verify.ErrKeysUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("first caller's error is %v", err)
		}
		time.Sleep(2 * time.Second)
		wantFetches(t, p, 1)
	})
}

// TestOneFetchAtATime: also with a client that does not stop when told.
func TestOneFetchAtATime(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	synctest.Test(t, func(t *testing.T) {
		v, p := fetching(t, f)
		p.set(func(p *publisher) { p.delay, p.deaf = 30*time.Second, true })
		go func() { _, _ = v.Verify(t.Context(), token(t, f, "other")) }()
		time.Sleep(15 * time.Second)
		if _, err := v.Verify(t.Context(), token(t, f, "ec")); err != nil {
			t.Error(err)
		}
		wantFetches(t, p, 1)
	})
}

func TestFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	synctest.Test(t, func(t *testing.T) {
		v, p := fetching(t, f)
		for i := range 200 { // 20 seconds of it
			_, err := v.Verify(t.Context(), token(t, f, "unknown"+strings.Repeat("x", i)))
			if err == nil || errors.Is(err, verify.ErrKeysUnavailable) {
				t.Fatalf("error is %v, want that of an unknown key", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		wantFetches(t, p, 2)
	})
}

func TestRotationIsFollowed(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	synctest.Test(t, func(t *testing.T) {
		v, p := fetching(t, f)
		verifies := func(kid string, want bool) {
			t.Helper()
			if _, err := v.Verify(t.Context(), token(t, f, kid)); (err == nil) != want {
				t.Errorf("key %s: %v", kid, err)
			}
		}
		verifies("ec", true)
		p.set(func(p *publisher) {
			p.body = string(marshal(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: f.ec.Public(), KeyID: "new"}}}))
		})
		verifies("new", false) // too soon to ask again
		time.Sleep(10 * time.Second)
		verifies("new", true)
		verifies("ec", false) // withdrawn
		wantFetches(t, p, 2)
	})
}

func TestRefetchHourlyInBackground(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	synctest.Test(t, func(t *testing.T) {
		v, p := fetching(t, f)
		verifies := func() error {
			began := time.Now()
			_, err := v.Verify(t.Context(), token(t, f, "ec"))
			if err == nil && !time.Now().Equal(began) {
				t.Errorf("waited %v for keys that were known", time.Since(began))
			}
			return err
		}
		if err := verifies(); err != nil {
			t.Fatal(err)
		}
		p.set(func(p *publisher) { p.delay, p.err = time.Second, errors.New("gateway is down") })
		for range 22 { // hours
			time.Sleep(time.Hour)
			if err := verifies(); err != nil {
				t.Fatalf("keys are not used for a day while the gateway is down: %v", err)
			}
		}
		synctest.Wait()
		time.Sleep(2 * time.Hour)
		if err := verifies(); !errors.Is(err, verify.ErrKeysUnavailable) {
			t.Errorf("error is %v after a day without the gateway, want ErrKeysUnavailable", err)
		}
		p.set(func(p *publisher) { p.delay, p.err = 0, nil })
		time.Sleep(10 * time.Second)
		if err := verifies(); err != nil {
			t.Errorf("has not recovered: %v", err)
		}
	})
}

func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	for name, change := range map[string]func(*publisher){
		"redirect":     func(p *publisher) { p.status = http.StatusFound },
		"status 500":   func(p *publisher) { p.status = http.StatusInternalServerError },
		"status 203":   func(p *publisher) { p.status = http.StatusNonAuthoritativeInfo },
		"login page":   func(p *publisher) { p.body = "<!doctype html>" },
		"no keys":      func(p *publisher) { p.body = "{}" },
		"too large":    func(p *publisher) { p.body += strings.Repeat(" ", 256<<10) },
		"keys twice":   func(p *publisher) { p.body = strings.TrimSuffix(p.body, "}") + `,"keys":[]}` },
		"fault":        func(p *publisher) { p.err = errors.New("connection refused") },
		"never ending": func(p *publisher) { p.delay = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				v, p := fetching(t, f)
				good := p.body
				p.set(change)
				began := time.Now()
				_, err := v.Verify(t.Context(), token(t, f, "ec"))
				if !errors.Is(err, verify.ErrKeysUnavailable) || strings.Count(err.Error(), "https://app.example.com/.sso/jwks.json") != 1 {
					t.Errorf("error is %v, want ErrKeysUnavailable with the URL", err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
				if _, err := v.Verify(t.Context(), token(t, f, "ec")); !errors.Is(err, verify.ErrKeysUnavailable) {
					t.Errorf("second error is %v, want ErrKeysUnavailable", err)
				}
				p.set(func(p *publisher) { p.status, p.body, p.err, p.delay = http.StatusOK, good, nil, 0 })
				before := p.fetches.Load()
				time.Sleep(10 * time.Second)
				if _, err := v.Verify(t.Context(), token(t, f, "ec")); err != nil {
					t.Errorf("control is refused: %v", err)
				}
				wantFetches(t, p, before+1)
			})
		})
	}
}
