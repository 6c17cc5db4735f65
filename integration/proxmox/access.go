//go:build integration

package proxmox

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	userForm  = regexp.MustCompile(`^[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+$`)
	realmForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.\-_]+$`)
	groupForm = regexp.MustCompile(`^[A-Za-z0-9.\-_]+$`)
)

// A user is an account. Its key is NAME@REALM.
type user struct {
	enabled                bool
	email, first, last     string
	groups                 []string
	password, secondFactor string
	tokens                 map[string]apiToken
}

type apiToken struct {
	secret    string
	separated bool // it has only rights of its own
}

// A grant is a line of the access control list.
type grant struct {
	path, ugid string // a user, a token, or @group
	role       string
}

// privileges are those of each role that the double checks.
var privileges = map[string][]string{
	"Administrator": {"Permissions.Modify", "User.Modify", "Group.Allocate", "Realm.Allocate", "Sys.Console", "Datastore.AllocateTemplate", "Sys.Audit"},
	"PVEAdmin":      {"User.Modify", "Group.Allocate", "Sys.Console", "Datastore.AllocateTemplate", "Sys.Audit"},
	"PVEUserAdmin":  {"User.Modify", "Group.Allocate"},
	"PVEAuditor":    {"Sys.Audit"},
	"NoAccess":      {},
}

// may says whether a user or token has a privilege.
func (c *Cluster) may(who caller, privilege string) bool {
	if who.user == "root@pam" && who.token == "" {
		return true
	}
	u := c.users[who.user]
	subjects := []string{who.user}
	for _, g := range u.groups {
		subjects = append(subjects, "@"+g)
	}
	if who.token != "" && u.tokens[who.token].separated {
		subjects = []string{who.user + "!" + who.token}
	}
	return slices.ContainsFunc(c.acl, func(g grant) bool {
		return slices.Contains(subjects, g.ugid) && slices.Contains(privileges[g.role], privilege)
	})
}

// rights are what a login's answer calls cap.
func (c *Cluster) rights(userID string) map[string]map[string]int {
	rights := map[string]map[string]int{}
	for _, p := range privileges["Administrator"] {
		if c.may(caller{user: userID}, p) {
			kind, _, _ := strings.Cut(p, ".")
			kind = map[string]string{"User": "access", "Group": "access", "Realm": "access", "Permissions": "access", "Sys": "nodes", "Datastore": "storage"}[kind]
			if rights[kind] == nil {
				rights[kind] = map[string]int{}
			}
			rights[kind][p] = 1
		}
	}
	return rights
}

// signedIn is the answer to a login.
func (c *Cluster) signedIn(userID string) (any, error) {
	ticket, err := signTicket(c.keys[0].PrivateKey, userID, "", c.now())
	return map[string]any{
		"ticket": ticket, "username": userID, "cap": c.rights(userID),
		"CSRFPreventionToken": csrfToken(c.csrfKey, userID, stamp(c.now())),
	}, err
}

func stamp(at time.Time) string { return fmt.Sprintf("%08X", at.Unix()) }

// createTicket signs in by a password, by a ticket in its place (so the interface renews its
// ticket), or by the second factor.
func (c *Cluster) createTicket(r *call) (any, error) {
	name, password := r.param("username"), r.param("password")
	if realm := r.param("realm"); realm != "" {
		name += "@" + realm
	}
	refused := func(why string) (any, error) {
		c.log = append(c.log, fmt.Sprintf("authentication failure; user=%s msg=%s", name, why))
		return nil, &failure{status: http.StatusUnauthorized, text: "authentication failure"}
	}
	u := c.users[name]
	if len(name) > 64 || !userForm.MatchString(name) || u == nil || !u.enabled {
		return refused("no such user, or disabled")
	}
	if challenge := r.param("tfa-challenge"); challenge != "" {
		subject, err := verifyTicket(c.keys, challenge, name, c.now())
		if err != nil || !strings.HasPrefix(subject, "!tfa!") || u.secondFactor == "" || password != "totp:"+u.secondFactor {
			return refused("second factor")
		}
		return c.signedIn(name)
	}
	holder, err := verifyTicket(c.keys, password, "", c.now())
	if err == nil && (holder == name || holder == "root@pam") {
		return c.signedIn(name)
	}
	if u.password == "" || password != u.password {
		return refused("password")
	}
	if u.secondFactor == "" {
		return c.signedIn(name)
	}
	half, err := signTicket(c.keys[0].PrivateKey, `!tfa!{"totp":true}`, name, c.now())
	return map[string]any{"ticket": half, "username": name, "NeedTFA": 1, "CSRFPreventionToken": csrfToken(c.csrfKey, name, stamp(c.now()))}, err
}

func (c *Cluster) listUsers(*call) (any, error) {
	list := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(c.users)) {
		list = append(list, map[string]any{"userid": id, "enable": number(c.users[id].enabled), "email": c.users[id].email})
	}
	return list, nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *Cluster) getUser(r *call) (any, error) {
	u := c.users[r.vars["userid"]]
	if u == nil {
		return nil, &failure{status: http.StatusInternalServerError, text: fmt.Sprintf("no such user ('%s')", r.vars["userid"])}
	}
	return map[string]any{"enable": number(u.enabled), "email": u.email, "firstname": u.first, "lastname": u.last, "groups": u.groups}, nil
}

func (c *Cluster) createUser(r *call) (any, error) {
	id := r.param("userid")
	switch {
	case len(id) > 64 || !userForm.MatchString(id):
		return nil, r.invalid("userid", "invalid format - value does not look like a valid user name")
	case c.users[id] != nil:
		return nil, &failure{status: http.StatusInternalServerError, text: fmt.Sprintf("create user failed: user '%s' already exists", id)}
	case r.has("password") && len(r.param("password")) < 8:
		return nil, r.invalid("password", "value must be at least 8 characters long")
	}
	c.users[id] = &user{enabled: true, password: r.param("password")}
	return nil, c.change(r, c.users[id])
}

func (c *Cluster) updateUser(r *call) (any, error) {
	u := c.users[r.vars["userid"]]
	if u == nil {
		return c.getUser(r)
	}
	return nil, c.change(r, u)
}

// change applies the parameters of a user. groups replaces them, unless append is set.
func (c *Cluster) change(r *call, u *user) error {
	if r.has("groups") {
		var groups []string
		for _, g := range strings.FieldsFunc(r.param("groups"), func(b rune) bool { return strings.ContainsRune(",; ", b) }) {
			if !c.groups[g] {
				return &failure{status: http.StatusInternalServerError, text: fmt.Sprintf("no such group '%s'", g)}
			}
			groups = append(groups, g)
		}
		if r.param("append") == "1" {
			groups = append(groups, u.groups...)
		}
		slices.Sort(groups)
		u.groups = slices.Compact(groups)
	}
	if r.has("enable") {
		u.enabled = r.param("enable") == "1"
	}
	u.email = cmp.Or(r.param("email"), u.email)
	return nil
}

func (c *Cluster) deleteUser(r *call) (any, error) {
	delete(c.users, r.vars["userid"])
	return nil, nil //nolint:nilnil // the answer's data is null
}

func (c *Cluster) setPassword(r *call) (any, error) {
	u := c.users[r.param("userid")]
	if u == nil || len(r.param("password")) < 8 {
		return nil, r.invalid("password", "no such user, or a short password")
	}
	u.password = r.param("password")
	return nil, nil //nolint:nilnil // the answer's data is null
}

func (c *Cluster) createToken(r *call) (any, error) {
	u, id := c.users[r.vars["userid"]], r.vars["tokenid"]
	if u == nil || !realmForm.MatchString(id) {
		return nil, r.invalid("tokenid", "no such user, or a bad name")
	}
	if u.tokens == nil {
		u.tokens = map[string]apiToken{}
	}
	t := apiToken{secret: strings.ToLower(rand.Text()), separated: r.param("privsep") != "0"}
	u.tokens[id] = t
	return map[string]any{"full-tokenid": r.vars["userid"] + "!" + id, "value": t.secret}, nil
}

func (c *Cluster) listGroups(*call) (any, error) {
	list := []map[string]any{}
	for _, g := range slices.Sorted(maps.Keys(c.groups)) {
		list = append(list, map[string]any{"groupid": g})
	}
	return list, nil
}

func (c *Cluster) createGroup(r *call) (any, error) {
	id := r.param("groupid")
	if !groupForm.MatchString(id) {
		return nil, r.invalid("groupid", "invalid format - group name '"+id+"' contains invalid characters")
	}
	c.groups[id] = true
	return nil, nil //nolint:nilnil // the answer's data is null
}

func (c *Cluster) deleteGroup(r *call) (any, error) {
	id := r.vars["groupid"]
	delete(c.groups, id)
	for _, u := range c.users {
		u.groups = slices.DeleteFunc(u.groups, func(g string) bool { return g == id })
	}
	return nil, nil //nolint:nilnil // the answer's data is null
}

func (c *Cluster) listACL(*call) (any, error) {
	list := []map[string]any{}
	for _, g := range c.acl {
		list = append(list, map[string]any{"path": g.path, "ugid": strings.TrimPrefix(g.ugid, "@"), "roleid": g.role})
	}
	return list, nil
}

func (c *Cluster) updateACL(r *call) (any, error) {
	for _, kind := range []string{"users", "groups", "tokens"} {
		for _, who := range strings.FieldsFunc(r.param(kind), func(b rune) bool { return b == ',' }) {
			for _, role := range strings.Split(r.param("roles"), ",") {
				if _, ok := privileges[role]; !ok {
					return nil, r.invalid("roles", "role '"+role+"' does not exist")
				}
				if kind == "groups" {
					who = "@" + strings.TrimPrefix(who, "@")
				}
				c.acl = append(c.acl, grant{r.param("path"), who, role})
			}
		}
	}
	return nil, nil //nolint:nilnil // the answer's data is null
}
