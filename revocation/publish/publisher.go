// Package publish owns CRLs on their way to relying parties: which are due, their
// numbers, what may replace what is public, and lists that were signed elsewhere.
//
// It knows the ledger of revocations only as committed rows, and neither orders nor
// cards. Its central rule: whatever went wrong before, relying parties never see a
// list go backwards, as far as the public directory or a place elsewhere remembers what
// they have seen.
package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/durable"
	"sigill/revocation"
)

// Defaults of a Publisher.
const (
	DefaultCRLLifetime = 24 * time.Hour         // nextUpdate − now
	DefaultCRLInterval = 250 * time.Millisecond // between two looks at what is due
	DefaultCRLMinimum  = time.Second            // between two CRLs of one scope
	DefaultFullEvery   = time.Hour              // between two full lists
)

// backdate is how far back thisUpdate lies: relying parties whose clocks are slow
// would refuse a list from their future.
const backdate = 5 * time.Minute

// batch is how many lists share the transaction that reserves their numbers, and
// the one that finishes them.
const batch = 32

// Publisher keeps the public CRLs up with the ledger. What is due it finds by
// reading committed state, never by being told, so that a crash between a
// revocation and its publication loses nothing. A CRL becomes public in these
// steps, and a new process goes on rightly from between any two:
//
//	▶ the next number is reserved ■          a number is used at most once
//	the list is written beside the public    from the one before and what changed
//	one, and signed                          since, or anew from the ledger (▶ ■)
//	checked against the one that is public   see successor
//	put in place                             atomically, durably
//	▶ the publication is finished ■
//
// What a crash leaves is a reserved number that is never used, or a public file
// that the table does not know as published; either way the next pass publishes
// once more, with the next number.
//
// There are no delta lists: a partition is small enough to be issued anew at once,
// and many relying parties ignore deltas (RFC 5280, 5.2.4).
//
// One process writes a directory. Publish may be called concurrently.
type Publisher struct {
	Store  revocation.Store
	Scopes []Scope
	// Dir is the public directory: CRLs are at CRLPath below it.
	Dir string
	// Lint judges each list, and each entry when it first appears.
	Lint Linter
	// Leader, if set, reports whether this process is the one that publishes:
	// where several work on one database, one does. It leaves the octets of its
	// lists in the store, and the others put those in place in their directories.
	// Two that believe to lead for a moment do no harm: each number is reserved by
	// one, and who finishes second is refused and begins anew.
	Leader func(context.Context) (bool, error)
	// Last, if set, reports whether an issuer is closed: each of its lists is
	// issued once more, to stay for ever (nextUpdate 99991231235959Z), and no more.
	// What it has reported once it must report for ever.
	Last func(ca.IssuerID) bool
	// Elsewhere, if set, returns the highest number that a list has at the places
	// where it is brought to, nil if that can't be told. It is asked before this
	// process first publishes the list: a machine that was restored with its disks
	// knows no better than its database.
	Elsewhere func(context.Context, revocation.List) *big.Int
	// Ahead, if set, reports that nothing is numbered now, and that what is public may
	// be newer than the table, because the database was restored from something old.
	// Lists then go on above the numbers that are public, and are published for
	// revocations without a number too. Everything else holds: the ledger MUST have been
	// given what the public lists have, or none is replaced.
	Ahead func() bool
	Now   func() time.Time // of Run
	Log   *slog.Logger
	// Lifetime, Interval, Minimum and FullEvery default to the constants above. A
	// CRL is issued anew at half of its life whether anything was revoked or not.
	Lifetime, Interval, Minimum, FullEvery time.Duration
	// AnnounceNext writes into each list when the next will be there (Next CRL
	// Publish, [MS-WCCE]), so that Windows fetches it before this one ends.
	AnnounceNext bool

	mu    sync.Mutex
	led   bool                        // at the last pass
	tail  int64                       // numbered entries up to here are known
	head  int64                       // the newest number at the last pass
	dirty map[revocation.List]int64   // highest number of an entry
	known map[revocation.List]*state  // nil: to be read from the table
	pause map[revocation.List]trouble // scopes that could not be published

	ahead  bool                                       // what Ahead reported at this pass
	loose  map[revocation.List]map[ca.Serial]int      // while ahead: entries without a number, their highest versions
	shared map[revocation.List]int64                  // numbers of the copies in the store
	stood  map[revocation.List]revocation.Publication // the newest that is known
	behind map[revocation.List]time.Time              // since when a list lacks a revocation
	health atomic.Pointer[Health]                     // of the last pass
	// copied is what is in place of others' lists; nil: nothing was looked at.
	copied map[revocation.List]copied
}

// Check reports what is wrong with the configuration.
func (p *Publisher) Check() error {
	if p.Store == nil || p.Dir == "" || p.Lint == nil || p.Now == nil || p.Log == nil {
		return errors.New("crl publisher: store, directory, linter, clock or log is missing")
	}
	if p.Lifetime < 0 || p.Lifetime > 72*time.Hour || p.Lifetime > 0 && p.Lifetime < time.Hour {
		return fmt.Errorf("crl publisher: lifetime %v is not between 1 and 72 hours", p.Lifetime)
	}
	if every := orDefault(p.FullEvery, DefaultFullEvery); every < time.Minute || every > orDefault(p.Lifetime, DefaultCRLLifetime)/2 {
		return fmt.Errorf("crl publisher: a full list every %v is not between a minute and half of its life", p.FullEvery)
	}
	seen := map[revocation.List]bool{}
	for i := range p.Scopes {
		s := &p.Scopes[i]
		if err := s.check(); err != nil {
			return err
		}
		if seen[s.list()] {
			return fmt.Errorf("crl publisher: %s is there twice", s.list())
		}
		seen[s.list()] = true
	}
	return nil
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// Run publishes what is due until ctx ends. What goes wrong is logged, once
// until it changes, and tried again.
func (p *Publisher) Run(ctx context.Context) {
	ticker := time.NewTicker(orDefault(p.Interval, DefaultCRLInterval))
	defer ticker.Stop()
	told := ""
	for {
		n, err := p.Publish(ctx, p.Now())
		if n > 0 {
			p.Log.Info("published CRLs", "count", n)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			told = ""
		case err.Error() != told:
			told = err.Error()
			p.Log.Error("publishing CRLs", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Publish publishes every CRL that is due at now and returns how many. One
// scope's error does not keep the others from being published. A scope in
// trouble is tried again after a pause that grows from a second to a minute; in
// between its last error is returned again.
func (p *Publisher) Publish(ctx context.Context, now time.Time) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.publishDue(ctx, now)
}

// PublishAtOnce is [Publisher.Publish] without waiting for pauses: for who will not
// come again.
func (p *Publisher) PublishAtOnce(ctx context.Context, now time.Time) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.pause)
	return p.publishDue(ctx, now)
}

// publishDue publishes what is due; p.mu is held.
func (p *Publisher) publishDue(ctx context.Context, now time.Time) (n int, err error) {
	now = now.UTC().Truncate(time.Second)
	began := time.Now()
	defer func() { p.noteHealth(now.Add(time.Since(began))) }()
	leads, err := p.leads(ctx)
	if err != nil {
		return 0, err
	}
	p.ahead = p.Ahead != nil && p.Ahead()
	var errs []error
	if p.Leader != nil {
		errs = append(errs, p.follow(ctx, leads, now))
	}
	if !leads {
		return 0, errors.Join(errs...)
	}
	if err := p.learn(ctx); err != nil {
		return 0, fmt.Errorf("finding due CRLs: %w", err)
	}
	errs = append(errs, p.unlisted())
	var jobs []*job
	for i := range p.Scopes {
		s := &p.Scopes[i]
		if t := p.pause[s.list()]; now.Before(t.until) && !now.Before(t.at) {
			errs = append(errs, t.err)
			continue
		}
		due, err := p.due(s, now)
		if due || err != nil {
			jobs = append(jobs, &job{Scope: s, state: p.known[s.list()], path: p.path(s), err: err})
		} else {
			delete(p.pause, s.list())
		}
	}
	for len(jobs) > 0 {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		some := jobs[:min(batch, len(jobs))]
		jobs = jobs[len(some):]
		p.publish(ctx, some, now)
		for _, j := range some {
			if err := p.settle(j, now); err != nil {
				errs = append(errs, err)
				continue
			}
			n++
		}
	}
	return n, errors.Join(errs...)
}

// leads reports whether this process publishes. Who begins to lead remembers
// nothing of what others have published since it last did.
func (p *Publisher) leads(ctx context.Context) (bool, error) {
	if p.Leader == nil {
		return true, nil
	}
	leads, err := p.Leader(ctx)
	if err != nil {
		err = fmt.Errorf("asking who publishes CRLs: %w", err)
	}
	if !leads || !p.led {
		p.known = nil
	}
	p.led = leads && err == nil
	return p.led, err
}

// ListError is what keeps one list from being published.
type ListError struct {
	List revocation.List
	Err  error
}

func (e *ListError) Error() string { return fmt.Sprintf("crl %s: %v", e.List, e.Err) }
func (e *ListError) Unwrap() error { return e.Err }

// settle remembers how a job ended and returns its error.
func (p *Publisher) settle(j *job, now time.Time) error {
	list := j.list()
	if j.err == nil {
		delete(p.pause, list)
		return nil
	}
	err := &ListError{list, j.err}
	delete(p.known, list) // what the table says is to be read again
	p.pause[list] = p.pause[list].next(err, now)
	return err
}

func (p *Publisher) closed(s *Scope) bool { return p.Last != nil && p.Last(s.Issuer) }

// due reports whether the scope must be published at now.
func (p *Publisher) due(s *Scope, now time.Time) (bool, error) {
	st := p.known[s.list()]
	last := &st.published
	if last.Number == 0 || st.doubtful {
		return true, nil
	}
	if p.Leader != nil && p.shared[s.list()] != last.Number {
		return true, nil // those who do not publish have no copy of it
	}
	if p.closed(s) {
		if !last.NextUpdate.Equal(Endless) {
			return true, nil
		}
		return p.fileDiffers(s, st)
	}
	if half := last.NextUpdate.Sub(last.ThisUpdate) / 2; !now.Before(last.ThisUpdate.Add(half)) {
		return true, nil
	}
	if s.Partition == revocation.Whole && !now.Before(last.ThisUpdate.Add(backdate+orDefault(p.FullEvery, DefaultFullEvery))) {
		return true, nil
	}
	if p.dirty[s.list()] > last.Through || p.lacksLoose(s.list()) {
		// The least distance of two CRLs makes one of what is revoked within it.
		return st.last.IsZero() || now.Sub(st.last) >= orDefault(p.Minimum, DefaultCRLMinimum) || now.Before(st.last), nil
	}
	return p.fileDiffers(s, st)
}

// fileDiffers reports whether the public file is not the one that the table
// calls published: never put in place, lost, replaced, or put in place by a
// process that did not live to say so.
func (p *Publisher) fileDiffers(s *Scope, st *state) (bool, error) {
	f, info, err := openPublic(p.path(s))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if stampOf(info) == st.file {
		return false, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return false, err
	}
	if [32]byte(sum.Sum(nil)) != st.published.SHA256 {
		return true, nil
	}
	st.file = stampOf(info)
	return false, nil
}

// publish takes the jobs through the steps in the comment of Publisher. How each
// ended stands in its err.
func (p *Publisher) publish(ctx context.Context, jobs []*job, now time.Time) {
	for _, j := range jobs {
		if j.err == nil {
			j.err = j.look()
		}
		if j.err == nil && p.Elsewhere != nil && !j.asked {
			j.elsewhere, j.asked = p.Elsewhere(ctx, j.list()), true
		}
		j.next = revocation.Publication{Issuer: j.Issuer, Scope: j.list().Scope(), State: revocation.Reserved,
			ThisUpdate: now.Add(-backdate), NextUpdate: now.Add(orDefault(p.Lifetime, DefaultCRLLifetime))}
		if p.closed(j.Scope) {
			j.next.NextUpdate = Endless
		}
	}
	p.reserve(ctx, jobs)
	for _, j := range jobs {
		// From here on the number is used up, whatever happens.
		if j.err == nil {
			if j.err = p.replace(ctx, j); j.err != nil {
				j.err = fmt.Errorf("number %d: %w", j.next.Number, j.err)
			}
		}
	}
	p.finish(ctx, jobs)
	for _, j := range jobs {
		if j.err == nil {
			j.remember(now)
		}
	}
}

// reserve commits the next number of each job's scope.
func (p *Publisher) reserve(ctx context.Context, jobs []*job) {
	numbers, refused := make([]int64, len(jobs)), make([]error, len(jobs))
	err := p.Store.Update(ctx, func(tx *revocation.Tx) error {
		for i, j := range jobs {
			numbers[i], refused[i] = 0, nil // set by the call that commits, which is the last
			if j.err != nil {
				continue
			}
			last, err := newest(tx, j.Scope, "")
			if err != nil {
				return err
			}
			if refused[i] = j.behind(last.Number); refused[i] != nil && !p.ahead {
				continue
			}
			if refused[i], err = j.overtaken(tx); err != nil {
				return err
			} else if refused[i] != nil {
				continue
			}
			reserved := j.next
			if reserved.Number, refused[i] = j.above(last.Number); refused[i] != nil {
				continue
			}
			numbers[i] = reserved.Number
			if err := tx.InsertPublication(&reserved); err != nil {
				return err
			}
		}
		return nil
	})
	for i, j := range jobs {
		switch {
		case j.err != nil:
		case err != nil:
			j.err = fmt.Errorf("reserving a number: %w", err)
		default:
			j.err, j.next.Number = refused[i], numbers[i]
		}
	}
}

// replace makes the list of a job, checks it and puts it in place.
func (p *Publisher) replace(ctx context.Context, j *job) error {
	if err := durable.MkdirAll(filepath.Dir(j.path), 0o755); err != nil {
		return err
	}
	f, err := durable.Create(j.path, 0o644)
	if err != nil {
		return err
	}
	defer f.Abort()
	list := crl.List{Number: j.next.Number, ThisUpdate: j.next.ThisUpdate, NextUpdate: j.next.NextUpdate, DistributionPoint: j.URL}
	if p.AnnounceNext && !j.next.NextUpdate.Equal(Endless) {
		list.NextPublish = j.next.ThisUpdate.Add(j.next.NextUpdate.Sub(j.next.ThisUpdate) / 2)
	}
	if err := p.write(ctx, j, list, f); err != nil {
		return err
	}
	if err := p.successor(ctx, j, list, f.File); err != nil {
		return fmt.Errorf("it is not published: %w", err)
	}
	// From here on relying parties may see it.
	return f.Commit()
}

// overtaken reports that another process has published the scope since this one
// looked: what would be made is of an older state.
func (j *job) overtaken(tx *revocation.Tx) (refused, err error) {
	last, err := newest(tx, j.Scope, revocation.Published)
	if err == nil && last.Number != j.published.Number {
		refused = fmt.Errorf("another process has published number %d meanwhile", last.Number)
	}
	return refused, err
}

// finish commits that the jobs' lists are public, with their octets where other
// processes need them.
func (p *Publisher) finish(ctx context.Context, jobs []*job) {
	files := make([]*os.File, len(jobs))
	for i, j := range jobs {
		if j.err != nil || p.Leader == nil {
			continue
		}
		if files[i], _, j.err = openPublic(j.path); j.err == nil {
			defer files[i].Close()
		}
	}
	refused := make([]error, len(jobs))
	err := p.Store.Update(ctx, func(tx *revocation.Tx) (err error) {
		for i, j := range jobs {
			if refused[i] = nil; j.err != nil { // set by the call that commits
				continue
			}
			if refused[i], err = j.overtaken(tx); err != nil {
				return err
			} else if refused[i] != nil {
				continue
			}
			done := j.next // the store gets a copy: Update may call again
			if err := tx.FinishPublication(&done); err != nil {
				return err
			}
			if p.Leader == nil {
				continue
			}
			if err := j.share(tx, files[i]); err != nil {
				return err
			}
		}
		return nil
	})
	for i, j := range jobs {
		if j.err != nil {
			continue
		}
		if err := errors.Join(err, refused[i]); err != nil {
			j.err = fmt.Errorf("number %d is public but not recorded: %w", j.next.Number, err)
		}
	}
}
