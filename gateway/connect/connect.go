// Package connect is the last mile to apps that keep a session of their own, by a cookie
// of their own. Such an app reads the identity of a request only when its session begins.
// So the gateway ties the app's cookies to the login, the user name and the roles that
// they were set for:
//
//   - When the app sets such a cookie, the gateway adds a seal to its value.
//   - When the cookie comes back, it reaches the app only with a seal that fits the
//     request, and without it.
//   - Any other one is removed: one that was set for another person, another login or
//     other roles, one that somebody has planted, and one without a login. The app then
//     begins a new session.
//
// So no request reaches an app with the identity of one person and the app's cookie of
// another. The gateway keeps nothing for it: the seal is a MAC under a key that all nodes
// share.
//
// Proxmox VE is another kind of app: see proxmox.go.
package connect

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// An App says how an app keeps its session.
type App struct {
	// Cookies are the names of the session's cookies.
	Cookies []string
	// Login is the path at which the app asks people to sign in, and SignIn where it
	// begins to sign them in by OpenID Connect. Both are empty if it reads the assertion.
	Login, SignIn string
	// Logout is the path at which the app ends its session.
	Logout string

	proxmox *proxmox // nil: it is another app
}

// A preset is what is known about an app. signIn lacks the provider's name at its end; New
// adds it.
type preset struct {
	cookies               []string
	login, signIn, logout string
}

var presets = map[string]preset{
	"netbox":     {cookies: []string{"sessionid"}},
	"poweradmin": {cookies: []string{"PHPSESSID"}, login: "/login", signIn: "/oidc/login?provider=", logout: "/logout"},
}

// Proxmox is the name of the app that NewProxmox knows.
const Proxmox = "proxmox"

// Presets returns the names of the apps that are known, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// New returns what is known about an app. provider is the app's own name of the gateway's
// OpenID Provider; it is empty if the app reads the assertion. cookies replace those of
// the preset, unless there are none.
func New(name, provider string, cookies []string) (*App, error) {
	p, ok := presets[name]
	if !ok {
		return nil, fmt.Errorf("%q is no app that is known: expected one of %s", name, strings.Join(append(Presets(), Proxmox), ", "))
	}
	a := &App{Cookies: p.cookies, Logout: p.logout}
	if len(cookies) > 0 {
		a.Cookies = cookies
	}
	for _, c := range a.Cookies {
		if normal(c) != c || strings.ContainsFunc(c, notToken) || c == "" {
			return nil, fmt.Errorf("%q can't be the name of a cookie: expected letters, digits, hyphens and underscores", c)
		}
	}
	if provider != "" {
		a.Login, a.SignIn = p.login, p.signIn+url.QueryEscape(provider)
	}
	return a, nil
}

func notToken(c rune) bool {
	return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_'
}

// Instead returns where a person is sent who opens a page of the app, or "". prefix is
// that of the gateway's own addresses.
func (a *App) Instead(path, prefix string) string {
	switch {
	case a == nil || path == "":
	case path == a.Login:
		return a.SignIn
	case path == a.Logout:
		return prefix + "/logout"
	}
	return ""
}
