package samlsp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	byURL := func() samlsp.Config { return samlsp.Config{MetadataURL: "https://idp.example.com/metadata"} }
	inline := func() samlsp.Config { return samlsp.Config{Metadata: []byte(goodEntity().xml())} }
	byHand := func() samlsp.Config {
		return samlsp.Config{EntityID: idpEntityID, SSOURL: idpRedirect, Certificates: []string{b64(idpCert())}}
	}
	for _, tt := range []struct {
		name   string
		base   func() samlsp.Config
		change func(*samlsp.Config)
		want   string // in the error; empty: accepted
	}{
		{"metadata by URL", byURL, nil, ""},
		{"metadata inline", inline, nil, ""},
		{"given by hand", byHand, nil, ""},
		{"nothing at all", func() samlsp.Config { return samlsp.Config{} }, nil, "checking metadata: is missing"},
		{"metadata twice", inline, func(c *samlsp.Config) { c.MetadataURL = "https://idp.example.com" }, "checking metadata: a document stands beside a URL"},
		{"metadata and sso_url", byURL, func(c *samlsp.Config) { c.SSOURL = idpRedirect }, "checking sso_url: the metadata say it"},
		{"metadata and certificate", byURL, func(c *samlsp.Config) { c.Certificates = []string{"x"} }, "checking certificate: the metadata hold it"},
		{"metadata and entity_id", byURL, func(c *samlsp.Config) { c.EntityID = idpEntityID }, ""},
		{"metadata by http", byURL, func(c *samlsp.Config) { c.MetadataURL = "http://idp.example.com" }, "checking metadata: the URL uses plain http beyond loopback"},
		{"metadata by http with the option", byURL, func(c *samlsp.Config) { c.MetadataURL, c.InsecureHTTP = "http://idp.example.com", true }, ""},
		{"metadata by http on loopback", byURL, func(c *samlsp.Config) { c.MetadataURL = "http://127.0.0.1:8080/metadata" }, ""},
		{"metadata by a URL with a password", byURL, func(c *samlsp.Config) { c.MetadataURL = "https://u:hunter2@idp.example.com" }, "carries a user name or password"},
		{"metadata of a file", byURL, func(c *samlsp.Config) { c.MetadataURL = "file:///etc/passwd" }, "checking metadata: the URL"},
		{"metadata that are none", inline, func(c *samlsp.Config) { c.Metadata = []byte("x") }, "checking metadata: it is no XML"},
		{"metadata of another entity", inline, func(c *samlsp.Config) { c.EntityID = "urn:other" }, "correct entity_id"},
		{"no entity_id", byHand, func(c *samlsp.Config) { c.EntityID = "" }, "checking entity_id: is missing"},
		{"entity_id with a line break", byHand, func(c *samlsp.Config) { c.EntityID += "\n" }, "checking entity_id: must be"},
		{"entity_id too long", byHand, func(c *samlsp.Config) { c.EntityID = strings.Repeat("x", 1025) }, "1 to 1024"},
		{"no sso_url", byHand, func(c *samlsp.Config) { c.SSOURL = "" }, "checking sso_url: is missing"},
		{"sso_url by http", byHand, func(c *samlsp.Config) { c.SSOURL = "http://idp.example.com" }, "checking sso_url: uses plain http"},
		{"sso_url that is none", byHand, func(c *samlsp.Config) { c.SSOURL = "javascript:alert(1)" }, "checking sso_url: is no absolute URL"},
		{"no certificate", byHand, func(c *samlsp.Config) { c.Certificates = nil }, "checking certificate: is missing"},
		{"a bad certificate beside a good one", byHand, func(c *samlsp.Config) { c.Certificates = append(c.Certificates, "x!") }, "checking certificate: is neither PEM nor Base64"},
		{"sp_entity_id with blanks", byURL, func(c *samlsp.Config) { c.SPEntityID = " urn:sp " }, "checking sp_entity_id"},
		{"sp_entity_id", byURL, func(c *samlsp.Config) { c.SPEntityID = "urn:sp" }, ""},
		{"unknown binding", byURL, func(c *samlsp.Config) { c.RequestBinding = "artifact" }, `checking request_binding: "artifact" is none of redirect, post`},
		{"binding that the metadata lack", func() samlsp.Config {
			e := goodEntity()
			e.post = ""
			return samlsp.Config{Metadata: []byte(e.xml())}
		}, byPOST, "no SingleSignOnService for the binding post"},
		{"unknown position of sign_requests", byURL, func(c *samlsp.Config) { c.SignRequests = "yes" }, `checking sign_requests: "yes"`},
		{"unknown position of want_assertions_signed", byURL, func(c *samlsp.Config) { c.WantAssertionsSigned = "no" }, `checking want_assertions_signed: "no"`},
		{"name_id_format by its last part", byURL, func(c *samlsp.Config) { c.NameIDFormat = "emailAddress" }, ""},
		{"name_id_format by its URN", byURL, func(c *samlsp.Config) { c.NameIDFormat = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress" }, ""},
		{"name_id_format in another case", byURL, func(c *samlsp.Config) { c.NameIDFormat = "emailaddress" }, "checking name_id_format"},
		{"name_id_format in short", byURL, func(c *samlsp.Config) { c.NameIDFormat = "email" }, "did you mean emailAddress?"},
		{"name_id_format cut off", byURL, func(c *samlsp.Config) { c.NameIDFormat = "PERSIST" }, "did you mean persistent?"},
		{"name_id_format encrypted", byURL, func(c *samlsp.Config) { c.NameIDFormat = "urn:oasis:names:tc:SAML:2.0:nameid-format:encrypted" }, "can't be read here"},
		{"name_id_format persistent", byURL, func(c *samlsp.Config) { c.NameIDFormat = "persistent" }, "checking username_attribute: is missing"},
		{"name_id_format persistent with a user name", byURL, func(c *samlsp.Config) { c.NameIDFormat, c.UsernameAttribute = "persistent", "uid" }, ""},
		{"name_id_format transient", byURL, func(c *samlsp.Config) { c.NameIDFormat, c.UsernameAttribute = "transient", "uid" }, "checking id_attribute: is missing"},
		{"name_id_format transient with an id", byURL, func(c *samlsp.Config) { c.NameIDFormat, c.UsernameAttribute, c.IDAttribute = "transient", "uid", "uid" }, ""},
		{"attribute with a control character", byURL, func(c *samlsp.Config) { c.GroupsAttribute = "a\tb" }, "checking groups_attribute"},
		{"attribute with a blank in it", byURL, func(c *samlsp.Config) { c.GroupsAttribute = "Member Of" }, ""},
		{"clock_skew below zero", byURL, func(c *samlsp.Config) { c.ClockSkew = -time.Second }, "checking clock_skew"},
		{"clock_skew of a day", byURL, func(c *samlsp.Config) { c.ClockSkew = 24 * time.Hour }, "checking clock_skew"},
		{"clock_skew of a second", byURL, func(c *samlsp.Config) { c.ClockSkew = time.Second }, ""},
		{"ca that is none", byURL, func(c *samlsp.Config) { c.RootCAs = []byte("x") }, "checking ca"},
		{"ca", byURL, func(c *samlsp.Config) { c.RootCAs = []byte(pemOf("CERTIFICATE", idpCert())) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := tt.base()
			if tt.change != nil {
				tt.change(&config)
			}
			p, err := samlsp.New(config, samlsp.Deps{Keys: spKeys{}})
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want != "":
				wantText(t, err, tt.want)
			case p.Protocol() != provider.SAML:
				t.Errorf("the protocol is %s", p.Protocol())
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
	t.Run("every fault at once", func(t *testing.T) {
		t.Parallel()
		_, err := samlsp.New(samlsp.Config{
			SSOURL: "x", SPEntityID: "\n", RequestBinding: "x", SignRequests: "x", NameIDFormat: "transient", WantAssertionsSigned: "x",
			EmailAttribute: "\n", ClockSkew: -1, RootCAs: []byte("x"),
		}, samlsp.Deps{})
		for _, option := range []string{
			"entity_id", "sso_url", "certificate", "sp_entity_id", "request_binding", "sign_requests", "id_attribute",
			"username_attribute", "email_attribute", "want_assertions_signed", "clock_skew", "ca",
		} {
			wantText(t, err, "checking "+option+": ")
		}
	})
}
