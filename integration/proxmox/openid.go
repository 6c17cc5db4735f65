//go:build integration

package proxmox

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	realmParams = "issuer-url client-id client-key autocreate username-claim groups-claim groups-autocreate groups-overwrite " +
		"prompt scopes acr-values audiences query-userinfo default comment"
	flowLife = 10 * time.Minute
)

// newOption says whether an option of a realm came with libpve-access-control 8.2.1.
func newOption(name string) bool {
	return strings.HasPrefix(name, "groups-") || name == "query-userinfo"
}

// A flow is an OpenID login that was begun. Only the node where it was begun knows it.
type flow struct {
	realm, nonce, verifier string
	made                   time.Time
}

func (c *Cluster) listRealms(*call) (any, error) {
	list := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(c.realms)) {
		list = append(list, map[string]any{"realm": name, "type": c.realms[name].Get("type"), "comment": c.realms[name].Get("comment")})
	}
	return list, nil
}

func (c *Cluster) createRealm(r *call) (any, error) {
	name := r.param("realm")
	switch {
	case len(name) > 32 || !realmForm.MatchString(name):
		return nil, r.invalid("realm", "invalid format - value does not look like a valid realm")
	case c.realms[name] != nil:
		return nil, fmt.Errorf("add auth server failed: authentication domain '%s' already exists", name)
	case r.param("type") == "openid" && (!r.has("issuer-url") || !r.has("client-id")):
		return nil, r.invalid("issuer-url", "an OpenID realm needs issuer-url and client-id")
	case r.has("groups-claim") && !groupForm.MatchString(r.param("groups-claim")):
		return nil, r.invalid("groups-claim", "value does not match the regex pattern")
	}
	c.realms[name] = maps.Clone(r.params)
	return nil, nil //nolint:nilnil // the answer's data is null
}

func (c *Cluster) updateRealm(r *call) (any, error) {
	realm := c.realms[r.vars["realm"]]
	if realm == nil {
		return nil, fmt.Errorf("authentication domain '%s' does not exist", r.vars["realm"])
	}
	if r.has("username-claim") && r.param("username-claim") != realm.Get("username-claim") {
		return nil, r.invalid("username-claim", "can't change value of fixed parameter")
	}
	for _, name := range strings.FieldsFunc(r.param("delete"), func(b rune) bool { return strings.ContainsRune(",; ", b) }) {
		realm.Del(name)
	}
	for name, value := range r.params {
		if name != "delete" {
			realm[name] = value
		}
	}
	return nil, nil //nolint:nilnil // the answer's data is null
}

// openIDRealm returns a copy of a realm.
func (c *Cluster) openIDRealm(name string) (url.Values, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	realm := c.realms[name]
	if realm == nil {
		return nil, fmt.Errorf("authentication domain '%s' does not exist", name)
	}
	if realm.Get("type") != "openid" {
		return nil, fmt.Errorf("wrong realm type (%s != openid)", realm.Get("type"))
	}
	return maps.Clone(realm), nil
}

// authURL begins a login.
func (c *Cluster) authURL(r *call) (any, error) {
	if len(r.param("redirect-url")) > 255 {
		return nil, r.invalid("redirect-url", "value may only be 255 characters long")
	}
	realm, err := c.openIDRealm(r.param("realm"))
	if err != nil {
		return nil, err
	}
	p, err := c.discover(r.ctx, realm.Get("issuer-url"))
	if err != nil {
		return nil, err
	}
	begun := flow{realm: r.param("realm"), nonce: rand.Text(), verifier: rand.Text() + rand.Text(), made: c.Now()}
	state, err := json.Marshal(map[string]string{"csrf_token": rand.Text(), "realm": begun.realm})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	r.node.flows[string(state)] = begun
	c.mu.Unlock()
	scopes := "email profile"
	if realm.Has("scopes") {
		scopes = realm.Get("scopes")
	}
	q := url.Values{
		"response_type": {"code"}, "client_id": {realm.Get("client-id")}, "redirect_uri": {r.param("redirect-url")},
		"state": {string(state)}, "nonce": {begun.nonce}, "scope": {"openid " + scopes},
		"code_challenge": {challenge(begun.verifier)}, "code_challenge_method": {"S256"},
		"display": {"page"},
	}
	if realm.Has("prompt") {
		q.Set("prompt", realm.Get("prompt"))
	}
	joint := "?"
	if strings.Contains(p.Authorization, "?") {
		joint = "&"
	}
	return p.Authorization + joint + q.Encode(), nil
}

// login ends a login. Only the log says why one fails.
func (c *Cluster) login(r *call) (any, error) {
	for name, most := range map[string]int{"state": 1024, "code": 4096, "redirect-url": 255} {
		if len(r.param(name)) > most {
			return nil, r.invalid(name, fmt.Sprintf("value may only be %d characters long", most))
		}
	}
	answer, err := c.signInByOpenID(r)
	if err != nil {
		c.logf("openid authentication failure; msg=%v", err)
		return nil, &failure{status: http.StatusUnauthorized, text: "authentication failure"}
	}
	return answer, nil
}

func (c *Cluster) signInByOpenID(r *call) (any, error) {
	c.mu.Lock()
	begun, ok := r.node.flows[r.param("state")]
	delete(r.node.flows, r.param("state"))
	now := c.now()
	c.mu.Unlock()
	if !ok || now.Sub(begun.made) > flowLife {
		return nil, errors.New("no openid auth state found (possible timeout)")
	}
	realm, err := c.openIDRealm(begun.realm)
	if err != nil {
		return nil, err
	}
	claims, err := c.redeem(r.ctx, realm, begun, r.param("code"), r.param("redirect-url"))
	if err != nil {
		return nil, err
	}
	name, err := userName(realm, claims)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	userID := name + "@" + begun.realm
	u, err := c.admit(userID, realm, claims)
	if err != nil {
		return nil, err
	}
	c.assignGroups(u, userID, begun.realm, realm, claims)
	return c.signedIn(userID)
}

// userName picks the user name out of the claims. subject and username are old names.
func userName(realm url.Values, claims map[string]any) (string, error) {
	claim := "sub"
	if realm.Has("username-claim") {
		claim = realm.Get("username-claim")
	}
	if claims[claim] == nil {
		claim = map[string]string{"subject": "sub", "username": "preferred_username"}[claim]
	}
	name, ok := claims[claim].(string)
	if !ok {
		return "", fmt.Errorf("missing configured claim '%s' in returned info object", realm.Get("username-claim"))
	}
	return name, nil
}

// admit finds the user, or makes one with the data of this login; later logins change none.
func (c *Cluster) admit(userID string, realm url.Values, claims map[string]any) (*user, error) {
	if len(userID) > 64 || !userForm.MatchString(userID) {
		return nil, fmt.Errorf("value '%s' does not look like a valid user name", userID)
	}
	u := c.users[userID]
	if u == nil && realm.Get("autocreate") == "1" {
		u = &user{enabled: true}
		u.email, _ = claims["email"].(string)
		u.first, _ = claims["given_name"].(string)
		u.last, _ = claims["family_name"].(string)
		c.users[userID] = u
	}
	if u == nil {
		return nil, fmt.Errorf("no such user ('%s')", userID)
	}
	if !u.enabled {
		return nil, fmt.Errorf("user '%s' is disabled", userID)
	}
	return u, nil
}

// assignGroups adds the groups of the claim, or replaces the user's by them.
func (c *Cluster) assignGroups(u *user, userID, realmName string, realm url.Values, claims map[string]any) {
	claim := realm.Get("groups-claim")
	if claim == "" {
		return
	}
	told, ok := claims[claim].([]any)
	if !ok {
		c.log = append(c.log, fmt.Sprintf("openid groups claim '%s' is not found in claims, or is not an array; groups will not be updated", claim))
		return
	}
	if realm.Get("groups-overwrite") == "1" {
		u.groups = nil
	}
	for _, value := range told {
		group := fmt.Sprint(value)
		if !groupForm.MatchString(group) {
			c.log = append(c.log, fmt.Sprintf("openid group '%s' contains invalid characters", group))
			continue
		}
		group += "-" + realmName
		if realm.Get("groups-autocreate") == "1" {
			c.groups[group] = true
		}
		if c.groups[group] {
			u.groups = append(u.groups, group)
		}
	}
	slices.Sort(u.groups)
	u.groups = slices.Compact(u.groups)
	c.log = append(c.log, fmt.Sprintf("openid user '%s' is in groups: %s", userID, strings.Join(u.groups, ", ")))
}
