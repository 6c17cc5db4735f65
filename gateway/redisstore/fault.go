package redisstore

import (
	"context"
	"crypto/tls"
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
func (s *Store) finish(ctx context.Context, doing string, err *error) {
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
	*err = fmt.Errorf("redis at %s: %s: %w", s.options.Addr, doing, s.presentable(ctx, *err))
}

// explained adds to an error what it means and what to do about it. Until a server has
// answered, one of the two ends may speak TLS and the other not.
func (s *Store) explained(ctx context.Context, err error) error {
	withTLS, first := s.options.TLSConfig != nil, !s.answered.Load()
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, redis.ErrPoolTimeout):
		return fmt.Errorf("%w: all connections to it are in use; it answers too slowly, see its SLOWLOG", err)
	case errors.Is(err, redis.ErrClosed):
		return fmt.Errorf("%w: the configuration that used it has ended", err)
	case first && withTLS && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: is it up, and does it speak TLS, as rediss:// says?", err)
	case noTLS:
		return fmt.Errorf("%w: it speaks no TLS at this port; write redis://, or give its tls-port", err)
	case first && !withTLS && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) && s.speaksTLS(ctx):
		return fmt.Errorf("%w: it speaks TLS at this port; write rediss://", err)
	}
	return s.explain(err)
}

// speaksTLS reports whether the server answers to TLS. Nothing is sent to it but the
// handshake, and that once: each failing call would wait for it.
func (s *Store) speaksTLS(ctx context.Context) bool {
	if s.asked.Swap(true) {
		return s.overTLS.Load()
	}
	ask, cancel := context.WithTimeout(ctx, s.options.DialTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // G402: it only asks whether there is TLS
	conn, err := dialer.DialContext(ask, s.options.Network, s.options.Addr)
	if err == nil {
		_ = conn.Close()
	}
	_, refused := errors.AsType[tls.AlertError](err)
	s.overTLS.Store(err == nil || refused)
	if ctx.Err() != nil { // the caller was gone before the server could say anything
		s.asked.Store(false)
	}
	return s.overTLS.Load()
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

// presentable returns err in words that say what to do, without anything that the server
// quoted from a command or put in place of an answer.
func (s *Store) presentable(ctx context.Context, err error) error {
	var refused redis.Error
	var network net.Error
	var ours fault
	switch {
	case errors.Is(err, redis.Nil):
		return errAnswer
	case errors.As(err, &refused):
		return fault(strings.ReplaceAll(explainAnswer(refused.Error()), "redis-cli", s.cli()))
	case errors.Is(err, context.Canceled), errors.As(err, &ours):
		return err
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, redis.ErrClosed), errors.Is(err, redis.ErrPoolTimeout):
		return s.explained(ctx, err)
	}
	return errAnswer
}

// maxText bounds how much of a server's error is shown, in bytes.
const maxText = 120

// A fault is a text of ours.
type fault string

func (f fault) Error() string { return string(f) }

// hints say what to do about the errors of Redis that a setting can mend.
var hints = []struct{ begins, hint string }{
	{"BUSY", "a script of another program runs for too long: end it by redis-cli SCRIPT KILL"},
	{"DENIED", "it is in protected mode, and accepts connections from its own machine alone: give it a password, or see protected-mode in redis.conf"},
	{"LOADING", "it is reading its data set: wait"},
	{"MASTERDOWN", "it is a replica: give the address of the primary"},
	{"MISCONF", "it can't save to its disk and accepts no writes: make room in its directory (redis-cli CONFIG GET dir), or correct what its log names, then run redis-cli BGSAVE"},
	{"NOAUTH", "it wants a password: put user and password in the URL"},
	{"NOPERM", "the user's ACL forbids it: allow what the documentation lists"},
	{"NOREPLICAS", "too few replicas are connected: see min-replicas-to-write"},
	{"MOVED", "it is part of a Redis Cluster: give the address of a primary that is in none"},
	{"NOSCRIPT", "scripts are needed: allow EVAL and EVALSHA"},
	{"OOM", "its memory is full: raise maxmemory, at once by redis-cli CONFIG SET maxmemory <bytes> and for good in redis.conf"},
	{"READONLY", "it is a replica: give the address of the primary"},
	{"WRONGPASS", "user or password in the URL are wrong"},
	{"WRONGTYPE", "another program uses our keys: set another prefix"},
	{"ERR unknown command", "Redis 6.2 or later is needed, with no command renamed"},
	{"ERR max number of clients reached", "raise maxclients in redis.conf, or end clients that hang"},
	{"ERR DB index is out of range", "the URL names a database that there is not: see databases in redis.conf"},
	{"ERR invalid DB index", "the URL names a database that there is not: see databases in redis.conf"},
	{"ERR AUTH <password> called without any password configured", "it has no password: take user and password out of the URL"},
	{"ERR Client sent AUTH, but no password is set", "it has no password: take user and password out of the URL"},
}

// explainAnswer adds to an error of Redis what to do about it. Text that it quotes is cut
// off: a command's arguments may be the password or a value.
func explainAnswer(text string) string {
	// Before Redis 7 the error of a script is the whole story, with the cause last.
	if _, cause, ok := strings.Cut(text, ": -"); ok {
		text = cause
	}
	for _, known := range hints {
		if strings.HasPrefix(text+" ", known.begins+" ") {
			return known.begins + ": " + known.hint
		}
	}
	if i := strings.IndexAny(text, "'`\"\r\n"); i >= 0 {
		text = text[:i] + "…"
	}
	return text[:min(len(text), maxText)]
}
