// Package status owns what OCSP answers say (RFC 6960), who signs them and how long
// they are kept.
//
// It knows the ledger of revocations and which certificates were released, and
// nothing of HTTP. Its central rule: good is said only of what the committed state
// calls good, and never after a revocation was committed here.
package status

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"sigill/ca"
	"sigill/revocation"
)

// DefaultOCSPValidity is also the time that an outage is survived, and the time
// that a replayed answer lives.
const DefaultOCSPValidity = time.Hour

const (
	maxOCSPValidity = 12 * time.Hour
	// backdate is how far back thisUpdate lies: relying parties whose clocks are
	// slow would refuse an answer from their future.
	backdate = 5 * time.Minute
	// renewAgain is when the next try to make an answer anew follows one that failed.
	renewAgain = 5 * time.Second
	// makeWithin bounds the making of an answer, whatever the database does.
	makeWithin = 5 * time.Second
	// readings is how often the state is read for one answer while revocations are
	// committed beside it.
	readings = 8
)

// Reader reads the status of one certificate: one indexed point read of what is
// committed when it begins.
type Reader interface {
	// Status MUST be what [revocation.Statuses] says, of a state not older than
	// the call. It is called concurrently.
	Status(ctx context.Context, issuer ca.IssuerID, serial ca.Serial) (released bool, entry *revocation.Entry, err error)
}

// Responder answers OCSP requests from the committed state: good for a
// certificate that was released, revoked for a serial with an entry (an
// abandoned intent among them), unknown for everything else, so that a
// certificate that a stolen key signed is never called good.
//
// Answers to what is usually asked come from a cache; a miss is one reading and one
// signature. All fields are set before first use and not changed after. Its methods
// may be called concurrently. Who stops calling calls Wait.
type Responder struct {
	// Store is read by a View each time where Reader is nil.
	Store   revocation.Store
	Reader  Reader
	Signers *Signers
	Now     func() time.Time
	// Validity is nextUpdate − now, at most 12 hours; 0 is DefaultOCSPValidity.
	Validity time.Duration
	// Retention is how long an expired certificate keeps its answer. The archive
	// cutoff is now − Retention, but not before the issuer's notBefore; 0 stands
	// for that notBefore: answers are kept for ever.
	Retention time.Duration
	// Cache holds the answers to be given again; nil: each is made anew.
	Cache *Cache
	// Gate bounds what is made at once; nil: nothing does.
	Gate *Gate
	// Addresses bounds the unknown answers for each client; nil: nothing does.
	Addresses *Addresses
	// Failed, if set, is told why an answer could not be renewed in time.
	Failed func(error)

	counts   counts
	renewals sync.WaitGroup
}

// Answer is an answer for the wire. It is shared by those who ask the same: nobody
// changes it.
type Answer struct {
	DER []byte
	// Cacheable reports whether a cache may give DER to others: it says good or
	// revoked and repeats no nonce. unknown may be false in a second, when an
	// open intent is released.
	Cacheable  bool
	ThisUpdate time.Time
	ProducedAt time.Time
	NextUpdate time.Time
	// Tag is the SHA-256 of DER in hexadecimal digits and quotes, and Since is
	// ThisUpdate as Internet messages write times: what transports tell with each
	// copy of a cacheable answer is made once.
	Tag, Since [1]string
}

// Question is a request with who sent it.
type Question struct {
	DER []byte
	// From is the address of the client as host:port. What is none counts as one
	// client.
	From string
}

// Check reports what is wrong with the configuration.
func (r *Responder) Check() error {
	switch {
	case r.Store == nil && r.Reader == nil || r.Signers == nil || r.Now == nil:
		return errors.New("ocsp: store, signers or clock is missing")
	case r.Validity < 0 || r.Validity > maxOCSPValidity:
		return fmt.Errorf("ocsp: validity %v is more than %v", r.Validity, maxOCSPValidity)
	case r.Validity != 0 && r.Validity < time.Minute:
		return fmt.Errorf("ocsp: validity %v is less than what HTTP caches keep", r.Validity)
	case r.Retention < 0:
		return fmt.Errorf("ocsp: retention %v", r.Retention)
	case r.Cache != nil && r.Cache.signers != r.Signers:
		return errors.New("ocsp: the cache is for other signers")
	}
	return nil
}

// errorAnswer is an answer without a status.
func errorAnswer(s ca.OCSPErrorStatus) *Answer { return &Answer{DER: ca.OCSPError(s)} }

// Answer answers the request der of a client that is not known; see Reply.
func (r *Responder) Answer(ctx context.Context, der []byte) (Answer, error) {
	a, err := r.Reply(ctx, Question{DER: der})
	return *a, err
}

// Reply answers a request. The answer is always one to send; the error
// tells the operator why it is internalError or tryLater, and is nil when only
// the request is at fault or there are too many.
//
// A signer answers for its own issuer. Where a request names several issuers,
// the answer is that of the first one known here, and unknown for the others'
// certificates, which a relying party would not believe of this signer anyway.
func (r *Responder) Reply(ctx context.Context, q Question) (*Answer, error) {
	table := r.Signers.table()
	if one, ok := ca.ReadOCSPQuestion(q.DER); ok {
		return r.one(ctx, table, one, q.From)
	}
	request, err := ca.ParseOCSPRequest(q.DER)
	if err != nil {
		return errorAnswer(ca.OCSPMalformedRequest), nil
	}
	if len(request.CertIDs) == 1 && request.Nonce == nil {
		// The answer depends only on the CertID, however else it was asked.
		if one, ok := request.CertIDs[0].Question(); ok {
			return r.one(ctx, table, one, q.From)
		}
	}
	for i := range request.CertIDs {
		if issuer, ok := table.find(&request.CertIDs[i]); ok {
			return r.several(ctx, table, request, issuer, q.From)
		}
	}
	return errorAnswer(ca.OCSPUnauthorized), nil
}

// one answers the usual question from the cache, if it is there.
func (r *Responder) one(ctx context.Context, table *signerTable, q ca.OCSPQuestion, from string) (*Answer, error) {
	form, ok := table.forms[string(q.Issuer)]
	if !ok {
		return errorAnswer(ca.OCSPUnauthorized), nil
	}
	k := key{q.Serial, form}
	if r.Cache != nil {
		if found := r.Cache.get(k); found != nil {
			now := r.Now().UnixNano()
			if now < found.end {
				r.counts.hits.Add(1)
				if now >= found.renewAt.Load() {
					r.renew(q, k, found)
				}
				return &found.Answer, nil
			}
			r.Cache.remove(k, found)
		}
		r.counts.misses.Add(1)
	}
	if !r.enter(ctx, from) {
		return errorAnswer(ca.OCSPTryLater), nil
	}
	defer r.Gate.leave()
	ctx, cancel := making(ctx)
	defer cancel()
	return r.fresh(ctx, q, k, from)
}

// making is the context in which an answer is made. It does not end with its request's:
// a client that has said that it sends no more is taken for one that has gone, and may
// well be reading.
func making(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), makeWithin)
}

// enter reports whether an answer may be made now. Who has spent what he may spend on
// serials that nobody has, is let in where nobody else waits.
func (r *Responder) enter(ctx context.Context, from string) bool {
	var in bool
	if r.Addresses.spent(from, r.Now()) {
		in = r.Gate.try()
	} else {
		in = r.Gate.enter(ctx)
	}
	if !in {
		r.counts.busy.Add(1)
	}
	return in
}

// fresh reads the state, signs, and puts the answer into the cache. An answer during
// whose making something was revoked may rest on what was read before: it is made
// again, so that once Cache.Revoked has returned nobody is told good.
//
// The signer is taken after the generation: an answer of one that was replaced and
// whose answers were cleared meanwhile is not kept either, and the next is not its.
func (r *Responder) fresh(ctx context.Context, q ca.OCSPQuestion, k key, from string) (*Answer, error) {
	for range readings {
		var generation uint64
		if r.Cache != nil {
			generation = r.Cache.generation(q.Serial)
		}
		table := r.Signers.table() // who has a number keeps it
		single := ca.OCSPSingle{ID: ca.CertID{Raw: q.Raw}}
		if err := r.read(ctx, &single, table.signers[k.issuer].issuer, q.Serial); err != nil {
			return errorAnswer(ca.OCSPTryLater), err
		}
		answer, err := r.sign(table, k.issuer, []ca.OCSPSingle{single}, nil, from)
		if err != nil || r.Cache == nil || !answer.Cacheable {
			return answer, err
		}
		made := answer.keep()
		if r.Cache.put(k, made, generation) {
			return &made.Answer, nil
		}
	}
	return errorAnswer(ca.OCSPTryLater), fmt.Errorf("ocsp: %d readings, and beside each of them something was revoked", readings)
}

// keep returns the answer with what the cache must know. It is to be renewed at half
// its life.
func (a *Answer) keep() *kept {
	k := &kept{Answer: *a, end: a.NextUpdate.UnixNano()}
	k.renewAt.Store(a.ProducedAt.Add(a.NextUpdate.Sub(a.ProducedAt) / 2).UnixNano())
	return k
}

// renew makes an answer anew beside the request that found it old, which is not kept
// waiting: what it found is true until its end. Where there is no place it is left to
// the next one who finds it.
func (r *Responder) renew(q ca.OCSPQuestion, k key, old *kept) {
	if !old.renewing.CompareAndSwap(false, true) {
		return
	}
	if !r.Gate.try() {
		old.renewing.Store(false)
		return
	}
	q.Raw = append([]byte(nil), q.Raw...) // the request's buffer is its reader's
	r.renewals.Go(func() {
		defer r.Gate.leave()
		ctx, cancel := context.WithTimeout(context.Background(), makeWithin)
		defer cancel()
		answer, err := r.fresh(ctx, q, k, "")
		switch {
		case err == nil && answer.Cacheable:
			r.counts.renewed.Add(1) // it is in the old one's place
			return
		case err == nil:
			// The store no longer knows the certificate: nobody is told what it said.
			r.Cache.remove(k, old)
			return
		}
		if r.Failed != nil {
			r.Failed(err)
		}
		old.renewAt.Store(r.Now().Add(renewAgain).UnixNano())
		old.renewing.Store(false)
	})
}

// Wait returns when nothing is being renewed any more.
func (r *Responder) Wait() { r.renewals.Wait() }

// several answers what is asked rarely, and for which no other's answer will do.
func (r *Responder) several(ctx context.Context, table *signerTable, request *ca.OCSPRequest, issuer issuerN, from string) (*Answer, error) {
	if !r.enter(ctx, from) {
		return errorAnswer(ca.OCSPTryLater), nil
	}
	defer r.Gate.leave()
	ctx, cancel := making(ctx)
	defer cancel()
	singles := make([]ca.OCSPSingle, len(request.CertIDs))
	for i := range request.CertIDs {
		id := &request.CertIDs[i]
		singles[i].ID = *id
		serial, ours := ca.SerialOf(id.Serial)
		if named, ok := table.find(id); !ours || !ok || named != issuer {
			continue
		}
		if err := r.read(ctx, &singles[i], table.signers[issuer].issuer, serial); err != nil {
			return errorAnswer(ca.OCSPTryLater), err
		}
	}
	// Not by who was replaced while this one waited for its turn.
	return r.sign(r.Signers.table(), issuer, singles, request.Nonce, from)
}

// read reads the status of one certificate.
func (r *Responder) read(ctx context.Context, single *ca.OCSPSingle, issuer ca.IssuerID, serial ca.Serial) error {
	var released bool
	var entry *revocation.Entry
	var err error
	if r.Reader != nil {
		released, entry, err = r.Reader.Status(ctx, issuer, serial)
	} else {
		err = r.Store.View(ctx, func(tx *revocation.Tx) (err error) {
			released, entry, err = tx.Status(issuer, serial)
			return err
		})
	}
	switch {
	case err != nil:
		return fmt.Errorf("ocsp: reading status: %w", err)
	case entry != nil:
		single.Status, single.At, single.Reason = ca.OCSPRevoked, entry.At, entry.Reason
	case released:
		single.Status = ca.OCSPGood
	}
	return nil
}

// sign makes the answer. One that says unknown is refused to who has had too many.
func (r *Responder) sign(table *signerTable, issuer issuerN, singles []ca.OCSPSingle, nonce []byte, from string) (*Answer, error) {
	now := r.Now().UTC().Truncate(time.Second)
	signer := table.signers[issuer]
	cutoff := signer.responder.Issuer().NotBefore
	if kept := now.Add(-r.Retention); r.Retention > 0 && kept.After(cutoff) {
		cutoff = kept
	}
	unknown := false
	for i := range singles {
		if singles[i].Status == ca.OCSPUnknown {
			unknown = true
			continue
		}
		singles[i].ArchiveCutoff = cutoff
	}
	if unknown {
		if !r.Addresses.allow(from, now) {
			r.counts.refused.Add(1)
			return errorAnswer(ca.OCSPTryLater), nil
		}
		r.counts.unknown.Add(1)
	}
	validity := r.Validity
	if validity == 0 {
		validity = DefaultOCSPValidity
	}
	a := &Answer{Cacheable: nonce == nil && !unknown, ProducedAt: now, ThisUpdate: now.Add(-backdate)}
	var err error
	a.DER, a.NextUpdate, err = signer.responder.SignOCSP(ca.OCSPAnswer{ProducedAt: now, ThisUpdate: a.ThisUpdate,
		NextUpdate: now.Add(validity), Singles: singles, Nonce: nonce})
	if err != nil {
		return errorAnswer(ca.OCSPInternalError), fmt.Errorf("ocsp for %s: %w", signer.issuer, err)
	}
	r.counts.signed.Add(1)
	if a.Cacheable {
		a.texts()
	}
	return a, nil
}

func (a *Answer) texts() {
	sum := sha256.Sum256(a.DER)
	var tag [2 + 2*sha256.Size]byte
	tag[0], tag[len(tag)-1] = '"', '"'
	hex.Encode(tag[1:], sum[:])
	a.Tag[0] = string(tag[:])
	a.Since[0] = a.ThisUpdate.Format("Mon, 02 Jan 2006 15:04:05 GMT")
}
