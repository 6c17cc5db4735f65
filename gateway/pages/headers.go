package pages

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// Parts of a page's policy, for forms and scripts.
const (
	noForm  = "form-action 'none'"
	ownForm = "form-action 'self'"
	// postingForm leaves form-action out. Chromium applies it to every redirect that
	// follows the post, on any host, and both the provider and the app may redirect
	// to anywhere. The form's one target stands in the page.
	postingForm = "script-src 'self'"
	// leadingForm leaves it out for a form of ours that leads to the provider.
	leadingForm = "script-src 'none'"
	// scriptedLinks is for a page with a script and without a form.
	scriptedLinks = noForm + "; script-src 'self'"
)

// setPageHeaders sets what all pages have in common. policy is what the page's
// CSP has of its own. If framed, pages of the same origin may show it in a frame.
func setPageHeaders(h http.Header, policy string, framed bool) {
	ancestors, options := "'none'", "DENY"
	if framed {
		ancestors, options = "'self'", "SAMEORIGIN"
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; "+policy+
		"; frame-ancestors "+ancestors+"; base-uri 'none'")
	h.Set("X-Frame-Options", options)
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: that makes the Origin of our own forms "null", and
	// browsers without Sec-Fetch-Site would then fail the cross-origin check.
	h.Set("Referrer-Policy", "strict-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
}

// away returns an absolute http(s) URL as it is, and "#" for anything else.
func away(raw string) string {
	u, err := url.Parse(raw)
	// url.Parse takes control characters in a fragment.
	if err != nil || strings.ContainsFunc(raw, isControl) || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "#"
	}
	return raw
}

// registered is away for what a client has registered: it may be an app's own scheme, which
// has a dot (RFC 8252 §7.1). Nothing that a browser runs has one.
func registered(raw string) template.URL {
	if u, err := url.Parse(raw); err == nil && strings.Contains(u.Scheme, ".") && !strings.ContainsFunc(raw, isControl) {
		return template.URL(raw) //nolint:gosec // see above
	}
	return template.URL(away(raw)) //nolint:gosec // html/template would let it through
}

// local returns the path if a browser stays on the own origin with it, else
// "#": a link that leads nowhere.
func local(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return "#"
	}
	// Browsers take a backslash for a slash and drop tabs and line breaks
	// (URL Standard §4.4), so that "/\t/evil" is another host.
	if strings.ContainsFunc(path, func(c rune) bool { return c == '\\' || isControl(c) }) {
		return "#"
	}
	return path
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }
