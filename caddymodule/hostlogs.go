package caddymodule

import (
	"errors"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zapcore"
)

// redactLogs is set before there is any configuration.
var redactLogs atomic.Bool

// RedactLogs has every log of a configuration with single sign-on leave out what
// apps are told about people: reverse_proxy and php_fastcgi log the headers that they
// send, the assertion among them, at the default level. It changes the host, so
// only a binary of our own may call it, before it loads a configuration.
//
// Caddy has no way to wrap what writes a log, unless each log of each configuration
// says so. So this reaches into Caddy's configuration while it is built; a test holds
// that it finds what it looks for.
func RedactLogs() { redactLogs.Store(true) }

// errOtherCaddy says that Caddy is built differently than when this was written.
var errOtherCaddy = errors.New("redacting the logs: this version of Caddy keeps them otherwise; see SECURITY.md for the filter to write")

// redactHostLogs redacts the logs of the configuration that ctx belongs to. Modules
// that have their logger already are not affected: Caddy provisions those routes
// later that an `sso` stands before.
func redactHostLogs(ctx caddy.Context, names *redactedNames) error {
	if !redactLogs.Load() {
		return nil
	}
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
			*core = &redactingCore{*core, private{names: names}}
		}
	}
	return nil
}
