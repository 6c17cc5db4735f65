package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// showSession tells people who they are to this app.
func (x *exchange) showSession() error {
	ses, err := x.session()
	if errors.Is(err, session.ErrNone) {
		return x.showLastRefusal(x.unauthenticated)
	}
	if err != nil {
		return x.refuse(session.Fault(err))
	}
	v := x.app.view(ses, x.issuer())
	if v.denied != nil {
		return x.refuse(v.denied)
	}
	p := v.principal
	if wantsHTML(x.r) {
		x.page(http.StatusOK, pages.Session{
			Chrome: x.chrome(), Username: p.Username, Email: p.Email, Name: p.Name, Provider: p.Provider,
			Roles: p.Roles, Groups: p.Groups, Template: p.Template,
			Since: ses.Login().Created, Expires: p.Expires, LogoutURL: x.app.opts.Prefix + "/logout",
		})
		return nil
	}
	return x.json(http.StatusOK, "application/json", map[string]any{
		"username": p.Username, "email": p.Email, "name": p.Name, "roles": nonNil(p.Roles), "groups": nonNil(p.Groups),
		"template": p.Template, "provider": p.Provider, "account": p.Account, "session": p.SessionID,
		"since": ses.Login().Created.UTC().Format(time.RFC3339), "expires": p.Expires.UTC().Format(time.RFC3339),
	})
}

// jwks publishes the keys that verify assertions.
func (x *exchange) jwks() error {
	doc, err := x.app.gw.opts.Signer.JWKS()
	if err != nil {
		return x.refuse(session.Fault(err))
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/jwk-set+json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("X-Content-Type-Options", "nosniff")
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(doc) // a client that went away is nobody's fault
	}
	return nil
}

// onlyMetadata says how we are to be registered at the only SAML provider.
func (x *exchange) onlyMetadata() error {
	all := x.app.speaking(provider.SAML)
	if len(all) > 1 {
		return x.refuse(refusal.New(refusal.NotFound, errors.New("this site has several SAML providers: ask for saml/metadata/<provider>")))
	}
	return x.metadata(all[0].Name)
}

// metadata says how we are to be registered at a provider.
func (x *exchange) metadata(name string) error {
	origin, refused := x.signInOrigin()
	if refused != nil {
		return x.refuse(refused)
	}
	p := x.app.provider(name)
	if p == nil {
		return x.refuse(refusal.New(refusal.ProviderUnknown, nil))
	}
	describing, ok := p.Provider.(provider.Publisher)
	if !ok {
		return x.refuse(refusal.New(refusal.NotFound, errors.New("the provider needs no metadata of ours")))
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), providerTimeout)
	defer cancel()
	doc, err := describing.Metadata(ctx, provider.MetadataRequest{CallbackURL: origin + x.app.callbackPath(p), MetadataURL: x.app.metadataURL(origin)})
	if err != nil {
		return x.refuse(refusal.From(err, refusal.ProviderUnavailable))
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/samlmetadata+xml") // SAML Metadata, Appendix A
	h.Set("Content-Disposition", `attachment; filename="`+p.Name+`.xml"`)
	// The document names the address that was asked for, port included. Shared
	// caches may ignore the port.
	h.Set("Cache-Control", "private, max-age=300")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(doc) // a client that went away is nobody's fault
	}
	return nil
}
