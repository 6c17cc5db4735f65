package demo

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// memory implements oidcop.Records.
type memory struct {
	mu      sync.Mutex
	records map[vault.Ref]kept
}

type kept struct {
	value []byte
	until time.Time
}

// maxRecords bounds the records. If there are more, nobody gets a code for a minute.
const maxRecords = 10000

func (m *memory) get(ref vault.Ref) *vault.Record {
	if k, ok := m.records[ref]; ok && time.Now().Before(k.until) {
		return &vault.Record{Value: k.value}
	}
	return nil
}

// Get implements oidcop.Records.
func (m *memory) Get(_ context.Context, kind vault.Kind, name string) (*vault.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rec := m.get(vault.Ref{Kind: kind, Name: name}); rec != nil {
		return rec, nil
	}
	return nil, store.ErrNotFound
}

// PutNew implements oidcop.Records.
func (m *memory) PutNew(ctx context.Context, kind vault.Kind, name string, value []byte, ttl time.Duration) error {
	return m.Update(ctx, kind, name, ttl, func(old *vault.Record) ([]byte, error) {
		if old != nil {
			return nil, store.ErrExists
		}
		return value, nil
	})
}

// Update implements oidcop.Records. change may not use the records.
func (m *memory) Update(_ context.Context, kind vault.Kind, name string, ttl time.Duration, change func(*vault.Record) ([]byte, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ref := vault.Ref{Kind: kind, Name: name}
	value, err := change(m.get(ref))
	if err != nil {
		return err
	}
	now := time.Now()
	for ref, k := range m.records {
		if !now.Before(k.until) {
			delete(m.records, ref)
		}
	}
	if len(m.records) >= maxRecords {
		return vault.ErrBusy
	}
	if m.records == nil {
		m.records = map[vault.Ref]kept{}
	}
	m.records[ref] = kept{value, now.Add(ttl)}
	return nil
}

// Take implements oidcop.Records.
func (m *memory) Take(_ context.Context, kind vault.Kind, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ref := vault.Ref{Kind: kind, Name: name}
	rec := m.get(ref)
	delete(m.records, ref)
	if rec == nil {
		return nil, store.ErrNotFound
	}
	return rec.Value, nil
}

// Count implements oidcop.Records. The demo has no limits.
func (*memory) Count(context.Context, string, int, time.Duration) (int, time.Duration, error) {
	return 0, 0, nil
}

// Key implements oidcop.Records.
func (*memory) Key(context.Context, vault.Kind, string) (string, error) { return "", nil }

// MAC implements oidcop.Records. Nothing in the demo depends on a secret there.
func (*memory) MAC(_ context.Context, purpose string, parts ...string) ([]byte, error) {
	return vault.Digest(purpose, parts...), nil
}
