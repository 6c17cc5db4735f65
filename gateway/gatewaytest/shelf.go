package gatewaytest

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// A Shelf is a fetch.LastGood in memory.
type Shelf struct {
	// Err is what each call returns.
	Err error

	mu   sync.Mutex
	docs map[string][]byte
}

// LoadLastGood returns what was kept under a name.
func (s *Shelf) LoadLastGood(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.docs[name], s.Err
}

// SaveLastGood keeps a document under a name.
func (s *Shelf) SaveLastGood(_ context.Context, name string, doc []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.docs == nil {
		s.docs = map[string][]byte{}
	}
	s.docs[name] = doc
	return s.Err
}

// Names returns the names under which something is kept.
func (s *Shelf) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.docs))
}

// Spoil puts a document in the place of everything that is kept.
func (s *Shelf) Spoil(doc string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.docs {
		s.docs[name] = []byte(doc)
	}
}
