package register

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders/issue"
	"sigill/policy"
)

// PersonRow is a person with an assignment as the directory tells it.
type PersonRow struct {
	Number    policy.PersonNumber
	Kind      policy.NumberKind
	GivenName string
	Surname   string
	HSAID     policy.HSAID
	Email     string
	UPN       string
	SID       string
	EndsAt    time.Time
	Protected bool
}

// RowResult tells what became of a row of a file. Row 1 is the first after the
// heading.
type RowResult struct {
	Row    int
	Key    string // what names the row: HSA-id, card number
	Result string // "created", "changed", "unchanged", "refused"
	Rule   policy.Rule
	Detail string
	DER    []byte // of a transport certificate that was made
}

// MaxRows bounds a file.
const MaxRows = 10_000

var peopleHeading = []string{"personnummer", "givenName", "surname", "hsaId", "email", "upn", "sid", "endsAt", "protected"}

// ParsePeople reads a file of persons: UTF-8, comma-separated, with the heading
// personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected. Any wrong
// row refuses the whole file and is named.
func ParsePeople(r io.Reader) ([]PersonRow, error) {
	var rows []PersonRow
	err := readCSV(r, peopleHeading, func(n int, f []string) error {
		row := PersonRow{GivenName: f[1], Surname: f[2], Email: f[4], UPN: f[5], SID: f[6]}
		var err error
		if row.Number, row.Kind, err = policy.ParsePersonNumber(f[0]); err != nil {
			return err
		}
		if row.HSAID, err = policy.ParseHSAID(f[3]); err != nil {
			return err
		}
		if f[7] != "" {
			if row.EndsAt, err = time.Parse(time.DateOnly, f[7]); err != nil {
				return errors.New("endsAt is not a date YYYY-MM-DD")
			}
		}
		switch f[8] {
		case "", "no":
		case "yes":
			row.Protected = true
		default:
			return errors.New("protected is yes, no or empty")
		}
		if err := row.check(); err != nil {
			return err
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// check refuses what could never stand in a certificate: it would be ordered,
// approved and downloaded, and found out when the key is in the card already.
func (r PersonRow) check() error {
	for _, f := range []struct{ name, value string }{{"givenName", r.GivenName}, {"surname", r.Surname}} {
		if f.value == "" {
			return fmt.Errorf("%s: it is missing", f.name)
		}
	}
	err := checkContent("", ca.Content{GivenName: r.GivenName, Surname: r.Surname, SerialNumber: string(r.HSAID),
		Email: r.Email, UPN: r.UPN, SID: r.SID})
	if err != nil {
		return err
	}
	name := policy.ContentOf(policy.ContentFacts{GivenName: r.GivenName, Surname: r.Surname}, nil).CommonName
	return checkContent("givenName and surname together", ca.Content{CommonName: name})
}

// checkContent is [ca.CheckContent] in the words of a file: fields are named as in
// its heading, or name if it is not empty.
func checkContent(name string, c ca.Content) error {
	err := ca.CheckContent(c)
	refused, ok := errors.AsType[*ca.RequestError](err)
	if !ok {
		return err
	}
	if name == "" {
		name = strings.TrimPrefix(refused.Field, "content.")
	}
	return fmt.Errorf("%s: %s", name, refused.Reason)
}

// organisationName checks a name that will stand in certificates.
func organisationName(s string) error {
	if s == "" {
		return errors.New("name: it is missing")
	}
	return checkContent("name", ca.Content{Organisation: s})
}

// errNotUTF8 is told in words for who has a spreadsheet program before him.
var errNotUTF8 = errors.New(`the file is not in UTF-8: save it as "CSV UTF-8"`)

// readCSV calls row with the fields of each row after the heading. A mark of
// UTF-8 before it (U+FEFF, which spreadsheet programs write) is passed over.
func readCSV(r io.Reader, heading []string, row func(n int, fields []string) error) error {
	form := func(n int, err error) error {
		return policy.Refuse(policy.RequestForm, "row %d: %s", n, err).Err()
	}
	const mark = "\ufeff"
	in := bufio.NewReader(r)
	first, err := in.Peek(len(mark))
	if err := reading(err); err != nil {
		return err
	}
	if string(first) == mark {
		in.Discard(len(mark)) // it is there: it was peeked at
	}
	c := csv.NewReader(in)
	c.FieldsPerRecord = len(heading)
	c.ReuseRecord = true
	head, err := c.Read()
	if err := reading(err); err != nil {
		return err
	}
	if slices.ContainsFunc(head, notUTF8) {
		return form(0, errNotUTF8)
	}
	if err != nil || strings.Join(head, ",") != strings.Join(heading, ",") {
		return form(0, fmt.Errorf("the heading must be %s", strings.Join(heading, ",")))
	}
	for n := 1; ; n++ {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err := reading(err); err != nil {
			return err
		}
		if slices.ContainsFunc(fields, notUTF8) {
			err = errNotUTF8
		}
		if err != nil {
			return form(n, err)
		}
		if n > MaxRows {
			return form(n, fmt.Errorf("more than %d rows", MaxRows))
		}
		if err := row(n, fields); err != nil {
			return form(n, err)
		}
	}
}

func notUTF8(s string) bool { return !utf8.ValidString(s) }

// reading returns err if it is of the reader and not of what was read: a file that
// is too long or was cut off is not a file with a wrong row.
func reading(err error) error {
	if _, wrong := errors.AsType[*csv.ParseError](err); err == nil || wrong || errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("reading file: %w", err)
}

// ImportPeople takes rows from the directory over, each in a transaction of its
// own; importing the same rows again changes nothing.
func (s *Service) ImportPeople(ctx context.Context, c Caller, org policy.OrganisationID, rows []PersonRow) ([]RowResult, error) {
	err := s.Store.View(ctx, func(tx *Tx) error { return Administrator(tx, c, org) })
	if err != nil {
		return nil, s.Keep(ctx, err, c.Name(), issue.F("organisation", string(org)))
	}
	results := make([]RowResult, len(rows))
	for i, row := range rows {
		res := RowResult{Row: i + 1, Key: string(row.HSAID)}
		err := s.Store.Update(ctx, func(tx *Tx) error {
			if err := Administrator(tx, c, org); err != nil {
				return err
			}
			var err error
			res.Result, err = s.putPerson(tx, c.Name(), org, row)
			return err
		})
		if errors.Is(err, issue.ErrConflict) {
			err = policy.Refuse(policy.RequestForm, "the HSA-id, UPN or SID belongs to another person").Err()
		}
		if refusal, ok := errors.AsType[*policy.Refusal](err); ok {
			res.Result, res.Rule, res.Detail = "refused", refusal.Rule, refusal.Detail
		} else if err != nil {
			return results[:i], err
		}
		results[i] = res
	}
	return results, nil
}

// putPerson inserts or changes a person and the assignment in org.
func (s *Service) putPerson(tx *Tx, by string, org policy.OrganisationID, row PersonRow) (string, error) {
	now := s.Now().UTC().Truncate(time.Microsecond)
	if !row.EndsAt.IsZero() && !now.Before(row.EndsAt) {
		// Ending takes eIDs, orders and roles with it: that is an act of its own.
		return "", policy.Refuse(policy.OrderAssignment, "endsAt has passed: end the assignment instead").Err()
	}
	result := "unchanged"
	p, err := tx.PersonByNumber(row.Number)
	switch {
	case errors.Is(err, issue.ErrNotFound):
		result = "created"
		p = &Person{ID: policy.PersonID(policy.NewID("per")), Number: row.Number, NumberKind: row.Kind,
			GivenName: row.GivenName, Surname: row.Surname, Protected: row.Protected, CreatedAt: now}
		err = tx.InsertPerson(p)
	case err == nil && (p.GivenName != row.GivenName || p.Surname != row.Surname || row.Protected && !p.Protected):
		// One who is employed elsewhere is not renamed from here; and a file
		// never takes a protection away.
		if _, err = tx.Assignment(p.ID, org); errors.Is(err, issue.ErrNotFound) {
			return "", policy.Refuse(policy.RequestForm, "the person is registered under another name or protection").Err()
		} else if err != nil {
			return "", err
		}
		result = "changed"
		p.GivenName, p.Surname, p.Protected = row.GivenName, row.Surname, p.Protected || row.Protected
		err = tx.PutPerson(p)
	}
	if err != nil {
		return "", err
	}
	want := Assignment{Person: p.ID, Organisation: org, HSAID: row.HSAID, Email: row.Email, UPN: row.UPN,
		SID: row.SID, EndsAt: row.EndsAt.UTC(), UpdatedAt: now}
	old, err := tx.Assignment(p.ID, org)
	switch {
	case errors.Is(err, issue.ErrNotFound):
		if result == "unchanged" {
			result = "changed"
		}
	case err != nil:
		return "", err
	case old.HSAID == want.HSAID && old.Email == want.Email && old.UPN == want.UPN && old.SID == want.SID && old.EndsAt.Equal(want.EndsAt):
		if result == "unchanged" {
			return result, nil
		}
	default:
		if result == "unchanged" {
			result = "changed"
		}
	}
	if err := tx.PutAssignment(&want); err != nil {
		return "", err
	}
	ev := issue.NewEvent(audit.PersonImported, now, by, issue.F("person", string(p.ID)), issue.F("organisation", string(org)),
		issue.F("result", result))
	ev.Personal = []audit.Field{{Name: "number", Value: row.Number.Digits()}, {Name: "givenName", Value: row.GivenName},
		{Name: "surname", Value: row.Surname}, {Name: "hsaId", Value: string(row.HSAID)}, {Name: "email", Value: row.Email},
		{Name: "upn", Value: row.UPN}, {Name: "sid", Value: row.SID}, {Name: "protected", Value: yesNo(p.Protected)},
		{Name: "endsAt", Value: dateOf(row.EndsAt)}}
	return result, tx.Events.Append(ev)
}

// dateOf writes a time that may not be set.
func dateOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
