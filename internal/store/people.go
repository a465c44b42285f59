package store

import (
	"fmt"
	"strings"
	"unicode"

	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

const personColumns = `id, number, number_kind, given_name, surname, protected, created_at`

func (t *tx) person(query, key string) (*register.Person, error) {
	p := new(register.Person)
	err := missing(t.one("reading person", query, []any{key}, str(&p.ID), str(&p.Number), str(&p.NumberKind),
		&p.GivenName, &p.Surname, intoFlag{&p.Protected}, intoTime{&p.CreatedAt}))
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Person implements register.People.
func (t *tx) Person(id policy.PersonID) (*register.Person, error) {
	return t.person(`SELECT `+personColumns+` FROM persons WHERE id = $1`, string(id))
}

// PersonByNumber implements register.People.
func (t *tx) PersonByNumber(n policy.PersonNumber) (*register.Person, error) {
	return t.person(`SELECT `+personColumns+` FROM persons WHERE number = $1`, n.Digits())
}

// InsertPerson implements register.People. issue.ErrConflict: the number is
// taken.
func (t *tx) InsertPerson(p *register.Person) error {
	n, err := t.exec("inserting person", `INSERT INTO persons (`+personColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		text(p.ID), text(p.Number), text(p.NumberKind), p.GivenName, p.Surname, flag(p.Protected), at(p.CreatedAt))
	return changedOne("inserting person", n, err)
}

// PutPerson implements register.People.
func (t *tx) PutPerson(p *register.Person) error {
	n, err := t.exec("putting person", `UPDATE persons SET given_name = $1, surname = $2, protected = $3 WHERE id = $4`,
		p.GivenName, p.Surname, flag(p.Protected), string(p.ID))
	if err := missing(n > 0, err); err != nil {
		return err
	}
	// The search keys hold the name: they follow it.
	all, err := list(t, "reading assignments", `SELECT `+assignmentColumns+` FROM assignments WHERE person = $1 ORDER BY organisation`,
		[]any{string(p.ID)}, assignmentDest)
	if err != nil {
		return err
	}
	for _, a := range all {
		if err := t.putSearchKeys(a); err != nil {
			return err
		}
	}
	return nil
}

const assignmentColumns = `person, organisation, hsa_id, email, upn, sid, ends_at, updated_at`

func assignmentDest(a *register.Assignment) []any {
	return []any{str(&a.Person), str(&a.Organisation), str(&a.HSAID), str(&a.Email), str(&a.UPN), str(&a.SID),
		intoTime{&a.EndsAt}, intoTime{&a.UpdatedAt}}
}

// PutAssignment implements register.People.
func (t *tx) PutAssignment(a *register.Assignment) error {
	var owner policy.PersonID
	found, err := t.one("reading owner of HSA-id", `SELECT person FROM assignments WHERE hsa_id = $1 ORDER BY organisation LIMIT 1`,
		[]any{string(a.HSAID)}, str(&owner))
	if err != nil {
		return err
	}
	if found && owner != a.Person {
		return fmt.Errorf("putting assignment: HSA-id of another person: %w", issue.ErrConflict)
	}
	if err := t.accountFree(a); err != nil {
		return err
	}
	_, err = t.exec("putting assignment", `INSERT INTO assignments (`+assignmentColumns+`, account)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (person, organisation) DO UPDATE SET hsa_id = excluded.hsa_id, email = excluded.email, account = excluded.account,
			upn = excluded.upn, sid = excluded.sid, ends_at = excluded.ends_at, updated_at = excluded.updated_at`,
		text(a.Person), text(a.Organisation), text(a.HSAID), text(a.Email), text(a.UPN), text(a.SID), at(a.EndsAt), at(a.UpdatedAt),
		text(Fold(a.UPN)))
	if err != nil {
		return err
	}
	return t.putSearchKeys(a)
}

// accountFree returns ErrConflict if the Windows account or SID is another
// person's.
func (t *tx) accountFree(a *register.Assignment) error {
	for _, each := range []struct{ what, query, value string }{
		{"UPN", `SELECT person FROM assignments WHERE account = $1 AND person <> $2 LIMIT 1`, Fold(a.UPN)},
		{"SID", `SELECT person FROM assignments WHERE sid = $1 AND person <> $2 LIMIT 1`, a.SID},
	} {
		if each.value == "" {
			continue
		}
		var owner policy.PersonID
		found, err := t.one("reading owner of "+each.what, each.query, []any{each.value, string(a.Person)}, str(&owner))
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("putting assignment: %s of another person: %w", each.what, issue.ErrConflict)
		}
	}
	return nil
}

// putSearchKeys replaces the search keys of an assignment: the name in both
// orders, HSA-id, personal number.
func (t *tx) putSearchKeys(a *register.Assignment) error {
	p, err := t.Person(a.Person)
	if err != nil {
		return err
	}
	_, err = t.exec("dropping search keys", `DELETE FROM person_search WHERE person = $1 AND organisation = $2`,
		string(a.Person), string(a.Organisation))
	if err != nil {
		return err
	}
	for _, key := range []string{p.GivenName + " " + p.Surname, p.Surname + " " + p.GivenName, string(a.HSAID), p.Number.Digits()} {
		_, err := t.exec("inserting search key", `INSERT INTO person_search (organisation, folded, person)
			VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, string(a.Organisation), Fold(key), string(a.Person))
		if err != nil {
			return err
		}
	}
	return nil
}

// Assignment implements register.People.
func (t *tx) Assignment(p policy.PersonID, o policy.OrganisationID) (*register.Assignment, error) {
	return t.assignment(`SELECT `+assignmentColumns+` FROM assignments WHERE person = $1 AND organisation = $2`, string(p), string(o))
}

// AssignmentByHSAID implements register.People. A person with the HSA-id in
// several branches is found by the first of them.
func (t *tx) AssignmentByHSAID(id policy.HSAID) (*register.Assignment, error) {
	return t.assignment(`SELECT `+assignmentColumns+` FROM assignments WHERE hsa_id = $1 ORDER BY organisation LIMIT 1`, string(id))
}

func (t *tx) assignment(query string, args ...any) (*register.Assignment, error) {
	a := new(register.Assignment)
	if err := missing(t.one("reading assignment", query, args, assignmentDest(a)...)); err != nil {
		return nil, err
	}
	return a, nil
}

// SearchPeople implements register.People. The name is found in either order of
// its parts.
func (t *tx) SearchPeople(org policy.OrganisationID, prefix string, after policy.HSAID, limit int) ([]*register.Assignment, error) {
	from := Fold(prefix)
	if from == "" {
		return list(t, "listing people", `SELECT `+assignmentColumns+` FROM assignments
			WHERE organisation = $1 AND hsa_id > $2 ORDER BY hsa_id LIMIT $3`,
			[]any{string(org), string(after), int64(limit)}, assignmentDest)
	}
	// Nothing sorts after U+10FFFF, byte by byte, in UTF-8.
	return list(t, "searching people", `SELECT `+assignmentColumns+` FROM assignments
		WHERE organisation = $1 AND hsa_id > $2 AND person IN (
			SELECT person FROM person_search WHERE organisation = $3 AND folded >= $4 AND folded < $5)
		ORDER BY hsa_id LIMIT $6`,
		[]any{string(org), string(after), string(org), from, from + "\U0010FFFF", int64(limit)}, assignmentDest)
}

// unaccented are the letters that people type without their marks.
var unaccented = strings.NewReplacer(
	"å", "a", "ä", "a", "à", "a", "á", "a", "â", "a", "ã", "a", "æ", "ae", "ö", "o", "ø", "o", "ò", "o", "ó", "o",
	"ô", "o", "õ", "o", "œ", "oe", "é", "e", "è", "e", "ê", "e", "ë", "e", "ü", "u", "ù", "u", "ú", "u", "û", "u",
	"í", "i", "ì", "i", "î", "i", "ï", "i", "ý", "y", "ÿ", "y", "ñ", "n", "ń", "n", "ç", "c", "ć", "c", "č", "c",
	"š", "s", "ś", "s", "ž", "z", "ź", "z", "ż", "z", "ł", "l", "ð", "d", "đ", "d", "þ", "th", "ß", "ss")

// Fold gives the form in which names and numbers are searched: lower case, å ä ö
// and other marked letters as their plain ones, one space between words. It is
// done here because the databases fold differently, and SQLite only ASCII.
func Fold(s string) string {
	// A name may come with its marks as characters of their own (NFD).
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, strings.ToLower(s))
	return strings.Join(strings.Fields(unaccented.Replace(s)), " ")
}
