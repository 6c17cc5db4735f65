// Package store is the contract of a store: a few operations on opaque values.
// redisstore and boltstore implement it; the conformance suite gatewaytest.TestStore
// runs against both.
package store

import (
	"context"
	"errors"
	"time"
)

// A Store keeps opaque values under opaque keys. It knows nothing of logins, flows or
// sealing: vault and session do.
//
// Methods are safe for concurrent use and return within the context's deadline.
// Implementations MUST pass gatewaytest.TestStore.
//
// A missing value is ErrNotFound and nothing else. Any other error, except ErrExists
// and ErrChanged where documented, is a fault: the client gets 503. A fault never
// means "no session", nor "let in".
//
// A ttl is rounded up to whole milliseconds. NoExpiry keeps a value until it is
// deleted; a negative ttl is a fault. No method sees an expired value.
type Store interface {
	// Get reads keys in one round trip. values[i] belongs to keys[i]. It is nil,
	// without an error, if the key holds nothing; a stored empty value is not nil.
	Get(ctx context.Context, keys ...string) (values [][]byte, err error)
	// Put stores value and replaces any other.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// PutNew stores value if the key holds nothing, else ErrExists. Of concurrent
	// calls on all nodes exactly one succeeds.
	PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Take returns the value and deletes it in one step. Of concurrent calls on all
	// nodes exactly one gets the value, the others ErrNotFound.
	Take(ctx context.Context, key string) ([]byte, error)
	// CompareAndPut replaces old by value in one step. ErrChanged if the key
	// holds something else, ErrNotFound if it holds nothing.
	CompareAndPut(ctx context.Context, key string, old, value []byte, ttl time.Duration) error
	// Delete removes keys. A missing key is no error.
	Delete(ctx context.Context, keys ...string) error

	// Count adds delta to a counter. It returns the sum, never below 0, and how long
	// the counter lives on. A counter begins at 0 and lives for ttl from its first
	// Count; a delta of 0 or less creates none. Counters serve limits: a store of a
	// single process may forget them when it closes.
	Count(ctx context.Context, key string, delta int, ttl time.Duration) (n int, left time.Duration, err error)

	// Add puts members into an index: a sorted set of byte strings. Adding a member
	// twice is no error.
	Add(ctx context.Context, index string, members ...string) error
	// Remove removes members from an index.
	Remove(ctx context.Context, index string, members ...string) error
	// Range returns, in order, at most limit members of an index that begin with
	// prefix and sort bytewise after the given member ("" for the first page).
	Range(ctx context.Context, index, prefix, after string, limit int) (members []string, err error)

	// Announce makes the writes and sends a message to every Watch of every node, in
	// one order. If the condition of a write does not hold, Announce does nothing:
	// ErrChanged if the key holds another value, ErrNotFound if it holds nothing.
	//
	// A store that can does both in one step. After a fault the caller does not know
	// what was done: if a store keeps records and announcements in different places,
	// perhaps only the writes were. So the caller announces again until that
	// succeeds.
	//
	// If possible, a store that is too full for new records still accepts an
	// announcement. Otherwise nobody could be signed out.
	Announce(ctx context.Context, message []byte, writes ...Write) error
	// Watch follows announcements until ctx ends or the connection is lost, and
	// returns why. First it calls on with Reset set: every later announcement will be
	// reported, earlier ones may have been missed. Then it calls on at least once a
	// second while the store answers, with any new messages. Calls do not overlap.
	//
	// since is the Position of the last Change that this machine saw, or "". If the
	// store no longer holds that position, it went back in time. Then Watch calls on
	// with Rewound set, before Reset and before it writes anything. If ctx ends
	// during that call, the next Watch reports Rewound again; otherwise it counts as
	// handled, for other nodes too.
	Watch(ctx context.Context, since string, on func(Change)) error

	// Ping checks that the store answers and is configured as we need it. Its error
	// names cause and remedy.
	Ping(ctx context.Context) error
}

// A Write is a part of Announce. Without Value it deletes the key. With Value it
// replaces Old by Value in one step, as CompareAndPut does.
type Write struct {
	Key        string
	Old, Value []byte
	TTL        time.Duration
}

// A Change is one report of Watch.
type Change struct {
	// Rewound means that the store went back in time: it is now a snapshot or a
	// replica that lacks the newest writes. No other field is set.
	Rewound bool
	// Reset means that announcements from before Began may have been missed.
	Reset bool
	// Began is when the read behind this report was sent: everything announced before
	// has been reported.
	Began time.Time
	// Messages are the announcements, oldest first.
	Messages [][]byte
	// Position is the since of the next Watch, on any node. Empty if the store can't
	// go back in time.
	Position string
	// Refuses is why the store accepts no writes although it answers, and the remedy.
	// It is nil if the store accepts them; Watch tests that every second.
	Refuses error
	// Risk is set with Reset: what the store's settings can lose, and the remedy.
	Risk string
}

// NoExpiry as a ttl keeps a value until it is deleted.
const NoExpiry time.Duration = 0

// Errors that a Store distinguishes.
var (
	ErrNotFound = errors.New("not found in the store")
	ErrExists   = errors.New("exists in the store already")
	ErrChanged  = errors.New("changed in the store meanwhile")
)
