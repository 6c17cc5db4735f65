package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
)

// readerLab is a site with all that it ever stores in the store.
func readerLab(t *testing.T) (*gatewaytest.MemStore, *session.Node, *site) {
	t.Helper()
	st := newHeapStore()
	l := newLabOn(t, st)
	s := l.sessions
	keys := signing.New(s.Vault(), s.MayCreate, zap.NewNop())
	mustDo(t, keys.Load(t.Context()))
	l.idp = newFakeIDP("https://canary-issuer.example")
	l.idp.person("alice", provider.Identity{
		Username: "alice", Email: "canary-mail@corp.example", FirstName: "canary-first", LastName: "canary-last", DisplayName: "canary-name",
		Groups: []string{"canary-group", "admins"}, ACR: "canary-acr", AMR: []string{"canary-amr"},
	})
	l.idp.verify(func(_ provider.CompleteRequest, ans *provider.Answer) error {
		ans.Subject, ans.SessionID, ans.LogoutHint = "canary-subject", "canary-sid", "canary-hint"
		ans.ReplayID, ans.ReplayUntil = "canary-replay", time.Now().Add(time.Hour)
		return nil
	})
	mustDo(t, s.Vault().SaveLastGood(t.Context(), "canary-provider", []byte("canary-document")))
	return st.MemStore, s, l.siteOf(l.gateway(func(o *gateway.Options) { o.Providers[0].Name = "canary-label" }), appHost)
}

func TestAttackReaderOfTheStoreSeesNothing(t *testing.T) {
	t.Parallel()
	store, s, site := readerLab(t)
	b := site.browser()
	w := b.open("/canary-path?canary-query")
	wantStatus(t, w, http.StatusSeeOther)
	away, err := url.Parse(w.Header().Get("Location"))
	mustDo(t, err)
	state := away.Query().Get("state")
	during := store.Dump()
	b.bring(site.idp.answer(t, w, "alice"))
	cookie, browser := b.cookie("__Host-sso"), b.cookie("__Host-sso-b")
	f, err := s.Find(t.Context(), cookie, appHost)
	mustDo(t, err)
	mustDo(t, s.BlockAccount(t.Context(), f.Login().Account))
	mustDo(t, s.RevokeLogin(t.Context(), f.ID()))
	dump := append(during, store.Dump()...)

	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	mustDo(t, err)
	secrets := map[string]string{
		"state": state, "cookie": cookie, "its bits": string(raw[:32]), "its MAC": string(raw[32:]), "browser cookie": browser,
		"the secret": labSecret, "anything": "canary", "an e-mail": "@corp.example", "a group": "admins", "a key": `"kty"`, "JSON": `{"`,
	}
	for _, value := range []string{"subject", "sid", "hint", "replay", "mail", "group", "acr", "amr", "first", "issuer", "label", "path", "query", "document", "provider"} {
		secrets["a "+value] = "canary-" + value
	}
	for what, secret := range secrets {
		if len(secret) < 2 {
			t.Fatalf("there is no %s", what)
		}
		for form, text := range map[string]string{
			"as it is": secret, "in hex": hex.EncodeToString([]byte(secret)), "in base64": base64.RawStdEncoding.EncodeToString([]byte(secret)), "in base64url": base64.RawURLEncoding.EncodeToString([]byte(secret)),
		} {
			if len(secret) >= 6 && bytes.Contains(dump, []byte(text)) {
				t.Errorf("the store shows %s, %s", what, form)
			}
		}
	}
	// The control, and the one exception: user names stand in the indexes.
	if n := bytes.Count(dump, []byte("alice")); n == 0 {
		t.Error("the dump has no user name: does it dump?")
	}
	for line := range bytes.Lines(dump) {
		if bytes.Contains(line, []byte("alice")) && !bytes.HasPrefix(line, []byte("alice\x00")) {
			t.Errorf("a user name stands in %q", line)
		}
	}
	for _, kind := range []string{"login:", "flow:", "account:", "epoch:", "replay:", "names:", "lastgood:", "keys:"} {
		if !bytes.Contains(dump, []byte(kind)) {
			t.Errorf("no record of the kind %s was there to be read", kind)
		}
	}
}

func TestAttackReaderOfTheStoreCanNotSignIn(t *testing.T) {
	t.Parallel()
	store, s, site := readerLab(t)
	b := site.browser()
	w := b.open("/")
	waiting := site.browser()
	waiting.open("/") // a login under way
	b.bring(site.idp.answer(t, w, "alice"))
	_, err := s.Find(t.Context(), b.cookie("__Host-sso"), appHost)
	mustDo(t, err)
	var texts []string
	for _, key := range store.Keys() {
		_, hash, _ := strings.Cut(key, ":")
		values, err := store.Get(t.Context(), key)
		mustDo(t, err)
		sealed := base64.RawURLEncoding.EncodeToString(values[0])
		texts = append(texts, key, hash, sealed, sealed[:min(43, len(sealed))], sealed[:min(86, len(sealed))])
	}
	if len(texts) < 40 {
		t.Fatalf("%d texts to try", len(texts))
	}
	_, completed := site.idp.counts()
	for _, one := range texts {
		for _, other := range append(texts, "") {
			if f, err := s.Find(t.Context(), one+other, appHost); err == nil {
				t.Fatalf("%q opens a session of %v", one+other, f.Login().Account)
			}
		}
		thief := site.browser()
		target := "/.sso/oidc/callback?" + url.Values{"code": {"alice"}, "state": {one}}.Encode()
		wantRefused(t, thief.open(target, "Cookie", "__Host-sso-b="+one), refusal.FlowUnknown)
	}
	if _, now := site.idp.counts(); now != completed {
		t.Errorf("%d answers were verified", now-completed)
	}
}

// An attacker puts a used state back. It is no way in for another browser than the one
// that began the login, and the assertion's replay mark is a record of its own.
func TestAttackWriterOfTheStorePutsBackAFlow(t *testing.T) {
	t.Parallel()
	store, _, site := readerLab(t)
	b := site.browser()
	callback := b.begin("/")
	flows := map[string][]byte{}
	for _, key := range store.Keys() {
		if strings.HasPrefix(key, "flow:") {
			values, err := store.Get(t.Context(), key)
			mustDo(t, err)
			flows[key] = values[0]
		}
	}
	if len(flows) != 1 {
		t.Fatalf("%d flows", len(flows))
	}
	b.bring(callback)
	for key, value := range flows {
		mustDo(t, store.Put(t.Context(), key, value, time.Hour))
	}
	thief := site.browser()
	if thief.bring(callback); thief.cookie("__Host-sso") != "" {
		t.Error("another browser is signed in")
	}
	again := site.browser()
	w := again.open(callback.target, "Cookie", "__Host-sso-b="+b.cookie("__Host-sso-b"))
	wantRefused(t, w, refusal.AnswerReplayed)
}
