package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// warnOfOpen warns of protected paths below which all is open.
func (h *Handler) warnOfOpen() {
	for _, p := range h.Protect {
		below := strings.TrimSuffix(p, "/") + "/*"
		if !strings.HasSuffix(p, "/*") && !slices.Contains(h.Protect, below) {
			h.log.Warn("this path alone is protected, and what is below it is open: write `protect "+below+"` if both are meant",
				zap.String("site", h.site), zap.String("protect", p))
		}
	}
}

// literals refuses placeholders in what is compared as it is written.
func (h *Handler) literals() error {
	errs := []error{
		literal("public", h.Public...), literal("protect", h.Protect...),
		literal("prefix", h.Prefix), literal("callback_path", h.CallbackPath),
	}
	lines := slices.Concat(h.Role, h.Template, h.Group)
	for _, from := range h.From {
		lines = slices.Concat(lines, from.Role, from.Template, from.Group)
	}
	for _, line := range lines {
		errs = append(errs, literal("role, template or group", line.To...), literal("role, template or group", line.From...))
	}
	return errors.Join(errs...)
}

// literal refuses placeholders where none is replaced. As it is written, such a
// path would protect nothing, and such a group have nobody in it.
func literal(name string, values ...string) error {
	for _, value := range values {
		for _, start := range []string{"{env.", "{file.", "{args[", "{vars.", "{http.", "{system."} {
			if strings.Contains(value, start) {
				return fmt.Errorf("%s: '%s' has a placeholder in it, and none is replaced there: write {$NAME} for a variable of the environment, which Caddy replaces as it reads the Caddyfile", name, value)
			}
		}
	}
	return nil
}
