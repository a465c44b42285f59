package download

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// MassID names a mass revocation ("mrv_…"). Who orders it draws it.
type MassID string

// MassKind says what a list names.
type MassKind string

const (
	BySerial MassKind = "serials" // certificates
	ByCard   MassKind = "cards"   // cards, with the eIDs that stand on them when their turn comes
)

// MassState is ordered, then approved (and being worked through), then finished.
type MassState string

const (
	MassOrdered  MassState = "ordered"
	MassApproved MassState = "approved"
	MassFinished MassState = "finished"
)

const (
	// MaxMass is how many entries a list may have.
	MaxMass = 200_000
	// massOpen is how long an order waits for its approval: the list may be wrong
	// the next day.
	massOpen = 24 * time.Hour
)

// Mass is a mass revocation: one administrator orders that what is on a list be
// revoked, another approves. The approval is the act; the certificates follow in
// transactions of their own, each of which writes how far the list is done. So the
// row is all that a process which takes over needs to know.
type Mass struct {
	ID           MassID
	Organisation policy.OrganisationID
	Kind         MassKind
	Reason       ca.Reason
	Entries      int    // of the list
	Document     []byte // what both stated, a MassOrder
	State        MassState
	Ordered      policy.StatementID
	OrderedBy    policy.PersonID
	OrderedAt    time.Time
	Approved     policy.StatementID // empty: not approved
	ApprovedBy   policy.PersonID
	ApprovedAt   time.Time
	Done         int   // entries of the list that were worked through: the first so many, in the order of inTurn
	Revoked      int   // certificates that it has revoked
	Failed       []int // positions in that order, among those done, that wait to be tried again
	FinishedAt   time.Time
	Version      int64 // compare-and-swap
}

// rule is what stands as the cause in the revocations: in years it tells which of
// many lists took a certificate.
func (m *Mass) rule() string { return audit.RevocationApproved + ":" + string(m.ID) }

// Masses is the table of mass revocations and their lists.
type Masses interface {
	// InsertMass returns issue.ErrConflict if the id is taken.
	InsertMass(m *Mass, list []byte) error
	// Mass returns issue.ErrNotFound.
	Mass(MassID) (*Mass, error)
	// MassList returns a list, or issue.ErrNotFound. It never changes.
	MassList(MassID) ([]byte, error)
	// PutMass writes if Version is still the stored one and raises it; otherwise
	// issue.ErrConflict.
	PutMass(*Mass) error
	// MassesOf returns an organisation's by id, those after after; with an empty
	// organisation those of all that are approved and not finished, oldest first.
	MassesOf(org policy.OrganisationID, after MassID, limit int) ([]*Mass, error)
}

// Together is how many certificates share a transaction where many are revoked, and
// how many keys a method of Bulk takes at the most. It bounds how long other writers
// wait for their turn.
const Together = 64

// MassOrder is the document that both administrators state. Its canonical form is
// encoding/json's.
type MassOrder struct {
	Act          string                `json:"act"` // "certificates.revoke"
	Revocation   MassID                `json:"revocation"`
	Organisation policy.OrganisationID `json:"organisation"`
	Reason       string                `json:"reason"`
	Kind         MassKind              `json:"kind"`
	Entries      int                   `json:"entries"`
	List         string                `json:"list"` // SHA-256 of the list, hexadecimal
}

// ParseMassOrder reads a MassOrder and refuses every form but the canonical one.
func ParseMassOrder(b []byte) (MassOrder, ca.Reason, error) {
	var o MassOrder
	if err := json.Unmarshal(b, &o); err != nil {
		return o, 0, policy.Refuse(policy.RequestForm, "order: %s", err).Err()
	}
	id, named := strings.CutPrefix(string(o.Revocation), "mrv_")
	if again, _ := json.Marshal(o); !bytes.Equal(again, b) || o.Act != statement.ActRevoke || o.Organisation == "" ||
		!named || len(id) != len(policy.NewID("mrv"))-len("mrv_") || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return o, 0, policy.Refuse(policy.RequestForm, "order is not in canonical form").Err()
	}
	reason, err := ca.ParseReason(o.Reason)
	if err != nil {
		return o, 0, policy.Refuse(policy.RequestForm, "order: %s", err).Err()
	}
	return o, reason, reasonOfPeople(reason)
}

// ParseMassList reads a list in its canonical form: serials (32 hexadecimal digits)
// or card numbers, ascending, each once, each ended by a newline.
func ParseMassList(kind MassKind, list []byte) ([]string, error) {
	var form func(string) error
	switch kind {
	case BySerial:
		form = func(s string) error { _, err := ca.ParseSerial(s); return err }
	case ByCard:
		form = func(s string) error { _, err := policy.ParseCardNumber(s); return err }
	default:
		return nil, policy.Refuse(policy.RequestForm, "kind is serials or cards").Err()
	}
	text, whole := strings.CutSuffix(string(list), "\n")
	if !whole {
		return nil, policy.Refuse(policy.RequestForm, "the list does not end with a newline").Err()
	}
	if n := strings.Count(text, "\n") + 1; n > MaxMass {
		return nil, policy.Refuse(policy.RevokeList, "%d entries, more than %d", n, MaxMass).Err()
	}
	entries := strings.Split(text, "\n")
	for i, entry := range entries {
		if err := form(entry); err != nil {
			return nil, policy.Refuse(policy.RequestForm, "line %d of the list: %s", i+1, err).Err()
		}
		if i > 0 && entry <= entries[i-1] {
			return nil, policy.Refuse(policy.RequestForm, "line %d of the list: not above the one before", i+1).Err()
		}
	}
	return entries, nil
}

// parseMass reads document and list together.
func parseMass(document, list []byte) (MassOrder, ca.Reason, []string, error) {
	o, reason, err := ParseMassOrder(document)
	if err != nil {
		return o, reason, nil, err
	}
	entries, err := ParseMassList(o.Kind, list)
	if err != nil {
		return o, reason, nil, err
	}
	if len(entries) != o.Entries || fmt.Sprintf("%x", sha256.Sum256(list)) != o.List {
		return o, reason, nil, policy.Refuse(policy.RequestForm, "the list is not the one that was stated").Err()
	}
	return o, reason, entries, nil
}

// OrderMass orders a mass revocation as a stated document says, signed by the caller,
// an administrator of the organisation. Everything on the list must be of it or of a
// branch below it. Nothing is revoked before another administrator approves. The
// same document again from the same person returns what became of it.
func (s *Service) OrderMass(ctx context.Context, c register.Caller, org policy.OrganisationID, document, list []byte, signed []register.Signed) (*Mass, error) {
	o, reason, entries, err := parseMass(document, list)
	if err == nil && o.Organisation != org {
		err = policy.Refuse(policy.RequestForm, "the document is about another organisation than the address").Err()
	}
	if err == nil {
		// Outside of the transaction that writes, which would keep everybody waiting:
		// certificates and branches never go, nor do they change whose they are.
		err = s.massWithin(ctx, c, o, entries)
	}
	var m *Mass
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) error {
			var err error
			m, err = s.orderMass(tx, c, &Mass{ID: o.Revocation, Organisation: org, Kind: o.Kind, Reason: reason, Entries: o.Entries, Document: document,
				State: MassOrdered, OrderedBy: c.Person, OrderedAt: s.now()}, list, signed)
			return err
		})
	}
	return m, s.keep(ctx, err, c, "", issue.F("revocation", string(o.Revocation)), issue.F("organisation", string(org)))
}

func (s *Service) orderMass(tx *Tx, c register.Caller, m *Mass, list []byte, signed []register.Signed) (*Mass, error) {
	if err := register.Administrator(tx.register(), c, m.Organisation); err != nil {
		return nil, err
	}
	switch old, err := tx.Mass(m.ID); {
	case err == nil && old.OrderedBy == c.Person && bytes.Equal(old.Document, m.Document):
		return old, nil
	case err == nil:
		return nil, policy.Refuse(policy.RequestRepeated, "the id is another mass revocation's").Err()
	case !errors.Is(err, issue.ErrNotFound):
		return nil, err
	}
	st, err := s.stateMass(tx, c, m, signed)
	if err != nil {
		return nil, err
	}
	m.Ordered = st.ID
	if err := tx.InsertMass(m, list); err != nil {
		return nil, err
	}
	o, _, err := ParseMassOrder(m.Document)
	if err != nil {
		return nil, err
	}
	return m, tx.Events.Append(m.event(audit.RevocationOrdered, m.OrderedAt, string(m.OrderedBy), m.said(st, issue.F("organisation", string(m.Organisation)),
		issue.F("reason", m.Reason.String()), issue.F("kind", string(m.Kind)), issue.F("entries", strconv.Itoa(m.Entries)), issue.F("list", o.List))...))
}

// event is what happens once to a mass revocation.
func (m *Mass) event(act string, at time.Time, by string, public ...audit.Field) audit.Event {
	e := issue.NewEvent(act, at, by, append([]audit.Field{issue.F("revocation", string(m.ID))}, public...)...)
	e.ID = audit.EventID(act, string(m.ID))
	return e
}

// said are the fields of an event that rests on a statement.
func (m *Mass) said(st *register.Statement, more ...audit.Field) []audit.Field {
	return append([]audit.Field{issue.F("document", fmt.Sprintf("%x", sha256.Sum256(m.Document))), issue.F("statement", string(st.ID)),
		issue.F("signed", fmt.Sprintf("%x", sha256.Sum256(st.Content))), issue.F("certificate", st.Certificate.String())}, more...)
}

// stateMass verifies and stores the caller's statement about a mass revocation.
func (s *Service) stateMass(tx *Tx, c register.Caller, m *Mass, signed []register.Signed) (*register.Statement, error) {
	if len(signed) == 0 || signed[0].Certificate != c.Certificate {
		return nil, policy.Refuse(policy.StatementSignature, "signed with another card than the one logged in with").Err()
	}
	want := register.Expect{Act: statement.ActRevoke, Subject: string(m.ID), Content: register.HashOf(m.Document), Organisation: m.Organisation, Need: 1}
	if _, err := s.Register.State(tx.register(), s.now(), want, signed); err != nil {
		return nil, err
	}
	about, err := tx.StatementsAbout(string(m.ID))
	if err != nil {
		return nil, err
	}
	for _, st := range about {
		if st.Certificate == signed[0].Certificate && bytes.Equal(st.Content, signed[0].Content) {
			return st, nil
		}
	}
	return nil, fmt.Errorf("the statement about %s was not stored", m.ID)
}

// ApproveMass approves a mass revocation: signed by the caller, an administrator of
// the organisation who did not order it, over the very document that was ordered.
// What is on the list is revoked from now on, by whoever works it through
// ([Service.RevokeMass]). The same statement again returns what became of it.
func (s *Service) ApproveMass(ctx context.Context, c register.Caller, id MassID, signed []register.Signed) (*Mass, error) {
	var m *Mass
	err := s.Store.Update(ctx, func(tx *Tx) error {
		var err error
		if m, err = s.visibleMass(tx, c, id); err != nil {
			return err
		}
		if again, err := register.Replayed(tx.register(), string(id), signed); err != nil || again && m.Approved != "" {
			return err
		}
		if err := s.mayApproveMass(tx, c, m); err != nil {
			return err
		}
		st, err := s.stateMass(tx, c, m, signed)
		if err != nil {
			return err
		}
		m.State, m.Approved, m.ApprovedBy, m.ApprovedAt = MassApproved, st.ID, c.Person, s.now()
		if err := tx.PutMass(m); err != nil {
			return err
		}
		return tx.Events.Append(m.event(audit.RevocationApproved, m.ApprovedAt, string(m.ApprovedBy), m.said(st)...))
	})
	if err == nil {
		s.massBell.ring()
	}
	return m, s.keep(ctx, err, c, "", issue.F("revocation", string(id)))
}

func (s *Service) mayApproveMass(tx *Tx, c register.Caller, m *Mass) error {
	if m.State != MassOrdered {
		return policy.Refuse(policy.RevokeState, "the mass revocation is %s", m.State).Err()
	}
	if !s.now().Before(m.OrderedAt.Add(massOpen)) {
		return policy.Refuse(policy.RevokeState, "it was ordered at %s", m.OrderedAt.Format(time.RFC3339)).Err()
	}
	if m.OrderedBy == c.Person {
		return policy.Refuse(policy.RevokeApprover, "who approves has ordered it").Err()
	}
	st, err := massStatement(tx, m, m.Ordered)
	if err != nil {
		return err
	}
	cert, err := tx.Certificate(st.Certificate)
	if err != nil {
		return err
	}
	missing := policy.Refuse(policy.RevokeApprover, "what was ordered is not in force any more").Err()
	if e, revoked, err := tx.Revocations.Revocation(cert.Serial); err != nil {
		return err
	} else if revoked && e.Reason == ca.KeyCompromise {
		return missing
	}
	if ok, err := may(register.Role(tx.register(), st.By, cert.Organisation, m.Organisation, policy.RoleAdministrator)); err != nil {
		return err
	} else if !ok {
		return missing
	}
	return nil
}

// massStatement returns one of the statements that a mass revocation rests on.
func massStatement(tx *Tx, m *Mass, id policy.StatementID) (*register.Statement, error) {
	about, err := tx.StatementsAbout(string(m.ID))
	if err != nil {
		return nil, err
	}
	for _, st := range about {
		if st.ID == id {
			return st, nil
		}
	}
	return nil, fmt.Errorf("mass revocation %s has no statement %q", m.ID, id)
}

// visibleMass returns a mass revocation to who administers its organisation. One
// answer for what is not there and what is another's.
func (s *Service) visibleMass(tx *Tx, c register.Caller, id MassID) (*Mass, error) {
	missing := policy.Refuse(policy.RoleMissing, "no such mass revocation").Err()
	m, err := tx.Mass(id)
	if errors.Is(err, issue.ErrNotFound) {
		return nil, missing
	} else if err != nil {
		return nil, err
	}
	if ok, err := may(register.Administrator(tx.register(), c, m.Organisation)); err != nil || !ok {
		return nil, errors.Join(err, missing)
	}
	return m, nil
}

// Mass returns a mass revocation, and its list if that is asked for.
func (s *Service) Mass(ctx context.Context, c register.Caller, id MassID, withList bool) (m *Mass, list []byte, err error) {
	err = s.Store.View(ctx, func(tx *Tx) error {
		var err error
		if m, err = s.visibleMass(tx, c, id); err == nil && withList {
			list, err = tx.MassList(id)
		}
		return err
	})
	return m, list, s.keep(ctx, err, c, "", issue.F("revocation", string(id)))
}

// ListMasses returns a page of an organisation's mass revocations, those after after.
func (s *Service) ListMasses(ctx context.Context, c register.Caller, org policy.OrganisationID, after MassID, limit int) ([]*Mass, error) {
	var out []*Mass
	err := s.Store.View(ctx, func(tx *Tx) error {
		err := register.Administrator(tx.register(), c, org)
		if err == nil {
			out, err = tx.MassesOf(org, after, limit)
		}
		return err
	})
	return out, s.keep(ctx, err, c, "", issue.F("organisation", string(org)))
}
