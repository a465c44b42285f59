package privacy

import (
	"context"
	"errors"
	"time"

	"sigill/internal/audit"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// Service tells and erases. It is safe for concurrent use.
type Service struct {
	Store    Store
	Register *register.Service
	Now      func() time.Time
}

// maxEvents bounds an export: more of them are told by More.
const maxEvents = 10_000

const eventPage = 500

// Export is everything that is held about a person.
type Export struct {
	Person      *register.Person
	Assignments []*register.Assignment
	Roles       []register.Grant
	Cards       []Card
	// Events are those about the person or by him that have personal values, or tell
	// that he logged in or was refused, newest first. What an event says of somebody
	// else is left out.
	Events []Told
	More   bool // there are older events than were told
}

// Card is a card of the person with all that belongs to it. What retention has erased
// is there without its contents.
type Card struct {
	*register.Card
	Certificates []Certificate
	Orders       []*orders.Order
	Downloads    []*download.Download
}

// Certificate is a certificate and what its holder signed with it here.
type Certificate struct {
	*issue.Certificate
	Revoked time.Time // zero: it was not
	Signed  []*register.Statement
}

// Export returns what is held about a person to an administrator of org, which must be
// the organisation of every assignment of the person or one above it. That it was
// asked for stands in the log before anybody is answered.
func (s *Service) Export(ctx context.Context, c register.Caller, org policy.OrganisationID, person policy.PersonID) (*Export, error) {
	var out *Export
	err := s.Store.View(ctx, func(tx *Tx) (err error) {
		out, err = gather(tx, c, org, person)
		return err
	})
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) error {
			if _, err := may(tx, c, org, person); err != nil {
				return err
			}
			return tx.Events.Append(issue.NewEvent(audit.PersonExported, s.Now(), c.Name(), issue.F("person", string(person)),
				issue.F("organisation", string(org))))
		})
	}
	if err = s.keep(ctx, err, c, org, person); err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) keep(ctx context.Context, err error, c register.Caller, org policy.OrganisationID, person policy.PersonID) error {
	return s.Register.Keep(ctx, err, c.Name(), issue.F("organisation", string(org)), issue.F("person", string(person)))
}

// may decides whether the caller is told of a person, and returns the person. Who has
// no right, who is not there, who is protected and who is employed elsewhere too are
// one answer.
func may(tx *Tx, c register.Caller, org policy.OrganisationID, id policy.PersonID) (*register.Person, error) {
	if c.Officer > 0 {
		return nil, policy.Refuse(policy.CeremonyScope, "officers found one organisation and equip its first administrators").Err()
	}
	if err := register.Administrator(tx.register(), c, org); err != nil {
		return nil, err
	}
	nobody := policy.Refuse(policy.RoleMissing, "no such person here").Err()
	p, err := tx.Person(id)
	if errors.Is(err, issue.ErrNotFound) {
		return nil, nobody
	} else if err != nil {
		return nil, err
	}
	assignments, err := tx.AssignmentsOf(id)
	if err != nil {
		return nil, err
	}
	if p.Protected || len(assignments) == 0 {
		return nil, nobody
	}
	for _, a := range assignments {
		in, err := within(tx, a.Organisation, org)
		if err != nil {
			return nil, err
		}
		if !in {
			return nil, nobody
		}
	}
	return p, nil
}

// within reports whether an organisation is top or stands below it.
func within(tx *Tx, org, top policy.OrganisationID) (bool, error) {
	for depth := 0; org != "" && depth < register.MaxBranchDepth; depth++ {
		if org == top {
			return true, nil
		}
		o, err := tx.Organisation(org)
		if err != nil {
			return false, err
		}
		org = o.Parent
	}
	return false, nil
}

func gather(tx *Tx, c register.Caller, org policy.OrganisationID, id policy.PersonID) (*Export, error) {
	p, err := may(tx, c, org, id)
	if err != nil {
		return nil, err
	}
	out := &Export{Person: p}
	if out.Assignments, err = tx.AssignmentsOf(id); err != nil {
		return nil, err
	}
	if out.Roles, err = tx.AllGrantsOf(id); err != nil {
		return nil, err
	}
	cards, err := tx.CardsOfHolder(id)
	if err != nil {
		return nil, err
	}
	for _, each := range cards {
		held, err := ofCard(tx, each)
		if err != nil {
			return nil, err
		}
		out.Cards = append(out.Cards, held)
	}
	out.Events, out.More, err = events(tx, id)
	for i := range out.Events {
		if e := &out.Events[i]; !e.About && audit.ClassOf(e.Act) != audit.Access {
			e.Personal = nil // he did it, to somebody else
		}
	}
	return out, err
}

func ofCard(tx *Tx, card *register.Card) (Card, error) {
	out := Card{Card: card}
	certificates, err := tx.CertificatesOfCard(card.Number)
	if err != nil {
		return out, err
	}
	for _, cert := range certificates {
		held := Certificate{Certificate: cert}
		if e, revoked, err := tx.Revocations.Revocation(cert.Serial); err != nil {
			return out, err
		} else if revoked {
			held.Revoked = e.At
		}
		if held.Signed, err = tx.StatementsBy(cert.Fingerprint); err != nil {
			return out, err
		}
		out.Certificates = append(out.Certificates, held)
	}
	if out.Orders, err = tx.OrdersOfCard(card.Number); err != nil {
		return out, err
	}
	out.Downloads, err = tx.DownloadsOfCard(card.Number)
	return out, err
}

// events returns the newest events of a person, and whether there are more.
func events(tx *Tx, id policy.PersonID) ([]Told, bool, error) {
	var all []Told
	last := ""
	for len(all) < maxEvents {
		page, err := tx.EventsOf(id, last, eventPage)
		if err != nil {
			return nil, false, err
		}
		all = append(all, page...)
		if len(page) < eventPage {
			return all, false, nil
		}
		last = page[len(page)-1].ID
	}
	return all, true, nil
}
