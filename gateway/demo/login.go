package demo

import (
	"embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
)

//go:embed *.html
var files embed.FS

var templates = template.Must(template.ParseFS(files, "*.html"))

// openID returns the OpenID Provider, with the gateway's sites as its client.
func (d *Demo) openID(sites []*Site) (*oidcop.Provider, error) {
	keys, err := signing.NewEphemeral()
	if err != nil {
		return nil, err
	}
	client := oidcop.Client{ID: d.ClientID, Secret: d.ClientSecret}
	for _, s := range sites {
		client.RedirectURIs = append(client.RedirectURIs, s.Origin+"/.sso/oidc/callback")
	}
	return oidcop.New(oidcop.Options{
		Issuer: d.Issuer, Clients: []oidcop.Client{client}, Signer: keys,
		Login: func(w http.ResponseWriter, r *http.Request) *oidcop.Person {
			p := who(w, r, "OpenID Connect")
			if p == nil {
				return nil
			}
			return &oidcop.Person{
				Subject: p.Username, Username: p.Username, Name: p.Name, Email: p.Email, EmailVerified: true, Groups: p.Groups,
			}
		},
	})
}

// maxForm bounds what is posted to the login form in bytes.
const maxForm = 4 << 10

// who returns the person that the login form names, or answers with the form,
// which posts to the request's own address.
func who(w http.ResponseWriter, r *http.Request, protocol string) *Person {
	form := struct {
		Protocol, Username, Action string
		Unknown                    bool
		People                     []Person
	}{Protocol: protocol, Action: r.URL.RequestURI(), People: People}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		form.Username = strings.TrimSpace(r.PostFormValue("username"))
		if p := find(strings.ToLower(form.Username)); p != nil {
			return p
		}
		form.Unknown = true
	}
	render(w, http.StatusOK, "login.html", form)
	return nil
}

// render answers with a page that needs nothing but itself.
func render(w http.ResponseWriter, status int, name string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = templates.ExecuteTemplate(w, name, data) // a browser that went away is nobody's fault
}
