package status

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"sigill/ca"
	"sigill/revocation"
)

// Sink takes answers that were signed ahead, for others to give out.
type Sink interface {
	// Put makes der what is given out for path, in the place of what was there. When
	// it has returned nil, that is durable and nothing older is given out by the sink
	// itself. der is not to be given out from until on. It MAY be called again with
	// the same, and concurrently for different paths.
	Put(ctx context.Context, path string, der []byte, until time.Time) error
}

// Source holds the certificates.
type Source interface {
	// ReleasedAfter returns up to limit released certificates with a serial above
	// after, by serial.
	ReleasedAfter(ctx context.Context, after ca.Serial, limit int) ([]Released, error)
}

// Position is how far a [Presigner] is. What it has not done before it is saved, it
// does again.
type Position struct {
	Began   time.Time // when the pass began
	After   ca.Serial // the last serial of the pass so far
	Done    bool      // the pass is over
	Through int64     // revocations up to this number are in the sink
	// Complete is when the last whole pass began; zero: none is whole yet.
	Complete time.Time
}

// Presigner signs answers for all certificates that have not expired, again and again,
// for a content network or an object store to give out, and replaces those of a
// certificate as soon as it is revoked.
//
// Revocations and the pass are handled in turns, and what a page of certificates said
// before a revocation was read is corrected by it: several answers are put at once, but
// those of revocations only when no other is under way, so that one that says good
// never follows one that says revoked.
//
// Fields are set before Run and not changed after.
type Presigner struct {
	Source  Source
	Ledger  Viewer
	Signers *Signers
	Sink    Sink
	Now     func() time.Time
	// Validity is how long an answer lives and Every how often a pass begins: at
	// most half of it, so that one pass may fail.
	Validity, Every time.Duration
	Retention       time.Duration // see Responder
	// SHA256 adds answers to CertIDs by SHA-256.
	SHA256    bool
	PerSecond int // answers, at most
	// Position is where to go on: the zero value begins. Save keeps it.
	Position Position
	Save     func(Position) error
	// Passed, if set, is told after each pass.
	Passed func(ctx context.Context)
	Failed func(error)

	begun   bool
	signer  Responder
	limit   *rate.Limiter
	resume  time.Time // after a failure
	looked  time.Time // at the ledger
	signed  atomic.Int64
	revoked atomic.Int64
	// Position's, for others: Unix nanoseconds, 0 for none.
	began, passed atomic.Int64

	mu    sync.Mutex
	again time.Time // see Again
}

// The forms of CertIDs that clients use, as in ca.OCSPIssuerForms: parameters NULL. The other two are answered by the responder.
const (
	formSHA1   = 0
	formSHA256 = 2
)

// PathOf returns the path by which a client asks der: the percent-encoding of its
// base64 (RFC 6960, A.1).
func PathOf(der []byte) string {
	return "/ocsp/" + url.QueryEscape(base64.StdEncoding.EncodeToString(der))
}

// Progress is what a Presigner has done since the start.
type Progress struct {
	Signed   int64
	Revoked  int64     // of those, because of a revocation
	Complete time.Time // when the last whole pass began; zero: none is whole yet
}

// Progress returns what was done. It may be called at any time.
func (p *Presigner) Progress() Progress {
	out := Progress{Signed: p.signed.Load(), Revoked: p.revoked.Load()}
	if at := p.passed.Load(); at != 0 {
		out.Complete = time.Unix(0, at)
	}
	return out
}

// Late reports whether answers in the sink have ended, or are about to, because no pass
// was whole in the time that they live. It may be called at any time.
func (p *Presigner) Late() bool {
	since := p.passed.Load()
	if since == 0 {
		since = p.began.Load()
	}
	return since != 0 && p.Now().Sub(time.Unix(0, since)) > p.Validity
}

// Again begins a pass anew unless the present one began after since: what was signed
// until then is not to be given out any more, its signer being revoked say. It may be
// called at any time.
func (p *Presigner) Again(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since.After(p.again) {
		p.again = since
	}
}

// restart forgets the pass if it is to be begun anew.
func (p *Presigner) restart() error {
	p.mu.Lock()
	since := p.again
	p.again = time.Time{}
	p.mu.Unlock()
	at := &p.Position
	if since.IsZero() || at.Began.After(since) {
		return nil
	}
	*at = Position{Through: at.Through, Complete: at.Complete}
	return p.Save(*at)
}

// Check reports what is wrong with the configuration.
func (p *Presigner) Check() error {
	switch {
	case p.Source == nil || p.Ledger == nil || p.Signers == nil || p.Sink == nil || p.Now == nil || p.Save == nil || p.Failed == nil:
		return errors.New("presigner: something is missing")
	case p.Validity < time.Hour || p.Validity > maxOCSPValidity:
		return fmt.Errorf("presigner: validity %v is not from an hour to %v", p.Validity, maxOCSPValidity)
	case p.Every <= 0 || p.Every > p.Validity/2:
		return fmt.Errorf("presigner: a pass every %v for answers that live %v", p.Every, p.Validity)
	case p.PerSecond < 1:
		return errors.New("presigner: no answers a second")
	}
	return nil
}

// Run signs until ctx ends. After a failure it goes on a few seconds later, where it
// was.
func (p *Presigner) Run(ctx context.Context) {
	every(ctx, TailEvery, func() {
		if p.Now().Before(p.resume) {
			return
		}
		if err := p.step(ctx); err != nil && ctx.Err() == nil {
			p.Failed(fmt.Errorf("signing answers ahead: %w", err))
			p.resume = p.Now().Add(renewAgain)
		}
	})
}

// step brings revocations to the sink, and then a page of the pass, if one is due.
func (p *Presigner) step(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	if _, _, err := p.follow(ctx, landed); err != nil {
		return err
	}
	if err := p.restart(); err != nil {
		return err
	}
	at := &p.Position
	if at.Done || at.Began.IsZero() {
		now := p.Now()
		if since := now.Sub(at.Began); since >= 0 && since < p.Every {
			return nil
		}
		*at = Position{Began: now.UTC().Round(0), Through: at.Through, Complete: at.Complete}
		p.began.Store(at.Began.UnixNano())
	}
	return p.page(ctx)
}

// begin takes the head of the ledger where there is no position yet: what is revoked
// before it, the first pass sees.
func (p *Presigner) begin(ctx context.Context) error {
	if p.begun {
		return nil
	}
	p.signer.Signers, p.signer.Now, p.signer.Validity, p.signer.Retention = p.Signers, p.Now, p.Validity, p.Retention
	p.limit = rate.NewLimiter(rate.Limit(p.PerSecond), max(1, p.PerSecond/10))
	if p.Position == (Position{}) {
		err := p.Ledger.View(ctx, func(tx *revocation.Tx) (err error) {
			p.Position.Through, err = tx.HeadNumber()
			return err
		})
		if err != nil {
			p.Position = Position{}
			return err
		}
	}
	if at := &p.Position; !at.Began.IsZero() {
		p.began.Store(at.Began.UnixNano())
	}
	if at := &p.Position; !at.Complete.IsZero() {
		p.passed.Store(at.Complete.UnixNano())
	}
	p.begun = true
	return nil
}

// page signs for the next certificates of the pass.
func (p *Presigner) page(ctx context.Context) error {
	at := &p.Position
	page, err := p.Source.ReleasedAfter(ctx, at.After, max(100, p.PerSecond/10))
	if err != nil {
		return err
	}
	if len(page) == 0 {
		at.Done, at.Complete = true, at.Began
		p.passed.Store(at.Began.UnixNano())
		if p.Passed != nil {
			p.Passed(ctx)
		}
		return p.Save(*at)
	}
	f := newFlight()
	n, again, err := p.start(ctx, f, page)
	done, failed := f.land(n)
	if again {
		return err // the pass is another's
	}
	if done > 0 {
		at.After = page[done-1].Serial
	}
	if failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	return p.Save(*at)
}

// start puts a page's answers under way, up to an error, and returns of how many
// certificates. Whenever it is time it looks for revocations, which go first; again
// tells that the pass is to begin anew.
func (p *Presigner) start(ctx context.Context, f *flight, page []Released) (n int, again bool, err error) {
	for n = range page {
		if p.Now().Sub(p.looked) >= TailEvery {
			entries, again, err := p.follow(ctx, func() error { _, err := f.land(n); return err })
			if err != nil || again {
				return n, again, err
			}
			correct(page[n:], entries)
		}
		if err := p.add(ctx, f, n, &page[n]); err != nil {
			return n, false, err
		}
	}
	return len(page), false, nil
}

// correct writes into a page what was revoked since it was read.
func correct(page []Released, entries []revocation.Numbered) {
	for _, e := range entries {
		i, ok := slices.BinarySearchFunc(page, e.Serial, func(r Released, s ca.Serial) int { return bytes.Compare(r.Serial[:], s[:]) })
		if ok {
			page[i].RevokedAt, page[i].Reason = e.At, e.Reason
		}
	}
}

// follow brings what was revoked since the last time to the sink, and returns it. If
// there is something, it calls settle before, which waits for what is under way.
//
// Numbers that have gone back are of another ledger than those that Position is of: the
// database was restored, or lacks the last commits of the one before. What is revoked
// in it may have numbers that were passed; the pass finds it, which begins anew.
func (p *Presigner) follow(ctx context.Context, settle func() error) (all []revocation.Numbered, again bool, err error) {
	p.looked = p.Now()
	for {
		var head int64
		var found []revocation.Numbered
		err := p.Ledger.View(ctx, func(tx *revocation.Tx) (err error) {
			found = nil // View may call again
			if head, err = tx.HeadNumber(); err != nil || head < p.Position.Through {
				return err
			}
			found, err = tx.NumberedEntries(p.Position.Through, tailStep)
			return err
		})
		if err != nil {
			return all, false, fmt.Errorf("reading revocations: %w", err)
		}
		if was := p.Position.Through; head < was {
			p.Failed(fmt.Errorf("the numbers of revocations went back from %d to %d: all answers are signed anew", was, head))
			p.Position = Position{Through: head, Complete: p.Position.Complete}
			return nil, true, p.Save(p.Position)
		}
		if len(found) == 0 {
			return all, false, nil
		}
		if err := settle(); err != nil {
			return all, false, err
		}
		if err := p.reveal(ctx, found); err != nil {
			return all, false, err
		}
		all = append(all, found...)
		if len(found) < tailStep {
			return all, false, nil
		}
	}
}

// reveal brings revocations to the sink. Of those of one certificate only the last is
// put: two at once could end in either order.
func (p *Presigner) reveal(ctx context.Context, found []revocation.Numbered) error {
	last := make(map[ca.Serial]int, len(found))
	for i := range found {
		last[found[i].Serial] = i
	}
	f := newFlight()
	n, err := 0, error(nil)
	for n < len(found) && err == nil {
		e := &found[n]
		if last[e.Serial] == n {
			err = p.add(ctx, f, n, &Released{Serial: e.Serial, Issuer: e.Issuer, NotAfter: e.NotAfter, RevokedAt: e.At, Reason: e.Reason})
		}
		if err == nil {
			n++
		}
	}
	done, failed := f.land(n)
	if done > 0 {
		p.revoked.Add(int64(done))
		p.Position.Through = found[done-1].Number
	}
	if failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	return p.Save(p.Position)
}

// add puts the answers for a certificate under way as number n of a flight, when it is
// their turn, unless it has expired or is of an issuer without signer.
func (p *Presigner) add(ctx context.Context, f *flight, n int, one *Released) error {
	if _, ok := p.Signers.table().number[one.Issuer]; !ok || !one.NotAfter.After(p.Now()) {
		return nil
	}
	for range p.forms() {
		if err := p.limit.Wait(ctx); err != nil {
			return err
		}
	}
	return f.add(n, func() error { return p.put(ctx, one) })
}

// forms are those that answers are signed for.
func (p *Presigner) forms() []int {
	if p.SHA256 {
		return []int{formSHA1, formSHA256}
	}
	return []int{formSHA1}
}

// put signs for one certificate and gives the sink the answers.
func (p *Presigner) put(ctx context.Context, one *Released) error {
	table := p.Signers.table()
	n := table.number[one.Issuer]
	forms, err := ca.OCSPIssuerForms(table.signers[n].responder.Issuer())
	if err != nil {
		return err
	}
	for _, form := range p.forms() {
		request := ca.OCSPRequestFor(forms[form], one.Serial)
		q, ok := ca.ReadOCSPQuestion(request)
		if !ok {
			return fmt.Errorf("%s has no usual question", one.Serial)
		}
		single := ca.OCSPSingle{ID: ca.CertID{Raw: q.Raw}, Status: ca.OCSPGood}
		if !one.RevokedAt.IsZero() {
			single.Status, single.At, single.Reason = ca.OCSPRevoked, one.RevokedAt, one.Reason
		}
		answer, err := p.signer.sign(table, issuerN(n), []ca.OCSPSingle{single}, nil, "")
		if err != nil {
			return err
		}
		if err := p.Sink.Put(ctx, PathOf(request), answer.DER, answer.NextUpdate); err != nil {
			return fmt.Errorf("putting the answer for %s: %w", one.Serial, err)
		}
		p.signed.Add(1)
	}
	return nil
}
