package download

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigill/ca"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// massScope tells what is of an organisation or of a branch below it. It is of one
// transaction, or of several that one after the other read what never changes.
type massScope struct {
	org   policy.OrganisationID
	known map[policy.OrganisationID]bool
}

func newMassScope(org policy.OrganisationID) *massScope {
	return &massScope{org, map[policy.OrganisationID]bool{org: true, "": false}}
}

// has reports whether org is the scope's organisation or below it.
func (m *massScope) has(tx *Tx, org policy.OrganisationID) (bool, error) {
	if in, ok := m.known[org]; ok {
		return in, nil
	}
	at, in := org, false
	for depth := 0; at != "" && depth < register.MaxBranchDepth; depth++ {
		if in = at == m.org; in {
			break
		}
		o, err := tx.Organisation(at)
		if err != nil {
			return false, err
		}
		at = o.Parent
	}
	m.known[org] = in
	return in, nil
}

// massWithin refuses a list that has something on it which is not of the organisation
// or of a branch below it, before anybody's rights are told by anything.
func (s *Service) massWithin(ctx context.Context, c register.Caller, o MassOrder, entries []string) error {
	scope := newMassScope(o.Organisation)
	wrong := 0
	var named []string
	for some := range slices.Chunk(entries, Together) {
		var in []bool
		err := s.Store.View(ctx, func(tx *Tx) error {
			err := register.Administrator(tx.register(), c, o.Organisation)
			if err == nil {
				in, err = within(tx, scope, o.Kind, some)
			}
			return err
		})
		if err != nil {
			return err
		}
		for i, entry := range some {
			if in[i] {
				continue
			}
			if wrong++; wrong <= 10 {
				named = append(named, entry)
			}
		}
	}
	if wrong == 0 {
		return nil
	}
	more := ""
	if wrong > len(named) {
		more = fmt.Sprintf(" and %d more", wrong-len(named))
	}
	return policy.Refuse(policy.RevokeList, "not found: %s%s", strings.Join(named, ", "), more).Err()
}

// within tells of each entry whether it is in scope.
func within(tx *Tx, scope *massScope, kind MassKind, some []string) ([]bool, error) {
	in := make([]bool, len(some))
	if kind == ByCard {
		for i, entry := range some {
			card, err := tx.Card(policy.CardNumber(entry))
			if errors.Is(err, issue.ErrNotFound) {
				continue
			} else if err != nil {
				return nil, err
			}
			if in[i], err = cardWithin(tx, scope, card); err != nil {
				return nil, err
			}
		}
		return in, nil
	}
	serials, err := serialsOf(some)
	if err != nil {
		return nil, err
	}
	certs, err := tx.CertificatesOfSerials(serials)
	if err != nil {
		return nil, err
	}
	for _, cert := range certs {
		i := slices.Index(serials, cert.Serial)
		if in[i], err = certificateWithin(tx, scope, cert); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// certificateWithin: eIDs are of the organisation that ordered them, transport
// certificates of that whose card they are on, technical ones of nobody.
func certificateWithin(tx *Tx, scope *massScope, cert *issue.Certificate) (bool, error) {
	org, err := organisationOf(tx, cert)
	if err != nil {
		return false, err
	}
	return scope.has(tx, org)
}

// cardWithin: a card is in scope if its owner is, or who ordered an eID on it.
func cardWithin(tx *Tx, scope *massScope, card *register.Card) (bool, error) {
	if in, err := scope.has(tx, card.Organisation); err != nil || in {
		return in, err
	}
	standings, err := tx.StandingsOfCard(card.Number)
	if err != nil {
		return false, err
	}
	for _, st := range standings {
		if in, err := scope.has(tx, st.Organisation); err != nil || in {
			return in, err
		}
	}
	return false, nil
}

func serialsOf(entries []string) ([]ca.Serial, error) {
	out := make([]ca.Serial, len(entries))
	for i, entry := range entries {
		var err error
		if out[i], err = ca.ParseSerial(entry); err != nil {
			return nil, err
		}
	}
	return out, nil
}
