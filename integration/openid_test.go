//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// A wiki signs people in by OpenID Connect, with go-oidc.
type wiki struct {
	*httptest.Server
	issuer string
	http   *http.Client
	tokens atomic.Pointer[oauth2.Token]
}

const wikiVerifier = "the-verifier-of-the-wiki-is-long-enough-to-be-one"

func newWiki(t *testing.T) *wiki {
	t.Helper()
	a := &wiki{http: &http.Client{Transport: transport(certificates(t))}}
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		_, config, _, err := a.client(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		http.Redirect(w, r, config.AuthCodeURL("state", oidc.Nonce("nonce"), oauth2.S256ChallengeOption(wikiVerifier)), http.StatusFound)
	})
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		claims, err := a.callback(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(claims)
	})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *wiki) client(ctx context.Context) (*oidc.Provider, *oauth2.Config, context.Context, error) {
	ctx = oidc.ClientContext(ctx, a.http)
	op, err := oidc.NewProvider(ctx, a.issuer)
	if err != nil {
		return nil, nil, nil, err
	}
	return op, &oauth2.Config{
		ClientID: "wiki", ClientSecret: "secret", Endpoint: op.Endpoint(), RedirectURL: a.URL + "/callback", Scopes: []string{oidc.ScopeOpenID, "profile"},
	}, ctx, nil
}

func (a *wiki) callback(r *http.Request) (claims map[string]any, err error) {
	op, config, ctx, err := a.client(r.Context())
	if err != nil {
		return nil, err
	}
	if r.FormValue("state") != "state" {
		return nil, fmt.Errorf("answered %v", r.Form)
	}
	token, err := config.Exchange(ctx, r.FormValue("code"), oauth2.VerifierOption(wikiVerifier))
	if err != nil {
		return nil, err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := op.Verifier(&oidc.Config{ClientID: "wiki"}).Verify(ctx, raw)
	if err != nil || id.Nonce != "nonce" {
		return nil, fmt.Errorf("the ID token is not good: %v", err)
	}
	a.tokens.Store(token)
	return a.userinfo(r.Context())
}

// userinfo asks who the last access token is for.
func (a *wiki) userinfo(ctx context.Context) (claims map[string]any, err error) {
	op, _, ctx, err := a.client(ctx)
	if err != nil {
		return nil, err
	}
	info, err := op.UserInfo(ctx, oauth2.StaticTokenSource(a.tokens.Load()))
	if err == nil {
		err = info.Claims(&claims)
	}
	return claims, err
}

// TestOpenIDProvider signs people of a SAML provider in to an app that speaks OpenID
// Connect, and ends their tokens with their logins.
func TestOpenIDProvider(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store string) {
		a := newWiki(t)
		w := newSAMLWorld(t, samlOptions{oneByOne: true, store: store}, samlSite{name: "op", block: fmt.Sprintf(`
		op {
			client wiki {
				secret secret
				redirect_uri %s/callback
				role editor viewers
				role reader *
			}
		}`, a.URL)})
		s := w.site("op")
		a.issuer = s.base + "/.sso/op"
		for user, want := range map[string]string{"bob": "[editor reader]", "carol": "[reader]"} {
			t.Run("E3 "+user, func(t *testing.T) {
				c := w.client(0)
				p := c.samlSignIn(a.URL+"/login", user)
				var claims map[string]any
				if err := json.Unmarshal([]byte(p.body), &claims); err != nil || claims["preferred_username"] != user || fmt.Sprint(claims["roles"]) != want {
					t.Fatalf("the app shows %s", p)
				}
				// A second sign-in takes no page.
				if p := c.navigate(a.URL + "/login"); p.status != http.StatusOK {
					t.Errorf("the second time the app shows %s", p)
				}
				if _, err := a.userinfo(t.Context()); err != nil {
					t.Errorf("control: %v", err)
				}
				c.logOut(s.base)
				if claims, err := a.userinfo(t.Context()); err == nil {
					t.Errorf("the access token outlives the login: %v", claims)
				}
			})
		}
	})
}
