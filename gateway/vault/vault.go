// Package vault keeps sealed records in a store. All records of the gateway are
// written by it.
//
// A reader of the store learns no value and no name: keys that the store has only in
// sealed form protect both. A writer can delete records and put back older ones,
// nothing else. A record that was changed, or moved to another key, does not open.
package vault

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// A Vault seals records before they reach a store. A record's key is "kind:" and an
// HMAC-SHA-256 of kind and name under the store's name key (see namekey.go). Its value
// is a format byte, then AES-256-GCM with format and key as associated data. The
// sealing key is derived from the secret by HKDF (RFC 5869).
//
// With two secrets, the first seals new records, and both open existing ones.
type Vault struct {
	store      store.Store
	seals      []cipher.AEAD // one for each secret
	initialize func(context.Context) error

	names   atomic.Pointer[[]byte] // the name key, once it was read
	namesMu sync.Mutex
	forgets int // how often Forget was called; guarded by namesMu

	sharedMu sync.Mutex
	shared   []Ref // the records of ResealShared; guarded by sharedMu

	// unfit, if set, is why the store counts as down although it answers.
	unfit atomic.Pointer[error]
}

// Kind is the kind of a record, and part of its key.
type Kind string

// MinSecret is the minimum length of a secret in bytes. HKDF does not stretch a
// secret, so it must be random, not a password.
const MinSecret = 32

// New returns a Vault over store. secrets holds one or two secrets of at least
// MinSecret bytes; the first one seals.
//
// initialize is called before the first write into a store that has no name key. It
// calls Vault.Initialize, or returns why it must not. If initialize is nil, every new
// store is initialized.
func New(store store.Store, secrets [][]byte, initialize func(context.Context) error) (*Vault, error) {
	if err := CheckSecrets(secrets); err != nil {
		return nil, fmt.Errorf("opening the vault: checking the secrets: %w", err)
	}
	v := &Vault{store: store, initialize: initialize}
	if initialize == nil {
		v.initialize = func(ctx context.Context) error { _, err := v.Initialize(ctx); return err }
	}
	for _, secret := range secrets {
		seal, err := deriveSeal(secret)
		if err != nil {
			return nil, fmt.Errorf("deriving keys: %w", err)
		}
		v.seals = append(v.seals, seal)
	}
	return v, nil
}

// CheckSecrets returns what is wrong with secrets for New.
func CheckSecrets(secrets [][]byte) error {
	if len(secrets) < 1 || len(secrets) > 2 {
		return fmt.Errorf("%d secrets given, need one, or two while the secret is being changed", len(secrets))
	}
	for i, secret := range secrets {
		if len(secret) < MinSecret {
			return fmt.Errorf("secret %d has %d bytes, need at least %d of random text (make one: openssl rand -base64 32)", i+1, len(secret), MinSecret)
		}
	}
	if len(secrets) == 2 && hmac.Equal(secrets[0], secrets[1]) {
		return errors.New("both secrets are the same, drop one")
	}
	return nil
}

// A Record is an opened record, as it was when it was read.
type Record struct {
	Value []byte
	// Key is the record's key.
	Key string

	sealed   []byte // as stored
	sealedBy int    // index of the secret that opened it
}

// ErrRecord means that a record does not open: it was changed or moved, has an
// unknown format, or was sealed with a secret that this node does not have. It is a
// fault, never "no such record".
var ErrRecord = errors.New("record does not open")

// A Ref names a record.
type Ref struct {
	Kind Kind
	Name string
}

// Get returns the record, or store.ErrNotFound.
func (v *Vault) Get(ctx context.Context, kind Kind, name string) (*Record, error) {
	return only(v.GetAll(ctx, Ref{kind, name}))
}

// GetAll reads several records in one round trip. An entry is nil if there is no
// record.
func (v *Vault) GetAll(ctx context.Context, refs ...Ref) ([]*Record, error) {
	names, err := v.nameKey(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return make([]*Record, len(refs)), nil // a store without a name key has no records either
	}
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(refs))
	for i, r := range refs {
		keys[i] = recordKey(names, r.Kind, r.Name)
	}
	return v.read(ctx, keys...)
}

// GetAt reads a record by its key, as an index lists it. The error is
// store.ErrNotFound also if the key is of another kind.
func (v *Vault) GetAt(ctx context.Context, kind Kind, key string) (*Record, error) {
	if !strings.HasPrefix(key, string(kind)+":") {
		return nil, store.ErrNotFound
	}
	return only(v.read(ctx, key))
}

func only(recs []*Record, err error) (*Record, error) {
	if err != nil {
		return nil, err
	}
	if recs[0] == nil {
		return nil, store.ErrNotFound
	}
	return recs[0], nil
}

// read returns the records under keys; nil for none.
func (v *Vault) read(ctx context.Context, keys ...string) ([]*Record, error) {
	if err := v.fitError(ctx); err != nil {
		return nil, err
	}
	values, err := v.store.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	if len(values) != len(keys) {
		return nil, fmt.Errorf("reading records: the store returned %d values for %d keys", len(values), len(keys))
	}
	recs := make([]*Record, len(keys))
	for i, key := range keys {
		if values[i] == nil {
			continue
		}
		if recs[i], err = v.open(key, values[i]); err != nil {
			return nil, fmt.Errorf("reading %w", err)
		}
	}
	return recs, nil
}

// SetUnfit makes the store count as down although it answers; nil ends that.
func (v *Vault) SetUnfit(err error) {
	if err == nil {
		v.unfit.Store(nil)
		return
	}
	v.unfit.Store(&err)
}

type mending struct{}

// Mending returns a context for the calls that make a store fit again.
func Mending(ctx context.Context) context.Context { return context.WithValue(ctx, mending{}, true) }

func (v *Vault) fitError(ctx context.Context) error {
	if unfit := v.unfit.Load(); unfit != nil && ctx.Value(mending{}) == nil {
		return *unfit
	}
	return nil
}

// Put stores value and replaces any other. If several nodes change a record, use
// Update.
func (v *Vault) Put(ctx context.Context, kind Kind, name string, value []byte, ttl time.Duration) error {
	key, err := v.Key(ctx, kind, name)
	if err != nil {
		return err
	}
	return v.store.Put(ctx, key, v.seal(key, value), ttl)
}

// PutNew stores value if there is no such record, else store.ErrExists.
func (v *Vault) PutNew(ctx context.Context, kind Kind, name string, value []byte, ttl time.Duration) error {
	if err := v.fitError(ctx); err != nil {
		return err
	}
	key, err := v.Key(ctx, kind, name)
	if err != nil {
		return err
	}
	return v.store.PutNew(ctx, key, v.seal(key, value), ttl)
}

// maxTries bounds the retries of a compare-and-put.
const maxTries = 10

// ErrBusy means that other callers changed a record during every retry. It is a
// fault.
var ErrBusy = errors.New("record is being changed by too many others at once")

// Update replaces a record by the result of change, and starts again if another
// caller was faster. If there is no such record, old is nil and Update creates it. If
// change returns the old value, nothing is written. If change fails, Update returns
// its error.
func (v *Vault) Update(ctx context.Context, kind Kind, name string, ttl time.Duration, change func(old *Record) (value []byte, err error)) error {
	return v.update(ctx, kind, name, ttl, change, v.store.CompareAndPut)
}

// UpdateAndAnnounce does what Update does and announces a message, in one step if the
// store can (see store.Store). A fault may leave the record replaced and nothing
// announced.
func (v *Vault) UpdateAndAnnounce(ctx context.Context, message string, kind Kind, name string, ttl time.Duration, change func(old *Record) (value []byte, err error)) error {
	announced := false
	err := v.update(ctx, kind, name, ttl, change, func(ctx context.Context, key string, old, value []byte, ttl time.Duration) error {
		announced = true
		return v.store.Announce(ctx, []byte(message), store.Write{Key: key, Old: old, Value: value, TTL: ttl})
	})
	if err != nil || announced {
		return err
	}
	return v.store.Announce(ctx, []byte(message)) // Update has created the record
}

func (v *Vault) update(ctx context.Context, kind Kind, name string, ttl time.Duration, change func(old *Record) (value []byte, err error),
	replace func(ctx context.Context, key string, old, value []byte, ttl time.Duration) error,
) error {
	for range maxTries {
		old, err := v.Get(ctx, kind, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		value, err := change(old)
		switch {
		case err != nil:
			return err
		case old == nil:
			err = v.PutNew(ctx, kind, name, value, ttl)
		case string(value) == string(old.Value):
			return nil
		default:
			err = replace(ctx, old.Key, old.sealed, v.seal(old.Key, value), ttl)
		}
		if !lostRace(err) {
			return err
		}
	}
	return ErrBusy
}

// lostRace reports whether another caller has changed a record meanwhile.
func lostRace(err error) bool {
	return errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrChanged) || errors.Is(err, store.ErrNotFound)
}

// Take returns the record and deletes it in one step, or store.ErrNotFound if another
// caller was first.
func (v *Vault) Take(ctx context.Context, kind Kind, name string) ([]byte, error) {
	names, err := v.nameKey(ctx)
	if err != nil {
		return nil, err
	}
	key := recordKey(names, kind, name)
	sealed, err := v.store.Take(ctx, key)
	if err != nil {
		return nil, err
	}
	rec, err := v.open(key, sealed)
	if err != nil {
		return nil, fmt.Errorf("taking %w", err)
	}
	return rec.Value, nil
}
