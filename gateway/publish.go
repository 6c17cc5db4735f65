package gateway

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// jwks publishes the keys that verify assertions.
func (x *request) jwks() error {
	doc, err := x.app.gw.signer.JWKS()
	if err != nil {
		return x.refuse(session.Fault(err))
	}
	x.send(http.StatusOK, "application/jwk-set+json", "public, max-age=300", doc)
	return nil
}

func (x *request) onlyMetadata() error {
	all := x.app.speaking(provider.SAML)
	if len(all) > 1 {
		return x.refuse(refusal.New(refusal.NotFound, errors.New("this site has several SAML providers: ask for saml/metadata/<provider>")))
	}
	return x.metadata(all[0].Name)
}

// metadata serves our metadata for a provider.
func (x *request) metadata(name string) error {
	origin, refused := x.signInOrigin()
	if refused != nil {
		return x.refuse(refused)
	}
	p := x.app.policy.Provider(name)
	if p == nil {
		return x.refuse(x.app.policy.NoProvider(name))
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
	x.w.Header().Set("Content-Disposition", `attachment; filename="`+p.Name+`.xml"`)
	// The type is that of SAML Metadata, Appendix A. The document contains the request's
	// address with its port, and shared caches may ignore the port.
	x.send(http.StatusOK, "application/samlmetadata+xml", "private, max-age=300", doc)
	return nil
}
