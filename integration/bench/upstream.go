//go:build integration

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// appBody follows the first line of every answer.
var appBody = strings.Repeat("0123456789abcde\n", 64)

// answerTo is what the app answers: who it was told makes the request, and
// whether a JWT came along.
func answerTo(user string, assertion bool) string {
	line := user + " without\n"
	if assertion {
		line = user + " with\n"
	}
	return line + appBody
}

// upstream is the app, a process of its own: what it costs is not the proxy's.
func upstream() error {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		assertion := r.Header.Get("X-Sso-Assertion")
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(answerTo(r.Header.Get("Remote-User"), len(assertion) > 300 && strings.Count(assertion, ".") == 2)))
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(r.Header) })
	s := http.Server{Addr: *serve, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return s.ListenAndServe()
}
