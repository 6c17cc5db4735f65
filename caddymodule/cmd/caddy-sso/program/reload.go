package program

import (
	"fmt"
	"net"
	"reflect"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

// On a reload Caddy starts the new configuration beside the old one, and then stops the
// old one. Each has its own socket on the same address (SO_REUSEPORT). Three kinds of
// requests would get no response:
//
//   - The connection waits in the queue of the old socket. The kernel resets it when the
//     socket is closed.
//   - The old server has accepted a new connection. When a server of net/http shuts down,
//     it closes connections that have not sent a whole request (conn.serve).
//   - A client sends a request just when its idle connection is closed. Clients repeat it
//     only if that is safe, which a POST is not.
//
// So the old configuration steers new connections to the new one, goes on serving its own
// connections for settle, and tells clients to close them. Before that, while the new
// configuration starts, all new connections go to the old one. So if the start fails, no
// connection is lost.

// settle is how long a replaced configuration goes on serving: long enough for the first
// request of a new connection, with TLS over a slow network.
const settle = 500 * time.Millisecond

// Which of two sockets on one address gets new connections, by their age.
const (
	toOlder = 0
	toNewer = 1
)

// running returns the http app of the running configuration, or nil if that has no `sso`.
func running() *caddyhttp.App {
	ctx := caddy.ActiveContext()
	if app, err := ctx.AppIfConfigured("sso"); err != nil || app == nil {
		return nil
	}
	return caddymodule.HTTPAppOf(ctx)
}

// steer sends new connections to an app's servers to one of two sockets. It returns false
// if that is possible for none of the servers.
func steer(app *caddyhttp.App, to int, log *zap.Logger) (done bool) {
	if app == nil {
		return false
	}
	for _, srv := range app.Servers {
		for _, ln := range srv.Listeners() {
			if err := steerListener(ln, to); err != nil {
				log.Debug("new connections can't be steered, so a reload may lose some: this needs Linux, TCP and GODEBUG=multipathtcp=0",
					zap.Stringer("address", ln.Addr()), zap.Error(err))
				continue
			}
			done = true
		}
	}
	return done
}

func steerListener(ln net.Listener, to int) error {
	socket, ok := socketOf(ln)
	if !ok {
		return fmt.Errorf("no socket below %T", ln)
	}
	conn, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var steered error
	if err := conn.Control(func(fd uintptr) { steered = steerSocket(int(fd), to) }); err != nil {
		return err
	}
	return steered
}

// socketOf returns the socket below a listener. Caddy's listeners, that of crypto/tls and
// that of the PROXY protocol wrap another listener, in a field Listener. None has a method
// that returns it.
func socketOf(ln net.Listener) (syscall.Conn, bool) {
	for {
		if socket, ok := ln.(syscall.Conn); ok {
			return socket, true
		}
		v := reflect.Indirect(reflect.ValueOf(ln))
		if v.Kind() != reflect.Struct {
			return nil, false
		}
		field := v.FieldByName("Listener")
		if !field.IsValid() || !field.CanInterface() {
			return nil, false
		}
		inner, ok := field.Interface().(net.Listener)
		if !ok {
			return nil, false
		}
		ln = inner
	}
}
