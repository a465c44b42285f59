//go:build linux || darwin || freebsd

package mode

import "syscall"

// Free returns the bytes that a process without privileges may still write to
// the file system of path.
func Free(path string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, err
	}
	// FreeBSD counts below zero what only root may write.
	return uint64(max(int64(st.Bavail), 0)) * uint64(st.Bsize), nil
}
