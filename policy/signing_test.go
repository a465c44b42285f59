package policy_test

import (
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/policy"
)

func signingFacts() policy.SigningFacts {
	f := planFacts()
	return policy.SigningFacts{Now: now, Salt: f.Salt, Download: "dl_1", Card: f.Card, CardState: f.CardState, CardExpires: f.CardExpires, Holder: f.Holder,
		Login: f.Login, LoginProfile: policy.ProfileAuthentication, LoginStands: true, LoginCard: f.Card, Order: "ord_1", OrderHash: f.OrderHash,
		OrderState: policy.OrderInstalled, Signatures: 2, Required: 2, SigningAllowed: true, Addition: f.Addition.Signing(), ContentNow: f.ContentNow,
		Assigned: true, PendingUntil: f.PendingUntil}
}

func TestMakeSigningPlanRefuses(t *testing.T) {
	type F = policy.SigningFacts
	cases(t, signingFacts(), func(f F) policy.Decision { _, d := policy.MakeSigningPlan(f); return d }, []change[F]{
		{"transport certificate", func(f *F) { f.LoginProfile = policy.ProfileTransport }, policy.SigningEID},
		{"signing certificate", func(f *F) { f.LoginProfile = policy.ProfileSigning }, policy.SigningEID},
		{"eID that does not stand", func(f *F) { f.LoginStands = false }, policy.SigningEID},
		{"no eID", func(f *F) { f.Login = ca.Fingerprint{} }, policy.SigningEID},
		{"another card", func(f *F) { f.LoginCard = "9752000000000000002" }, policy.DownloadCard},
		{"another's log-in", func(f *F) { f.LoginOther = true }, policy.OrderHolder},
		{"blocked card", func(f *F) { f.CardState = policy.CardBlocked }, policy.CardStateRule},
		{"expired card", func(f *F) { f.CardExpires = now }, policy.CardStateRule},
		{"organisation that does not allow it", func(f *F) { f.SigningAllowed = false }, policy.SigningOff},
		{"order that made nothing", func(f *F) { f.OrderState = policy.OrderApproved }, policy.OrderStateRule},
		{"one signature of two", func(f *F) { f.Signatures = 1 }, policy.OrderApprovals},
		{"no assignment", func(f *F) { f.Assigned = false }, policy.OrderAssignment},
		{"directory changed", func(f *F) { f.ContentNow.Surname = "Nygren" }, policy.OrderContent},
		{"eID at its end", func(f *F) { f.Addition.NotAfter = now }, policy.OrderValidity},
	})
}

func standing(org policy.OrganisationID, kind policy.IDKind, slot policy.Slot, n byte) policy.Standing {
	return policy.Standing{Organisation: org, IDKind: kind, Slot: slot, Issuer: "i", Serial: ca.Serial{0x40, n}, Fingerprint: ca.Fingerprint{n}, NotAfter: now}
}

// oneCard is what stands on a card with three eIDs, two of them with a signing
// certificate.
func oneCard() []policy.Standing {
	return []policy.Standing{
		standing("org_1", policy.ByHSAID, policy.Authentication, 1), standing("org_1", policy.ByHSAID, policy.Signing, 2),
		standing("org_1", policy.ByPersonNumber, policy.Authentication, 3), standing("org_1", policy.ByPersonNumber, policy.Signing, 4),
		standing("org_2", policy.ByHSAID, policy.Authentication, 5), standing("org_2", policy.ByHSAID, policy.Signing, 6),
		standing("org_1", policy.ByHSAID, policy.Transport, 7),
	}
}

func removed(p policy.Plan) (all, anew []string) {
	for _, r := range p.Removes {
		all = append(all, r.Fingerprint[:2])
		if r.FetchAnew {
			anew = append(anew, r.Fingerprint[:2])
		}
	}
	return all, anew
}

// A signing plan adds one signing certificate, and removes the one that the same
// eID has: not the eID, and nothing of another.
func TestMakeSigningPlanReplacesItsOwn(t *testing.T) {
	f := signingFacts()
	f.Standings = oneCard()
	p, d := policy.MakeSigningPlan(f)
	decided(t, d, "")
	all, anew := removed(p)
	if !slices.Equal(all, []string{"02"}) || anew != nil {
		t.Errorf("removes %v, to be fetched anew %v", all, anew)
	}
	if len(p.Adds) != 1 || p.Adds[0].Slot != policy.Signing || p.Adds[0].Profile != policy.ProfileSigning || !p.Adds[0].NotAfter.Equal(f.Addition.NotAfter) {
		t.Errorf("adds %+v", p.Adds)
	}
	if p.EID != p.Login || p.EID != f.Login.String() || p.Order != "ord_1" {
		t.Errorf("plan %+v", p)
	}
}

// What an order's plan says of the signing certificate of the eID that it
// replaces: a new one comes along, or it goes; and that a new one can be fetched
// afterwards only where it can.
func TestMakePlanTellsOfTheSigningCertificate(t *testing.T) {
	for name, c := range map[string]struct {
		allowed, without bool
		adds             int
		anew             []string
	}{
		"replaced":         {true, false, 2, nil},
		"left out":         {true, true, 1, []string{"02"}},
		"not allowed":      {false, false, 1, nil},
		"nor asked for it": {false, true, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := planFacts()
			f.SigningAllowed, f.WithoutSigning, f.Standings = c.allowed, c.without, oneCard()
			p, d := policy.MakePlan(f)
			decided(t, d, "")
			all, anew := removed(p)
			if !slices.Equal(all, []string{"01", "02"}) || !slices.Equal(anew, c.anew) {
				t.Errorf("removes %v, to be fetched anew %v", all, anew)
			}
			if len(p.Adds) != c.adds || p.Adds[0].Slot != policy.Authentication {
				t.Fatalf("adds %+v", p.Adds)
			}
			if c.adds == 2 && !p.Adds[1].Equal(p.Adds[0].Signing()) {
				t.Errorf("adds %+v", p.Adds)
			}
			if p.EID != "" {
				t.Errorf("for eID %s", p.EID)
			}
		})
	}
	t.Run("it has none", func(t *testing.T) {
		f := planFacts()
		f.SigningAllowed, f.Standings = true, oneCard()[2:]
		if p, d := policy.MakePlan(f); !d.Allow || len(p.Adds) != 1 || len(p.Removes) != 0 {
			t.Errorf("%+v, %+v", p, d)
		}
	})
}

// What a holder's own download rests on is read again like an order's: the order
// is the installed one, and the eID must stand to the end.
func TestOwnDownloadHolds(t *testing.T) {
	type F = policy.HoldFacts
	right := F{Now: now, CardState: policy.CardActive, CardExpires: now.Add(time.Hour), SameHolder: true, OrderState: policy.OrderInstalled,
		OrderExpires: now.Add(-time.Hour), SameOrder: true, Own: true, EIDStands: true, AddsSigning: true}
	toConfirm := []change[F]{
		{"card blocked", func(f *F) { f.CardState = policy.CardBlocked }, policy.CardStateRule},
		{"another holder", func(f *F) { f.SameHolder = false }, policy.OrderHolder},
		{"order withdrawn", func(f *F) { f.OrderState = policy.OrderWithdrawn }, policy.OrderStateRule},
		{"order waits", func(f *F) { f.OrderState = policy.OrderApproved }, policy.OrderStateRule},
		{"another order", func(f *F) { f.SameOrder = false }, policy.OrderStateRule},
		{"eID revoked", func(f *F) { f.LoginRevoked = true }, policy.LoginRevoked},
		{"eID replaced", func(f *F) { f.EIDStands = false }, policy.SigningEID},
	}
	t.Run("at confirm", func(t *testing.T) { cases(t, right, policy.StillHolds, toConfirm) })
	right.UpToRecord, right.LoginStands, right.SigningAllowed, right.Assigned, right.Signatures, right.Required = true, true, true, true, 2, 2
	t.Run("at record", func(t *testing.T) {
		cases(t, right, policy.StillHolds, append(toConfirm, []change[F]{
			{"switched off", func(f *F) { f.SigningAllowed = false }, policy.SigningOff},
			{"log-in does not stand", func(f *F) { f.LoginStands = false }, policy.DownloadChanged},
			{"no assignment", func(f *F) { f.Assigned = false }, policy.OrderAssignment},
			{"directory changed", func(f *F) { f.ContentField = "surname" }, policy.OrderContent},
			{"one signature of two", func(f *F) { f.Signatures = 1 }, policy.OrderApprovals},
		}...))
	})
}
