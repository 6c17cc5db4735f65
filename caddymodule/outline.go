package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
)

// An outline is a copy of the http app in which all handlers and matchers have their
// options, but none is provisioned. The place of an `sso` can be checked only when all
// routes are known. `caddy validate` never calls Start, and Caddy has no step between
// Provision and Start. So the places are checked when the last `sso` is provisioned.
type outline struct {
	app *caddyhttp.App
	// handlers are ours, in the order of the routes.
	handlers []*Handler
	site     string // see siteName; "" outside of the main routes
}

// checkSites checks the sites as Start does, when the last `sso` is provisioned. Start
// finds more, such as an `sso` inside of a third-party module.
func (a *App) checkSites(ctx caddy.Context) error {
	if a.outline == nil {
		a.outline = new(outline)
		if web := HTTPAppOf(ctx); web != nil {
			if err := a.outline.draw(web); err != nil {
				a.outline = new(outline) // Caddy itself reports the fault later
			}
		}
	}
	if len(a.handlers) != len(a.outline.handlers) {
		return nil
	}
	known := a.match(a.outline.handlers)
	if known == nil {
		return nil
	}
	places, err := a.findSites(a.outline.app, func(h *Handler) *Handler { return known[h] })
	if err != nil {
		return err
	}
	return a.place(places)
}

// warn logs a message once: the sites are checked twice.
func (a *App) warn(msg string, fields ...zap.Field) {
	key := fmt.Sprint(msg, fields)
	if !a.warned[key] {
		a.warned[key] = true
		a.log.Warn(msg, fields...)
	}
}

// match returns the provisioned handler for each handler of the outline, or nil if one is
// missing. Among handlers with the same options any will do.
func (a *App) match(outlined []*Handler) map[*Handler]*Handler {
	left := slices.Clone(a.handlers)
	known := map[*Handler]*Handler{}
	for _, h := range outlined {
		config, err := json.Marshal(h)
		i := slices.IndexFunc(left, func(p *Handler) bool { return p.config == string(config) && p.site == h.site })
		if i < 0 { // it is in a named route or an error route
			i = slices.IndexFunc(left, func(p *Handler) bool { return p.config == string(config) })
		}
		if err != nil || i < 0 {
			return nil
		}
		known[h] = left[i]
		left = slices.Delete(left, i, i+1)
	}
	return known
}

// draw copies the http app, which Caddy is provisioning.
func (o *outline) draw(web *caddyhttp.App) (err error) {
	o.app = &caddyhttp.App{HTTPPort: web.HTTPPort, HTTPSPort: web.HTTPSPort, Servers: map[string]*caddyhttp.Server{}}
	for name, srv := range web.Servers {
		drawn := &caddyhttp.Server{Listen: srv.Listen, TLSConnPolicies: srv.TLSConnPolicies, NamedRoutes: map[string]*caddyhttp.Route{}}
		for _, route := range srv.Routes {
			o.site = siteOf(route, srv)
			r, err := o.route(route)
			if err != nil {
				return err
			}
			drawn.Routes = append(drawn.Routes, r)
		}
		o.site = ""
		if drawn.Errors, err = o.errors(srv.Errors); err != nil {
			return err
		}
		for name, route := range srv.NamedRoutes {
			r, err := o.route(*route)
			if err != nil {
				return err
			}
			drawn.NamedRoutes[name] = &r
		}
		o.app.Servers[name] = drawn
	}
	return nil
}

func (o *outline) routes(list caddyhttp.RouteList) (drawn caddyhttp.RouteList, err error) {
	for _, route := range list {
		r, err := o.route(route)
		if err != nil {
			return nil, err
		}
		drawn = append(drawn, r)
	}
	return drawn, nil
}

func (o *outline) errors(config *caddyhttp.HTTPErrorConfig) (*caddyhttp.HTTPErrorConfig, error) {
	if config == nil {
		return nil, nil
	}
	routes, err := o.routes(config.Routes)
	return &caddyhttp.HTTPErrorConfig{Routes: routes}, err
}

// route copies a route. Caddy may have provisioned its matchers or handlers.
func (o *outline) route(r caddyhttp.Route) (caddyhttp.Route, error) {
	drawn := caddyhttp.Route{Group: r.Group, Terminal: r.Terminal, MatcherSets: r.MatcherSets, Handlers: r.Handlers}
	if r.MatcherSetsRaw != nil {
		sets, err := matchers(r.MatcherSetsRaw)
		if err != nil {
			return drawn, err
		}
		drawn.MatcherSets = sets
	}
	if r.HandlersRaw == nil {
		return drawn, nil
	}
	drawn.Handlers = nil
	for _, raw := range r.HandlersRaw {
		handler, err := guest[caddyhttp.MiddlewareHandler](raw, "handler", "http.handlers.")
		if err != nil {
			return drawn, err
		}
		if err := o.handler(handler); err != nil {
			return drawn, err
		}
		drawn.Handlers = append(drawn.Handlers, handler)
	}
	return drawn, nil
}

// handler copies the routes within a handler.
func (o *outline) handler(handler caddyhttp.MiddlewareHandler) (err error) {
	switch h := handler.(type) {
	case *Handler:
		h.site = o.site
		o.handlers = append(o.handlers, h)
	case *caddyhttp.Subroute:
		if h.Routes, err = o.routes(h.Routes); err != nil {
			return err
		}
		h.Errors, err = o.errors(h.Errors)
	case *intercept.Intercept:
		err = o.responses(h.HandleResponse)
	case *reverseproxy.Handler:
		if h.TransportRaw != nil {
			if h.Transport, err = guest[http.RoundTripper](h.TransportRaw, "protocol", "http.reverse_proxy.transport."); err != nil {
				return err
			}
		}
		err = o.responses(h.HandleResponse)
	}
	return err
}

func (o *outline) responses(list []caddyhttp.ResponseHandler) (err error) {
	for i := range list {
		if list[i].Routes, err = o.routes(list[i].Routes); err != nil {
			return err
		}
	}
	return nil
}

// matchers returns sets of matchers with their options.
func matchers(raw []caddy.ModuleMap) (sets caddyhttp.MatcherSets, err error) {
	for _, modules := range raw {
		var set caddyhttp.MatcherSet
		for name, config := range modules {
			matcher, err := decoded("http.matchers."+name, config)
			if err != nil {
				return nil, err
			}
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				err = m.Provision(caddy.Context{}) // only normalizes names
			case *caddyhttp.MatchPath:
				err = m.Provision(caddy.Context{}) // only normalizes paths
			case *caddyhttp.MatchNot:
				var inner caddyhttp.MatcherSets
				inner, err = matchers(m.MatcherSetsRaw)
				m.MatcherSets = inner
			}
			if err != nil {
				return nil, err
			}
			set = append(set, matcher)
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// guest returns a module with its options. The member key of the options names it. As in
// Caddy, the module gets its options without that member, in alphabetical order.
func guest[T any](raw json.RawMessage, key, namespace string) (T, error) {
	var none T
	var options map[string]any
	if err := json.Unmarshal(raw, &options); err != nil {
		return none, err
	}
	name, err := as[string](options[key])
	if err != nil {
		return none, err
	}
	delete(options, key)
	own, err := json.Marshal(options)
	if err != nil {
		return none, err
	}
	module, err := decoded(namespace+name, own)
	if err != nil {
		return none, err
	}
	return as[T](module)
}

// decoded returns a module with its options.
func decoded(id string, options json.RawMessage) (any, error) {
	info, err := caddy.GetModule(id)
	if err != nil {
		return nil, err
	}
	module := info.New()
	if err := json.Unmarshal(options, module); err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	return module, nil
}
