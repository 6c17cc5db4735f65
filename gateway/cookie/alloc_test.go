//go:build !race

package cookie_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
)

// TestAllocManyCookies holds that cookies of ours that come very many times
// are taken out at once: what is left must not be copied for each of them. A
// header block may have a megabyte.
func TestAllocManyCookies(t *testing.T) {
	const times, maxAllocs = 100_000, 50
	line := strings.Repeat("sso;a;", times)
	h := http.Header{}
	allocs := testing.AllocsPerRun(1, func() {
		h["Cookie"] = []string{line}
		cookie.Take(h, true)
	})
	if left := h.Get("Cookie"); left != strings.Repeat("a;", times-1)+"a" {
		t.Fatalf("%d bytes are left", len(left))
	}
	if allocs > maxAllocs {
		t.Errorf("%v allocations for %d cookies, the budget is %d", allocs, times, maxAllocs)
	}
}
