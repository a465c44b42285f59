package download

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// holds reads again everything that may have changed since the plan and refuses
// if something no longer holds. Up to record it also compares the directory,
// the log-in and the approvals.
func (s *Service) holds(tx *Tx, d *Download, upToRecord bool) error {
	now := s.now()
	card, err := tx.Card(d.Card)
	if err != nil {
		return err
	}
	plan, err := planOf(d)
	if err != nil {
		return err
	}
	o, err := tx.Orders.Order(plan.Order)
	if err != nil {
		return err
	}
	login, err := tx.Certificate(d.Login)
	if err != nil {
		return err
	}
	f := policy.HoldFacts{Now: now, CardState: card.State, CardExpires: card.ExpiresAt, SameHolder: card.Holder == d.Holder,
		OrderState: o.State, OrderExpires: o.ExpiresAt, SameOrder: fmt.Sprintf("%x", register.HashOf(o.Bytes)) == plan.OrderHash,
		UpToRecord: upToRecord, Own: plan.EID != ""}
	if f.EIDStands, err = stands(tx, login, policy.Authentication); err != nil {
		return err
	}
	if _, f.LoginRevoked, err = tx.Revocations.Revocation(login.Serial); err != nil {
		return err
	}
	if upToRecord {
		if err := s.holdsUpToRecord(tx, d, plan, card, o, login, &f); err != nil {
			return err
		}
	}
	return policy.StillHolds(f).Err()
}

// stands reports whether a certificate stands as current in a slot.
func stands(tx *Tx, cert *issue.Certificate, slot policy.Slot) (bool, error) {
	st, err := tx.Standing(cert.Fingerprint)
	if errors.Is(err, issue.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return st.Kind == issue.Current && st.Slot == slot, nil
}

func (s *Service) holdsUpToRecord(tx *Tx, d *Download, plan policy.Plan, card *register.Card, o *orders.Order, login *issue.Certificate, f *policy.HoldFacts) error {
	f.LoginStands = f.EIDStands
	if login.Profile == policy.ProfileTransport {
		current, err := stands(tx, login, policy.Transport)
		if err != nil {
			return err
		}
		f.LoginStands = current && card.ArmedFor == d.ID && f.Now.Before(card.ArmedUntil)
	}
	doc, err := o.Signed()
	if err != nil {
		return err
	}
	content, assigned, err := s.Orders.ContentNow(&tx.Tx, &doc, card, f.Now)
	if err != nil {
		return err
	}
	f.Assigned = assigned
	if assigned {
		f.ContentField = policy.DifferentField(doc.Content, content)
	}
	if _, f.AddsSigning = plan.Addition(policy.Signing); f.AddsSigning {
		if f.SigningAllowed, err = signingAllowed(tx, doc.Organisation); err != nil {
			return err
		}
	}
	count, loa := orders.Signatures, login.LoA
	if f.Own {
		count, loa = orders.SignaturesMade, doc.LoA
	}
	signatures, err := count(&tx.Tx, o)
	if err != nil {
		return err
	}
	f.Signatures, f.Required = len(signatures), policy.RequiredSignatures(doc.Type, doc.LoA, loa)
	return nil
}

// Evidence is what confirms a download: the plan that was carried out, and the
// certificates as they were read back from the card.
type Evidence struct {
	PlanHash [32]byte
	ReadBack map[policy.Slot]ca.Fingerprint
}

// Confirm makes the new certificate current, revokes the replaced ones as
// superseded and installs the order: one fact. The caller has logged in with the
// new authentication certificate in a full handshake, which proves that it lives
// on the card. Confirming again changes nothing and gives the same answer.
func (s *Service) Confirm(ctx context.Context, c register.Caller, id policy.DownloadID, ev Evidence) (*State, error) {
	var st *State
	err := s.Store.Update(context.WithoutCancel(ctx), func(tx *Tx) error {
		d, items, err := s.own(tx, c, id)
		if err != nil {
			return err
		}
		if ev.PlanHash != d.PlanHash {
			return policy.Refuse(policy.DownloadPlan, "another plan was approved").Err()
		}
		if err := evidence(c, d, items, ev); err != nil {
			return err
		}
		if d.State == policy.DownloadPlanned {
			if err := s.confirm(tx, c, d, items); err != nil {
				return err
			}
		} else if d.State != policy.DownloadInstalled {
			return policy.Refuse(policy.DownloadStateRule, "download is %s", d.State).Err()
		}
		st, err = s.state(tx, d, items)
		return err
	})
	return st, s.keep(ctx, err, c, id)
}

// evidence: every item was read back as it was released, and the log-in is the
// new authentication certificate; where only a signing certificate is new, the
// one of its eID, which began the download. The signing key itself is never asked
// for more than its request: a key for signatures that bind signs no protocol.
func evidence(c register.Caller, d *Download, items []*Item, ev Evidence) error {
	if len(ev.ReadBack) != len(items) {
		return policy.Refuse(policy.DownloadEvidence, "%d certificates read back, %d planned", len(ev.ReadBack), len(items)).Err()
	}
	confirms := d.Login
	for _, it := range items {
		if it.State != policy.ItemSigned && it.State != policy.ItemInstalled {
			return policy.Refuse(policy.DownloadStateRule, "the %s certificate is %s", it.Slot, it.State).Err()
		}
		if got, ok := ev.ReadBack[it.Slot]; !ok || got != it.Certificate {
			return policy.Refuse(policy.DownloadEvidence, "the %s certificate read back is not the one released", it.Slot).Err()
		}
		if it.Slot == policy.Authentication {
			confirms = it.Certificate
		}
	}
	if c.Certificate != confirms {
		return policy.Refuse(policy.DownloadEvidence, "confirmed with another certificate than the new one").Err()
	}
	return nil
}

func (s *Service) confirm(tx *Tx, c register.Caller, d *Download, items []*Item) error {
	now := s.now()
	if err := s.holds(tx, d, false); err != nil {
		return err
	}
	plan, err := planOf(d)
	if err != nil {
		return err
	}
	if !now.Before(plan.PendingUntil) {
		return policy.Refuse(policy.DownloadStateRule, "confirmed too late").Err()
	}
	for _, r := range plan.Removes {
		if err := supersede(tx, r, c.Name(), now); err != nil {
			return err
		}
	}
	for _, it := range items {
		if err := install(tx, it, now); err != nil {
			return err
		}
	}
	if d.Order != "" {
		o, err := tx.Orders.Order(d.Order)
		if err != nil {
			return err
		}
		o.State = policy.OrderInstalled
		if err := tx.Orders.PutOrder(o); err != nil {
			return err
		}
	}
	d.State, d.EndedAt = policy.DownloadInstalled, now
	if err := tx.PutDownload(d); err != nil {
		return err
	}
	if err := disarm(tx, d); err != nil {
		return err
	}
	if err := tx.Events.Append(confirmed(d, c)); err != nil {
		return err
	}
	return register.CloseCeremony(tx.register(), now)
}

// confirmed is the event of a download that came to its end: its order is installed.
func confirmed(d *Download, c register.Caller) audit.Event {
	e := issue.NewEvent(audit.DownloadConfirmed, d.EndedAt, c.Name(), issue.F("download", string(d.ID)), issue.F("order", string(d.Order)),
		issue.F("card", string(d.Card)), issue.F("plan", hex.EncodeToString(d.PlanHash[:])), issue.F("certificate", c.Certificate.String()))
	e.ID = audit.EventID(audit.DownloadConfirmed, string(d.ID))
	return e
}

// supersede revokes a replaced certificate. One that was revoked meanwhile for
// another reason stays as it is.
func supersede(tx *Tx, r policy.Removal, by string, now time.Time) error {
	fp, err := ca.ParseFingerprint(r.Fingerprint)
	if err != nil {
		return err
	}
	cert, err := tx.Certificate(fp)
	if err != nil {
		return err
	}
	if _, revoked, err := tx.Revocations.Revocation(cert.Serial); err != nil || revoked {
		return err
	}
	return issue.Retire(tx.issue(), cert, ca.Superseded, "confirm.superseded", by, now)
}

// install turns a pending certificate into the current one of its place.
func install(tx *Tx, it *Item, now time.Time) error {
	st, err := tx.Standing(it.Certificate)
	if err != nil {
		return err
	}
	if st.Kind != issue.Pending {
		return fmt.Errorf("certificate %s is %s: %w", it.Certificate, st.Kind, issue.ErrState)
	}
	if err := tx.DropStanding(it.Certificate); err != nil {
		return err
	}
	current := *st
	current.Kind, current.Since = issue.Current, now
	if err := tx.PutStanding(current); err != nil {
		return err
	}
	it.State = policy.ItemInstalled
	return tx.PutItem(it)
}

// disarm ends the arming of a transport certificate after its one download.
func disarm(tx *Tx, d *Download) error {
	card, err := tx.Card(d.Card)
	if err != nil {
		return err
	}
	if card.ArmedUntil.IsZero() && card.ArmedFor == "" {
		return nil
	}
	card.ArmedUntil, card.ArmedFor = time.Time{}, ""
	return tx.PutCard(card)
}

// Cleaned records that the client deleted the old objects from the card.
func (s *Service) Cleaned(ctx context.Context, c register.Caller, id policy.DownloadID, removed []ca.Fingerprint) error {
	err := s.Store.Update(ctx, func(tx *Tx) error {
		d, _, err := s.own(tx, c, id)
		if err != nil {
			return err
		}
		if d.State != policy.DownloadInstalled {
			return policy.Refuse(policy.DownloadStateRule, "download is %s", d.State).Err()
		}
		if !d.CleanedAt.IsZero() {
			return nil
		}
		d.CleanedAt = s.now()
		if err := tx.PutDownload(d); err != nil {
			return err
		}
		return tx.Events.Append(issue.NewEvent(audit.DownloadCleaned, d.CleanedAt, c.Name(), issue.F("download", string(id)),
			issue.F("card", string(d.Card)), issue.F("removed", strconv.Itoa(len(removed)))))
	})
	return s.keep(ctx, err, c, id)
}
