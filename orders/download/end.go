package download

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// lapsed reports whether a download has stood open too long: fifteen minutes
// with nothing intended, or past the plan's time for pending certificates.
func (s *Service) lapsed(d *Download, items []*Item, now time.Time) bool {
	begun := false
	for _, it := range items {
		begun = begun || it.State != policy.ItemPlanned
	}
	if !begun {
		return !now.Before(d.CreatedAt.Add(lapseAfter))
	}
	return !now.Before(d.CreatedAt.Add(s.PendingTTL))
}

// end closes an open download: open intents are abandoned and released
// certificates revoked, so that nothing of it can come alive any more; the eID
// that was there before is untouched. The card is given and written back if the
// download had armed it.
func (s *Service) end(tx *Tx, card *register.Card, d *Download, items []*Item, state policy.DownloadState, by string) error {
	now := s.now()
	for _, it := range items {
		if err := endItem(tx, it, "download."+string(state), by, now); err != nil {
			return err
		}
	}
	if !d.State.CanMove(state) {
		return fmt.Errorf("download %s is %s: %w", d.ID, d.State, issue.ErrState)
	}
	d.State, d.EndedAt = state, now
	if err := tx.PutDownload(d); err != nil {
		return err
	}
	if card.ArmedFor == d.ID {
		card.ArmedFor = "" // the arming is for one download; this one came to nothing
		if err := tx.PutCard(card); err != nil {
			return err
		}
	}
	act := audit.DownloadAbandoned
	if state == policy.DownloadLapsed {
		act = audit.DownloadLapsed
	}
	return tx.Events.Append(issue.NewEvent(act, now, by, issue.F("download", string(d.ID)),
		issue.F("order", string(d.Order)), issue.F("card", string(d.Card))))
}

func endItem(tx *Tx, it *Item, rule, by string, now time.Time) error {
	switch it.State {
	case policy.ItemIntended:
		in, err := tx.Intent(it.Serial)
		if err != nil {
			return err
		}
		if err := issue.Abandon(tx.issue(), in, rule, now); err != nil {
			return err
		}
		it.State, it.Serial = policy.ItemPlanned, ca.Serial{}
		return tx.PutItem(it)
	case policy.ItemSigned:
		cert, err := tx.Certificate(it.Certificate)
		if err != nil {
			return err
		}
		if _, err := tx.Standing(cert.Fingerprint); errors.Is(err, issue.ErrNotFound) {
			return nil // revoked already
		} else if err != nil {
			return err
		}
		return issue.Retire(tx.issue(), cert, ca.CessationOfOperation, rule, by, now)
	}
	return nil
}

// Abandon gives a download up: by the holder whose card it is, or by an
// administrator of the ordering organisation. The order can be fetched again.
func (s *Service) Abandon(ctx context.Context, c register.Caller, id policy.DownloadID) error {
	err := s.Store.Update(ctx, func(tx *Tx) error {
		d, items, err := s.abandonable(tx, c, id)
		if err != nil {
			return err
		}
		if d.State == policy.DownloadAbandoned {
			return nil
		}
		if d.State != policy.DownloadPlanned {
			return policy.Refuse(policy.DownloadStateRule, "download is %s", d.State).Err()
		}
		card, err := tx.Card(d.Card)
		if err != nil {
			return err
		}
		return s.end(tx, card, d, items, policy.DownloadAbandoned, c.Name())
	})
	return s.keep(ctx, err, c, id)
}

// AbandonOfCard gives up whatever download is open for a card: by an administrator
// of the organisation whose eID it brings, who knows the card and not the
// download, and calls when its holder does not. It returns the download.
func (s *Service) AbandonOfCard(ctx context.Context, c register.Caller, number policy.CardNumber) (policy.DownloadID, error) {
	var id policy.DownloadID
	err := s.Store.Update(ctx, func(tx *Tx) error {
		missing := policy.Refuse(policy.RoleMissing, "no such card").Err()
		card, err := tx.Card(number)
		if errors.Is(err, issue.ErrNotFound) {
			return missing
		} else if err != nil {
			return err
		}
		d, items, err := tx.OpenDownloadOfCard(number)
		if errors.Is(err, issue.ErrNotFound) {
			if register.MayFor(tx.register(), c, card.Organisation) != nil {
				return missing
			}
			return policy.Refuse(policy.DownloadStateRule, "no download of this card is open").Err()
		} else if err != nil {
			return err
		}
		plan, err := planOf(d)
		if err != nil {
			return err
		}
		if register.MayFor(tx.register(), c, plan.Organisation()) != nil {
			return missing
		}
		id = d.ID
		return s.end(tx, card, d, items, policy.DownloadAbandoned, c.Name())
	})
	if err = s.keep(ctx, err, c, "", issue.F("abandoning", string(number))); err != nil {
		return "", err
	}
	return id, nil
}

func (s *Service) abandonable(tx *Tx, c register.Caller, id policy.DownloadID) (*Download, []*Item, error) {
	d, items, err := s.own(tx, c, id)
	if err == nil {
		return d, items, nil
	}
	if d, items, err := tx.Download(id); err == nil {
		if plan, err := planOf(d); err == nil && register.MayFor(tx.register(), c, plan.Organisation()) == nil {
			return d, items, nil
		}
	}
	return nil, nil, err
}

// Withdraw takes an order back; a download of it that is open is abandoned.
func (s *Service) Withdraw(ctx context.Context, c register.Caller, id policy.OrderID) (*orders.Order, error) {
	var o *orders.Order
	err := s.Store.Update(ctx, func(tx *Tx) error {
		var err error
		o, err = tx.Orders.Order(id)
		if errors.Is(err, issue.ErrNotFound) {
			return policy.Refuse(policy.RoleMissing, "no such order").Err()
		} else if err != nil {
			return err
		}
		if err := register.MayFor(tx.register(), c, o.Organisation); err != nil {
			return err
		}
		if o.State == policy.OrderWithdrawn {
			return nil
		}
		if !o.State.CanMove(policy.OrderWithdrawn) {
			return policy.Refuse(policy.OrderStateRule, "order is %s", o.State).Err()
		}
		card, err := tx.Card(o.Card)
		if err != nil {
			return err
		}
		if err := s.endOpen(tx, card, func(d *Download) bool { return d.Order == id }, c.Name()); err != nil {
			return err
		}
		return s.withdraw(tx, o, "order.withdrawn", c.Name())
	})
	return o, s.keep(ctx, err, c, "", issue.F("order", string(id)))
}

func (s *Service) withdraw(tx *Tx, o *orders.Order, rule, by string) error {
	o.State = policy.OrderWithdrawn
	if err := tx.Orders.PutOrder(o); err != nil {
		return err
	}
	return tx.Events.Append(issue.NewEvent(audit.OrderWithdrawn, s.now(), by, issue.F("order", string(o.ID)), issue.F("card", string(o.Card)),
		issue.F("rule", rule)))
}

// endOpen abandons the open download of a card if it is one of those meant.
func (s *Service) endOpen(tx *Tx, card *register.Card, meant func(*Download) bool, by string) error {
	d, items, err := tx.OpenDownloadOfCard(card.Number)
	if errors.Is(err, issue.ErrNotFound) || err == nil && !meant(d) {
		return nil
	} else if err != nil {
		return err
	}
	return s.end(tx, card, d, items, policy.DownloadAbandoned, by)
}

// ending is what ends on a card: everything, or what is an organisation's.
type ending struct {
	organisation policy.OrganisationID // empty: all
	reason       ca.Reason
	rule         string
	by           string
}

// endOnCard ends, in the caller's transaction, all that is open or alive on a
// card: the download with its intents and pending certificates, the open orders,
// the standing certificates.
func (s *Service) endOnCard(tx *Tx, card *register.Card, e ending) error {
	meant := func(org policy.OrganisationID) bool { return e.organisation == "" || e.organisation == org }
	open, err := tx.Orders.OpenOrdersOfCard(card.Number)
	if err != nil {
		return err
	}
	ended := map[policy.OrderID]bool{}
	for _, o := range open {
		if meant(o.Organisation) {
			ended[o.ID] = true
		}
	}
	// What stands goes first, the pending too: it is revoked for the reason of
	// this end (the key on a stolen card is a compromised one) and not only
	// because its download ended.
	if err := s.retireOnCard(tx, card, meant, e); err != nil {
		return err
	}
	all := func(d *Download) bool {
		plan, err := planOf(d)
		return e.organisation == "" || err != nil || meant(plan.Organisation())
	}
	if err := s.endOpen(tx, card, all, e.by); err != nil {
		return err
	}
	for _, o := range open {
		if ended[o.ID] {
			if err := s.withdraw(tx, o, e.rule, e.by); err != nil {
				return err
			}
		}
	}
	return nil
}

// retireOnCard revokes what stands on a card and is meant.
func (s *Service) retireOnCard(tx *Tx, card *register.Card, meant func(policy.OrganisationID) bool, e ending) error {
	list, err := tx.StandingsOfCard(card.Number)
	if err != nil {
		return err
	}
	for _, st := range list {
		if !meant(st.Organisation) || (e.organisation != "" && st.Slot == policy.Transport) {
			continue
		}
		cert, err := tx.Certificate(st.Certificate)
		if err != nil {
			return err
		}
		if err := issue.Retire(tx.issue(), cert, e.reason, e.rule, e.by, s.now()); err != nil {
			return err
		}
	}
	return nil
}

// BlockCard takes a report that a card is lost or stolen: from its holder, or
// from an administrator of its owner or of any organisation with an eID on it.
// Report is "lost" or "stolen". The card is blocked and everything on it ends in the same transaction.
func (s *Service) BlockCard(ctx context.Context, c register.Caller, number policy.CardNumber, report string) error {
	err := s.Store.Update(ctx, func(tx *Tx) error {
		card, err := tx.Card(number)
		if errors.Is(err, issue.ErrNotFound) {
			return policy.Refuse(policy.RoleMissing, "no such card").Err()
		} else if err != nil {
			return err
		}
		if err := s.mayBlock(tx, c, card); err != nil {
			return err
		}
		if card.State == policy.CardBlocked {
			return nil
		}
		if !card.State.CanMove(policy.CardBlocked) {
			return policy.Refuse(policy.CardStateRule, "card is %s", card.State).Err()
		}
		if err := s.endOnCard(tx, card, ending{reason: ca.KeyCompromise, rule: "card.blocked", by: c.Name()}); err != nil {
			return err
		}
		card.State, card.ArmedUntil, card.ArmedFor = policy.CardBlocked, time.Time{}, ""
		if err := tx.PutCard(card); err != nil {
			return err
		}
		blocked := issue.NewEvent(audit.CardBlocked, s.now(), c.Name(), issue.F("card", string(number)), issue.F("report", report),
			issue.F("person", string(card.Holder)))
		blocked.ID = audit.EventID(audit.CardBlocked, string(number))
		return tx.Events.Append(blocked)
	})
	return s.keep(ctx, err, c, "", issue.F("blocking", string(number)))
}

func (s *Service) mayBlock(tx *Tx, c register.Caller, card *register.Card) error {
	if c.Person != "" && card.Holder == c.Person {
		return nil
	}
	missing := policy.Refuse(policy.RoleMissing, "no such card").Err()
	if register.MayFor(tx.register(), c, card.Organisation) == nil {
		return nil
	}
	list, err := tx.StandingsOfCard(card.Number)
	if err != nil {
		return err
	}
	for _, st := range list {
		if register.MayFor(tx.register(), c, st.Organisation) == nil {
			return nil
		}
	}
	return missing
}

// EndAssignment ends a person's assignment in an organisation now, and with it
// the orders, downloads and eIDs that hang on it, on every card of the person.
func (s *Service) EndAssignment(ctx context.Context, c register.Caller, person policy.PersonID, org policy.OrganisationID) error {
	err := s.Store.Update(ctx, func(tx *Tx) error {
		if err := register.MayFor(tx.register(), c, org); err != nil {
			return err
		}
		a, err := tx.Assignment(person, org)
		if errors.Is(err, issue.ErrNotFound) {
			return policy.Refuse(policy.OrderAssignment, "no assignment in the organisation").Err()
		} else if err != nil {
			return err
		}
		now := s.now()
		changed := issue.NewEvent(audit.AssignmentChanged, now, c.Name(), issue.F("person", string(person)),
			issue.F("organisation", string(org)), issue.F("ended", "yes"))
		if a.EndsAt.IsZero() || now.Before(a.EndsAt) {
			a.EndsAt, a.UpdatedAt = now, now
			if err := tx.PutAssignment(a); err != nil {
				return err
			}
			changed.ID = assignmentEnded(a)
		}
		if err := register.EndRoles(tx.register(), person, org, c.Name(), now); err != nil {
			return err
		}
		e := ending{organisation: org, reason: ca.AffiliationChanged, rule: ruleAssignmentEnded, by: c.Name()}
		if err := s.endOnCards(tx, person, e); err != nil {
			return err
		}
		return tx.Events.Append(changed)
	})
	return s.keep(ctx, err, c, "", issue.F("person", string(person)))
}

func (s *Service) endOnCards(tx *Tx, person policy.PersonID, e ending) error {
	cards, err := tx.CardsOfHolder(person)
	if err != nil {
		return err
	}
	for _, card := range cards {
		if err := s.endOnCard(tx, card, e); err != nil {
			return err
		}
	}
	return nil
}

// RevokePerson revokes every eID of a person in an organisation and ends what is
// open for them there, without ending the assignment.
func (s *Service) RevokePerson(ctx context.Context, c register.Caller, person policy.PersonID, org policy.OrganisationID, reason ca.Reason) error {
	err := s.Store.Update(ctx, func(tx *Tx) error {
		if err := reasonOfPeople(reason); err != nil {
			return err
		}
		if err := register.MayFor(tx.register(), c, org); err != nil {
			return err
		}
		return s.endOnCards(tx, person, ending{organisation: org, reason: reason, rule: rulePersonRevoked, by: c.Name()})
	})
	return s.keep(ctx, err, c, "", issue.F("person", string(person)))
}
