package main

import (
	"runtime"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		live uint64
		want int
	}{
		{"nothing", 0, 1600},
		{"a megabyte", 1 << 20, 1600},
		{"a small proxy", 8 << 20, 800},
		{"as much as is spared", 64 << 20, 100},
		{"a full cache", 512 << 20, 100},
	} {
		if got := percentFor(tt.live); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestChosenByUser(t *testing.T) {
	for _, tt := range []struct {
		gogc, limit string
		want        bool
	}{
		{"", "", false}, {"100", "", true}, {"off", "", true}, {"", "200MiB", true},
	} {
		t.Setenv("GOGC", tt.gogc)
		t.Setenv("GOMEMLIMIT", tt.limit)
		if got := chosenByUser(); got != tt.want {
			t.Errorf("GOGC=%q GOMEMLIMIT=%q: %t", tt.gogc, tt.limit, got)
		}
	}
}

// TestAfterEachGC sees several collections: that of the first must not be the
// last.
func TestAfterEachGC(t *testing.T) {
	t.Parallel()
	calls := make(chan struct{}, 100)
	afterEachGC(func() {
		select {
		case calls <- struct{}{}:
		default:
		}
	})
	for range 3 {
		runtime.GC()
		select {
		case <-calls:
		case <-time.After(30 * time.Second):
			t.Fatal("not called after a collection")
		}
	}
}
