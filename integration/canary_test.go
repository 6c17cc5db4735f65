//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestCanarySecrets signs people in and out, refuses and fails, with access
// logs on and everything at debug level, and looks for every secret that was
// involved in all that was logged and stored.
func TestCanarySecrets(t *testing.T) {
	bothStores(t, worldOptions{oneByOne: true, stopped: true, block: "\t\tlogout provider"}, func(t *testing.T, w *world) {
		clientSecret, storeSecret := w.client.secret, w.secret
		if w.redis != nil { // with bolt, the client secret stands in the Caddyfile itself
			secrets := filepath.Join(w.gw.dir, "client-secret")
			if err := os.WriteFile(secrets, []byte(clientSecret), 0o600); err != nil {
				t.Fatal(err)
			}
			w.client.secret, w.secret = "{file."+secrets+"}", "{env.STORE_SECRET}"
			w.configure()
			w.gw.env = append(w.gw.env, "STORE_SECRET="+storeSecret)
		}
		w.gw.start()
		all := canaries{"client secret": clientSecret, "store secret": storeSecret}

		c := newClient(t)
		form := c.navigate(w.base + "/start")
		for name, values := range query(t, c.hops[len(c.hops)-1]) {
			if name == "state" || name == "nonce" || name == "code_challenge" {
				all.keep(name, values[0])
			}
		}
		all.keep("state", query(t, c.hops[1]).Get("state"))
		for _, cookie := range c.cookies(w.base) {
			all.keep("cookie before the login "+cookie.Name, cookie.Value)
		}
		c.echoed(c.enter(form, "alice", "alice"))
		for _, hop := range c.hops {
			all.keep("code", query(t, hop).Get("code"))
			all.keep("session_state", query(t, hop).Get("session_state"))
		}
		for _, cookie := range c.cookies(w.base) {
			all.keep("cookie "+cookie.Name, cookie.Value)
		}
		// Everything else that is logged on a bad day.
		for _, path := range []string{"/x?state=1", "/.sso/session", "/.sso/nothing", "/.sso/oidc/callback?code=canary-code-in-a-bad-answer&state=canary-state-in-a-bad-answer"} {
			all.keep("code of a bad answer", "canary-code-in-a-bad-answer")
			all.keep("state of a bad answer", "canary-state-in-a-bad-answer")
			c.fetch(w.base + path)
		}
		stale := newClient(t).with(w.base, c.cookies(w.base))
		c.stopBefore(w.atIdP(), func() *page { return c.logOut(w.base) })
		stale.fetch(w.base + "/")
		again := newClient(t)
		form = again.navigate(w.base + "/")
		answer := again.stopBefore(w.base, func() *page { return again.enter(form, "bob", "bob") })
		all.keep("code that can't be redeemed", query(t, answer.header.Get("Location")).Get("code"))
		w.idp.down()
		if p := again.navigate(answer.header.Get("Location")); !unavailable(p) {
			t.Errorf("with the provider away between redirect and answer: %s", p)
		}
		w.gw.reload()
		w.idp.up()
		denied := newClient(t)
		denied.signIn(w.base+"/", "carol")
		for i, token := range w.idp.heard() {
			all.keep("token "+string(rune('a'+i)), token)
			if parts := strings.Split(token, "."); len(parts) == 3 {
				all.keep("payload of token "+string(rune('a'+i)), parts[1])
			}
		}
		w.gw.stop()

		all.nowhere(t, w.gw, w.redis, 15, w.redis == nil, `"logger":"http.log.access"`, `"level":"debug"`, `"uri":"/start"`, `"X-Sso-Assertion":["REDACTED"]`)
	})
}

// canaries are secrets, by name.
type canaries map[string]string

func (c canaries) keep(name, value string) {
	if len(value) >= 16 { // shorter ones are no secrets and may occur by chance
		c[name] = value
	}
}

// neverLogged is what tokens, SAML documents, keys and addresses of people look like.
var neverLogged = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.|<saml|PHNhbWw|SignatureValue|PRIVATE KEY|alice@`)

// nowhere holds that no secret, of at least so many, is in the gateway's log, its files or
// Redis. literal ones stand in the Caddyfile, which Caddy logs at debug level. The log must
// have the proofs.
func (c canaries) nowhere(t *testing.T, g *gateway, redis *gatewaytest.Redis, atLeast int, literal bool, proofs ...string) {
	t.Helper()
	log := g.log.String()
	for _, proof := range proofs {
		if !strings.Contains(log, proof) {
			t.Errorf("the log has no %s: it proves little", proof)
		}
	}
	if len(c) < atLeast {
		t.Fatalf("only %d secrets were collected: %v", len(c), c)
	}
	for line := range strings.Lines(log) {
		if literal && strings.Contains(line, `"msg":"adjusted config"`) {
			continue
		}
		for name, value := range c {
			if strings.Contains(line, value) {
				t.Errorf("the %s is in the log: %.1500s", name, strings.ReplaceAll(line, value, "<<"+name+">>"))
			}
		}
		if found := neverLogged.FindString(line); found != "" {
			t.Errorf("%s is in the log: %.1500s", found, line)
		}
	}
	stored := ""
	if redis != nil {
		stored = dumpRedis(t, redis)
	}
	for name, value := range c {
		for _, file := range filesWith(t, g.dir, value) {
			if !slices.Contains([]string{"Caddyfile", "autosave.json", "client-secret"}, filepath.Base(file)) {
				t.Errorf("the %s lies in %s", name, file)
			}
		}
		if strings.Contains(stored, value) {
			t.Errorf("Redis holds the %s", name)
		}
	}
}

// filesWith returns the files below dir that contain text.
func filesWith(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
