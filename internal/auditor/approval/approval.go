// Package approval judges what an order rests on: that the statements shown are those
// that acts tell of, that each was signed by an administrator's own eID which is in the
// log, and that as many different persons signed as policy demands. It works that out
// anew, from documents, signatures and the logs, and uses no code by which the service
// decides.
package approval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
	"sigill/internal/checkpoint"
	"sigill/internal/statement"
)

// Judge judges orders. It keeps what it found out about some: an eID's two certificates
// rest on one. It is safe for concurrent use.
type Judge struct {
	source  source.Source
	book    *book.Book
	issuers *rederive.Issuers
	log     *checkpoint.Log // of certificates

	mu      sync.Mutex
	all     map[string]*Order                      // guarded by mu
	signers map[[sha256.Size]byte]*rederive.Signer // guarded by mu; those that are good
}

// New returns a Judge.
func New(s source.Source, b *book.Book, issuers *rederive.Issuers, log *checkpoint.Log) *Judge {
	return &Judge{source: s, book: b, issuers: issuers, log: log, all: map[string]*Order{}, signers: map[[sha256.Size]byte]*rederive.Signer{}}
}

const cachedOrders = 4096

// Order is an order with what it rests on. It does not change once it is returned.
type Order struct {
	// Err says that nothing can be said.
	Err error
	// Document is what was ordered; nil: it is not known, and Findings say why.
	Document *rederive.Document
	Erased   bool // by retention
	Findings []finding.Finding

	once    sync.Once
	signers []signer
}

// signer is a person who signed for an order, with the act that tells of it.
type signer struct {
	name   string
	number int64 // of the act
	placed bool
}

func (j *Judge) get(id string) *Order {
	j.mu.Lock()
	defer j.mu.Unlock()
	o, ok := j.all[id]
	if !ok {
		if len(j.all) >= cachedOrders {
			clear(j.all)
		}
		o = &Order{}
		j.all[id] = o
	}
	return o
}

// signer reads a signer's certificate, once: a few administrators sign for thousands.
func (j *Judge) signer(der []byte) (*rederive.Signer, error) {
	name := sha256.Sum256(der)
	j.mu.Lock()
	known := j.signers[name]
	j.mu.Unlock()
	if known != nil {
		return known, nil
	}
	s, err := rederive.NewSigner(der, j.issuers, j.log)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.signers) >= cachedOrders {
		clear(j.signers)
	}
	j.signers[name] = s
	return s, nil
}

// Order judges what an order rests on.
func (j *Judge) Order(ctx context.Context, id string) *Order {
	o := j.get(id)
	o.once.Do(func() { o.Err = j.judge(ctx, id, o) })
	return o
}

func (o *Order) find(kind finding.Kind, number int64, text string, pairs ...string) {
	o.Findings = append(o.Findings, finding.Finding{Kind: kind, Severity: finding.Critical, Log: source.Acts, Index: number, Text: text, IDs: finding.IDs(pairs...)})
}

func (j *Judge) judge(ctx context.Context, id string, out *Order) error {
	evidence, err := j.source.Evidence(ctx, id)
	switch {
	case errors.Is(err, source.ErrErased):
		out.Erased = true
		return nil
	case errors.Is(err, source.ErrUnshown):
		out.find(finding.OrderEvidence, book.None, "what the order rests on is not shown", "order", id)
		return nil
	case err != nil:
		return err
	}
	return j.book.View(ctx, func(tx *book.Tx) error {
		o, err := tx.Order(id)
		if errors.Is(err, book.ErrNotFound) {
			return nil // said of the intent already
		} else if err != nil {
			return err
		}
		sum := sha256.Sum256(evidence.Order)
		if hex.EncodeToString(sum[:]) != o.Document {
			out.find(finding.OrderEvidence, o.Placed, "the order shown is not the one that was placed", "order", id)
			return nil
		}
		d, err := rederive.ParseDocument(evidence.Order)
		if err != nil || d.Order != id || d.Card != o.Card || d.Person != o.Person || d.Type != o.Type || strconv.Itoa(d.LoA) != o.LoA || d.Organisation != o.Organisation {
			out.find(finding.OrderEvidence, o.Placed, "the order is not what the act of placing it says", "order", id)
			return nil
		}
		out.Document = d
		return j.statements(tx, out, o, evidence)
	})
}

// statements holds the statements against the acts that tell of them, each against
// the other.
func (j *Judge) statements(tx *book.Tx, out *Order, o *book.Order, e *source.Evidence) error {
	acts, err := tx.Approvals(o.ID)
	if err != nil {
		return err
	}
	shown := map[string]bool{}
	keys := map[string]string{}
	for _, s := range e.Statements {
		sum := sha256.Sum256(s.Content)
		content := hex.EncodeToString(sum[:])
		shown[content] = true
		var act *book.Approval
		for i := range acts {
			if acts[i].Signed == content {
				act = &acts[i]
			}
		}
		if act == nil {
			out.find(finding.ApprovalForged, o.Placed, "a statement stands behind the order that no act tells of", "order", o.ID, "signed", content)
			continue
		}
		by, err := j.signer(s.Certificate)
		var sig rederive.Signature
		if err == nil {
			sig, err = s.Verify(out.Document, e.Order, by)
		}
		if err != nil {
			out.find(finding.ApprovalForged, act.Number, "a statement behind the order does not hold: "+err.Error(), "order", o.ID, "signed", content)
			continue
		}
		name, why, err := signerOf(tx, sig, act, o)
		if err != nil {
			return err
		}
		if by, ok := keys[sig.Fingerprint]; ok && by != sig.By {
			why = "one certificate has signed for two persons"
		}
		if keys[sig.Fingerprint] = sig.By; why != "" {
			out.find(finding.ApprovalForged, act.Number, "a statement behind the order does not hold: "+why, "order", o.ID, "signed", content, "certificate", sig.Fingerprint)
			continue
		}
		out.signers = append(out.signers, signer{name, act.Number, sig.Act == statement.ActPlace})
	}
	for _, a := range acts {
		if !shown[a.Signed] {
			out.find(finding.OrderEvidence, a.Number, "the statement behind this act is not shown", "order", o.ID, "signed", a.Signed)
		}
	}
	return nil
}

// signerOf finds out who signed: the certificate is in the log, it is an administrator's
// eID at level 3 or, while the ceremony was open, one of the two officers', it was in force, and it
// is the one that the act names. why says what does not hold.
func signerOf(tx *book.Tx, sig rederive.Signature, act *book.Approval, o *book.Order) (name, why string, err error) {
	c, err := tx.Certificate(sig.Serial)
	if errors.Is(err, book.ErrNotFound) {
		return "", unlogged, nil
	} else if err != nil {
		return "", "", err
	}
	acted := book.Moment(act.At)
	switch {
	case c.Leaf < 0 || c.Hash != sig.Leaf || c.Intent < 0 || c.Intent > act.Number:
		return "", unlogged, nil
	case sig.Fingerprint != act.Certificate:
		return "", "another certificate signed than the act names", nil
	case sig.At.Before(sig.NotBefore) || sig.At.After(sig.NotAfter) || c.Ended >= 0 && c.EndedAt < book.Micro(sig.At):
		return "", "the signer's certificate was not valid then", nil
	case acted.Sub(sig.At) > maxStatementAge || sig.At.Sub(acted) > maxAhead+time.Second:
		return "", "it was signed at another time than the act", nil
	}
	if c.Profile == profileOfficer {
		why, err := officer(tx, sig, act.Number)
		return sig.By, why, err
	}
	switch {
	case c.Profile != profileAuthentication || c.LoA != "3":
		return "", "it was signed with no eID at level 3", nil
	case c.Person == "" || sig.By != c.Person:
		return "", "it is made in another's name", nil
	case sig.By == o.Person:
		return "", "it is for the one who signed it", nil
	}
	ok, err := administers(tx, c.Person, o.Organisation, act.Number)
	if err == nil && !ok {
		why = "the signer was no administrator of the organisation"
	}
	return c.Person, why, err
}

// officer finds out whether an officer signed, while there were officers: the one of
// the two that were named when the installation was made. Any other certificate of that
// profile is one that somebody had made who had the issuing key.
func officer(tx *book.Tx, sig rederive.Signature, number int64) (why string, err error) {
	closed, err := tx.Meta(MetaClosed)
	if err != nil {
		return "", err
	}
	if at, bad := strconv.ParseInt(closed, 10, 64); closed != "" && (bad != nil || at <= number) {
		return "an officer signed after the ceremony was closed", nil
	}
	for i := range 2 {
		is, err := tx.Meta(MetaOfficer(i + 1))
		if err != nil {
			return "", err
		}
		if is == sig.Fingerprint && sig.By == "officer:"+strconv.Itoa(i+1) {
			return "", nil
		}
	}
	return "it was signed with an officer's certificate that is neither officer's", nil
}

// MetaClosed is the word in the book for the act that closed the ceremony.
const MetaClosed = "ceremony.closed"

// MetaOfficer is the word in the book for the certificate of officer 1 or 2.
func MetaOfficer(n int) string { return "officer." + strconv.Itoa(n) }

// unlogged is why a certificate signs for nobody that the log has not, or not yet.
const unlogged = "the signer's certificate is not in the log"

// Profiles of those who sign.
const (
	profileAuthentication = "authentication"
	profileOfficer        = "officer"
)

// maxAhead is how far clocks may be ahead.
const maxAhead = time.Minute

// maxStatementAge is how old a statement may be when it arrives.
const maxStatementAge = 5*time.Minute + time.Second

// maxDepth bounds the way from a branch up to its customer.
const maxDepth = 16

// administers reports whether a person was an administrator of an organisation, or of one
// above it, at an act.
func administers(tx *book.Tx, person, organisation string, number int64) (bool, error) {
	for range maxDepth {
		if organisation == "" {
			return false, nil
		}
		held, err := tx.Held(person, organisation, "administrator", number)
		if held || err != nil {
			return held, err
		}
		if organisation, err = tx.Parent(organisation); errors.Is(err, book.ErrNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return false, nil
}

// Counted judges whether as many persons signed for a certificate's order, before it
// was intended, as policy demands with the log-in that fetched it.
func Counted(tx *book.Tx, c *book.Certificate, o *Order) ([]finding.Finding, error) {
	if o.Document == nil {
		return nil, nil // said already
	}
	persons, placed := map[string]bool{}, false
	for _, s := range o.signers {
		if s.number < c.Intent {
			persons[s.name] = true
			placed = placed || s.placed
		}
	}
	need, err := needed(tx, c, o.Document)
	if err != nil || len(persons) >= need && placed {
		return nil, err
	}
	return []finding.Finding{{Kind: finding.OrderUnapproved, Severity: finding.Critical, Log: source.Acts, Index: c.Intent, IDs: finding.IDs("order", c.Order, "serial", c.Serial),
		Text: fmt.Sprintf("%d different persons signed for this order before a certificate was made of it, and policy demands %d", len(persons), need)}}, nil
}

// needed is how many persons policy demands (Separation of duties, docs/POLICY.md), told
// anew from what the logs say: two at level 3, one where the holder himself fetched an
// update or renewal with a current eID of level 3 of the same card. That it was he who
// logged in is the service's word: a log-in leaves no signature.
func needed(tx *book.Tx, c *book.Certificate, d *rederive.Document) (int, error) {
	if d.LoA < 3 {
		return 1, nil
	}
	if d.Type != "update" && d.Type != "renewal" {
		return 2, nil
	}
	dl, err := tx.Download(c.Download)
	if errors.Is(err, book.ErrNotFound) {
		return 2, nil
	} else if err != nil {
		return 0, err
	}
	login, err := tx.CertificateOf(dl.Login)
	if errors.Is(err, book.ErrNotFound) {
		return 2, nil
	} else if err != nil {
		return 0, err
	}
	if login.Ended >= 0 && login.Ended < dl.Begun {
		return 2, nil // it was current no more
	}
	if login.Profile == profileAuthentication && login.LoA == "3" && login.Card == d.Card && login.Person == d.Person {
		return 1, nil
	}
	return 2, nil
}
