package gateway

import "github.com/caddy-sso/caddy-sso/gateway/session"

// Views returns how many views a login has.
func Views(f session.Session) (n int) {
	first, _ := f.Memo().(*decision)
	for v := first; v != nil; v = v.next {
		n++
	}
	return n
}
