package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Ping asks Redis, in one round trip, whether it is what we need: 6.2 or later
// with its data loaded, no cluster, a primary, and maxmemory-policy noeviction.
//
// The policy is required even if maxmemory is 0 and nothing is evicted: a later CONFIG SET
// maxmemory would evict blocked accounts and replay marks unnoticed.
//
// Ping has a connection of its own, which onConnect does not check: a Redis that went back
// in time is for Watch to report.
func (s *Store) Ping(ctx context.Context) error {
	client := s.single(s.options.ReadTimeout)
	defer client.Close()
	return s.check(ctx, client)
}

// tryWriting returns why Redis refuses writes, or err if that is not known.
func (s *Store) tryWriting(ctx context.Context, client redis.Cmdable) (refuses, err error) {
	defer s.finish(ctx, "writing", &refuses)
	defer s.finish(ctx, "writing", &err)
	err = client.Set(ctx, s.prefix+"health", "", time.Minute).Err()
	var refused redis.Error
	if errors.As(err, &refused) {
		return err, nil
	}
	return nil, err
}

// single returns a client with one connection, to whatever server is there.
func (s *Store) single(timeout time.Duration) *redis.Client {
	options := s.options
	options.PoolSize, options.ReadTimeout, options.OnConnect = 1, timeout, nil
	return redis.NewClient(&options)
}

func (s *Store) check(ctx context.Context, client redis.Cmdable) (err error) {
	defer s.finish(ctx, "looking at its settings", &err)
	return fit(ctx, client)
}

func fit(ctx context.Context, client redis.Cmdable) error {
	text, err := client.Info(ctx).Result()
	if err != nil {
		return err
	}
	info := parseInfo(text)
	major, minor, ok := parseVersion(info["redis_version"])
	switch policy := info["maxmemory_policy"]; {
	case !ok:
		return fault("it does not tell its version: is it Redis?")
	case major < 6 || major == 6 && minor < 2:
		return fault(fmt.Sprintf("it is Redis %d.%d: 6.2 or later is needed", major, minor))
	case info["loading"] == "1":
		return fault("it is reading its data set: wait")
	case info["redis_mode"] != "standalone":
		return fault("it is part of a Redis Cluster or a Sentinel: give the address of a primary that is neither")
	case info["role"] != "master":
		return fault("it is a replica: give the address of the primary")
	case policy != "noeviction":
		return fault(fmt.Sprintf("it may throw away sessions and blocks when memory is short: set maxmemory-policy to noeviction (it is %.20q)", policy))
	}
	return nil
}

// parseInfo reads the answer to INFO: lines of name:value.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			info[name] = value
		}
	}
	return info
}

func parseVersion(text string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(text, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(second)
	return major, minor, err == nil
}
