package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sigill/ca"
	"sigill/internal/config"
	"sigill/internal/durable"
	"sigill/internal/strictjson"
	"sigill/internal/target"
	"sigill/revocation/status"
)

// presignFile, in the directory of the answers, is how far the pass over all
// certificates is.
const presignFile = "position.json"

// presigned is a directory with answers that were signed ahead, one file each, named
// as clients ask for it: ocsp/ and the percent-encoding of the request's base64. A
// file's time is when its answer ends, so that whoever copies the directory, and the
// sweeping of it, know what is old without reading it.
type presigned struct {
	dir string
	now func() time.Time
}

// Put implements status.Sink.
func (p *presigned) Put(_ context.Context, path string, der []byte, until time.Time) error {
	name := filepath.Join(p.dir, filepath.FromSlash(path))
	if err := durable.WriteFile(name, der, 0o644); err != nil {
		return err
	}
	return os.Chtimes(name, time.Time{}, until)
}

// sweep removes the answers that have ended: of certificates that have expired, or
// that nobody renews.
func (p *presigned) sweep(ctx context.Context) error {
	dir := filepath.Join(p.dir, "ocsp")
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && !info.ModTime().After(p.now()) {
			err = os.Remove(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return errors.Join(err, ctx.Err())
	})
}

// presigner returns the job of the configuration, nil if there is none.
func (a *App) presigner() (*status.Presigner, error) {
	c := a.Config.OCSP.Presign
	if c.Target != "" {
		return a.presignerTo(c)
	}
	if c.Dir == "" {
		return nil, nil
	}
	out := &presigned{dir: c.Dir, now: a.now}
	if !filepath.IsAbs(out.dir) {
		out.dir = a.Config.Path(out.dir)
	}
	if err := durable.MkdirAll(filepath.Join(out.dir, "ocsp"), 0o755); err != nil {
		return nil, fmt.Errorf("ocsp.presign: %w", err)
	}
	if err := durable.Sweep(filepath.Join(out.dir, "ocsp")); err != nil {
		return nil, fmt.Errorf("ocsp.presign: %w", err)
	}
	return a.newPresigner(c, out, filepath.Join(out.dir, presignFile), out.sweep)
}

// presignerTo puts answers at a target of publication. The position is here, and nothing
// is swept there: nothing is ever deleted at a target.
func (a *App) presignerTo(c config.Presign) (*status.Presigner, error) {
	to, err := openTarget(a.Config, a.Config.Publish.Targets[c.Target])
	if err != nil {
		return nil, fmt.Errorf("ocsp.presign.target: %w", err)
	}
	return a.newPresigner(c, target.NewAnswers(to), a.Config.Path("presign-"+c.Target+".json"), func(context.Context) error { return nil })
}

// newPresigner returns the job with a sink and the file of its position; sweep is called after each
// pass.
func (a *App) newPresigner(c config.Presign, to status.Sink, at string, sweep func(context.Context) error) (*status.Presigner, error) {
	failed := func(err error) { a.log.Error("answers signed ahead", "err", err) }
	p := &status.Presigner{Source: a.DB, Ledger: a.DB.Revocation(), Signers: &a.signers, Sink: to, Now: a.now,
		Validity: time.Duration(c.Validity), Every: time.Duration(c.Every), SHA256: c.SHA256, PerSecond: c.PerSec, Failed: failed,
		Save: func(p status.Position) error { return writePosition(at, p) },
		Passed: func(ctx context.Context) {
			if err := sweep(ctx); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}}
	var err error
	if p.Position, err = readPosition(at); err != nil {
		return nil, fmt.Errorf("ocsp.presign: %w", err)
	}
	return p, p.Check()
}

// position is a status.Position in the file.
type position struct {
	Began   time.Time `json:"began"`
	After   string    `json:"after"`
	Done    bool      `json:"done"`
	Through int64     `json:"through"`
	// Complete is not in the files of earlier versions.
	Complete time.Time `json:"complete,omitzero"`
}

func writePosition(path string, at status.Position) error {
	b, err := json.Marshal(position{at.Began, at.After.String(), at.Done, at.Through, at.Complete})
	if err != nil {
		return err
	}
	return durable.WriteFile(path, b, 0o644)
}

// readPosition reads where to go on. Without a file the first pass begins; what is
// there and can't be read is no reason to sign everything anew without a word.
func readPosition(path string) (status.Position, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return status.Position{}, nil
	}
	var at position
	var after ca.Serial
	if err == nil {
		err = strictjson.Unmarshal(b, &at)
	}
	if err == nil {
		after, err = ca.ParseSerial(at.After)
	}
	if err != nil {
		return status.Position{}, fmt.Errorf("%s cannot be read: remove it to sign all answers anew: %w", path, err)
	}
	return status.Position{Began: at.Began, After: after, Done: at.Done, Through: at.Through, Complete: at.Complete}, nil
}
