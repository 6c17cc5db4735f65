//go:build integration

package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// goOIDC is go-oidc with golang.org/x/oauth2. Both have nothing for private_key_jwt,
// introspection, revocation and the end of a session.
type goOIDC struct {
	ctx      context.Context
	setup    openIDSetup
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	oauth    oauth2.Config
	flows    map[string]goOIDCFlow // by state
}

type goOIDCFlow struct{ nonce, verifier string }

var errNoSuchCall = errors.New("the library has no such call")

func newGoOIDC(t *testing.T, caFile string) openIDLibrary {
	t.Helper()
	roots, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(tr.CloseIdleConnections)
	return &goOIDC{
		ctx:   oidc.ClientContext(t.Context(), &http.Client{Transport: tr, Timeout: 30 * time.Second}),
		flows: map[string]goOIDCFlow{},
	}
}

func (g *goOIDC) call(name string, args, result any) error {
	calls := map[string]func(in map[string]any) (any, error){
		"configure": g.configure, "begin": g.begin, "finish": g.finish, "userinfo": g.userinfo, "refresh": g.refresh, "logout_token": g.logoutToken,
	}
	f, ok := calls[name]
	if !ok {
		return errNoSuchCall
	}
	var in map[string]any
	if err := convert(args, &in); err != nil {
		return err
	}
	out, err := f(in)
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return &openIDError{refused.ErrorCode, err.Error()}
	}
	if err != nil {
		return &openIDError{"go-oidc", err.Error()}
	}
	return convert(out, result)
}

// convert makes of a value that JSON knows another one.
func convert(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

func (g *goOIDC) configure(in map[string]any) (any, error) {
	var err error
	g.setup = openIDSetup{}
	if err = convert(in, &g.setup); err != nil {
		return nil, err
	}
	if g.provider, err = oidc.NewProvider(g.ctx, g.setup.Issuer); err != nil {
		return nil, err
	}
	g.verifier = g.provider.Verifier(&oidc.Config{ClientID: g.setup.ClientID, SupportedSigningAlgs: []string{g.setup.Alg}})
	g.oauth = oauth2.Config{
		ClientID: g.setup.ClientID, ClientSecret: g.setup.Secret, Endpoint: g.provider.Endpoint(), RedirectURL: g.setup.RedirectURI,
		Scopes: []string{g.setup.Scope},
	}
	g.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	if g.setup.Method == "client_secret_basic" {
		g.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	var metadata map[string]any
	err = g.provider.Claims(&metadata)
	return metadata, err
}

func (g *goOIDC) begin(in map[string]any) (any, error) {
	state, flow := randomHex(16), goOIDCFlow{nonce: randomHex(16), verifier: oauth2.GenerateVerifier()}
	g.flows[state] = flow
	options := []oauth2.AuthCodeOption{oidc.Nonce(flow.nonce), oauth2.S256ChallengeOption(flow.verifier)}
	params, _ := in["params"].(map[string]any)
	for name, value := range params {
		options = append(options, oauth2.SetAuthURLParam(name, value.(string)))
	}
	return map[string]any{"url": g.oauth.AuthCodeURL(state, options...), "state": state}, nil
}

func (g *goOIDC) finish(in map[string]any) (any, error) {
	var answer openIDAnswer
	if err := convert(in, &answer); err != nil {
		return nil, err
	}
	at, err := url.Parse(answer.URL)
	if err != nil {
		return nil, err
	}
	params := at.Query()
	if answer.Form != "" {
		if params, err = url.ParseQuery(answer.Form); err != nil {
			return nil, err
		}
	}
	flow := g.flows[answer.State]
	switch { // the library leaves these to its caller
	case params.Has("error"):
		return nil, &oauth2.RetrieveError{Response: &http.Response{}, ErrorCode: params.Get("error"), ErrorDescription: params.Get("error_description")}
	case params.Get("iss") != g.setup.Issuer:
		return nil, errors.New("the answer's iss is another one's")
	case params.Get("state") != answer.State || flow.nonce == "":
		return nil, errors.New("the state is another one's")
	}
	if answer.Verifier != "" {
		flow.verifier = answer.Verifier
	}
	token, err := g.oauth.Exchange(g.ctx, params.Get("code"), oauth2.VerifierOption(flow.verifier))
	if err != nil {
		return nil, err
	}
	return g.tokens(token, flow.nonce)
}

// tokens verifies the ID token. Its nonce is "" after a refresh.
func (g *goOIDC) tokens(token *oauth2.Token, nonce string) (any, error) {
	out := openIDTokens{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken, TokenType: token.TokenType, ExpiresIn: float64(token.ExpiresIn)}
	out.Scope, _ = token.Extra("scope").(string)
	out.IDToken, _ = token.Extra("id_token").(string)
	if out.IDToken == "" && nonce == "" {
		return out, nil
	}
	id, err := g.verifier.Verify(g.ctx, out.IDToken)
	if err != nil {
		return nil, err
	}
	if nonce != "" && id.Nonce != nonce {
		return nil, errors.New("the nonce is another one's")
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		return nil, err
	}
	err = id.Claims(&out.Claims)
	return out, err
}

func (g *goOIDC) userinfo(in map[string]any) (any, error) {
	info, err := g.provider.UserInfo(g.ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: in["token"].(string)}))
	if err != nil {
		return nil, err
	}
	if info.Subject != in["sub"] {
		return nil, errors.New("userinfo is about somebody else")
	}
	var claims map[string]any
	err = info.Claims(&claims)
	return claims, err
}

func (g *goOIDC) refresh(in map[string]any) (any, error) {
	token, err := g.oauth.TokenSource(g.ctx, &oauth2.Token{RefreshToken: in["token"].(string)}).Token()
	if err != nil {
		return nil, err
	}
	return g.tokens(token, "")
}

func (g *goOIDC) logoutToken(in map[string]any) (any, error) {
	token, err := g.verifier.VerifyLogout(g.ctx, in["token"].(string))
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	err = token.Claims(&claims)
	return claims, err
}
