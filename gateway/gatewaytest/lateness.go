package gatewaytest

import (
	"sync"
	"testing"
	"time"
)

// Lateness measures how late a busy machine wakes a goroutine, until the test ends. The
// function that it returns says what a promise of time may be missed by: four times the worst so
// far, since what is measured meanwhile passes up to four programs, each woken as late.
func Lateness(t testing.TB) (late func() time.Duration) {
	const tick = 10 * time.Millisecond
	var mu sync.Mutex
	woken, worst := time.Now(), time.Duration(0)
	note := func() time.Duration {
		worst = max(worst, time.Since(woken)-tick)
		return 4 * worst
	}
	ctx := t.Context()
	go func() {
		for ctx.Err() == nil {
			time.Sleep(tick)
			mu.Lock()
			note()
			woken = time.Now()
			mu.Unlock()
		}
	}()
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return note()
	}
}
