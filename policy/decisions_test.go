package policy_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/policy"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// decided compares a decision with the rule that is to refuse; "" for allowed.
func decided(t *testing.T, d policy.Decision, rule policy.Rule) {
	t.Helper()
	if d.Allow != (rule == "") || d.Rule != rule {
		t.Errorf("%+v, want rule %q", d, rule)
	}
	if err := d.Err(); (err == nil) != d.Allow {
		t.Errorf("decision %+v is error %v", d, err)
	} else if refusal, ok := errors.AsType[*policy.Refusal](err); !d.Allow && (!ok || refusal.Rule != rule || !strings.Contains(err.Error(), string(rule))) {
		t.Errorf("decision %+v is error %v", d, err)
	}
}

// cases runs decide over facts that are right but for one change.
func cases[T any](t *testing.T, right T, decide func(T) policy.Decision, changes []change[T]) {
	t.Helper()
	t.Run("right", func(t *testing.T) { decided(t, decide(right), "") })
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			f := right
			c.change(&f)
			decided(t, decide(f), c.rule)
		})
	}
}

type change[T any] struct {
	name   string
	change func(*T)
	rule   policy.Rule
}

func TestLogin(t *testing.T) {
	right := policy.LoginFacts{Now: now, Known: true, Profile: policy.ProfileAuthentication, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		Current: true, CardState: policy.CardActive, CardExpires: now.Add(time.Hour), HolderAgree: true}
	type F = policy.LoginFacts
	transport := func(f *F) {
		f.Profile, f.HolderAgree, f.ArmedUntil = policy.ProfileTransport, false, now.Add(time.Second)
	}
	cases(t, right, policy.Login, []change[F]{
		{"unknown", func(f *F) { f.Known = false }, policy.LoginUnknown},
		{"unknown and all else", func(f *F) { *f = F{Now: now} }, policy.LoginUnknown},
		{"signing certificate", func(f *F) { f.Profile = policy.ProfileSigning }, policy.LoginProfile},
		{"server certificate", func(f *F) { f.Profile = policy.ProfileServer }, policy.LoginProfile},
		{"OCSP certificate", func(f *F) { f.Profile = policy.ProfileOCSP }, policy.LoginProfile},
		{"officer here", func(f *F) { f.Profile = policy.ProfileOfficer }, policy.LoginProfile},
		{"revoked", func(f *F) { f.Revoked = true }, policy.LoginRevoked},
		{"stands nowhere", func(f *F) { f.Current = false }, policy.LoginRevoked},
		{"not yet", func(f *F) { f.NotBefore = now.Add(time.Second) }, policy.LoginExpired},
		{"first second", func(f *F) { f.NotBefore = now }, ""},
		{"last second", func(f *F) { f.NotAfter = now }, ""},
		{"no longer", func(f *F) { f.NotAfter = now.Add(-time.Second) }, policy.LoginExpired},
		{"locked", func(f *F) { f.CardState = policy.CardLocked }, policy.LoginCard},
		{"blocked", func(f *F) { f.CardState = policy.CardBlocked }, policy.LoginCard},
		{"card expired", func(f *F) { f.CardExpires = now }, policy.LoginCard},
		{"another's", func(f *F) { f.HolderAgree = false }, policy.LoginCard},
		{"pending", func(f *F) { f.Current, f.Pending = false, true }, policy.LoginPending},
		{"pending confirms", func(f *F) { f.Current, f.Pending, f.Confirming = false, true, true }, ""},
		{"pending of a locked card", func(f *F) { f.Current, f.Pending, f.Confirming, f.CardState = false, true, true, policy.CardLocked }, policy.LoginCard},
		{"transport armed", transport, ""},
		{"transport unarmed", func(f *F) { transport(f); f.ArmedUntil = time.Time{} }, policy.LoginUnarmed},
		{"transport too late", func(f *F) { transport(f); f.ArmedUntil = now }, policy.LoginUnarmed},
		{"transport of a sent card", func(f *F) { transport(f); f.CardState = policy.CardSent }, policy.LoginCard},
	})
}

func TestPlaceOrder(t *testing.T) {
	right := policy.OrderFacts{Now: now, Type: policy.OrderOrdinary, IDKind: policy.ByHSAID, LoA: 3, CardKind: policy.Ordinary, CardState: policy.CardActive,
		CardExpires: now.AddDate(5, 0, 0), OwnCard: true, HolderAgree: true, Identity: "passport", NumberKind: policy.Personnummer,
		Born: now.AddDate(-18, 0, 0), Assigned: true, NotAfter: now.AddDate(1, 0, 0), IssuerNotAfter: now.AddDate(9, 0, 0)}
	type F = policy.OrderFacts
	reserve := func(f *F) { f.CardKind, f.Type = policy.Reserve, policy.OrderReserve3 }
	cases(t, right, policy.PlaceOrder, []change[F]{
		{"for oneself", func(f *F) { f.CallerIsPerson = true }, policy.OrderSelf},
		{"another's card", func(f *F) { f.HolderAgree = false }, policy.OrderHolder},
		{"sent card", func(f *F) { f.CardState = policy.CardSent }, policy.CardStateRule},
		{"blocked card", func(f *F) { f.CardState = policy.CardBlocked }, policy.CardStateRule},
		{"ordinary on reserve card", func(f *F) { f.CardKind = policy.Reserve }, policy.OrderTypeRule},
		{"ordinary on another's card", func(f *F) { f.OwnCard = false }, policy.OrderTypeRule},
		{"ordinary beside an eID", func(f *F) { f.HasCurrent = true }, policy.OrderTypeRule},
		{"last place", func(f *F) { f.EIDs, f.MaxEIDs = 2, 2 }, ""},
		{"no place", func(f *F) { f.EIDs, f.MaxEIDs = 3, 2 }, policy.OrderCardFull},
		{"product not known any more", func(f *F) { f.EIDs, f.MaxEIDs = 1, policy.Product{}.EIDs() }, policy.OrderCardFull},
		{"update on a full card", func(f *F) { f.EIDs, f.MaxEIDs, f.HasCurrent, f.Type = 3, 2, true, policy.OrderUpdate }, ""},
		{"reserve", reserve, ""},
		{"reserve on ordinary card", func(f *F) { reserve(f); f.CardKind = policy.Ordinary }, policy.OrderTypeRule},
		{"reserve 3 at level 2", func(f *F) { reserve(f); f.LoA = 2 }, policy.OrderTypeRule},
		{"reserve 2 at level 3", func(f *F) { reserve(f); f.Type = policy.OrderReserve2 }, policy.OrderTypeRule},
		{"reserve 2", func(f *F) { reserve(f); f.Type, f.LoA = policy.OrderReserve2, 2 }, ""},
		{"extra", func(f *F) { f.Type, f.OwnCard = policy.OrderExtra, false }, ""},
		{"extra on own card", func(f *F) { f.Type = policy.OrderExtra }, policy.OrderTypeRule},
		{"extra beside an eID", func(f *F) { f.Type, f.OwnCard, f.HasCurrent = policy.OrderExtra, false, true }, policy.OrderTypeRule},
		{"update", func(f *F) { f.Type, f.HasCurrent = policy.OrderUpdate, true }, ""},
		{"update of nothing", func(f *F) { f.Type = policy.OrderUpdate }, policy.OrderUpdateNothing},
		{"renewal of nothing", func(f *F) { f.Type = policy.OrderRenewal }, policy.OrderUpdateNothing},
		{"unknown type", func(f *F) { f.Type = "gift" }, policy.OrderTypeRule},
		{"level 4", func(f *F) { f.LoA = 4 }, policy.OrderTypeRule},
		{"level 1", func(f *F) { f.LoA = 1 }, policy.OrderTypeRule},
		{"unknown identifier", func(f *F) { f.IDKind = "shoe-size" }, policy.OrderTypeRule},
		{"samordningsnummer at level 3", func(f *F) { f.NumberKind = policy.Samordningsnummer }, policy.OrderIdentity},
		{"samordningsnummer at level 2", func(f *F) { f.NumberKind, f.LoA = policy.Samordningsnummer, 2 }, ""},
		{"17 years", func(f *F) { f.Born = now.AddDate(-18, 0, 1) }, policy.OrderIdentity},
		{"17 years at level 2", func(f *F) { f.Born, f.LoA = now.AddDate(-18, 0, 1), 2 }, ""},
		{"14 years at level 2", func(f *F) { f.Born, f.LoA = now.AddDate(-15, 0, 1), 2 }, policy.OrderIdentity},
		{"no assignment", func(f *F) { f.Assigned = false }, policy.OrderAssignment},
		{"assignment ended", func(f *F) { f.Ends = now }, policy.OrderAssignment},
		{"such an order is open", func(f *F) { f.OpenSame = true }, policy.OrderDuplicate},
		{"dead at once", func(f *F) { f.NotAfter = now }, policy.OrderValidity},
		{"outlives the card", func(f *F) { f.NotAfter = f.CardExpires.Add(time.Second) }, policy.OrderValidity},
		{"as long as the card", func(f *F) { f.NotAfter = f.CardExpires }, ""},
		{"outlives the assignment", func(f *F) { f.Ends = now.AddDate(0, 6, 0) }, policy.OrderValidity},
		{"outlives the issuer", func(f *F) { f.IssuerNotAfter = now.AddDate(0, 6, 0) }, policy.OrderValidity},
	})
}

func TestApproveOrder(t *testing.T) {
	type F = policy.ApproveFacts
	right := F{Now: now, State: policy.OrderPlaced, ExpiresAt: now.Add(time.Hour)}
	cases(t, right, policy.ApproveOrder, []change[F]{
		{"approved by one already", func(f *F) { f.State = policy.OrderApproved }, ""},
		{"for oneself", func(f *F) { f.CallerIsPerson = true }, policy.OrderSelf},
		{"own order", func(f *F) { f.CallerPlaced = true }, policy.OrderApprover},
		{"twice", func(f *F) { f.CallerApproved = true }, policy.OrderApprover},
		{"withdrawn", func(f *F) { f.State = policy.OrderWithdrawn }, policy.OrderStateRule},
		{"installed", func(f *F) { f.State = policy.OrderInstalled }, policy.OrderStateRule},
		{"expired", func(f *F) { f.ExpiresAt = now }, policy.OrderExpiredRule},
	})
}

func TestRequiredSignatures(t *testing.T) {
	for _, c := range []struct {
		kind       policy.OrderType
		loa, login policy.LoA
		want       int
	}{
		{policy.OrderOrdinary, 3, 0, 2}, {policy.OrderOrdinary, 3, 3, 2}, {policy.OrderExtra, 3, 3, 2}, {policy.OrderReserve3, 3, 3, 2},
		{policy.OrderRenewal, 3, 3, 1}, {policy.OrderUpdate, 3, 3, 1}, {policy.OrderRenewal, 3, 2, 2}, {policy.OrderUpdate, 3, 0, 2},
		{policy.OrderReserve2, 2, 0, 1}, {policy.OrderOrdinary, 2, 0, 1},
	} {
		if got := policy.RequiredSignatures(c.kind, c.loa, c.login); got != c.want {
			t.Errorf("%s at %d with log-in at %d: %d, want %d", c.kind, c.loa, c.login, got, c.want)
		}
	}
}

func planFacts() policy.PlanFacts {
	content := ca.Content{Country: "SE", Organisation: "Region", CommonName: "Åsa Öström", Email: "asa@region.example"}
	return policy.PlanFacts{Now: now, Salt: "000102030405060708090a0b0c0d0e0f", Download: "dl_1", Card: "9752000000000000001", CardState: policy.CardActive, CardExpires: now.AddDate(5, 0, 0),
		Holder: "per_1", Login: ca.Fingerprint{1}, LoginLoA: 3, LoginCard: "9752000000000000001", Order: "ord_1", OrderHash: [32]byte{2},
		OrderType: policy.OrderRenewal, OrderState: policy.OrderApproved, OrderExpires: now.Add(time.Hour), OrderCard: "9752000000000000001",
		OrderPerson: "per_1", Signatures: 1, Assigned: true, PendingUntil: now.AddDate(0, 0, 1), ContentNow: content,
		Addition: policy.Addition{Slot: policy.Authentication, Profile: policy.ProfileAuthentication, Issuer: "i", Organisation: "org_1",
			IDKind: policy.ByHSAID, LoA: 3, NotAfter: now.AddDate(1, 0, 0), Content: content, Algorithms: []string{"P-256"}, Provenance: policy.Session}}
}

func TestMakePlanRefuses(t *testing.T) {
	type F = policy.PlanFacts
	cases(t, planFacts(), func(f F) policy.Decision { _, d := policy.MakePlan(f); return d }, []change[F]{
		{"another card", func(f *F) { f.LoginCard = "9752000000000000002" }, policy.DownloadCard},
		{"order of another card", func(f *F) { f.Card, f.LoginCard = "9752000000000000002", "9752000000000000002" }, policy.DownloadCard},
		{"another's log-in", func(f *F) { f.LoginOther = true }, policy.OrderHolder},
		{"another's order", func(f *F) { f.OrderPerson = "per_2" }, policy.OrderHolder},
		{"locked card", func(f *F) { f.CardState = policy.CardLocked }, policy.CardStateRule},
		{"expired card", func(f *F) { f.CardExpires = now }, policy.CardStateRule},
		{"placed order", func(f *F) { f.OrderState = policy.OrderPlaced }, policy.OrderApprovals},
		{"withdrawn order", func(f *F) { f.OrderState = policy.OrderWithdrawn }, policy.OrderStateRule},
		{"installed order", func(f *F) { f.OrderState = policy.OrderInstalled }, policy.OrderStateRule},
		{"expired order", func(f *F) { f.OrderExpires = now }, policy.OrderExpiredRule},
		{"no assignment", func(f *F) { f.Assigned = false }, policy.OrderAssignment},
		{"weaker log-in", func(f *F) { f.LoginLoA, f.Signatures = 2, 2 }, policy.LoginLoA},
		{"weaker log-in, identity seen, one signature", func(f *F) { f.LoginLoA, f.Identity = 0, "passport" }, policy.OrderApprovals},
		{"weaker log-in, identity seen, two signatures", func(f *F) { f.LoginLoA, f.Identity, f.Signatures = 0, "passport", 2 }, ""},
		{"no signature", func(f *F) { f.Signatures = 0 }, policy.OrderApprovals},
		{"one signature of two", func(f *F) { f.OrderType = policy.OrderOrdinary }, policy.OrderApprovals},
		{"directory changed", func(f *F) { f.ContentNow.Email = "" }, policy.OrderContent},
		{"ends before it begins", func(f *F) { f.Addition.NotAfter = now }, policy.OrderValidity},
	})
}

// A plan removes what stands at the same place, the signing certificate too, and
// nothing else.
func TestMakePlanRemoves(t *testing.T) {
	f := planFacts()
	f.Standings = []policy.Standing{
		standing("org_1", policy.ByHSAID, policy.Authentication, 1), standing("org_1", policy.ByHSAID, policy.Signing, 2),
		standing("org_1", policy.ByPersonNumber, policy.Authentication, 3), standing("org_2", policy.ByHSAID, policy.Authentication, 4),
		standing("org_1", policy.ByHSAID, policy.Transport, 5),
	}
	p, d := policy.MakePlan(f)
	decided(t, d, "")
	var got []string
	for _, r := range p.Removes {
		got = append(got, r.Fingerprint[:2])
		if r.FetchAnew || r.Reason != "superseded" || r.Action != "revoke and delete" {
			t.Errorf("%+v", r)
		}
	}
	if !slices.Equal(got, []string{"01", "02"}) {
		t.Errorf("removes %v", got)
	}
	if len(p.Adds) != 1 || p.Login != ca.Fingerprint([32]byte{1}).String() || p.Holder != "per_1" || p.Version != 1 {
		t.Errorf("plan %+v", p)
	}
	b, hash := p.Bytes()
	if hash != sha256.Sum256(b) {
		t.Error("the hash is not of the bytes")
	}
	if again, err := policy.ParsePlan(b); err != nil {
		t.Error(err)
	} else if b2, _ := again.Bytes(); !bytes.Equal(b, b2) {
		t.Errorf("%s\nis read as\n%s", b, b2)
	}
}

func TestParsePlanIsCanonical(t *testing.T) {
	p, _ := policy.MakePlan(planFacts())
	right, _ := p.Bytes()
	replace := func(old, new string) []byte {
		b := []byte(strings.Replace(string(right), old, new, 1))
		if bytes.Equal(b, right) {
			t.Fatalf("%q is not in a plan", old)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"space":          append(bytes.Clone(right), ' '),
		"second plan":    append(bytes.Clone(right), right...),
		"version":        replace(`"version":1`, `"version":2`),
		"empty salt":     replace(`"salt":"000102030405060708090a0b0c0d0e0f"`, `"salt":""`),
		"short salt":     replace(`"salt":"00`, `"salt":"`),
		"long salt":      replace(`"salt":"`, `"salt":"00`),
		"salt in case":   replace(`0e0f"`, `0E0F"`),
		"salt of words":  replace(`0e0f"`, `0e0g"`),
		"unknown member": replace(`"version":1`, `"version":1,"more":1`),
		"member twice":   replace(`"version":1`, `"version":1,"version":1`),
		"other case":     replace(`"holder"`, `"Holder"`),
		"no removes":     replace(`,"removes":[]`, ``),
		"escape":         replace(`"card":"9`, `"card":"\u0039`),
		"too long":       bytes.Repeat([]byte(" "), 64<<10+1),
	} {
		if _, err := policy.ParsePlan(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A plan carries the salt that was drawn for it; one of before has none and is read.
func TestPlanCarriesItsSalt(t *testing.T) {
	f, g := planFacts(), signingFacts()
	f.Salt, g.Salt = policy.NewSalt(), policy.NewSalt()
	ordered, d := policy.MakePlan(f)
	signing, e := policy.MakeSigningPlan(g)
	if !d.Allow || !e.Allow || ordered.Salt != f.Salt || signing.Salt != g.Salt || f.Salt == g.Salt || f.Salt == "" {
		t.Errorf("salts %q and %q of %q and %q", ordered.Salt, signing.Salt, f.Salt, g.Salt)
	}
	one, hash := ordered.Bytes()
	ordered.Salt = policy.NewSalt()
	if _, other := ordered.Bytes(); other == hash {
		t.Error("the hash does not tell the salt")
	}
	ordered.Salt = ""
	before, _ := ordered.Bytes()
	if p, err := policy.ParsePlan(before); err != nil || p.Salt != "" || bytes.Contains(before, []byte("salt")) {
		t.Errorf("a plan of before: %v", err)
	}
	if p, err := policy.ParsePlan(one); err != nil || p.Salt != f.Salt {
		t.Errorf("a plan: %v", err)
	}
}

func FuzzParsePlan(f *testing.F) {
	p, _ := policy.MakePlan(planFacts())
	b, _ := p.Bytes()
	f.Add(b)
	f.Add([]byte(`{"version":1,"pendingUntil":"9999-12-31T23:59:59-23:59"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := policy.ParsePlan(b)
		if err != nil {
			return
		}
		if again, _ := p.Bytes(); !bytes.Equal(again, b) {
			t.Errorf("%q is read as %q", b, again)
		}
	})
}

func TestStillHolds(t *testing.T) {
	type F = policy.HoldFacts
	right := F{Now: now, CardState: policy.CardActive, CardExpires: now.Add(time.Hour), SameHolder: true, OrderState: policy.OrderApproved,
		OrderExpires: now.Add(time.Hour), SameOrder: true, LoginStands: true, UpToRecord: true, Assigned: true, Signatures: 2, Required: 2}
	after := func(change func(*F)) func(*F) { return func(f *F) { f.UpToRecord = false; change(f) } }
	for _, always := range []change[F]{
		{"card blocked", func(f *F) { f.CardState = policy.CardBlocked }, policy.CardStateRule},
		{"card expired", func(f *F) { f.CardExpires = now }, policy.CardStateRule},
		{"another holder", func(f *F) { f.SameHolder = false }, policy.OrderHolder},
		{"order withdrawn", func(f *F) { f.OrderState = policy.OrderWithdrawn }, policy.OrderStateRule},
		{"another order", func(f *F) { f.SameOrder = false }, policy.OrderStateRule},
		{"log-in revoked", func(f *F) { f.LoginRevoked = true }, policy.LoginRevoked},
	} {
		cases(t, right, policy.StillHolds, []change[F]{always, {always.name + " after record", after(always.change), always.rule}})
	}
	for _, first := range []change[F]{
		{"order expired", func(f *F) { f.OrderExpires = now }, policy.OrderExpiredRule},
		{"log-in gone", func(f *F) { f.LoginStands = false }, policy.DownloadChanged},
		{"no assignment", func(f *F) { f.Assigned = false }, policy.OrderAssignment},
		{"directory changed", func(f *F) { f.ContentField = "email" }, policy.OrderContent},
		{"signature gone", func(f *F) { f.Signatures = 1 }, policy.OrderApprovals},
	} {
		cases(t, right, policy.StillHolds, []change[F]{first, {first.name + " after record", after(first.change), ""}})
	}
}

func TestLimits(t *testing.T) {
	decided(t, policy.MayIntend(0, 0), "")
	decided(t, policy.MayIntend(policy.IntentsPerSlot-1, policy.IntentsPerCard-1), "")
	decided(t, policy.MayIntend(policy.IntentsPerSlot, 0), policy.IntentLimit)
	decided(t, policy.MayIntend(0, policy.IntentsPerCard), policy.IntentLimit)
	all := []policy.Provenance{"", policy.Session, policy.Personalised, policy.Attested}
	for i, have := range all {
		for j, need := range all[1:] {
			want := policy.Rule("")
			if i < j+1 {
				want = policy.KeyProvenance
			}
			decided(t, policy.AdmitProvenance(have, need), want)
		}
	}
}

// Each field that stands in a certificate is compared.
func TestDifferentField(t *testing.T) {
	for name, change := range map[string]func(*ca.Content){
		"country": func(c *ca.Content) { c.Country = "NO" }, "organisation": func(c *ca.Content) { c.Organisation = "x" },
		"commonName": func(c *ca.Content) { c.CommonName = "x" }, "surname": func(c *ca.Content) { c.Surname = "x" },
		"givenName": func(c *ca.Content) { c.GivenName = "x" }, "serialNumber": func(c *ca.Content) { c.SerialNumber = "x" },
		"cardNumber": func(c *ca.Content) { c.CardNumber = "x" }, "email": func(c *ca.Content) { c.Email = "x" },
		"upn": func(c *ca.Content) { c.UPN = "x" }, "sid": func(c *ca.Content) { c.SID = "x" },
	} {
		var c ca.Content
		change(&c)
		if got := policy.DifferentField(ca.Content{}, c); got != name {
			t.Errorf("%s: %q", name, got)
		}
		if got := policy.DifferentField(c, c); got != "" {
			t.Errorf("%s: the same differs in %q", name, got)
		}
	}
}

func TestContentOf(t *testing.T) {
	f := policy.ContentFacts{Country: "SE", Organisation: "Region", GivenName: "Åsa", Surname: "Öström", HSAID: "SE2321000016-1",
		Number: "191212121212", Email: "a@b.example", UPN: "a@ad", SID: "S-1-5-21-1", Card: "9752000000000000001", IDKind: policy.ByHSAID}
	want := ca.Content{Country: "SE", Organisation: "Region", CommonName: "Åsa Öström", Surname: "Öström", GivenName: "Åsa", SerialNumber: "SE2321000016-1",
		CardNumber: "9752000000000000001", Email: "a@b.example", UPN: "a@ad", SID: "S-1-5-21-1", PolicyOIDs: []string{"2.999.1"}}
	if got := policy.ContentOf(f, []string{"2.999.1"}); !got.Equal(want) {
		t.Errorf("%+v", got)
	}
	f.IDKind, want.SerialNumber = policy.ByPersonNumber, "191212121212"
	if got := policy.ContentOf(f, []string{"2.999.1"}); !got.Equal(want) {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		card policy.CardKind
		kind policy.OrderType
		want string
	}{{policy.Ordinary, policy.OrderOrdinary, "ordinary/3"}, {policy.Ordinary, policy.OrderUpdate, "ordinary/3"}, {policy.Reserve, policy.OrderUpdate, "reserve/3"},
		{policy.Reserve, policy.OrderReserve3, "reserve/3"}, {policy.Ordinary, policy.OrderReserve3, "reserve/3"}} {
		if got := policy.Routine(c.card, c.kind, 3); got != c.want {
			t.Errorf("%s on %s card: %s", c.kind, c.card, got)
		}
	}
}

// What is final is left by nothing, and nothing becomes what it was.
func TestMoves(t *testing.T) {
	cards := []policy.CardState{policy.CardOrdered, policy.CardSent, policy.CardActive, policy.CardLocked, policy.CardBlocked, policy.CardScrapped, policy.CardExpired}
	for _, from := range cards {
		final := from == policy.CardBlocked || from == policy.CardScrapped || from == policy.CardExpired
		for _, to := range cards {
			if from.CanMove(to) && (final || from == to) {
				t.Errorf("card: %s to %s", from, to)
			}
		}
	}
	if !policy.CardActive.CanMove(policy.CardLocked) || !policy.CardLocked.CanMove(policy.CardActive) || policy.CardSent.CanMove(policy.CardLocked) {
		t.Error("locking is for cards that are active")
	}
	for _, from := range []policy.OrderState{policy.OrderInstalled, policy.OrderWithdrawn, policy.OrderRefused, policy.OrderExpired} {
		for _, to := range []policy.OrderState{policy.OrderPlaced, policy.OrderApproved, policy.OrderInstalled, policy.OrderWithdrawn, policy.OrderRefused, policy.OrderExpired} {
			if from.CanMove(to) {
				t.Errorf("order: %s to %s", from, to)
			}
		}
	}
	if policy.OrderPlaced.CanMove(policy.OrderInstalled) || !policy.OrderApproved.CanMove(policy.OrderInstalled) {
		t.Error("only approved orders are installed")
	}
	for _, to := range []policy.DownloadState{policy.DownloadInstalled, policy.DownloadAbandoned, policy.DownloadLapsed} {
		if !policy.DownloadPlanned.CanMove(to) || to.CanMove(policy.DownloadPlanned) {
			t.Errorf("download: planned and %s", to)
		}
	}
	if policy.ItemSigned.CanMove(policy.ItemPlanned) || !policy.ItemIntended.CanMove(policy.ItemPlanned) || policy.ItemPlanned.CanMove(policy.ItemSigned) || !policy.ItemSigned.CanMove(policy.ItemInstalled) {
		t.Error("an item that was signed never falls back, and is intended first")
	}
}

func TestParsePersonNumber(t *testing.T) {
	for _, c := range []struct {
		text string
		want policy.PersonNumber
		kind policy.NumberKind
		born string
	}{
		{"191212121212", "191212121212", policy.Personnummer, "1912-12-12"},
		{"19121212-1212", "191212121212", policy.Personnummer, "1912-12-12"},
		{"198112289874", "198112289874", policy.Personnummer, "1981-12-28"},
		{"197010632391", "197010632391", policy.Samordningsnummer, "1970-10-03"},
		{"200002292399", "200002292399", policy.Personnummer, "2000-02-29"},
		{"200002292390", "", "", ""}, // check digit
		{"191212121213", "", "", ""},
		{"191213121212", "", "", ""}, // month 13
		{"190002291212", "", "", ""}, // no leap year
		{"191212001212", "", "", ""}, // day 0
		{"191212601212", "", "", ""}, // day 0 of a samordningsnummer
		{"191212931212", "", "", ""}, // day 33
		{"1212121212", "", "", ""},
		{"121212-1212", "", "", ""},
		{"191212+121212", "", "", ""},
		{"19121212121２", "", "", ""},
		{"19121212 1212", "", "", ""},
		{"", "", "", ""},
	} {
		n, kind, err := policy.ParsePersonNumber(c.text)
		if n != c.want || kind != c.kind || (err == nil) != (c.want != "") {
			t.Errorf("%q: %s, %s, %v", c.text, n.Digits(), kind, err)
			continue
		}
		if err != nil {
			continue
		}
		if born := n.Born().Format(time.DateOnly); born != c.born {
			t.Errorf("%q: born %s", c.text, born)
		}
		if shown := n.String(); shown != string(c.want[:8])+"-****" {
			t.Errorf("%q is shown as %q", c.text, shown)
		}
	}
	if s := policy.PersonNumber("").String(); s != "(no number)" {
		t.Error(s)
	}
}

func FuzzParsePersonNumber(f *testing.F) {
	f.Add("191212121212")
	f.Add("19701063-2391")
	f.Fuzz(func(t *testing.T, text string) {
		n, kind, err := policy.ParsePersonNumber(text)
		if err != nil {
			return
		}
		again, kind2, err := policy.ParsePersonNumber(n.Digits())
		if err != nil || again != n || kind2 != kind || n.Born().IsZero() {
			t.Errorf("%q: %s, then %s, %v", text, n.Digits(), again.Digits(), err)
		}
	})
}

func TestParseNumbers(t *testing.T) {
	for text, ok := range map[string]bool{"9752263890112233445": true, "9753263890112233445": false, "975226389011223344": false,
		"97522638901122334455": false, "9752 63890112233445": false, "9752263890112233445\n": false, "": false, "975226389011223344５": false} {
		if n, err := policy.ParseCardNumber(text); (err == nil) != ok || ok && string(n) != text {
			t.Errorf("card %q: %v", text, err)
		}
	}
	for text, ok := range map[string]bool{"SE2321000016-1": true, "SE2321000016-Abc9": true, "SE2321000016-" + strings.Repeat("1", 17): true, "SE2321000016-" + strings.Repeat("1", 18): true,
		"SE2321000016-" + strings.Repeat("1", 19): false, "se2321000016-1": false, "SE232100001-1": false, "SE2321000016-": false, "SE2321000016-å": false, "SE2321000016-1\n": false} {
		if id, err := policy.ParseHSAID(text); (err == nil) != ok || ok && string(id) != text {
			t.Errorf("HSA-id %q: %v", text, err)
		}
	}
}

func TestNewID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := policy.NewID("ord")
		if len(id) != 28 || !strings.HasPrefix(id, "ord_") || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}
