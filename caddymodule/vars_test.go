package caddymodule_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(varsSpy{})
	httpcaddyfile.RegisterHandlerDirective("vars_spy", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return varsSpy{Fail: h.NextArg()}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("vars_spy", httpcaddyfile.After, "respond")
}

// A varsSpy is an app that notes Caddy's variables of the first request to it, and may
// fail. A proxy that it has given up would still read them.
type varsSpy struct {
	Fail bool `json:"fail,omitempty"`
}

// CaddyModule implements caddy.Module.
func (varsSpy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.vars_spy", New: func() caddy.Module { return new(varsSpy) }}
}

// seenKey is the key of a *seenVars among the values of a request's context.
type seenKey struct{}

type seenVars struct{ vars, then map[string]any }

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (s varsSpy) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	ctx := r.Context()
	if seen := ctx.Value(seenKey{}).(*seenVars); seen.vars == nil {
		seen.vars = ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
		seen.then = maps.Clone(seen.vars)
		go func() { _ = seen.vars["dialing"] }() // for the race detector
	}
	if s.Fail {
		return caddyhttp.Error(http.StatusServiceUnavailable, nil)
	}
	w.WriteHeader(http.StatusTeapot)
	return nil
}

// TestVarsAreNotWrittenAfterTheApp holds that Caddy's variables, which have no lock,
// are not written once an app had the request: its goroutines may still read them.
func TestVarsAreNotWrittenAfterTheApp(t *testing.T) {
	const nested = "PROVIDER\n role Reader *\n nested\n base_url ORIGIN\n app errors\n}\n"
	for _, guard := range []string{"", nested, "sso_strip\n", strings.Replace(nested, "nested", "nested\n errors caddy", 1)} {
		w := newWorld(t)
		if guard != "" {
			guard = "handle_errors {\n route {\n" + guard + "vars_spy\n}\n}"
		}
		w.mustLoad(w.global("") + `ORIGIN {
	log
	PROVIDER
		role User *
		public /open/*
		errors caddy
	}
	respond /whoami "{http.auth.user.id}"
	vars_spy fail
	` + guard + `
}
`)
		cookie := "sso=" + w.signInAs("alice", "team").cookie(w.origin())
		for _, tt := range []struct{ target, cookie string }{
			{"/page", cookie},
			{"/open/page", cookie},
			{"/open/page", ""},
			{"/open/page?x=1", ""},
			{"/page?x=1", cookie},
			{"/.sso/nothing", cookie},
			{"/.sso/oidc/callback?code=x&state=y", ""},
			{"/.sso/login?provider=none", cookie},
		} {
			seen := new(seenVars)
			rec, r := httptest.NewRecorder(), mustRequest(t, w.origin()+tt.target)
			r.RequestURI, r.RemoteAddr = tt.target, "127.0.0.1:40000"
			r.Header.Set("Accept", "text/html")
			if tt.cookie != "" {
				r.Header.Set("Cookie", tt.cookie)
			}
			mustServer(t).ServeHTTP(rec, r.WithContext(context.WithValue(t.Context(), seenKey{}, seen)))
			if !maps.Equal(seen.vars, seen.then) {
				t.Errorf("%s: status %d; an app saw %v, afterwards they were %v", tt.target, rec.Code, seen.then, seen.vars)
			}
		}
	}
}

// mustServer returns the server of the running configuration.
func mustServer(t *testing.T) *caddyhttp.Server {
	t.Helper()
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		return server
	}
	t.Fatal("there is no server")
	return nil
}
