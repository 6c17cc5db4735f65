package host

import (
	"fmt"
	"net"
	"reflect"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// On a reload Caddy starts the new configuration beside the old one, each with
// a socket of its own on the same address (SO_REUSEPORT), and then stops the
// old one. Three kinds of requests would get no answer then:
//
//   - those whose connections wait in the old socket's queue: the kernel resets
//     them when the socket is closed;
//   - those on new connections that the old server has accepted: one of net/http
//     that shuts down closes what has not sent a whole request (conn.serve);
//   - those that are sent just when a kept connection is closed. Clients send
//     them again, but not if that could do twice what they ask for.
//
// So the old configuration first has new connections steered to the new one,
// goes on serving those that it has for settle, and asks who keeps one to come
// anew. Until then it is the other way round: a new configuration that fails to
// start never got a connection that it could lose.

// settle is how long a configuration that has been replaced goes on serving:
// enough for a new connection to get its request through, with TLS over a slow
// network.
const settle = 500 * time.Millisecond

// Which of two sockets on one address gets new connections, by their age.
const (
	toOlder = 0
	toNewer = 1
)

// running returns the http app of the running configuration, if that has an `sso`.
func running() *caddyhttp.App {
	ctx := caddy.ActiveContext()
	if app, err := ctx.AppIfConfigured("sso"); err != nil || app == nil {
		return nil
	}
	return httpAppOf(ctx)
}

// httpAppOf returns the http app of a configuration, or nil if it has none.
func httpAppOf(ctx caddy.Context) *caddyhttp.App {
	v, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	app, _ := v.(*caddyhttp.App)
	return app
}

// steer has new connections to an app's servers go to one of two sockets. It
// returns false if that can be done for none of them.
func steer(app *caddyhttp.App, to int, log *zap.Logger) (done bool) {
	if app == nil {
		return false
	}
	for _, srv := range app.Servers {
		for _, ln := range srv.Listeners() {
			if err := steerListener(ln, to); err != nil {
				log.Debug("new connections can't be steered, so that a reload may lose some; it takes Linux, TCP, and GODEBUG=multipathtcp=0",
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

// socketOf returns the socket below a listener. Listeners that wrap another one
// embed it, or have it in a field of the same name: Caddy's own, crypto/tls's,
// that of the PROXY protocol. None of them gives it away by a method.
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
