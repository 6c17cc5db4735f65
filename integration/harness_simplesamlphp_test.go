//go:build integration

package integration

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A simpleSAMLphp is Debian's SimpleSAMLphp as an identity provider under PHP's
// own web server, with keys of its own, for all tests. It knows the people of
// the lab and one more, legion, who has two thousand groups.
type simpleSAMLphp struct {
	dir  string
	port int
	log  *syncBuffer
	proc *process
}

// legion is in legionGroups groups, viewers among them.
const (
	legion       = "legion"
	legionGroups = 2000
)

func theSimpleSAMLphp(t *testing.T) *simpleSAMLphp {
	t.Helper()
	s, err := sharedSimpleSAMLphp()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var sharedSimpleSAMLphp = sync.OnceValues(func() (*simpleSAMLphp, error) {
	s := &simpleSAMLphp{dir: filepath.Join(scratch, "simplesamlphp"), port: gatewaytest.FreePort(), log: &syncBuffer{}}
	if err := s.makeHome(); err != nil {
		return nil, fmt.Errorf("making SimpleSAMLphp's home: %w", err)
	}
	whenAllIsDone(func() {
		if s.proc != nil {
			_ = s.proc.end(5 * time.Second)
		}
	})
	return s, s.start()
})

// makeHome writes what SimpleSAMLphp reads. Its PHP files are constant; what
// differs lies beside them as JSON.
func (s *simpleSAMLphp) makeHome() error {
	for _, dir := range []string{"config", "metadata", "cert", "log", "data", "tmp", "sessions", "sps"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
			return err
		}
	}
	der, key := selfSigned("SimpleSAMLphp of the tests")
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	users, err := json.Marshal(s.users())
	if err != nil {
		return err
	}
	settings, err := json.Marshal(map[string]string{"base": s.base() + "/", "salt": randomHex(16)})
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"cert/idp.key":                   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		"cert/idp.crt":                   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"users.json":                     users,
		"settings.json":                  settings,
		"config/config.php":              simpleSAMLphpConfig,
		"config/authsources.php":         simpleSAMLphpUsers,
		"metadata/saml20-idp-hosted.php": simpleSAMLphpIdP,
		"metadata/saml20-sp-remote.php":  simpleSAMLphpSPs,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

var (
	//go:embed idp/simplesamlphp/config.php
	simpleSAMLphpConfig []byte
	//go:embed idp/simplesamlphp/authsources.php
	simpleSAMLphpUsers []byte
	//go:embed idp/simplesamlphp/saml20-idp-hosted.php
	simpleSAMLphpIdP []byte
	//go:embed idp/simplesamlphp/saml20-sp-remote.php
	simpleSAMLphpSPs []byte
)

// users are the attributes of everybody who is not disabled, by
// "name:password".
func (s *simpleSAMLphp) users() map[string]map[string][]string {
	all := map[string]map[string][]string{}
	add := func(p person) {
		a := map[string][]string{
			"uid": {p.name}, "mail": {p.name + "@example.test"}, "displayName": {p.first + " " + p.last}, "givenName": {p.first}, "sn": {p.last},
		}
		for _, path := range p.groups {
			a["memberOf"] = append(a["memberOf"], path[strings.LastIndex(path, "/")+1:])
		}
		all[p.name+":"+p.name] = a
	}
	for _, p := range people {
		if !p.disabled {
			add(p)
		}
	}
	many := person{name: legion, first: "Legion", last: "Many"}
	for i := range legionGroups - 1 {
		many.groups = append(many.groups, fmt.Sprintf("/department-%04d <team & friends>", i))
	}
	many.groups = append(many.groups, "/viewers")
	add(many)
	return all
}

func (s *simpleSAMLphp) start() error {
	cmd := exec.Command("php",
		"-d", "session.save_path="+filepath.Join(s.dir, "sessions"), "-d", "memory_limit=128M",
		"-d", "opcache.enable=1", "-d", "opcache.enable_cli=1", "-d", "display_errors=0", "-d", "error_log=",
		"-S", fmt.Sprintf("127.0.0.1:%d", s.port), "-t", "/usr/share/simplesamlphp/www")
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "SIMPLESAMLPHP_CONFIG_DIR="+filepath.Join(s.dir, "config"))
	cmd.Stdout, cmd.Stderr = s.log, s.log
	var err error
	if s.proc, err = start(cmd); err != nil {
		return err
	}
	return awaitReady(s.proc, s.log, s.metadataURL(), 4*time.Minute)
}

func (s *simpleSAMLphp) base() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

// metadataURL is where its metadata are, and its entity ID.
func (s *simpleSAMLphp) metadataURL() string { return s.base() + "/saml2/idp/metadata.php" }

// register makes a service provider known by its metadata. options are those
// of SimpleSAMLphp's saml20-sp-remote, over what the metadata say.
func (s *simpleSAMLphp) register(t *testing.T, metadata string, options map[string]any) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"metadata": metadata, "options": options})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.dir, "sps", randomHex(8))
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name+".json"); err != nil {
		t.Fatal(err)
	}
}

// selfSigned makes a key and a certificate for it, in DER, by itself.
func selfSigned(name string) ([]byte, *rsa.PrivateKey) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // Go's source of randomness never fails
	}
	cert := template(name)
	return issue(cert, cert, key, key), key
}

// spMetadata is the least that a service provider's metadata say. Tests that
// are not about our own metadata register by it, before the gateway runs.
func spMetadata(entityID, acs string) string {
	return fmt.Sprintf(`<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="%s">
  <md:SPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
    <md:AssertionConsumerService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="%s" index="0"/>
  </md:SPSSODescriptor>
</md:EntityDescriptor>`, entityID, acs)
}
