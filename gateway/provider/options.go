package provider

import (
	"fmt"
	"slices"
	"strings"
)

// Fault returns the error of a faulty option if there is a fault.
func Fault(is bool, format string, args ...any) error {
	if !is {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// OneOf refuses a value that is not empty and none of those.
func OneOf[T ~string](option string, value T, those ...T) error {
	var names []string
	for _, v := range those {
		names = append(names, string(v))
	}
	return Fault(value != "" && !slices.Contains(those, value), "checking %s: %.40q is none of %s", option, value, strings.Join(names, ", "))
}
