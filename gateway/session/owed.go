package session

import (
	"context"
	"sync"
	"time"
)

const (
	// repeatEvery is how often announcements are repeated that the store has not
	// taken.
	repeatEvery = 500 * time.Millisecond
	// maxOwed bounds them. Beyond it, one to all takes their place.
	maxOwed = 1000
)

// Announcements that the store may not have taken. They are repeated until it
// takes them: a repeated one costs some work and nothing else.
type owed struct {
	// some has an element while there may be some; with room for one.
	some chan struct{}

	mu       sync.Mutex
	messages map[string]bool
}

func (o *owed) add(message string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.some <- struct{}{}:
	default:
	}
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

// next returns one of them and takes it out.
func (o *owed) next() (message string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for message := range o.messages {
		delete(o.messages, message)
		return message, true
	}
	return "", false
}

// repeat announces what is owed, until ctx ends. Then it tries once more.
func (s *Node) repeat(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.owed.some:
		}
		select {
		case <-ctx.Done():
		case <-time.After(repeatEvery):
		}
		s.settle(context.WithoutCancel(ctx))
	}
}

// settle announces what is owed, as far as the store takes it.
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
