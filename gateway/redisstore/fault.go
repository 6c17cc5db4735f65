package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// errAnswer hides what the server sent: it may be a stored value.
var errAnswer = errors.New("the server's answer can't be read: is it Redis 6.2 or later?")

// finish makes a fault of what a method returns: the address, what was being
// done, and how to mend it. It also stops go-redis's panics over absurd
// lengths in an answer.
func (s *Store) finish(doing string, err *error) {
	if recover() != nil {
		*err = errAnswer
	}
	switch {
	case *err == nil, errors.Is(*err, store.ErrNotFound), errors.Is(*err, store.ErrExists), errors.Is(*err, store.ErrChanged):
		if !s.answered.Load() {
			s.answered.Store(true)
		}
		return
	}
	*err = fmt.Errorf("redis at %s: %s: %w", s.options.Addr, doing, s.suspecting(s.presentable(*err)))
}

// suspecting adds to an error that has no reason in it what may be one: that
// only one of the two ends speaks TLS. A server that has answered before was
// reached the right way.
func (s *Store) suspecting(err error) error {
	if s.answered.Load() {
		return err
	}
	switch tls := s.options.TLSConfig != nil; {
	case tls && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: is it up, and does it speak TLS, as rediss:// says?", err)
	case !tls && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("%w: if it wants TLS, write rediss://", err)
	}
	return err
}

// cli is redis-cli with what leads it to this server, a password apart.
func (s *Store) cli() string {
	o := &s.options
	host, port, err := net.SplitHostPort(o.Addr)
	if o.Network == "unix" || err != nil {
		return "redis-cli -s " + o.Addr
	}
	cli := "redis-cli -h " + host + " -p " + port
	if o.TLSConfig != nil {
		cli += " --tls"
	}
	return cli
}

// DiscardDriverLog ends what go-redis itself writes to the standard error, for
// the whole program. All of it is in the errors of a Store, too.
func DiscardDriverLog() { logging.Disable() }

// presentable returns err without anything that the server quoted from a
// command or put in place of an answer.
func (s *Store) presentable(err error) error {
	var refused redis.Error
	var network net.Error
	var fault fault
	switch {
	case errors.Is(err, redis.Nil):
		return errAnswer
	case errors.As(err, &refused):
		return errors.New(strings.ReplaceAll(explain(refused.Error()), "redis-cli", s.cli()))
	case errors.As(err, &fault), errors.As(err, &network), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, redis.ErrClosed), errors.Is(err, redis.ErrPoolTimeout):
		return err
	}
	return errAnswer
}

// maxText bounds how much of a server's error is shown, in bytes.
const maxText = 120

// A fault is a text of ours.
type fault string

func (f fault) Error() string { return string(f) }

// hints say what to do about the errors of Redis that a setting can mend.
var hints = map[string]string{
	"LOADING":    "it is reading its data set: wait",
	"MASTERDOWN": "it is a replica: give the address of the primary",
	"MISCONF":    "it can't save to its disk and takes no writes: make room in its directory (redis-cli CONFIG GET dir), or mend what its log names, then redis-cli BGSAVE",
	"NOAUTH":     "it wants a password: put user and password in the URL",
	"NOPERM":     "the user's ACL forbids it: allow what the documentation lists",
	"NOREPLICAS": "too few replicas are connected: see min-replicas-to-write",
	"NOSCRIPT":   "scripts are needed",
	"OOM":        "its memory is full: raise maxmemory, at once by redis-cli CONFIG SET maxmemory <bytes> and for good in redis.conf",
	"READONLY":   "it is a replica: give the address of the primary",
	"WRONGPASS":  "user or password in the URL are wrong",
	"WRONGTYPE":  "another program uses our keys: set another prefix",
}

// explain adds to an error of Redis what to do about it. Text that it quotes is cut
// off: a command's arguments may be the password or a value.
func explain(text string) string {
	// Before Redis 7 the error of a script is the whole story, with the cause last.
	if _, cause, ok := strings.Cut(text, ": -"); ok {
		text = cause
	}
	word, _, _ := strings.Cut(text, " ")
	if hint, ok := hints[word]; ok {
		return word + ": " + hint
	}
	if strings.HasPrefix(text, "ERR unknown command") {
		return "ERR unknown command: Redis 6.2 or later is needed, with no command renamed"
	}
	if i := strings.IndexAny(text, "'`\"\r\n"); i >= 0 {
		text = text[:i] + "…"
	}
	return text[:min(len(text), maxText)]
}
