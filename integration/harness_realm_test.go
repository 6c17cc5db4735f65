//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
)

// The realm "lab": seven people whose password is their user name. Clients are
// added by the tests that need them (keycloak.client).
const realmName = "lab"

// A person of the lab.
type person struct {
	name, first, last string
	groups            []string // as paths
	disabled          bool
	unverified        bool
}

// people are who the lab knows. Their groups are chosen to be trouble.
var people = []person{
	{name: "alice", first: "Alice", last: "Ångström", groups: []string{"/Caddy Admins", "/urn:example:team:ops", "/Équipe Réseau – Zürich 東京", "/parent/child"}},
	{name: "bob", first: "Bob", last: "Viewer", groups: []string{"/viewers"}},
	{name: "carol", first: "Carol", last: "Nogroups"},
	{name: "dave", first: "Dave", last: "Unverified", groups: []string{"/viewers"}, unverified: true},
	{name: "erin", first: "Erin", last: "O'Brien-Müller", groups: []string{
		`/DOMAIN\Domain Admins`, "/S-1-5-21-1004336348-1177238915-682003330-512", "/3f2504e0-4f89-11d3-9a0c-0305e82c3301",
		"/comma,group", "/semi;group", `/a&b <c> "q"`,
	}},
	{name: "frank", first: "Frank", last: "Many", groups: manyGroups("/many/")},
	{name: "mallory", first: "Mallory", last: "Disabled", groups: []string{"/viewers"}, disabled: true},
}

// manyGroups are 180 groups with names long enough to blow up a cookie.
func manyGroups(prefix string) []string {
	names := make([]string, 180)
	for i := range names {
		names[i] = fmt.Sprintf("%sgrp-%03d-a-rather-long-group-name-to-blow-up-cookies", prefix, i)
	}
	return names
}

// realmJSON is the realm as Keycloak 26 imports it.
func realmJSON() ([]byte, error) {
	type object = map[string]any
	group := func(name string) object { return object{"name": name} }
	var groups []object
	for _, p := range people[:5] {
		for _, path := range p.groups {
			if path != "/parent/child" && path != "/viewers" {
				groups = append(groups, group(path[1:]))
			}
		}
	}
	var many []object
	for _, name := range manyGroups("") {
		many = append(many, group(name))
	}
	groups = append(groups, group("viewers"),
		object{"name": "parent", "subGroups": []object{group("child")}},
		object{"name": "many", "subGroups": many})
	var users []object
	for _, p := range people {
		users = append(users, object{
			"username": p.name, "enabled": !p.disabled, "firstName": p.first, "lastName": p.last,
			"email": p.name + "@example.test", "emailVerified": !p.unverified, "groups": p.groups,
			"credentials": []object{{"type": "password", "value": p.name}},
		})
	}
	return json.Marshal(object{
		"realm": realmName, "enabled": true, "sslRequired": "none",
		// The forms of the theme "keycloak" without its styles, which take most of a browser's time.
		"loginTheme":            "base",
		"loginWithEmailAllowed": true, "bruteForceProtected": false, "verifyEmail": false,
		// Cheap hashing makes for quick logins, in tests only.
		"passwordPolicy":        "hashAlgorithm(pbkdf2-sha256) and hashIterations(1)",
		"accessTokenLifespan":   300,
		"ssoSessionMaxLifespan": 36000,
		"groups":                groups, "users": users,
	})
}
