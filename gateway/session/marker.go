package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A MarkerMemory remembers on this machine, apart from the store, which store it
// knows: its marker, and how far its changes were followed.
//
// A store that was emptied has lost blocked accounts and replay marks. So every store
// has a marker (vault.Vault.Marker). If a node remembers a marker and finds none, or
// another, it makes no accounts and no keys until an administrator confirms the new
// store by deleting the memory.
type MarkerMemory interface {
	// Load returns the remembered text, or "".
	Load(ctx context.Context) (string, error)
	// Save remembers text.
	Save(ctx context.Context, text string) error
}

// MayCreate returns nil if accounts and keys may be made: the store is the one that
// this machine knows. A machine without a memory accepts any store, and initializes
// an empty one. The error is a *refusal.Error with StoreReplaced, or a fault.
func (s *Node) MayCreate(ctx context.Context) error {
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
	err := s.checkMarker(ctx)
	if errors.Is(err, vault.ErrRecord) {
		return refusal.New(refusal.StoreReplaced, err)
	}
	return err
}

func (s *Node) checkMarker(ctx context.Context) error {
	found, err := s.findMarker(ctx)
	if err != nil {
		return err
	}
	if found != "" && found == s.known {
		return nil
	}
	remembered, err := s.marker.Load(ctx)
	if err != nil {
		return fmt.Errorf("loading the store's marker: %w", err)
	}
	if err := s.compareMarker(found, remembered); err != nil {
		return refusal.New(refusal.StoreReplaced, err)
	}
	if found == "" {
		if found, err = s.initialize(ctx); err != nil {
			return err
		}
	}
	if remembered == "" {
		if err := s.marker.Save(ctx, found); err != nil {
			return fmt.Errorf("remembering the store's marker: %w", err)
		}
	}
	s.known = found
	return nil
}

// compareMarker returns an error with the remedy if the store has another marker than
// the remembered one.
func (s *Node) compareMarker(found, remembered string) error {
	wrong := "has another marker than the one that this machine remembers"
	switch {
	case remembered == "" || found == remembered:
		return nil
	case found == "":
		wrong = "has lost its marker: it was emptied, or is another one"
	}
	memory := "what this machine remembers (sso/store-marker-… in Caddy's storage)"
	if named, ok := s.marker.(interface{ Where() string }); ok {
		memory = named.Where()
	}
	return fmt.Errorf("the store %s: restore its data; or, if it is to take the place of the old one, delete %s on every machine", wrong, memory)
}

// errNameless means that a store has lost only its name key.
var errNameless = errors.New("the store lists accounts, but has lost the key that names their records: restore a backup, or empty the store")

// initialize makes the marker of an empty store. If the store lists accounts it is
// not empty: it has lost the key that names its records, and with it all blocks.
func (s *Node) initialize(ctx context.Context) (marker string, err error) {
	accounts, err := s.store.Range(ctx, indexAccounts, "", "", 1)
	if err != nil {
		return "", err
	}
	if len(accounts) == 0 {
		return s.vault.Initialize(ctx)
	}
	if marker, err = s.findMarker(ctx); err != nil || marker != "" {
		return marker, err // another node has initialized it a moment ago
	}
	return "", refusal.New(refusal.StoreReplaced, errNameless)
}

// noteMarker remembers the marker of the store in use, even if this machine never
// creates anything in it. If that fails, it is tried again, and MayCreate reports the
// cause.
func (s *Node) noteMarker(ctx context.Context) {
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
	if s.known != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	found, err := s.findMarker(ctx)
	if err != nil || found == "" {
		return
	}
	remembered, err := s.marker.Load(ctx)
	if err == nil && remembered == "" {
		remembered, err = found, s.marker.Save(ctx, found)
	}
	if err == nil && remembered == found {
		s.known = found
	}
}

// findMarker returns the store's marker, or "".
func (s *Node) findMarker(ctx context.Context) (string, error) {
	found, err := s.vault.Marker(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return found, err
}
