package reconcile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"sigill/internal/audit"
	"sigill/internal/durable"
	"sigill/internal/tiles"
)

// Copies as files have the addresses of the reading side as names:
//
//	acts/checkpoint, certificates/checkpoint     signed notes
//	acts/tile/entries/000, x001/234, 567.p/89    bundles of acts (C2SP tlog-tiles)
//	certificates/entries/1280                    what get-entries answers from there on, or
//	                                             {"entries":[],"erased":7}: so many were erased
//	acts/tile/0/000, certificates/tile/0/000     hashes of leaves, where some were erased

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
// is the older one. What retention has erased is written as erased, with its hash: the copy
// proves as much as the logs do, and an older copy keeps what it has.
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
		if err := s.writeBundle(ctx, dir, n); err != nil {
			return nil, err
		}
	}
	for n := old.Certificates.Size / tiles.Width; n*tiles.Width < s.Certificates.Size; n++ {
		if err := s.writeChunk(ctx, dir, n); err != nil {
			return nil, err
		}
	}
	return s, errors.Join(put(dir, checkpointAt(audit.ActTree), s.Acts.Note), put(dir, checkpointAt(audit.CertificateTree), s.Certificates.Note))
}

// writeBundle copies bundle n of acts.
func (s *Source) writeBundle(ctx context.Context, dir string, n int64) error {
	bodies, err := s.bodies(ctx, n)
	if err != nil {
		return err
	}
	var bundle []byte
	erased := false
	for _, b := range bodies {
		erased = erased || len(b) == 0
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(b))), b...)
	}
	if erased {
		if err := s.writeHashes(ctx, dir, audit.ActTree, n, len(bodies)); err != nil {
			return err
		}
	}
	return put(dir, bundleAt(n, len(bodies)), bundle)
}

// writeChunk copies chunk n of entries.
func (s *Source) writeChunk(ctx context.Context, dir string, n int64) error {
	erased, width := false, 0
	err := s.chunk(ctx, n, func(p part) error {
		erased = erased || p.erased > 0
		width += len(p.entries) + int(p.erased)
		return put(dir, entriesAt(p.start, p.start), p.answer)
	})
	if err == nil && erased {
		err = s.writeHashes(ctx, dir, audit.CertificateTree, n, width)
	}
	return err
}

// writeHashes copies the hashes of tile n, without which nobody could say what was erased.
func (s *Source) writeHashes(ctx context.Context, dir string, tree tiles.Name, n int64, width int) error {
	hashes, err := s.hashes(ctx, tree, n)
	if err != nil {
		return err
	}
	var tile []byte
	for _, h := range hashes {
		tile = append(tile, h[:]...)
	}
	return put(dir, tileAt(tree, n, width), tile)
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
