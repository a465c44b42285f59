package register

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/policy"
)

// Branch is the document that two administrators sign to found an organisation
// below one of theirs. Its canonical form is encoding/json's.
type Branch struct {
	Number string                `json:"number"` // ten digits, the last one the check digit
	Name   string                `json:"name"`   // as it will stand in certificates
	Parent policy.OrganisationID `json:"parent"`
}

// Switch is the document that two administrators sign to let the holders of an
// organisation fetch signing certificates, or to stop that. A reason may name somebody,
// and the log of acts has the document's hash: so there is a salt with it, as in orders.
type Switch struct {
	Salt           policy.Salt           `json:"salt,omitempty"` // empty without a reason, perhaps
	Organisation   policy.OrganisationID `json:"organisation"`
	SigningAllowed bool                  `json:"signingAllowed"`
	Reason         string                `json:"reason,omitempty"` // free text, at most maxReason characters
}

// maxReason bounds a reason, in characters.
const maxReason = 200

// canonical reads a document and refuses every form but encoding/json's: a member
// that is unknown, written in another case or there twice is not there when it is
// written again. What is signed means one thing, and is written in one way.
func canonical[T any](what string, b []byte) (T, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return v, policy.Refuse(policy.RequestForm, "%s: %s", what, err).Err()
	}
	if again, _ := json.Marshal(v); string(again) != string(b) {
		return v, policy.Refuse(policy.RequestForm, "%s is not in canonical form", what).Err()
	}
	return v, nil
}

// ParseBranch reads a Branch and refuses every form but the canonical one, and a
// number or name that could never stand in a certificate.
func ParseBranch(b []byte) (Branch, error) {
	f, err := canonical[Branch]("organisation", b)
	switch {
	case err != nil:
		return f, err
	case !checkedNumber(f.Number):
		return f, policy.Refuse(policy.RequestForm, "organisation: the number has ten digits, the last one its check digit").Err()
	case f.Parent == "":
		return f, policy.Refuse(policy.RequestForm, "organisation: it needs a parent").Err()
	}
	if err := organisationName(f.Name); err != nil {
		return f, policy.Refuse(policy.RequestForm, "organisation: %s", err).Err()
	}
	return f, nil
}

// checkedNumber reports whether s is an organisation number (lag 1974:174): ten
// digits whose last one is the check digit of the others by the Luhn sum. A digit
// that was typed wrongly would stand in HSA-ids and certificates for years.
func checkedNumber(s string) bool {
	if !organisationNumber.MatchString(s) {
		return false
	}
	sum := 0
	for i, c := range []byte(s) {
		d := int(c - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// ParseSwitch reads a Switch and refuses every form but the canonical one.
func ParseSwitch(b []byte) (Switch, error) {
	f, err := canonical[Switch]("switch", b)
	switch {
	case err != nil:
		return f, err
	case f.Organisation == "":
		return f, policy.Refuse(policy.RequestForm, "switch: it needs an organisation").Err()
	case !f.Salt.OK() || f.Reason != "" && f.Salt == "":
		return f, policy.Refuse(policy.RequestForm, "switch: with a reason it needs a salt of 32 hexadecimal digits, drawn for it alone").Err()
	case utf8.RuneCountInString(f.Reason) > maxReason:
		return f, policy.Refuse(policy.RequestForm, "switch: the reason has more than %d characters", maxReason).Err()
	case strings.ContainsFunc(f.Reason, func(r rune) bool { return !unicode.IsPrint(r) }):
		return f, policy.Refuse(policy.RequestForm, "switch: the reason has a character that is not seen").Err()
	}
	return f, nil
}

// BranchSubject is what the statements of a founding are about: the organisation
// has no id yet.
func BranchSubject(number string) string { return "organisation:" + number }

// CreateOrganisation founds the branch of a stated document, signed by two
// different administrators of the parent, the caller first. The parent's
// administrators administer it. The same document again returns what is there.
func (s *Service) CreateOrganisation(ctx context.Context, c Caller, document []byte, signed []Signed) (*Organisation, error) {
	var org *Organisation
	f, err := ParseBranch(document)
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) error {
			var err error
			org, err = s.create(tx, c, f, HashOf(document), signed)
			return err
		})
	}
	if err = s.Keep(ctx, err, c.Name(), issue.F("organisation", string(f.Parent))); err != nil {
		return nil, err
	}
	return org, nil
}

func (s *Service) create(tx *Tx, c Caller, f Branch, hash [32]byte, signed []Signed) (*Organisation, error) {
	now := s.Now().UTC().Truncate(time.Microsecond)
	by, err := s.two(tx, now, c, Expect{Act: statement.ActBranch, Subject: BranchSubject(f.Number), Content: hash, Organisation: f.Parent}, signed)
	if err != nil {
		return nil, err
	}
	there, err := tx.OrganisationByNumber(f.Number)
	if err == nil {
		if there.Parent != f.Parent || there.Name != f.Name {
			return nil, policy.Refuse(policy.OrganisationKnown, "the number belongs to an organisation of another name or parent").Err()
		}
		return there, nil
	} else if !errors.Is(err, issue.ErrNotFound) {
		return nil, err
	}
	if err := roomBelow(tx, f.Parent); err != nil {
		return nil, err
	}
	org := &Organisation{ID: policy.OrganisationID(policy.NewID("org")), Number: f.Number, Name: f.Name, Parent: f.Parent, CreatedAt: now}
	if err := tx.InsertOrganisation(org); err != nil {
		return nil, err
	}
	return org, tx.Events.Append(issue.NewEvent(audit.OrganisationCreated, now, by.by(), append(by.told(hash), issue.F("organisation", string(org.ID)),
		issue.F("number", org.Number), issue.F("name", org.Name), issue.F("parent", string(org.Parent)))...))
}

// roomBelow refuses a branch that the walk of [Role] would not lead from to its
// customer: the customer's administrators would found what they cannot reach.
func roomBelow(tx *Tx, parent policy.OrganisationID) error {
	for levels := 1; parent != ""; levels++ {
		if levels == MaxBranchDepth {
			return policy.Refuse(policy.OrganisationDepth, "more than %d levels", MaxBranchDepth).Err()
		}
		o, err := tx.Organisation(parent)
		if err != nil {
			return err
		}
		parent = o.Parent
	}
	return nil
}

// pair is two administrators who stated an act.
type pair struct {
	again  bool     // stated already: nothing of it is done a second time
	stated []Stated // the caller's first
}

// by names both in an event.
func (p pair) by() string { return p.stated[0].By + "," + p.stated[1].By }

// told are the fields of an event that name the document and the statements.
func (p pair) told(document [32]byte) []audit.Field {
	return append([]audit.Field{issue.F("document", hex.EncodeToString(document[:]))}, Told(p.stated)...)
}

// two verifies that the caller and another administrator of want.Organisation
// state what is wanted, and stores it.
func (s *Service) two(tx *Tx, now time.Time, c Caller, want Expect, signed []Signed) (pair, error) {
	if c.Officer > 0 {
		return pair{}, policy.Refuse(policy.CeremonyScope, "officers found one organisation and equip its first administrators").Err()
	}
	if err := Administrator(tx, c, want.Organisation); err != nil {
		return pair{}, err
	}
	again, err := Replayed(tx, want.Subject, signed)
	if err != nil || again {
		return pair{again: again}, err
	}
	if len(signed) > 0 && signed[0].Certificate != c.Certificate {
		// Who hands in is one of the two who answer for it: a third
		// administrator's log-in carries out nothing that others signed.
		return pair{}, policy.Refuse(policy.StatementSignature, "signed with another card than the one logged in with").Err()
	}
	want.Need = 2
	stated, err := s.State(tx, now, want, signed)
	return pair{stated: stated}, err
}

// SetSigning turns an organisation's switch for signing certificates as a stated
// document says, signed by two different administrators, the caller first. It
// holds for this organisation and not for its branches. Turning it off revokes
// nothing. The same document again changes nothing.
func (s *Service) SetSigning(ctx context.Context, c Caller, id policy.OrganisationID, document []byte, signed []Signed) (*Organisation, error) {
	var org *Organisation
	f, err := ParseSwitch(document)
	if err == nil && f.Organisation != id {
		err = policy.Refuse(policy.RequestForm, "the document is about another organisation than the address").Err()
	}
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) error {
			var err error
			org, err = s.setSigning(tx, c, f, HashOf(document), signed)
			return err
		})
	}
	if err = s.Keep(ctx, err, c.Name(), issue.F("organisation", string(id))); err != nil {
		return nil, err
	}
	return org, nil
}

func (s *Service) setSigning(tx *Tx, c Caller, f Switch, hash [32]byte, signed []Signed) (*Organisation, error) {
	now := s.Now().UTC().Truncate(time.Microsecond)
	// Statements are stored even if the switch stands so already: who kept them
	// could else turn it again after it was turned back.
	by, err := s.two(tx, now, c, Expect{Act: statement.ActSigning, Subject: string(f.Organisation), Content: hash, Organisation: f.Organisation}, signed)
	if err != nil {
		return nil, err
	}
	org, err := tx.Organisation(f.Organisation)
	if err != nil || by.again || org.SigningAllowed == f.SigningAllowed {
		return org, err
	}
	if err := tx.SetSigningAllowed(org.ID, f.SigningAllowed); err != nil {
		return nil, err
	}
	org.SigningAllowed = f.SigningAllowed
	e := issue.NewEvent(audit.OrganisationSigning, now, by.by(), append(by.told(hash), issue.F("organisation", string(org.ID)),
		issue.F("allowed", yesNo(f.SigningAllowed)))...)
	if f.Reason != "" {
		e.Personal = []audit.Field{{Name: "reason", Value: f.Reason}} // free text: it may name somebody
	}
	return org, tx.Events.Append(e)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Organisation returns an organisation to one who administers it. For everybody
// else it does not exist.
func (s *Service) Organisation(ctx context.Context, c Caller, id policy.OrganisationID) (*Organisation, error) {
	var org *Organisation
	err := s.Store.View(ctx, func(tx *Tx) error {
		if err := MayFor(tx, c, id); err != nil {
			return err
		}
		var err error
		org, err = tx.Organisation(id)
		return err
	})
	if err = s.Keep(ctx, err, c.Name(), issue.F("organisation", string(id))); err != nil {
		return nil, err
	}
	return org, nil
}

// ListOrganisations returns a page of the organisations that the caller
// administers, by id. A page is short only if it is the last one: how many others
// there are is not told.
func (s *Service) ListOrganisations(ctx context.Context, c Caller, after policy.OrganisationID, limit int) ([]*Organisation, error) {
	var list []*Organisation
	err := s.Store.View(ctx, func(tx *Tx) error {
		if c.Officer == 0 && !administers(c) {
			return notAtLevel()
		}
		var err error
		list, err = administered(tx, c, after, Page(limit))
		return err
	})
	if err = s.Keep(ctx, err, c.Name()); err != nil {
		return nil, err
	}
	return list, nil
}

// administered fills a page of size organisations.
func administered(tx *Tx, c Caller, after policy.OrganisationID, size int) ([]*Organisation, error) {
	var mine []*Organisation
	for {
		found, err := tx.ListOrganisations(after, MaxPage)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			err := MayFor(tx, c, o.ID)
			if err == nil {
				mine = append(mine, o)
			} else if _, refused := errors.AsType[*policy.Refusal](err); !refused {
				return nil, err
			}
			if len(mine) == size {
				return mine, nil
			}
			after = o.ID
		}
		if len(found) < MaxPage {
			return mine, nil
		}
	}
}
