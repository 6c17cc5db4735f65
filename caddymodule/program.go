package caddymodule

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/strip"
)

// A Program changes Caddy beyond the routes of the module. The module itself must not: in
// a build by xcaddy there is no Program, and Caddy logs and reloads as it does without us.
type Program interface {
	// Provision is called for each configuration with `sso`, before the app and the
	// handlers have a logger.
	Provision(ctx caddy.Context, private Private) error
	// Replaced is called when another configuration has started. The servers of this
	// one shut down when it returns.
	Replaced(ctx caddy.Context)
}

// ownProgram is set before there is any configuration.
var ownProgram Program

// SetProgram sets the program. Call it in a main function, before Caddy loads a configuration.
func SetProgram(p Program) { ownProgram = p }

// Private says what a log must not show, because it tells an app who makes a request.
type Private struct {
	names *atomic.Pointer[map[string]bool] // in the form of strip.AppendNormal
}

// NewPrivate returns what is private to apps that set no names of headers.
func NewPrivate() Private {
	p := Private{new(atomic.Pointer[map[string]bool])}
	p.names.Store(&map[string]bool{})
	p.add(forward.DefaultNames)
	return p
}

// add adds the names of an app. Others may be logging meanwhile.
func (p Private) add(names forward.HeaderNames) {
	set := maps.Clone(*p.names.Load())
	for _, name := range names.All() {
		set[string(strip.AppendNormal(nil, name))] = name != ""
	}
	p.names.Store(&set)
}

// Header says whether a header's value is private: by its name as it goes over the
// wire, or as a CGI has it (RFC 3875 §4.1.18).
func (p Private) Header(name string) bool {
	var buf [64]byte
	return (*p.names.Load())[string(strip.AppendNormal(buf[:0], strings.TrimPrefix(name, "HTTP_")))]
}

// Values returns the private values that a request's app is told.
func (Private) Values(ctx context.Context) []string {
	person, values := gateway.Told(ctx)
	if person == nil {
		return nil
	}
	values = append(values, person.Username, person.Email, person.Name, person.FirstName, person.LastName, joinNames(person.Roles), joinNames(person.Groups),
		person.Template, person.Account, person.SessionID)
	return slices.DeleteFunc(values, func(v string) bool { return v == "" })
}

// provisionProgram has the program prepare for this configuration.
func (a *App) provisionProgram(ctx caddy.Context) {
	a.private = NewPrivate()
	if ownProgram == nil {
		return
	}
	if err := ownProgram.Provision(ctx, a.private); err != nil {
		ctx.Logger().Error("logs will show who makes requests", zap.Error(err))
	}
}

// awaitSuccessor has the app learn of the configuration that replaces it.
func (a *App) awaitSuccessor(ctx caddy.Context) error {
	v, err := ctx.App("events")
	if err != nil {
		return err
	}
	events, err := as[*caddyevents.App](v)
	if err != nil {
		return err
	}
	return events.On("stopping", succession{a})
}

// A succession is told when the app's configuration is about to be stopped:
// after a new one has started, before any server shuts down.
type succession struct{ app *App }

// Handle implements caddyevents.Handler.
func (s succession) Handle(context.Context, caddy.Event) error {
	own, current := HTTPAppOf(s.app.ctx), HTTPAppOf(caddy.ActiveContext())
	if current == nil || current == own {
		return nil // nothing comes after it
	}
	s.app.giveWay(caddy.ActiveContext())
	s.app.retiring.Store(true)
	if ownProgram != nil {
		ownProgram.Replaced(s.app.ctx)
	}
	return nil
}

// giveWay leaves requests under way to the app of the new configuration, if it has one.
func (a *App) giveWay(ctx caddy.Context) {
	v, err := ctx.AppIfConfigured("sso")
	if err != nil {
		return // whoever closes the sessions cuts them
	}
	next, ok := v.(*App)
	if !ok || next.sessionsKey == "" || a.sessionsKey == "" {
		return
	}
	next.gateway.Succeed(a.gateway)
}

// sendAway has a client that keeps its connection open make a new one for its next
// request, if this configuration is about to be stopped. HTTP/2 and HTTP/3 have
// messages of their own for that, which their servers send.
func (a *App) sendAway(w http.ResponseWriter, r *http.Request) {
	if a.retiring.Load() && r.ProtoMajor == 1 && r.Header["Upgrade"] == nil {
		w.Header().Set("Connection", "close")
	}
}

// HTTPAppOf returns the http app of a configuration, or nil if it has none.
func HTTPAppOf(ctx caddy.Context) *caddyhttp.App {
	v, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	app, _ := v.(*caddyhttp.App)
	return app
}

// Interface guard
var _ caddyevents.Handler = succession{}
