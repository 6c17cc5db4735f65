package binding_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/binding"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func codeOf(refused *refusal.Error) refusal.Code {
	if refused == nil {
		return ""
	}
	return refused.Code
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		by           binding.Binding
		query, form  string
		state        string
		code         refusal.Code
		repost, came bool // an answer comes again, or has come again
	}{
		"a code":              {by: binding.Query{}, query: "code=c&state=s", state: "s"},
		"no state":            {by: binding.Query{}, query: "code=c"},
		"two states":          {by: binding.Query{}, query: "state=s&state=s"},
		"a bad escape":        {by: binding.Query{}, query: "state=%zz", code: refusal.BadRequest},
		"a response":          {by: binding.Post{}, form: "SAMLResponse=YQ%3D%3D&RelayState=s", state: "s", repost: true},
		"a response again":    {by: binding.Post{}, form: "SAMLResponse=YQ%3D%3D&RelayState=s&sso_repost=1", state: "s", came: true},
		"without RelayState":  {by: binding.Post{}, form: "SAMLResponse=YQ%3D%3D", repost: true},
		"no response":         {by: binding.Post{}, form: "RelayState=s", code: refusal.BadRequest},
		"an empty response":   {by: binding.Post{}, form: "SAMLResponse=&RelayState=s", code: refusal.SAMLMalformed},
		"a script":            {by: binding.Post{}, form: "SAMLResponse=%3Cscript%3E", code: refusal.SAMLMalformed},
		"a response by query": {by: binding.Post{}, query: "SAMLResponse=YQ", form: "x=y", code: refusal.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/callback?"+tt.query, strings.NewReader(tt.form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			in, refused := tt.by.Read(httptest.NewRecorder(), r)
			if codeOf(refused) != tt.code {
				t.Fatalf("refused with %v, want %q", refused, tt.code)
			}
			if refused == nil && (in.State != tt.state || in.Binding != tt.by || in.Repost.Has("sso_repost") != tt.repost || in.Reposted != tt.came) {
				t.Errorf("read %+v", in)
			}
		})
	}
}

// An address without an answer may be one that lost it on the way.
func TestNoState(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		by             binding.Binding
		method, target string
		registered     []string
		code           refusal.Code
		names          string // the address to register
	}{
		"the callback":         {binding.Query{}, "GET", "/callback/a", []string{"/callback/a", "/callback/b"}, refusal.AnswerLost, "is /callback/a"},
		"that of all":          {binding.Query{}, "HEAD", "/callback", []string{"/callback/a", "/callback/b"}, refusal.AnswerLost, "is /callback/a or /callback/b"},
		"another's":            {binding.Query{}, "GET", "/callback/c", []string{"/callback/a"}, refusal.ProviderUnknown, ""},
		"no OpenID Provider":   {binding.Query{}, "GET", "/callback", nil, refusal.ProviderUnknown, ""},
		"with parameters":      {binding.Query{}, "GET", "/callback/a?code=c", []string{"/callback/a"}, refusal.FlowUnknown, ""},
		"a form without state": {binding.Post{}, "POST", "/callback", nil, refusal.FlowUnknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(tt.method, tt.target, nil)
			refused := tt.by.NoState(r, r.URL.Path, tt.registered, []string{"/callback"})
			if codeOf(refused) != tt.code || !strings.HasSuffix(refused.Error(), tt.names) {
				t.Errorf("refused with %v", refused)
			}
		})
	}
}

func TestMisdirected(t *testing.T) {
	t.Parallel()
	for by, codes := range map[binding.Binding][2]refusal.Code{
		binding.Query{}: {refusal.OIDCIssuerMismatch, refusal.OIDCIssuerMismatch},
		binding.Post{}:  {refusal.SAMLIssuerMismatch, refusal.SAMLDestination},
	} {
		for i, of := range []provider.Protocol{provider.OIDC, provider.SAML} {
			if got := codeOf(by.Misdirected(of, "/a", "/b")); got != codes[i] {
				t.Errorf("%T, a login of %s: %q, want %q", by, of, got, codes[i])
			}
		}
	}
}
