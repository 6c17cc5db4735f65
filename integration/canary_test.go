//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestCanarySecrets signs people in and out, refuses and fails, with access
// logs on and everything at debug level, and looks for every secret that was
// involved in all that was logged. The one exception is documented: Caddy's
// own reverse_proxy logs the request with the one-minute assertion at debug
// level.
func TestCanarySecrets(t *testing.T) {
	bothStores(t, worldOptions{stopped: true, block: "\t\tlogout provider"}, func(t *testing.T, w *world) {
		clientSecret, storeSecret := w.client.secret, w.secret
		literal := w.redis == nil // the client secret stands in the Caddyfile itself
		if !literal {
			secrets := filepath.Join(w.gw.dir, "client-secret")
			if err := os.WriteFile(secrets, []byte(clientSecret), 0o600); err != nil {
				t.Fatal(err)
			}
			w.client.secret, w.secret = "{file."+secrets+"}", "{env.STORE_SECRET}"
			w.configure()
			w.gw.env = append(w.gw.env, "STORE_SECRET="+storeSecret)
		}
		w.gw.start()
		canaries := map[string]string{"client secret": clientSecret, "store secret": storeSecret}
		keep := func(name, value string) {
			if len(value) >= 16 { // shorter ones are no secrets and may occur by chance
				canaries[name] = value
			}
		}

		c := newClient(t)
		form := c.navigate(w.base + "/start")
		for name, values := range query(t, c.hops[len(c.hops)-1]) {
			if name == "state" || name == "nonce" || name == "code_challenge" {
				keep(name, values[0])
			}
		}
		keep("state", query(t, c.hops[1]).Get("state"))
		for _, cookie := range c.cookies(w.base) {
			keep("cookie before the login "+cookie.Name, cookie.Value)
		}
		c.echoed(c.enter(form, "alice", "alice"))
		for _, hop := range c.hops {
			keep("code", query(t, hop).Get("code"))
			keep("session_state", query(t, hop).Get("session_state"))
		}
		for _, cookie := range c.cookies(w.base) {
			keep("cookie "+cookie.Name, cookie.Value)
		}
		// Everything else that is logged on a bad day.
		for _, path := range []string{"/x?state=1", "/.sso/session", "/.sso/nothing", "/.sso/oidc/callback?code=canary-code-in-a-bad-answer&state=canary-state-in-a-bad-answer"} {
			keep("code of a bad answer", "canary-code-in-a-bad-answer")
			keep("state of a bad answer", "canary-state-in-a-bad-answer")
			c.fetch(w.base + path)
		}
		stale := newClient(t)
		stale.http.Jar.SetCookies(stale.url(w.base), c.cookies(w.base))
		c.stopBefore(w.atIdP(), func() *page { return c.logOut(w.base) })
		stale.fetch(w.base + "/")
		again := newClient(t)
		form = again.navigate(w.base + "/")
		answer := again.stopBefore(w.base, func() *page { return again.enter(form, "bob", "bob") })
		keep("code that can't be redeemed", query(t, answer.header.Get("Location")).Get("code"))
		w.idp.down()
		if p := again.navigate(answer.header.Get("Location")); !unavailable(p) {
			t.Errorf("with the provider away between redirect and answer: %s", p)
		}
		w.gw.reload()
		w.idp.up()
		denied := newClient(t)
		denied.signIn(w.base+"/", "carol")
		for i, token := range w.idp.heard() {
			keep("token "+string(rune('a'+i)), token)
			if parts := strings.Split(token, "."); len(parts) == 3 {
				keep("payload of token "+string(rune('a'+i)), parts[1])
			}
		}
		w.gw.stop()

		log := w.gw.log.String()
		for _, proof := range []string{`"logger":"http.log.access"`, `"level":"debug"`, `"uri":"/start"`} {
			if !strings.Contains(log, proof) {
				t.Fatalf("the log has no %s: it proves nothing", proof)
			}
		}
		if len(canaries) < 15 {
			t.Fatalf("only %d secrets were collected: %v", len(canaries), canaries)
		}
		for line := range strings.Lines(log) {
			if literal && strings.Contains(line, `"msg":"adjusted config"`) {
				continue // Caddy's own, at debug level: the whole configuration
			}
			for name, value := range canaries {
				if strings.Contains(line, value) {
					t.Errorf("the %s is in the log: %.1500s", name, strings.ReplaceAll(line, value, "<<"+name+">>"))
				}
			}
			if jwt.MatchString(line) {
				t.Errorf("a token is in the log: %.1500s", line)
			}
		}
		for name, value := range canaries {
			if found := filesWith(t, w.gw.dir, value); len(found) > 0 && name != "client secret" {
				t.Errorf("the %s lies in %v", name, found)
			}
		}
	})
}

// jwt is what every signed or encrypted token looks like.
var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.`)

// TestNoIdentityInLogs has a logout cut a stream, which Caddy's proxy warns of with all
// that it sent to the app.
func TestNoIdentityInLogs(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, clusterOptions{bolt: "sessions.db"})
	c := cl.signIn(0)
	end := holdEvents(t, c, cl.base)
	c.endSession(cl.base)
	select {
	case <-end:
	case <-time.After(10 * time.Second):
		t.Fatal("the stream lives on")
	}
	log := cl.nodes[0].log.String
	eventually(t, "the proxy warns", recovery, func() bool { return strings.Contains(log(), "aborting with incomplete response") })
	for line := range strings.Lines(log()) {
		if jwt.MatchString(line) || strings.Contains(line, "alice@") {
			t.Errorf("the log shows who made a request: %.1500s", line)
		}
	}
	if !strings.Contains(log(), `"X-Sso-Assertion":["REDACTED"]`) {
		t.Error("the log has no header of ours: it proves nothing")
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
