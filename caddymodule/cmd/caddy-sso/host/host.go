// Package host is what our own binary changes of Caddy for the module, which must not
// change its host: logs leave out what apps are told about people, and reloads lose no
// connections.
package host

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

// Provision implements caddymodule.Host.
func (Caddy) Provision(ctx caddy.Context, private caddymodule.Private) error {
	err := redactLogs(ctx, private)
	// From here on, because a new configuration that fails to start must have got no
	// connection that it could lose.
	steer(running(), toOlder, ctx.Logger())
	return err
}

// Replaced implements caddymodule.Host.
func (Caddy) Replaced(ctx caddy.Context) {
	if steer(httpAppOf(ctx), toNewer, ctx.Logger()) {
		time.Sleep(settle)
	}
}

// errOtherCaddy says that Caddy is built differently than when this was written.
var errOtherCaddy = errors.New("redacting the logs: this version of Caddy keeps them otherwise; see SECURITY.md for the filter to write")

// redactLogs has every log of the configuration that ctx belongs to leave out what
// apps are told about people: reverse_proxy and php_fastcgi log the headers that they
// send, the assertion among them, at the default level. Modules that have their logger
// already are not affected: Caddy provisions those routes later that an `sso` stands before.
//
// Caddy has no way to wrap what writes a log, unless each log of each configuration
// says so. So this reaches into Caddy's configuration while it is built; a test holds
// that it finds what it looks for.
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
var _ caddymodule.Host = Caddy{}
