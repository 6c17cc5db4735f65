//go:build integration

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// signIn takes the provider's next person through a login and returns the
// session cookie.
func (b *lab) signIn(p *proxy) (string, error) {
	begun, err := b.navigate(p, "/", "")
	if err != nil {
		return "", err
	}
	answer, err := b.op.Visit(begun.Header.Get("Location"))
	if err != nil {
		return "", fmt.Errorf("%s instead of a redirect to the provider: %w", begun.Status, err)
	}
	binding, _, _ := strings.Cut(begun.Header.Get("Set-Cookie"), ";")
	done, err := b.navigate(p, "/.sso/oidc/callback?"+answer.Encode(), binding)
	if err != nil {
		return "", err
	}
	for _, c := range done.Cookies() {
		if c.Name == "sso" && c.Value != "" {
			return c.Name + "=" + c.Value, nil
		}
	}
	return "", fmt.Errorf("nobody was signed in: %s", done.Status)
}

func (b *lab) navigate(p *proxy, target, cookie string) (*http.Response, error) {
	resp, err := b.raw(p, requestOf(p.host(), target, cookie))
	if err != nil {
		return nil, err
	}
	return resp, resp.Body.Close()
}

// whoIs asks the app whose session a cookie opens.
func (b *lab) whoIs(p *proxy, own string) (string, error) {
	resp, err := b.raw(p, requestOf(p.host(), "/who", cookieLine(own)))
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	user, _, _ := strings.Cut(string(body), " ")
	if !strings.HasPrefix(user, "person-") {
		return "", errors.New("the app was not told who it is")
	}
	return user, nil
}

// newHeaderText makes a request of the header lines that the app sent back.
func newHeaderText(resp *http.Response) io.Reader {
	return io.MultiReader(bytes.NewReader([]byte("GET / HTTP/1.1\r\nHost: app\r\n")), resp.Body, bytes.NewReader([]byte("\r\n")))
}
