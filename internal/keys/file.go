package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxSecret bounds what is read as a key or passphrase file.
const maxSecret = 64 << 10

// Permissions that a file with a secret must not have.
const (
	othersAny = 0o077
	// credentialAny is for the directory that systemd makes for one service: it
	// admits the service's user by an access control list, whose mask shows in
	// the group's permissions.
	credentialAny = 0o037
)

// readSecret reads a file that has none of the forbidden permissions, and that
// nobody else can put another in place of. The checks are made on the opened
// file, so that it can't be exchanged between check and use.
func readSecret(path string, forbidden os.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return nil, fmt.Errorf("%s can be read or written by others than its owner (mode %04o): chmod 600 %s", path, mode, path)
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if mode := dir.Mode(); mode.Perm()&0o022 != 0 && mode&os.ModeSticky == 0 {
		return nil, fmt.Errorf("directory %s can be written by others than its owner (mode %04o): chmod 700 %s",
			filepath.Dir(path), mode.Perm(), filepath.Dir(path))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecret {
		return nil, fmt.Errorf("%s is too large to be a key or passphrase", path)
	}
	return data, nil
}

// createFile writes a new file durably; it never overwrites: the only copy of a
// key may be in the old one.
func createFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if err := fill(f, data, mode); err != nil {
		os.Remove(path)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// fill writes data to f, with mode whatever the umask, and closes it.
func fill(f *os.File, data []byte, mode os.FileMode) error {
	_, err := f.Write(data)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// secretDir makes a directory that only its owner can enter. One that is there
// already is accepted if it is such a directory.
func secretDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("directory %s can be entered by others than its owner (mode %04o): chmod 700 %s", path, mode, path)
	}
	return nil
}
