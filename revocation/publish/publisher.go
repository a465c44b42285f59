// Package publish owns CRLs on their way to relying parties: which are due, their
// numbers, what may replace what is public, and lists that were signed elsewhere.
//
// It knows the ledger of revocations only as committed rows, and neither orders nor
// cards. Its central rule: whatever went wrong before, relying parties never see a
// list go backwards.
package publish

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"sigill/ca"
	"sigill/internal/durable"
	"sigill/revocation"
)

// Defaults of a Publisher.
const (
	DefaultCRLLifetime = 24 * time.Hour         // nextUpdate − now
	DefaultCRLInterval = 250 * time.Millisecond // between two looks at what is due
	DefaultCRLMinimum  = time.Second            // between two CRLs of one scope
)

// backdate is how far back thisUpdate lies: relying parties whose clocks are slow
// would refuse a list from their future.
const backdate = 5 * time.Minute

// tailBatch is how many numbered entries are read at a time.
const tailBatch = 1000

// CRLSigner is the part of [ca.CRLSigner] that a Publisher needs.
//
// SignCRL MUST return a list that verifies under Certificate, or an error.
type CRLSigner interface {
	Certificate() *x509.Certificate
	SignCRL(ca.CRL) ([]byte, error)
}

// Scope is one CRL with its sequence of numbers: a partition of an issuer.
type Scope struct {
	Issuer    ca.IssuerID
	Partition int
	// URL is, byte for byte, what the CRL distribution point of the
	// certificates in this partition says.
	URL    string
	Signer CRLSigner
}

// name is the scope in the table of publications.
func (s *Scope) name() string { return strconv.Itoa(s.Partition) }

// CRLPath returns where below the public directory the CRL of a partition is.
func CRLPath(issuer ca.IssuerID, partition int) string {
	return filepath.Join("crl", string(issuer), strconv.Itoa(partition)+".crl")
}

// Publisher keeps the public CRLs up with the ledger. What is due it finds by
// reading committed state, never by being told, so that a crash between a
// revocation and its publication loses nothing. A CRL becomes public in these
// steps, and a new process goes on rightly from between any two:
//
//	▶ the next number is reserved ■          a number is used at most once
//	▶ entries and head number are read ■     one snapshot
//	signed                                   no transaction is open
//	checked against the one that is public   see successor
//	put in place                             atomically, durably
//	▶ the publication is finished ■
//
// What a crash leaves is a reserved number that is never used, or a public file
// that the table does not know as published; either way the next pass publishes
// once more, with the next number.
//
// One process writes a directory. Publish may be called concurrently.
type Publisher struct {
	Store  revocation.Store
	Scopes []Scope
	// Dir is the public directory: CRLs are at CRLPath below it.
	Dir string
	Now func() time.Time // of Run
	Log *slog.Logger
	// Lifetime, Interval and Minimum default to the constants above. A CRL is
	// issued anew at half of its life whether anything was revoked or not.
	Lifetime, Interval, Minimum time.Duration

	mu    sync.Mutex
	tail  int64                    // numbered entries up to here are in dirty
	dirty map[scopeKey]int64       // highest number of an entry of the scope
	known map[scopeKey]*scopeState // nil: to be read from the table
	pause map[scopeKey]trouble     // scopes that could not be published
}

// trouble is a scope's last error. Each try costs a number, and a token that is
// gone is not back the sooner for being asked four times a second.
type trouble struct {
	err       error
	tries     int
	at, until time.Time
}

const maxPause = time.Minute

// next is the trouble after one more try that ended with err at now.
func (t trouble) next(err error, now time.Time) trouble {
	pause := min(time.Second<<min(t.tries, 10), maxPause)
	return trouble{err: err, tries: t.tries + 1, at: now, until: now.Add(pause)}
}

type scopeKey struct {
	issuer    ca.IssuerID
	partition int
}

// scopeState is what the publisher remembers of a scope, so that a pass in which
// nothing is due reads one number and the tail.
type scopeState struct {
	published revocation.Publication // zero if there is none
	file      fileStamp              // of the public file when it was last seen to be published
	last      time.Time              // of the last publication of this process
}

// fileStamp tells whether a file was touched since it was read.
type fileStamp struct {
	modified time.Time
	size     int64
}

// Check reports what is wrong with the configuration.
func (p *Publisher) Check() error {
	if p.Store == nil || p.Dir == "" || p.Now == nil || p.Log == nil {
		return errors.New("crl publisher: store, directory, clock or log is missing")
	}
	if p.Lifetime < 0 || p.Lifetime > 72*time.Hour || p.Lifetime > 0 && p.Lifetime < time.Hour {
		return fmt.Errorf("crl publisher: lifetime %v is not between 1 and 72 hours", p.Lifetime)
	}
	seen := map[scopeKey]bool{}
	for i := range p.Scopes {
		s := &p.Scopes[i]
		key := scopeKey{s.Issuer, s.Partition}
		switch {
		case s.Issuer == "" || filepath.Base(string(s.Issuer)) != string(s.Issuer) || s.Partition < 0:
			return fmt.Errorf("crl publisher: no file for issuer %q, partition %d", s.Issuer, s.Partition)
		case s.Signer == nil || s.URL == "":
			return fmt.Errorf("crl publisher: %s/%d has no signer or no address", s.Issuer, s.Partition)
		case seen[key]:
			return fmt.Errorf("crl publisher: %s/%d is there twice", s.Issuer, s.Partition)
		}
		seen[key] = true
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
	now = now.UTC().Truncate(time.Second)
	if err := p.learn(ctx); err != nil {
		return 0, fmt.Errorf("finding due CRLs: %w", err)
	}
	errs := []error{p.unlisted()}
	for i := range p.Scopes {
		s := &p.Scopes[i]
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		key := scopeKey{s.Issuer, s.Partition}
		if t := p.pause[key]; now.Before(t.until) && !now.Before(t.at) {
			errs = append(errs, t.err)
			continue
		}
		due, err := p.due(s, now)
		if due && err == nil {
			if err = p.publish(ctx, s, now); err == nil {
				n++
			}
		}
		if err != nil {
			err = fmt.Errorf("crl %s/%d: %w", s.Issuer, s.Partition, err)
			errs = append(errs, err)
			delete(p.known, key) // what the table says is to be read again
			p.pause[key] = p.pause[key].next(err, now)
			continue
		}
		delete(p.pause, key)
	}
	return n, errors.Join(errs...)
}

// learn brings known, dirty and tail up to the committed state.
func (p *Publisher) learn(ctx context.Context) error {
	if p.known == nil {
		if err := p.sweep(); err != nil {
			return err
		}
		p.known, p.dirty, p.pause = map[scopeKey]*scopeState{}, map[scopeKey]int64{}, map[scopeKey]trouble{}
		p.tail = -1
	}
	var read map[scopeKey]revocation.Publication
	var found map[scopeKey]int64
	var tail int64
	err := p.Store.View(ctx, func(tx *revocation.Tx) error {
		read, found, tail = map[scopeKey]revocation.Publication{}, map[scopeKey]int64{}, p.tail // anew: View may call again
		for i := range p.Scopes {
			s := &p.Scopes[i]
			key := scopeKey{s.Issuer, s.Partition}
			if p.known[key] != nil {
				continue
			}
			last, err := newest(tx, s, revocation.Published)
			if err != nil {
				return err
			}
			read[key] = last
			// At the start the tail begins with the least that a CRL contains.
			if p.tail < 0 && last.Number > 0 && (tail < 0 || last.Through < tail) {
				tail = last.Through
			}
		}
		head, err := tx.HeadNumber()
		if err != nil {
			return err
		}
		// Most numbers are not revocations': those up to head are behind us too.
		for after := max(tail, 0); after < head; {
			batch, err := tx.NumberedEntries(after, tailBatch)
			if err != nil {
				return err
			}
			for _, e := range batch { // in order: the last of a scope is its highest
				after = e.Number
				found[scopeKey{e.Issuer, e.Partition}] = e.Number
			}
			if len(batch) < tailBatch {
				break
			}
		}
		tail = max(tail, head)
		return nil
	})
	if err != nil {
		return err
	}
	for key, last := range read {
		p.known[key] = &scopeState{published: last}
	}
	maps.Copy(p.dirty, found)
	p.tail = tail
	return nil
}

// sweep removes what a process that was killed has left beside the CRLs.
func (p *Publisher) sweep() error {
	for i := range p.Scopes {
		dir := filepath.Join(p.Dir, filepath.Dir(CRLPath(p.Scopes[i].Issuer, 0)))
		if err := durable.Sweep(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// newest returns the publication with the highest number, the zero one if there
// is none.
func newest(tx *revocation.Tx, s *Scope, state revocation.PublicationState) (revocation.Publication, error) {
	last, err := tx.NewestPublication(s.Issuer, s.name(), state)
	switch {
	case errors.Is(err, revocation.ErrNotFound):
		return revocation.Publication{}, nil
	case err != nil:
		return revocation.Publication{}, err
	}
	return *last, nil
}

// unlisted reports entries of scopes that nobody publishes: those certificates
// are revoked and no CRL will ever say so.
func (p *Publisher) unlisted() error {
	var errs []error
	for key := range p.dirty {
		if p.known[key] == nil {
			errs = append(errs, fmt.Errorf("crl %s/%d: it has entries and no publisher", key.issuer, key.partition))
		}
	}
	return errors.Join(errs...)
}

// due reports whether the scope must be published at now.
func (p *Publisher) due(s *Scope, now time.Time) (bool, error) {
	key := scopeKey{s.Issuer, s.Partition}
	state := p.known[key]
	if state.published.Number == 0 {
		return true, nil
	}
	half := state.published.NextUpdate.Sub(state.published.ThisUpdate) / 2
	if !now.Before(state.published.ThisUpdate.Add(half)) {
		return true, nil
	}
	if p.dirty[key] > state.published.Through {
		// The least distance of two CRLs makes one of what is revoked within it.
		return state.last.IsZero() || now.Sub(state.last) >= orDefault(p.Minimum, DefaultCRLMinimum) || now.Before(state.last), nil
	}
	return p.fileDiffers(s, state)
}

// fileDiffers reports whether the public file is not the one that the table
// calls published: never put in place, lost, replaced, or put in place by a
// process that did not live to say so.
func (p *Publisher) fileDiffers(s *Scope, state *scopeState) (bool, error) {
	path := filepath.Join(p.Dir, CRLPath(s.Issuer, s.Partition))
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	stamp := fileStamp{info.ModTime(), info.Size()}
	if stamp == state.file {
		return false, nil
	}
	der, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if sha256.Sum256(der) != state.published.SHA256 {
		return true, nil
	}
	state.file = stamp
	return false, nil
}

// publish takes one scope through the steps in the comment of Publisher.
func (p *Publisher) publish(ctx context.Context, s *Scope, now time.Time) error {
	path := filepath.Join(p.Dir, CRLPath(s.Issuer, s.Partition))
	public, err := readPublic(path, s.Signer.Certificate())
	if err != nil {
		return err
	}
	next := revocation.Publication{Issuer: s.Issuer, Scope: s.name(), State: revocation.Reserved,
		ThisUpdate: now.Add(-backdate), NextUpdate: now.Add(orDefault(p.Lifetime, DefaultCRLLifetime))}
	if err := p.reserve(ctx, s, public, &next); err != nil {
		return err
	}
	// From here on the number is used up, whatever happens.
	list, dropped, err := p.read(ctx, s, public, &next)
	if err != nil {
		return fmt.Errorf("number %d: reading the entries: %w", next.Number, err)
	}
	der, err := s.Signer.SignCRL(list)
	if err != nil {
		return err
	}
	if err := successor(public, der, s, &next, dropped); err != nil {
		return fmt.Errorf("number %d is not published: %w", next.Number, err)
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(path, der, 0o644); err != nil {
		return err
	}
	// From here on relying parties see it.
	next.State, next.Entries, next.SHA256 = revocation.Published, len(list.Entries), sha256.Sum256(der)
	err = p.Store.Update(ctx, func(tx *revocation.Tx) error {
		done := next // the store gets a copy: Update may call again
		return tx.FinishPublication(&done)
	})
	if err != nil {
		return fmt.Errorf("number %d is public but not recorded: %w", next.Number, err)
	}
	p.known[scopeKey{s.Issuer, s.Partition}] = &scopeState{published: next, last: now}
	return nil
}

// reserve commits the next number of the scope.
func (p *Publisher) reserve(ctx context.Context, s *Scope, public *x509.RevocationList, next *revocation.Publication) error {
	var number int64
	err := p.Store.Update(ctx, func(tx *revocation.Tx) error {
		last, err := newest(tx, s, "")
		if err != nil {
			return err
		}
		if public != nil && (!public.Number.IsInt64() || public.Number.Int64() > last.Number) {
			return fmt.Errorf("the public CRL has number %v, the newest in the database is %d: the database is older than what relying parties have seen, "+
				"probably restored; bring it up to date before anything is published", public.Number, last.Number)
		}
		reserved := *next
		reserved.Number = last.Number + 1
		number = reserved.Number // set by the call that commits, which is the last
		return tx.InsertPublication(&reserved)
	})
	if err != nil {
		return fmt.Errorf("reserving a number: %w", err)
	}
	next.Number = number
	return nil
}
