package caddymodule

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
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

// provisionReload prepares for what comes before and after this configuration.
func (a *App) provisionReload(ctx caddy.Context) error {
	if running, err := caddy.ActiveContext().AppIfConfigured("sso"); err == nil {
		if app, ok := running.(*App); ok {
			app.steer(toOlder)
		}
	}
	v, err := ctx.App("events")
	if err != nil {
		return err
	}
	events, err := as[*caddyevents.App](v)
	if err != nil {
		return err
	}
	return events.On("stopping", retirement{a})
}

// A retirement is told when the app's configuration is about to be stopped:
// after a new one has started, before any server shuts down.
type retirement struct{ app *App }

// Handle implements caddyevents.Handler.
func (r retirement) Handle(context.Context, caddy.Event) error {
	own, current := httpAppOf(r.app.ctx), httpAppOf(caddy.ActiveContext())
	if current == nil || current == own {
		return nil // nothing comes after it
	}
	r.app.giveWay(caddy.ActiveContext())
	if r.app.steer(toNewer) {
		r.app.retiring.Store(true)
		time.Sleep(settle)
	}
	return nil
}

// giveWay leaves it to the app of the new configuration, if it has one, what
// becomes of requests that are under way.
func (a *App) giveWay(ctx caddy.Context) {
	v, err := ctx.AppIfConfigured("sso")
	if err != nil {
		return // whoever closes the sessions cuts them
	}
	next, ok := v.(*App)
	if !ok || next.sessionsKey == "" || a.sessionsKey == "" {
		return
	}
	if gw, old := next.gateway.Load(), a.gateway.Load(); gw != nil && old != nil {
		gw.Succeed(old)
	}
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

// sendAway has a client that keeps its connection make a new one for its next
// request, if this configuration is about to be stopped. HTTP/2 and HTTP/3 have
// a message of their own for that, which their servers send.
func (a *App) sendAway(w http.ResponseWriter, r *http.Request) {
	if a.retiring.Load() && r.ProtoMajor == 1 && r.Header["Upgrade"] == nil {
		w.Header().Set("Connection", "close")
	}
}

// steer has new connections to the app's servers go to one of two sockets. It
// returns false if that can be done for none of them.
func (a *App) steer(to int) (done bool) {
	web := httpAppOf(a.ctx)
	if web == nil {
		return false
	}
	for _, srv := range web.Servers {
		for _, ln := range srv.Listeners() {
			if err := steerListener(ln, to); err != nil {
				a.log.Debug("new connections can't be steered, so that a reload may lose some; it takes Linux, TCP, and GODEBUG=multipathtcp=0",
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

// Interface guards
var _ caddyevents.Handler = retirement{}
