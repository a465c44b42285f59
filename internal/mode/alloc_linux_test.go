package mode_test

import (
	"os"
	"syscall"
	"testing"
)

// allocated returns the octets that a file takes on the disk.
func allocated(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(info.Sys().(*syscall.Stat_t).Blocks) * 512
}
