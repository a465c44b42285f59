package cardclient

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"

	"sigill/ca"
	"sigill/internal/wire"
	"sigill/policy"
)

// cause is why a download is begun: an order, or the holder's own wish for a
// signing certificate.
type cause struct {
	order   string
	signing bool
}

// causeOf is the cause of a download that is open.
func causeOf(d *wire.Download) cause { return cause{order: d.Order, signing: d.Order == ""} }

// checkPlan verifies that the plan is what its hash says and is for this card,
// cause and download: what is shown is what is executed.
func (r *run) checkPlan(ctx context.Context, why cause) error {
	d := r.download
	if d.State != string(policy.DownloadPlanned) && d.State != string(policy.DownloadInstalled) {
		return fmt.Errorf("%w: download %s is %s", ErrPlan, d.ID, d.State)
	}
	r.hash = sha256.Sum256(d.Plan)
	if hex.EncodeToString(r.hash[:]) != d.PlanHash {
		return fmt.Errorf("%w: its hash is another", ErrPlan)
	}
	var err error
	if r.plan, err = policy.ParsePlan(d.Plan); err != nil {
		return fmt.Errorf("%w: %w", ErrPlan, err)
	}
	p := r.plan
	switch {
	case string(p.Download) != d.ID || d.Order != why.order:
		return fmt.Errorf("%w: it is for another download or order", ErrPlan)
	case string(p.Card) != r.me.Card:
		return fmt.Errorf("%w: it is for another card", ErrPlan)
	case len(p.Adds) == 0 || len(p.Adds) != len(d.Items):
		return fmt.Errorf("%w: it adds %d certificates, the download has %d", ErrPlan, len(p.Adds), len(d.Items))
	}
	for _, add := range p.Adds {
		if r.item(add.Slot) == nil {
			return fmt.Errorf("%w: the download has no %s certificate", ErrPlan, add.Slot)
		}
	}
	if err := checkCause(p, why); err != nil {
		return err
	}
	if _, signs := p.Addition(policy.Signing); signs && !why.signing && r.WithoutSigning && d.State == string(policy.DownloadPlanned) {
		return fmt.Errorf("%w: it adds a signing certificate, which was to be left out", ErrPlan)
	}
	return r.checkRemovals(ctx)
}

// checkCause verifies that a plan does what its cause can want and no more.
func checkCause(p policy.Plan, why cause) error {
	if why.signing {
		// Order names the one that made the eID, which the card cannot know.
		if p.EID == "" || p.EID != p.Login {
			return fmt.Errorf("%w: it is not for the eID that logged in", ErrPlan)
		}
		if len(p.Adds) != 1 || p.Adds[0].Slot != policy.Signing {
			return fmt.Errorf("%w: it adds something else than a signing certificate", ErrPlan)
		}
		if slices.ContainsFunc(p.Removes, func(r policy.Removal) bool { return r.Slot != policy.Signing }) {
			return fmt.Errorf("%w: for a signing certificate it would remove something else", ErrPlan)
		}
		return nil
	}
	if p.EID != "" || string(p.Order) != why.order {
		return fmt.Errorf("%w: it is for another order", ErrPlan)
	}
	// Authentication first: the new eID proves itself with it.
	if p.Adds[0].Slot != policy.Authentication || len(p.Adds) > 2 ||
		len(p.Adds) == 2 && (p.Adds[1].Slot != policy.Signing || !sameEID(p.Adds[0], p.Adds[1])) {
		return fmt.Errorf("%w: it adds other certificates than those of one eID", ErrPlan)
	}
	return nil
}

func sameEID(a, b policy.Addition) bool {
	return a.Organisation == b.Organisation && a.IDKind == b.IDKind && a.LoA == b.LoA && a.Content.Equal(b.Content)
}

// checkRemovals verifies that nothing goes but what the new eID replaces. Cards
// carry eIDs of several organisations, and a slip of the server's or a hostile one
// must not cost the holder another one. The card's own certificates tell it; the
// list that came before the plan must agree.
func (r *run) checkRemovals(ctx context.Context) error {
	if len(r.plan.Removes) == 0 {
		return nil
	}
	objects, err := r.Card.Objects(ctx)
	if err != nil {
		return err
	}
	add := r.plan.Adds[0]
	for _, rm := range r.plan.Removes {
		if rm.Slot != policy.Authentication && rm.Slot != policy.Signing {
			return fmt.Errorf("%w: it would remove a %s certificate", ErrPlan, rm.Slot)
		}
		at := eidOf(r.me, rm.Fingerprint)
		if at == nil {
			return fmt.Errorf("%w: it would remove %s, which is no certificate of this card", ErrPlan, rm.Serial)
		}
		if at.IDKind != string(add.IDKind) || at.Organisation != add.Content.Organisation {
			return fmt.Errorf("%w: it would remove the eID of %s", ErrPlan, at.Organisation)
		}
		for _, o := range objects {
			if o.Certificate == nil || ca.FingerprintOf(o.Certificate).String() != rm.Fingerprint {
				continue
			}
			cert, err := x509.ParseCertificate(o.Certificate)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrCertificate, err)
			}
			if names := cert.Subject.Organization; !slices.Equal(names, organisations(add)) {
				return fmt.Errorf("%w: it would remove the eID of %q", ErrPlan, names)
			}
		}
	}
	return nil
}

// organisations is the O of the subject that an addition will have.
func organisations(add policy.Addition) []string {
	if add.Content.Organisation == "" {
		return nil
	}
	return []string{add.Content.Organisation}
}

// eidOf finds the eID that a certificate belongs to, in what the server says of
// this card.
func eidOf(me *wire.Me, fp string) *wire.EID {
	for i, e := range me.EIDs {
		if slices.ContainsFunc(e.Certificates, func(c wire.Certificate) bool { return c.Fingerprint == fp }) {
			return &me.EIDs[i]
		}
	}
	return nil
}

func (r *run) item(slot policy.Slot) *wire.Item {
	i := slices.IndexFunc(r.download.Items, func(it wire.Item) bool { return it.Slot == string(slot) })
	if i < 0 {
		return nil
	}
	return &r.download.Items[i]
}
