package download

import (
	"context"
	"errors"

	"sigill/ca"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// IncidentView is an incident as one side may see it: of the other organisation's
// card it tells that there is one, and not which.
type IncidentView struct {
	*issue.Incident
	// Card and ProvedOn are empty where the caller may not see the card.
	Card, ProvedOn policy.CardNumber
	// Certificates are those that the caller may see, Others counts the rest.
	Certificates []IncidentCertificate
	Others       int
	// Open says that something of it still waits to be revoked.
	Open bool
}

// IncidentCertificate is a certificate in an incident.
type IncidentCertificate struct {
	CertificateView
	Role string // issue.Carries or issue.LogIn
}

// Incidents returns a page of the incidents that concern an organisation, those
// after after.
func (s *Service) Incidents(ctx context.Context, c register.Caller, org policy.OrganisationID, after issue.IncidentID, limit int) ([]IncidentView, error) {
	var out []IncidentView
	err := s.Store.View(ctx, func(tx *Tx) error {
		out = nil
		if err := register.MayFor(tx.register(), c, org); err != nil {
			return err
		}
		list, err := tx.IncidentsOfOrganisation(org, after, limit)
		if err != nil {
			return err
		}
		for _, in := range list {
			v, err := s.incidentView(tx, c, in.ID)
			if err != nil {
				return err
			}
			out = append(out, v)
		}
		return nil
	})
	return out, s.keep(ctx, err, c, "", issue.F("organisation", string(org)))
}

// Incident returns an incident to who administers one of its sides. One answer for
// an incident that is not there and one that is another's.
func (s *Service) Incident(ctx context.Context, c register.Caller, id issue.IncidentID) (IncidentView, error) {
	var v IncidentView
	err := s.Store.View(ctx, func(tx *Tx) error {
		none := policy.Refuse(policy.RoleMissing, "no such incident").Err()
		var err error
		if v, err = s.incidentView(tx, c, id); errors.Is(err, issue.ErrNotFound) {
			return none
		} else if err != nil {
			return err
		}
		if v.Card == "" && v.ProvedOn == "" && len(v.Certificates) == 0 {
			return none
		}
		return nil
	})
	return v, s.keep(ctx, err, c, "", issue.F("incident", string(id)))
}

func (s *Service) incidentView(tx *Tx, c register.Caller, id issue.IncidentID) (IncidentView, error) {
	in, involved, err := tx.Incident(id)
	if err != nil {
		return IncidentView{}, err
	}
	v := IncidentView{Incident: in}
	if v.Card, err = s.cardIfSeen(tx, c, in.Card); err != nil {
		return v, err
	}
	if v.ProvedOn, err = s.cardIfSeen(tx, c, in.ProvedOn); err != nil {
		return v, err
	}
	for _, i := range involved {
		if open, err := waits(tx, i.Certificate); err != nil {
			return v, err
		} else if open {
			v.Open = true
		}
		cert, err := tx.Certificate(i.Certificate)
		if err != nil {
			return v, err
		}
		if ok, err := administers(tx, c, cert); err != nil {
			return v, err
		} else if !ok {
			v.Others++
			continue
		}
		each, err := s.derive(tx, cert)
		if err != nil {
			return v, err
		}
		v.Certificates = append(v.Certificates, IncidentCertificate{each, i.Role})
	}
	return v, nil
}

func (s *Service) cardIfSeen(tx *Tx, c register.Caller, number policy.CardNumber) (policy.CardNumber, error) {
	if number == "" {
		return "", nil
	}
	card, err := tx.Card(number)
	if err != nil {
		return "", err
	}
	if ok, err := may(register.MayFor(tx.register(), c, card.Organisation)); err != nil || !ok {
		return "", err
	}
	return number, nil
}

// waits reports whether a certificate is queued and not yet revoked.
func waits(tx *Tx, fp ca.Fingerprint) (bool, error) {
	q, err := tx.Queued(fp)
	if errors.Is(err, issue.ErrNotFound) {
		return false, nil
	}
	return err == nil && q.DoneAt.IsZero(), err
}
