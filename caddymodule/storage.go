package caddymodule

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"

	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// Files of ours in Caddy's storage.
const (
	secretFile = "sso/secret"
	// A digest of the store's address follows these two.
	markerFile   = "sso/store-marker-"
	positionFile = "sso/store-position-"
)

// storage has the methods of Caddy's storage that we use.
type storage interface {
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
	Store(ctx context.Context, key string, value []byte) error
	Load(ctx context.Context, key string) ([]byte, error)
}

// loadOrMakeSecret returns the secret in Caddy's storage. If there is none and mayMake
// returns nil, it makes one. Caddy's file storage keeps it with mode 0600.
func loadOrMakeSecret(ctx context.Context, st storage, mayMake func() error) (_ []byte, err error) {
	if err := st.Lock(ctx, secretFile); err != nil {
		return nil, fmt.Errorf("locking %s in Caddy's storage: %w", secretFile, err)
	}
	defer func() { err = errors.Join(err, st.Unlock(context.WithoutCancel(ctx), secretFile)) }()
	secret, err := st.Load(ctx, secretFile)
	switch {
	case err == nil && len(secret) >= vault.MinSecret:
		return secret, nil
	case err == nil:
		return nil, fmt.Errorf("%s in Caddy's storage is damaged: it has %d bytes; restore it; or delete it and the store's file to start with new ones, which ends all sessions", secretFile, len(secret))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading %s in Caddy's storage: %w", secretFile, err)
	}
	if err := mayMake(); err != nil {
		return nil, err
	}
	secret = base64.RawStdEncoding.AppendEncode(nil, randomBytes(vault.MinSecret))
	if err := st.Store(ctx, secretFile, secret); err != nil {
		return nil, fmt.Errorf("writing %s to Caddy's storage: %w", secretFile, err)
	}
	return secret, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it crashes the program instead
	return b
}

// A storedNote keeps a note about one store in Caddy's storage. A store at another
// address has a note of its own: moving there is not reported as a loss.
type storedNote struct {
	storage func() storage
	prefix  string // of the file's name
	store   string // storeModule.key
}

func (m storedNote) file() string { return m.prefix + digest(m.store)[:12] }

// Where returns the file's path, for log lines that tell a person to delete it.
func (m storedNote) Where() string {
	if files, ok := m.storage().(interface{ Filename(key string) string }); ok {
		return files.Filename(m.file())
	}
	return m.file() + " in Caddy's storage"
}

// Load implements session.MarkerMemory.
func (m storedNote) Load(ctx context.Context) (string, error) {
	marker, err := m.storage().Load(ctx, m.file())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(marker), err
}

// Save implements session.MarkerMemory.
func (m storedNote) Save(ctx context.Context, marker string) error {
	return m.storage().Store(ctx, m.file(), []byte(marker))
}

// Interface guard
var _ session.MarkerMemory = storedNote{}
