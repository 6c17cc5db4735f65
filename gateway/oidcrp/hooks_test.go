package oidcrp_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
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

// setIn sets a member, and more of them: names and values in turn.
func setIn(name string, value any, more ...any) func(map[string]any) {
	return func(m map[string]any) {
		m[name] = value
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
	}
}

// all makes several changes.
func all(changes ...func(map[string]any)) func(map[string]any) {
	return func(m map[string]any) {
		for _, change := range changes {
			change(m)
		}
	}
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

// marked puts a byte order mark in front of what the OP serves.
func marked(path string) opHooks {
	return func(op *gatewaytest.OP) gatewaytest.OPHooks {
		return gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{path: func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			op.ServeAltered(rec, r, http.StatusOK, "application/json")
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(append([]byte("\xEF\xBB\xBF"), rec.Body.Bytes()...))
		}}}
	}
}

// padKeys writes the numbers of keys in base64 with padding, not in base64url.
func padKeys(set map[string]any) {
	for _, k := range set["keys"].([]any) {
		jwk := k.(map[string]any)
		for _, name := range []string{"n", "e", "x", "y"} {
			if s, ok := jwk[name].(string); ok {
				raw, err := base64.RawURLEncoding.DecodeString(s)
				if err != nil {
					panic(err)
				}
				jwk[name] = base64.StdEncoding.EncodeToString(raw)
			}
		}
	}
}

// nullKeys says null of what keys need not say.
func nullKeys(set map[string]any) {
	for _, k := range set["keys"].([]any) {
		jwk := k.(map[string]any)
		for _, name := range []string{"use", "key_ops", "alg", "x5c", "x5t", "d"} {
			jwk[name] = nil
		}
	}
}
