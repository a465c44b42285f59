package mode

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// File is a reserve of space that is a file of random octets: zeros could be
// stored as a hole or compressed to nothing, and the space would not be there
// when it is needed.
type File struct {
	Path string
	Size uint64
}

// Held implements [Reserve]. A file of another size is of another configuration,
// or was cut off.
func (f File) Held() bool {
	info, err := os.Stat(f.Path)
	return err == nil && info.Mode().IsRegular() && uint64(info.Size()) == f.Size
}

// Make implements [Reserve].
func (f File) Make() error {
	out, err := os.OpenFile(f.Path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, rand.Reader, int64(f.Size))
	if err == nil {
		err = out.Sync() // allocated late on many file systems: only now it is there
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(fmt.Errorf("reserve: %w", err), f.Release())
	}
	return nil
}

// Release implements [Reserve].
func (f File) Release() error {
	if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
