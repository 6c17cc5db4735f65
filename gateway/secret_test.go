package gateway_test

import (
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// A node with another secret than the store's says so, with and without a session.
func TestWrongSecret(t *testing.T) {
	t.Parallel()
	st := newHeapStore()
	l := newLabOn(t, st)
	b := l.site().browser()
	b.signIn()
	node, err := session.Open(session.Options{
		Store: st, Secrets: [][]byte{gatewaytest.Secret("z")}, Marker: &gatewaytest.Marker{}, Logger: zap.NewNop(),
	})
	mustDo(t, err)
	other := &lab{t: t, store: st, sessions: node, idp: l.idp, signer: l.signer}
	site := other.siteOf(other.gateway(), appHost)
	wantRefused(t, site.browser().open("/", "Cookie", "__Host-sso="+b.cookie("__Host-sso")), refusal.StoreReplaced)
	wantRefused(t, site.browser().open("/"), refusal.StoreReplaced)
}
