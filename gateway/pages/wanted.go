package pages

import (
	"net/http"
	"slices"
	"strings"
)

// Wanted says whether the client prefers a page to JSON.
func Wanted(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/html")
}

// Opened says whether a person is opening a page, so that a redirect to
// sign in is of use. Browsers say so (Fetch Metadata). Any other client counts as
// a person if it accepts HTML.
func Opened(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get("Upgrade") != "" {
		return false
	}
	if r.RequestURI == "" { // the server asks itself, see gateway.Peer
		return false
	}
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") || r.Header.Get("Purpose") == "prefetch" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		// A page that a service worker fetches has the destination "empty".
		return mode == "navigate" && !slices.Contains(frames, r.Header.Get("Sec-Fetch-Dest"))
	}
	return Wanted(r) && !strings.EqualFold(r.Header.Get("X-Requested-With"), "XMLHttpRequest")
}

// InTab says whether a browser opens a page in a tab, so that the page's script runs.
// Other clients send some of these headers, but not all. A service worker may keep a page
// that the browser loads ahead for it.
func InTab(r *http.Request) bool {
	h := r.Header
	return h.Get("Sec-Fetch-Mode") == "navigate" && h.Get("Sec-Fetch-Dest") == "document" &&
		h.Get("Upgrade-Insecure-Requests") == "1" && h.Get("Service-Worker-Navigation-Preload") == ""
}

// frames are what opens a page inside of another one. Most providers refuse to be
// shown there.
var frames = []string{"frame", "iframe", "fencedframe", "embed", "object"}
