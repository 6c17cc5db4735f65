package main

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
)

// version is that of a release: go build -ldflags '-X main.version=v1.2.3'. Default:
// what Go notes of the module, or of the commit that was built.
var version string

// nameAsTyped has Caddy's own commands name this binary and its version, beside Caddy's.
func nameAsTyped() {
	if info, ok := debug.ReadBuildInfo(); ok {
		version = cmp.Or(version, info.Main.Version)
	}
	caddy.CustomVersion = "caddy-sso " + cmp.Or(version, "(unknown version)") + ", with Caddy"
	caddy.CustomBinaryName = filepath.Base(os.Args[0])
	caddy.CustomLongDescription = `
Caddy with single sign-on: the directive sso lets people in who signed in at an
OpenID Connect or SAML provider, and tells the app behind it who they are.

` + "`" + caddy.CustomBinaryName + " demo` shows it without any configuration. `" + caddy.CustomBinaryName + ` validate --config Caddyfile` + "`" + ` finds
mistakes in a configuration, and ` + "`" + caddy.CustomBinaryName + " run`" + ` starts with the Caddyfile of the
directory. All commands of Caddy are there: https://caddyserver.com/docs/command-line
`
}
