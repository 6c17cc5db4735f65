package oidcrp_test

import (
	"net/http"
	"strconv"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// opHooks make an OP behave in another way.
type opHooks = func(*gatewaytest.OP) gatewaytest.OPHooks

// header changes the header before the token is signed.
func header(change func(map[string]any)) opHooks {
	return fixedHooks(gatewaytest.OPHooks{Header: change})
}

func claims(change func(map[string]any)) opHooks {
	return fixedHooks(gatewaytest.OPHooks{Claims: change})
}

// fixedHooks are hooks that need nothing of the OP.
func fixedHooks(h gatewaytest.OPHooks) opHooks {
	return func(*gatewaytest.OP) gatewaytest.OPHooks { return h }
}

func setIn(name string, value any) func(map[string]any) {
	return func(m map[string]any) { m[name] = value }
}

func deleteFrom(names ...string) func(map[string]any) {
	return func(m map[string]any) {
		for _, name := range names {
			delete(m, name)
		}
	}
}

// alter answers a path as the OP would, with another status or content type.
func alter(path string, status int, contentType string) opHooks {
	return func(op *gatewaytest.OP) gatewaytest.OPHooks {
		return gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{path: func(w http.ResponseWriter, r *http.Request) {
			op.ServeAltered(w, r, status, contentType)
		}}}
	}
}

func numbered(n int) []string {
	groups := make([]string, n)
	for i := range groups {
		groups[i] = "g" + strconv.Itoa(i)
	}
	return groups
}
