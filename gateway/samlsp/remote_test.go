package samlsp_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

const metadataURL = "https://idp.example.com/metadata?tenant=s3cret"

// A publisher serves metadata without a network. It implements
// http.RoundTripper.
type publisher struct {
	mu        sync.Mutex
	status    int // 0: unreachable
	mediaType string
	body      string
	requests  int
	accept    string
}

func publish(e *entity) *publisher {
	return &publisher{status: http.StatusOK, mediaType: "application/samlmetadata+xml", body: e.xml()}
}

func (p *publisher) set(status int, mediaType, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.mediaType, p.body = status, mediaType, body
}

func (p *publisher) serve(e *entity) { p.set(http.StatusOK, "text/xml", e.xml()) }
func (p *publisher) down()           { p.set(0, "", "") }

func (p *publisher) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	p.accept = r.Header.Get("Accept")
	if p.status == 0 {
		return nil, errors.New("no route to host")
	}
	return &http.Response{
		StatusCode: p.status, Header: http.Header{"Content-Type": {p.mediaType}}, Body: io.NopCloser(strings.NewReader(p.body)), Request: r,
	}, nil
}

func byURL(t *testing.T, from *publisher, deps samlsp.Deps, change ...func(*samlsp.Config)) *samlsp.Provider {
	t.Helper()
	config := samlsp.Config{MetadataURL: metadataURL}
	for _, c := range change {
		c(&config)
	}
	deps.Transport = from
	p, err := samlsp.New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			test(t)
			synctest.Wait()
		})
	})
}

func beginErr(t *testing.T, p *samlsp.Provider) error {
	t.Helper()
	_, err := p.Begin(t.Context(), beginRequest)
	return err
}

func TestMetadataByURL(t *testing.T) {
	t.Parallel()
	inBubble(t, "fetched at first use, and then kept", func(t *testing.T) {
		from := publish(goodEntity())
		p := byURL(t, from, samlsp.Deps{})
		if from.asked() != 0 || p.Issuer() != "" {
			t.Errorf("New asked %d times and knows %q", from.asked(), p.Issuer())
		}
		for range 5 {
			begin(t, p)
		}
		if from.asked() != 1 || p.Issuer() != idpEntityID || !strings.Contains(from.accept, "samlmetadata+xml") {
			t.Errorf("asked %d times for %s, the issuer is %q", from.asked(), from.accept, p.Issuer())
		}
	})
	for _, mediaType := range []string{"application/xml", "text/xml; charset=utf-8", "application/samlmetadata+xml", "application/octet-stream", "text/plain", "text/html", ""} {
		inBubble(t, "as "+mediaType, func(t *testing.T) {
			from := publish(goodEntity())
			from.mediaType = mediaType
			begin(t, byURL(t, from, samlsp.Deps{}))
		})
	}
	for name, answer := range map[string]struct {
		status                int
		mediaType, body, want string
	}{
		"unreachable":      {0, "", "", "no route to host"},
		"not there":        {404, "text/html", "<html>", "the status is 404 instead of 200"},
		"elsewhere":        {302, "", "", "redirects are not followed"},
		"broken":           {500, "application/xml", goodEntity().xml(), "the status is 500"},
		"a web page":       {200, "text/html", "<!doctype html>", "it is a web page"},
		"another type":     {200, "application/xml", "<html/>", "it is a web page"},
		"no metadata":      {200, "application/xml", "<x/>", "expected is an EntityDescriptor"},
		"a federation":     {200, "application/xml", strings.Repeat(" ", samlsp.MaxMetadata+1), "this provider's own metadata"},
		"without services": {200, "application/xml", (&entity{entityID: "urn:x"}).xml(), "no usable SingleSignOnService"},
	} {
		inBubble(t, "refused: "+name, func(t *testing.T) {
			from := publish(goodEntity())
			from.set(answer.status, answer.mediaType, answer.body)
			p := byURL(t, from, samlsp.Deps{})
			err := beginErr(t, p)
			wantCode(t, err, refusal.ProviderUnavailable)
			wantText(t, err, answer.want)
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows the query: %v", err)
			}
			from.serve(goodEntity())
			time.Sleep(fetch.FailureKept)
			begin(t, p) // it mends itself
		})
	}
}

func TestProviderDown(t *testing.T) {
	t.Parallel()
	inBubble(t, "later", func(t *testing.T) {
		from := publish(goodEntity())
		p := byURL(t, from, samlsp.Deps{})
		begin(t, p)
		from.down()
		begin(t, p)
		time.Sleep(samlsp.AliveFor)
		wantCode(t, beginErr(t, p), refusal.ProviderUnavailable)
		if _, err := samlsp.IdentityProvider(t.Context(), p); err != nil {
			t.Errorf("an answer that is under way can't be verified: %v", err)
		}
		from.serve(goodEntity())
		time.Sleep(fetch.FailureKept)
		begin(t, p)
	})
	for name, status := range map[string]int{"the metadata are gone": 404, "too many ask": 429} {
		inBubble(t, name+", but the provider is there", func(t *testing.T) {
			from := publish(goodEntity())
			p := byURL(t, from, samlsp.Deps{})
			begin(t, p)
			from.set(status, "text/plain", "")
			time.Sleep(samlsp.AliveFor)
			begin(t, p)
		})
	}
	inBubble(t, "the metadata are broken, but the provider is there", func(t *testing.T) {
		from := publish(goodEntity())
		p := byURL(t, from, samlsp.Deps{})
		begin(t, p)
		from.set(200, "text/html", "<html>maintenance</html>")
		time.Sleep(samlsp.AliveFor)
		begin(t, p)
	})
	inBubble(t, "only the metadata's server", func(t *testing.T) {
		e := goodEntity()
		e.redirect, e.post = "https://login.example.com/sso", ""
		from := publish(e)
		p := byURL(t, from, samlsp.Deps{})
		begin(t, p)
		from.down()
		time.Sleep(2 * fetch.RefreshAfter)
		begin(t, p)
	})
}

func TestLastGood(t *testing.T) {
	t.Parallel()
	setUp := func(t *testing.T, change ...func(*samlsp.Config)) (*publisher, *gatewaytest.Shelf) {
		t.Helper()
		from, kept := publish(goodEntity()), &gatewaytest.Shelf{}
		begin(t, byURL(t, from, samlsp.Deps{LastGood: kept}, change...))
		synctest.Wait()
		if len(kept.Names()) != 1 {
			t.Fatalf("kept %d documents", len(kept.Names()))
		}
		from.down()
		return from, kept
	}
	inBubble(t, "after a restart while the provider is down", func(t *testing.T) {
		from, kept := setUp(t)
		p := byURL(t, from, samlsp.Deps{LastGood: kept})
		p.Start(t.Context())
		if p.Issuer() != idpEntityID {
			t.Errorf("the issuer is %q: whoever is signed in is signed out", p.Issuer())
		}
		if _, err := samlsp.IdentityProvider(t.Context(), p); err != nil {
			t.Error(err)
		}
		wantCode(t, beginErr(t, p), refusal.ProviderUnavailable)
		from.serve(goodEntity())
		time.Sleep(fetch.FailureKept)
		begin(t, p)
	})
	inBubble(t, "names hide the provider and differ by it", func(t *testing.T) {
		from, kept := setUp(t)
		for _, name := range kept.Names() {
			if strings.Contains(name, "example") {
				t.Errorf("the name %s shows the provider", name)
			}
		}
		p := byURL(t, from, samlsp.Deps{LastGood: kept}, func(c *samlsp.Config) { c.MetadataURL += "2" })
		p.Start(t.Context())
		if p.Issuer() != "" {
			t.Errorf("another provider has its metadata")
		}
	})
	inBubble(t, "not taken under other certificates", func(t *testing.T) {
		from, kept := setUp(t)
		p := byURL(t, from, samlsp.Deps{LastGood: kept}, func(c *samlsp.Config) { c.RootCAs = []byte(pemOf("CERTIFICATE", idpCert())) })
		p.Start(t.Context())
		if p.Issuer() != "" {
			t.Error("what came under the certificates of before is taken")
		}
	})
	inBubble(t, "is checked again", func(t *testing.T) {
		from, kept := setUp(t)
		kept.Spoil(strings.Replace(goodEntity().xml(), "https://idp.example.com/sso/", "http://idp.example.com/sso/", 2))
		p := byURL(t, from, samlsp.Deps{LastGood: kept})
		p.Start(t.Context())
		if p.Issuer() != "" {
			t.Error("metadata that are not permitted were taken")
		}
	})
	inBubble(t, "has run out: who is signed in stays, nobody new comes in", func(t *testing.T) {
		from, kept := setUp(t)
		e := goodEntity()
		e.attrs = `validUntil="1999-01-01T00:00:00Z"` // the bubble's clock begins in 2000
		kept.Spoil(e.xml())
		p := byURL(t, from, samlsp.Deps{LastGood: kept})
		p.Start(t.Context())
		if p.Issuer() != idpEntityID {
			t.Errorf("the issuer is %q", p.Issuer())
		}
		_, err := samlsp.IdentityProvider(t.Context(), p)
		wantCode(t, err, refusal.ProviderUnavailable)
	})
	inBubble(t, "the configured entity ID is known at once", func(t *testing.T) {
		p := byURL(t, publish(goodEntity()), samlsp.Deps{}, func(c *samlsp.Config) { c.EntityID = idpEntityID })
		if p.Issuer() != idpEntityID {
			t.Errorf("the issuer is %q", p.Issuer())
		}
	})
	inBubble(t, "a store that is down harms no login", func(t *testing.T) {
		p := byURL(t, publish(goodEntity()), samlsp.Deps{LastGood: &gatewaytest.Shelf{Err: errors.New("the store is down")}})
		p.Start(t.Context())
		begin(t, p)
	})
}

func TestMetadataRunOut(t *testing.T) {
	t.Parallel()
	until := func(d time.Duration) *entity {
		e := goodEntity()
		e.attrs = `validUntil="` + time.Now().Add(d).UTC().Format(time.RFC3339) + `"`
		return e
	}
	inBubble(t, "in use", func(t *testing.T) {
		from := publish(until(30 * time.Minute))
		p := byURL(t, from, samlsp.Deps{})
		begin(t, p)
		time.Sleep(31 * time.Minute)
		err := beginErr(t, p)
		wantCode(t, err, refusal.ProviderUnavailable)
		wantText(t, err, "valid until")
		if p.Issuer() != idpEntityID {
			t.Error("whoever is signed in is signed out")
		}
		from.serve(until(time.Hour))
		_, err = samlsp.IdentityProvider(t.Context(), p)
		wantCode(t, err, refusal.ProviderUnavailable)
		time.Sleep(fetch.FailureKept)
		begin(t, p)
	})
	inBubble(t, "when fetched: replace nothing", func(t *testing.T) {
		from := publish(until(24 * time.Hour))
		p := byURL(t, from, samlsp.Deps{})
		begin(t, p)
		from.serve(until(-time.Second))
		time.Sleep(samlsp.AliveFor)
		begin(t, p)
		fresh := byURL(t, from, samlsp.Deps{})
		wantText(t, beginErr(t, fresh), "valid until")
	})
}
