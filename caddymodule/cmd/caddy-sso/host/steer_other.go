//go:build !linux

package host

import "errors"

func steerSocket(int, int) error { return errors.ErrUnsupported }
