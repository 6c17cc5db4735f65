package provider

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// Fault returns the error of a faulty option if there is a fault.
func Fault(is bool, option, format string, args ...any) error {
	if !is {
		return nil
	}
	return fmt.Errorf("checking %w", wording.About(option, fmt.Errorf(format, args...)))
}

// OneOf refuses a value that is not empty and none of those.
func OneOf[T ~string](option string, value T, those ...T) error {
	var names []string
	for _, v := range those {
		names = append(names, string(v))
	}
	return Fault(value != "" && !slices.Contains(those, value), option, "%.40q is none of %s", value, strings.Join(names, ", "))
}
