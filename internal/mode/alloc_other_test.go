//go:build !linux

package mode_test

import (
	"os"
	"testing"
)

// allocated returns the length of a file where nothing better is known.
func allocated(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(info.Size())
}
