package demo

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
)

// loginTTL is the lifetime of a login at the demo's provider.
const loginTTL = 8 * time.Hour

// openID returns the OpenID Provider. Its one client is the gateway, for all sites. It asks
// who is there at each sign-in, so a user name is all that a login is.
func (d *Demo) openID(sites []*Site) (http.Handler, error) {
	keys, err := signing.NewEphemeral()
	if err != nil {
		return nil, err
	}
	client := oidcop.Client{
		ID: d.ClientID, Secrets: []string{d.ClientSecret}, Algorithm: oidcop.ES256, Claims: map[string]string{"groups": "groups"},
	}
	for _, s := range sites {
		client.RedirectURIs = append(client.RedirectURIs, s.Origin+"/.sso/oidc/callback")
		client.PostLogoutURIs = append(client.PostLogoutURIs, s.Origin+"/.sso/logged-out")
	}
	op, err := oidcop.New(oidcop.Options{Clients: []oidcop.Client{client}, People: people{}})
	if err != nil {
		return nil, err
	}
	op.Bind(oidcop.Backing{Issuer: d.Issuer, Records: &memory{}, Signers: map[oidcop.Algorithm]oidcop.Signer{oidcop.ES256: keys}})
	mux := http.NewServeMux()
	for _, e := range op.Endpoints() {
		for _, method := range e.Methods {
			mux.HandleFunc(method+" "+e.Path, func(w http.ResponseWriter, r *http.Request) { _ = e.Serve(w, r, unlimited{}) })
		}
	}
	authorize := func(w http.ResponseWriter, r *http.Request) { serveAuthorization(w, r, op) }
	mux.HandleFunc("GET "+oidcop.AuthorizationPath, authorize)
	mux.HandleFunc("POST "+oidcop.AuthorizationPath, authorize)
	mux.HandleFunc("GET "+oidcop.LogoutPath, func(w http.ResponseWriter, r *http.Request) {
		l, err := op.Logout(r.Context(), r.URL.Query())
		if err != nil || l.ReturnTo() == "" {
			http.Error(w, "This provider keeps nobody signed in: it asks who you are each time.", http.StatusOK)
			return
		}
		redirect(w, l.ReturnTo())
	})
	return mux, nil
}

// serveAuthorization serves the authorization endpoint. The request is in the query, also if
// the form with the buttons is posted to it.
func serveAuthorization(w http.ResponseWriter, r *http.Request, op *oidcop.Provider) {
	a, err := op.Authorization(r.Context(), r.URL.Query())
	if err != nil {
		http.Error(w, "The client is not known here, or the redirect URI is none of its own.", refusal.CodeOf(err).Meaning().Status)
		return
	}
	answer := a.Refused()
	if answer == nil && a.Silent() {
		answer = a.Refuse("login_required", "nobody is signed in without being asked")
	}
	if answer == nil {
		p := who(w, r, "OpenID Connect")
		if p == nil {
			return
		}
		if answer, err = a.Grant(r.Context(), p.Username); err != nil {
			answer = a.Refuse("temporarily_unavailable", "")
		}
	}
	if answer.Form != nil {
		http.Error(w, "The demo's provider answers by response_mode=query alone.", http.StatusBadRequest)
		return
	}
	redirect(w, answer.Location)
}

func redirect(w http.ResponseWriter, location string) {
	h := w.Header()
	h.Set("Location", location)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// people implements oidcop.People: a login is a user name.
type people struct{}

func (people) Person(_ context.Context, _, login string) (*oidcop.Person, error) {
	p := find(login)
	if p == nil {
		return nil, errors.New("there is no such person")
	}
	now := time.Now()
	return &oidcop.Person{
		Subject: p.Username, Username: p.Username, Name: p.Name, Email: p.Email, EmailVerified: true, Groups: p.Groups,
		AuthTime: now, Expires: now.Add(loginTTL),
	}, nil
}

// unlimited lets a client fail as often as it likes.
type unlimited struct{}

func (unlimited) Failing(context.Context, string) (time.Duration, error) { return 0, nil }
func (unlimited) Fail(context.Context, string)                           {}
