package gateway_test

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// TestPartialGroups: a template line after the first depends on not being in the
// groups before it. It does not hold for a person whose groups are not all known.
func TestPartialGroups(t *testing.T) {
	t.Parallel()
	templates := mapping.Rules{Template: []mapping.Line{line("Guest", "guests"), line("Full", "staff")}}
	beside := templates
	beside.Role = []mapping.Line{line("User", "staff")}
	for name, tt := range map[string]struct {
		rules   mapping.Rules
		groups  []string
		partial bool
		refused bool
	}{
		"known in full":                {templates, []string{"staff"}, false, false},
		"known in part":                {templates, []string{"staff"}, true, true},
		"known in part, first line":    {templates, []string{"guests"}, true, false},
		"known in part, a role beside": {beside, []string{"staff"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.idp.person("alice", provider.Identity{Username: "alice", Groups: tt.groups, GroupsPartial: tt.partial, GroupsNote: "an entry was left out"})
			b := l.site(rules(tt.rules)).browser()
			if !tt.refused {
				b.signIn()
				wantStatus(t, b.open("/"), http.StatusOK)
				return
			}
			wantRefused(t, b.bring(b.begin("/")), refusal.AccessDenied)
			events := l.seen()
			if err := events[len(events)-1].Err; err == nil || !strings.Contains(err.Error(), "not all groups could be read") || !strings.Contains(err.Error(), "an entry was left out") {
				t.Errorf("the log says %v", err)
			}
		})
	}
}

// TestGroupsUnused tells a provider whether any app's rules read groups: a login
// may be used at any of them.
func TestGroupsUnused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		here, there mapping.Rules
		unused      bool
	}{
		"nowhere":           {mappingFor("*"), mappingFor("*"), true},
		"here":              {mappingFor("staff"), mappingFor("*"), false},
		"at another site":   {mappingFor("*"), mappingFor("staff"), false},
		"in a template":     {mappingFor("*"), mapping.Rules{Template: []mapping.Line{line("Full", "staff"), line("Some", "*")}}, false},
		"in a group's line": {mappingFor("*"), mapping.Rules{Group: []mapping.Line{line("ops", "staff")}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			var seen []bool
			l.idp.person("alice", provider.Identity{Username: "alice", Groups: []string{"staff"}})
			l.idp.verify(func(req provider.CompleteRequest, _ *provider.Answer) error {
				seen = append(seen, req.GroupsUnused)
				return nil
			})
			g := l.gateway()
			l.siteOf(g, "there.example", rules(tt.there), func(o *gateway.AppOptions) { o.ID = "there" })
			l.siteOf(g, "here.example", rules(tt.here)).browser().signIn()
			if len(seen) != 1 || seen[0] != tt.unused {
				t.Errorf("got %v, want %t", seen, tt.unused)
			}
		})
	}
}

// TestNoGroups warns once of a provider whose answers have no groups at all, if the rules of
// the site need them, whether or not another rule lets the person in.
func TestNoGroups(t *testing.T) {
	t.Parallel()
	both := mappingFor("*")
	both.Group = []mapping.Line{line("ops", "staff")}
	for name, tt := range map[string]struct {
		rules mapping.Rules
		why   string
		want  int
	}{
		"refused":                 {mappingFor("staff"), "no claim came", 1},
		"let in":                  {both, "no claim came", 1},
		"no rule needs them":      {mappingFor("*"), "no claim came", 0},
		"the person has no group": {mappingFor("staff"), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.idp.person("alice", provider.Identity{Username: "alice", NoGroups: tt.why})
			core, logs := observer.New(zap.WarnLevel)
			g := l.gateway(func(o *gateway.Options) { o.Logger = zap.New(core) })
			l.siteOf(g, "other.example", rules(mappingFor("*")), func(o *gateway.AppOptions) { o.ID = "other" }).browser().signIn() // its rules need none
			for _, host := range []string{"a.example", "b.example", "a.example"} {
				s := l.siteOf(g, host, rules(tt.rules), func(o *gateway.AppOptions) { o.ID = rand.Text() })
				b := s.browser()
				b.bring(b.begin("/"))
			}
			lines := logs.FilterMessageSnippet("names no groups of a person").All()
			if len(lines) != tt.want {
				t.Fatalf("%d warnings, want %d", len(lines), tt.want)
			}
			for _, line := range lines {
				if fields := line.ContextMap(); fields["provider"] != "corp" || fields["site"] != "a.example" || fields["reason"] != tt.why {
					t.Errorf("got %v", fields)
				}
			}
		})
	}
}
