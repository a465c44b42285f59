package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sigill/internal/durable"
)

// lockName is the file whose lock makes comparing and replacing one step, for every publisher
// that writes the directory, on other machines too where the file system shares locks.
const lockName = ".sigill-target.lock"

// Directory is a target that is a directory: another disk, a mounted file system, what a
// web server serves. Media types and caching are that server's affair.
type Directory struct{ dir string }

// NewDirectory returns the target dir, which must exist when objects are put: it is not
// made, because where a file system should be mounted and is not, the empty place below it
// would be filled instead.
func NewDirectory(dir string) (*Directory, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("directory %q is not an absolute path", dir)
	}
	return &Directory{filepath.Clean(dir)}, nil
}

// Check implements Target. It removes what a publisher that was killed has left where
// lists and certificates are; what else there may be is not this program's.
func (d *Directory) Check(ctx context.Context) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	issuers, err := filepath.Glob(filepath.Join(d.dir, "crl", "*"))
	if err != nil {
		return err
	}
	for _, dir := range append(issuers, filepath.Join(d.dir, "aia")) {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		if err := durable.Sweep(dir); err != nil {
			return err
		}
	}
	return nil
}

// Look implements Target. A directory keeps no hash beside a file.
func (d *Directory) Look(_ context.Context, key string) (Present, error) {
	info, err := os.Stat(d.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return Present{}, d.none()
	}
	if err != nil {
		return Present{}, err
	}
	if !info.Mode().IsRegular() { // a pipe would be read for ever
		return Present{}, refuse("what the target has is no file")
	}
	return Present{Version: versionOf(info)}, nil
}

// Open implements Target.
func (d *Directory) Open(_ context.Context, key string) (io.ReadCloser, Present, error) {
	f, err := os.Open(d.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Present{}, d.none()
	}
	if err != nil {
		return nil, Present{}, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, Present{}, err
	}
	return f, Present{Version: versionOf(info)}, nil
}

// Put implements Target: under the lock it looks whether the file is still the one that was
// compared, writes beside it and renames.
func (d *Directory) Put(ctx context.Context, key string, c Content, old Version) (Version, error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	present, err := d.Look(ctx, key)
	if err != nil && !errors.Is(err, ErrNone) {
		return "", err
	}
	if present.Version != old {
		return "", ErrChanged
	}
	path := d.path(key)
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	f, err := durable.Create(path, 0o644)
	if err != nil {
		return "", err
	}
	defer f.Abort()
	if n, err := io.Copy(f, c.Body); err != nil || n != c.Size {
		return "", fmt.Errorf("writing %s: %d of %d octets: %w", key, n, c.Size, errors.Join(err, ctx.Err()))
	}
	if err := f.Commit(); err != nil {
		return "", err
	}
	present, err = d.Look(ctx, key)
	return present.Version, err
}

// none tells a directory without the object from no directory.
func (d *Directory) none() error {
	if _, err := os.Stat(d.dir); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return ErrNone
}

func (d *Directory) path(key string) string { return filepath.Join(d.dir, filepath.FromSlash(key)) }

// lock takes the directory's lock, for which it waits until ctx ends.
func (d *Directory) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(d.dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		locked, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", d.dir, err)
		}
		if locked {
			return func() { f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for the lock of %s: %w", d.dir, ctx.Err())
		case <-time.After(pause):
		}
	}
}
