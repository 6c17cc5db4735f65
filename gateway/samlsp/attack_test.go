package samlsp_test

import (
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// try judges a message at a new provider, without the named checks.
func (p *plan) try(t *testing.T, l login, evil bool, drop ...string) (*gateway.Answer, error) {
	t.Helper()
	play := p.control
	if evil {
		play = p.message
	}
	form, err := play(l)
	if err != nil {
		t.Fatal(err)
	}
	provider, err := samlsp.New(p.config, samlsp.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	samlsp.Drop(provider, drop...)
	return provider.Complete(t.Context(), gateway.CompleteRequest{
		Params: form, Private: samlsp.Flow(l.request, idpEntity, l.begun, p.forced), CallbackURL: acsURL, MetadataURL: spEntity,
	})
}

func newLogin() login { return login{request: requestID, begun: time.Now()} }
