package auditor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"sigill/internal/auditor/book"
	"sigill/internal/auditor/rederive"
	"sigill/internal/statement"
)

// orderCache keeps what was found out about orders: an eID's two certificates rest on
// one.
type orderCache struct {
	mu  sync.Mutex
	all map[string]*judged // guarded by mu
}

const cachedOrders = 4096

// judged is an order with its evidence.
type judged struct {
	once     sync.Once
	err      error // nothing can be said
	document *rederive.Document
	erased   bool
	signers  []signer
	findings []Finding
}

// signer is a person who signed for an order, with the act that tells of it.
type signer struct {
	name   string
	number int64 // of the act
	placed bool
}

func (c *orderCache) get(id string) *judged {
	c.mu.Lock()
	defer c.mu.Unlock()
	j, ok := c.all[id]
	if !ok {
		if len(c.all) >= cachedOrders {
			clear(c.all)
		}
		j = &judged{}
		c.all[id] = j
	}
	return j
}

// order judges what an order rests on, once.
func (r *run) order(id string) *judged {
	j := r.orders.get(id)
	j.once.Do(func() { j.err = r.judgeOrder(id, j) })
	return j
}

func (j *judged) find(kind Kind, number int64, text string, pairs ...string) {
	j.findings = append(j.findings, Finding{Kind: kind, Severity: Critical, Log: Acts, Index: number, Text: text, IDs: ids(pairs...)})
}

func (r *run) judgeOrder(id string, j *judged) error {
	evidence, err := r.Source.Evidence(r.ctx, id)
	switch {
	case errors.Is(err, ErrErased):
		j.erased = true
		return nil
	case errors.Is(err, ErrUnshown):
		j.find(OrderEvidence, book.None, "what the order rests on is not shown", "order", id)
		return nil
	case err != nil:
		return err
	}
	return r.Book.View(r.ctx, func(tx *book.Tx) error {
		o, err := tx.Order(id)
		if errors.Is(err, book.ErrNotFound) {
			return nil // said of the intent already
		} else if err != nil {
			return err
		}
		sum := sha256.Sum256(evidence.Order)
		if hex.EncodeToString(sum[:]) != o.Document {
			j.find(OrderEvidence, o.Placed, "the order shown is not the one that was placed", "order", id)
			return nil
		}
		d, err := rederive.ParseDocument(evidence.Order)
		if err != nil || d.Order != id || d.Card != o.Card || d.Person != o.Person || d.Type != o.Type || strconv.Itoa(d.LoA) != o.LoA || d.Organisation != o.Organisation {
			j.find(OrderEvidence, o.Placed, "the order is not what the act of placing it says", "order", id)
			return nil
		}
		j.document = d
		return r.judgeStatements(tx, j, o, evidence)
	})
}

// judgeStatements holds the statements against the acts that tell of them, each against
// the other.
func (r *run) judgeStatements(tx *book.Tx, j *judged, o *book.Order, e *Evidence) error {
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
			j.find(ApprovalForged, o.Placed, "a statement stands behind the order that no act tells of", "order", o.ID, "signed", content)
			continue
		}
		sig, err := s.Verify(j.document, e.Order, r.Issuers, r.Logs[Certificates])
		if err != nil {
			j.find(ApprovalForged, act.Number, "a statement behind the order does not hold: "+err.Error(), "order", o.ID, "signed", content)
			continue
		}
		name, why, err := r.signer(tx, sig, act, o)
		if err != nil {
			return err
		}
		if by, ok := keys[sig.Certificate]; ok && by != sig.By {
			why = "one certificate has signed for two persons"
		}
		if keys[sig.Certificate] = sig.By; why != "" {
			j.find(ApprovalForged, act.Number, "a statement behind the order does not hold: "+why, "order", o.ID, "signed", content, "certificate", sig.Certificate)
			continue
		}
		j.signers = append(j.signers, signer{name, act.Number, sig.Act == statement.ActPlace})
	}
	for _, a := range acts {
		if !shown[a.Signed] {
			j.find(OrderEvidence, a.Number, "the statement behind this act is not shown", "order", o.ID, "signed", a.Signed)
		}
	}
	return nil
}

// signer finds out who signed: the certificate is in the log, it is an administrator's
// eID at level 3 or, while the ceremony was open, an officer's, it was in force, and it
// is the one that the act names. why says what does not hold.
func (r *run) signer(tx *book.Tx, sig rederive.Signature, act *book.Approval, o *book.Order) (name, why string, err error) {
	c, err := tx.Certificate(sig.Serial)
	if errors.Is(err, book.ErrNotFound) {
		return "", "the signer's certificate is not in the log", nil
	} else if err != nil {
		return "", "", err
	}
	acted := moment(act.At)
	switch {
	case c.Leaf < 0 || c.Hash != sig.Leaf || c.Intent < 0 || c.Intent > act.Number:
		return "", "the signer's certificate is not in the log", nil
	case sig.Certificate != act.Certificate:
		return "", "another certificate signed than the act names", nil
	case sig.At.Before(sig.NotBefore) || sig.At.After(sig.NotAfter) || c.Ended >= 0 && c.EndedAt < micro(sig.At):
		return "", "the signer's certificate was not valid then", nil
	case acted.Sub(sig.At) > maxStatementAge || sig.At.Sub(acted) > maxAhead+time.Second:
		return "", "it was signed at another time than the act", nil
	}
	if c.Profile == profileOfficer {
		closed, err := tx.Meta("ceremony.closed")
		if err != nil {
			return "", "", err
		}
		if at, bad := strconv.ParseInt(closed, 10, 64); closed != "" && (bad != nil || at <= act.Number) {
			why = "an officer signed after the ceremony was closed"
		}
		return sig.Certificate, why, nil
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

// approved judges whether as many persons signed for a certificate's order, before it
// was intended, as policy demands with the log-in that fetched it.
func (r *run) approved(tx *book.Tx, c *book.Certificate, j *judged) ([]Finding, error) {
	if j.document == nil {
		return nil, nil // said already
	}
	persons, placed := map[string]bool{}, false
	for _, s := range j.signers {
		if s.number < c.Intent {
			persons[s.name] = true
			placed = placed || s.placed
		}
	}
	need, err := r.needed(tx, c, j.document)
	if err != nil || len(persons) >= need && placed {
		return nil, err
	}
	return []Finding{{Kind: OrderUnapproved, Severity: Critical, Log: Acts, Index: c.Intent, IDs: ids("order", c.Order, "serial", c.Serial),
		Text: fmt.Sprintf("%d different persons signed for this order before a certificate was made of it, and policy demands %d", len(persons), need)}}, nil
}

// needed is how many persons policy demands (Separation of duties, docs/POLICY.md), told
// anew from what the logs say: two at level 3, one where the holder himself fetched an
// update or renewal with a current eID of level 3 of the same card.
func (r *run) needed(tx *book.Tx, c *book.Certificate, d *rederive.Document) (int, error) {
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
	if login.Profile == profileAuthentication && login.LoA == "3" && login.Card == d.Card && login.Person == d.Person {
		return 1, nil
	}
	return 2, nil
}
