package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A grafana reads headers as Grafana's auth.proxy does, by the settings of its ini file
// (of version 11; Grafana's Go code takes values as they come).
type grafana struct {
	proxy map[string]string // the section auth.proxy
	mu    sync.Mutex
	users []*shownUser
	byID  map[string]*shownUser // by the value of the user's header, for good
	cache map[string]*shownUser
}

func newGrafana(t *testing.T, ini string) *grafana {
	t.Helper()
	g := &grafana{proxy: map[string]string{"sync_ttl": "15", "header_property": "username"}}
	section := ""
	for line := range strings.Lines(ini) {
		line = strings.TrimSpace(line)
		key, value, setting := strings.Cut(line, " = ")
		switch {
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case setting && section == "auth.proxy":
			g.proxy[key] = value
		case line != "" && !setting:
			t.Fatalf("no setting: %q", line)
		}
	}
	if g.proxy["enabled"] != "true" || g.proxy["header_property"] != "username" {
		t.Fatalf("auth.proxy is off, or of another kind: %v", g.proxy)
	}
	g.forget()
	return g
}

func (g *grafana) forget() {
	g.users, g.byID, g.cache = nil, map[string]*shownUser{}, map[string]*shownUser{}
}

func (g *grafana) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fields := map[string]string{}
	for _, pair := range strings.Fields(g.proxy["headers"]) {
		field, header, _ := strings.Cut(pair, ":")
		fields[field] = r.Header.Get(header)
	}
	user := r.Header.Get(g.proxy["header_name"])
	if user == "" || !g.listed(r.RemoteAddr) {
		http.Error(w, "login", http.StatusUnauthorized)
		return
	}
	key := user
	for _, field := range []string{"Name", "Email", "Login", "Role", "Groups"} {
		key += fields[field]
	}
	shown := g.cache[key]
	if g.proxy["sync_ttl"] == "0" || shown == nil {
		if shown = g.sync(user, fields); shown == nil {
			http.Error(w, "sign up is disabled", http.StatusUnauthorized)
			return
		}
		g.cache[key] = shown
	}
	_ = json.NewEncoder(w).Encode(shown)
}

// listed says whether requests may come from an address.
func (g *grafana) listed(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	for entry := range strings.SplitSeq(g.proxy["whitelist"], ",") {
		if entry = strings.TrimSpace(entry); !strings.Contains(entry, "/") {
			entry += "/32" // of IPv6, too
		}
		if network, wrong := netip.ParsePrefix(entry); err == nil && wrong == nil && network.Contains(ip) {
			return true
		}
	}
	return g.proxy["whitelist"] == ""
}

// sync returns the account of a person: the one that they had by this user name, or one
// of the same e-mail address, or of the same login.
func (g *grafana) sync(user string, fields map[string]string) *shownUser {
	account := g.byID[user]
	if account == nil {
		i := slices.IndexFunc(g.users, func(u *shownUser) bool { return fields["Email"] != "" && strings.EqualFold(u.Email, fields["Email"]) })
		if i < 0 {
			i = slices.IndexFunc(g.users, func(u *shownUser) bool { return strings.EqualFold(u.Login, user) })
		}
		if i < 0 {
			if g.proxy["auto_sign_up"] == "false" {
				return nil
			}
			i, g.users = len(g.users), append(g.users, &shownUser{Is: "Viewer"}) // auto_assign_org_role
		}
		account = g.users[i]
		g.byID[user] = account
	}
	for to, value := range map[*string]string{&account.Login: user, &account.Name: fields["Name"], &account.Email: fields["Email"]} {
		if value != "" {
			*to = value
		}
	}
	if role := fields["Role"]; role == "Admin" || role == "Editor" || role == "Viewer" || role == "None" {
		account.Is = role
	}
	return account
}

// A netBox reads headers as NetBox does behind gunicorn, by the settings of its
// configuration.py (of version 4.6).
type netBox struct {
	settings map[string]string // as they are written
	mu       sync.Mutex
	users    map[string]*shownUser
	sessions map[string]string
}

func newNetBox(t *testing.T, configuration string) *netBox {
	t.Helper()
	n := &netBox{users: map[string]*shownUser{}, sessions: map[string]string{}, settings: map[string]string{
		"REMOTE_AUTH_HEADER": "'HTTP_REMOTE_USER'", "REMOTE_AUTH_GROUP_HEADER": "'HTTP_REMOTE_USER_GROUP'", "REMOTE_AUTH_GROUP_SEPARATOR": "'|'",
		"REMOTE_AUTH_USER_EMAIL": "'HTTP_REMOTE_USER_EMAIL'", "REMOTE_AUTH_USER_FIRST_NAME": "'HTTP_REMOTE_USER_FIRST_NAME'",
		"REMOTE_AUTH_USER_LAST_NAME": "'HTTP_REMOTE_USER_LAST_NAME'",
	}}
	for line := range strings.Lines(configuration) {
		key, value, found := strings.Cut(strings.TrimSpace(line), " = ")
		if !found {
			t.Fatalf("no setting: %q", line)
		}
		n.settings[key] = value
	}
	if n.settings["REMOTE_AUTH_ENABLED"] != "True" || n.settings["REMOTE_AUTH_AUTO_CREATE_GROUPS"] != "True" {
		t.Fatalf("it is not enabled, or groups are not made: %v", n.settings)
	}
	return n
}

// text returns a setting that is a text.
func (n *netBox) text(name string) string { return strings.Trim(n.settings[name], "'") }

// meta returns the headers of a request as gunicorn and Django have them: no names with
// underscores, and each byte of a value is a character.
func meta(r *http.Request) map[string]string {
	all := map[string]string{}
	for name, values := range r.Header {
		if strings.Contains(name, "_") {
			continue
		}
		var text []rune
		for _, c := range []byte(strings.Join(values, ",")) {
			text = append(text, rune(c))
		}
		all["HTTP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = string(text)
	}
	return all
}

func (n *netBox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	headers := meta(r)
	who := ""
	if c, err := r.Cookie("sessionid"); err == nil {
		who = n.sessions[c.Value]
	}
	if name, sent := headers[n.text("REMOTE_AUTH_HEADER")]; sent && name != who {
		who = ""
		if n.users[name] != nil || n.settings["REMOTE_AUTH_AUTO_CREATE_USER"] == "True" && name != "" {
			who = name
			n.logIn(name, headers)
			id := fmt.Sprintf("session-%d", len(n.sessions))
			n.sessions[id] = name
			http.SetCookie(w, &http.Cookie{Name: "sessionid", Value: id, Path: "/"})
		}
	}
	if who == "" {
		http.Error(w, "login", http.StatusForbidden)
		return
	}
	_ = json.NewEncoder(w).Encode(n.users[who])
}

// logIn takes groups and profile over, which happens at no other time.
func (n *netBox) logIn(name string, headers map[string]string) {
	if n.users[name] == nil {
		n.users[name] = &shownUser{Login: name}
	}
	user := n.users[name]
	if n.settings["REMOTE_AUTH_GROUP_SYNC_ENABLED"] == "True" {
		groups := map[string]bool{}
		if text := headers[n.text("REMOTE_AUTH_GROUP_HEADER")]; text != "" {
			for group := range strings.SplitSeq(text, n.text("REMOTE_AUTH_GROUP_SEPARATOR")) {
				groups[group] = true
			}
		}
		user.Is, user.Super = strings.Join(slices.Sorted(maps.Keys(groups)), " "), false
		for super := range strings.SplitSeq(strings.Trim(n.settings["REMOTE_AUTH_SUPERUSER_GROUPS"], "[]"), ", ") {
			user.Super = user.Super || groups[strings.Trim(super, "'")]
		}
	}
	for setting, to := range map[string]*string{
		"REMOTE_AUTH_USER_FIRST_NAME": &user.First, "REMOTE_AUTH_USER_LAST_NAME": &user.Last, "REMOTE_AUTH_USER_EMAIL": &user.Email,
	} {
		if value, sent := headers[n.text(setting)]; sent {
			*to = value
		}
	}
}
