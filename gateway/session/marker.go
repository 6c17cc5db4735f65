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

// A replacedError says that the store is not the one that this machine knows.
type replacedError string

func (e replacedError) Error() string { return string(e) }

// isReplaced reports whether err says so.
func isReplaced(err error) bool {
	_, replaced := errors.AsType[replacedError](err)
	return replaced || errors.Is(err, vault.ErrRecord)
}

// errNameless means that a store has lost only its name key, and with it all blocks.
const errNameless = replacedError("the store lists accounts, but has lost the key that names their records: restore a backup, or empty the store")

// MayCreate returns nil if accounts and keys may be made: the store is the one that
// this machine knows. A machine without a memory accepts any store, and initializes
// an empty one. The error is a *refusal.Error with StoreReplaced, or a fault.
func (s *Node) MayCreate(ctx context.Context) error {
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
	found, remembered, err := s.compareMarker(ctx)
	if err == nil && found == "" {
		found, err = s.initialize(ctx)
	}
	switch {
	case isReplaced(err):
		return refusal.New(refusal.StoreReplaced, err)
	case err != nil:
		return err
	}
	return s.remember(ctx, found, remembered)
}

// compareMarker returns the store's marker, or "", and the remembered one. The error
// is a replacedError with the remedy if they differ.
func (s *Node) compareMarker(ctx context.Context) (found, remembered string, err error) {
	found, err = s.findMarker(ctx)
	if err != nil || found != "" && found == s.known {
		return found, found, err
	}
	remembered, err = s.marker.Load(ctx)
	if err != nil {
		return "", "", fmt.Errorf("loading the store's marker: %w", err)
	}
	wrong := "has another marker than the one that this machine remembers"
	switch {
	case remembered == "" || found == remembered:
		return found, remembered, nil
	case found == "":
		wrong = "has lost its marker: it was emptied, or is another one"
	}
	memory := "what this machine remembers (sso/store-marker-… in Caddy's storage)"
	if named, ok := s.marker.(interface{ Where() string }); ok {
		memory = named.Where()
	}
	return "", "", replacedError(fmt.Sprintf("the store %s: restore its data; or, if it is to take the place of the old one, delete %s on every machine", wrong, memory))
}

func (s *Node) remember(ctx context.Context, found, remembered string) error {
	if remembered == "" {
		if err := s.marker.Save(ctx, found); err != nil {
			return fmt.Errorf("remembering the store's marker: %w", err)
		}
	}
	s.known = found
	return nil
}

// initialize makes the marker of an empty store.
func (s *Node) initialize(ctx context.Context) (marker string, err error) {
	err = s.checkEmpty(ctx)
	if err == nil {
		return s.vault.Initialize(ctx)
	}
	if marker, fault := s.findMarker(ctx); fault != nil || marker != "" {
		return marker, fault // another node has initialized it a moment ago
	}
	return "", err
}

// checkEmpty returns errNameless if a store without a marker lists accounts.
func (s *Node) checkEmpty(ctx context.Context) error {
	accounts, err := s.store.Range(ctx, indexAccounts, "", "", 1)
	if err == nil && len(accounts) > 0 {
		return errNameless
	}
	return err
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
	if found, remembered, err := s.compareMarker(ctx); err == nil && found != "" {
		_ = s.remember(ctx, found, remembered)
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
