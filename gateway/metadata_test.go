package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestMetadata(t *testing.T) {
	t.Parallel()
	const acsURL, entityID = "https://app.example/.sso/saml/acs", "https://app.example/.sso/saml/metadata"
	t.Run("A3 C5 one provider", func(t *testing.T) {
		t.Parallel()
		l := newSAMLLab(t)
		b := l.site().browser()
		for _, path := range []string{"/.sso/saml/metadata", "/.sso/saml/metadata/corp"} {
			w := b.open(path)
			wantStatus(t, w, http.StatusOK)
			if got, want := w.Body.String(), "metadata of https://id.example "+acsURL+" "+entityID; got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/samlmetadata+xml", "Content-Disposition": `attachment; filename="corp.xml"`,
				"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=300", "Content-Length": fmt.Sprint(w.Body.Len()),
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %s %q, want %q", path, name, got, want)
				}
			}
			head := b.send(b.request(http.MethodHead, path))
			if head.Code != http.StatusOK || head.Body.Len() > 0 || head.Header().Get("Content-Length") != w.Header().Get("Content-Length") {
				t.Errorf("HEAD %s: %d, %d bytes, %v", path, head.Code, head.Body.Len(), head.Header())
			}
		}
		wantRefused(t, b.open("/.sso/saml/metadata/nobody"), refusal.ProviderUnknown)
		wantRefused(t, b.open("/.sso/saml/metadata/corp/x"), refusal.ProviderUnknown)
		l.idp.failBegin(errors.New("no key yet"))
		wantRefused(t, b.open("/.sso/saml/metadata"), refusal.ProviderUnavailable)
	})
	t.Run("C5 per provider", func(t *testing.T) {
		t.Parallel()
		s, one, two := newLab(t).mixed(t)
		b := s.browser()
		wantRefused(t, b.open("/.sso/saml/metadata"), refusal.NotFound)
		for _, idp := range []*fakeIDP{one, two} {
			w := b.open("/.sso/saml/metadata/" + idp.issuer[8:11])
			if got, want := w.Body.String(), "metadata of "+idp.issuer+" "+acsURL+" "+entityID; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		wantRefused(t, b.open("/.sso/saml/metadata/corp"), refusal.NotFound)
	})
	t.Run("never from an unmatched Host", func(t *testing.T) {
		t.Parallel()
		l := newSAMLLab(t)
		b := l.site().browser()
		for _, host := range []string{"evil.example", "app.example.evil.example", "app.example@evil.example", ""} {
			wantRefused(t, b.open("/.sso/saml/metadata", "Host", host), refusal.UnknownHost)
			r := b.formRequest(acs, response("alice", strings.Repeat("A", 43)).Encode())
			r.Host = host
			wantRefused(t, b.serve(r, false), refusal.UnknownHost)
		}
		b.plain = true
		wantRefused(t, b.open("/.sso/saml/metadata"), refusal.InsecureHTTP)
		wantRefused(t, b.postForm(acs, response("alice", strings.Repeat("A", 43))), refusal.InsecureHTTP)
	})
	t.Run("with a prefix and a base URL", func(t *testing.T) {
		t.Parallel()
		l := newSAMLLab(t)
		s := l.site(func(o *gateway.AppOptions) { o.Prefix, o.BaseURL = "/gate", "https://app.example:8443" })
		b := s.browser()
		want := "metadata of https://id.example https://app.example:8443/gate/saml/acs https://app.example:8443/gate/saml/metadata"
		if got := b.open("/gate/saml/metadata").Body.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		answer := b.begin("/")
		wantRefused(t, b.postForm("/gate"+acs, answer.form), refusal.NotFound)
		action, fields := formOf(t, b.postFromAfar("/gate/saml/acs", answer.form))
		wantRedirect(t, b.postForm(action, fields), "https://app.example:8443/")
	})
}

// A startingIDP is a Provider that has something to load.
type startingIDP struct {
	*fakeIDP
	start func(context.Context)
}

func (p startingIDP) Start(ctx context.Context) { p.start(ctx) }

func TestStartLoadsAllProvidersAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		var ended atomic.Int32
		starting := func(took time.Duration) provider.Provider {
			return startingIDP{newFakeIDP("https://id.example"), func(ctx context.Context) {
				if took < 0 { // it does not listen
					ctx, took = context.Background(), -took
				}
				select {
				case <-ctx.Done():
				case <-time.After(took):
					ended.Add(1)
				}
			}}
		}
		for name, tc := range map[string]struct {
			took  []time.Duration
			want  time.Duration
			ended int32
		}{
			"quick":      {[]time.Duration{time.Second, 2 * time.Second, 2 * time.Second}, 2 * time.Second, 3},
			"one hangs":  {[]time.Duration{time.Hour, time.Second}, 5 * time.Second, 1},
			"none of it": {nil, 0, 0},
			"a deaf one": {[]time.Duration{-time.Hour, time.Second}, 5 * time.Second, 1},
		} {
			ended.Store(0)
			g := l.gateway(func(o *gateway.Options) {
				for i, took := range tc.took {
					o.Providers = append(o.Providers, gateway.NamedProvider{Name: fmt.Sprint("p", i), Provider: starting(took)})
				}
			})
			began := time.Now()
			g.Start(t.Context())
			if took := time.Since(began); took != tc.want || ended.Load() != tc.ended {
				t.Errorf("%s: after %v %d have loaded, want %v and %d", name, took, ended.Load(), tc.want, tc.ended)
			}
		}
		time.Sleep(time.Hour)
	})
}
