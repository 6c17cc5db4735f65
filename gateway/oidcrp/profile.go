package oidcrp

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// Bounds on what a provider may say about a person.
const (
	maxGroups  = 10000
	maxGroup   = 512  // bytes of one group
	maxName    = 1024 // bytes of a user name or another name
	maxMethods = 32   // entries of amr
)

// A profile is what one source, the ID token or userinfo, says about a person.
// checklist.profile judge it.
type profile struct {
	object
	username, groups string // the names of these claims
}

var profileKinds = []member{
	{"email", aString},
	{"given_name", aString},
	{"family_name", aString},
	{"name", aString},
}

func (p *Provider) profile(claims object) (*profile, error) {
	f := &profile{claims, p.config.UsernameClaim, p.config.GroupsClaim}
	if err := p.checks.profile.Run(f); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *profile) text(name string) string {
	v, _ := f.find(name)
	s, _ := v.(string)
	return s
}

func (f *profile) hasGroups() bool {
	_, ok := f.find(f.groups)
	return ok
}

// complete reports whether userinfo has nothing to add.
func (f *profile) complete() bool {
	return f.text(f.username) != "" && f.str("email") != "" && f.hasGroups()
}

func profileTypes(f *profile) error {
	if err := f.checkKinds(profileKinds); err != nil {
		return err
	}
	if v, ok := f.find(f.username); ok && aString.wrong(v) {
		return fmt.Errorf("reading %s: is not %s", quoted(f.username), aString)
	}
	if v, ok := f.find(f.groups); ok && someText.wrong(v) {
		return fmt.Errorf("reading %s: is not %s", quoted(f.groups), someText)
	}
	return nil
}

// profileEmail takes an address only if it can't be read as two, or as another.
// An empty one counts as absent.
func profileEmail(f *profile) error {
	if email := f.str("email"); email != "" && !provider.ValidEmail(email) {
		return errors.New("reading email: is no e-mail address")
	}
	return nil
}

func profileNames(f *profile) error {
	for _, name := range []string{f.username, "given_name", "family_name", "name"} {
		if len(f.text(name)) > maxName {
			return fmt.Errorf("reading %s: longer than %d bytes", quoted(name), maxName)
		}
	}
	return nil
}

func profileGroups(f *profile) error {
	v, _ := f.find(f.groups)
	groups := asStrings(v)
	if len(groups) > maxGroups {
		return fmt.Errorf("reading %s: more than %d groups", quoted(f.groups), maxGroups)
	}
	for _, g := range groups {
		if g == "" || len(g) > maxGroup {
			return fmt.Errorf("reading %s: a group is empty or longer than %d bytes", quoted(f.groups), maxGroup)
		}
	}
	return nil
}

// list returns the groups without duplicates, in the provider's order.
func (f *profile) list() []string {
	v, _ := f.find(f.groups)
	groups := asStrings(v)
	seen := make(map[string]struct{}, len(groups))
	return slices.DeleteFunc(groups, func(g string) bool {
		_, twice := seen[g]
		seen[g] = struct{}{}
		return twice
	})
}
