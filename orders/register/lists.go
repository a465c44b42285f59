package register

import (
	"context"
	"errors"

	"sigill/orders/issue"
	"sigill/policy"
)

// MaxPage is the longest page of a list.
const MaxPage = 200

// Page bounds a page size.
func Page(limit int) int {
	if limit <= 0 || limit > MaxPage {
		return MaxPage
	}
	return limit
}

// Profile of a caller: what the person may do where.
type Profile struct {
	Caller Caller
	Person *Person // nil for an officer, or a card without holder
	Grants []Grant
}

// WhoAmI tells a caller who he is to the system.
func (s *Service) WhoAmI(ctx context.Context, c Caller) (*Profile, error) {
	p := &Profile{Caller: c}
	err := s.Store.View(ctx, func(tx *Tx) error {
		if c.Person == "" {
			return nil
		}
		var err error
		if p.Person, err = tx.Person(c.Person); err != nil {
			return err
		}
		p.Grants, err = tx.GrantsOf(c.Person)
		return err
	})
	return p, err
}

// Card returns a card to one who administers its organisation, or whose it is.
// For everybody else it does not exist.
func (s *Service) Card(ctx context.Context, c Caller, number policy.CardNumber) (*Card, error) {
	var card *Card
	err := s.Store.View(ctx, func(tx *Tx) error {
		var err error
		card, err = tx.Card(number)
		if errors.Is(err, issue.ErrNotFound) {
			return policy.Refuse(policy.RoleMissing, "no such card").Err()
		} else if err != nil {
			return err
		}
		if c.Person != "" && card.Holder == c.Person {
			return nil
		}
		return MayFor(tx, c, card.Organisation)
	})
	if err != nil {
		card = nil
	}
	return card, s.Keep(ctx, err, c.Name(), issue.F("card", string(number)))
}

// ListCards returns a page of an organisation's cards, by number.
func (s *Service) ListCards(ctx context.Context, c Caller, org policy.OrganisationID, after policy.CardNumber, limit int) ([]*Card, error) {
	var list []*Card
	err := s.Store.View(ctx, func(tx *Tx) error {
		if err := MayFor(tx, c, org); err != nil {
			return err
		}
		var err error
		list, err = tx.ListCards(org, after, Page(limit))
		return err
	})
	return list, s.Keep(ctx, err, c.Name(), issue.F("organisation", string(org)))
}

// Employee is a person with the assignment in one organisation.
type Employee struct {
	*Person
	Assignment *Assignment
}

// Search returns a page of an organisation's persons whose folded name, HSA-id or
// number begins with prefix, by HSA-id. Persons with protected identity are left
// out: that needs a right of its own. A page is short only if it is the last one:
// what is missing from one would tell that there is somebody, and between which
// HSA-ids.
func (s *Service) Search(ctx context.Context, c Caller, org policy.OrganisationID, prefix string, after policy.HSAID, limit int) ([]Employee, error) {
	var list []Employee
	err := s.Store.View(ctx, func(tx *Tx) error {
		if err := MayFor(tx, c, org); err != nil {
			return err
		}
		var err error
		list, err = search(tx, org, prefix, after, Page(limit))
		return err
	})
	return list, s.Keep(ctx, err, c.Name(), issue.F("organisation", string(org)))
}

// search fills a page of size persons.
func search(tx *Tx, org policy.OrganisationID, prefix string, after policy.HSAID, size int) ([]Employee, error) {
	var list []Employee
	for {
		found, err := tx.SearchPeople(org, prefix, after, size)
		if err != nil {
			return nil, err
		}
		for _, a := range found {
			p, err := tx.Person(a.Person)
			if err != nil {
				return nil, err
			}
			if !p.Protected {
				list = append(list, Employee{Person: p, Assignment: a})
			}
			if len(list) == size {
				return list, nil
			}
			after = a.HSAID
		}
		if len(found) < size {
			return list, nil
		}
	}
}
