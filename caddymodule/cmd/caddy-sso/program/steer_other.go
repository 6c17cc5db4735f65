//go:build !linux

package program

import "errors"

func steerSocket(int, int) error { return errors.ErrUnsupported }
