package caddymodule

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

const issuerRule = "expected a URL such as https://id.example.com/realms/corp, without user, query and fragment"

// mayBeIssuer reports whether s is an issuer. A text with a placeholder is checked
// when that is resolved. Messages don't repeat a text that is no issuer: if arguments
// are swapped, it can be the secret.
func mayBeIssuer(s string) bool {
	if strings.Contains(s, "{") {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// microsoftHosts are those of Entra, in every cloud.
var microsoftHosts = []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.chinacloudapi.cn", "login.windows.net", "sts.windows.net"}

// microsoftIssuers have, for hosts of Entra that no issuer of version 2 names, the one
// that it does.
var microsoftIssuers = map[string]string{"sts.windows.net": "login.microsoftonline.com", "login.windows.net": "login.microsoftonline.com", "login.chinacloudapi.cn": "login.partner.microsoftonline.cn"}

// personalTenant is the tenant of all personal accounts.
const personalTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

var tenantID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// issuerFault says why an issuer of Microsoft's can't be what its discovery
// document and its ID tokens name: they name the tenant by its ID, whatever was asked
// for. It returns nil for any other. A text with a placeholder is checked when that is
// resolved.
func issuerFault(issuer string) error {
	if start, _, found := strings.Cut(issuer, "/.well-known/"); found {
		return wording.Errorf("this is the address of the discovery document, which is made of the issuer: write %s, with a slash at the end if the document's issuer has one", wording.Option{Word: "issuer", Args: start})
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return nil //nolint:nilerr // another check refuses it
	}
	if !slices.Contains(microsoftHosts, strings.ToLower(u.Hostname())) || strings.Contains(issuer, "{") {
		return nil
	}
	tenant, rest, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	host := strings.ToLower(u.Hostname())
	fault := func(text, id, more string) error {
		return wording.Errorf("%s: write %s%s", text, wording.Option{Word: "issuer", Args: "https://" + cmp.Or(microsoftIssuers[host], u.Host) + "/" + id + "/v2.0"}, more)
	}
	const byID = ", with the Directory (tenant) ID of your organization in Entra"
	switch {
	case strings.EqualFold(tenant, "consumers"):
		return fault("the ID tokens for personal Microsoft accounts name the tenant of these", personalTenant, "")
	case strings.EqualFold(tenant, "common") || strings.EqualFold(tenant, "organizations"):
		return fault("'"+tenant+"' is no tenant: people of any organization could sign in, and each ID token names the tenant of its own", "<tenant ID>", byID)
	case tenant == "" || strings.Contains(tenant, ".") && !strings.Contains(rest, "/"):
		return fault("Microsoft's ID tokens name the tenant by its ID", "<tenant ID>", byID)
	case tenantID.MatchString(tenant) && rest == "" && host != "sts.windows.net":
		return fault("the discovery document of version 1 names another issuer", tenant, "")
	case tenantID.MatchString(tenant) && rest == "v2.0" && microsoftIssuers[host] != "":
		return fault("the discovery document of version 2 names another issuer", tenant, "")
	}
	return nil
}
