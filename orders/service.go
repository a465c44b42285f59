package orders

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// Store runs transactions over a Tx; the contract is that of
// orders/download.Store.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}

// Kind is what an issuing CA issues for.
type Kind struct {
	IDKind policy.IDKind
	LoA    policy.LoA
}

// Service places, approves and withdraws orders. It is safe for concurrent use.
type Service struct {
	Store    Store
	Register *register.Service
	Issuers  issue.Issuers
	// For names the issuing CA of each identifier kind and level.
	For map[Kind]ca.IssuerID
	// OIDs are the certificate policies of each routine.
	OIDs policy.OIDs
	// Validity is the longest life of a certificate; card, assignment and
	// issuing CA shorten it.
	Validity time.Duration
	// Open is how long an order may wait to be fetched.
	Open time.Duration
	Now  func() time.Time
}

// Request is what an administrator asks for. One of Number and HSAID names the
// person.
type Request struct {
	Type         policy.OrderType
	Organisation policy.OrganisationID
	Number       policy.PersonNumber
	HSAID        policy.HSAID
	Card         policy.CardNumber
	IDKind       policy.IDKind
	LoA          policy.LoA
	NotAfter     time.Time // zero: as long as allowed
}

// Preview returns the document that the administrator is to sign: the request
// with the content frozen from the directory. It writes nothing.
func (s *Service) Preview(ctx context.Context, c register.Caller, r Request) (Document, error) {
	var d Document
	err := s.Store.View(ctx, func(tx *Tx) error {
		if err := s.mayOrder(tx, c, r.Organisation); err != nil {
			return err
		}
		person, err := findPerson(tx, r)
		if err != nil {
			return err
		}
		d = Document{Version: 1, Salt: policy.NewSalt(), Order: policy.OrderID(policy.NewID("ord")), Type: r.Type, Organisation: r.Organisation,
			Person: person, Card: r.Card, IDKind: r.IDKind, LoA: r.LoA, NotAfter: r.NotAfter,
			ExpiresAt: s.Now().Add(s.Open).UTC().Truncate(time.Second)}
		facts, err := s.complete(tx, c, &d)
		if err != nil {
			return err
		}
		return policy.PlaceOrder(facts).Err()
	})
	return d, s.Register.Keep(ctx, err, c.Name(), issue.F("card", string(r.Card)))
}

// mayOrder: an administrator of the organisation, or an officer for what he
// founded.
func (s *Service) mayOrder(tx *Tx, c register.Caller, org policy.OrganisationID) error {
	return register.MayFor(&tx.Tx, c, org)
}

func findPerson(tx *Tx, r Request) (policy.PersonID, error) {
	wrong := policy.Refuse(policy.OrderHolder, "card number and person do not go together").Err()
	if r.HSAID != "" {
		a, err := tx.AssignmentByHSAID(r.HSAID)
		if errors.Is(err, issue.ErrNotFound) || err == nil && a.Organisation != r.Organisation {
			return "", wrong
		} else if err != nil {
			return "", err
		}
		return a.Person, nil
	}
	p, err := tx.PersonByNumber(r.Number)
	if errors.Is(err, issue.ErrNotFound) {
		return "", wrong
	} else if err != nil {
		return "", err
	}
	return p.ID, nil
}

// complete fills in what is derived (issuer, identity, content, notAfter) and
// returns the facts that policy decides on.
func (s *Service) complete(tx *Tx, c register.Caller, d *Document) (policy.OrderFacts, error) {
	now := s.Now()
	f := policy.OrderFacts{Now: now, Type: d.Type, IDKind: d.IDKind, LoA: d.LoA}
	card, err := tx.Card(d.Card)
	if errors.Is(err, issue.ErrNotFound) {
		return f, nil // HolderAgree stays false: one answer for all else
	} else if err != nil {
		return f, err
	}
	f.CardKind, f.CardState, f.CardExpires = card.Kind, card.State, card.ExpiresAt
	f.OwnCard, f.HolderAgree = card.Organisation == d.Organisation, card.Holder != "" && card.Holder == d.Person
	f.Identity = card.Identity
	if !f.HolderAgree {
		return f, nil
	}
	person, err := tx.Person(d.Person)
	if err != nil {
		return f, err
	}
	f.NumberKind, f.Born = person.NumberKind, person.Number.Born()
	f.CallerIsPerson = c.Person == d.Person
	if f.HasCurrent, err = hasCurrent(tx, d); err != nil {
		return f, err
	}
	if f.OpenSame, err = openSame(tx, d); err != nil {
		return f, err
	}
	if f.EIDs, err = eidsWith(tx, d); err != nil {
		return f, err
	}
	f.MaxEIDs = s.Register.Products[card.Product].EIDs()
	a, err := tx.Assignment(d.Person, d.Organisation)
	if errors.Is(err, issue.ErrNotFound) {
		return f, nil // Assigned stays false
	} else if err != nil {
		return f, err
	}
	f.Assigned, f.Ends = true, a.EndsAt
	return f, s.derive(tx, d, card, person, a, &f)
}

// derive sets the members of d that the register decides.
func (s *Service) derive(tx *Tx, d *Document, card *register.Card, person *register.Person, a *register.Assignment, f *policy.OrderFacts) error {
	id, ok := s.For[Kind{d.IDKind, d.LoA}]
	if !ok {
		return policy.Refuse(policy.OrderTypeRule, "no issuing CA for %s at level %d", d.IDKind, d.LoA).Err()
	}
	issuer, err := s.Issuers.Issuer(id)
	if err != nil {
		return err
	}
	d.Issuer = id
	if f.OwnCard { // an organisation vouches for what it has seen itself
		d.Identity = card.Identity
	}
	f.IssuerNotAfter = issuer.Certificate().NotAfter
	if longest := f.Now.Add(s.Validity); longest.Before(f.IssuerNotAfter) {
		f.IssuerNotAfter = longest
	}
	if d.NotAfter.IsZero() {
		d.NotAfter = f.Now.Add(s.Validity)
		for _, limit := range []time.Time{card.ExpiresAt, a.EndsAt, f.IssuerNotAfter} {
			if !limit.IsZero() && limit.Before(d.NotAfter) {
				d.NotAfter = limit
			}
		}
	}
	d.NotAfter = d.NotAfter.UTC().Truncate(time.Second)
	f.NotAfter = d.NotAfter
	d.Content, err = s.content(tx, d, card, person, a)
	return err
}

// content is what the directory says now.
func (s *Service) content(tx *Tx, d *Document, card *register.Card, person *register.Person, a *register.Assignment) (ca.Content, error) {
	org, err := tx.Organisation(d.Organisation)
	if err != nil {
		return ca.Content{}, err
	}
	oids, ok := s.OIDs[policy.Routine(card.Kind, d.Type, d.LoA)]
	if !ok {
		return ca.Content{}, fmt.Errorf("no policy OID is configured for %s", policy.Routine(card.Kind, d.Type, d.LoA))
	}
	return policy.ContentOf(policy.ContentFacts{Country: "SE", Organisation: org.Name, GivenName: person.GivenName,
		Surname: person.Surname, HSAID: a.HSAID, Number: person.Number, Email: a.Email, UPN: a.UPN, SID: a.SID,
		Card: card.Number, Type: d.Type, IDKind: d.IDKind, LoA: d.LoA}, oids), nil
}

// ContentNow returns what the directory says now of an ordered certificate, and
// whether the person has an assignment at now. Package download compares.
func (s *Service) ContentNow(tx *Tx, d *Document, card *register.Card, now time.Time) (content ca.Content, assigned bool, err error) {
	a, err := tx.Assignment(d.Person, d.Organisation)
	if errors.Is(err, issue.ErrNotFound) || err == nil && !a.EndsAt.IsZero() && !now.Before(a.EndsAt) {
		return ca.Content{}, false, nil
	} else if err != nil {
		return ca.Content{}, false, err
	}
	person, err := tx.Person(d.Person)
	if err != nil {
		return ca.Content{}, false, err
	}
	content, err = s.content(tx, d, card, person, a)
	return content, true, err
}

func hasCurrent(tx *Tx, d *Document) (bool, error) {
	standings, err := tx.StandingsOfCard(d.Card)
	if err != nil {
		return false, err
	}
	for _, st := range standings {
		if st.Kind == issue.Current && st.Slot == policy.Authentication && st.Organisation == d.Organisation && st.IDKind == d.IDKind {
			return true, nil
		}
	}
	return false, nil
}

// eidsWith counts the eIDs that a card would carry with what is ordered.
func eidsWith(tx *Tx, d *Document) (int, error) {
	type place struct {
		organisation policy.OrganisationID
		kind         policy.IDKind
	}
	places := map[place]bool{{d.Organisation, d.IDKind}: true}
	standings, err := tx.StandingsOfCard(d.Card)
	if err != nil {
		return 0, err
	}
	for _, st := range standings {
		if st.Slot == policy.Authentication {
			places[place{st.Organisation, st.IDKind}] = true
		}
	}
	open, err := tx.Orders.OpenOrdersOfCard(d.Card)
	if err != nil {
		return 0, err
	}
	for _, o := range open {
		places[place{o.Organisation, o.IDKind}] = true
	}
	return len(places), nil
}

func openSame(tx *Tx, d *Document) (bool, error) {
	open, err := tx.Orders.OpenOrdersOfCard(d.Card)
	if err != nil {
		return false, err
	}
	for _, o := range open {
		if o.Organisation == d.Organisation && o.Type == d.Type && o.IDKind == d.IDKind && o.ID != d.Order {
			return true, nil
		}
	}
	return false, nil
}
