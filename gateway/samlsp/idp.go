package samlsp

import (
	"crypto"
	"fmt"
	"net/url"
	"time"
)

// An idp is what we know of the identity provider. It is never changed.
type idp struct {
	entityID             string
	ssoRedirect, ssoPost string             // empty: not offered
	keys                 []crypto.PublicKey // that verify its signatures; at least one
	wantSigned           bool               // WantAuthnRequestsSigned
	validUntil           time.Time          // zero: no end
}

// usable says whether the time of the metadata is not over (SAML Metadata
// 2.3.2, validUntil).
func (i *idp) usable(now time.Time) error {
	if i.validUntil.IsZero() || now.Before(i.validUntil) {
		return nil
	}
	return fmt.Errorf("using the metadata: they were valid until %s; have the provider publish new ones, or give its new file",
		i.validUntil.UTC().Format(time.RFC3339))
}

// location returns where the request is sent to, and by which binding.
func (i *idp) location(want Binding) (string, Binding, error) {
	switch {
	case want != BindingPOST && i.ssoRedirect != "":
		return i.ssoRedirect, BindingRedirect, nil
	case want != BindingRedirect && i.ssoPost != "":
		return i.ssoPost, BindingPOST, nil
	}
	return "", "", fmt.Errorf("making the request: the metadata have no SingleSignOnService for the binding %s; leave request_binding out", want)
}

// serves reports whether rawURL is at the host of the single sign-on service.
func (i *idp) serves(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	for _, location := range []string{i.ssoRedirect, i.ssoPost} {
		if sso, err := url.Parse(location); err == nil && sso.Host == u.Host {
			return true
		}
	}
	return false
}
