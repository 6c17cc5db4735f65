package oidcop

import (
	"crypto/rand"
	"sync"
	"time"
)

const (
	// grantTTL is how long a code, and then an access token, works (RFC 6749
	// §4.1.2 recommends ten minutes at most; a browser needs seconds).
	grantTTL = time.Minute
	// maxGrants bounds what is kept at one time.
	maxGrants = 10000
)

// A grant is what a person's login entitles a client to.
type grant struct {
	client, redirectURI, challenge, nonce string
	person                                Person
	authTime                              time.Time
	until                                 time.Time
}

// grants are under way by their codes and access tokens, which are never
// alike.
type grants struct {
	mu     sync.Mutex
	byName map[string]grant
}

// add keeps g under a new name for grantTTL. It fails when too many are kept.
func (s *grants) add(g grant) (name string, ok bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = map[string]grant{}
	}
	for name, old := range s.byName {
		if !now.Before(old.until) {
			delete(s.byName, name)
		}
	}
	if len(s.byName) >= maxGrants {
		return "", false
	}
	name, g.until = rand.Text(), now.Add(grantTTL)
	s.byName[name] = g
	return name, true
}

// take returns what name stands for, once.
func (s *grants) take(name string) (grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.byName[name]
	delete(s.byName, name)
	return g, ok && time.Now().Before(g.until)
}

// find returns what name stands for.
func (s *grants) find(name string) (grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.byName[name]
	return g, ok && time.Now().Before(g.until)
}
