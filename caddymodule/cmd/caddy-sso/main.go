// Command caddy-sso is Caddy with its standard modules and the sso module.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-sso/caddy-sso/caddymodule"
)

func main() { caddycmd.Main() }
