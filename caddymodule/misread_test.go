package caddymodule_test

import (
	"strings"
	"testing"
)

// TestMisreadJSON warns of such rules in JSON, which can't say what was in quotes. A
// Caddyfile with quotes says so in its JSON.
func TestMisreadJSON(t *testing.T) {
	for name, tt := range map[string]struct {
		rule string // with its names in quotes
		want string // empty: there is no warning
	}{
		"a comma":                 {`role Admin "admins,ops"`, `write ` + "`" + `{"to": ["Admin"], "from": ["admins", "ops"]}`},
		"a comma and a blank":     {`role Admin "a,b" "Net Ops"`, `"from": ["a", "b", "Net Ops"]}`},
		"a template's comma":      {`template Admin "admins,ops"`, `"from": ["admins", "ops"]}`},
		"in a from block":         {"from id {\nrole Admin \"a,b\"\n}", `"from": ["a", "b"]}`},
		"a colon behind the role": {`role "Admin:" admins`, `{"to": ["Admin"], "from": ["admins"]}`},
		"a sign first":            {`role "=" Admin admins`, `{"to": ["Admin"], "from": ["admins"]}`},
		"a semicolon":             {`role Admin "admins;"`, `"from": ["admins"]}`},
		"an exception":            {`role Admin staff "!contractors"`, `{"to": ["Admin"], "from": ["staff"]}`},
		"an exception alone":      {`role Admin "!contractors"`, `"from": ["<group>…"]}`},
		"a comment":               {`role Admin admins "//" note`, `{"to": ["Admin"], "from": ["admins"]}`},
		"a directory's group":     {`role Admin "CN=Admins,OU=IT,DC=corp"`, ""},
		"names with signs":        {`role net:admin "urn:mace:x:admins" "/corp/admins" a=b c++`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, quoted := range []bool{true, false} {
				w := newWorld(t)
				config := string(mustAdapt(t, w.global("")+"http://a.localhost {\n\t"+w.provider()+"\n\t\tname id\n\t\t"+tt.rule+"\n\t}\n}\n"))
				want := ""
				if !quoted {
					config, want = strings.ReplaceAll(config, `,"quoted":true`, ""), tt.want
				}
				if err := validate(t, []byte(config)); err != nil {
					t.Fatal(err)
				}
				got := strings.ReplaceAll(lineWith(w.logs(), " in a rule, ")+lineWith(w.logs(), "no rule excludes"), `\"`, `"`)
				if (got == "") != (want == "") || !strings.Contains(got, want) {
					t.Errorf("quoted: %t, it warned of %q, want %q", quoted, got, want)
				}
			}
		})
	}
}
