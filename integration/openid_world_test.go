//go:build integration

package integration

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/demo"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// The app of the libraries. Its pages are never loaded.
const (
	openIDOrigin   = "https://rp.test/"
	openIDCallback = openIDOrigin + "callback"
	openIDBye      = openIDOrigin + "bye"
	openIDKID      = "one"
)

// An openIDWorld is a gateway whose one site is an OpenID provider for apps. Its people sign
// in at the demo's provider.
type openIDWorld struct {
	gw              *gateway
	base            string // the site's origin
	es, rs          openIDKey
	logouts         *logoutReceiver
	apache, synapse int // ports
}

// openIDSecrets are those of the clients. The second has what forms and headers must encode.
var openIDSecrets = map[string]string{"basic": "s3cr3t-of-basic-0123456789", "post": "s3cr3t/+ %&:=of post", "apache": "s3cr3t-of-apache", "synapse": "s3cr3t-of-synapse"}

func newOpenIDWorld(t *testing.T) *openIDWorld {
	t.Helper()
	w := &openIDWorld{
		gw: newGateway(t), base: fmt.Sprintf("https://localhost:%d", gatewaytest.FreePort()), // the libraries find it without help
		es: newOpenIDKey(t, "ES256"), rs: newOpenIDKey(t, "RS256"), logouts: &logoutReceiver{tokens: map[string][]string{}},
		apache: gatewaytest.FreePort(), synapse: gatewaytest.FreePort(),
	}
	receiver := httptest.NewServer(w.logouts)
	t.Cleanup(receiver.Close)
	dir := t.TempDir()
	for name, key := range map[string]openIDKey{"es.json": w.es, "rs.json": w.rs} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(key.jwks), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	provider, err := demo.Start(t.Context(), []*demo.Site{{Origin: w.base, ID: "wiki"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Close(); err != nil {
			t.Error(err)
		}
	})
	p := certificates(t)
	w.gw.env = append(w.gw.env, "SSL_CERT_FILE="+p.caFile) // for Apache's logout tokens
	w.gw.write("", fmt.Sprintf("%s {\n\ttls %s %s\n\tsso oidc %s %s %s {%s\t}\n\trespond nothing\n}\n",
		w.base, p.localFile, p.keyFile, provider.Issuer, provider.ClientID, provider.ClientSecret, w.clients(receiver.URL, dir)))
	w.gw.start()
	return w
}

// clients are the lines of the apps. Logout tokens go to the receiver; keys are in dir.
func (w *openIDWorld) clients(receiver, dir string) string {
	return fmt.Sprintf(`
		op {
			client basic {
				secret %[1]s
				redirect_uri %[2]s
				post_logout %[3]s
				backchannel_logout %[4]s/basic
				refresh
				role admin  admins
				role viewer viewers
			}
			client post {
				secret %[5]q
				redirect_uri %[2]s
				algorithm ES256
				claim login user
				claim mail email
				role user *
			}
			client es256 {
				keys %[6]s/es.json
				redirect_uri %[2]s
				algorithm ES256
				userinfo_algorithm RS256
				refresh
				role user *
			}
			client rs256 {
				keys %[6]s/rs.json
				redirect_uri %[2]s
				userinfo_algorithm ES256
				role user *
			}
			client public {
				redirect_uri %[2]s
				pairwise
				role user *
			}
			client apache {
				secret %[7]s
				redirect_uri https://127.0.0.1:%[8]d/callback
				post_logout https://127.0.0.1:%[8]d/bye
				backchannel_logout https://127.0.0.1:%[8]d/callback?logout=backchannel
				userinfo_algorithm RS256
				role admin admins
			}
			client synapse {
				secret %[9]s
				redirect_uri http://127.0.0.1:%[10]d/_synapse/client/oidc/callback
				backchannel_logout http://127.0.0.1:%[10]d/_synapse/client/oidc/backchannel_logout
				role user *
			}
		}
`, openIDSecrets["basic"], openIDCallback, openIDBye, receiver, openIDSecrets["post"], dir,
		openIDSecrets["apache"], w.apache, openIDSecrets["synapse"], w.synapse)
}

func (w *openIDWorld) issuer() string { return w.base + "/.sso/op" }

// setup returns what an app knows of its registration.
func (w *openIDWorld) setup(client string) openIDSetup {
	s := openIDSetup{Issuer: w.issuer(), ClientID: client, Secret: openIDSecrets[client], RedirectURI: openIDCallback, Scope: "openid profile email", Alg: "RS256"}
	switch client {
	case "basic":
		s.Method = "client_secret_basic"
	case "post":
		s.Method, s.Alg = "client_secret_post", "ES256"
	case "es256":
		s.Method, s.Alg, s.UserinfoAlg, s.Key, s.KeyAlg, s.KID = "private_key_jwt", "ES256", "RS256", w.es.pem, "ES256", openIDKID
	case "rs256":
		s.Method, s.UserinfoAlg, s.Key, s.KeyAlg, s.KID = "private_key_jwt", "ES256", w.rs.pem, "RS256", openIDKID
	case "public":
		s.Method = "none"
	}
	return s
}

func (w *openIDWorld) browser(t *testing.T, user string) *openIDBrowser {
	t.Helper()
	return &openIDBrowser{client: newClient(t), user: user}
}
