package store

import (
	"sync"
	"time"
)

// Counters counts in memory, for stores of a single process. The zero value is ready
// to use.
type Counters struct {
	mu     sync.Mutex
	counts map[string]counter
	swept  time.Time
}

type counter struct {
	n   int
	end time.Time
}

const (
	sweepCounters = 10 * time.Second
	// maxCounters bounds the memory that many clients can fill. Beyond it, half of
	// the counters are forgotten: that allows a few more attempts, and locks nobody
	// out.
	maxCounters = 500_000
)

// Count implements Store.Count.
func (c *Counters) Count(key string, delta int, ttl time.Duration) (n int, left time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.sweep(now)
	found, ok := c.counts[key]
	if !ok || !now.Before(found.end) {
		if delta <= 0 {
			return 0, 0
		}
		found = counter{0, now.Add(ttl)}
	}
	found.n = max(0, found.n+delta)
	c.counts[key] = found
	return found.n, found.end.Sub(now)
}

func (c *Counters) sweep(now time.Time) {
	if c.counts == nil {
		c.counts = map[string]counter{}
	}
	full := len(c.counts) >= maxCounters
	if !full && now.Sub(c.swept) < sweepCounters {
		return
	}
	c.swept = now
	for key, found := range c.counts {
		if !now.Before(found.end) || full && len(c.counts) > maxCounters/2 {
			delete(c.counts, key)
		}
	}
}
