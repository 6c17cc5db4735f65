package caddymodule_test

import (
	"strings"
	"testing"
)

// TestHeaderFormatInJSON has mistakes that a Caddyfile can't have.
func TestHeaderFormatInJSON(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	config := string(mustAdapt(t, `app.example.com {
	sso oidc https://id.example.com app secret {
		role User *
		header_encoding utf8 name
		list_separator |
	}
	respond ok
}
`))
	for _, tc := range []struct{ old, new, want string }{
		{`"|"`, `";"`, ""},
		{`"|"`, `"--"`, `list_separator: can't be "--": expected one of , ; | :`},
		{`"name":"utf8"`, `"*":"latin1"`, ""},
		{`"name":"utf8"`, `"name":"utf16"`, `header_encoding: name can't be "utf16": expected percent, utf8 or latin1`},
		{`"name":"utf8"`, `"nick":"utf8"`, `header_encoding: there is no kind of header "nick"`},
		{`"name":"utf8"`, `"assertion":"utf8"`, `header_encoding: there is no kind of header "assertion"`},
	} {
		changed := strings.Replace(config, tc.old, tc.new, 1)
		if changed == config {
			t.Fatalf("the configuration has no %s", tc.old)
		}
		err := validate(t, []byte(changed))
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), "site app.example.com: "+tc.want) {
			t.Errorf("%s: %v, want %q", tc.new, err, tc.want)
		}
	}
}
