//go:debug multipathtcp=0

// Command caddy-sso is Caddy with its standard modules and the sso module.
//
// Unless the environment sets GOGC or GOMEMLIMIT, it collects garbage more
// rarely than Go does by itself while its heap is small; that takes up to 64
// MiB of memory more. Its logs don't show what apps are told about people. And unless GODEBUG says otherwise, it listens without
// Multipath TCP, so that reloads lose no connections.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
)

func main() {
	if !chosenByUser() {
		tuneGC()
	}
	redisstore.DiscardDriverLog() // lines that are no JSON, among those that are
	caddymodule.RedactLogs()
	caddycmd.Main()
}
