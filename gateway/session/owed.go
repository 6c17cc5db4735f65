package session

import (
	"context"
	"sync"
	"time"
)

const (
	// repeatEvery is the interval of repeating announcements that the store has not
	// accepted.
	repeatEvery = 500 * time.Millisecond
	// maxOwed bounds them. Beyond it, one announcement to all replaces them.
	maxOwed = 1000
)

// owed has announcements that the store may not have accepted. They are repeated
// until it does; a duplicate only costs some work.
type owed struct {
	mu       sync.Mutex
	messages map[string]bool
}

func (o *owed) add(message string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if message == announceAll || len(o.messages) >= maxOwed {
		o.messages = map[string]bool{announceAll: true}
		return
	}
	if o.messages == nil {
		o.messages = map[string]bool{}
	}
	if !o.messages[announceAll] {
		o.messages[message] = true
	}
}

// next removes one of them and returns it.
func (o *owed) next() (message string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for message := range o.messages {
		delete(o.messages, message)
		return message, true
	}
	return "", false
}

// repeat sends the owed announcements until ctx ends, and then once more.
func (s *Node) repeat(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(repeatEvery):
		}
		s.settle(context.WithoutCancel(ctx))
	}
}

// settle sends the owed announcements until one fails.
func (s *Node) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for {
		message, ok := s.owed.next()
		if !ok {
			return
		}
		if err := s.store.Announce(ctx, []byte(message)); err != nil {
			s.owed.add(message)
			return
		}
	}
}
