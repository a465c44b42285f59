// Package durable replaces files so that a reader sees the old bytes or the new
// ones and never anything between, and so that the new ones survive a loss of
// power once the call has returned.
//
// It owns the order of system calls and knows nothing of what the files are:
//
//	write a temporary file beside the target, fsync it   the bytes are on disk
//	rename it over the target                            readers see old or new (POSIX rename)
//	fsync the directory                                  the new name is on disk
//
// Leaving out the first fsync can leave an empty file under the final name after
// a crash, because file systems may write the rename before the data; leaving
// out the last can bring the old file back.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// tempSuffix ends the names of temporary files. They begin with a dot, so that
// nothing that serves or lists files by their proper names ever shows one.
const tempSuffix = ".tmp"

// WriteFile replaces path by a file with these bytes and this mode, whatever the
// umask. The directory must exist. When it returns nil, the file is in place and
// durable. When it returns an error, the old file is still in place, except
// after an error of the last step (the fsync of the directory), when either may
// be: read it again.
//
// Concurrent calls for one path do not harm each other: one of them is the last.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	f, err := Create(path, mode)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("durable: writing %s: %w", path, err)
	}
	return f.Commit()
}

// File is the file that will replace another: what is too large to be held, or is
// looked at again before anybody else sees it. Readers see the old one until
// Commit, which has the guarantees of [WriteFile]. It is used by one goroutine.
type File struct {
	*os.File
	path string
	mode fs.FileMode
	done bool
}

// Create returns a file that Commit will put in place at path. End it by Commit or
// by Abort; Abort after Commit does nothing.
func Create(path string, mode fs.FileMode) (*File, error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+base+".*"+tempSuffix)
	if err != nil {
		return nil, fmt.Errorf("durable: %w", err)
	}
	return &File{File: f, path: path, mode: mode}, nil
}

// Commit puts the file in place, durably.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("durable: %s: %w", f.path, os.ErrClosed)
	}
	f.done = true
	temp := f.Name()
	err := f.Chmod(f.mode)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.File.Close()); err != nil {
		os.Remove(temp)
		return fmt.Errorf("durable: writing %s: %w", f.path, err)
	}
	if err := os.Rename(temp, f.path); err != nil {
		os.Remove(temp)
		return fmt.Errorf("durable: %w", err)
	}
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("durable: %w", err)
	}
	return nil
}

// Abort removes a file that was not committed.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	f.File.Close()
	os.Remove(f.Name())
}

// MkdirAll makes the directory path and its missing parents, each durably.
func MkdirAll(path string, mode fs.FileMode) error {
	path = filepath.Clean(path)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("durable: %s is not a directory", path)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("durable: %w", err)
	}
	parent := filepath.Dir(path)
	if err := MkdirAll(parent, mode); err != nil {
		return err
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("durable: %w", err)
	}
	if err := syncDir(parent); err != nil {
		return fmt.Errorf("durable: %w", err)
	}
	return nil
}

// Sweep removes what interrupted calls of WriteFile left in dir. It must not run
// beside a WriteFile into the same directory.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("durable: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || !strings.HasPrefix(name, ".") || !strings.HasSuffix(name, tempSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("durable: %w", err)
		}
	}
	return nil
}

// syncDir makes the names in dir durable. Windows cannot open a directory for
// this and writes names through by itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
