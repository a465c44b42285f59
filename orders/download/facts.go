package download

import (
	"errors"
	"fmt"

	"sigill/ca"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// planFacts reads what policy needs to plan.
func (s *Service) planFacts(tx *Tx, c register.Caller, card *register.Card, cause Cause) (policy.PlanFacts, error) {
	now, id := s.now(), cause.Order
	f := policy.PlanFacts{Now: now, Salt: policy.NewSalt(), Download: policy.DownloadID(policy.NewID("dl")), Card: card.Number, CardState: card.State,
		CardExpires: card.ExpiresAt, Holder: card.Holder, Login: c.Certificate, LoginLoA: c.LoA, LoginCard: c.Card,
		LoginOther: c.Person != card.Holder || c.Person == "", PendingUntil: now.Add(s.PendingTTL), WithoutSigning: cause.WithoutSigning}
	o, err := tx.Orders.Order(id)
	if errors.Is(err, issue.ErrNotFound) || err == nil && o.Card != c.Card {
		// One answer for no order and another card's order.
		return f, policy.Refuse(policy.DownloadCard, "no such order for the card that is logged in").Err()
	} else if err != nil {
		return f, err
	}
	doc, err := o.Signed()
	if err != nil {
		return f, err
	}
	f.Order, f.OrderHash, f.OrderType, f.OrderState, f.OrderExpires = id, register.HashOf(o.Bytes), doc.Type, o.State, doc.ExpiresAt
	f.OrderCard, f.OrderPerson, f.Identity = doc.Card, doc.Person, doc.Identity
	if f.Addition, err = s.addition(doc); err != nil {
		return f, err
	}
	if f.ContentNow, f.Assigned, err = s.Orders.ContentNow(&tx.Tx, &doc, card, now); err != nil {
		return f, err
	}
	signatures, err := orders.Signatures(&tx.Tx, o)
	if err != nil {
		return f, err
	}
	f.Signatures = len(signatures)
	if f.SigningAllowed, err = signingAllowed(tx, doc.Organisation); err != nil {
		return f, err
	}
	f.Standings, err = standings(tx, card.Number)
	return f, err
}

// signingFacts reads what policy needs to plan a signing certificate for the eID
// that the caller has logged in with.
func (s *Service) signingFacts(tx *Tx, c register.Caller, card *register.Card) (policy.SigningFacts, error) {
	now := s.now()
	f := policy.SigningFacts{Now: now, Salt: policy.NewSalt(), Download: policy.DownloadID(policy.NewID("dl")), Card: card.Number, CardState: card.State,
		CardExpires: card.ExpiresAt, Holder: card.Holder, Login: c.Certificate, LoginProfile: c.Profile, LoginCard: c.Card,
		LoginStands: !c.Pending, LoginOther: c.Person != card.Holder || c.Person == "", PendingUntil: now.Add(s.PendingTTL)}
	if c.Profile != policy.ProfileAuthentication {
		return f, nil // no eID: refused for that
	}
	e, err := s.eidOf(tx, c.Certificate)
	if err != nil {
		return f, err
	}
	f.LoginStands = f.LoginStands && e.current
	f.Order, f.OrderHash, f.OrderState = e.order.ID, register.HashOf(e.order.Bytes), e.order.State
	f.Addition = e.addition
	if f.ContentNow, f.Assigned, err = s.Orders.ContentNow(&tx.Tx, &e.doc, card, now); err != nil {
		return f, err
	}
	signatures, err := orders.SignaturesMade(&tx.Tx, e.order)
	if err != nil {
		return f, err
	}
	f.Signatures, f.Required = len(signatures), policy.RequiredSignatures(e.doc.Type, e.doc.LoA, e.doc.LoA)
	if f.SigningAllowed, err = signingAllowed(tx, e.doc.Organisation); err != nil {
		return f, err
	}
	f.Standings, err = standings(tx, card.Number)
	return f, err
}

// eid is an eID with the order that made it.
type eid struct {
	certificate *issue.Certificate // of authentication
	current     bool
	order       *orders.Order
	doc         orders.Document
	// addition is the signing certificate that the eID may have. It ends with
	// the authentication certificate, and so never later.
	addition policy.Addition
}

// eidOf finds the eID of an authentication certificate.
func (s *Service) eidOf(tx *Tx, fp ca.Fingerprint) (*eid, error) {
	var e eid
	var err error
	if e.certificate, err = tx.Certificate(fp); err != nil {
		return nil, err
	}
	if _, err := s.Certificates.Verify(e.certificate); err != nil {
		return nil, policy.Refuse(policy.SigningEID, "%s", err).Err()
	}
	st, err := tx.Standing(fp)
	if err != nil && !errors.Is(err, issue.ErrNotFound) {
		return nil, err
	}
	e.current = err == nil && st.Kind == issue.Current && st.Slot == policy.Authentication
	if e.order, err = tx.Orders.Order(e.certificate.Order); err != nil {
		return nil, fmt.Errorf("order of certificate %s: %w", e.certificate.Serial, err)
	}
	if e.doc, err = e.order.Signed(); err != nil {
		return nil, err
	}
	if e.doc.Card != e.certificate.Card || e.doc.Person != e.certificate.Person || e.doc.Organisation != e.certificate.Organisation ||
		e.doc.IDKind != e.certificate.IDKind || e.doc.LoA != e.certificate.LoA {
		return nil, policy.Refuse(policy.SigningEID, "the eID's order is for another eID").Err()
	}
	add, err := s.addition(e.doc)
	if err != nil {
		return nil, err
	}
	e.addition = add.Signing()
	e.addition.NotAfter = e.certificate.NotAfter
	return &e, nil
}

// signingAllowed reads an organisation's switch.
func signingAllowed(tx *Tx, id policy.OrganisationID) (bool, error) {
	org, err := tx.Organisation(id)
	if err != nil {
		return false, err
	}
	return org.SigningAllowed, nil
}

// addition is the certificate that a signed order asks for.
func (s *Service) addition(doc orders.Document) (policy.Addition, error) {
	need, ok := s.Provenance[doc.LoA]
	if !ok {
		return policy.Addition{}, policy.Refuse(policy.KeyProvenance, "level %d is not issued here", doc.LoA).Err()
	}
	return policy.Addition{Slot: policy.Authentication, Profile: policy.ProfileAuthentication, Issuer: doc.Issuer,
		Organisation: doc.Organisation, IDKind: doc.IDKind, LoA: doc.LoA, NotAfter: doc.NotAfter, Content: doc.Content,
		Algorithms: s.Keys.Algorithms, Provenance: need}, nil
}

// standings returns what stands as current on a card.
func standings(tx *Tx, card policy.CardNumber) ([]policy.Standing, error) {
	list, err := tx.StandingsOfCard(card)
	if err != nil {
		return nil, err
	}
	var out []policy.Standing
	for _, st := range list {
		if st.Kind != issue.Current || st.Slot == policy.Transport {
			continue
		}
		cert, err := tx.Certificate(st.Certificate)
		if err != nil {
			return nil, err
		}
		out = append(out, policy.Standing{Organisation: st.Organisation, IDKind: st.IDKind, Slot: st.Slot, Issuer: cert.Issuer,
			Serial: cert.Serial, Fingerprint: cert.Fingerprint, NotAfter: cert.NotAfter})
	}
	return out, nil
}
