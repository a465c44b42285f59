package reconcile

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/tiles"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
)

// takeActs takes acts over, under the indices from first on, with what each of them has
// taken back.
func (r *Reconciler) takeActs(tx *Tx, first int64, acts []told) error {
	if err := atSize(tx, audit.ActTree, first); err != nil {
		return err
	}
	last, err := tx.Log.HeadLink()
	if errors.Is(err, audit.ErrNotFound) {
		last, err = new(audit.Link), nil
	}
	if err != nil {
		return err
	}
	if last.Number != first {
		return fmt.Errorf("the chain ends at %d and its tree at %d", last.Number, first)
	}
	leaves, links, link := make([]tlog.Hash, len(acts)), make([]audit.Link, len(acts)), *last
	for i := range acts {
		if err := place(tx, &acts[i]); err != nil {
			return fmt.Errorf("act %d: %w", first+int64(i), err)
		}
		link = link.Next(acts[i].ID, acts[i].leaf)
		leaves[i], links[i] = acts[i].leaf, link
	}
	if err := tx.Log.AppendLinks(links); err != nil {
		return err
	}
	if _, err := tiles.Append(tx.Trees, audit.ActTree, leaves); err != nil {
		return err
	}
	for i := range acts {
		if err := r.undo(tx, &acts[i]); err != nil {
			return fmt.Errorf("act %d, %s: %w", first+int64(i), acts[i].Act, err)
		}
	}
	return nil
}

// place puts an event in its row, without a number. One that was there when the backup
// was taken is left. What was done anew since the restore, and can be done once, gets
// another name: nobody was told of it under the first one.
func place(tx *Tx, a *told) error {
	leaf, numbered, found, err := tx.Acts.EventLeaf(a.ID)
	switch {
	case err != nil:
		return err
	case numbered:
		return fmt.Errorf("event %s is here under another number: %w", a.ID, ErrOther)
	case found && leaf == a.leaf:
		return nil
	case found:
		if err := rename(tx, a.ID); err != nil {
			return err
		}
	}
	return tx.Acts.InsertEvent(audit.Record{ID: a.ID, At: a.At, Act: a.Act, By: a.By, Body: a.raw, Leaf: a.leaf}, a.Body)
}

func rename(tx *Tx, id string) error {
	raw, err := tx.Acts.EventBody(id)
	if err != nil {
		return err
	}
	body, err := audit.ParseBody(raw)
	if err != nil {
		return err
	}
	record, err := body.Renamed(policy.NewID("evt"))
	if err != nil {
		return err
	}
	return tx.Acts.RenameEvent(id, record)
}

// undo does again what an act has taken back. What an act has given is lost: it takes
// people to give it again.
func (r *Reconciler) undo(tx *Tx, a *told) error {
	switch a.Act {
	case audit.IntentAbandoned, audit.CertificateRevoked, audit.CertificateSuperseded:
		return r.undoCertificate(tx, a)
	case audit.CardHandedOut:
		return r.undoCard(tx, a)
	case audit.CardBlocked:
		return blockCard(tx, policy.CardNumber(a.is("card")))
	case audit.OrderWithdrawn:
		return endOrder(tx, policy.OrderID(a.is("order")), policy.OrderWithdrawn)
	case audit.OrderExpired:
		return endOrder(tx, policy.OrderID(a.is("order")), policy.OrderExpired)
	case audit.DownloadAbandoned:
		return r.endDownload(tx, a, policy.DownloadAbandoned)
	case audit.DownloadLapsed:
		return r.endDownload(tx, a, policy.DownloadLapsed)
	case audit.DownloadConfirmed:
		return r.confirmed(tx, a)
	case audit.RoleEnded:
		err := tx.EndGrant(policy.PersonID(a.is("person")), policy.OrganisationID(a.is("organisation")), policy.Role(a.is("role")), a.At)
		return ifThere(err)
	case audit.AssignmentChanged:
		return endAssignment(tx, a)
	case audit.OrganisationSigning:
		if a.is("allowed") == "yes" {
			return nil
		}
		err := tx.SetSigningAllowed(policy.OrganisationID(a.is("organisation")), false)
		if errors.Is(err, issue.ErrConflict) {
			return nil // it stands so already
		}
		return err
	case audit.CeremonyClosed:
		return closeCeremony(tx, a.At)
	case audit.KeyBlocked:
		err := tx.BlockKey(issue.BlockedKey{Fingerprint: ca.KeyFingerprint(fingerprint(a.is("key"))), Cause: a.is("cause"), By: a.By, At: a.At})
		if errors.Is(err, issue.ErrConflict) {
			return nil
		}
		return err
	}
	return nil
}

// ifThere makes no error of what is not there to be ended.
func ifThere(err error) error {
	if errors.Is(err, issue.ErrNotFound) {
		return nil
	}
	return err
}

// undoCertificate revokes what an act says is revoked, if it is here: it may be there
// already, from a list or from its leaf.
func (r *Reconciler) undoCertificate(tx *Tx, a *told) error {
	serial, err := ca.ParseSerial(a.is("serial"))
	if err != nil {
		return err
	}
	in, err := tx.Intent(serial)
	if err != nil {
		return ifThere(err)
	}
	if in.State == issue.IntentOpen {
		if err := tx.SettleIntent(serial, in.Owner, issue.IntentAbandoned, a.At); err != nil {
			return err
		}
		if err := replan(tx, in); err != nil {
			return err
		}
	}
	if err := unstand(tx, serial); err != nil {
		return err
	}
	of := revocation.Entry{Serial: in.Serial, Issuer: in.Issuer, Partition: in.Partition, NotAfter: in.NotAfter}
	_, err = retell(tx, of, r.story.ended[serial])
	return err
}

// replan takes an intent from the place of its download that waits for it.
func replan(tx *Tx, in *issue.Intent) error {
	if in.Download == "" {
		return nil
	}
	_, items, err := tx.Download(in.Download)
	if err != nil {
		return ifThere(err)
	}
	for _, it := range items {
		if it.Slot == in.Slot && it.State == policy.ItemIntended && it.Serial == in.Serial {
			it.State, it.Serial = policy.ItemPlanned, ca.Serial{}
			return tx.PutItem(it)
		}
	}
	return nil
}

// unstand takes the standing of a certificate away, if it has one.
func unstand(tx *Tx, serial ca.Serial) error {
	c, err := tx.CertificateBySerial(serial)
	if err != nil {
		return ifThere(err)
	}
	if err := tx.DropStanding(c.Fingerprint); !errors.Is(err, issue.ErrConflict) {
		return err
	}
	return nil
}

// undoCard: a card that was handed out has a holder for ever. One that was not here, or
// whose holder is not, is dead: nobody could hand it out again under the same act.
func (r *Reconciler) undoCard(tx *Tx, a *told) error {
	number := policy.CardNumber(a.is("card"))
	card, err := tx.Card(number)
	if errors.Is(err, issue.ErrNotFound) {
		return r.insertBlocked(tx, number)
	} else if err != nil {
		return err
	}
	if card.State != policy.CardSent {
		return nil
	}
	holder := policy.PersonID(a.is("person"))
	if _, err := tx.Person(holder); errors.Is(err, issue.ErrNotFound) {
		return blockCard(tx, number)
	} else if err != nil {
		return err
	}
	card.State, card.Holder, card.Identity = policy.CardActive, holder, a.is("identity")
	return tx.PutCard(card)
}

// insertBlocked writes a card that is known from its acts alone.
func (r *Reconciler) insertBlocked(tx *Tx, number policy.CardNumber) error {
	sent := r.story.owners[number]
	if sent == nil {
		return nil
	}
	expires, err := time.Parse(time.DateOnly, sent.is("expires"))
	if err != nil {
		expires = sent.At
	}
	owner := policy.OrganisationID(sent.is("organisation"))
	if _, err := tx.Organisation(owner); err != nil {
		return ifThere(err) // an organisation that is lost: the card is nobody's
	}
	return tx.InsertCard(&register.Card{Number: number, Product: sent.is("product"), Kind: policy.CardKind(sent.is("kind")), Organisation: owner,
		State: policy.CardBlocked, ExpiresAt: expires})
}

func blockCard(tx *Tx, number policy.CardNumber) error {
	card, err := tx.Card(number)
	if err != nil {
		return ifThere(err)
	}
	if !card.State.CanMove(policy.CardBlocked) {
		return nil
	}
	card.State, card.ArmedUntil, card.ArmedFor = policy.CardBlocked, time.Time{}, ""
	return tx.PutCard(card)
}

func endAssignment(tx *Tx, a *told) error {
	if a.is("ended") != "yes" {
		return nil
	}
	as, err := tx.Assignment(policy.PersonID(a.is("person")), policy.OrganisationID(a.is("organisation")))
	if err != nil {
		return ifThere(err)
	}
	if !as.EndsAt.IsZero() && !a.At.Before(as.EndsAt) {
		return nil
	}
	as.EndsAt, as.UpdatedAt = a.At, a.At
	return tx.PutAssignment(as)
}

func closeCeremony(tx *Tx, at time.Time) error {
	c, err := tx.Ceremony()
	if err != nil {
		return ifThere(err)
	}
	if !c.ClosedAt.IsZero() {
		return nil
	}
	c.ClosedAt = at
	return tx.PutCeremony(c)
}
