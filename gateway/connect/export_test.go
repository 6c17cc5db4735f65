package connect

import "github.com/caddy-sso/caddy-sso/gateway/check/checktest"

// ReadTicket returns the user of a complete ticket.
func ReadTicket(text string) (user string, ok bool) {
	t, ok := readTicket(text)
	return t.user, ok && complete(&shown{ticket: t}) == nil
}

// Spool has size more bytes in files.
func Spool(a *App, size int64) { a.proxmox.spools.size.Add(size) }

// Drop takes the named checks out of a's own checklist.
func Drop(a *App, names ...string) { checktest.Drop(a.proxmox.checks, names...) }

// CheckNames returns the names of all checks.
func CheckNames() []string { return checktest.Names(checks()) }
