package redisstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

const (
	// block is how long Redis keeps a read waiting for announcements: within
	// the second that store.Store promises.
	block = 900 * time.Millisecond
	// silence is how long a read may take before the connection counts as
	// lost. go-redis adds 10 s to the timeout of a blocking read: as a part
	// of a pipeline it gets none, and the client's own is this.
	silence = 3 * time.Second
	// recheck is how often Watch looks whether the settings are still those
	// that we need: they can be changed while Redis runs.
	recheck = time.Second
	// streamLength is how many announcements Redis keeps, about.
	streamLength = 10_000
)

// The fields of entries that are no messages: a Watch began, also after it has reported a
// stream that went back in time.
const (
	fieldHello = "hello"
	fieldBack  = "back"
)

// lastID is the id behind which a stream takes no more entries.
const lastID = "18446744073709551615-18446744073709551615"

// errGap is returned by Watch when announcements may have been missed.
var errGap = fault("the stream of announcements was emptied, replaced or cut: watch again")

func (s *Store) stream() string { return s.prefix + "stream" }

// announce answers the id of the new entry, or 0 or 1 as compareAndPut does. Its keys are
// the stream, a key that never exists, and the keys of the writes. Its arguments are the
// length of the stream, the field and the message, and for each write the old value, the new
// one and the ttl; without a new value, the key is deleted.
//
// The first command that writes is a DEL: a Redis whose memory is full runs it, and then
// the rest of the script, too.
var announce = redis.NewScript(`
for i = 3, #KEYS do
	local old, value = ARGV[3*i-5], ARGV[3*i-4]
	if value ~= '' then
		local found = redis.call('GET', KEYS[i])
		if not found then return 0 end
		if found ~= old then return 1 end
	end
end
redis.call('DEL', KEYS[2])
for i = 3, #KEYS do
	local value, ttl = ARGV[3*i-4], ARGV[3*i-3]
	redis.call('DEL', KEYS[i])
	if value ~= '' then
		if ttl == '0' then
			redis.call('SET', KEYS[i], value)
		else
			redis.call('SET', KEYS[i], value, 'PX', ttl)
		end
	end
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', ARGV[2], ARGV[3])`)

// Announce implements store.Store.
func (s *Store) Announce(ctx context.Context, message []byte, writes ...store.Write) (err error) {
	defer s.finish(ctx, "announcing a change", &err)
	id, err := s.add(ctx, s.client, "m", message, writes...)
	if err == nil {
		s.past.wrote(id)
	}
	return err
}

// add adds an entry to the stream after the writes, all in one step, and returns
// its id.
func (s *Store) add(ctx context.Context, client redis.Scripter, field string, value []byte, writes ...store.Write) (id string, err error) {
	keys, args := []string{s.stream(), s.stream() + ":none"}, []any{streamLength, field, value}
	for _, w := range writes {
		ms, err := milliseconds(w.TTL)
		if err != nil {
			return "", err
		}
		keys, args = append(keys, s.key(w.Key)), append(args, w.Old, w.Value, ms)
	}
	answer, err := announce.Run(ctx, client, keys, args...).Result()
	if err != nil {
		return "", err
	}
	switch answer := answer.(type) {
	case string:
		return answer, nil
	case int64:
		if answer == 0 {
			return "", store.ErrNotFound
		}
		return "", store.ErrChanged
	}
	return "", errAnswer
}

// Watch implements store.Store. It has a connection of its own, and ends
// with the first fault on it: within 4 s when Redis or the network falls
// silent. It checks what Ping checks, first and every second, and writes an
// entry of its own into the stream to begin from. Run one at a time.
func (s *Store) Watch(ctx context.Context, since string, on func(store.Change)) error {
	client := s.single(silence)
	defer client.Close()
	// Only the end of its connection ends a read, not that of its context.
	defer context.AfterFunc(ctx, func() { client.Close() })()
	// A Conn never reconnects, so no other server can take over unnoticed.
	conn := client.Conn()
	defer conn.Close()

	s.past.reach(parsePosition(since))
	last, risk, err := s.begin(ctx, conn, on)
	if err == nil {
		// Began is taken after the answer: everything that was missed came before.
		on(store.Change{Reset: true, Began: time.Now(), Position: last.String(), Risk: risk})
	}
	var refuses error
	for checked := (time.Time{}); err == nil; {
		if time.Since(checked) >= recheck {
			checked = time.Now()
			if err = s.check(ctx, conn); err == nil {
				refuses, err = s.tryWriting(ctx, conn)
			}
			continue
		}
		var messages [][]byte
		began := time.Now()
		if messages, last, err = s.read(ctx, conn, last); err == nil {
			s.past.reach(last)
			on(store.Change{Began: began, Messages: messages, Position: last.String(), Refuses: refuses})
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// begin returns the position of an entry that was the newest in the stream.
func (s *Store) begin(ctx context.Context, conn *redis.Conn, on func(store.Change)) (at position, risk string, err error) {
	defer s.finish(ctx, "beginning to watch", &err)
	field, err := s.lookBack(ctx, conn, on)
	if err != nil {
		return position{}, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	id, err := s.add(ctx, conn, field, nil)
	if err != nil && strings.Contains(err.Error(), "exhausted the last possible ID") {
		// Somebody wrote an entry with the last possible id, to silence us. Begin a
		// new stream: other nodes see a gap, and come here, too. No record is lost.
		if err = conn.Del(ctx, s.stream()).Err(); err == nil {
			id, err = s.add(ctx, conn, fieldBack, nil)
		}
	}
	if err != nil {
		return position{}, "", err
	}
	at = position{id: id, added: added(ctx, conn, s.stream())}
	s.past.begin(at)
	return at, durability(ctx, conn), nil
}

// lookBack checks that the server is fit and has what this node has seen. It returns the
// field of the entry to begin with.
func (s *Store) lookBack(ctx context.Context, conn *redis.Conn, on func(store.Change)) (field string, err error) {
	bounded, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if err := fit(bounded, conn); err != nil {
		return "", err
	}
	if err := s.past.check(bounded, conn, s.stream()); !errors.Is(err, errRewound) {
		return fieldHello, err
	}
	s.past.dealing.Store(true)
	defer s.past.dealing.Store(false)
	on(store.Change{Rewound: true})
	return fieldBack, ctx.Err()
}

// read waits for entries after last. In the same round trip it makes sure that
// the answer has no gap: last is still in the stream, so nothing after it was
// cut off or flushed, and the server is still a primary.
func (s *Store) read(ctx context.Context, conn *redis.Conn, last position) (messages [][]byte, newest position, err error) {
	defer s.finish(ctx, "waiting for announcements", &err)
	pipe := conn.Pipeline()
	entries := pipe.XRead(ctx, &redis.XReadArgs{Streams: []string{s.stream(), last.id}, Block: block})
	kept := pipe.XRangeN(ctx, s.stream(), last.id, last.id, 1)
	role := pipe.Do(ctx, "role")
	_, _ = pipe.Exec(ctx) // Each command has its own error.

	streams, err := entries.Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, position{}, err
	}
	found, err := kept.Result()
	if err != nil {
		return nil, position{}, err
	}
	roles, err := role.Slice()
	if err != nil {
		return nil, position{}, err
	}
	if len(roles) == 0 || roles[0] != "master" {
		return nil, position{}, fault("it is no longer a primary")
	}
	if len(found) != 1 || found[0].ID != last.id {
		return nil, position{}, errGap
	}
	messages, newest = decode(streams, last)
	if newest.id == lastID {
		return nil, position{}, errGap
	}
	return messages, newest, nil
}

// decode returns the messages of a read and the position of its last entry.
func decode(streams []redis.XStream, last position) (messages [][]byte, newest position) {
	newest = last
	for _, stream := range streams {
		for _, entry := range stream.Messages {
			newest.id = entry.ID
			if newest.added > 0 {
				newest.added++
			}
			if message, ok := entry.Values["m"].(string); ok {
				messages = append(messages, []byte(message))
			}
		}
	}
	return messages, newest
}
