package register_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

func handOver(t *testing.T, s *worldtest.Scene, caller *world.Holder, act string, to *world.Holder, by ...*world.Holder) error {
	t.Helper()
	document, err := world.HandOverDocument(act, to)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.StateAs(statement.Statement{Act: act, Subject: string(to.Card), For: string(to.Person), Card: string(to.Card),
		Content: register.HashOf(document)}, by...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Login(t.Context(), caller)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Register.HandOver(t.Context(), c, document, signed)
	return err
}

// Nobody arms his own card: not by himself, not by a statement of his own that a
// colleague hands in, and not as the second of two.
func TestNobodyArmsHisOwnCard(t *testing.T) {
	s := worldtest.New(t)
	one, two := s.Admins[0], s.Admins[1]
	s.Refused(handOver(t, s, two, statement.ActArm, two, two, one), policy.CardSelf)
	s.Refused(handOver(t, s, one, statement.ActArm, two, two, one), policy.StatementSignature)
	s.Refused(handOver(t, s, one, statement.ActArm, two, one, two), policy.CardSelf)
	s.Refused(handOver(t, s, one, statement.ActArm, two, one), policy.StatementForm) // one alone
	s.Refused(handOver(t, s, one, statement.ActArm, two, one, one), policy.StatementForm)
	s.Refused(handOver(t, s, one, statement.ActHandOut, two, one), policy.CardStateRule)
	if n := s.Rows("cards", "number = ? AND armed_until IS NOT NULL", string(two.Card)); n != 0 {
		t.Error("the card is armed")
	}
}

// A card has one holder, for ever.
func TestCardKeepsItsHolder(t *testing.T) {
	s := worldtest.New(t)
	h, other := s.Person(), s.Person()
	thief := &world.Holder{Person: other.Person, Card: h.Card}
	s.Refused(handOver(t, s, s.Admins[0], statement.ActArm, thief, s.Admins[0], s.Admins[1]), policy.OrderHolder)
	s.Refused(handOver(t, s, s.Admins[0], statement.ActHandOut, thief, s.Admins[0]), policy.CardStateRule)
	s.Exec("UPDATE cards SET state = 'sent' WHERE number = ?", string(h.Card))
	s.Refused(handOver(t, s, s.Admins[0], statement.ActHandOut, thief, s.Admins[0]), policy.OrderHolder)
	nobody := &world.Holder{Person: "per_nobody", Card: h.Card}
	s.Refused(handOver(t, s, s.Admins[0], statement.ActHandOut, nobody, s.Admins[0]), policy.OrderAssignment)
	missing := &world.Holder{Person: h.Person, Card: "9752000000000999999"}
	s.Refused(handOver(t, s, s.Admins[0], statement.ActHandOut, missing, s.Admins[0]), policy.RoleMissing)
}

// A hand-over that comes again arms nothing again.
func TestReplayedArmingChangesNothing(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Person()
	document, err := world.HandOverDocument(statement.ActArm, h)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.StateAs(statement.Statement{Act: statement.ActArm, Subject: string(h.Card), For: string(h.Person), Card: string(h.Card),
		Content: register.HashOf(document)}, s.Admins[0], s.Admins[1])
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Login(ctx, s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Register.HandOver(ctx, c, document, signed)
	if err != nil {
		t.Fatal(err)
	}
	s.Pass(time.Minute)
	again, err := s.Register.HandOver(ctx, c, document, signed)
	if err != nil || !again.ArmedUntil.Equal(first.ArmedUntil) {
		t.Errorf("again: armed until %s, was %s, %v", again.ArmedUntil, first.ArmedUntil, err)
	}
}

// Who logs in is judged on every request from what the store says then.
func TestLogin(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	as := func(der []byte) error {
		_, err := s.Register.Login(ctx, der, false)
		return err
	}
	der := h.CertificateOf()
	if err := as(der); err != nil {
		t.Fatal(err)
	}
	refusals := s.Rows("events", "act = 'login.refused'")
	unknown := append([]byte(nil), der...)
	unknown[len(unknown)-1] ^= 1
	err := as(unknown)
	if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != policy.LoginUnknown {
		t.Errorf("a certificate that is not ours: %v", err)
	}
	if n := s.Rows("events", "act = 'login.refused'"); n != refusals {
		t.Error("anybody can make rows with certificates of his own")
	}
	sign, err := s.AddSigning(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	s.Refused(as(sign.DER), policy.LoginProfile)
	for _, c := range []struct {
		what  string
		query string
		undo  string
		rule  policy.Rule
	}{
		{"locked card", "UPDATE cards SET state = 'locked' WHERE number = ?", "UPDATE cards SET state = 'active' WHERE number = ?", policy.LoginCard},
		{"expired card", "UPDATE cards SET expires_at = expires_at - 1000000000000000 WHERE number = ?",
			"UPDATE cards SET expires_at = expires_at + 1000000000000000 WHERE number = ?", policy.LoginCard},
		{"another's card", "UPDATE cards SET holder = (SELECT id FROM persons WHERE id <> holder LIMIT 1) WHERE number = ?", "", policy.LoginCard},
	} {
		t.Log(c.what)
		s.Exec(c.query, string(h.Card))
		s.Refused(as(der), c.rule)
		if c.undo != "" {
			s.Exec(c.undo, string(h.Card))
			if err := as(der); err != nil {
				t.Fatal(err)
			}
		}
	}
	late := s.Holder()
	s.Exec("UPDATE cards SET expires_at = expires_at + 1000000000000000 WHERE number = ?", string(late.Card))
	s.Pass(6 * 366 * 24 * time.Hour)
	s.Refused(as(late.CertificateOf()), policy.LoginExpired)
}

// A row that somebody wrote into the database opens no door: the CA's own
// signature is what is believed.
func TestInventedCertificateRowOpensNothing(t *testing.T) {
	s := worldtest.New(t)
	h := s.Person()
	// The transport certificate, said to be an eID at level 3.
	fp := ca.FingerprintOf(h.TransportDER())
	s.Exec("UPDATE certificates SET profile = 'authentication', loa = 3, person = ?, slot = 'authentication', organisation = ?, id_kind = 'hsa-id' WHERE fingerprint = ?",
		string(h.Person), string(s.Org), fp[:])
	_, err := s.Register.Login(t.Context(), h.TransportDER(), false)
	if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != policy.LoginUnknown {
		t.Errorf("a forged row: %v", err)
	}
}

// Persons with protected identity are in no list and in no search.
func TestProtectedPersonIsNotFound(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Person()
	row, err := s.Row(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	row.Protected = true
	if err := s.Import(ctx, row); err != nil {
		t.Fatal(err)
	}
	c, err := s.Login(ctx, s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"", string(h.HSAID), "öström", h.Number.Digits()} {
		list, err := s.Register.Search(ctx, c, s.Org, prefix, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.ID == h.Person {
				t.Errorf("found by %q", prefix)
			}
		}
	}
}

// A page that those with protected identity make shorter would tell that they are
// there, and an empty one would end the list before its end.
func TestPagesAreFullWithoutTheProtected(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	c, err := s.Login(ctx, s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		row, err := s.Row(ctx, s.Person())
		if err != nil {
			t.Fatal(err)
		}
		// More in a row than a page holds, and one at the end.
		if row.Protected = i >= 2 && i <= 5 || i == 8; row.Protected {
			if err := s.Import(ctx, row); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := s.Register.Search(ctx, c, s.Org, "", "", 0)
	if err != nil || len(all) < 4 || len(all) != s.Rows("persons", "NOT protected") {
		t.Fatalf("%d persons, %v", len(all), err)
	}
	for _, size := range []int{1, 2, 3, len(all)} {
		var after policy.HSAID
		for at := 0; at <= len(all); at += size {
			want := all[at:min(at+size, len(all))]
			got, err := s.Register.Search(ctx, c, s.Org, "", after, size)
			if err != nil || len(got) != len(want) {
				t.Fatalf("pages of %d: %d persons after %q, want %d, %v", size, len(got), after, len(want), err)
			}
			for i, e := range got {
				if e.ID != want[i].ID || e.Protected {
					t.Errorf("pages of %d: %s stands where %s is due", size, e.Assignment.HSAID, want[i].Assignment.HSAID)
				}
				after = e.Assignment.HSAID
			}
		}
	}
}

// Importing the same again changes nothing; an HSA-id has one owner.
func TestImportAgain(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, other := s.Person(), s.Person()
	row, err := s.Row(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Login(ctx, s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	run := func(row register.PersonRow) register.RowResult {
		t.Helper()
		r, err := s.Register.ImportPeople(ctx, c, s.Org, []register.PersonRow{row})
		if err != nil {
			t.Fatal(err)
		}
		return r[0]
	}
	events := s.Rows("events", "TRUE")
	if r := run(row); r.Result != "unchanged" || s.Rows("events", "TRUE") != events {
		t.Errorf("the same again: %+v", r)
	}
	row.Surname = "Ny"
	if r := run(row); r.Result != "changed" {
		t.Errorf("another name: %+v", r)
	}
	row.HSAID = other.HSAID
	if r := run(row); r.Result != "refused" {
		t.Errorf("another's HSA-id: %+v", r)
	}
	again, err := s.Row(ctx, other)
	if err != nil || again.Number != other.Number {
		t.Errorf("the owner of the HSA-id: %+v, %v", again, err)
	}
	stranger, err := s.Login(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Register.ImportPeople(ctx, stranger, s.Org, []register.PersonRow{row})
	s.Refused(err, policy.RoleLoA)
}

// A role that ended is none, on the next request.
func TestEndedRoleIsNone(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	c, err := s.Login(ctx, s.Admins[1])
	if err != nil {
		t.Fatal(err)
	}
	err = s.Views.Register.Update(ctx, func(tx *register.Tx) error {
		return tx.EndGrant(s.Admins[1].Person, s.Org, policy.RoleAdministrator, s.Now())
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Register.ListCards(ctx, c, s.Org, "", 1)
	s.Refused(err, policy.RoleMissing)
	p, err := s.Register.WhoAmI(ctx, c)
	if err != nil || len(p.Grants) != 0 {
		t.Errorf("grants %v, %v", p.Grants, err)
	}
	_, err = s.Register.ListCards(ctx, c, "org_none", "", 1)
	s.Refused(err, policy.RoleMissing)
}

// cutOff is a reader that ends with an error, as one of a body that is too large.
type cutOff struct{ io.Reader }

var errCut = errors.New("cut off")

func (c cutOff) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errCut
	}
	return n, err
}

const peopleHead = "personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected\n"

func TestParsePeople(t *testing.T) {
	right := "191212121212,Åsa,Öström,SE2321000016-A1,asa@region.example,asa@ad.region.example,S-1-5-21-1-2-3-4,2031-12-31,yes\n"
	rows, err := register.ParsePeople(strings.NewReader(peopleHead + right))
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	want := register.PersonRow{Number: "191212121212", Kind: policy.Personnummer, GivenName: "Åsa", Surname: "Öström", HSAID: "SE2321000016-A1",
		Email: "asa@region.example", UPN: "asa@ad.region.example", SID: "S-1-5-21-1-2-3-4", EndsAt: time.Date(2031, 12, 31, 0, 0, 0, 0, time.UTC), Protected: true}
	if !rows[0].EndsAt.Equal(want.EndsAt) {
		// The last day may be told as its end.
		want.EndsAt = rows[0].EndsAt
		if d := want.EndsAt.Sub(time.Date(2031, 12, 31, 0, 0, 0, 0, time.UTC)); d < 0 || d > 25*time.Hour {
			t.Errorf("ends at %s", rows[0].EndsAt)
		}
	}
	if rows[0] != want {
		t.Errorf("got %+v\nwant %+v", rows[0], want)
	}
	for name, file := range map[string]string{
		"nothing":         "",
		"other heading":   "a,b\n",
		"too few fields":  peopleHead + "191212121212,Åsa\n",
		"check digit":     peopleHead + strings.Replace(right, "191212121212", "191212121213", 1),
		"HSA-id":          peopleHead + strings.Replace(right, "SE2321000016-A1", "SE23-A1", 1),
		"no given name":   peopleHead + strings.Replace(right, "Åsa", "", 1),
		"space around":    peopleHead + strings.Replace(right, "Åsa", " Åsa", 1),
		"control":         peopleHead + strings.Replace(right, "Åsa", "Å\x07sa", 1),
		"not UTF-8":       peopleHead + strings.Replace(right, "Åsa", "\xff", 1),
		"long name":       peopleHead + strings.Replace(right, "Åsa", strings.Repeat("å", 65), 1),
		"e-mail":          peopleHead + strings.Replace(right, "asa@region.example", "Åsa <asa@region.example>", 1),
		"e-mail with å":   peopleHead + strings.Replace(right, "asa@region.example", "åsa@region.example", 1),
		"UPN":             peopleHead + strings.Replace(right, "asa@ad.region.example", "asa", 1),
		"SID":             peopleHead + strings.Replace(right, "S-1-5", "X-1-5", 1),
		"date":            peopleHead + strings.Replace(right, "2031-12-31", "31/12 2031", 1),
		"protected":       peopleHead + strings.Replace(right, ",yes", ",perhaps", 1),
		"second row":      peopleHead + right + strings.Replace(right, "2031-12-31", "never", 1),
		"too many rows":   peopleHead + strings.Repeat(right, register.MaxRows+1),
		"quote left open": peopleHead + `"191212121212`,
	} {
		rows, err := register.ParsePeople(strings.NewReader(file))
		if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != policy.RequestForm {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
	}
	// What ends in the middle is not a file with a wrong row: it would be told
	// as one, and half of it might be believed.
	for n := range len(peopleHead + right) {
		_, err := register.ParsePeople(cutOff{strings.NewReader((peopleHead + right)[:n])})
		if !errors.Is(err, errCut) {
			t.Fatalf("cut off after %d octets: %v", n, err)
		}
	}
}

func TestParseHandOver(t *testing.T) {
	right := `{"act":"card.handout","card":"9752000000000000001","person":"per_1","identity":"passport"}`
	if h, err := register.ParseHandOver([]byte(right)); err != nil || h.Act != statement.ActHandOut {
		t.Fatal(h, err)
	}
	for name, c := range map[string]struct {
		document string
		rule     policy.Rule
	}{
		"nothing":        {"", policy.RequestForm},
		"space":          {right + " ", policy.RequestForm},
		"unknown member": {strings.Replace(right, "{", `{"more":1,`, 1), policy.RequestForm},
		"member twice":   {strings.Replace(right, "{", `{"act":"card.arm",`, 1), policy.RequestForm},
		"other act":      {strings.Replace(right, "card.handout", "order.place", 1), policy.RequestForm},
		"no identity":    {strings.Replace(right, "passport", "", 1), policy.CardIdentity},
		"library card":   {strings.Replace(right, "passport", "library-card", 1), policy.CardIdentity},
	} {
		_, err := register.ParseHandOver([]byte(c.document))
		if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != c.rule {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseFounding(t *testing.T) {
	right := `{"salt":"00112233445566778899aabbccddeeff","organisation":{"number":"2321000016","name":"Region"},"administrators":[` +
		`{"personnummer":"191212121212","givenName":"Tolvan","surname":"Tolvansson","hsaId":"SE2321000016-1"},` +
		`{"personnummer":"198112289874","givenName":"Åsa","surname":"Öström","hsaId":"SE2321000016-2"}]}`
	if _, rows, err := register.ParseFounding([]byte(right)); err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	for name, document := range map[string]string{
		"nothing":        "",
		"space":          right + "\n",
		"unknown member": strings.Replace(right, "{", `{"more":1,`, 1),
		"no salt":        strings.Replace(right, `"salt":"00112233445566778899aabbccddeeff",`, "", 1),
		"empty salt":     strings.Replace(right, "00112233445566778899aabbccddeeff", "", 1),
		"short salt":     strings.Replace(right, "00112233445566778899aabbccddeeff", "0011", 1),
		"number":         strings.Replace(right, "2321000016", "232100001", 1),
		"no name":        strings.Replace(right, `"Region"`, `""`, 1),
		"same person":    strings.Replace(right, "198112289874", "191212121212", 1),
		"check digit":    strings.Replace(right, "198112289874", "198112289875", 1),
		"hsa-id":         strings.Replace(right, "SE2321000016-2", "2", 1),
		"one":            right[:strings.Index(right, `,{"personnummer":"1981`)] + "]}",
	} {
		_, _, err := register.ParseFounding([]byte(document))
		if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != policy.RequestForm {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key that is certified once is certified never again, on whatever card, and a
// delivery that is interrupted goes on where it stopped.
func TestIssueKeys(t *testing.T) {
	s := worldtest.New(t)
	h := s.Person()
	fp, err := ca.FingerprintKey(h.TransportKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	admit := func(k issue.KeySeen) error {
		k.Fingerprint, k.Verdict, k.SeenAt = fp, issue.Admitted, s.Now()
		return s.Views.Issue.View(t.Context(), func(tx *issue.Tx) error { return issue.AdmitKey(tx, k) })
	}
	if err := admit(issue.KeySeen{Card: h.Card, Slot: policy.Transport}); err != nil {
		t.Errorf("the same card again: %v", err)
	}
	for _, k := range []issue.KeySeen{
		{Card: "9752000000000999999", Slot: policy.Transport},
		{Card: h.Card, Slot: policy.Authentication},
		{Card: h.Card, Slot: policy.Transport, Download: "dl_1"},
		{Slot: policy.Transport},
		{},
	} {
		err := admit(k)
		if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != policy.KeySeenRule {
			t.Errorf("%+v: %v", k, err)
		}
	}
}
