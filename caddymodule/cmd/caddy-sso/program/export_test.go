package program

import (
	"net"

	"go.uber.org/zap/zapcore"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

// Which of two sockets gets new connections.
const (
	ToOlder = toOlder
	ToNewer = toNewer
)

// SteerListener is steerListener.
func SteerListener(ln net.Listener, to int) error { return steerListener(ln, to) }

// Redacting returns a core that leaves out what is private, before it writes to another.
func Redacting(to zapcore.Core) zapcore.Core {
	return &redactingCore{to, private{Private: caddymodule.NewPrivate()}}
}
