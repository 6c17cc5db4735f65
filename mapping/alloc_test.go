//go:build !race

package mapping_test

import (
	"math"
	"testing"
	"time"
)

// 10 groups that all match: the indices, the names and the roles, each grown a
// few times.
const applyBudget = 20

func TestAllocApply(t *testing.T) {
	person := personIn(10)
	few, many := compile(t, wideRules(10)), compile(t, wideRules(10_000))
	onFew := testing.AllocsPerRun(100, func() { few.Apply(person) })
	onMany := testing.AllocsPerRun(100, func() { many.Apply(person) })
	if onFew != onMany {
		t.Errorf("%v allocations with 10 lines, %v with 10,000", onFew, onMany)
	}
	if onMany > applyBudget {
		t.Errorf("%v allocations, want at most %d", onMany, applyBudget)
	}
	stranger := []string{"x", "y", "z"}
	if got := testing.AllocsPerRun(100, func() { many.Apply(stranger) }); got != 0 {
		t.Errorf("%v allocations for whom no line matches, want 0", got)
	}
}

// A thousand times the lines may cost a few misses of the processor's cache,
// but nothing like a thousand times the time.
func TestAllocApplyTimeRatio(t *testing.T) {
	const most = 20
	person := personIn(10)
	few, many := compile(t, wideRules(10)), compile(t, wideRules(10_000))
	onFew := fastest(func() { few.Apply(person) })
	onMany := fastest(func() { many.Apply(person) })
	if onMany > most*onFew {
		t.Errorf("%v with 10 lines, %v with 10,000: more than %d times", onFew, onMany, most)
	}
}

// fastest is the time of a thousand calls, undisturbed.
func fastest(call func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 10 {
		start := time.Now()
		for range 1_000 {
			call()
		}
		best = min(best, time.Since(start))
	}
	return best
}
