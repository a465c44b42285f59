package download

import (
	"context"
	"errors"
	"time"

	"sigill/ca"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// CertificateState is what people are told of a certificate; it is derived.
type CertificateState string

const (
	StatePending    CertificateState = "pending"
	StateCurrent    CertificateState = "current"
	StateSuperseded CertificateState = "superseded"
	StateRevoked    CertificateState = "revoked"
	StateExpired    CertificateState = "expired"
	// StateIssued is for technical certificates, which stand nowhere.
	StateIssued CertificateState = "issued"
)

// CertificateView is a certificate with its derived state.
type CertificateView struct {
	*issue.Certificate
	State     CertificateState
	Reason    ca.Reason // if revoked
	RevokedAt time.Time // zero: not revoked
	Rule      string    // of the revocation
	Event     string    // of the revocation
}

// Overview is what a card holder sees after logging in.
type Overview struct {
	Card         *register.Card
	Person       *register.Person
	Certificates []CertificateView
	// Organisations names those that occur in Certificates and Offers.
	Organisations map[policy.OrganisationID]*register.Organisation
	Offers        []*orders.Order // approved, for this card, in time
	// Open is the open download or, if there is none, an installed one whose old
	// objects may still be on the card; nil: neither.
	Open *State
}

// Overview returns what stands and waits on the caller's card.
func (s *Service) Overview(ctx context.Context, c register.Caller) (*Overview, error) {
	v := &Overview{}
	err := s.Store.View(ctx, func(tx *Tx) error {
		*v = Overview{Organisations: map[policy.OrganisationID]*register.Organisation{}}
		var err error
		if v.Card, err = tx.Card(c.Card); err != nil {
			return err
		}
		if v.Person, err = tx.Person(v.Card.Holder); err != nil {
			return err
		}
		if v.Certificates, err = s.ofCard(tx, c.Card); err != nil {
			return err
		}
		if err := s.offers(tx, c, v); err != nil {
			return err
		}
		return organisations(tx, v)
	})
	return v, s.keep(ctx, err, c, "")
}

func (s *Service) offers(tx *Tx, c register.Caller, v *Overview) error {
	open, err := tx.Orders.OpenOrdersOfCard(c.Card)
	if err != nil {
		return err
	}
	for _, o := range open {
		if o.State == policy.OrderApproved && o.Person == c.Person && s.now().Before(o.ExpiresAt) {
			v.Offers = append(v.Offers, o)
		}
	}
	d, items, err := tx.OpenDownloadOfCard(c.Card)
	if errors.Is(err, issue.ErrNotFound) {
		d, items, err = tx.UncleanedOfCard(c.Card)
	}
	if errors.Is(err, issue.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	v.Open, err = s.state(tx, d, items)
	return err
}

func organisations(tx *Tx, v *Overview) error {
	add := func(id policy.OrganisationID) error {
		if id == "" || v.Organisations[id] != nil {
			return nil
		}
		o, err := tx.Organisation(id)
		v.Organisations[id] = o
		return err
	}
	for _, c := range v.Certificates {
		if err := add(c.Organisation); err != nil {
			return err
		}
	}
	for _, o := range v.Offers {
		if err := add(o.Organisation); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) ofCard(tx *Tx, card policy.CardNumber) ([]CertificateView, error) {
	certs, err := tx.CertificatesOfCard(card)
	if err != nil {
		return nil, err
	}
	var out []CertificateView
	for _, cert := range certs {
		v, err := s.derive(tx, cert)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// derive tells a certificate's state from what is stored.
func (s *Service) derive(tx *Tx, cert *issue.Certificate) (CertificateView, error) {
	v := CertificateView{Certificate: cert, State: StateIssued}
	e, revoked, err := tx.Revocations.Revocation(cert.Serial)
	if err != nil {
		return v, err
	}
	if revoked {
		v.State, v.Reason, v.RevokedAt, v.Rule, v.Event = StateRevoked, e.Reason, e.At, e.Rule, e.Event
		if e.Reason == ca.Superseded {
			v.State = StateSuperseded
		}
		return v, nil
	}
	if s.Now().After(cert.NotAfter) {
		v.State = StateExpired
		return v, nil
	}
	st, err := tx.Standing(cert.Fingerprint)
	if errors.Is(err, issue.ErrNotFound) {
		return v, nil
	} else if err != nil {
		return v, err
	}
	v.State = CertificateState(st.Kind)
	return v, nil
}

// Certificate returns a certificate by serial to one who administers its
// organisation, or whose own it is.
func (s *Service) Certificate(ctx context.Context, c register.Caller, serial ca.Serial) (CertificateView, error) {
	var v CertificateView
	err := s.Store.View(ctx, func(tx *Tx) error {
		cert, err := s.visible(tx, c, serial)
		if err != nil {
			return err
		}
		v, err = s.derive(tx, cert)
		return err
	})
	return v, s.keep(ctx, err, c, "", issue.F("serial", serial.String()))
}

func (s *Service) visible(tx *Tx, c register.Caller, serial ca.Serial) (*issue.Certificate, error) {
	cert, err := tx.CertificateBySerial(serial)
	if errors.Is(err, issue.ErrNotFound) {
		return nil, policy.Refuse(policy.RevokeScope, "no such certificate").Err()
	} else if err != nil {
		return nil, err
	}
	if c.Person != "" && cert.Person == c.Person && !c.Pending {
		return cert, nil
	}
	err = policy.Refuse(policy.RevokeScope, "no such certificate").Err()
	if cert.Organisation != "" && register.MayFor(tx.register(), c, cert.Organisation) == nil {
		return cert, nil
	}
	return nil, err
}

// Revoke revokes a certificate; with an authentication certificate goes the
// signing certificate of the same eID, and an open download that it began.
func (s *Service) Revoke(ctx context.Context, c register.Caller, serial ca.Serial, reason ca.Reason) (CertificateView, error) {
	var v CertificateView
	err := s.Store.Update(ctx, func(tx *Tx) error {
		cert, err := s.visible(tx, c, serial)
		if err != nil {
			return err
		}
		if err := reasonOfPeople(reason); err != nil {
			return err
		}
		if err := s.revokeEID(tx, cert, reason, ruleRevoked, c.Name()); err != nil {
			return err
		}
		v, err = s.derive(tx, cert)
		return err
	})
	return v, s.keep(ctx, err, c, "", issue.F("serial", serial.String()))
}

// reasonOfPeople refuses reasons that are not people's to give.
func reasonOfPeople(reason ca.Reason) error {
	if reason == ca.Unspecified || reason == ca.CACompromise {
		return policy.Refuse(policy.RequestForm, "reason %s is not for people", reason).Err()
	}
	return nil
}

// ruleRevoked is the cause of what is revoked by itself.
const ruleRevoked = "eid.revoked"

// revokeEID revokes a certificate; with the authentication certificate that
// stands for an eID goes the eID's signing certificate, whether current or not
// yet confirmed; not the one of the eID that will replace it. A signing certificate alone takes nothing with it.
func (s *Service) revokeEID(tx *Tx, cert *issue.Certificate, reason ca.Reason, rule, by string) error {
	now := s.now()
	stood, err := stands(tx, cert, policy.Authentication)
	if err != nil {
		return err
	}
	if _, err := issue.Revoke(tx.issue(), cert, reason, rule, by, now); err != nil {
		return err
	}
	if stood { // else it is pending or replaced, and not what the signing certificate belongs to
		if err := s.revokeSigning(tx, cert, reason, rule, by); err != nil {
			return err
		}
	}
	if cert.Card == "" {
		return nil
	}
	card, err := tx.Card(cert.Card)
	if err != nil {
		return err
	}
	// What it began ends last, so that what is revoked with it is revoked for
	// its reason and not only because a download ended.
	begun := func(d *Download) bool { return d.Login == cert.Fingerprint || d.ID == cert.Download }
	return s.endOpen(tx, card, begun, by)
}

func (s *Service) revokeSigning(tx *Tx, eid *issue.Certificate, reason ca.Reason, rule, by string) error {
	list, err := tx.StandingsOfCard(eid.Card)
	if err != nil {
		return err
	}
	for _, st := range list {
		if st.Slot != policy.Signing || st.Organisation != eid.Organisation || st.IDKind != eid.IDKind {
			continue
		}
		signing, err := tx.Certificate(st.Certificate)
		if err != nil {
			return err
		}
		if next, err := ofNext(tx, st, signing); err != nil {
			return err
		} else if next {
			continue
		}
		if _, err := issue.Revoke(tx.issue(), signing, reason, rule, by, s.now()); err != nil {
			return err
		}
	}
	return nil
}

// ofNext reports whether a signing certificate that is not yet confirmed belongs to
// the eID that an order makes anew, together with which it will be confirmed, and
// not to the one that stands: it goes with its own download or not at all.
func ofNext(tx *Tx, st issue.Standing, signing *issue.Certificate) (bool, error) {
	if st.Kind != issue.Pending {
		return false, nil
	}
	d, _, err := tx.Download(signing.Download)
	return err == nil && d.Order != "", err
}
