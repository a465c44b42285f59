//go:build unix

package witness

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir takes a witness's lock; it is held until the file is closed, however the
// process ends. Two processes with one memory could cosign two histories.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is in use by another witness", dir)
	}
	return f, nil
}
