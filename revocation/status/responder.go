// Package status owns what OCSP answers say (RFC 6960), who signs them and how long
// they are kept.
//
// It knows the ledger of revocations and which certificates were released, and
// nothing of HTTP. Its central rule: good is said only of what the committed state
// calls good, and never after a revocation was committed here.
package status

import (
	"context"
	"crypto"
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
)

// Signers holds the OCSP signer of each issuer. The zero value holds none. Its
// methods may be called concurrently, so that a signer is replaced while
// answers are given.
type Signers struct {
	mu     sync.RWMutex
	signer map[ca.IssuerID]*ca.Responder
	named  map[issuerName]ca.IssuerID
}

// issuerName is how a CertID names an issuer.
type issuerName struct {
	hash      crypto.Hash
	name, key string
}

// Set makes r the signer for issuer id, in place of any before.
func (s *Signers) Set(id ca.IssuerID, r *ca.Responder) error {
	names := make([]issuerName, 0, 2)
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		name, key, err := ca.IssuerHashes(r.Issuer(), hash)
		if err != nil {
			return fmt.Errorf("ocsp signer for %s: %w", id, err)
		}
		names = append(names, issuerName{hash, name, key})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signer == nil {
		s.signer, s.named = map[ca.IssuerID]*ca.Responder{}, map[issuerName]ca.IssuerID{}
	}
	if old := s.signer[id]; old != nil && !old.Issuer().Equal(r.Issuer()) {
		return fmt.Errorf("ocsp signer for %s: that name belongs to another issuer's certificate", id)
	}
	for _, n := range names {
		if other, ok := s.named[n]; ok && other != id {
			return fmt.Errorf("ocsp signer for %s: the issuer is known as %s", id, other)
		}
	}
	for _, n := range names {
		s.named[n] = id
	}
	s.signer[id] = r
	return nil
}

// find returns the issuer that a CertID names, and its signer.
func (s *Signers) find(id *ca.CertID) (ca.IssuerID, *ca.Responder) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	issuer, ok := s.named[issuerName{id.Hash, id.NameHash, id.KeyHash}]
	if !ok {
		return "", nil
	}
	return issuer, s.signer[issuer]
}

// Responder answers OCSP requests from the committed state: good for a
// certificate that was released, revoked for a serial with an entry (an
// abandoned intent among them), unknown for everything else, so that a
// certificate that a stolen key signed is never called good.
//
// All fields are set before first use and not changed after. Answer may be
// called concurrently.
type Responder struct {
	Store   revocation.Store
	Signers *Signers
	Now     func() time.Time
	// Validity is nextUpdate − now, at most 12 hours; 0 is DefaultOCSPValidity.
	Validity time.Duration
	// Retention is how long an expired certificate keeps its answer. The archive
	// cutoff is now − Retention, but not before the issuer's notBefore; 0 stands
	// for that notBefore: answers are kept for ever.
	Retention time.Duration
}

// Answer is an answer for the wire.
type Answer struct {
	DER []byte
	// Cacheable reports whether a cache may give DER to others: it says good or
	// revoked and repeats no nonce. unknown may be false in a second, when an
	// open intent is released.
	Cacheable  bool
	ProducedAt time.Time
	NextUpdate time.Time
}

// Check reports what is wrong with the configuration.
func (r *Responder) Check() error {
	switch {
	case r.Store == nil || r.Signers == nil || r.Now == nil:
		return errors.New("ocsp: store, signers or clock is missing")
	case r.Validity < 0 || r.Validity > maxOCSPValidity:
		return fmt.Errorf("ocsp: validity %v is more than %v", r.Validity, maxOCSPValidity)
	case r.Validity != 0 && r.Validity < time.Minute:
		return fmt.Errorf("ocsp: validity %v is less than what HTTP caches keep", r.Validity)
	case r.Retention < 0:
		return fmt.Errorf("ocsp: retention %v", r.Retention)
	}
	return nil
}

// errorAnswer is an answer without a status.
func errorAnswer(s ca.OCSPErrorStatus) Answer { return Answer{DER: ca.OCSPError(s)} }

// Answer answers the request der. The answer is always one to send; the error
// tells the operator why it is internalError or tryLater, and is nil when only
// the request is at fault.
//
// A signer answers for its own issuer. Where a request names several issuers,
// the answer is that of the first one known here, and unknown for the others'
// certificates, which a relying party would not believe of this signer anyway.
func (r *Responder) Answer(ctx context.Context, der []byte) (Answer, error) {
	request, err := ca.ParseOCSPRequest(der)
	if err != nil {
		return errorAnswer(ca.OCSPMalformedRequest), nil
	}
	var issuer ca.IssuerID
	var signer *ca.Responder
	for i := range request.CertIDs {
		if issuer, signer = r.Signers.find(&request.CertIDs[i]); signer != nil {
			break
		}
	}
	if signer == nil {
		return errorAnswer(ca.OCSPUnauthorized), nil
	}
	// An answer without nonce to one CertID depends only on the time and on
	// that CertID, whose octets name issuer, serial and hash: here a cache of
	// DER by CertID.Raw stands in front of the store and of the key.
	return r.fresh(ctx, request, issuer, signer)
}

// fresh reads the state and signs.
func (r *Responder) fresh(ctx context.Context, request *ca.OCSPRequest, issuer ca.IssuerID, signer *ca.Responder) (Answer, error) {
	now := r.Now().UTC().Truncate(time.Second)
	singles, err := r.statuses(ctx, request, issuer)
	if err != nil {
		return errorAnswer(ca.OCSPTryLater), fmt.Errorf("ocsp: reading status: %w", err)
	}
	cutoff := signer.Issuer().NotBefore
	if kept := now.Add(-r.Retention); r.Retention > 0 && kept.After(cutoff) {
		cutoff = kept
	}
	cacheable := request.Nonce == nil
	for i := range singles {
		if singles[i].Status == ca.OCSPUnknown {
			cacheable = false
			continue
		}
		singles[i].ArchiveCutoff = cutoff
	}
	validity := r.Validity
	if validity == 0 {
		validity = DefaultOCSPValidity
	}
	der, next, err := signer.SignOCSP(ca.OCSPAnswer{ProducedAt: now, ThisUpdate: now.Add(-backdate),
		NextUpdate: now.Add(validity), Singles: singles, Nonce: request.Nonce})
	if err != nil {
		return errorAnswer(ca.OCSPInternalError), fmt.Errorf("ocsp for %s: %w", issuer, err)
	}
	return Answer{DER: der, Cacheable: cacheable, ProducedAt: now, NextUpdate: next}, nil
}

// statuses reads the status of each CertID in one snapshot.
func (r *Responder) statuses(ctx context.Context, request *ca.OCSPRequest, issuer ca.IssuerID) ([]ca.OCSPSingle, error) {
	var singles []ca.OCSPSingle
	err := r.Store.View(ctx, func(tx *revocation.Tx) error {
		singles = make([]ca.OCSPSingle, 0, len(request.CertIDs)) // anew: View may call again
		for _, id := range request.CertIDs {
			single := ca.OCSPSingle{ID: id}
			serial, ours := ca.SerialOf(id.Serial)
			if named, _ := r.Signers.find(&id); ours && named == issuer {
				released, entry, err := tx.Status(issuer, serial)
				if err != nil {
					return err
				}
				switch {
				case entry != nil:
					single.Status, single.At, single.Reason = ca.OCSPRevoked, entry.At, entry.Reason
				case released:
					single.Status = ca.OCSPGood
				}
			}
			singles = append(singles, single)
		}
		return nil
	})
	return singles, err
}
