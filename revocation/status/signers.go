package status

import (
	"crypto"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"sigill/ca"
)

// Signers holds the OCSP signer of each issuer. The zero value holds none. Its
// methods may be called concurrently, so that a signer is replaced while
// answers are given.
type Signers struct {
	mu  sync.Mutex // one Set at a time
	now atomic.Pointer[signerTable]
}

// signerTable is what the signers are at one time. It is never changed: an answer
// looks into it without a lock.
type signerTable struct {
	signers []signer
	number  map[ca.IssuerID]int    // in signers; an issuer keeps its number
	forms   map[string]issuerForm  // by ca.OCSPQuestion.Issuer
	hashes  map[issuerName]issuerN // by what a CertID of any form holds
}

type issuerN = uint16

type signer struct {
	issuer    ca.IssuerID
	responder *ca.Responder
}

// issuerForm is an issuer and the form in which a CertID names it.
type issuerForm struct {
	issuer issuerN
	form   uint8 // 0 to issuerForms − 1
}

// issuerForms is in how many forms a CertID names a certificate: two hashes, each
// with parameters NULL or without. An answer repeats the form that was asked in, so
// each has an answer of its own, and no client can think of a fifth.
const issuerForms = 4

// issuerName is how a CertID names an issuer.
type issuerName struct {
	hash      crypto.Hash
	name, key string
}

// Set makes r the signer for issuer id, in place of any before.
func (s *Signers) Set(id ca.IssuerID, r *ca.Responder) error {
	forms, err := ca.OCSPIssuerForms(r.Issuer())
	if err != nil {
		return fmt.Errorf("ocsp signer for %s: %w", id, err)
	}
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
	next := s.table().clone()
	n, known := next.number[id]
	if known && !next.signers[n].responder.Issuer().Equal(r.Issuer()) {
		return fmt.Errorf("ocsp signer for %s: that name belongs to another issuer's certificate", id)
	}
	for _, name := range names {
		if other, ok := next.hashes[name]; ok && (!known || int(other) != n) {
			return fmt.Errorf("ocsp signer for %s: the issuer is known as %s", id, next.signers[other].issuer)
		}
	}
	if known {
		next.signers[n].responder = r
		s.now.Store(next)
		return nil
	}
	n = len(next.signers)
	next.number[id] = n
	next.signers = append(next.signers, signer{id, r})
	for _, name := range names {
		next.hashes[name] = issuerN(n)
	}
	for i, form := range forms {
		next.forms[form] = issuerForm{issuerN(n), uint8(i)}
	}
	s.now.Store(next)
	return nil
}

func (s *Signers) table() *signerTable {
	if t := s.now.Load(); t != nil {
		return t
	}
	return &signerTable{}
}

func (t *signerTable) clone() *signerTable {
	next := &signerTable{signers: slices.Clone(t.signers), number: maps.Clone(t.number), forms: maps.Clone(t.forms), hashes: maps.Clone(t.hashes)}
	if next.number == nil {
		next.number, next.forms, next.hashes = map[ca.IssuerID]int{}, map[string]issuerForm{}, map[issuerName]issuerN{}
	}
	return next
}

// find returns the number of the issuer that a CertID names.
func (t *signerTable) find(id *ca.CertID) (issuerN, bool) {
	n, ok := t.hashes[issuerName{id.Hash, id.NameHash, id.KeyHash}]
	return n, ok
}
