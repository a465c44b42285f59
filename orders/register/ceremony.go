package register

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"time"

	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/policy"
)

// Founding is the document that two officers sign to found the first
// organisation. Its canonical form is encoding/json's. The log of acts names it by its
// hash; the salt, which is nowhere else, keeps who has the log from guessing names and
// numbers until the hash says that he is right.
type Founding struct {
	Salt           policy.Salt             `json:"salt"`
	Organisation   FoundingOrganisation    `json:"organisation"`
	Administrators []FoundingAdministrator `json:"administrators"` // exactly two
}

// FoundingOrganisation is the organisation that is founded.
type FoundingOrganisation struct {
	Number string `json:"number"` // ten digits
	Name   string `json:"name"`   // as it will stand in certificates
}

// FoundingAdministrator is one of the first two administrators.
type FoundingAdministrator struct {
	Number    string `json:"personnummer"`
	GivenName string `json:"givenName"`
	Surname   string `json:"surname"`
	HSAID     string `json:"hsaId"`
	Email     string `json:"email,omitempty"`
	UPN       string `json:"upn,omitempty"`
}

var organisationNumber = regexp.MustCompile(`^[0-9]{10}$`)

// ParseFounding reads a Founding and refuses every form but the canonical one.
func ParseFounding(b []byte) (Founding, []PersonRow, error) {
	form := func(what string, args ...any) (Founding, []PersonRow, error) {
		return Founding{}, nil, policy.Refuse(policy.RequestForm, what, args...).Err()
	}
	var f Founding
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return form("founding: %s", err)
	}
	if again, _ := json.Marshal(f); !bytes.Equal(again, b) {
		return form("founding is not in canonical form")
	}
	if f.Salt == "" || !f.Salt.OK() {
		return form("founding: its salt is not 32 hexadecimal digits, drawn for it alone")
	}
	if !organisationNumber.MatchString(f.Organisation.Number) {
		return form("founding: organisation needs a number of ten digits")
	}
	if err := organisationName(f.Organisation.Name); err != nil {
		return form("founding: organisation: %s", err)
	}
	if len(f.Administrators) != 2 || f.Administrators[0].Number == f.Administrators[1].Number {
		return form("founding: exactly two different administrators")
	}
	rows := make([]PersonRow, 2)
	for i, a := range f.Administrators {
		row := PersonRow{GivenName: a.GivenName, Surname: a.Surname, Email: a.Email, UPN: a.UPN}
		var err error
		if row.Number, row.Kind, err = policy.ParsePersonNumber(a.Number); err != nil {
			return form("founding: administrator %d: %s", i+1, err)
		}
		if row.HSAID, err = policy.ParseHSAID(a.HSAID); err != nil {
			return form("founding: administrator %d: %s", i+1, err)
		}
		if err := row.check(); err != nil {
			return form("founding: administrator %d: %s", i+1, err)
		}
		rows[i] = row
	}
	return f, rows, nil
}

// Found carries out the founding, once: organisation, two persons and their
// roles, all in one transaction and signed by both officers. Founding again with
// the same document returns what is there.
func (s *Service) Found(ctx context.Context, c Caller, document []byte, signed []Signed) (*Ceremony, error) {
	var cer *Ceremony
	f, rows, err := ParseFounding(document)
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) error {
			var err error
			cer, err = s.found(tx, c, f, rows, HashOf(document), signed)
			return err
		})
	}
	return cer, s.Keep(ctx, err, c.Name())
}

func (s *Service) found(tx *Tx, c Caller, f Founding, rows []PersonRow, hash [32]byte, signed []Signed) (*Ceremony, error) {
	if c.Officer == 0 {
		return nil, policy.Refuse(policy.CeremonyScope, "only officers found").Err()
	}
	now := s.Now().UTC().Truncate(time.Microsecond)
	cer, err := tx.Ceremony()
	if err != nil {
		return nil, err
	}
	if cer.Organisation != "" {
		org, err := tx.Organisation(cer.Organisation)
		if err != nil {
			return nil, err
		}
		if same, err := sameFounding(tx, cer, org, f, rows); err != nil {
			return nil, err
		} else if !same {
			return nil, policy.Refuse(policy.CeremonyScope, "an organisation was founded already").Err()
		}
		return cer, nil
	}
	stated, err := s.State(tx, now, Expect{Act: statement.ActFound, Subject: "ceremony", Content: hash, Officers: true, Need: 2}, signed)
	if err != nil {
		return nil, err
	}
	// What every event of the founding rests on: both officers signed the document.
	by := pair{stated: stated}
	org := &Organisation{ID: policy.OrganisationID(policy.NewID("org")), Number: f.Organisation.Number,
		Name: f.Organisation.Name, CreatedAt: now}
	if err := tx.InsertOrganisation(org); err != nil {
		return nil, err
	}
	cer.Organisation = org.ID
	for i, row := range rows {
		if _, err := s.putPerson(tx, c.Name(), org.ID, row); err != nil {
			return nil, err
		}
		p, err := tx.PersonByNumber(row.Number)
		if err != nil {
			return nil, err
		}
		cer.Administrators[i] = p.ID
		if err := tx.InsertGrant(Grant{Person: p.ID, Organisation: org.ID, Role: policy.RoleAdministrator, GrantedAt: now}); err != nil {
			return nil, err
		}
		if err := tx.Events.Append(issue.NewEvent(audit.RoleGranted, now, by.by(), append(by.told(hash), issue.F("person", string(p.ID)),
			issue.F("organisation", string(org.ID)), issue.F("role", string(policy.RoleAdministrator)))...)); err != nil {
			return nil, err
		}
	}
	if err := tx.PutCeremony(cer); err != nil {
		return nil, err
	}
	if err := tx.Events.Append(issue.NewEvent(audit.OrganisationCreated, now, by.by(), append(by.told(hash), issue.F("organisation", string(org.ID)),
		issue.F("number", org.Number), issue.F("name", org.Name))...)); err != nil {
		return nil, err
	}
	return cer, tx.Events.Append(issue.NewEvent(audit.CeremonyFounded, now, by.by(), append(by.told(hash), issue.F("organisation", string(org.ID)))...))
}

// sameFounding reports whether what was founded is what f says.
func sameFounding(tx *Tx, cer *Ceremony, org *Organisation, f Founding, rows []PersonRow) (bool, error) {
	if org.Number != f.Organisation.Number || org.Name != f.Organisation.Name {
		return false, nil
	}
	for i, row := range rows {
		p, err := tx.Person(cer.Administrators[i])
		if err != nil || p.Number != row.Number {
			return false, err
		}
	}
	return true, nil
}

// CloseCeremony ends the bootstrap for ever once both first administrators have a
// current LoA3 eID; it is called in the transaction that made the second current.
func CloseCeremony(tx *Tx, now time.Time) error {
	cer, err := tx.Ceremony()
	if err != nil {
		return err
	}
	if cer.Organisation == "" || !cer.ClosedAt.IsZero() {
		return nil
	}
	for _, p := range cer.Administrators {
		ok, err := canAdministrate(tx, p)
		if err != nil || !ok {
			return err
		}
	}
	cer.ClosedAt = now
	if err := tx.PutCeremony(cer); err != nil {
		return err
	}
	return tx.Events.Append(issue.NewEvent(audit.CeremonyClosed, now, "system", issue.F("organisation", string(cer.Organisation))))
}

func canAdministrate(tx *Tx, person policy.PersonID) (bool, error) {
	cards, err := tx.CardsOfHolder(person)
	if err != nil {
		return false, err
	}
	for _, card := range cards {
		standings, err := tx.StandingsOfCard(card.Number)
		if err != nil {
			return false, err
		}
		for _, st := range standings {
			if st.Kind != issue.Current || st.Slot != policy.Authentication {
				continue
			}
			cert, err := tx.Certificate(st.Certificate)
			if err != nil {
				return false, err
			}
			if cert.LoA >= 3 {
				return true, nil
			}
		}
	}
	return false, nil
}
