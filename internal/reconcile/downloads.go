package reconcile

import (
	"errors"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/policy"
	"sigill/revocation"
)

// endOrder ends an order that was ended, if it is here and open.
func endOrder(tx *Tx, id policy.OrderID, state policy.OrderState) error {
	o, err := tx.Orders.Order(id)
	if err != nil {
		return ifThere(err)
	}
	if !o.State.CanMove(state) {
		return nil
	}
	o.State = state
	return tx.Orders.PutOrder(o)
}

// openDownload returns the download of an act if it is here and open; nil otherwise.
func openDownload(tx *Tx, a *told) (*download.Download, []*download.Item, error) {
	d, items, err := tx.Download(policy.DownloadID(a.is("download")))
	if errors.Is(err, issue.ErrNotFound) || err == nil && d.State != policy.DownloadPlanned {
		return nil, nil, nil
	}
	return d, items, err
}

// endDownload ends a download that came to nothing. Its intents and certificates have
// acts of their own; what of them has none is revoked here.
func (r *Reconciler) endDownload(tx *Tx, a *told, state policy.DownloadState) error {
	d, items, err := openDownload(tx, a)
	if err != nil || d == nil {
		return err
	}
	for _, it := range items {
		if err := r.endItem(tx, it); err != nil {
			return err
		}
	}
	return closeDownload(tx, d, state, a)
}

func closeDownload(tx *Tx, d *download.Download, state policy.DownloadState, a *told) error {
	d.State, d.EndedAt = state, a.At
	if err := tx.PutDownload(d); err != nil {
		return err
	}
	if state == policy.DownloadInstalled {
		return disarm(tx, d.Card)
	}
	card, err := tx.Card(d.Card)
	if err != nil {
		return ifThere(err)
	}
	if card.ArmedFor != d.ID {
		return nil
	}
	card.ArmedFor = ""
	return tx.PutCard(card)
}

// disarm: an arming is for one download that comes to something.
func disarm(tx *Tx, number policy.CardNumber) error {
	card, err := tx.Card(number)
	if err != nil {
		return ifThere(err)
	}
	if card.ArmedUntil.IsZero() && card.ArmedFor == "" {
		return nil
	}
	card.ArmedUntil, card.ArmedFor = time.Time{}, ""
	return tx.PutCard(card)
}

func (r *Reconciler) endItem(tx *Tx, it *download.Item) error {
	if it.State != policy.ItemIntended && it.State != policy.ItemSigned {
		return nil
	}
	in, err := tx.Intent(it.Serial)
	if err != nil {
		return ifThere(err)
	}
	now := micro(r.Now())
	act := audit.CertificateRevoked
	if in.State == issue.IntentOpen {
		act = audit.IntentAbandoned
		if err := tx.SettleIntent(in.Serial, in.Owner, issue.IntentAbandoned, now); err != nil {
			return err
		}
	}
	if it.State == policy.ItemIntended {
		if err := replan(tx, in); err != nil {
			return err
		}
	}
	if err := unstand(tx, in.Serial); err != nil {
		return err
	}
	of := revocation.Entry{Serial: in.Serial, Issuer: in.Issuer, Partition: in.Partition, NotAfter: in.NotAfter}
	revoked, err := retell(tx, of, r.story.ended[in.Serial])
	if err != nil || revoked {
		return err
	}
	of.At, of.Reason, of.Rule = now, ca.CessationOfOperation, RuleLost
	return appendRevocation(tx, of, act, in.Binding, now)
}

// confirmed: the holder has proved that he has what was signed. Where all of that is here
// it comes to stand; where some is lost, and so revoked, the download came to nothing and
// its order is at its end: another one takes people.
func (r *Reconciler) confirmed(tx *Tx, a *told) error {
	d, items, err := openDownload(tx, a)
	if err != nil {
		return err
	}
	order := policy.OrderID(a.is("order"))
	if d == nil {
		return r.confirmedUnknown(tx, a, order)
	}
	whole, err := r.whole(tx, items)
	if err != nil {
		return err
	}
	if !whole {
		if err := r.endDownload(tx, a, policy.DownloadAbandoned); err != nil || order == "" {
			return err
		}
		return endOrder(tx, order, policy.OrderWithdrawn)
	}
	for _, it := range items {
		if err := stand(tx, it, a); err != nil {
			return err
		}
	}
	if err := closeDownload(tx, d, policy.DownloadInstalled, a); err != nil || order == "" {
		return err
	}
	return endOrder(tx, order, policy.OrderInstalled)
}

// confirmedUnknown: the whole download is lost, and its order may be here.
func (r *Reconciler) confirmedUnknown(tx *Tx, a *told, order policy.OrderID) error {
	if err := disarm(tx, policy.CardNumber(a.is("card"))); err != nil || order == "" {
		return err
	}
	if _, _, err := tx.Download(policy.DownloadID(a.is("download"))); !errors.Is(err, issue.ErrNotFound) {
		return err // ended here since the restore
	}
	return endOrder(tx, order, policy.OrderWithdrawn)
}

// whole reports whether all certificates of a download are here, and none is revoked now
// or by what was told.
func (r *Reconciler) whole(tx *Tx, items []*download.Item) (bool, error) {
	for _, it := range items {
		if it.State != policy.ItemSigned {
			return false, nil
		}
		if _, revoked, err := tx.Revocations.Revocation(it.Serial); err != nil || revoked {
			return false, err
		}
		if st, err := tx.Standing(it.Certificate); errors.Is(err, issue.ErrNotFound) || err == nil && st.Kind != issue.Pending {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return len(items) > 0, nil
}

// stand lets a pending certificate take the place of what was there, which acts of its
// own revoke.
func stand(tx *Tx, it *download.Item, a *told) error {
	st, err := tx.Standing(it.Certificate)
	if err != nil {
		return err
	}
	all, err := tx.StandingsOfCard(st.Card)
	if err != nil {
		return err
	}
	for _, old := range all {
		if old.Place == st.Place {
			if err := tx.DropStanding(old.Certificate); err != nil {
				return err
			}
		}
	}
	st.Kind, st.Since = issue.Current, a.At
	if err := tx.PutStanding(*st); err != nil {
		return err
	}
	it.State = policy.ItemInstalled
	return tx.PutItem(it)
}
