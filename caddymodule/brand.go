package caddymodule

import (
	"fmt"
	"io"
	"os"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// brand reads how the site looks on our pages.
func (h *Handler) brand() (pages.Brand, error) {
	b := pages.Brand{Title: h.Title, Help: h.Help}
	if h.Logo == "" {
		return b, nil
	}
	err := regular(h.Logo)
	var file *os.File
	if err == nil {
		file, err = os.Open(h.Logo)
	}
	if err != nil {
		return b, wording.About("logo", fmt.Errorf("%w: write the name of a file that Caddy's user can read", err))
	}
	defer file.Close()
	body, err := io.ReadAll(io.LimitReader(file, pages.MaxLogo+1))
	if err == nil {
		b.Logo, err = pages.NewLogo(body)
	}
	if err != nil {
		err = wording.About("logo", fmt.Errorf("reading %s: %w", h.Logo, err))
	}
	return b, err
}
