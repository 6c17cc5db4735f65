//go:build !linux

package caddymodule

import "errors"

func steerSocket(int, int) error { return errors.ErrUnsupported }
