package privacy_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/internal/store"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/issue"
	"sigill/orders/privacy"
	"sigill/orders/register"
	"sigill/policy"
)

func TestMain(m *testing.M) { os.Exit(worldtest.Main(m)) }

type scene struct {
	*worldtest.Scene
	*testing.T
	holder *world.Holder
}

func start(t *testing.T) *scene {
	t.Helper()
	s := &scene{Scene: worldtest.New(t), T: t}
	s.holder = s.Holder()
	// Refused as somebody who is nobody's administrator: an event with a detail.
	if _, err := s.Register.Card(t.Context(), s.caller(s.holder), "9752000000000000000"); err == nil {
		t.Fatal("a card that is not there was shown")
	}
	return s
}

func (s *scene) caller(h *world.Holder) register.Caller {
	s.Helper()
	c, err := s.World.Login(s.Context(), h)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *scene) erase(person policy.PersonID, org policy.OrganisationID, by ...*world.Holder) (*privacy.Outcome, error) {
	s.Helper()
	document, signed := s.stated(person, org, by...)
	return s.Privacy.Erase(s.Context(), s.caller(by[0]), person, document, signed)
}

func (s *scene) stated(person policy.PersonID, org policy.OrganisationID, by ...*world.Holder) ([]byte, []register.Signed) {
	s.Helper()
	document, err := json.Marshal(privacy.Erasure{Act: statement.ActErase, Organisation: org, Person: person})
	if err != nil {
		s.Fatal(err)
	}
	signed, err := s.StateAs(statement.Statement{Act: statement.ActErase, Subject: string(person), For: string(person), Content: register.HashOf(document)}, by...)
	if err != nil {
		s.Fatal(err)
	}
	return document, signed
}

// leave ends everything that the holder has.
func (s *scene) leave() {
	s.Helper()
	admin := s.caller(s.Admins[0])
	for _, err := range []error{s.Downloads.EndAssignment(s.Context(), admin, s.holder.Person, s.Org),
		s.Downloads.BlockCard(s.Context(), admin, s.holder.Card, "lost")} {
		if err != nil {
			s.Fatal(err)
		}
	}
}

func (s *scene) sound() {
	s.Helper()
	if err := (&audit.Sequencer{Store: s.Store.Audit()}).CatchUp(s.Context()); err != nil {
		s.Fatal(err)
	}
	if _, err := audit.Verify(s.Context(), s.Store.Audit(), nil, func(f audit.Finding) { s.Errorf("the chain: %s", f) }); err != nil {
		s.Fatal(err)
	}
	if err := s.Store.Check(s.Context(), func(v store.Violation) { s.Errorf("the rows: %s", v) }); err != nil {
		s.Fatal(err)
	}
}

func TestExport(t *testing.T) {
	s := start(t)
	row, err := s.Row(t.Context(), s.holder)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Privacy.Export(t.Context(), s.caller(s.Admins[0]), s.Org, s.holder.Person)
	if err != nil {
		t.Fatal(err)
	}
	if e.Person.Number != row.Number || len(e.Assignments) != 1 || e.Assignments[0].Email != row.Email || e.Assignments[0].HSAID != row.HSAID {
		t.Errorf("the register: %+v, %+v", e.Person, e.Assignments)
	}
	if len(e.Cards) != 1 || len(e.Cards[0].Certificates) != 2 || len(e.Cards[0].Orders) != 1 || len(e.Cards[0].Downloads) != 1 ||
		len(e.Cards[0].Certificates[1].DER) == 0 || e.Cards[0].Identity == "" {
		t.Errorf("the card: %+v", e.Cards)
	}
	personal := map[string]string{}
	for _, ev := range e.Events {
		for _, p := range ev.Personal {
			personal[ev.Act+" "+p.Name] = p.Value
		}
	}
	if personal["person.imported surname"] != row.Surname || personal["request.refused detail"] == "" {
		t.Errorf("events say %v", personal)
	}
	if n := s.Rows("events", "act = 'person.exported' AND by_who = ?", string(s.Admins[0].Person)); n != 1 {
		t.Errorf("%d events tell that it was asked for", n)
	}
	// What an administrator did to others is not told of him with their values.
	e, err = s.Privacy.Export(t.Context(), s.caller(s.Admins[1]), s.Org, s.Admins[0].Person)
	if err != nil {
		t.Fatal(err)
	}
	imports := 0
	for _, ev := range e.Events {
		if ev.Act == audit.PersonImported && !ev.About {
			imports++
			if len(ev.Personal) > 0 {
				t.Errorf("of the administrator it is told whom he imported: %+v", ev.Personal)
			}
		}
	}
	signed := 0
	for _, c := range e.Cards[0].Certificates {
		signed += len(c.Signed)
	}
	if imports == 0 || signed == 0 || len(e.Roles) != 1 {
		t.Errorf("of the administrator: %d imports, %d statements, roles %+v", imports, signed, e.Roles)
	}
}

// Who is not an administrator above every organisation that employs the person is
// answered as if the person were not there; so is everybody for one who is protected.
func TestNobodyElseIsTold(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	branch, err := s.CreateBranch(ctx, "Grenen", s.Org)
	if err != nil {
		t.Fatal(err)
	}
	local := s.Holder()
	if err := s.Employ(ctx, local, branch); err != nil {
		t.Fatal(err)
	}
	if err := s.GrantRole(ctx, local, branch.ID, policy.RoleAdministrator); err != nil {
		t.Fatal(err)
	}
	both := s.Holder()
	if err := s.Employ(ctx, both, branch); err != nil {
		t.Fatal(err)
	}
	hidden := s.Person()
	row, err := s.Row(ctx, hidden)
	if err != nil {
		t.Fatal(err)
	}
	row.Protected = true
	if err := s.Import(ctx, row); err != nil {
		t.Fatal(err)
	}
	for _, c := range map[string]struct {
		by     *world.Holder
		org    policy.OrganisationID
		person policy.PersonID
	}{
		"no administrator":            {s.holder, s.Org, s.holder.Person},
		"of himself":                  {s.holder, s.Org, s.holder.Person},
		"not there":                   {s.Admins[0], s.Org, "per_none"},
		"protected":                   {s.Admins[0], s.Org, hidden.Person},
		"employed above":              {s.Admins[0], branch.ID, s.holder.Person},
		"employed in both":            {s.Admins[0], branch.ID, both.Person},
		"in an organisation not mine": {local, s.Org, both.Person},
	} {
		_, err := s.Privacy.Export(ctx, s.caller(c.by), c.org, c.person)
		s.Refused(err, policy.RoleMissing)
		_, err = s.erase(c.person, c.org, c.by, s.Admins[1])
		s.Refused(err, policy.RoleMissing)
	}
	if _, err := s.Privacy.Export(ctx, s.caller(s.Admins[0]), s.Org, both.Person); err != nil {
		t.Errorf("from above both: %v", err)
	}
	if _, err := s.Privacy.Export(ctx, s.Officer(0), s.Org, s.holder.Person); err == nil {
		t.Error("an officer was told")
	}
}

func TestWhoCanActIsNotErased(t *testing.T) {
	s := start(t)
	detail := func(err error) string {
		refusal, ok := errors.AsType[*policy.Refusal](err)
		if !ok || refusal.Rule != policy.PersonActive {
			t.Fatalf("%v, want %s", err, policy.PersonActive)
		}
		return refusal.Detail
	}
	s.Ordered(s.holder, policy.OrderRenewal)
	_, err := s.erase(s.holder.Person, s.Org, s.Admins[0], s.Admins[1])
	if d := detail(err); !strings.Contains(d, "an active card") || !strings.Contains(d, "an eID") || !strings.Contains(d, "an open order") {
		t.Errorf("%q", d)
	}
	if err := s.GrantRole(t.Context(), s.holder, s.Org, policy.RoleReader); err != nil {
		t.Fatal(err)
	}
	_, err = s.erase(s.holder.Person, s.Org, s.Admins[0], s.Admins[1])
	if d := detail(err); !strings.Contains(d, "a role") {
		t.Errorf("%q", d)
	}
	if n := s.Rows("statements", "act = 'person.erase'"); n != 0 {
		t.Errorf("%d statements of what was refused are stored", n)
	}
	s.leave()
	if _, err := s.erase(s.holder.Person, s.Org, s.Admins[0], s.Admins[1]); err != nil {
		t.Errorf("after all ended: %v", err)
	}
}

func TestErase(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	row, err := s.Row(ctx, s.holder)
	if err != nil {
		t.Fatal(err)
	}
	s.leave()
	document, signed := s.stated(s.holder.Person, s.Org, s.Admins[0], s.Admins[1])
	before := s.Rows("event_personal", "1 = 1")
	out, err := s.Privacy.Erase(ctx, s.caller(s.Admins[0]), s.holder.Person, document, signed)
	if err != nil {
		t.Fatal(err)
	}
	// The import and the refusal lost their values, and nobody else's did.
	if gone := before - s.Rows("event_personal", "1 = 1"); out.Values != 2 || out.Assignments != 1 || gone < 2 || gone > 12 {
		t.Errorf("%+v, %d values are gone", out, gone)
	}
	names := s.Rows("persons", "given_name = ? OR surname = ? OR number = ?", row.GivenName, row.Surname, row.Number.Digits())
	if others := s.Rows("persons", "erased_at IS NULL"); names != others {
		t.Errorf("%d rows with names, %d persons", names, others)
	}
	for table, where := range map[string]string{"assignments": "person = ?", "person_search": "person = ?"} {
		if n := s.Rows(table, where, string(s.holder.Person)); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}
	want := map[string]int{"certificates": 2, "orders": 1, "downloads": 1, "log-ins and refusals": 1}
	for _, k := range out.Kept {
		if n, ok := want[k.What]; !ok || k.Count < n || k.Until.Before(s.Now()) || k.Why == "" {
			t.Errorf("kept: %+v", k)
		}
		delete(want, k.What)
	}
	if len(want) > 0 {
		t.Errorf("%+v does not say that %v are kept", out.Kept, want)
	}
	if n := s.Rows("events", "act = 'person.erased' AND by_who = ?", string(s.Admins[0].Person)+","+string(s.Admins[1].Person)); n != 1 {
		t.Errorf("%d events tell of it", n)
	}
	s.sound()

	again, err := s.Privacy.Erase(ctx, s.caller(s.Admins[0]), s.holder.Person, document, signed)
	if err != nil || !again.ErasedAt.Equal(out.ErasedAt) || again.Assignments != 0 || len(again.Kept) != len(out.Kept) {
		t.Errorf("again: %+v, %v", again, err)
	}
	s.Pass(time.Minute) // stated anew, and not the same statements once more
	_, err = s.erase(s.holder.Person, s.Org, s.Admins[1], s.Admins[0])
	s.Refused(err, policy.RoleMissing) // nobody of that name is there any more
	// Employed anew: the number is free, and nothing leads to who was erased.
	if err := s.Import(ctx, row); err != nil {
		t.Fatal(err)
	}
	err = s.Views.Register.View(ctx, func(tx *register.Tx) error {
		p, err := tx.PersonByNumber(row.Number)
		if err == nil && p.ID == s.holder.Person {
			t.Error("the erased person is back")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.sound()
}

// Two people state an erasure, the caller first, over this very document.
func TestTwoEraseTogether(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	s.leave()
	good, signed := s.stated(s.holder.Person, s.Org, s.Admins[0], s.Admins[1])
	other, _ := s.stated(s.Admins[0].Person, s.Org, s.Admins[0])
	first := s.caller(s.Admins[0])
	for name, c := range map[string]struct {
		document []byte
		signed   []register.Signed
		rule     policy.Rule
	}{
		"alone":             {good, signed[:1], policy.StatementForm},
		"nobody":            {good, nil, policy.StatementSignature},
		"one twice":         {good, []register.Signed{signed[0], signed[0]}, policy.StatementForm},
		"the other's card":  {good, []register.Signed{signed[1], signed[0]}, policy.StatementSignature},
		"another document":  {other, signed, policy.RequestForm},
		"not canonical":     {append(slices.Clone(good), ' '), signed, policy.RequestForm},
		"no document":       {nil, signed, policy.RequestForm},
		"another's content": {[]byte(strings.Replace(string(good), "person.erase", "person.spare", 1)), signed, policy.RequestForm},
	} {
		_, err := s.Privacy.Erase(ctx, first, s.holder.Person, c.document, c.signed)
		if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != c.rule {
			t.Errorf("%s: %v, want %s", name, err, c.rule)
		}
	}
	if n := s.Rows("persons", "erased_at IS NOT NULL"); n != 0 {
		t.Fatal("one is erased")
	}
	s.Pass(10 * time.Minute)
	_, err := s.Privacy.Erase(ctx, first, s.holder.Person, good, signed)
	s.Refused(err, policy.StatementTime)
}

var errCrash = errors.New("the power failed")

// Cut off after everything but the commit, nothing of an erasure is there.
func TestErasureIsOneFact(t *testing.T) {
	s := start(t)
	s.leave()
	before := s.Rows("event_personal", "1 = 1")
	err := s.Store.Privacy().Update(t.Context(), func(tx *privacy.Tx) error {
		if err := tx.ErasePerson(s.holder.Person, s.Now()); err != nil {
			return err
		}
		if err := tx.ErasePerson(s.holder.Person, s.Now()); !errors.Is(err, issue.ErrConflict) {
			t.Errorf("erased twice: %v", err)
		}
		return errCrash
	})
	if !errors.Is(err, errCrash) || s.Rows("persons", "erased_at IS NOT NULL") != 0 || s.Rows("event_personal", "1 = 1") != before {
		t.Errorf("%v, and something was done", err)
	}
	s.sound()
}
