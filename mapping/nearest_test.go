package mapping_test

import (
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/mapping"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	set, err := mapping.Compile(mapping.Rules{
		Role:  []mapping.Line{{To: []string{"Admin"}, From: []string{"grafana-admins", "ops"}, Position: "Caddyfile:7"}, {To: []string{"V"}, From: []string{"*"}}},
		Group: []mapping.Line{{To: []string{"team"}, From: []string{"CN=Staff,OU=Groups", "/corp/readers", "Site \u00c5"}, Position: "Caddyfile:9"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]mapping.Near{
		"Grafana-Admins":           {From: "grafana-admins", Position: "Caddyfile:7"},
		"/grafana/grafana-admins":  {From: "grafana-admins", Position: "Caddyfile:7"},
		`CORP\grafana-admins`:      {From: "grafana-admins", Position: "Caddyfile:7"},
		"grafana_admin":            {From: "grafana-admins", Position: "Caddyfile:7"},
		" ops":                     {From: "ops", Position: "Caddyfile:7"},
		"staff":                    {From: "CN=Staff,OU=Groups", Position: "Caddyfile:9"},
		"readers":                  {From: "/corp/readers", Position: "Caddyfile:9"},
		"opt":                      {},
		"*":                        {},
		"":                         {},
		"something else":           {},
		strings.Repeat("r", 1<<20): {},
	} {
		got := set.Nearest([]string{"another", group})
		if got.Group, got.Rule = "", ""; got != want {
			t.Errorf("%.100q: got %v", group, got)
		}
	}
	if near := set.Nearest([]string{"staf", "Staff"}); near.String() != `"Staff" is not "CN=Staff,OU=Groups", which the line at Caddyfile:9 asks for (`+"`group team CN=Staff,OU=Groups /corp/readers \"Site \\u00c5\"`)" {
		t.Errorf("the nearest is %v", near)
	}
}
