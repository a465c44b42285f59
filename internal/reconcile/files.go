package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	ct "github.com/google/certificate-transparency-go"

	"sigill/internal/audit"
	"sigill/internal/durable"
	"sigill/internal/tiles"
)

// Copies as files have the addresses of the reading side as names:
//
//	acts/checkpoint, certificates/checkpoint     signed notes
//	acts/tile/entries/000, x001/234, 567.p/89    bundles of acts (C2SP tlog-tiles)
//	certificates/entries/1280                    what get-entries answers from there on

// pathOf returns the name of an address's file below a copy.
func pathOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(u.Path, "/log/")
	if path == "certificates/ct/v1/get-entries" {
		path = "certificates/entries/" + u.Query().Get("start")
	}
	if path = filepath.FromSlash(path); !ok || !filepath.IsLocal(path) {
		return "", fmt.Errorf("%q is no address of the logs", address)
	}
	return path, nil
}

// Files reads a copy in dir.
func Files(dir string) Get {
	return func(_ context.Context, address string) ([]byte, error) {
		path, err := pathOf(address)
		if err != nil {
			return nil, err
		}
		return os.ReadFile(filepath.Join(dir, path))
	}
}

// Export writes a copy of both logs into dir, which may have an older one: of that only
// what has grown is written again. The heads come last, so that a copy that was cut off
// is the older one.
func Export(ctx context.Context, get Get, logs Logs, dir string) (*Source, error) {
	s, err := OpenSource(ctx, get, logs)
	if err != nil {
		return nil, err
	}
	var old Source
	if was, err := OpenSource(ctx, Files(dir), logs); err == nil {
		old = *was
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what is in %s: %w", dir, err)
	}
	if s.Acts.Size < old.Acts.Size || s.Certificates.Size < old.Certificates.Size {
		return nil, fmt.Errorf("the copy in %s has more than what is to be copied: it is kept as it is", dir)
	}
	for n := old.Acts.Size / tiles.Width; n*tiles.Width < s.Acts.Size; n++ {
		width := int(min(tiles.Width, s.Acts.Size-n*tiles.Width))
		if err := write(ctx, get, dir, bundleAt(n, width)); err != nil {
			return nil, err
		}
	}
	for n := old.Certificates.Size / tiles.Width; n*tiles.Width < s.Certificates.Size; n++ {
		err := s.chunk(ctx, n, func(start int64, answer []byte, _ []ct.LeafEntry) error {
			return put(dir, entriesAt(start, start), answer)
		})
		if err != nil {
			return nil, err
		}
	}
	return s, errors.Join(put(dir, checkpointAt(audit.ActTree), s.Acts.Note), put(dir, checkpointAt(audit.CertificateTree), s.Certificates.Note))
}

func write(ctx context.Context, get Get, dir, address string) error {
	answer, err := get(ctx, address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return put(dir, address, answer)
}

// put writes an answer in place of what was there. A copy has what acts say of whom: it
// is for its owner.
func put(dir, address string, answer []byte) error {
	path, err := pathOf(address)
	if err != nil {
		return err
	}
	path = filepath.Join(dir, path)
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, answer, 0o600)
}
