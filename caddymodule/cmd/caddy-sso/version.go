package main

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
)

// version is set for a release: go build -ldflags '-X main.version=v1.2.3'. Default: the
// version that Go records for the module or the commit.
var version string

// nameAsTyped makes Caddy's commands show the name of this binary, and its version beside
// Caddy's.
func nameAsTyped() {
	if info, ok := debug.ReadBuildInfo(); ok {
		version = cmp.Or(version, info.Main.Version)
	}
	caddy.CustomVersion = "caddy-sso " + cmp.Or(version, "(unknown version)") + ", with Caddy"
	caddy.CustomBinaryName = filepath.Base(os.Args[0])
	caddy.CustomLongDescription = `
Caddy with single sign-on: with the directive sso, people sign in at an OpenID
Connect or SAML provider, and the app gets the person's name, roles and groups.

` + "`" + caddy.CustomBinaryName + " demo` shows it without any configuration. `" + caddy.CustomBinaryName + ` validate --config Caddyfile` + "`" + ` finds
mistakes in a configuration, and ` + "`" + caddy.CustomBinaryName + " run`" + ` starts with the Caddyfile of the
directory. All commands of Caddy are there: https://caddyserver.com/docs/command-line
`
}
