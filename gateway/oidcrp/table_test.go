package oidcrp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

var update = flag.Bool("update", false, "write the table of docs/odd-values.md anew")

// An oddity is what a claim is replaced by.
type oddity struct {
	name  string
	value any
}

const oddText = "ODD"

// oddities are all that a claim is replaced by. The last two are about its name.
var oddities = []oddity{
	{"`null`", nil},
	{"empty text", ""},
	{"a number", 7},
	{"`true`", true},
	{"a list", []any{oddText, oddText + "2"}},
	{"an object", map[string]any{"x": oddText}},
	{"too long", strings.Repeat(oddText, 400)},
	{"line break", oddText + "\nx"},
	{"name in capitals", nil},
	{"twice", nil},
}

// odd puts an oddity into the ID token, or into the entry of a list in it.
func odd(claim, name string, o oddity) gatewaytest.OPHooks {
	h := gatewaytest.OPHooks{UserInfo: func(m map[string]any) { // which knows no more
		for member := range m {
			if member != "sub" {
				delete(m, member)
			}
		}
	}}
	switch {
	case o.name == "twice":
		h.Payload = func(p []byte) []byte {
			return bytes.Replace(p, []byte("{"), []byte(`{"`+claim+`":"`+oddText+`",`), 1)
		}
	case o.name == "name in capitals":
		h.Claims = func(m map[string]any) { m[strings.ToUpper(claim)] = m[claim]; delete(m, claim) }
	case strings.HasPrefix(name, "one of "):
		h.Claims = func(m map[string]any) { m[claim] = append([]any{o.value}, m[claim].([]any)...) }
	default:
		h.Claims = setIn(claim, o.value)
	}
	return h
}

// remembering is a provider that keeps its newest answer.
type remembering struct {
	*oidcrp.Provider
	force bool
	got   *provider.Answer
}

func (p *remembering) Begin(ctx context.Context, req provider.BeginRequest) (*provider.Begun, error) {
	req.ForceLogin = p.force
	return p.Provider.Begin(ctx, req)
}

func (p *remembering) Complete(ctx context.Context, req provider.CompleteRequest) (answer *provider.Answer, err error) {
	p.got, err = p.Provider.Complete(ctx, req)
	return p.got, err
}

// TestOddTable holds the table of docs/odd-values.md.
func TestOddTable(t *testing.T) {
	t.Parallel()
	var table gatewaytest.Table
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		byEmail := []func(*oidcrp.Config){func(c *oidcrp.Config) { c.UsernameClaim = "email" }}
		head := []string{"claim of the ID token"}
		for _, o := range oddities {
			head = append(head, o.name)
		}
		table.Row(head...)
		for _, row := range []struct {
			name   string
			claim  string // if it is not the name
			force  bool
			change []func(*oidcrp.Config)
		}{
			{name: "iss"},
			{name: "sub"},
			{name: "aud"},
			{name: "azp"},
			{name: "exp"},
			{name: "iat"},
			{name: "nbf"},
			{name: "nonce"},
			{name: "at_hash"},
			{name: "preferred_username"},
			{name: "groups"},
			{name: "one of `groups`", claim: "groups"},
			{name: "email, where `username_claim` is email", claim: "email", change: byEmail},
			{name: "email_verified, where `username_claim` is email", claim: "email_verified", change: byEmail},
			{name: "auth_time after a forced sign-in", claim: "auth_time", force: true},
			{name: "email"},
			{name: "email_verified"},
			{name: "name"},
			{name: "given_name"},
			{name: "family_name"},
			{name: "auth_time"},
			{name: "acr"},
			{name: "amr"},
			{name: "one of `amr`", claim: "amr"},
			{name: "sid"},
			{name: "any other", claim: "locale"},
		} {
			claim := row.claim
			if claim == "" {
				claim = row.name
			}
			cells := []string{row.name}
			var control *provider.Answer
			for _, o := range append([]oddity{{"control", nil}}, oddities...) {
				hooks := odd(claim, row.name, o)
				switch {
				case o.name == "control":
					hooks = gatewaytest.OPHooks{}
				case strings.HasPrefix(row.name, "one of ") && (o.name == "twice" || o.name == "name in capitals"),
					claim == "locale" && (o.name == "twice" || o.name == "name in capitals"):
					cells = append(cells, "")
					continue
				}
				s.corp.SetHooks(hooks)
				p := &remembering{Provider: newProvider(t, s.corp, row.change...), force: row.force}
				got := s.signInBy(p)
				if o.name == "control" {
					if control = p.got; got.code != "" || !got.signedIn {
						t.Fatalf("%s: the control does not sign in: %v", row.name, got.err)
					}
				} else {
					cells = append(cells, cell(t, got, p.got, control))
				}
				time.Sleep(2 * time.Minute) // there is a limit for each client
			}
			table.Row(cells...)
		}
	})
	gatewaytest.Section(t, "../../docs/odd-values.md", "OpenID Connect", "\n"+table.String(), *update)
}

// signInBy signs in by p, which is new to the gateway, in a new browser.
func (s *scene) signInBy(p *remembering) outcome {
	s.t.Helper()
	s.load(gateway.NamedProvider{Name: "corp", Provider: p})
	v := s.visitor(hereHost)
	params, err := s.corp.Visit(v.ask("/.sso/login?provider=corp&return=/wanted").location)
	if err != nil {
		s.t.Fatal(err)
	}
	return v.ask(callback + "?" + params.Encode())
}

// cell says what came of an oddity.
func cell(t *testing.T, got outcome, answer, control *provider.Answer) string {
	t.Helper()
	if got.code != "" {
		return "`" + string(got.code) + "`"
	}
	if !got.signedIn {
		t.Errorf("neither refused nor signed in: %+v", got)
	}
	same, said := *answer, *control
	same.Identity.GroupsNote, said.Identity.GroupsNote = "", ""
	if after := same.Identity.AuthTime.Sub(said.Identity.AuthTime); !same.Identity.AuthTime.IsZero() && after < 2*time.Hour && after > -2*time.Hour {
		same.Identity.AuthTime = said.Identity.AuthTime
	}
	text, err := json.Marshal(same)
	switch {
	case err != nil:
		t.Fatal(err)
	case same.Identity.GroupsPartial:
		return "in part"
	case reflect.DeepEqual(same, said):
		return "no matter"
	case strings.Contains(string(text), oddText) || strings.Contains(string(text), "1970-01-01T00:00:07Z"):
		return "taken"
	}
	return "left out"
}
