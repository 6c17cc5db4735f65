// Package redisstore keeps the gateway's records in Redis (6.2 or later, or
// what speaks its protocol): the store for several nodes.
//
// With the prefix "sso:" this is what Redis holds:
//
//   - sso:v:KEY: a string for each value. It expires by itself (PX).
//   - sso:i:INDEX: a sorted set for each index, all scores 0, in bytewise order.
//   - sso:c:KEY: a number for each counter. It expires by itself.
//   - sso:health: written every second, to prove that writing works.
//   - sso:stream: the announcements, a stream of about the last 10,000. An entry
//     has the field m (the message), hello (a Watch began), or back (one that has
//     dealt with a stream that went back in time).
//
// The gateway seals values before they come here. One writable primary with
// maxmemory-policy noeviction is required, see [Store.Ping]; Redis Cluster and
// reading from replicas are not supported. A restricted ACL user needs ~sso:*
// and +@connection +info +role +mget +set +get +getdel +del +pttl +zadd +zrem
// +zrange +xadd +xread +xrange +xinfo +eval +evalsha, and +config|get if the
// gateway is to warn of settings that can lose a logout.
package redisstore

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// Options say where Redis is.
type Options struct {
	// URL is redis://[user:password@]host[:port][/db], the same with rediss
	// for TLS, or unix://[user:password@]/path/to/socket[?db=N]. Special
	// characters in user and password are percent-encoded. Required.
	URL string
	// Prefix begins the name of every key. Default "sso:".
	Prefix string
	// TLS is for rediss URLs alone: a private CA, a client certificate.
	// Default: the system's CAs and TLS 1.2 or later.
	TLS *tls.Config
	// DialTimeout bounds making a connection, the TLS handshake included.
	// Default 2 s.
	DialTimeout time.Duration
	// Timeout bounds each read and each write. Default 1 s.
	Timeout time.Duration
	// Explain adds to a network error what it means and what to do about it, and keeps
	// the error in the chain. Default: it is shown as it is.
	Explain func(error) error
}

// A Store is a store.Store in Redis.
type Store struct {
	client  *redis.Client
	options redis.Options
	prefix  string
	past    past
	login   atomic.Pointer[url.Userinfo]
	// answered is set once the server has answered anything.
	answered atomic.Bool
	// asked and overTLS are what speaksTLS remembers.
	asked, overTLS atomic.Bool
	explain        func(error) error
}

// Open returns a store, or says what is wrong with the options. It does not
// connect: Ping does. The store must be closed.
func Open(o Options) (*Store, error) {
	opt, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		if opt.TLSConfig == nil {
			return nil, errors.New("reading the Redis URL: TLS settings need the scheme rediss")
		}
		name := opt.TLSConfig.ServerName
		if opt.TLSConfig = o.TLS.Clone(); opt.TLSConfig.ServerName == "" {
			opt.TLSConfig.ServerName = name
		}
	}
	opt.DialTimeout = cmp.Or(o.DialTimeout, 2*time.Second)
	opt.ReadTimeout = cmp.Or(o.Timeout, time.Second)
	opt.WriteTimeout = opt.ReadTimeout
	opt.Dialer = dialer(opt.DialTimeout, opt.TLSConfig)
	opt.DialerRetries = 1
	opt.ContextTimeoutEnabled = true
	// Never retry: the answer of a command that was done can be lost. Done again, SET NX
	// says "exists" to the winner, and GETDEL says "not found" and has lost the value.
	opt.MaxRetries = -1
	opt.Protocol = 2 // No pushes are wanted.
	opt.PipelinePoolSize = -1
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	s := &Store{prefix: cmp.Or(o.Prefix, "sso:"), explain: o.Explain}
	if s.explain == nil {
		s.explain = func(err error) error { return err }
	}
	s.login.Store(url.UserPassword(opt.Username, opt.Password))
	opt.CredentialsProvider = s.credentials
	opt.OnConnect = s.onConnect
	s.options = *opt
	s.client = redis.NewClient(opt)
	return s, nil
}

// LogInAs has new connections log in as a URL says that differs in user and
// password alone. Those that are open stay.
func (s *Store) LogInAs(address string) {
	if opt, err := parseURL(address); err == nil {
		s.login.Store(url.UserPassword(opt.Username, opt.Password))
	}
}

func (s *Store) credentials() (user, password string) {
	login := s.login.Load()
	password, _ = login.Password()
	return login.Username(), password
}

// dialer honours the context in the TLS handshake too, which go-redis's own
// does not.
func dialer(timeout time.Duration, config *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: timeout}
	if config == nil {
		return plain.DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&tls.Dialer{NetDialer: plain, Config: config}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		return conn, nil
	}
}

// Close closes all connections. Do not close before every Watch has returned.
func (s *Store) Close() error { return s.client.Close() }

func (s *Store) key(key string) string     { return s.prefix + "v:" + key }
func (s *Store) index(index string) string { return s.prefix + "i:" + index }

func (s *Store) keys(keys []string) []string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.key(key)
	}
	return names
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, keys ...string) (values [][]byte, err error) {
	defer s.finish(ctx, "reading values", &err)
	if len(keys) == 0 {
		return nil, ctx.Err()
	}
	found, err := s.client.MGet(ctx, s.keys(keys)...).Result()
	if err != nil {
		return nil, err
	}
	if len(found) != len(keys) {
		return nil, errAnswer
	}
	values = make([][]byte, len(keys))
	for i, f := range found {
		switch f := f.(type) {
		case nil:
		case string:
			values[i] = []byte(f)
		default:
			return nil, errAnswer
		}
	}
	return values, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (err error) {
	defer s.finish(ctx, "storing a value", &err)
	return s.set(ctx, key, value, ttl)
}

// PutNew implements store.Store.
func (s *Store) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) (err error) {
	defer s.finish(ctx, "storing a new value", &err)
	err = s.set(ctx, key, value, ttl, "nx")
	if errors.Is(err, redis.Nil) {
		return store.ErrExists
	}
	return err
}

func (s *Store) set(ctx context.Context, key string, value []byte, ttl time.Duration, options ...any) error {
	ms, err := milliseconds(ttl)
	if err != nil {
		return err
	}
	args := append([]any{"set", s.key(key), value}, options...)
	if ms > 0 {
		args = append(args, "px", ms)
	}
	answer, err := s.client.Do(ctx, args...).Text()
	if err == nil && answer != "OK" {
		return errAnswer
	}
	return err
}

// Take implements store.Store.
func (s *Store) Take(ctx context.Context, key string) (value []byte, err error) {
	defer s.finish(ctx, "taking a value", &err)
	value, err = s.client.GetDel(ctx, s.key(key)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, store.ErrNotFound
	}
	return value, err
}

// compareAndPut answers 0 for nothing there, 1 for another value, 2 for done.
var compareAndPut = redis.NewScript(`
local found = redis.call('GET', KEYS[1])
if not found then return 0 end
if found ~= ARGV[1] then return 1 end
if ARGV[3] == '0' then
	redis.call('SET', KEYS[1], ARGV[2])
else
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 2`)

// CompareAndPut implements store.Store.
func (s *Store) CompareAndPut(ctx context.Context, key string, old, value []byte, ttl time.Duration) (err error) {
	defer s.finish(ctx, "replacing a value", &err)
	ms, err := milliseconds(ttl)
	if err != nil {
		return err
	}
	answer, err := compareAndPut.Run(ctx, s.client, []string{s.key(key)}, old, value, ms).Int()
	switch {
	case err != nil:
		return err
	case answer == 0:
		return store.ErrNotFound
	case answer == 1:
		return store.ErrChanged
	case answer == 2:
		return nil
	}
	return errAnswer
}

// count answers the sum and the milliseconds that are left of the counter. A value that is
// no number, or that never expires (by RESTORE or PERSIST), is replaced: else it could lock
// an address out for good.
var count = redis.NewScript(`
local delta = tonumber(ARGV[1])
local n = tonumber(redis.call('GET', KEYS[1]) or '')
local left = redis.call('PTTL', KEYS[1])
if not n or left < 0 then
	if delta <= 0 then return {0, 0} end
	redis.call('SET', KEYS[1], delta, 'PX', ARGV[2])
	return {delta, tonumber(ARGV[2])}
end
n = math.max(0, n + delta)
redis.call('SET', KEYS[1], n, 'KEEPTTL')
return {n, left}`)

// Count implements store.Store.
func (s *Store) Count(ctx context.Context, key string, delta int, ttl time.Duration) (n int, left time.Duration, err error) {
	defer s.finish(ctx, "counting", &err)
	ms, err := milliseconds(ttl)
	if err != nil {
		return 0, 0, err
	}
	answer, err := count.Run(ctx, s.client, []string{s.prefix + "c:" + key}, delta, ms).Int64Slice()
	if err != nil {
		return 0, 0, err
	}
	if len(answer) != 2 || answer[0] < 0 || answer[1] < 0 {
		return 0, 0, errAnswer
	}
	return int(answer[0]), time.Duration(answer[1]) * time.Millisecond, nil
}

// milliseconds rounds a ttl up; 0 is for ever.
func milliseconds(ttl time.Duration) (int64, error) {
	if ttl < 0 {
		return 0, fault("the ttl is negative: " + ttl.String())
	}
	ms := ttl.Milliseconds()
	if ttl%time.Millisecond != 0 {
		ms++
	}
	return ms, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) (err error) {
	defer s.finish(ctx, "deleting values", &err)
	if len(keys) == 0 {
		return ctx.Err()
	}
	return s.client.Del(ctx, s.keys(keys)...).Err()
}

// Add implements store.Store.
func (s *Store) Add(ctx context.Context, index string, members ...string) (err error) {
	defer s.finish(ctx, "adding to an index", &err)
	if len(members) == 0 {
		return ctx.Err()
	}
	scored := make([]redis.Z, len(members))
	for i, member := range members {
		scored[i].Member = member
	}
	return s.client.ZAdd(ctx, s.index(index), scored...).Err()
}

// Remove implements store.Store.
func (s *Store) Remove(ctx context.Context, index string, members ...string) (err error) {
	defer s.finish(ctx, "removing from an index", &err)
	if len(members) == 0 {
		return ctx.Err()
	}
	names := make([]any, len(members))
	for i, member := range members {
		names[i] = member
	}
	return s.client.ZRem(ctx, s.index(index), names...).Err()
}

// Range implements store.Store.
func (s *Store) Range(ctx context.Context, index, prefix, after string, limit int) (members []string, err error) {
	defer s.finish(ctx, "listing an index", &err)
	if limit <= 0 {
		return nil, ctx.Err() // To Redis a limit of 0 with offset 0 is none.
	}
	from := "(" + after
	if after < prefix {
		from = "[" + prefix
	}
	return s.client.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: s.index(index), ByLex: true, Start: from, Stop: beyond(prefix), Count: int64(limit),
	}).Result()
}

// beyond is the upper bound of what begins with prefix.
func beyond(prefix string) string {
	for last := len(prefix) - 1; last >= 0; last-- {
		if c := prefix[last]; c != 0xff {
			return "(" + prefix[:last] + string([]byte{c + 1})
		}
	}
	return "+"
}
