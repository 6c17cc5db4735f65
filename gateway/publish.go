package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"

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
	h := x.w.Header()
	h.Set("Content-Type", "application/jwk-set+json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("X-Content-Type-Options", "nosniff")
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(doc) // a client that went away is nobody's fault
	}
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
	p := x.app.provider(name)
	if p == nil {
		return x.refuse(x.app.noProvider(name))
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
	// The document contains the request's address with its port. Shared caches may ignore
	// the port.
	h.Set("Cache-Control", "private, max-age=300")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(doc) // a client that went away is nobody's fault
	}
	return nil
}
