// Package program has the changes of our own binary to Caddy: logs redact identity headers,
// and reloads lose no connections. A module must not make such changes.
package program

import (
	"errors"
	"reflect"
	"time"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

// Caddy is Caddy in our own binary.
type Caddy struct{}

// Provision implements caddymodule.Program.
func (Caddy) Provision(ctx caddy.Context, private caddymodule.Private) error {
	err := redactLogs(ctx, private)
	// If the new configuration fails to start, it must not have got connections: they
	// would be lost.
	steer(running(), toOlder, ctx.Logger())
	return err
}

// Replaced implements caddymodule.Program.
func (Caddy) Replaced(ctx caddy.Context) {
	if steer(caddymodule.HTTPAppOf(ctx), toNewer, ctx.Logger()) {
		time.Sleep(settle)
	}
}

// errOtherCaddy is returned if the fields of this version of Caddy are others.
var errOtherCaddy = errors.New("redacting the logs: this version of Caddy stores its logs differently: write the log filter of SECURITY.md")

// redactLogs redacts identity headers in every log of the configuration of ctx.
// reverse_proxy and php_fastcgi log the headers that they send, including the assertion,
// at the default level. Modules that already have a logger are not affected, but the
// handlers after an `sso` are provisioned later.
//
// Caddy can wrap a log's core only if the configuration of that log says so. So this
// changes private fields of Caddy's configuration during Provision. A test holds that it
// finds them.
func redactLogs(ctx caddy.Context, names caddymodule.Private) error {
	cfg := reflect.ValueOf(ctx).FieldByName("cfg")
	if !cfg.IsValid() || cfg.Type() != reflect.TypeFor[*caddy.Config]() {
		return errOtherCaddy
	}
	config := (*caddy.Config)(cfg.UnsafePointer())
	if config == nil || config.Logging == nil {
		return nil
	}
	for _, l := range config.Logging.Logs {
		field := reflect.ValueOf(&l.BaseLog).Elem().FieldByName("core")
		if !field.IsValid() || field.Type() != reflect.TypeFor[zapcore.Core]() {
			return errOtherCaddy
		}
		core := (*zapcore.Core)(unsafe.Pointer(field.UnsafeAddr())) //nolint:gosec // the type is that of the field
		if *core != nil {
			*core = &redactingCore{*core, private{Private: names}}
		}
	}
	return nil
}

// Interface guard
var _ caddymodule.Program = Caddy{}
