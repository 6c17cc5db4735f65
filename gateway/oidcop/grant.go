package oidcop

import (
	"crypto/rand"
	"sync"
	"time"
)

const (
	// grantTTL is the lifetime of a code, and then of an access token. RFC 6749
	// §4.1.2 recommends ten minutes at most; a browser needs seconds.
	grantTTL = time.Minute
	// maxGrants bounds the stored grants.
	maxGrants = 10000
)

// A grant entitles a client to tokens about a person.
type grant struct {
	client, redirectURI, challenge, nonce string
	person                                Person
	authTime                              time.Time
	until                                 time.Time
}

// grants holds the valid grants by their codes and access tokens, which never
// collide.
type grants struct {
	mu     sync.Mutex
	byName map[string]grant
}

// add stores g under a new name for grantTTL. It fails if too many are stored.
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

// take returns the grant and removes it.
func (s *grants) take(name string) (grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.byName[name]
	delete(s.byName, name)
	return g, ok && time.Now().Before(g.until)
}

func (s *grants) find(name string) (grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.byName[name]
	return g, ok && time.Now().Before(g.until)
}
