package oidcrp

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// maxMethods bounds the entries of amr.
const maxMethods = 32

// A profile is what one source, the ID token or userinfo, says about a person.
// The user name and the groups decide, and so checklist.profile checks them.
// The rest describes the person; whatever is odd about it is left out.
type profile struct {
	object
	username, groups string   // the names of these claims; empty: not asked for
	groupsUnused     bool     // no rule reads them
	trusted          bool     // as in person
	noted            []oddity // logged already, of another source

	email, first, last, display string
	acr, session                string
	amr                         []string
	authenticated               time.Time
	partial                     string // why the groups are not all; empty: they are
	odd                         []oddity
}

// An oddity is a claim that was left out, or entries of one.
type oddity struct{ claim, why string }

// idProfile checks what the ID token says.
func (p *Provider) idProfile(claims object, groupsUnused bool) (*profile, error) {
	return p.checked(&profile{object: claims, username: p.config.UsernameClaim, groups: p.config.GroupsClaim, groupsUnused: groupsUnused, trusted: p.config.TrustEmail})
}

// infoProfile checks the claims of userinfo that the ID token lacks. Faults of the
// others do no harm. E-mail and its verification are taken from one source.
func (p *Provider) infoProfile(claims object, id *profile) (*profile, error) {
	f := &profile{object: claims, username: id.username, groups: id.groups, groupsUnused: id.groupsUnused, trusted: id.trusted, noted: id.odd}
	if id.text(id.username) != "" {
		f.username = ""
	}
	if id.hasGroups() {
		f.groups = ""
	}
	if id.email != "" {
		delete(claims, "email")
		delete(claims, "email_verified")
	}
	return p.checked(f)
}

// checked checks what one source says, and logs what is left out of it.
func (p *Provider) checked(f *profile) (*profile, error) {
	if err := p.checks.profile.Run(f); err != nil {
		return nil, err
	}
	f.describe()
	for _, odd := range f.odd {
		if slices.Contains(f.noted, odd) {
			continue
		}
		p.logger.Info("leaving out what can't be used of a claim", zap.String("claim", odd.claim), zap.String("reason", odd.why))
	}
	return f, nil
}

// describe reads what only describes the person.
func (f *profile) describe() {
	if f.email = f.short("email", provider.MaxName); f.email != "" && !provider.ValidEmail(f.email) {
		f.leaveOut("email", "is no e-mail address")
		f.email = ""
	}
	f.first = f.short("given_name", provider.MaxName)
	f.last = f.short("family_name", provider.MaxName)
	f.display = f.short("name", provider.MaxName)
	f.acr = f.short("acr", maxSubject)
	f.session = f.short("sid", maxSubject)
	f.amr = f.methods()
	at, ok := f.date("auth_time")
	if f.authenticated = at; !ok && f.has("auth_time") {
		f.leaveOut("auth_time", "is not "+string(aDate))
	}
	if name, _ := f.find(f.username); name == "" {
		f.leaveOut(f.username, "is empty")
	}
	f.partial = f.lacking()
}

func (f *profile) leaveOut(claim, why string) { f.odd = append(f.odd, oddity{claim, why}) }

// short returns a text of limit bytes at most, without control characters.
func (f *profile) short(name string, limit int) string {
	s, ok := f.object[name].(string)
	why := provider.Odd(s, limit)
	if !ok && f.has(name) {
		why = "is not " + string(aString)
	}
	if why != "" {
		f.leaveOut(name, why)
		return ""
	}
	return s
}

// methods returns the entries of amr that can be used.
func (f *profile) methods() []string {
	list, ok := f.object["amr"].([]any)
	switch {
	case !f.has("amr"):
		return nil
	case !ok:
		f.leaveOut("amr", "is not "+string(texts))
		return nil
	case len(list) > maxMethods:
		f.leaveOut("amr", fmt.Sprintf("has more than %d methods", maxMethods))
		return nil
	}
	methods, left := usable(list, maxSubject)
	if left > 0 {
		f.leaveOut("amr", entriesLeft(left, len(list)))
	}
	return methods
}

// usable returns the texts in a list that are not empty, no longer than limit
// bytes and without control characters, and how many entries it leaves out.
func usable(list []any, limit int) (entries []string, left int) {
	entries = make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok || s == "" || len(s) > limit || provider.Unfit(s) {
			left++
			continue
		}
		entries = append(entries, s)
	}
	return entries, left
}

func entriesLeft(left, of int) string {
	return fmt.Sprintf("is read in part: %d of %d entries can't be used (empty, no text, too long or with control characters)", left, of)
}

// find is object.find for a claim that is asked for.
func (f *profile) find(path string) (claim any, blocked string) {
	if path == "" {
		return nil, ""
	}
	return f.object.find(path)
}

// text returns the claim of that name or path, empty if it is missing or no text.
func (f *profile) text(name string) string {
	claim, _ := f.find(name)
	s, _ := claim.(string)
	return s
}

// entries returns the entries of the groups' claim; one text is one entry, and
// an empty one is none. It is nil without the claim, or if that is no list.
func (f *profile) entries() []any {
	claim, _ := f.find(f.groups)
	switch v := claim.(type) {
	case string:
		if v == "" {
			return []any{}
		}
		return []any{v}
	case []any:
		return v
	}
	return nil
}

var tooMany = fmt.Sprintf("more than %d groups", provider.MaxGroups)

func (f *profile) hasGroups() bool { return f.entries() != nil }

// lacking says why this source does not tell all groups, and notes what is left
// out of them.
func (f *profile) lacking() string {
	v, blocked := f.find(f.groups)
	entries := f.entries()
	_, left := usable(entries, provider.MaxGroup)
	var why string
	switch {
	case f.overage():
		return provider.Overage
	case blocked != "":
		why = fmt.Sprintf("can't be looked up: %s on the path to it is no object", wording.Quoted(blocked))
	case v == nil:
		return ""
	case entries == nil:
		why = "is not " + string(someText)
	case len(entries) > provider.MaxGroups: // where a rule reads them, that refuses
		why = tooMany
	case left > 0:
		why = entriesLeft(left, len(entries))
	default:
		return ""
	}
	f.leaveOut(f.groups, why)
	return fmt.Sprintf("the claim %s %s", wording.Quoted(f.groups), why)
}

// overage says whether the provider names the groups elsewhere, as Entra ID does
// for a person with more than 200 (OIDC Core §5.6.2): them, or an object on the path
// to them. Marks that can't be read may mean them, unless they are here.
func (f *profile) overage() bool {
	names, marked := f.object["_claim_names"]
	elsewhere, readable := names.(object)
	for i := range len(f.groups) + 1 {
		if (i == len(f.groups) || f.groups[i] == '.') && elsewhere.has(f.groups[:i]) {
			return true
		}
	}
	has, said := f.object["hasgroups"]
	return (marked && !readable || said && has != false) && !f.hasGroups()
}

// complete reports whether userinfo has nothing to add that anybody needs.
func (f *profile) complete() bool {
	return f.text(f.username) != "" && f.email != "" && (f.hasGroups() || f.groupsUnused)
}

// lacksNeeded reports whether something decides that is not here.
func (f *profile) lacksNeeded() bool {
	return f.text(f.username) == "" || !f.hasGroups() && !f.groupsUnused
}

func profileTypes(f *profile) error {
	name, blocked := f.find(f.username)
	if name != nil && aString.wrong(name) {
		return fmt.Errorf("reading %s: is not %s", wording.Quoted(f.username), aString)
	}
	if blocked != "" {
		return fmt.Errorf("reading %s: %s on the path to it is no object", wording.Quoted(f.username), wording.Quoted(blocked))
	}
	if v, _ := f.find(f.groups); v != nil && !f.groupsUnused && f.entries() == nil {
		return fmt.Errorf("reading %s: is not %s", wording.Quoted(f.groups), someText)
	}
	return nil
}

// profileEmail takes an address as the user name only if it can't be read as two, or as
// another. An empty one counts as absent. email holds addresses alone (OIDC Core §5.1);
// in another claim of a trusted provider, a value without an @ is a plain name.
func profileEmail(f *profile) error {
	name := f.text(f.username)
	plain := f.trusted && f.username != "email" && !strings.ContainsAny(name, "@＠﹫")
	if namesEmail(f.username) && name != "" && !plain && !provider.ValidEmail(name) {
		return fmt.Errorf("reading %s: is no e-mail address", wording.Quoted(f.username))
	}
	return nil
}

func profileUsername(f *profile) error {
	if len(f.text(f.username)) > provider.MaxName {
		return fmt.Errorf("reading %s: longer than %d bytes", wording.Quoted(f.username), provider.MaxName)
	}
	return nil
}

func profileGroups(f *profile) error {
	if !f.groupsUnused && len(f.entries()) > provider.MaxGroups {
		return fmt.Errorf("reading %s: %s", wording.Quoted(f.groups), tooMany)
	}
	return nil
}

// list returns the groups without duplicates, in the provider's order.
func (f *profile) list() []string {
	entries := f.entries()
	if entries == nil || len(entries) > provider.MaxGroups {
		return nil
	}
	groups, _ := usable(entries, provider.MaxGroup)
	return provider.Unique(groups)
}
