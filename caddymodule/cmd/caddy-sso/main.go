//go:debug multipathtcp=0

// Command caddy-sso is Caddy with its standard modules and the sso module.
//
// It changes Caddy in three ways, which a build by xcaddy does not:
//
//   - Unless the environment sets GOGC or GOMEMLIMIT, it collects garbage more rarely
//     than Go does by itself while its heap is small. That takes up to 64 MiB more.
//   - Its logs don't show what apps are told about people.
//   - Reloads lose no connections. For that it listens without Multipath TCP, unless
//     GODEBUG says otherwise.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/caddymodule/cmd/caddy-sso/host"
	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
)

func main() {
	if !chosenByUser() {
		tuneGC()
	}
	redisstore.DiscardDriverLog() // lines that are no JSON, among those that are
	caddymodule.SetHost(host.Caddy{})
	nameAsTyped()
	caddycmd.Main()
}
