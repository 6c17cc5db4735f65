package samlsp_test

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"testing"

	"github.com/crewjam/saml"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// BenchmarkResponse is what a sign-in costs: a real answer of Keycloak's, with a
// signature over the response and one over the assertion. Beside it stands
// crewjam/saml, which verifies one of the signatures. Its parts are measured in
// xmlsec.
func BenchmarkResponse(b *testing.B) {
	b.Run("complete", benchmarkComplete)
	doc := file(b, "keycloak-response.xml")
	b.Run("crewjam", func(b *testing.B) { benchmarkCrewjam(b, doc) })
}

func benchmarkComplete(b *testing.B) {
	about := keycloak(b)
	p, req := about.provider(samlsp.Default), about.request(about.doc)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Complete(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkCrewjam(b *testing.B, doc []byte) {
	about := keycloak(b)
	block, _ := pem.Decode(about.cert)
	acs := must(url.Parse(about.ACS))
	sp := &saml.ServiceProvider{
		EntityID: about.SP, AcsURL: *acs, MetadataURL: *must(url.Parse(about.SP)),
		IDPMetadata: &saml.EntityDescriptor{EntityID: about.IdP, IDPSSODescriptors: []saml.IDPSSODescriptor{{
			SSODescriptor: saml.SSODescriptor{RoleDescriptor: saml.RoleDescriptor{KeyDescriptors: []saml.KeyDescriptor{{
				Use: "signing",
				KeyInfo: saml.KeyInfo{X509Data: saml.X509Data{X509Certificates: []saml.X509Certificate{
					{Data: base64.StdEncoding.EncodeToString(block.Bytes)},
				}}},
			}}}},
		}}},
	}
	now := saml.TimeNow
	saml.TimeNow = about.now
	defer func() { saml.TimeNow = now }()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sp.ParseXMLResponse(bytes.Clone(doc), []string{about.Request}, *acs); err != nil {
			b.Fatal(err)
		}
	}
}
