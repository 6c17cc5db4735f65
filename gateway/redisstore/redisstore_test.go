package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

func TestOpenURL(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ url, want string }{
		"tcp":                        {"redis://localhost", ""},
		"all":                        {"redis://user:p%40ss@localhost:6380/15", ""},
		"tls":                        {"rediss://:pass@redis.example.com", ""},
		"IPv6":                       {"redis://[::1]:6379/0", ""},
		"database as option":         {"redis://localhost?db=3", ""},
		"unix":                       {"unix://user:pass@/run/redis.sock?db=1", ""},
		"empty":                      {"", "expected redis://"},
		"no scheme":                  {"localhost:6379", "expected redis://"},
		"another scheme":             {"http://localhost", "expected redis://"},
		"no slashes":                 {"redis:localhost", "expected a host"},
		"no host":                    {"redis://:canary@:6379", "expected a host"},
		"port 0":                     {"redis://localhost:0", "a port between"},
		"port too high":              {"redis://localhost:65536", "a port between"},
		"a path":                     {"redis://localhost/a/b", "not a number"},
		"negative database":          {"redis://localhost/-1", "not a number"},
		"two databases":              {"redis://localhost/1?db=1", "given twice"},
		"two database options":       {"redis://localhost?db=1&db=2", "only option"},
		"an option of go-redis":      {"redis://localhost?max_retries=3", "only option"},
		"TLS verification off":       {"rediss://localhost?skip_verify=true", "only option"},
		"password with slash":        {"redis://:cana/canary@localhost", "percent-encoded"},
		"password with question":     {"redis://:123?canary@localhost", "only option"},
		"password with number sign":  {"redis://:123#canary@localhost", "percent-encoded"},
		"password with percent":      {"redis://:%zzcanary@localhost", "percent-encoded"},
		"password with control":      {"redis://:\x01canary@localhost", "percent-encoded"},
		"relative socket":            {"unix://redis.sock", "absolute path"},
		"socket without path":        {"unix://", "absolute path"},
		"blank in the host":          {"redis://:canary@local host", "percent-encoded"},
		"database that is no number": {"redis://:canary@localhost/canary", "not a number"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := redisstore.Open(redisstore.Options{URL: test.url})
			if test.want == "" {
				must(t, err)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "cana") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestOpenUses: what the URL says arrives at the server.
func TestOpenUses(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 10)
	f := newFake(t, func(args []string) string {
		seen <- strings.Join(args, " ")
		return handshake(func([]string) string { return "*1\r\n$-1\r\n" })(args)
	})
	s, err := redisstore.Open(redisstore.Options{URL: "redis://us%3Aer:p%40ss@" + f.addr + "/7", Prefix: "other:", Timeout: time.Minute})
	must(t, err)
	defer s.Close()
	if _, err := s.Get(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hello 2 auth us:er p@ss", "auth us:er p@ss", "select 7", "mget other:v:key"} {
		if got := <-seen; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPingRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ info, want string }{
		"evicting":         {info("maxmemory_policy:volatile-lru"), "set maxmemory-policy to noeviction"},
		"no policy":        {info("maxmemory_policy:"), "set maxmemory-policy to noeviction"},
		"replica":          {info("role:slave"), "give the address of the primary"},
		"loading":          {info("loading:1"), "wait"},
		"cluster":          {info("redis_mode:cluster"), "Cluster"},
		"sentinel":         {info("redis_mode:sentinel"), "Sentinel"},
		"too old":          {info("redis_version:6.0.16"), "6.2 or later"},
		"much too old":     {info("redis_version:5.9.1"), "6.2 or later"},
		"no version":       {info("redis_version:new"), "is it Redis?"},
		"empty":            {bulk(""), "is it Redis?"},
		"no answer":        {hang, "i/o timeout"},
		"hangs up":         {"", "closed the connection"},
		"another protocol": {"HTTP/1.1 400 Bad Request\r\n\r\n", "can't be read"},
		"refused":          {"-NOPERM this user has no permissions\r\n", "ACL"},
		"answers loading":  {"-LOADING Redis is loading the dataset in memory\r\n", "wait"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, func(args []string) string {
				if args[0] == "info" {
					return test.info
				}
				return handshake(nil)(args)
			})
			s := openFake(t, f, "", test.info == hang)
			watch := s.Watch(t.Context(), "", func(store.Change) { t.Error("Watch began") })
			for verb, err := range map[string]error{"Ping": s.Ping(t.Context()), "Watch": watch} {
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), f.addr) {
					t.Errorf("%s: %v, want %q and the address", verb, err, test.want)
				}
			}
		})
	}
	t.Run("newer", func(t *testing.T) {
		t.Parallel()
		f := newFake(t, func(args []string) string {
			if args[0] == "info" {
				return info("redis_version:10.1")
			}
			return handshake(nil)(args)
		})
		if err := openFake(t, f, "", false).Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// verbs calls every method that reads or writes.
func verbs(ctx context.Context, s *redisstore.Store) map[string]func() error {
	return map[string]func() error{
		"Get":           func() error { _, err := s.Get(ctx, "key"); return err },
		"Put":           func() error { return s.Put(ctx, "key", []byte("value-canary"), time.Minute) },
		"PutNew":        func() error { return s.PutNew(ctx, "key", []byte("value-canary"), time.Minute) },
		"Take":          func() error { _, err := s.Take(ctx, "key"); return err },
		"CompareAndPut": func() error { return s.CompareAndPut(ctx, "key", nil, []byte("value-canary"), time.Minute) },
		"Delete":        func() error { return s.Delete(ctx, "key") },
		"Add":           func() error { return s.Add(ctx, "index", "member") },
		"Remove":        func() error { return s.Remove(ctx, "index", "member") },
		"Range":         func() error { _, err := s.Range(ctx, "index", "", "", 1); return err },
		"Announce":      func() error { return s.Announce(ctx, []byte("value-canary")) },
		"Watch":         func() error { return s.Watch(ctx, "", func(store.Change) {}) },
	}
}

// TestMisbehaving has a server send nonsense: every verb has a fault, soon, and the
// fault quotes no secret.
func TestMisbehaving(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer, want string
	}{
		"hangs":                {hang, "i/o timeout"},
		"hangs up":             {"", "closed the connection"},
		"not Redis":            {"SSH-2.0-canary\r\n", "can't be read"},
		"absurd length":        {"$9223372036854775807\r\n", "can't be read"},
		"absurd array":         {"*4611686018427387904\r\n", "can't be read"},
		"length of letters":    {"$canary\r\n", "can't be read"},
		"unknown command":      {"-ERR unknown command 'GETDEL', with args beginning with: 'key' 'value-canary'\r\n", "6.2 or later"},
		"quotes the arguments": {"-ERR refused: `value-canary`\r\n", "ERR refused"},
		"long text":            {"-ERR " + strings.Repeat("x", 100_000) + "\r\n", "ERR xxx"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, handshake(func([]string) string { return test.answer }))
			for verb, do := range verbs(t.Context(), openFake(t, f, "user:password-canary@", test.answer == hang)) {
				start := time.Now()
				err := do()
				if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrChanged) {
					t.Errorf("%s: %v is no fault", verb, err)
					continue
				}
				if text := err.Error(); strings.Contains(text, "canary") || len(text) > 400 || !strings.Contains(text, test.want) || !strings.Contains(text, f.addr) {
					t.Errorf("%s: %.500q, want %q", verb, text, test.want)
				}
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("%s took %v", verb, took)
				}
			}
		})
	}
}

// TestWrongAnswers are well-formed answers to another question.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		verb, answer string
	}{
		"Get too few":         {"Get", "*0\r\n"},
		"Get too many":        {"Get", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
		"Get of a number":     {"Get", "*1\r\n:1\r\n"},
		"Get of nothing":      {"Get", "*-1\r\n"},
		"Put":                 {"Put", "+QUEUED\r\n"},
		"Put of nothing":      {"Put", "$-1\r\n"},
		"PutNew":              {"PutNew", "+QUEUED\r\n"},
		"Take":                {"Take", "*0\r\n"},
		"CompareAndPut":       {"CompareAndPut", ":3\r\n"},
		"CompareAndPut of ok": {"CompareAndPut", "+OK\r\n"},
		"Range":               {"Range", ":0\r\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, handshake(func([]string) string { return test.answer }))
			err := verbs(t.Context(), openFake(t, f, "", false))[test.verb]()
			if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrChanged) {
				t.Errorf("%v is no fault", err)
			}
		})
	}
}

// TestNoRetry: a command whose answer is lost is sent once.
func TestNoRetry(t *testing.T) {
	t.Parallel()
	for name := range verbs(t.Context(), nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			commands := make(chan string, 100)
			f := newFake(t, handshake(func(args []string) string {
				commands <- args[0]
				return ""
			}))
			if err := verbs(t.Context(), openFake(t, f, "", false))[name](); err == nil {
				t.Error("no error")
			}
			if len(commands) != 1 {
				t.Errorf("%d commands were sent", len(commands))
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	f := newFake(t, func([]string) string { return hang })
	s, err := redisstore.Open(redisstore.Options{URL: "redis://" + f.addr, Timeout: time.Minute})
	must(t, err)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for verb, do := range verbs(ctx, s) {
		start := time.Now()
		if err := do(); err == nil {
			t.Errorf("%s: no error", verb)
		}
		if took := time.Since(start); took > 20*time.Second { // far from the minute
			t.Errorf("%s took %v with a deadline of 200 ms", verb, took)
		}
	}
}
