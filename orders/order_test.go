package orders_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/register"
	"sigill/policy"
)

func login(t *testing.T, s *worldtest.Scene, h *world.Holder) register.Caller {
	t.Helper()
	c, err := s.Login(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func preview(t *testing.T, s *worldtest.Scene, h *world.Holder, kind policy.OrderType) orders.Document {
	t.Helper()
	d, err := s.Preview(t.Context(), h, kind)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Administrators neither order nor approve for themselves, in whatever way the
// order came about.
func TestAdministratorsDoNothingForThemselves(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	_, err := s.Preview(ctx, s.Admins[0], policy.OrderRenewal)
	s.Refused(err, policy.OrderSelf)
	d := preview(t, s, s.Admins[1], policy.OrderRenewal)
	_, err = s.Place(ctx, d, 1) // the other's preview, placed by himself
	s.Refused(err, policy.OrderSelf)
	if _, err := s.Place(ctx, d, 0); err != nil {
		t.Fatal(err)
	}
	_, err = s.Approve(ctx, d, 1)
	s.Refused(err, policy.OrderSelf)
	if n := s.Rows("statements", "subject = ?", string(d.Order)); n != 1 {
		t.Errorf("%d statements about the order", n)
	}
}

// Who is no administrator learns no more than that there is nothing for him.
func TestOnlyAdministratorsOrder(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, stranger := s.Holder(), s.Holder()
	d := preview(t, s, h, policy.OrderRenewal)
	if _, err := s.Place(ctx, d, 0); err != nil {
		t.Fatal(err)
	}
	c := login(t, s, stranger)
	_, err := s.Orders.Order(ctx, c, d.Order)
	s.Refused(err, policy.RoleMissing)
	_, unknown := s.Orders.Order(ctx, c, "ord_none")
	s.Refused(unknown, policy.RoleMissing)
	_, err = s.Orders.List(ctx, c, s.Org, "", s.Now(), 10)
	s.Refused(err, policy.RoleMissing)
	_, err = s.Orders.Preview(ctx, c, orders.Request{Type: policy.OrderRenewal, Organisation: s.Org, HSAID: h.HSAID, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3})
	s.Refused(err, policy.RoleMissing)
	_, err = s.Downloads.Withdraw(ctx, c, d.Order)
	s.Refused(err, policy.RoleMissing)
	// With a card that has no eID yet, an administrator is nobody either.
	p := s.Person()
	_, err = s.Orders.List(ctx, login(t, s, p), s.Org, "", s.Now(), 10)
	s.Refused(err, policy.RoleLoA)
}

// A signature over anything but this act on this order, by who is logged in,
// now, is none.
func TestStatementMustBeOfThisOrder(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, other := s.Holder(), s.Holder()
	d := preview(t, s, h, policy.OrderRenewal)
	right := world.Statement(statement.ActPlace, d)
	place := func(signed []register.Signed) error {
		_, err := s.Orders.Place(ctx, login(t, s, s.Admins[0]), d.Bytes(), signed)
		return err
	}
	for name, c := range map[string]struct {
		change func(*statement.Statement)
		rule   policy.Rule
	}{
		"another act":     {func(st *statement.Statement) { st.Act = statement.ActApprove }, policy.StatementForm},
		"another order":   {func(st *statement.Statement) { st.Subject = "ord_other" }, policy.StatementForm},
		"another person":  {func(st *statement.Statement) { st.For = other.Name() }, policy.StatementForm},
		"another card":    {func(st *statement.Statement) { st.Card = string(other.Card) }, policy.StatementForm},
		"another content": {func(st *statement.Statement) { st.Content[0] ^= 1 }, policy.StatementForm},
	} {
		t.Log(name)
		st := right
		c.change(&st)
		signed, err := s.StateAs(st, s.Admins[0])
		if err != nil {
			t.Fatal(err)
		}
		s.Refused(place(signed), c.rule)
	}
	sign := func(by ...*world.Holder) []register.Signed {
		t.Helper()
		signed, err := s.StateAs(right, by...)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	s.Refused(place(nil), policy.StatementForm)
	s.Refused(place(sign(s.Admins[0], s.Admins[1])), policy.StatementForm)
	s.Refused(place(sign(s.Admins[1])), policy.StatementSignature) // a colleague's, handed in
	s.Refused(place(sign(other)), policy.RoleMissing)              // no administrator's
	forged := sign(s.Admins[0])
	forged[0].Signature[10] ^= 1
	s.Refused(place(forged), policy.StatementSignature)
	forged = sign(s.Admins[1])
	forged[0].Certificate = sign(s.Admins[0])[0].Certificate
	s.Refused(place(forged), policy.StatementSignature)
	old := sign(s.Admins[0])
	s.Pass(6 * time.Minute)
	s.Refused(place(old), policy.StatementTime)
	late := sign(s.Admins[0])
	s.Pass(-3 * time.Minute)
	// The services' clock does not go back: only the signer's was ahead.
	if err := place(late); err != nil {
		t.Errorf("a statement of now: %v", err)
	}
	if n := s.Rows("statements", "subject = ?", string(d.Order)); n != 1 {
		t.Errorf("%d statements were kept", n)
	}
}

// What is signed is what the register gives now: no member is the client's to
// choose, and nothing that has changed since is ordered.
func TestDocumentMustBeWhatPreviewGives(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, other := s.Holder(), s.Holder()
	for name, c := range map[string]struct {
		change func(*orders.Document)
		rule   policy.Rule
	}{
		"name":                {func(d *orders.Document) { d.Content.CommonName = "Mallory" }, policy.OrderContent},
		"e-mail":              {func(d *orders.Document) { d.Content.Email = "m@region.example" }, policy.OrderContent},
		"policy":              {func(d *orders.Document) { d.Content.PolicyOIDs = []string{"2.999.1"} }, policy.OrderContent},
		"host":                {func(d *orders.Document) { d.Content.DNSNames = []string{"region.example"} }, policy.OrderContent},
		"issuer":              {func(d *orders.Document) { d.Issuer = world.CardCA }, policy.OrderContent},
		"identity":            {func(d *orders.Document) { d.Identity = "driving-licence" }, policy.OrderContent},
		"longer than allowed": {func(d *orders.Document) { d.NotAfter = d.NotAfter.AddDate(1, 0, 0) }, policy.OrderValidity},
		"dead at once":        {func(d *orders.Document) { d.NotAfter = s.Now().UTC().Add(-time.Hour).Truncate(time.Second) }, policy.OrderValidity},
		"open for ever":       {func(d *orders.Document) { d.ExpiresAt = d.ExpiresAt.AddDate(1, 0, 0) }, policy.OrderContent},
		"over already":        {func(d *orders.Document) { d.ExpiresAt = s.Now().UTC().Add(-time.Hour).Truncate(time.Second) }, policy.OrderContent},
		"another's card":      {func(d *orders.Document) { d.Card = other.Card }, policy.OrderHolder},
		"another person":      {func(d *orders.Document) { d.Person = other.Person }, policy.OrderHolder},
		"unknown card":        {func(d *orders.Document) { d.Card = "9752999999999999999" }, policy.OrderHolder},
		"other kind":          {func(d *orders.Document) { d.IDKind = policy.ByPersonNumber }, policy.OrderUpdateNothing},
		"type":                {func(d *orders.Document) { d.Type = "gift" }, policy.OrderTypeRule},
		"organisation":        {func(d *orders.Document) { d.Organisation = "org_other" }, policy.RoleMissing},
		"id of a card":        {func(d *orders.Document) { d.Order = policy.OrderID(h.Card) }, policy.RequestForm},
		"version":             {func(d *orders.Document) { d.Version = 2 }, policy.RequestForm},
		"no salt":             {func(d *orders.Document) { d.Salt = "" }, policy.OrderContent},
		"short salt":          {func(d *orders.Document) { d.Salt = d.Salt[2:] }, policy.RequestForm},
		"long salt":           {func(d *orders.Document) { d.Salt += "00" }, policy.RequestForm},
		"salt of words":       {func(d *orders.Document) { d.Salt = "pepper and salt, thirty-two long" }, policy.RequestForm},
		"salt in capitals":    {func(d *orders.Document) { d.Salt = "000102030405060708090A0B0C0D0E0F" }, policy.RequestForm},
	} {
		t.Run(name, func(t *testing.T) {
			s.T = t
			d := preview(t, s, h, policy.OrderRenewal)
			c.change(&d)
			_, err := s.Place(ctx, d, 0)
			s.Refused(err, c.rule)
		})
	}
	s.T = t
	if n := s.Rows("orders", "card = ? AND state <> 'installed'", string(h.Card)); n != 0 {
		t.Errorf("%d orders were placed", n)
	}
}

// The same order again is the same order; another one of its kind waits for it.
func TestPlacingAndApprovingAgain(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Person()
	d := preview(t, s, h, policy.OrderOrdinary)
	if _, err := s.Place(ctx, d, 0); err != nil {
		t.Fatal(err)
	}
	events := s.Rows("events", "TRUE")
	o, err := s.Place(ctx, d, 0)
	if err != nil || o.State != policy.OrderPlaced {
		t.Errorf("placing again: %+v, %v", o, err)
	}
	if n := s.Rows("events", "TRUE"); n != events {
		t.Errorf("placing again made %d events", n-events)
	}
	_, err = s.Place(ctx, d, 1)
	s.Refused(err, policy.RequestRepeated)
	_, err = s.Preview(ctx, h, policy.OrderOrdinary)
	s.Refused(err, policy.OrderDuplicate)
	_, err = s.Approve(ctx, d, 0)
	s.Refused(err, policy.OrderApprover)
	signed, err := s.StateAs(world.Statement(statement.ActApprove, d), s.Admins[1])
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if o, err = s.Orders.Approve(ctx, login(t, s, s.Admins[1]), d.Order, signed); err != nil || o.State != policy.OrderApproved {
			t.Fatalf("approving: %+v, %v", o, err)
		}
	}
	if n := s.Rows("statements", "subject = ?", string(d.Order)); n != 2 {
		t.Errorf("%d statements about the order", n)
	}
	s.Pass(time.Second) // another second: another statement
	_, err = s.Approve(ctx, d, 1)
	s.Refused(err, policy.OrderApprover)
	for range 2 {
		if o, err = s.Downloads.Withdraw(ctx, login(t, s, s.Admins[1]), d.Order); err != nil || o.State != policy.OrderWithdrawn {
			t.Fatalf("withdrawing: %+v, %v", o, err)
		}
	}
	s.Pass(-time.Second)
	_, err = s.Begin(ctx, h, d.Order)
	s.Refused(err, policy.OrderStateRule)
	s.Sound()
}

// A renewal that the holder fetches with the eID itself needs one administrator;
// fetched at the desk it needs two.
func TestRenewalNeedsOneSignatureOrTwo(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	d := preview(t, s, h, policy.OrderRenewal)
	o, err := s.Place(ctx, d, 0)
	if err != nil || o.State != policy.OrderApproved {
		t.Fatalf("placed: %+v, %v", o, err)
	}
	if err := s.Arm(ctx, h); err != nil {
		t.Fatal(err)
	}
	eid := h.Current
	h.Current = nil // logs in with the transport certificate
	_, err = s.Begin(ctx, h, d.Order)
	s.Refused(err, policy.OrderApprovals)
	if _, err := s.Approve(ctx, d, 1); err != nil {
		t.Fatal(err)
	}
	st, err := s.Begin(ctx, h, d.Order)
	if err != nil {
		t.Fatal(err)
	}
	h.Current = eid
	if err := s.Downloads.Abandon(ctx, login(t, s, h), st.Download.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Fetch(ctx, h, d.Order); err != nil {
		t.Fatal(err)
	}
	s.Truth()
}

// Of a wrong card, a wrong person and both there is one answer, which tells
// nobody whose card it is.
func TestOneAnswerForWrongCardAndWrongPerson(t *testing.T) {
	s := worldtest.New(t)
	h, other := s.Person(), s.Person()
	c := login(t, s, s.Admins[0])
	texts := map[string]bool{}
	for _, r := range []orders.Request{
		{HSAID: h.HSAID, Card: other.Card},
		{HSAID: h.HSAID, Card: "9752000000000999999"},
		{HSAID: "SE2321000016-NONE", Card: h.Card},
		{Number: other.Number, Card: h.Card},
		{Number: "191212121212", Card: h.Card},
		{Number: "191212121212", Card: "9752000000000999999"},
	} {
		r.Type, r.Organisation, r.IDKind, r.LoA = policy.OrderOrdinary, s.Org, policy.ByHSAID, 3
		_, err := s.Orders.Preview(t.Context(), c, r)
		s.Refused(err, policy.OrderHolder)
		texts[err.Error()] = true
	}
	if len(texts) != 1 {
		t.Errorf("answers %v", texts)
	}
}

// Two orders of the same content have different hashes, whatever their ids are: who
// has the hash and guesses the content cannot tell whether he is right.
func TestOrdersAreSalted(t *testing.T) {
	s := worldtest.New(t)
	h := s.Holder()
	a, b := preview(t, s, h, policy.OrderRenewal), preview(t, s, h, policy.OrderRenewal)
	b.Order = a.Order
	if a.Salt == b.Salt || register.HashOf(a.Bytes()) == register.HashOf(b.Bytes()) {
		t.Errorf("%s and %s", a.Bytes(), b.Bytes())
	}
	a.Salt, b.Salt = "", ""
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("they differ in something else")
	}
	if d, err := orders.ParseDocument(a.Bytes()); err != nil || d.Salt != "" {
		t.Errorf("an order of before: %v", err)
	}
}

// The bytes that are signed have one form only.
func TestParseDocumentIsCanonical(t *testing.T) {
	s := worldtest.New(t)
	right := preview(t, s, s.Holder(), policy.OrderRenewal).Bytes()
	if d, err := orders.ParseDocument(right); err != nil || !bytes.Equal(d.Bytes(), right) {
		t.Fatalf("a preview: %v", err)
	}
	replace := func(old, new string) []byte {
		b := []byte(strings.Replace(string(right), old, new, 1))
		if bytes.Equal(b, right) {
			t.Fatalf("%q is not in a document", old)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"space":            replace(`{"version":1,`, `{"version":1, `),
		"newline":          append(bytes.Clone(right), '\n'),
		"second document":  append(bytes.Clone(right), right...),
		"unknown member":   replace(`"version":1`, `"version":1,"more":1`),
		"member twice":     replace(`"version":1`, `"version":2,"version":1`),
		"other case":       replace(`"version"`, `"Version"`),
		"escaped":          replace(`"card":"9`, `"card":"\u0039`),
		"number with zero": replace(`"loa":3`, `"loa":3.0`),
		"null":             replace(`"idKind":"hsa-id"`, `"idKind":null`),
		"empty salt":       []byte(regexp.MustCompile(`"salt":"[0-9a-f]*"`).ReplaceAllString(string(right), `"salt":""`)),
		"salt twice":       replace(`"salt"`, `"salt":"000102030405060708090a0b0c0d0e0f","salt"`),
		"too long":         bytes.Repeat([]byte(" "), 16<<10+1),
	} {
		if _, err := orders.ParseDocument(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"version":1,"order":"ord_000000000000000000000000","type":"renewal","organisation":"org_1","person":"per_1","card":"9752000000000000001","idKind":"hsa-id","loa":3,"issuer":"person-hsa-id-3-v1","notAfter":"2031-01-01T00:00:00Z","expiresAt":"2027-01-01T00:00:00Z","identity":"passport","content":{"country":"SE","organisation":"Region","commonName":"Åsa Öström"}}`))
	f.Add([]byte(`{"version":1,"salt":"000102030405060708090a0b0c0d0e0f","order":"ord_000000000000000000000000","type":"renewal","organisation":"","person":"","card":"","idKind":"","loa":3,"issuer":"","notAfter":"2031-01-01T00:00:00Z","expiresAt":"2027-01-01T00:00:00Z","content":{}}`))
	f.Add([]byte(`{"version":1,"notAfter":"9999-12-31T23:59:59-23:59"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := orders.ParseDocument(b)
		if err == nil && !bytes.Equal(d.Bytes(), b) {
			t.Errorf("%q is read as %q", b, d.Bytes())
		}
	})
}
