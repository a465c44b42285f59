//go:build unix

package token

import (
	"fmt"
	"io/fs"
)

func checkMode(path string, mode fs.FileMode) error {
	if mode.Perm()&0o077 != 0 {
		return fmt.Errorf("soft card %s: mode is %#o, others than the owner have access: chmod 600 %s", path, mode.Perm(), path)
	}
	return nil
}
