//go:build integration

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// signIn takes the provider's next person through a login and returns the session cookie,
// and what the app is told of it.
func (b *lab) signIn(p *proxy) (cookie string, told http.Header, err error) {
	// With a fragment, as by the script of the page that a browser gets first.
	begun, err := b.navigate(p, "/.sso/login?return=%2F%23top", "")
	if err != nil {
		return "", nil, err
	}
	answer, err := b.op.Visit(begun.Header.Get("Location"))
	if err != nil {
		return "", nil, fmt.Errorf("%s instead of a redirect to the provider: %w", begun.Status, err)
	}
	binding, _, _ := strings.Cut(begun.Header.Get("Set-Cookie"), ";")
	done, err := b.navigate(p, "/.sso/oidc/callback?"+answer.Encode(), binding)
	if err != nil {
		return "", nil, err
	}
	for _, c := range done.Cookies() {
		if c.Name == "sso" && c.Value != "" {
			cookie = c.Name + "=" + c.Value
			resp, err := b.raw(p, requestOf(p.host(), "/headers", cookieLine(cookie)))
			if err != nil {
				return "", nil, err
			}
			defer func() { _ = resp.Body.Close() }()
			if err := json.NewDecoder(resp.Body).Decode(&told); err != nil {
				return "", nil, fmt.Errorf("reading what the app was told: %w", err)
			}
			return cookie, told, nil
		}
	}
	return "", nil, fmt.Errorf("nobody was signed in: %s", done.Status)
}

func (b *lab) navigate(p *proxy, target, cookie string) (*http.Response, error) {
	resp, err := b.raw(p, requestOf(p.host(), target, cookie))
	if err != nil {
		return nil, err
	}
	return resp, resp.Body.Close()
}
