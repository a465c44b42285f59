package privacy

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// Erasure is the document that two administrators sign to have a person erased. Its
// canonical form is encoding/json's.
type Erasure struct {
	Act          string                `json:"act"` // "person.erase"
	Organisation policy.OrganisationID `json:"organisation"`
	Person       policy.PersonID       `json:"person"`
}

// ParseErasure reads an Erasure and refuses every form but the canonical one.
func ParseErasure(b []byte) (Erasure, error) {
	var e Erasure
	if err := json.Unmarshal(b, &e); err != nil {
		return e, policy.Refuse(policy.RequestForm, "erasure: %s", err).Err()
	}
	if again, _ := json.Marshal(e); string(again) != string(b) || e.Act != statement.ActErase {
		return e, policy.Refuse(policy.RequestForm, "erasure is not in canonical form").Err()
	}
	if e.Organisation == "" || e.Person == "" {
		return e, policy.Refuse(policy.RequestForm, "erasure: it needs an organisation and a person").Err()
	}
	return e, nil
}

// Outcome is what became of an erasure.
type Outcome struct {
	Person      policy.PersonID
	ErasedAt    time.Time
	Assignments int   // that were deleted, with names, number and addresses
	Values      int64 // events whose personal values were deleted
	// Kept is what stays. Empty: nothing.
	Kept []Kept
}

// Why something stays.
const (
	// Duty: orders, certificates and what they rest on are kept ten years after the
	// card has expired.
	Duty = "duty"
	// Signed: a certificate stays as long as something that was signed with it.
	Signed = "signed"
	// Course: log-ins and refusals end by themselves after eighteen months.
	Course = "course"
)

// Kept is something that stays.
type Kept struct {
	What  string // "certificates", "orders", "downloads", "statements", "log-ins and refusals"
	Count int
	Until time.Time // when it ends at the latest; zero: with what Why names
	Why   string
}

// Erase erases a person as a stated document says, signed by two different
// administrators of the organisation, the caller first. It must be the organisation of
// every assignment of the person or one above it. Who has an eID, an active card, an
// open order or a role is not erased: that is ended first, each by an act of its own.
// The same document again changes nothing and returns what stays.
func (s *Service) Erase(ctx context.Context, c register.Caller, person policy.PersonID, document []byte, signed []register.Signed) (*Outcome, error) {
	var out *Outcome
	e, err := ParseErasure(document)
	if err == nil && e.Person != person {
		err = policy.Refuse(policy.RequestForm, "the document is about another person than the address").Err()
	}
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) (err error) {
			out, err = s.erase(tx, c, e, register.HashOf(document), signed)
			return err
		})
	}
	if err = s.keep(ctx, err, c, e.Organisation, person); err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) erase(tx *Tx, c register.Caller, e Erasure, hash [32]byte, signed []register.Signed) (*Outcome, error) {
	now := s.Now().UTC().Truncate(time.Microsecond)
	if again, err := s.done(tx, c, e, signed); err != nil || again != nil {
		return again, err
	}
	if _, err := may(tx, c, e.Organisation, e.Person); err != nil {
		return nil, err
	}
	if err := ended(tx, e.Person, now); err != nil {
		return nil, err
	}
	if len(signed) == 0 || signed[0].Certificate != c.Certificate {
		return nil, policy.Refuse(policy.StatementSignature, "signed with another card than the one logged in with").Err()
	}
	stated, err := s.Register.State(tx.register(), now, register.Expect{Act: statement.ActErase, Subject: string(e.Person), For: e.Person,
		Content: hash, Organisation: e.Organisation, Need: 2}, signed)
	if err != nil {
		return nil, err
	}
	out := &Outcome{Person: e.Person, ErasedAt: now}
	assignments, err := tx.AssignmentsOf(e.Person)
	if err != nil {
		return nil, err
	}
	out.Assignments = len(assignments)
	if out.Values, err = eraseValues(tx, e.Person); err != nil {
		return nil, err
	}
	if err := tx.ErasePerson(e.Person, now); err != nil {
		return nil, err
	}
	if out.Kept, err = kept(tx, e.Person, now); err != nil {
		return nil, err
	}
	fields := append([]audit.Field{issue.F("person", string(e.Person)), issue.F("organisation", string(e.Organisation)),
		issue.F("document", hex.EncodeToString(hash[:])), issue.F("count", strconv.FormatInt(out.Values, 10))}, register.Told(stated)...)
	return out, tx.Events.Append(issue.NewEvent(audit.PersonErased, now, stated[0].By+","+stated[1].By, fields...))
}

// done returns what is left of a person whose erasure was stated by these very
// statements before; nil: it was not.
func (s *Service) done(tx *Tx, c register.Caller, e Erasure, signed []register.Signed) (*Outcome, error) {
	if c.Officer > 0 {
		return nil, nil // refused like everything of theirs
	}
	if err := register.Administrator(tx.register(), c, e.Organisation); err != nil {
		return nil, err
	}
	again, err := register.Replayed(tx.register(), string(e.Person), signed)
	if err != nil || !again {
		return nil, err
	}
	out := &Outcome{Person: e.Person}
	if out.ErasedAt, err = tx.ErasedAt(e.Person); err != nil {
		return nil, err
	}
	out.Kept, err = kept(tx, e.Person, s.Now())
	return out, err
}

// ended refuses a person who can act, or for whom something is under way.
func ended(tx *Tx, person policy.PersonID, now time.Time) error {
	var has []string
	grants, err := tx.GrantsOf(person)
	if err != nil {
		return err
	}
	if len(grants) > 0 {
		has = append(has, "a role")
	}
	cards, err := tx.CardsOfHolder(person)
	if err != nil {
		return err
	}
	for _, card := range cards {
		more, err := alive(tx, card, now)
		if err != nil {
			return err
		}
		has = append(has, more...)
	}
	if len(has) == 0 {
		return nil
	}
	return policy.Refuse(policy.PersonActive, "the person has %s", strings.Join(has, ", ")).Err()
}

// alive names what stands or is under way on a card.
func alive(tx *Tx, card *register.Card, now time.Time) (has []string, err error) {
	if (card.State == policy.CardActive || card.State == policy.CardLocked) && now.Before(card.ExpiresAt) {
		has = append(has, "an active card")
	}
	standings, err := tx.StandingsOfCard(card.Number)
	if err != nil {
		return nil, err
	}
	for _, st := range standings {
		cert, err := tx.Certificate(st.Certificate)
		if err != nil {
			return nil, err
		}
		if now.Before(cert.NotAfter) {
			has = append(has, "an eID")
			break
		}
	}
	open, err := tx.Orders.OpenOrdersOfCard(card.Number)
	if err != nil {
		return nil, err
	}
	if len(open) > 0 {
		has = append(has, "an open order")
	}
	return has, nil
}

// eraseValues deletes what events say of the person that no duty keeps: what the
// directory said, and what log-ins and refusals say of him and of what he tried.
func eraseValues(tx *Tx, person policy.PersonID) (int64, error) {
	var erase []string
	last := ""
	for {
		page, err := tx.EventsOf(person, last, eventPage)
		if err != nil {
			return 0, err
		}
		for _, e := range page {
			directory := e.About && (e.Act == audit.PersonImported || e.Act == audit.AssignmentChanged)
			if len(e.Personal) > 0 && (directory || audit.ClassOf(e.Act) == audit.Access) {
				erase = append(erase, e.ID)
			}
		}
		if len(page) < eventPage {
			return tx.EraseValues(erase)
		}
		last = page[len(page)-1].ID
	}
}

// kept tells what stays of a person.
func kept(tx *Tx, person policy.PersonID, now time.Time) ([]Kept, error) {
	cards, err := tx.CardsOfHolder(person)
	if err != nil {
		return nil, err
	}
	var sum counts
	for _, card := range cards {
		held, err := ofCard(tx, card)
		if err != nil {
			return nil, err
		}
		sum.add(held)
	}
	told, _, err := events(tx, person)
	if err != nil {
		return nil, err
	}
	access, last := 0, time.Time{}
	for _, e := range told {
		if audit.ClassOf(e.Act) == audit.Access && len(e.Body) > 0 {
			access++
			if e.At.After(last) {
				last = e.At
			}
		}
	}
	out := sum.list()
	if access > 0 {
		out = append(out, Kept{What: "log-ins and refusals", Count: access, Until: audit.AccessUntil(last), Why: Course})
	}
	return out, nil
}

// counts is what is kept of cards.
type counts struct {
	certificates, signed, orders, downloads int
	until                                   time.Time
}

func (n *counts) add(c Card) {
	before := *n
	for _, cert := range c.Certificates {
		if len(cert.DER) > 0 {
			n.certificates++
		}
		for _, st := range cert.Signed {
			if len(st.Content) > 0 {
				n.signed++
			}
		}
	}
	for _, o := range c.Orders {
		if len(o.Bytes) > 0 {
			n.orders++
		}
	}
	for _, d := range c.Downloads {
		if len(d.Plan) > 0 {
			n.downloads++
		}
	}
	if until := audit.KeptUntil(c.ExpiresAt); *n != before && until.After(n.until) {
		n.until = until
	}
}

func (n counts) list() (out []Kept) {
	for _, each := range []struct {
		what  string
		count int
	}{{"certificates", n.certificates}, {"orders", n.orders}, {"downloads", n.downloads}} {
		if each.count > 0 {
			out = append(out, Kept{What: each.what, Count: each.count, Until: n.until, Why: Duty})
		}
	}
	if n.signed > 0 {
		out = append(out, Kept{What: "statements", Count: n.signed, Why: Signed})
	}
	return out
}
