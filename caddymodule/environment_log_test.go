package caddymodule_test

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestWarnedEnvironment has the sidecar's warnings name variables.
func TestWarnedEnvironment(t *testing.T) {
	environments(t, "warned", func(t *testing.T, environ []string, _ string) string {
		t.Helper()
		setAll(t, values(environ))
		sidecar, err := caddymodule.ReadSidecar(environ)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sidecar.Speak())
		config, said := withLog(t, string(sidecar.Config))
		if err := validate(t, config); err != nil {
			t.Fatal(err)
		}
		text := said("")
		wantNoOptions(t, text)
		return text + "\n"
	})
}

// setAll sets variables, because placeholders read them there.
func setAll(t *testing.T, environ []string) {
	t.Helper()
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

// wantNoOptions fails if a text has an option between backquotes as a Caddyfile writes it, though the
// option has a variable.
func wantNoOptions(t *testing.T, text string) {
	t.Helper()
	parts := strings.Split(text, "`")
	for i := 1; i < len(parts); i += 2 {
		word, _, _ := strings.Cut(parts[i], " ")
		for _, o := range caddymodule.OptionVariables() {
			if of, _, _ := strings.Cut(o.Usage, " "); of == word && o.Why == "" {
				t.Errorf("it names the option `%s` of %s, and not %s: %s", word, o.Of, o.Variable, text)
			}
		}
	}
}

// TestFixesOfVariables writes what the log says to do about each refusal in words of the sidecar.
func TestFixesOfVariables(t *testing.T) {
	t.Parallel()
	sidecar, err := caddymodule.ReadSidecar([]string{
		"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", "SSO_ROLE_MAPPING=*=User",
		"SSO_OIDC_CORP_ISSUER=https://id.example.com", "SSO_OIDC_CORP_CLIENT_ID=app", "SSO_OIDC_CORP_CLIENT_SECRET=secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, code := range refusal.Codes() {
		fix := code.Meaning().Fix
		got := sidecar.InVariables(fix)
		if strings.Contains(got, "role, template or group line") {
			t.Errorf("it names no variable: %s", got)
		}
		if wantNoOptions(t, got); got != fix {
			changed++
		}
	}
	if changed < 10 {
		t.Errorf("only %d texts name options", changed)
	}
	core, logged := observer.New(zap.InfoLevel)
	sidecar.InLog(core).Info("x", zap.String("provider", "corp"), zap.String("protected", "all paths except those of `public`"), zap.String("reason", "name the right claim by `groups_claim`"))
	if fields := logged.All()[0].ContextMap(); fields["protected"] != "all paths except those of SSO_PUBLIC" || fields["reason"] != "name the right claim by SSO_OIDC_CORP_GROUPS_CLAIM" {
		t.Errorf("the line has %v", fields)
	}
	for text, want := range map[string]string{
		"set `ca`, or `username_claim`":       "set SSO_OIDC_CORP_CA, or SSO_OIDC_CORP_USERNAME_CLAIM",
		"set `metadata`":                      "set SSO_<PROTOCOL>_<NAME>_METADATA",
		"write `token_auth none`":             "write `SSO_OIDC_CORP_TOKEN_AUTH=none`",
		"set `trusted_proxies` or `base_url`": "set SSO_TRUSTED_PROXIES or SSO_BASE_URL",
		"run `openssl rand`, and an odd ` `":  "run `openssl rand`, and an odd ` `",
		"`limit":                              "`limit",
		`there is no endpoint at "/.sso/` + "`ca`" + `": set ` + "`ca`": `there is no endpoint at "/.sso/` + "`ca`" + `": set SSO_OIDC_CORP_CA`,
		`user name "x\" ` + "`" + `": set ` + "`ca`":                    `user name "x\" ` + "`" + `": set SSO_OIDC_CORP_CA`,
	} {
		if got := sidecar.InVariables(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
