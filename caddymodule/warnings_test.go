package caddymodule_test

import (
	"strings"
	"testing"
)

// TestPublicClient warns of a client without a secret, unless that is said to be
// meant: it may have got lost.
func TestPublicClient(t *testing.T) {
	for name, tt := range map[string]struct {
		arguments string
		warns     bool
	}{
		"with a secret":     {"app secret {", false},
		"a secret lost":     {"app {", true},
		"public by purpose": {"app {\n\t\ttoken_auth none", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mustLoad(w.global("") + "http://a.localhost:PORT {\n\tsso oidc https://id.example.com " + tt.arguments + "\n\t\trole User *\n\t}\n}\n")
			if warned := strings.Contains(w.logs(), "there is no client_secret"); warned != tt.warns {
				t.Errorf("warned: %t", warned)
			}
		})
	}
}

// TestProtectOnePath warns of a path that is protected without what is below it.
func TestProtectOnePath(t *testing.T) {
	for name, tt := range map[string]struct {
		paths string
		warns bool
	}{
		"all below":      {"/admin/*", false},
		"one path":       {"/admin", true},
		"with its slash": {"/admin/", true},
		"the front page": {"/", true},
		"both":           {"/admin /admin/*", false},
		"everything":     {"/ /*", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mustLoad(w.global("") + "http://a.localhost:PORT {\n\tPROVIDER\n\t\trole User *\n\t\tprotect " + tt.paths + "\n\t}\n}\n")
			if warned := strings.Contains(w.logs(), "what is below it is open"); warned != tt.warns {
				t.Errorf("warned: %t", warned)
			}
		})
	}
}

// TestWarnings warns of what is permitted, and hardly meant.
func TestWarnings(t *testing.T) {
	const idle, signs = "`idle` has no effect", "signs say nothing in a rule"
	for name, tt := range map[string]struct {
		global, site string
		want         string // in the line of the log; empty: there is none
		no           string // what is not there
	}{
		"idle as long as the lifetime":          {global: "lifetime 1h\n\t\tidle 1h", site: "role User *", want: idle},
		"idle longer than by default":           {global: "idle 12h", site: "role User *", want: idle},
		"idle longer than at one site":          {global: "idle 2h", site: "role User *\n\t\tlifetime 1h", want: idle},
		"idle shorter than at one site":         {global: "idle 2h", site: "role User *\n\t\tlifetime 3h", no: idle},
		"idle longer than at one provider only": {global: "idle 2h\n\t\tprovider corp oidc {\n\t\t\tissuer https://id.example.com\n\t\t\tclient_id a\n\t\t\ttoken_auth none\n\t\t\tlifetime 1h\n\t\t}", site: "role User *", no: idle},
		"idle shorter than at a provider":       {global: "idle 12h\n\t\tprovider corp oidc {\n\t\t\tissuer https://id.example.com\n\t\t\tclient_id a\n\t\t\ttoken_auth none\n\t\t\tlifetime 1d\n\t\t}", site: "role User *", no: idle},
		"idle":                                  {global: "idle 1h", site: "role User *", no: idle},
		"a suffix without a sign":               {site: "role User *\n\t\tusers suffix partner", want: "write `users suffix @partner`"},
		"a prefix without a sign":               {site: "role User *\n\t\tusers prefix partner", want: "write `users prefix partner-`"},
		"a suffix":                              {site: "role User *\n\t\tusers suffix .partner", no: "name space"},
		"a prefix":                              {site: "role User *\n\t\tusers prefix partner/", no: "name space"},
		"a group with a comma, in quotes":       {site: `role Admin "admins,ops"`, no: signs},
		"signs in quotes":                       {site: `role "Admin:" "!staff" "ops;"`, no: signs},
		"a directory's group":                   {site: "role Admin CN=Admins,OU=IT,DC=corp", no: signs},
		"a group with a blank":                  {site: `role Admin "Ops, Night"`, no: signs},
		"a comma at the edge, in quotes":        {site: `role Admin "admins,"`, no: signs},
		"commas at both edges, in quotes":       {site: `role Admin ",admins,"`, no: signs},
		"an equals sign":                        {site: "role Admin = admins ops", want: "write `role Admin admins ops`"},
		"an arrow":                              {site: "role Admin -> admins", want: "write `role Admin admins`"},
		"another arrow":                         {site: "role Admin => admins", want: "write `role Admin admins`"},
		"an arrow in one letter":                {site: "role Admin → admins", want: "write `role Admin admins`"},
		"a group of a picture":                  {site: "role Admin 🦊", no: signs},
		"a colon of its own":                    {site: "group Admin : admins", want: "write `group Admin admins`"},
		"a sign between groups":                 {site: "role Admin admins | ops", want: "write `role Admin admins ops`"},
		"a semicolon of its own":                {site: "role Admin admins ;", want: "write `role Admin admins`"},
		"a group with a blank, and a sign":      {site: `role Admin = "Net Ops"`, want: "write `role Admin \\\"Net Ops\\\"`"},
		"signs in names":                        {site: `role net:admin urn:mace:x:admins /corp/admins realm//admins DOMAIN\Net-Ops a=b c++ a!b`, no: signs},
		"a regular expression":                  {site: "role Admin ^admin.*$", want: "never as regular expressions"},
		"one between slashes":                   {site: "role Admin /admins/", want: "never as regular expressions"},
		"one without case":                      {site: "role Admin (?i)admins", want: "never as regular expressions"},
		"alternatives":                          {site: "role Admin admins|ops", want: "never as regular expressions"},
		"one in a template line":                {site: "template Admin ^admins$", want: "never as regular expressions"},
		"no regular expressions":                {site: `role Admin /corp/admins (staff) a.b DOMAIN\Net^Ops net$ops "Ops (night)" |`, no: "regular expressions"},
		"a template in no header":               {site: "template Admin admins", want: "no header has the template"},
		"a template in a header":                {site: "template Admin admins\n\t\theaders template X-Webauth-Role", no: "no header has the template"},
		"everybody":                             {site: "role Admin *", no: signs},
		"names in other letters":                {site: "role Прод отдел-продаж 管理者", no: signs},
		"groups":                                {site: "role Admin,Root admins ops", no: signs},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.mustLoad(w.global(tt.global) + "http://a.localhost:PORT {\n\tPROVIDER\n\t\t" + tt.site + "\n\t}\n}\n")
			if got := w.logs(); strings.Count(got, tt.want) != 1 && tt.want != "" || tt.no != "" && strings.Contains(got, tt.no) {
				t.Errorf("it warned of %s%s", lineWith(got, idle), lineWith(got, signs))
			}
		})
	}
}
