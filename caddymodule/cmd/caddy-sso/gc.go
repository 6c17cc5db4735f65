package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// spareHeap is how many bytes may be allocated between two garbage collections. By
// default Go lets the heap double. A proxy has a heap of a few megabytes, so it would
// collect every few hundred requests, which takes a sixth of its time. spareHeap is also
// the most memory that this costs. A heap of that size or more is collected as by
// default.
const spareHeap = 64 << 20

// maxPercent bounds GOGC for a very small heap.
const maxPercent = 1600

// tuneGC makes garbage collection rarer while the heap is small. Call it only if the user
// has set nothing (chosenByUser). A memory limit still holds, such as that of a container,
// which Caddy sets: the runtime then collects as often as the limit needs.
func tuneGC() {
	debug.SetGCPercent(maxPercent / 4) // until the first collection has measured the heap
	afterEachGC(new(tuner).adjust)
}

// chosenByUser says whether the environment configures garbage collection.
func chosenByUser() bool {
	return os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != ""
}

// A tuner sets GOGC by the size of the live heap.
type tuner struct{ percent int }

func (t *tuner) adjust() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	percent := percentFor(live[0].Value.Uint64())
	// SetGCPercent stops the world for a moment. So call it only for a large change.
	if d := percent - t.percent; d > t.percent/8 || -d > t.percent/8 {
		t.percent = percent
		debug.SetGCPercent(percent)
	}
}

// percentFor returns the value of GOGC that allows spareHeap beside the live heap.
func percentFor(live uint64) int {
	return int(min(max(spareHeap*100/max(live, 1), 100), maxPercent))
}

// afterEachGC calls f after each garbage collection, on the runtime's goroutine
// for finalizers.
func afterEachGC(f func()) {
	type sentinel struct{ _ *byte } // with a pointer, so that it shares no block with others
	var renew func(*sentinel)
	renew = func(s *sentinel) {
		f()
		runtime.SetFinalizer(s, renew)
	}
	runtime.SetFinalizer(new(sentinel), renew)
}
