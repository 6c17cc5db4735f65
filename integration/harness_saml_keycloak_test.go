//go:build integration

package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// samlPath is where every Keycloak realm answers SAML.
const samlPath = "/realms/" + realmName + "/protocol/saml"

// samlClient registers a service provider at Keycloak by hand: its entity ID
// and exactly its assertion consumer. Response and assertion are signed with
// RSA-SHA256, unless attributes say otherwise; mappers, if given, replace the
// usual ones.
func (k *keycloak) samlClient(t *testing.T, entityID, acs string, attributes map[string]string, mappers ...map[string]any) {
	t.Helper()
	all := map[string]string{
		"saml.server.signature": "true", "saml.assertion.signature": "true", "saml.signature.algorithm": "RSA_SHA256",
		"saml_signature_canonicalization_method": "http://www.w3.org/2001/10/xml-exc-c14n#",
		"saml.client.signature":                  "false", "saml.authnstatement": "true", "saml.force.post.binding": "true", "saml.encrypt": "false",
		"saml_name_id_format": "username", "saml_force_name_id_format": "true", "saml.assertion.lifespan": "300",
		"saml_assertion_consumer_url_post": acs,
	}
	for name, value := range attributes {
		all[name] = value
	}
	if mappers == nil {
		mappers = samlMappers()
	}
	rep := map[string]any{
		"clientId": entityID, "protocol": "saml", "redirectUris": []string{acs}, "frontchannelLogout": true, "fullScopeAllowed": true,
		"attributes": all, "defaultClientScopes": []string{}, "optionalClientScopes": []string{}, "protocolMappers": mappers,
	}
	if err := k.call(http.MethodPost, "/admin/realms/"+realmName+"/clients", rep, nil); err != nil {
		t.Fatal(err)
	}
}

// samlImport registers a service provider as Keycloak's console does with
// metadata that are uploaded: Keycloak itself makes the registration of them.
// Only what no metadata say is added: the attributes.
func (k *keycloak) samlImport(t *testing.T, metadata []byte) map[string]any {
	t.Helper()
	var rep map[string]any
	if err := k.callRaw(http.MethodPost, "/admin/realms/"+realmName+"/client-description-converter", "application/xml", metadata, &rep); err != nil {
		t.Fatal(err)
	}
	imported := map[string]any{}
	for name, value := range rep {
		imported[name] = value
	}
	rep["protocolMappers"] = samlMappers()
	if err := k.call(http.MethodPost, "/admin/realms/"+realmName+"/clients", rep, nil); err != nil {
		t.Fatal(err)
	}
	return imported
}

// samlMappers are the attributes that a client sends unless told otherwise.
func samlMappers() []map[string]any {
	return []map[string]any{
		samlGroups("groups", true),
		samlProperty("email", "email"), samlProperty("username", "uid"),
		samlProperty("firstName", "givenName"), samlProperty("lastName", "sn"),
	}
}

// samlGroups sends the groups' names: as the values of one attribute, or as
// many attributes of one name.
func samlGroups(name string, single bool) map[string]any {
	return samlMapper(name, "saml-group-membership-mapper", map[string]string{
		"attribute.name": name, "friendly.name": name, "attribute.nameformat": "Basic", "single": fmt.Sprint(single), "full.path": "false",
	})
}

// samlProperty sends a property of the user.
func samlProperty(property, name string) map[string]any {
	format := "Basic"
	if strings.Contains(name, ":") {
		format = "URI Reference"
	}
	return samlMapper(name, "saml-user-property-mapper", map[string]string{
		"user.attribute": property, "attribute.name": name, "friendly.name": property, "attribute.nameformat": format,
	})
}

func samlMapper(name, mapper string, config map[string]string) map[string]any {
	return map[string]any{"name": name, "protocol": "saml", "protocolMapper": mapper, "config": config}
}

// encryptionCertificate is a certificate as Keycloak's client settings take it.
func encryptionCertificate() string {
	cert, _ := selfSigned("encryption")
	return base64.StdEncoding.EncodeToString(cert)
}
