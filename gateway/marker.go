package gateway

import (
	"context"
	"errors"
	"fmt"
)

// A MarkerMemory is what this machine remembers of the store it works with,
// kept apart from the store.
//
// A store that was emptied has lost blocked accounts and replay marks. So
// every store carries a marker: a node that remembers one and finds none, or
// another, makes no accounts and no keys until somebody confirms the new store
// by deleting the memory.
type MarkerMemory interface {
	// Load returns the remembered marker, or "" if there is none.
	Load(ctx context.Context) (string, error)
	// Save remembers a marker.
	Save(ctx context.Context, marker string) error
}

const markerName = "store"

// MayCreate says whether accounts and keys may be made: the store is the one
// that this machine knows. A node without a memory takes the store as it is,
// and marks it if nobody has.
//
// The error is an *Error with CodeStoreReplaced, or a fault.
func (s *Sessions) MayCreate(ctx context.Context) error {
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
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
	switch {
	case remembered != "" && found == "":
		return NewError(CodeStoreReplaced, errors.New("the store has lost its marker: it was emptied, or is another one"))
	case remembered != "" && remembered != found:
		return NewError(CodeStoreReplaced, errors.New("the store has another marker than the one that this machine remembers"))
	case found == "":
		s.warnOfOthers(ctx)
		if found, err = s.placeMarker(ctx); err != nil {
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

// warnOfOthers says that a store which looks empty is not: a node with a wrong
// secret sees nobody's blocks.
func (s *Sessions) warnOfOthers(ctx context.Context) {
	accounts, err := s.store.Range(ctx, indexAccounts, "", "", 1)
	if err == nil && len(accounts) > 0 {
		s.log.Warn("the session store has accounts that this secret does not open, nor their blocks: do all nodes have the same secret? Gateways that have nothing to do with each other need each a prefix of their own")
	}
}

// noteMarker remembers the marker of a store that this machine works with,
// although it may never make anything in it. What goes wrong is tried again,
// and MayCreate says it.
func (s *Sessions) noteMarker(ctx context.Context) {
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

func (s *Sessions) findMarker(ctx context.Context) (string, error) {
	rec, err := s.vault.Get(ctx, kindMarker, markerName)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(rec.Value), nil
}

// placeMarker marks a store, or returns the marker of a node that was faster.
func (s *Sessions) placeMarker(ctx context.Context) (string, error) {
	fresh := randomText()
	err := s.vault.PutNew(ctx, kindMarker, markerName, []byte(fresh), NoExpiry)
	if errors.Is(err, ErrExists) {
		found, err := s.findMarker(ctx)
		if err == nil && found == "" {
			err = errBusy
		}
		return found, err
	}
	if err != nil {
		return "", err
	}
	return fresh, nil
}
