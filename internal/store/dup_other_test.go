//go:build !linux

package store

import "errors"

func dup(from, to int) error { return errors.ErrUnsupported }
