package gatewaytest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// OPCallback is the callback URL of OP.Login.
const OPCallback = "https://app.test/.sso/oidc/callback"

// Login performs a whole login through p, as gateway and browser do: Begin, the visit
// at the OP, Complete. Errors of Begin and Complete are returned unchanged.
func (op *OP) Login(ctx context.Context, p provider.Provider) (*provider.Answer, error) {
	return op.login(ctx, p, false)
}

// ForceLogin is Login with BeginRequest.ForceLogin.
func (op *OP) ForceLogin(ctx context.Context, p provider.Provider) (*provider.Answer, error) {
	return op.login(ctx, p, true)
}

func (op *OP) login(ctx context.Context, p provider.Provider, force bool) (*provider.Answer, error) {
	begun, err := p.Begin(ctx, provider.BeginRequest{State: rand.Text() + rand.Text(), CallbackURL: OPCallback, ForceLogin: force})
	if err != nil {
		return nil, err
	}
	params, err := op.Visit(begun.Location)
	if err != nil {
		return nil, fmt.Errorf("visiting the OP: %w", err)
	}
	return p.Complete(ctx, provider.CompleteRequest{Params: params, Private: begun.Private, CallbackURL: OPCallback})
}

// Transport reaches the OP without a network, whatever the URL's host.
func (op *OP) Transport() http.RoundTripper { return opTransport{op} }

type opTransport struct{ op *OP }

func (t opTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	done := make(chan *http.Response, 1)
	go func() {
		rec := httptest.NewRecorder()
		t.op.ServeHTTP(rec, r)
		done <- rec.Result()
	}()
	select {
	case resp := <-done:
		resp.Request = r
		return resp, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
