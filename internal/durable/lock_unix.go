//go:build unix

package durable

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// LockDir waits until nobody else has the lock of a directory, in this process or
// another, and has it until unlock is called or the process ends. Whoever reads a file,
// changes what he read and replaces the file needs it: of two at once, one would be lost.
// A lock on the file itself would go with the file at each replacement.
//
// Where directories can't be locked it does nothing.
func LockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
