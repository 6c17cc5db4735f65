//go:build integration

// Command stock is Caddy with its standard modules and nothing else, for the
// benchmark to compare with.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() { caddycmd.Main() }
