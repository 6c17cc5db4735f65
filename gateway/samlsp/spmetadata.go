package samlsp

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// Metadata implements Publisher: an EntityDescriptor with our
// SPSSODescriptor (SAML Metadata 2.4.4). It has no SingleLogoutService, since
// logout messages are not spoken.
//
// The key always stands in it: some providers (Lasso, LemonLDAP::NG) refuse a
// service provider without one, and what was registered without it could not
// verify our requests later. As long as the provider's metadata can't be had
// (some make theirs when they were given ours), there is no promise to sign.
func (p *Provider) Metadata(ctx context.Context, req provider.MetadataRequest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	by, signed, err := p.registered(ctx)
	if err != nil {
		return nil, err
	}
	root := etree.NewElement("md:EntityDescriptor")
	root.CreateAttr("xmlns:md", nsMetadata)
	root.CreateAttr("entityID", p.spEntityID(req.MetadataURL))
	p.describe(root.CreateElement("md:SPSSODescriptor"), req.CallbackURL, by, signed)
	doc := etree.NewDocumentWithRoot(root)
	doc.Indent(2)
	written, err := doc.WriteToBytes()
	if err != nil {
		return nil, refusal.New(refusal.Internal, fmt.Errorf("writing our metadata: %w", err))
	}
	return written, nil
}

// registered returns our key, nil if there is none, and whether requests will be
// signed with it.
func (p *Provider) registered(ctx context.Context) (by *signer, signed bool, err error) {
	if by, err = p.ownKey(ctx); err != nil || by == nil {
		return nil, false, err
	}
	to := &idp{}
	if p.config.SignRequests == Default {
		if to, err = p.identityProvider(ctx); err != nil {
			return by, false, nil //nolint:nilerr // what is not known yet is not promised
		}
	}
	return by, p.signs(to), nil
}

// describe fills in the role, its children in the schema's order.
func (p *Provider) describe(role *etree.Element, callback string, by *signer, signed bool) {
	role.CreateAttr("AuthnRequestsSigned", strconv.FormatBool(signed))
	role.CreateAttr("WantAssertionsSigned", strconv.FormatBool(p.config.WantAssertionsSigned != Off))
	role.CreateAttr("protocolSupportEnumeration", nsProtocol)
	if by != nil {
		key := role.CreateElement("md:KeyDescriptor")
		key.CreateAttr("use", "signing")
		info := key.CreateElement("ds:KeyInfo")
		info.CreateAttr("xmlns:ds", xmlsec.DSig)
		info.CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").
			SetText(base64.StdEncoding.EncodeToString(by.certificate))
	}
	if p.config.NameIDFormat != "" {
		role.CreateElement("md:NameIDFormat").SetText(p.config.NameIDFormat)
	}
	service := role.CreateElement("md:AssertionConsumerService")
	service.CreateAttr("Binding", uriPOST)
	service.CreateAttr("Location", callback)
	service.CreateAttr("index", "0")
	service.CreateAttr("isDefault", "true")
}
