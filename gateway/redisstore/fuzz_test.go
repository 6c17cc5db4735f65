package redisstore_test

import (
	"context"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// FuzzOpenURL: no URL panics, and an error is one of a few fixed texts, so it
// can't show a part of the password.
func FuzzOpenURL(f *testing.F) {
	texts := map[string]bool{}
	for _, url := range []string{
		"", "redis://%", "redis://h?x=y", "redis://", "unix://", "redis://h/1?db=1", "redis://h/x",
		"redis://user:pass@h:1/2", "rediss://h", "unix:///run/s?db=1", "redis://:se/cret@h", "redis://:se#cret@h", "redis://[::1%25a]",
	} {
		f.Add(url)
		if _, err := redisstore.Open(redisstore.Options{URL: url}); err != nil {
			texts[err.Error()] = true
		}
	}
	f.Fuzz(func(t *testing.T, url string) {
		s, err := redisstore.Open(redisstore.Options{URL: url})
		switch {
		case err == nil:
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		case !texts[err.Error()]:
			t.Errorf("an unknown text: %v", err)
		}
	})
}

// absurd is a length beyond 10 MB: go-redis makes room for what a server
// announces before it comes, so it is not for fuzzing on small machines.
var absurd = regexp.MustCompile(`[0-9]{8}`)

// FuzzAnswer holds that no answer of a server leads to a panic, or to a message that
// is not in it.
func FuzzAnswer(f *testing.F) {
	var answer atomic.Value
	answer.Store("")
	server := newFake(f, handshake(watched("master", "1-1", func(int) string { return answer.Load().(string) })))
	plain := newFake(f, handshake(func([]string) string { return answer.Load().(string) }))
	watchedStore, st := openFake(f, server, "", true), openFake(f, plain, "", true)
	for _, seed := range []string{
		"", "+OK\r\n", "$-1\r\n", "*-1\r\n", "*1\r\n$1\r\nx\r\n", "$999\r\n", "*999\r\n",
		"*1\r\n*2\r\n$10\r\nsso:stream\r\n*1\r\n*2\r\n$3\r\n1-2\r\n*2\r\n$1\r\nm\r\n$7\r\nmessage\r\n",
		"*1\r\n*2\r\n$10\r\nsso:stream\r\n*1\r\n*2\r\n$3\r\n1-2\r\n*-1\r\n", "*1\r\n*2\r\n$-1\r\n*0\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if absurd.MatchString(text) {
			return
		}
		answer.Store(text)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for name, do := range verbs(ctx, st) {
			if name != "Watch" {
				_ = do() // Any outcome but a panic.
			}
		}
		err := watchedStore.Watch(ctx, "", func(c store.Change) {
			for _, message := range c.Messages {
				if !strings.Contains(text, string(message)) {
					t.Errorf("the message %q is not in the answer", message)
				}
			}
		})
		if err == nil {
			t.Error("Watch ended without an error")
		}
	})
}
