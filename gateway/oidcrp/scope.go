package oidcrp

import (
	"slices"
	"strings"
)

// The request goes by way of the browser, where the person can take a scope out. The
// token endpoint says what was granted (RFC 6749 §5.1).

// groupless are the scopes that bring no groups (OIDC Core §5.4, §11). profile is none
// of them: at some providers it does.
var groupless = []string{"openid", "email", "address", "phone", "offline_access"}

// grantedScopes reads what was granted: a text with blanks, commas or plus signs
// between, or a list of such texts. Nothing means that it is not said.
func grantedScopes(said any) []string {
	return strings.FieldsFunc(strings.Join(asStrings(said), " "), func(r rune) bool { return strings.ContainsRune(" \t\r\n,+", r) })
}

// ungranted returns a scope that could have brought groups and that the provider says
// it has not granted, empty for none.
func (p *Provider) ungranted(got *tokens) string {
	for _, asked := range p.config.Scopes {
		if !slices.Contains(groupless, asked) && !got.grant(asked) {
			return asked
		}
	}
	return ""
}

// emailUngranted reports whether the provider says that it has not granted email, which
// was asked for: email_verified is missing, too, then.
func (p *Provider) emailUngranted(got *tokens) bool {
	return slices.Contains(p.config.Scopes, "email") && !got.grant("email")
}

// grant reports whether a scope is granted, as far as the provider says. Some call it
// by an address: Google https://www.googleapis.com/auth/userinfo.profile, Entra ID
// https://graph.microsoft.com/User.Read.
func (t *tokens) grant(asked string) bool {
	asked = strings.ToLower(asked)
	return len(t.scopes) == 0 || slices.ContainsFunc(t.scopes, func(s string) bool {
		s = strings.ToLower(s)
		return s == asked || strings.HasSuffix(s, "."+asked) || strings.HasSuffix(s, "/"+asked)
	})
}
