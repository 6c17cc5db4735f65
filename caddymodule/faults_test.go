package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A signInFault is something that goes wrong at a sign-in.
type signInFault struct {
	name string
	// options and rules stand in the provider's block and in the site's.
	options, rules string
	op             gatewaytest.OPHooks
	idp            gatewaytest.IdPHooks
	// line is in the line of the log that is shown; by default the refusal's.
	line string
	// afresh loads the configuration anew before it, for what is fetched once.
	afresh bool
}

// TestSignInFaults compares the log line of each fault with testdata/faults.md. A line
// names the place, the cause and the fix.
func TestSignInFaults(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	var got bytes.Buffer
	got.WriteString("# What the log says of faults\n\nMade by `go test ./caddymodule -run TestSignInFaults -update`. Each refusal also has the field `fix`, which is in docs/errors.md.\n")
	t.Run("OpenID Connect", func(t *testing.T) {
		fmt.Fprintf(&got, "\n# OpenID Connect\n")
		for _, f := range w.faultsOfOIDC() {
			provider := fmt.Sprintf("provider corp oidc {\n\t\t\tissuer %s\n\t\t\tclient_id `%s`\n\t\t\tclient_secret {env.SSO_TEST_CLIENT_SECRET}\n\t\t\tca %s\n\t\t\tOPTIONS\n\t\t}\n\t\t", w.op.Issuer, w.op.ClientID, w.path("ca.pem"))
			w.showFault(t, &got, f, provider, func() { w.op.SetHooks(f.op) })
		}
	})
	t.Run("SAML", func(t *testing.T) {
		fmt.Fprintf(&got, "\n# SAML\n")
		for _, f := range faultsOfSAML(t) {
			w.showFault(t, &got, f, w.saml("corp", idp, "OPTIONS"), func() { idp.SetHooks(f.idp) })
		}
	})
	const file = "testdata/faults.md"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) && !t.Failed() {
		for line := range strings.Lines(got.String()) {
			if !bytes.Contains(want, []byte(line)) {
				t.Errorf("%s has no line %s", file, line)
			}
		}
		t.Errorf("%s is not what the log says now: make it with -update, and read the difference", file)
	}
}

// showFault signs in while a fault lasts, and writes down what the log says of it.
func (w *world) showFault(t *testing.T, got *bytes.Buffer, f signInFault, provider string, begin func()) {
	t.Helper()
	t.Run(f.name, func(t *testing.T) {
		begin()
		if word, _, _ := strings.Cut(f.options, " "); word != "" { // instead of the usual one
			provider = regexp.MustCompile(`(?m)^\s*`+word+` \S+$`).ReplaceAllString(provider, "")
		}
		rules := f.rules
		if rules == "" {
			rules = "role User *"
		}
		caddyfile := w.global("limit off\n\t\t"+strings.Replace(provider, "OPTIONS", f.options, 1)) +
			"ORIGIN {\n\tsso {\n\t\t" + rules + "\n\t}\n\trespond ok\n}\n"
		if f.afresh || caddyfile != w.loaded {
			w.loadIn(t, caddyfile)
			w.loaded = caddyfile
		}
		before := len(w.logs())
		b := newBrowser(t)
		status, _, _ := b.visit(w.origin()+"/.sso/login?provider=corp&return=%2F", nil)
		if status == http.StatusOK && f.line == "" {
			t.Fatal("the person was let in")
		}
		if f.line == "WebSocket" {
			f.line = ""
			r := mustRequest(t, w.origin()+"/ws")
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("Origin", "https://evil.example")
			b.do(r)
		}
		line := w.awaitLine(t, before, f.line)
		fmt.Fprintf(got, "\n## %s\n\n%s\n", f.name, w.readable(t, line))
	})
}

// awaitLine returns the last line of the log that has a text, or the last refusal.
func (w *world) awaitLine(t *testing.T, from int, what string) string {
	t.Helper()
	if what == "" {
		what = `"msg":"refused"`
	}
	for range 1500 { // half a minute: machines may be slow
		found := ""
		for line := range strings.Lines(w.logs()[from:]) {
			if strings.Contains(line, what) {
				found = line
			}
		}
		if found != "" {
			return found
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the log has no %s", what)
	return ""
}

// bareErrors are those of Go's libraries alone: none says what to do.
var bareErrors = regexp.MustCompile(`(?:^|: )(EOF|unexpected EOF|unexpected end of JSON input|invalid character .*|context deadline exceeded|(?:json|xml|asn1|strconv|x509|tls|base64|illegal base64)[:. ].*|connect: [a-z ]+|i/o timeout|no such host)$`)

// readable shows a line of the log without what differs from run to run. It fails if the
// line lacks the place, the cause or the remedy.
func (w *world) readable(t *testing.T, line string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Fatal(err)
	}
	text := func(name string) string {
		s, _ := fields[name].(string)
		return s
	}
	code, cause, fix := text("code"), text("error"), text("fix")
	switch {
	case text("provider") != "corp" && code != "foreign_origin":
		t.Errorf("the line does not name the provider: %s", line)
	case code != "" && (cause == "" || fix == ""):
		t.Errorf("the line lacks the cause or the remedy: %s", line)
	case bareErrors.MatchString(cause):
		t.Errorf("this is an error of a library alone: %s", cause)
	}
	shown := fmt.Sprintf("%s: `%s`", text("level"), text("msg"))
	if code != "" {
		shown = fmt.Sprintf("%s: `%s`", text("level"), code)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch name {
		case "level", "ts", "logger", "msg", "code", "error", "fix", "reference", "app", "client_ip", "issuer", "entity_id", "metadata":
			continue
		}
		value, err := json.Marshal(fields[name])
		if err != nil {
			t.Fatal(err)
		}
		shown += fmt.Sprintf(", %s %s", name, value)
	}
	if cause != "" {
		shown += "\n> " + cause
	}
	return w.steady(shown)
}

// steady replaces what differs from run to run.
func (w *world) steady(text string) string {
	u, err := url.Parse(w.op.Issuer)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range []struct{ pattern, by string }{
		{"(127.0.0.1|localhost):" + u.Port(), "op.test"},
		{fmt.Sprintf(`localhost:%d`, w.port), "app.test"},
		{`127\.0\.0\.1:\d+`, "idp.test"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, "<time>"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.by)
	}
	return text
}
