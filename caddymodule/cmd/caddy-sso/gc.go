package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// spareHeap is how much may be allocated between two garbage collections, at
// least. Go's default lets the heap double, which for the few megabytes of a
// proxy means a collection every few hundred requests: a sixth of its time.
// With this, it costs that much memory at most, and a heap of that size or
// more is collected as Go's default has it.
const spareHeap = 64 << 20

// maxPercent is for a heap so small that it is hardly worth a look.
const maxPercent = 1600

// tuneGC makes garbage collection rarer while the heap is small. It leaves
// alone what the user has set: it is only called when chosenByUser says no. A
// memory limit, such as Caddy takes from the container's, still holds: the
// runtime then collects as often as that needs.
func tuneGC() {
	debug.SetGCPercent(maxPercent / 4) // until the first collection has told how much lives
	afterEachGC(new(tuner).adjust)
}

// chosenByUser says whether the environment sets garbage collection.
func chosenByUser() bool {
	return os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != ""
}

// A tuner sets the runtime's percentage by what lives on the heap.
type tuner struct{ percent int }

func (t *tuner) adjust() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	percent := percentFor(live[0].Value.Uint64())
	// Setting it stops the world for a moment: only if it changes much.
	if d := percent - t.percent; d > t.percent/8 || -d > t.percent/8 {
		t.percent = percent
		debug.SetGCPercent(percent)
	}
}

// percentFor returns the value of GOGC that leaves spareHeap beside what lives.
func percentFor(live uint64) int {
	return int(min(max(spareHeap*100/max(live, 1), 100), maxPercent))
}

// afterEachGC calls f after each garbage collection, on the runtime's goroutine
// for finalizers.
func afterEachGC(f func()) {
	type sentinel struct{ _ *byte } // a pointer in it, so that it lies by itself
	var renew func(*sentinel)
	renew = func(s *sentinel) {
		f()
		runtime.SetFinalizer(s, renew)
	}
	runtime.SetFinalizer(new(sentinel), renew)
}
