package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/clock"
	"sigill/internal/config"
	"sigill/internal/keep"
	"sigill/internal/keys"
	"sigill/internal/logapi"
	"sigill/internal/reconcile"
	"sigill/internal/store"
	"sigill/internal/tiles"
	"sigill/internal/translog"
	"sigill/revocation"
)

// ReconcileOptions say from what a restored installation is brought up to date.
type ReconcileOptions struct {
	// From is a copy of the logs: a directory made by ExportLogs, or one of another
	// installation of the same logs, such as the disk that was given up.
	From string
	// Get, if set, is the copy instead: the reading side of a log over HTTP.
	Get reconcile.Get
	// Do it; false: only the plan is made.
	Do bool
	// Silent are the places that need not answer.
	Silent   []string
	Now      func() time.Time
	Log      *slog.Logger
	Progress func(what string, done, total int)
}

// Reconciled is what came of it.
type Reconciled struct {
	reconcile.Plan
	// Listed is how many revocations were known from public lists alone.
	Listed int  `json:"listed"`
	Done   bool `json:"done"`
}

// Reconcile takes over what the database of an installation has lost, under the
// installation's lock. It needs no key: what it writes was signed before.
func Reconcile(ctx context.Context, dir string, o ReconcileOptions) (out *Reconciled, err error) {
	in, err := openQuiet(ctx, dir, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	get, closing, err := copyOf(ctx, in, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closing()) }()
	source, err := reconcile.OpenSource(ctx, get, in.logs())
	if err != nil {
		return nil, err
	}
	kept, err := in.kept(ctx, source, o.Silent)
	if err != nil {
		return nil, err
	}
	var issuers []reconcile.Issuer
	for _, each := range in.hierarchy.Issuers {
		issuers = append(issuers, reconcile.Issuer{ID: each.ID, Certificate: each.Certificate})
	}
	r, err := reconcile.New(reconcile.Config{Store: in.db.Reconcile(), Source: source, Kept: kept, Issuers: issuers, Partitions: in.config.Partitions, Now: o.Now})
	if err != nil {
		return nil, err
	}
	plan, err := r.Plan(ctx)
	if err != nil {
		return nil, err
	}
	out = &Reconciled{Plan: *plan}
	if !o.Do {
		return out, nil
	}
	lists, err := in.public(o)
	if err != nil {
		return nil, err
	}
	// Lists first: should this be cut off, what is public is not good again meanwhile.
	if out.Listed, err = lists.take(ctx); err != nil {
		return nil, err
	}
	if err := lists.reserve(ctx); err != nil {
		return nil, err
	}
	if err := r.Run(ctx, o.Progress); err != nil {
		return nil, err
	}
	out.Done = true
	return out, nil
}

// quiet is an installation that is opened without its keys.
type quiet struct {
	config    *config.Config
	hierarchy *keys.Hierarchy
	db        *store.DB
	reader    *translog.Reader
	closers   []io.Closer
}

func openQuiet(ctx context.Context, dir string, locked bool) (q *quiet, err error) {
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	q = &quiet{config: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, q.Close())
		}
	}()
	if locked {
		lock, err := lockDir(cfg.Dir)
		if err != nil {
			return nil, err
		}
		q.closers = append(q.closers, lock)
	}
	if q.hierarchy, err = keys.Load(cfg.Dir); err != nil {
		return q, err
	}
	if q.db, err = store.Open(ctx, store.Config{URL: cfg.DatabaseURL()}); err != nil {
		return q, err
	}
	q.closers = append(q.closers, q.db)
	q.reader, err = LogReader(cfg.Dir, q.db)
	return q, err
}

// Close closes what was opened, last first.
func (q *quiet) Close() error {
	var err error
	for _, c := range slices.Backward(q.closers) {
		err = errors.Join(err, c.Close())
	}
	q.closers = nil
	return err
}

func (q *quiet) logs() reconcile.Logs {
	return reconcile.Logs{Acts: q.reader.Acts, Certificates: q.reader.Certificates}
}

// get reads the logs from the database, in the form in which they are read over HTTP.
func (q *quiet) get(log *slog.Logger) (reconcile.Get, error) {
	s, err := readingSide(q.hierarchy, *q.reader, q.db, log)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, address string) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		answer, err := s.Read(r)
		if errors.Is(err, logapi.ErrErased) {
			return nil, errors.Join(reconcile.ErrErased, err)
		} else if err != nil {
			return nil, err
		}
		return answer.Body, nil
	}, nil
}

// readingSide returns what answers auditors.
func readingSide(h *keys.Hierarchy, r translog.Reader, db *store.DB, log *slog.Logger) (*logapi.Service, error) {
	root := h.Root.Certificate
	return logapi.New(logapi.Config{Trees: r, Entries: db, Certificates: r.Certificates, Log: log, Roots: []*x509.Certificate{root},
		Chain: func(id ca.IssuerID) []*x509.Certificate {
			for _, each := range h.Issuers {
				if each.ID == id {
					return []*x509.Certificate{each.Certificate, root}
				}
			}
			return nil
		}})
}

// copyOf returns the copy that the options name.
func copyOf(ctx context.Context, in *quiet, o ReconcileOptions) (reconcile.Get, func() error, error) {
	nothing := func() error { return nil }
	if o.Get != nil {
		return o.Get, nothing, nil
	}
	if _, err := os.Stat(filepath.Join(o.From, config.File)); errors.Is(err, os.ErrNotExist) {
		return reconcile.Files(o.From), nothing, nil
	} else if err != nil {
		return nil, nil, err
	}
	other, err := openQuiet(ctx, o.From, false)
	if err != nil {
		return nil, nil, fmt.Errorf("the copy: %w", err)
	}
	if other.config.Dir == in.config.Dir || other.config.DatabaseURL() == in.config.DatabaseURL() {
		return nil, nil, errors.Join(errors.New("the copy is this installation itself"), other.Close())
	}
	get, err := other.get(o.Log)
	if err != nil {
		return nil, nil, errors.Join(err, other.Close())
	}
	return get, other.Close, nil
}

// kept asks every place how much of the logs it has seen.
func (q *quiet) kept(ctx context.Context, s *reconcile.Source, silent []string) ([]reconcile.Kept, error) {
	places, _, err := openPlaces(q.config)
	if err != nil {
		return nil, err
	}
	remembered, err := q.db.Remembered(ctx)
	if err != nil {
		return nil, err
	}
	var out []reconcile.Kept
	for _, p := range places {
		kept, err := askLogs(ctx, p, s, q.logs(), remembered[p.Name()])
		switch {
		case err == nil:
			out = append(out, kept...)
		case slices.Contains(silent, p.Name()):
		default:
			return nil, fmt.Errorf("%s does not tell what it has seen, and it may be more than the copy has; if it is gone for ever: --without %s: %w", p.Name(), p.Name(), err)
		}
	}
	return out, nil
}

// askLogs returns what a place has seen of both logs. One that has seen less than is
// remembered of it cannot tell how much the copy lacks.
func askLogs(ctx context.Context, p keep.Place, s *reconcile.Source, logs reconcile.Logs, remembered map[tiles.Name]int64) ([]reconcile.Kept, error) {
	var out []reconcile.Kept
	seen := map[tiles.Name]int64{}
	for tree, head := range map[tiles.Name]reconcile.Head{audit.ActTree: s.Acts, audit.CertificateTree: s.Certificates} {
		log := logs.Of(tree)
		k, err := askPlace(ctx, p, keep.Head{Checkpoint: head.Checkpoint, Note: head.Note, Tree: tree, Log: log, Empty: unsignable})
		if err != nil {
			return nil, err
		}
		if k != nil {
			out, seen[tree] = append(out, *k), k.Size
		}
	}
	if err := keep.Judge(seen, remembered); errors.Is(err, keep.ErrForgotten) {
		return nil, err
	}
	return out, nil
}

// errUnsigned is why a witness cannot be asked about a log of which nothing is signed.
var errUnsigned = errors.New("nothing of this log is signed yet, and here is no key to sign with")

func unsignable() ([]byte, error) { return nil, errUnsigned }

// askPlace returns what a place has seen of a log, nil if nothing.
func askPlace(ctx context.Context, p keep.Place, h keep.Head) (*reconcile.Kept, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if reads, ok := p.(keep.Reader); ok {
		c, err := reads.Kept(ctx, h)
		if err != nil || c == nil {
			return nil, err
		}
		return &reconcile.Kept{Place: p.Name(), Tree: h.Tree, Size: c.Size, Root: &c.Root}, nil
	}
	// A witness says how far it is when it is asked to cosign, which it does if the copy
	// is as far as it is itself.
	h.Size = func(context.Context) (int64, error) { return h.Checkpoint.Size, nil }
	seen, err := p.Seen(ctx, h)
	if ahead, ok := errors.AsType[*keep.AheadError](err); ok {
		seen, err = ahead.Kept, nil
	}
	if err != nil || seen == 0 {
		return nil, err
	}
	return &reconcile.Kept{Place: p.Name(), Tree: h.Tree, Size: seen}, nil
}

// public is what relying parties have seen of the installation's lists.
func (q *quiet) public(o ReconcileOptions) (public, error) {
	p := public{dir: q.hierarchy.PublicDir(), issuers: q.hierarchy.Issuers, store: q.db.Reconcile(), log: o.Log, now: o.Now}
	var err error
	if p.mirrors, err = openTargets(q.config, q.hierarchy, o.Now, o.Log); err != nil {
		return p, err
	}
	for _, each := range q.hierarchy.Issuers {
		for n := range q.config.Partitions {
			p.scopes = append(p.scopes, revocation.List{Issuer: each.ID, Partition: n})
		}
		p.scopes = append(p.scopes, revocation.List{Issuer: each.ID, Partition: revocation.Whole})
	}
	return p, nil
}

// ExportLogs writes a copy of both logs of an installation, served or not, into out, or
// what an older copy there lacks.
func ExportLogs(ctx context.Context, dir, out string, log *slog.Logger) (s *reconcile.Source, err error) {
	in, err := openQuiet(ctx, dir, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	get, err := in.get(log)
	if err != nil {
		return nil, err
	}
	return reconcile.Export(ctx, get, in.logs(), out)
}

// VerifyCopy reads all of a copy of the logs of the installation in dir, whose public keys
// it has, and returns what is in it.
func VerifyCopy(ctx context.Context, dir, from string) (*reconcile.Held, error) {
	logs, err := keys.LoadLogs(dir)
	if err != nil {
		return nil, err
	}
	var both reconcile.Logs
	for key, to := range map[*keys.LogKey]**checkpoint.Log{&logs.Acts: &both.Acts, &logs.Certificates: &both.Certificates} {
		public, err := key.Key()
		if err != nil {
			return nil, err
		}
		if *to, err = checkpoint.NewLog(key.Origin, public); err != nil {
			return nil, err
		}
	}
	s, err := reconcile.OpenSource(ctx, reconcile.Files(from), both)
	if err != nil {
		return nil, err
	}
	return s.Verify(ctx)
}

// keepFindings asks the places that keep the logs' heads what they have seen.
func keepFindings(ctx context.Context, cfg *config.Config, db *store.DB, now func() time.Time, say sayer) {
	const area = "logs"
	for _, text := range unproven(cfg) {
		say(Yellow, area, "not proven: %s", text)
	}
	reader, err := LogReader(cfg.Dir, db)
	if err != nil {
		say(Red, area, "%v", err)
		return
	}
	heads, err := headsOf(ctx, reader, func(tiles.Name) ([]byte, error) { return unsignable() })
	if err != nil {
		say(Red, area, "%v", err)
		return
	}
	signed := 0
	for _, h := range heads {
		if h.Note != nil {
			signed++
			findAhead(h.Tree, "the newest head", h.Checkpoint.Time.Sub(now()), say)
		}
	}
	if signed < len(heads) {
		say(Yellow, area, "the logs have no head yet: they are signed when `sigill serve` starts")
	}
	places, _, err := openPlaces(cfg)
	if err != nil {
		say(Red, area, "%v", err)
		return
	}
	remembered, err := db.Remembered(ctx)
	if err != nil {
		say(Red, area, "%v", err)
		return
	}
	for _, p := range places {
		findPlace(ctx, p, heads, remembered[p.Name()], now, say)
	}
}

// findAhead tells of a head that a clock has dated that was ahead, or is behind now.
func findAhead(tree tiles.Name, what string, ahead time.Duration, say sayer) {
	if ahead > clock.Unbearable {
		say(Red, "logs", "log of %s: %s is dated %v ahead of this machine's clock: who reads the logs refuses it until then", tree, what, ahead.Round(time.Second))
	}
}

func findPlace(ctx context.Context, p keep.Place, heads []keep.Head, remembered map[tiles.Name]int64, now func() time.Time, say sayer) {
	const area = "logs"
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	seen, err := keep.Seen(ctx, p, heads)
	if err == nil {
		err = keep.Judge(seen, remembered)
	}
	switch {
	case errors.Is(err, keep.ErrForked):
		say(Red, area, "%s: %v", p.Name(), err)
	case errors.Is(err, keep.ErrAhead):
		say(Red, area, "%s: %v: the database was restored from something old: `sigill reconcile` takes over what was lost", p.Name(), err)
	case errors.Is(err, keep.ErrForgotten):
		say(Red, area, "%s: %v. %s", p.Name(), err, acceptHint)
	case errors.Is(err, keep.ErrNew):
		say(Yellow, area, "%s has nothing yet. %s", p.Name(), acceptHint)
	case err != nil:
		say(Yellow, area, "%s: %v", p.Name(), err)
	default:
		for _, h := range heads {
			say(Green, area, "%s has seen no more of the log of %s than is here, %d leaves", p.Name(), h.Tree, h.Checkpoint.Size)
			if reads, ok := p.(keep.Reader); ok {
				if c, err := reads.Kept(ctx, h); err == nil && c != nil {
					findAhead(h.Tree, "the head at "+p.Name(), c.Time.Sub(now()), say)
				}
			}
		}
	}
}
