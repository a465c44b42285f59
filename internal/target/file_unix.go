//go:build unix

package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// versionOf names a file's content: files are replaced by new ones and never written over.
// Time alone is not enough, as file systems keep it in steps that two puts fit into.
func versionOf(info fs.FileInfo) Version {
	var inode uint64
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = uint64(s.Ino)
	}
	return Version(fmt.Sprintf("%x-%x-%x", info.ModTime().UnixNano(), info.Size(), inode))
}

// tryLock locks f until it is closed, however the process ends, unless somebody else has.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	return err == nil, err
}
