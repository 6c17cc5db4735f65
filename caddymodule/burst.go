package caddymodule

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// burstTime is how long refusals that are the store's fault are counted after the
// first one was logged: while it is down, each request would have its own line.
const burstTime = 10 * time.Second

// Bursts count refusals by their code. The zero value is ready to use.
type bursts struct {
	mu     sync.Mutex
	counts map[refusal.Code]*burst // of those that began
}

type burst struct {
	more int // after the first one
	end  *time.Timer
}

// isBurst says whether refusals of a code come by the thousand for one cause, that
// has a line of its own.
func isBurst(code refusal.Code) bool {
	return code == refusal.StoreUnavailable || code == refusal.StoreReplaced || code == refusal.NotReady
}

// first counts a refusal, and says whether it is the first of a burst. At the end
// of the burst, the others are one line.
func (b *bursts) first(code refusal.Code, log *zap.Logger) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.counts[code]; now != nil {
		now.more++
		return false
	}
	if b.counts == nil {
		b.counts = map[refusal.Code]*burst{}
	}
	b.counts[code] = &burst{end: time.AfterFunc(burstTime, func() { b.end(code, log) })}
	return true
}

// flush ends all bursts: the log is about to be closed.
func (b *bursts) flush(log *zap.Logger) {
	for _, code := range []refusal.Code{refusal.StoreUnavailable, refusal.StoreReplaced, refusal.NotReady} {
		b.end(code, log)
	}
}

func (b *bursts) end(code refusal.Code, log *zap.Logger) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.counts[code]
	if now == nil {
		return
	}
	now.end.Stop()
	delete(b.counts, code)
	if now.more > 0 {
		log.Warn("refused", zap.String("code", string(code)), zap.Int("more", now.more), zap.Duration("within", burstTime))
	}
}
