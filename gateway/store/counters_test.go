package store_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// TestCountersAreBounded counts for more addresses than are remembered.
func TestCountersAreBounded(t *testing.T) {
	t.Parallel()
	var c store.Counters
	for i := range 1_200_000 {
		c.Count(strconv.Itoa(i), 1, time.Minute)
	}
	if n := c.Len(); n > 500_000 {
		t.Errorf("%d counters are remembered", n)
	}
}
