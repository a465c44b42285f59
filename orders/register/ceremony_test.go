package register_test

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// founding returns the document and its statement.
func founding(t *testing.T, s *worldtest.Scene) ([]byte, statement.Statement) {
	t.Helper()
	document, err := json.Marshal(s.Founding())
	if err != nil {
		t.Fatal(err)
	}
	return document, statement.Statement{Act: statement.ActFound, Subject: "ceremony", Content: register.HashOf(document)}
}

// One officer alone founds nothing, however often he signs.
func TestFoundingNeedsBothOfficers(t *testing.T) {
	s := worldtest.Bare(t)
	document, st := founding(t, s)
	for name, officers := range map[string][]int{"one": {0}, "the same twice": {0, 0}, "three": {0, 1, 0}} {
		t.Run(name, func(t *testing.T) {
			s.T = t
			signed, err := s.StateAsOfficers(st, officers...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Register.Found(t.Context(), s.Officer(0), document, signed)
			s.Refused(err, policy.StatementForm)
		})
	}
	t.Run("over another document", func(t *testing.T) {
		s.T = t
		other, _ := founding(t, s)
		signed, err := s.StateAsOfficers(st, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Register.Found(t.Context(), s.Officer(0), other, signed)
		s.Refused(err, policy.StatementForm)
	})
	if n := s.Rows("organisations", "TRUE"); n != 0 {
		t.Errorf("%d organisations", n)
	}
}

// An officer's key that was stolen and reported stops being an officer's.
func TestOfficerWithDeadCertificateIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*testing.T, *worldtest.Scene)
		rule policy.Rule
	}{
		"revoked": {func(t *testing.T, s *worldtest.Scene) {
			err := s.Views.Issue.Update(t.Context(), func(tx *issue.Tx) error {
				cert, err := tx.Certificate(ca.FingerprintOf(s.OfficerDER(1)))
				if err != nil {
					return err
				}
				_, err = issue.Revoke(tx, cert, ca.KeyCompromise, "officer.revoked", "system", s.Now())
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}, policy.LoginRevoked},
		"expired": {func(_ *testing.T, s *worldtest.Scene) { s.Pass(2 * 366 * 24 * time.Hour) }, policy.LoginExpired},
	} {
		t.Run(name, func(t *testing.T) {
			s := worldtest.Bare(t)
			c.end(t, s)
			_, err := s.Register.Login(t.Context(), s.OfficerDER(1), false)
			s.Refused(err, c.rule)
			document, st := founding(t, s)
			signed, err := s.StateAsOfficers(st, 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Register.Found(t.Context(), s.Officer(0), document, signed)
			s.Refused(err, c.rule)
		})
	}
}

// The door stands open until two administrators have eIDs, and then is shut for
// ever: neither log-in nor statement of an officer is worth anything.
func TestCeremonyClosesForEver(t *testing.T) {
	s := worldtest.Bare(t)
	ctx := t.Context()
	if err := s.Found(ctx); err != nil {
		t.Fatal(err)
	}
	open := func() bool { return s.Rows("ceremony", "closed_at IS NULL") == 1 }
	if err := s.Equip(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if !open() {
		t.Fatal("closed by the first administrator alone")
	}
	if err := s.DeliverByOfficers(ctx, 1); err != nil {
		t.Fatal(err)
	}
	id, err := s.OrderByOfficers(ctx, s.Admins[1])
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Begin(ctx, s.Admins[1], id)
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Submit(ctx, s.Admins[1], st); err != nil {
		t.Fatal(err)
	}
	if !open() {
		t.Fatal("closed before the second administrator has confirmed")
	}
	if err := s.Confirm(ctx, s.Admins[1], st); err != nil {
		t.Fatal(err)
	}
	if open() {
		t.Fatal("open although two administrators can log in")
	}
	for i := range 2 {
		_, err := s.Register.Login(ctx, s.OfficerDER(i), false)
		s.Refused(err, policy.CeremonyClosed)
	}
	closed := func(what string, err error) {
		t.Helper()
		t.Log(what)
		s.Refused(err, policy.CeremonyClosed)
	}
	// Who was logged in before it closed can do nothing more either.
	_, err = s.Orders.Preview(ctx, s.Officer(0), orders.Request{Type: policy.OrderRenewal, Organisation: s.Org,
		HSAID: s.Admins[0].HSAID, Card: s.Admins[0].Card, IDKind: policy.ByHSAID, LoA: 3})
	closed("order", err)
	_, err = s.Register.ListCards(ctx, s.Officer(0), s.Org, "", 10)
	closed("list", err)
	closed("block", s.Downloads.EndAssignment(ctx, s.Officer(0), s.Admins[0].Person, s.Org))
	document, err := world.HandOverDocument(statement.ActArm, s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.StateAsOfficers(statement.Statement{Act: statement.ActArm, Subject: string(s.Admins[0].Card),
		For: string(s.Admins[0].Person), Card: string(s.Admins[0].Card), Content: register.HashOf(document)}, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Register.HandOver(ctx, s.Officer(0), document, signed)
	closed("arm", err)
	s.Sound()
	s.Truth()
}

// What the officers signed may come again, because the answer was lost or because
// somebody kept it: it changes nothing.
func TestFoundingAgainIsHarmless(t *testing.T) {
	s := worldtest.Bare(t)
	ctx := t.Context()
	document, st := founding(t, s)
	signed, err := s.StateAsOfficers(st, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Register.Found(ctx, s.Officer(0), document, signed)
	if err != nil {
		t.Fatal(err)
	}
	count := func() [4]int {
		return [4]int{s.Rows("organisations", "TRUE"), s.Rows("persons", "TRUE"), s.Rows("grants", "TRUE"), s.Rows("events", "TRUE")}
	}
	before := count()
	again, err := s.Register.Found(ctx, s.Officer(1), document, signed)
	if err != nil {
		t.Fatal(err)
	}
	if *again != *first || count() != before {
		t.Errorf("founding again gave %+v and rows %v, want %+v and %v", again, count(), first, before)
	}
}

// Officers found one organisation and equip its two first administrators, and
// nothing else.
func TestOfficersCanDoNothingElse(t *testing.T) {
	s := worldtest.Bare(t)
	ctx := t.Context()
	if err := s.Found(ctx); err != nil {
		t.Fatal(err)
	}
	scope := func(what string, err error, rule policy.Rule) {
		t.Helper()
		t.Log(what)
		s.Refused(err, rule)
	}
	document, st := founding(t, s) // of other persons, same organisation
	signed, err := s.StateAsOfficers(st, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Register.Found(ctx, s.Officer(0), document, signed)
	scope("other administrators", err, policy.CeremonyScope)
	f := s.Founding()
	f.Organisation.Name = "Another"
	document, err = json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	st.Content = register.HashOf(document)
	if signed, err = s.StateAsOfficers(st, 0, 1); err != nil {
		t.Fatal(err)
	}
	_, err = s.Register.Found(ctx, s.Officer(0), document, signed)
	scope("a second organisation", err, policy.CeremonyScope)
	_, err = s.Register.ImportPeople(ctx, s.Officer(0), s.Org, nil)
	scope("importing people", err, policy.RoleLoA)
	_, err = s.Register.ListCards(ctx, s.Officer(0), "org_other", "", 10)
	scope("cards of another organisation", err, policy.CeremonyScope)

	if err := s.DeliverByOfficers(ctx, 0); err != nil {
		t.Fatal(err)
	}
	stranger := &world.Holder{Person: "per_stranger", Card: s.Admins[0].Card}
	if document, err = world.HandOverDocument(statement.ActHandOut, stranger); err != nil {
		t.Fatal(err)
	}
	st = statement.Statement{Act: statement.ActHandOut, Subject: string(stranger.Card), For: string(stranger.Person),
		Card: string(stranger.Card), Content: register.HashOf(document)}
	if signed, err = s.StateAsOfficers(st, 0, 1); err != nil {
		t.Fatal(err)
	}
	_, err = s.Register.HandOver(ctx, s.Officer(0), document, signed)
	scope("handing out to a stranger", err, policy.CeremonyScope)
}

// One officer alone equips nobody: hand-out and delivery need both signatures,
// an order the signature of each.
func TestOneOfficerAloneIsRefused(t *testing.T) {
	s := worldtest.Bare(t)
	ctx := t.Context()
	if err := s.Found(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.DeliverByOfficers(ctx, 0); err != nil {
		t.Fatal(err)
	}
	h := s.Admins[0]
	document, err := world.HandOverDocument(statement.ActArm, h)
	if err != nil {
		t.Fatal(err)
	}
	st := statement.Statement{Act: statement.ActArm, Subject: string(h.Card), For: string(h.Person), Card: string(h.Card), Content: register.HashOf(document)}
	signed, err := s.StateAsOfficers(st, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Register.HandOver(ctx, s.Officer(0), document, signed)
	s.Refused(err, policy.StatementForm)

	d, err := s.Orders.Preview(ctx, s.Officer(0), orders.Request{Type: policy.OrderOrdinary, Organisation: s.Org,
		HSAID: h.HSAID, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3})
	if err != nil {
		t.Fatal(err)
	}
	if signed, err = s.StateAsOfficers(world.Statement(statement.ActPlace, d), 0); err != nil {
		t.Fatal(err)
	}
	o, err := s.Orders.Place(ctx, s.Officer(0), d.Bytes(), signed)
	if err != nil {
		t.Fatal(err)
	}
	if o.State != policy.OrderPlaced {
		t.Errorf("order by one officer is %s", o.State)
	}
	_, err = s.Begin(ctx, h, o.ID)
	s.Refused(err, policy.OrderApprovals)
	if signed, err = s.StateAsOfficers(world.Statement(statement.ActApprove, d), 0); err != nil {
		t.Fatal(err)
	}
	_, err = s.Orders.Approve(ctx, s.Officer(0), o.ID, signed)
	s.Refused(err, policy.OrderApprover)
	// Nor by lending his log-in to the other's card.
	_, err = s.Orders.Approve(ctx, s.Officer(1), o.ID, signed)
	s.Refused(err, policy.StatementSignature)
	_, err = s.Begin(ctx, h, o.ID)
	s.Refused(err, policy.OrderApprovals)
}

// Who has the log of acts and knows what foundings look like cannot find out by guessing
// whom this one names: the guess lacks the salt, which stands in no column of the database.
func TestFoundingIsSalted(t *testing.T) {
	s := worldtest.Bare(t)
	f := s.Founding()
	document, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.StateAsOfficers(statement.Statement{Act: statement.ActFound, Subject: "ceremony", Content: register.HashOf(document)}, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Register.Found(t.Context(), s.Officer(0), document, signed); err != nil {
		t.Fatal(err)
	}
	says := func(hash [32]byte) int {
		return s.Rows("events", "act = 'ceremony.founded' AND CAST(body AS TEXT) LIKE $1", "%"+hex.EncodeToString(hash[:])+"%")
	}
	if n := says(register.HashOf(document)); n != 1 {
		t.Fatalf("%d acts of the founding name the document", n)
	}
	guess := f
	for _, salt := range []policy.Salt{"", "00000000000000000000000000000000", policy.NewSalt()} {
		guess.Salt = salt
		b, err := json.Marshal(guess)
		if err != nil {
			t.Fatal(err)
		}
		if says(register.HashOf(b)) != 0 {
			t.Errorf("guessed with salt %q", salt)
		}
	}
	if bare := strings.Replace(string(document), `"salt":"`+string(f.Salt)+`",`, "", 1); says(register.HashOf([]byte(bare))) != 0 {
		t.Error("guessed in the form of before")
	}
	for _, x := range []struct{ table, column string }{{"events", "body"}, {"statements", "content"}, {"ceremony", "organisation"}, {"organisations", "name"}} {
		if s.Rows(x.table, "CAST("+x.column+" AS TEXT) LIKE $1", "%"+string(f.Salt)+"%") != 0 {
			t.Errorf("the salt stands in %s", x.table)
		}
	}
}

// A reason may name somebody: without a salt of its own it is not signed.
func TestReasonIsSalted(t *testing.T) {
	for document, right := range map[string]bool{
		`{"organisation":"org_1","signingAllowed":true}`:                                                                true,
		`{"organisation":"org_1","signingAllowed":true,"reason":"beslut 14"}`:                                           false,
		`{"salt":"0011","organisation":"org_1","signingAllowed":true,"reason":"beslut 14"}`:                             false,
		`{"salt":"00112233445566778899aabbccddeeff","organisation":"org_1","signingAllowed":true,"reason":"beslut 14"}`: true,
	} {
		if _, err := register.ParseSwitch([]byte(document)); (err == nil) != right {
			t.Errorf("%s: %v", document, err)
		}
	}
}
