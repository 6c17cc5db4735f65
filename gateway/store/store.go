// Package store is the contract between the gateway and what keeps its records:
// a handful of verbs on opaque values. redisstore and boltstore implement it,
// and one conformance suite, gatewaytest.TestStore, holds both to it.
package store

import (
	"context"
	"errors"
	"time"
)

// A Store keeps opaque values under opaque keys. It knows nothing of logins,
// flows or sealing: vault and session know those.
//
// Every method is safe for concurrent use and returns within the context's
// deadline. Implementations MUST behave as gatewaytest.TestStore says.
//
// Not found is ErrNotFound and nothing else. Any other error, except
// ErrExists and ErrChanged where documented, is a fault: the caller answers
// 503. A fault is never taken for "no session", nor for "let in".
//
// A ttl is rounded up to whole milliseconds; NoExpiry keeps a value until it
// is deleted, and a negative one is a fault. A value whose ttl has passed does not exist for any method.
type Store interface {
	// Get reads keys in one round trip. values[i] belongs to keys[i] and is
	// nil, without an error, where there is nothing. A stored empty value is
	// not nil.
	Get(ctx context.Context, keys ...string) (values [][]byte, err error)
	// Put stores value, replacing what was there.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// PutNew stores value only if the key holds nothing, else ErrExists. Of
	// any number of concurrent calls on all nodes one wins.
	PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Take returns the value and deletes it in one step. Of any number of
	// concurrent calls on all nodes one gets it, the others ErrNotFound.
	Take(ctx context.Context, key string) ([]byte, error)
	// CompareAndPut replaces old by value in one step. ErrChanged if the key
	// holds something else, ErrNotFound if it holds nothing.
	CompareAndPut(ctx context.Context, key string, old, value []byte, ttl time.Duration) error
	// Delete removes keys. Deleting what is not there is no error.
	Delete(ctx context.Context, keys ...string) error

	// Count adds delta to a counter and returns the sum, never below 0, and
	// how long the counter lives on. It begins at 0 and lives for ttl from the
	// first Count on; a delta that is not positive makes none. Counters serve
	// limits: a store that one process has alone may forget them at its end.
	Count(ctx context.Context, key string, delta int, ttl time.Duration) (n int, left time.Duration, err error)

	// Add puts members into an index: a sorted set of byte strings. Adding
	// twice is no error.
	Add(ctx context.Context, index string, members ...string) error
	// Remove takes members out of an index.
	Remove(ctx context.Context, index string, members ...string) error
	// Range returns at most limit members of an index that begin with prefix
	// and sort bytewise after the given member ("" for the first page), in
	// order.
	Range(ctx context.Context, index, prefix, after string, limit int) (members []string, err error)

	// Announce makes the writes and sends a message to every Watch of every node,
	// in one order. If a write's condition does not hold, nothing is done:
	// ErrChanged if the key holds something else, ErrNotFound if it holds nothing.
	//
	// A store that can makes both in one step. After a fault the caller does not
	// know what was done; on a store that keeps records and announcements in
	// different places, it may be the writes alone. So after a fault the caller
	// announces again until it succeeds.
	//
	// A store that is too full for new records still takes an announcement, if it
	// can: nobody could be signed out otherwise.
	Announce(ctx context.Context, message []byte, writes ...Write) error
	// Watch follows announcements until ctx ends or the connection is lost,
	// and returns why. It calls on with Reset set: from that moment on
	// every announcement will be seen, those before may have been missed.
	// Afterwards it calls on at least once a second while the store answers,
	// with the messages that came, if any. Calls do not overlap.
	//
	// since is the Position of the last Change that this machine knows of, or "".
	// If the store no longer holds what it held then, it went back in time. Then
	// Watch calls on with Rewound set, before Reset and before it writes anything.
	// If ctx ends in that call, it is reported again to the next Watch; otherwise
	// it counts as dealt with, for other nodes too.
	Watch(ctx context.Context, since string, on func(Change)) error

	// Ping proves that the store answers and is configured as we need it. Its
	// error says what is wrong and how to mend it.
	Ping(ctx context.Context) error
}

// A Write is a part of Announce. It deletes the key; with Value set it replaces
// Old by Value in one step, as CompareAndPut does.
type Write struct {
	Key        string
	Old, Value []byte
	TTL        time.Duration
}

// A Change is one report of Watch.
type Change struct {
	// Rewound says that the store went back in time: a snapshot or a replica took
	// its place that lacks the newest writes. Nothing else is set then.
	Rewound bool
	// Reset says that announcements may have been missed before Began.
	Reset bool
	// Began is when the read that this reports was sent: all that was
	// announced before Began has been reported.
	Began time.Time
	// Messages are what was announced, oldest first.
	Messages [][]byte
	// Position is for the next Watch's since, on any node. Empty for a store that
	// can't go back in time.
	Position string
	// Refuses is why the store takes no writes although it answers, and the remedy;
	// nil if it takes them, which Watch proves every second.
	Refuses error
	// Risk, with Reset, is what the store's settings can cost, and the remedy.
	Risk string
}

// NoExpiry as a ttl keeps a value until it is deleted.
const NoExpiry time.Duration = 0

// Errors that a Store tells apart.
var (
	ErrNotFound = errors.New("not found in the store")
	ErrExists   = errors.New("exists in the store already")
	ErrChanged  = errors.New("changed in the store meanwhile")
)
