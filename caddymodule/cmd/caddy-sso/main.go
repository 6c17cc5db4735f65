//go:debug multipathtcp=0

// Command caddy-sso is Caddy with its standard modules and the sso module.
//
// It changes Caddy in three ways. A build by xcaddy does not:
//
//   - While its heap is small, it collects garbage more rarely than Go does by default,
//     unless the environment sets GOGC or GOMEMLIMIT. That takes up to 64 MiB more memory.
//   - Its logs don't show identity headers.
//   - Reloads lose no connections. For that it listens without Multipath TCP, unless
//     GODEBUG says otherwise.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/caddymodule/cmd/caddy-sso/program"
	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
)

func main() {
	if !chosenByUser() {
		tuneGC()
	}
	redisstore.DiscardDriverLog() // the driver's lines are not JSON, as all others are
	caddymodule.SetProgram(program.Caddy{})
	nameAsTyped()
	caddycmd.Main()
}
