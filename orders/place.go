package orders

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// Place takes a signed order. What was signed must be what the register gives
// now, to the byte. Placing the same document again returns the order.
func (s *Service) Place(ctx context.Context, c register.Caller, document []byte, signed []register.Signed) (*Order, error) {
	var o *Order
	d, err := ParseDocument(document)
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) error {
			var err error
			o, err = s.place(tx, c, d, document, signed)
			return err
		})
	}
	return o, s.Register.Keep(ctx, err, c.Name(), issue.F("order", string(d.Order)), issue.F("card", string(d.Card)))
}

func (s *Service) place(tx *Tx, c register.Caller, d Document, document []byte, signed []register.Signed) (*Order, error) {
	if err := s.mayOrder(tx, c, d.Organisation); err != nil {
		return nil, err
	}
	if o, err := tx.Orders.Order(d.Order); err == nil {
		if bytes.Equal(o.Bytes, document) && o.PlacedBy == c.Person {
			return o, nil
		}
		return nil, policy.Refuse(policy.RequestRepeated, "the order id is taken").Err()
	} else if !errors.Is(err, issue.ErrNotFound) {
		return nil, err
	}
	now := s.Now().UTC().Truncate(time.Microsecond)
	if err := s.same(tx, c, d); err != nil {
		return nil, err
	}
	if c.Officer > 0 {
		if err := register.FirstAdministrator(&tx.Tx, d.Person); err != nil {
			return nil, err
		}
	}
	stated, err := s.Register.State(&tx.Tx, now, register.Expect{Act: statement.ActPlace, Subject: string(d.Order), For: d.Person,
		Card: d.Card, Content: register.HashOf(document), Organisation: d.Organisation, Officers: c.Officer > 0, Need: 1}, signed)
	if err != nil {
		return nil, err
	}
	if signed[0].Certificate != c.Certificate {
		return nil, policy.Refuse(policy.StatementSignature, "signed with another card than the one logged in with").Err()
	}
	o := &Order{ID: d.Order, Type: d.Type, Organisation: d.Organisation, Person: d.Person, Card: d.Card, IDKind: d.IDKind,
		LoA: d.LoA, State: policy.OrderPlaced, Bytes: document, PlacedBy: c.Person, PlacedAt: now, ExpiresAt: d.ExpiresAt}
	need, err := requiredNow(tx, o)
	if err != nil {
		return nil, err
	}
	if need <= 1 {
		o.State = policy.OrderApproved
	}
	if err := tx.Orders.InsertOrder(o); err != nil {
		return nil, err
	}
	return o, tx.Events.Append(placed(o, c, stated))
}

// placed is the event of a new order.
func placed(o *Order, c register.Caller, stated []register.Stated) audit.Event {
	e := issue.NewEvent(audit.OrderPlaced, o.PlacedAt, c.Name(), append(told(o, stated), issue.F("type", string(o.Type)),
		issue.F("organisation", string(o.Organisation)), issue.F("card", string(o.Card)), issue.F("person", string(o.Person)),
		issue.F("kind", string(o.IDKind)), issue.F("loa", strconv.Itoa(int(o.LoA))))...)
	e.ID = audit.EventID(audit.OrderPlaced, string(o.ID))
	return e
}

// told names an order, the document that was signed and the statement about it.
func told(o *Order, stated []register.Stated) []audit.Field {
	hash := register.HashOf(o.Bytes)
	return append([]audit.Field{issue.F("order", string(o.ID)), issue.F("state", string(o.State)),
		issue.F("document", hex.EncodeToString(hash[:]))}, register.Told(stated)...)
}

// same refuses a document that is not what Preview would give now. Its salt is the
// one that its preview drew, which nobody has kept; that it has one is looked at here,
// because orders of before, which ParseDocument reads too, have none.
func (s *Service) same(tx *Tx, c register.Caller, d Document) error {
	if d.Salt == "" {
		return policy.Refuse(policy.OrderContent, "the order has no salt").Err()
	}
	fresh := d
	fresh.Content, fresh.Issuer, fresh.Identity = ca.Content{}, "", ""
	facts, err := s.complete(tx, c, &fresh)
	if err != nil {
		return err
	}
	if err := policy.PlaceOrder(facts).Err(); err != nil {
		return err
	}
	if field := policy.DifferentField(d.Content, fresh.Content); field != "" {
		return policy.Refuse(policy.OrderContent, "the directory says otherwise: %s", field).Err()
	}
	latest := s.Now().Add(s.Open)
	if !bytes.Equal(fresh.Bytes(), d.Bytes()) || d.ExpiresAt.After(latest) || !d.ExpiresAt.After(s.Now()) {
		return policy.Refuse(policy.OrderContent, "the order is not what a preview gives now").Err()
	}
	return nil
}

// requiredNow is how many signatures an order needs if the holder fetches it
// with the best log-in that the card has today. With a lesser log-in the
// download asks for the others.
func requiredNow(tx *Tx, o *Order) (int, error) {
	standings, err := tx.StandingsOfCard(o.Card)
	if err != nil {
		return 0, err
	}
	var login policy.LoA
	for _, st := range standings {
		if st.Kind != issue.Current || st.Slot != policy.Authentication {
			continue
		}
		cert, err := tx.Certificate(st.Certificate)
		if err != nil {
			return 0, err
		}
		if cert.Person == o.Person {
			login = max(login, cert.LoA)
		}
	}
	return policy.RequiredSignatures(o.Type, o.LoA, login), nil
}

// Approve adds the caller's signed approval to an order. The same statement
// again returns the order as it is.
func (s *Service) Approve(ctx context.Context, c register.Caller, id policy.OrderID, signed []register.Signed) (*Order, error) {
	var o *Order
	err := s.Store.Update(ctx, func(tx *Tx) error {
		var err error
		o, err = s.approve(tx, c, id, signed)
		return err
	})
	return o, s.Register.Keep(ctx, err, c.Name(), issue.F("order", string(id)))
}

func (s *Service) approve(tx *Tx, c register.Caller, id policy.OrderID, signed []register.Signed) (*Order, error) {
	now := s.Now().UTC().Truncate(time.Microsecond)
	o, err := s.visible(tx, c, id)
	if err != nil {
		return nil, err
	}
	if _, err := o.Signed(); err != nil {
		return nil, err
	}
	if again, err := register.Replayed(&tx.Tx, string(id), signed); err != nil || again {
		return o, err
	}
	stated, err := tx.StatementsAbout(string(id))
	if err != nil {
		return nil, err
	}
	f := policy.ApproveFacts{Now: now, State: o.State, ExpiresAt: o.ExpiresAt, CallerIsPerson: c.Person != "" && c.Person == o.Person}
	for _, st := range stated {
		if st.Certificate == c.Certificate || (c.Person != "" && st.By == c.Person) {
			f.CallerPlaced = f.CallerPlaced || st.Act == statement.ActPlace
			f.CallerApproved = f.CallerApproved || st.Act == statement.ActApprove
		}
	}
	if err := policy.ApproveOrder(f).Err(); err != nil {
		return nil, err
	}
	given, err := s.Register.State(&tx.Tx, now, register.Expect{Act: statement.ActApprove, Subject: string(id), For: o.Person,
		Card: o.Card, Content: register.HashOf(o.Bytes), Organisation: o.Organisation, Officers: c.Officer > 0, Need: 1}, signed)
	if err != nil {
		return nil, err
	}
	if signed[0].Certificate != c.Certificate {
		return nil, policy.Refuse(policy.StatementSignature, "signed with another card than the one logged in with").Err()
	}
	if o.State == policy.OrderPlaced {
		o.State = policy.OrderApproved // two different people have signed now
		if err := tx.Orders.PutOrder(o); err != nil {
			return nil, err
		}
	}
	e := issue.NewEvent(audit.OrderApproved, now, c.Name(), told(o, given)...)
	e.ID = audit.EventID(audit.OrderApproved, string(id), string(given[0].ID))
	return o, tx.Events.Append(e)
}

// ApprovalEvent names the event of an approval that was given by a signed statement, now
// or before.
func (s *Service) ApprovalEvent(ctx context.Context, c register.Caller, id policy.OrderID, signed []register.Signed) (string, error) {
	event := ""
	err := s.Store.View(ctx, func(tx *Tx) error {
		if _, err := s.visible(tx, c, id); err != nil || len(signed) == 0 {
			return err
		}
		about, err := tx.StatementsAbout(string(id))
		if err != nil {
			return err
		}
		for _, st := range about {
			if st.Act == statement.ActApprove && st.Certificate == signed[0].Certificate && bytes.Equal(st.Content, signed[0].Content) {
				event = audit.EventID(audit.OrderApproved, string(id), string(st.ID))
			}
		}
		return nil
	})
	return event, s.Register.Keep(ctx, err, c.Name(), issue.F("order", string(id)))
}

// visible returns an order that the caller administers; for everybody else it
// does not exist.
func (s *Service) visible(tx *Tx, c register.Caller, id policy.OrderID) (*Order, error) {
	o, err := tx.Orders.Order(id)
	if errors.Is(err, issue.ErrNotFound) {
		return nil, policy.Refuse(policy.RoleMissing, "no such order").Err()
	} else if err != nil {
		return nil, err
	}
	return o, s.mayOrder(tx, c, o.Organisation)
}

// Order returns an order to one who administers its organisation.
func (s *Service) Order(ctx context.Context, c register.Caller, id policy.OrderID) (*Order, error) {
	var o *Order
	err := s.Store.View(ctx, func(tx *Tx) error {
		var err error
		o, err = s.visible(tx, c, id)
		return err
	})
	return o, s.Register.Keep(ctx, err, c.Name(), issue.F("order", string(id)))
}

// List returns an organisation's orders, newest first.
func (s *Service) List(ctx context.Context, c register.Caller, org policy.OrganisationID, state policy.OrderState, before time.Time, limit int) ([]*Order, error) {
	var list []*Order
	err := s.Store.View(ctx, func(tx *Tx) error {
		if err := s.mayOrder(tx, c, org); err != nil {
			return err
		}
		var err error
		list, err = tx.Orders.ListOrders(org, state, before, limit)
		return err
	})
	return list, s.Register.Keep(ctx, err, c.Name(), issue.F("organisation", string(org)))
}

// Signatures returns the statements behind an order that are still in force, one
// of each person: of administrators who still are, with eIDs that were not
// compromised; in the bootstrap, of officers while it is open. Their signatures were verified when
// they were stored and are verified again by [ca.NewMandate].
func Signatures(tx *Tx, o *Order) ([]*register.Statement, error) { return signatures(tx, o, inForce) }

// SignaturesMade returns the statements that stood behind an order when it was
// carried out, one of each person. What became of the signers since does not
// count: that an administrator left takes no eID from those he ordered for, nor
// what belongs to it.
func SignaturesMade(tx *Tx, o *Order) ([]*register.Statement, error) { return signatures(tx, o, stood) }

func signatures(tx *Tx, o *Order, counts func(*Tx, *Order, *register.Statement) (bool, error)) ([]*register.Statement, error) {
	all, err := tx.StatementsAbout(string(o.ID))
	if err != nil {
		return nil, err
	}
	type signer struct {
		person  policy.PersonID
		officer ca.Fingerprint
	}
	seen := map[signer]bool{}
	var valid []*register.Statement
	for _, st := range all {
		who := signer{person: st.By}
		if st.By == "" {
			who.officer = st.Certificate
		}
		if seen[who] || st.Act != statement.ActPlace && st.Act != statement.ActApprove {
			continue
		}
		ok, err := counts(tx, o, st)
		if err != nil {
			return nil, err
		}
		if ok {
			seen[who] = true
			valid = append(valid, st)
		}
	}
	return valid, nil
}

// stood: an officer's statement, or one whose key was not known to be compromised
// when it was made.
func stood(tx *Tx, _ *Order, st *register.Statement) (bool, error) {
	if st.By == "" {
		cer, err := tx.Ceremony()
		return err == nil && (st.Certificate == cer.Officers[0] || st.Certificate == cer.Officers[1]), err
	}
	cert, err := tx.Certificate(st.Certificate)
	if err != nil || !signedBy(cert, st) {
		return false, err
	}
	e, revoked, err := tx.Revocations.Revocation(cert.Serial)
	return err == nil && !(revoked && e.Reason == ca.KeyCompromise && !e.At.After(st.At)), err
}

// signedBy reports whether a statement was signed with an eID, at the level that
// administration needs, of the person it names.
func signedBy(cert *issue.Certificate, st *register.Statement) bool {
	return cert.Profile == policy.ProfileAuthentication && cert.LoA >= 3 && cert.Person == st.By
}

func inForce(tx *Tx, o *Order, st *register.Statement) (bool, error) {
	if st.By == "" {
		cer, err := tx.Ceremony()
		if err != nil {
			return false, err
		}
		return cer.ClosedAt.IsZero() && (st.Certificate == cer.Officers[0] || st.Certificate == cer.Officers[1]), nil
	}
	cert, err := tx.Certificate(st.Certificate)
	if err != nil || !signedBy(cert, st) {
		return false, err
	}
	if e, revoked, err := tx.Revocations.Revocation(cert.Serial); err != nil || revoked && e.Reason == ca.KeyCompromise {
		return false, err
	}
	err = register.Role(&tx.Tx, st.By, cert.Organisation, o.Organisation, policy.RoleAdministrator)
	if _, refused := errors.AsType[*policy.Refusal](err); refused {
		return false, nil
	}
	return err == nil, err
}
