package session

import (
	"context"
	"unsafe"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// What the tests reach inside for.

const (
	Stale       = stale
	ReloadAfter = reloadAfter
	TidyEvery   = tidyEvery
	PruneAfter  = pruneAfter

	KindLogin   = kindLogin
	KindFlow    = kindFlow
	KindAccount = kindAccount
	KindEpoch   = kindEpoch
	KindReplay  = kindReplay

	GlobalEpoch = globalEpoch
	ClaimKey    = claimKey

	IndexLogins   = indexLogins
	IndexAccounts = indexAccounts
	IndexEpochs   = indexEpochs

	ChangedAfter = unlistedTTL
)

var (
	ErrSessionOver = errSessionOver
	ErrUnconfirmed = errUnconfirmed
	ErrNotAdmitted = errNotAdmitted

	ProviderEpoch = providerEpoch
	IndexMember   = indexMember
)

// Tidy is what Run does every TidyEvery.
func (s *Node) Tidy(ctx context.Context) error { return s.tidy(ctx) }

// Bound sets the bounds of the cache.
func (s *Node) Bound(entries, bytes int) { s.maxEntries, s.maxBytes = entries, bytes }

// Cached returns how much the cache holds.
func (s *Node) Cached() (logins, cookies, bytes int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.byKey), len(s.byCookie), s.bytes
}

// Cookie returns fresh bits and the cookie that opens them at host.
func (s *Node) Cookie(ctx context.Context, host string) (bits, cookie string, err error) {
	if err := s.MayCreate(ctx); err != nil {
		return "", "", err
	}
	return s.newSession(ctx, host)
}

// SessionBits returns the bits of a cookie at host.
func (s *Node) SessionBits(ctx context.Context, cookie, host string) (string, error) {
	return s.sessionBits(ctx, cookie, host)
}

// Store returns what the node writes to.
func (s *Node) Store() store.Store { return s.store }

// AccountName returns the name of an account's record.
func (k AccountKey) AccountName() string { return k.name() }

// CacheHolds says whether the cache keeps a part of text alive.
func (s *Node) CacheHolds(text string) bool {
	from := uintptr(unsafe.Pointer(unsafe.StringData(text)))
	for ck := range s.byCookie {
		if at := uintptr(unsafe.Pointer(unsafe.StringData(ck.host))); at >= from && at < from+uintptr(len(text)) {
			return true
		}
	}
	return false
}

// Owed returns how many announcements are to be repeated.
func (s *Node) Owed() int {
	s.owed.mu.Lock()
	defer s.owed.mu.Unlock()
	return len(s.owed.messages)
}
