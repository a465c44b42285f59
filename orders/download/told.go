package download

import (
	"context"
	"strconv"
	"time"

	"sigill/internal/audit"
	"sigill/orders/register"
	"sigill/policy"
)

// Why certificates end with their person, as their revocations say.
const (
	ruleAssignmentEnded = "assignment.ended"
	rulePersonRevoked   = "person.revoked"
)

// Ended tells which acts ended the eIDs of a person in an organisation.
type Ended struct {
	// Assignment is the event of the assignment's end; that it was ended by
	// EndAssignment and not by its time only the event itself tells.
	Assignment   string
	Certificates []CertificateView // not expired yet, each with its Event
}

// EndedAssignment returns what [Service.EndAssignment] did, now or before. It is for who
// has just been allowed that: rights are not judged again, because an administrator may
// have ended his own.
func (s *Service) EndedAssignment(ctx context.Context, person policy.PersonID, org policy.OrganisationID) (Ended, error) {
	return s.ended(ctx, person, org, ruleAssignmentEnded)
}

// RevokedPerson is EndedAssignment for [Service.RevokePerson].
func (s *Service) RevokedPerson(ctx context.Context, person policy.PersonID, org policy.OrganisationID) (Ended, error) {
	return s.ended(ctx, person, org, rulePersonRevoked)
}

func (s *Service) ended(ctx context.Context, person policy.PersonID, org policy.OrganisationID, rule string) (Ended, error) {
	var out Ended
	err := s.Store.View(ctx, func(tx *Tx) error {
		out = Ended{}
		if rule == ruleAssignmentEnded {
			a, err := tx.Assignment(person, org)
			if err != nil {
				return err
			}
			out.Assignment = assignmentEnded(a)
		}
		cards, err := tx.CardsOfHolder(person)
		if err != nil {
			return err
		}
		for _, card := range cards {
			all, err := s.ofCard(tx, card.Number)
			if err != nil {
				return err
			}
			for _, v := range all {
				if v.Organisation == org && v.Rule == rule && s.now().Before(v.NotAfter) {
					out.Certificates = append(out.Certificates, v)
				}
			}
		}
		return nil
	})
	return out, err
}

// assignmentEnded names the event of an assignment's end: an assignment can begin and end
// anew, at another time.
func assignmentEnded(a *register.Assignment) string {
	return audit.EventID(audit.AssignmentChanged, string(a.Person), string(a.Organisation), strconv.FormatInt(a.EndsAt.UTC().Truncate(time.Microsecond).UnixMicro(), 10))
}
