package caddymodule

import (
	"context"
	"maps"
	"slices"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// Parts that the tests look at by themselves.
var (
	PeerOf  = peerOf
	Nearest = nearest
)

// LoadOrMakeSecret is loadOrMakeSecret.
func LoadOrMakeSecret(ctx context.Context, st storage) ([]byte, error) {
	return loadOrMakeSecret(ctx, st)
}

// StoredMarker returns the marker memory in a storage.
func StoredMarker(st storage, store string) gateway.MarkerMemory {
	return storedMarker{func() storage { return st }, store}
}

// SAMLOptions are the words of a SAML provider's block.
func SAMLOptions() []string { return slices.Sorted(maps.Keys(samlUsage)) }
