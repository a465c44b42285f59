package cardclient_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigill/internal/cardclient"
	"sigill/internal/wire"
	"sigill/policy"
)

// once fails the test unless each key for signing has signed its request and
// nothing else.
func (d *desk) once(t *testing.T, keys int) {
	t.Helper()
	all := d.card.signatures(policy.Signing)
	if len(all) != keys || slices.Max(append(all, 0)) > 1 {
		t.Errorf("%d signing keys signed %v times, want %d keys, each once", len(all), all, keys)
	}
}

func TestFetchSigning(t *testing.T) {
	d := newDesk(t).equipped(t)
	result, err := d.program().FetchSigning(t.Context(), d.ui)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Installed) != 1 || result.Installed[0].Slot != policy.Signing || result.Order != "" || len(result.Removed) != 0 {
		t.Errorf("%+v", result)
	}
	d.well(t, 1, 1)
	d.once(t, 1)
	result, err = d.program().FetchSigning(t.Context(), d.ui) // replaces it
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Removed) != 1 {
		t.Errorf("%+v", result)
	}
	d.well(t, 1, 1)
	d.once(t, 2)
	if n := d.Rows("downloads", "card = ? AND state <> 'installed'", string(d.holder.Card)); n != 0 {
		t.Errorf("%d downloads are not installed", n)
	}
}

// TestSigningKeySignsOnce: whatever answer or request is lost, the key for signing
// signs one request, and that is sent again as it is.
func TestSigningKeySignsOnce(t *testing.T) {
	for _, what := range []string{"request", "answer"} {
		for _, step := range []string{"me", "begin", "submit signing", "confirm", "removed"} {
			for _, times := range []int{1, 4} { // 4: all tries of a run
				t.Run(fmt.Sprintf("%s of %s lost %d times", what, step, times), func(t *testing.T) {
					d := newDesk(t).equipped(t)
					d.net.lossy(what)[step] = times
					c := d.program()
					_, err := c.FetchSigning(t.Context(), d.ui)
					if times == 4 && step != "removed" { // whose loss is no failure
						if err == nil {
							t.Fatal("nothing was lost")
						}
						_, err = c.FetchSigning(t.Context(), d.ui) // the same program goes on
					}
					if err != nil {
						t.Fatal(err)
					}
					d.well(t, 1, 1)
					d.once(t, 1)
				})
			}
		}
	}
}

func (n *wire1) lossy(what string) map[string]int {
	if what == "request" {
		return n.request
	}
	return n.answer
}

// TestSigningKeySignsAgainForANewChallenge: a program that was started anew does
// not know what an earlier one had signed. It takes a new challenge, so that what
// was signed before is worth nothing, and says so; and where the certificate is
// released already, nothing is signed at all.
func TestSigningKeySignsAgainForANewChallenge(t *testing.T) {
	t.Run("killed before the request was sent", func(t *testing.T) {
		d := newDesk(t).equipped(t)
		d.net.request["submit signing"] = 4
		if _, err := d.program().FetchSigning(t.Context(), d.ui); err == nil {
			t.Fatal("nothing was lost")
		}
		ui := &holder{}
		if _, err := d.program().FetchSigning(t.Context(), ui); err != nil {
			t.Fatal(err)
		}
		d.well(t, 1, 1)
		if all := d.card.signatures(policy.Signing); len(all) != 1 || all[0] != 2 {
			t.Errorf("signed %v times, want one key twice", all)
		}
		if i := slices.Index(d.net.steps, "challenge"); i < 0 {
			t.Error("no new challenge was asked for")
		}
		if !slices.Contains(ui.steps, "signs-againsigning") {
			t.Errorf("it was not said: %v", ui.steps)
		}
	})
	t.Run("killed after it was stored", func(t *testing.T) {
		d := newDesk(t).equipped(t)
		d.net.answer["submit signing"] = 4
		if _, err := d.program().FetchSigning(t.Context(), d.ui); err == nil {
			t.Fatal("nothing was lost")
		}
		if _, err := d.program().FetchSigning(t.Context(), d.ui); err != nil {
			t.Fatal(err)
		}
		d.well(t, 1, 1)
		d.once(t, 1)
	})
	t.Run("the server died after recording", func(t *testing.T) {
		d := newDesk(t).equipped(t)
		c := d.program()
		c.After = killedAfter(cardclient.StepGenerated, 1)
		c.FetchSigning(t.Context(), d.ui)
		d.diesAfter(t, "submit signing", 1)
		if _, err := d.program().FetchSigning(t.Context(), d.ui); err == nil {
			t.Fatal("nothing died")
		}
		d.restart(t)
		if n := d.Rows("items", "state = 'intended'"); n != 1 {
			t.Fatalf("%d items are intended", n)
		}
		if _, err := d.program().FetchSigning(t.Context(), d.ui); err != nil {
			t.Fatal(err)
		}
		d.well(t, 1, 1)
		// Once for the attempt that died, once for the new challenge, and not to
		// ask the server what became of it.
		if all := d.card.signatures(policy.Signing); len(all) != 1 || all[0] != 2 {
			t.Errorf("signed %v times, want one key twice", all)
		}
	})
}

// TestUpdateFetchesBoth: an update replaces both certificates in one download,
// confirmed by the new one for authentication.
func TestUpdateFetchesBoth(t *testing.T) {
	d := newDesk(t).equipped(t).withSigning(t)
	d.Ordered(d.holder, policy.OrderRenewal)
	result, err := d.fetch()
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Installed) != 2 || len(result.Removed) != 2 || len(result.Kept) != 0 {
		t.Errorf("%+v", result)
	}
	d.well(t, 1, 1)
	d.once(t, 2)
}

// TestUpdateWithoutSigning: the signing certificate goes, nobody is asked for its
// PIN, and the plan says so.
func TestUpdateWithoutSigning(t *testing.T) {
	d := newDesk(t).equipped(t).withSigning(t)
	id := d.Ordered(d.holder, policy.OrderRenewal)
	c := d.program()
	c.WithoutSigning = true
	result, err := c.Fetch(t.Context(), string(id), d.ui)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Installed) != 1 || len(d.ui.plan.Removes) != 2 || !d.ui.plan.Removes[1].FetchAnew && !d.ui.plan.Removes[0].FetchAnew {
		t.Errorf("%+v, plan %+v", result, d.ui.plan)
	}
	d.well(t, 1, 0)
	d.once(t, 1)
}

// TestChooseEID: of several eIDs the holder names one, by any of its names.
func TestChooseEID(t *testing.T) {
	d := newDesk(t).equipped(t)
	other := d.second(t, "Kommun Väst", true)
	_, err := d.program().FetchSigning(t.Context(), d.ui)
	choose, ok := errors.AsType[*cardclient.ChooseEIDError](err)
	if !ok || len(choose.EIDs) != 2 {
		t.Fatalf("two eIDs: %v", err)
	}
	if n := d.Rows("downloads", "card = ? AND state = 'planned'", string(d.holder.Card)); n != 0 {
		t.Error("a download was begun")
	}
	var of cardclient.SigningEID
	for _, e := range choose.EIDs {
		if e.Organisation == "Kommun Väst" {
			of = e
		}
	}
	for i, name := range []string{"kommun väst", of.Serial, strings.ToUpper(of.Serial), hex.EncodeToString(of.With.ID)} {
		c := d.program()
		c.EID = name
		if _, err := c.FetchSigning(t.Context(), d.ui); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := d.ui.plan; got.Organisation() != other || got.EID != fingerprint(of.With.Certificate.Raw) {
			t.Errorf("%s: the plan is for %s, eID %s", name, got.Organisation(), got.EID)
		}
		if n := d.Rows("standings", "card = ? AND slot = 'signing' AND organisation = ?", string(d.holder.Card), string(other)); n != 1 {
			t.Errorf("run %d: %d signing certificates of it", i, n)
		}
	}
	d.well(t, 2, 1)
	c := d.program()
	c.EID = "Kommun Ost"
	if _, err := c.FetchSigning(t.Context(), d.ui); !errors.Is(err, cardclient.ErrNoSuchEID) {
		t.Errorf("no such: %v", err)
	}
}

// TestNoSigningAllowed names the rule before anything is begun.
func TestNoSigningAllowed(t *testing.T) {
	d := newDesk(t)
	if _, err := d.program().FetchSigning(t.Context(), d.ui); !errors.Is(err, cardclient.ErrNoSigning) || !strings.Contains(err.Error(), string(policy.SigningEID)) {
		t.Errorf("no eID at all: %v", err)
	}
	d.equipped(t)
	if err := d.SetSigning(t.Context(), d.Org, false); err != nil {
		t.Fatal(err)
	}
	if _, err := d.program().FetchSigning(t.Context(), d.ui); !errors.Is(err, cardclient.ErrNoSigning) || !strings.Contains(err.Error(), string(policy.SigningOff)) {
		t.Errorf("switched off: %v", err)
	}
	// An eID whose organisation allows it is the only one beside one that does not.
	d.second(t, "Kommun Väst", true)
	if _, err := d.program().FetchSigning(t.Context(), d.ui); err != nil {
		t.Errorf("one of two: %v", err)
	}
	d.well(t, 2, 1)
}

// TestExtraEIDBeside: an eID of another organisation is fetched beside the first
// and touches nothing of it; each is renewed alone.
func TestExtraEIDBeside(t *testing.T) {
	d := newDesk(t).equipped(t).withSigning(t)
	other := d.second(t, "Kommun Väst", false)
	d.well(t, 2, 1)
	if err := d.renew(t, other); err != nil {
		t.Fatal(err)
	}
	if len(d.ui.plan.Removes) != 1 {
		t.Errorf("plan %+v", d.ui.plan)
	}
	d.well(t, 2, 1)
}

// TestOpenOfAnotherKind: what is open is gone on with by fetch, whatever it is
// for, and nothing else is begun beside it.
func TestOpenOfAnotherKind(t *testing.T) {
	d := newDesk(t).equipped(t)
	c := d.program()
	c.After = killedAfter(cardclient.StepGenerated, 1)
	if _, err := c.FetchSigning(t.Context(), d.ui); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	id := d.Ordered(d.holder, policy.OrderRenewal)
	if _, err := d.fetch(id); !errors.Is(err, cardclient.ErrOtherOpen) {
		t.Errorf("an order beside it: %v", err)
	}
	result, err := d.fetch()
	if err != nil || !result.Resumed || result.Order != "" {
		t.Fatalf("%+v, %v", result, err)
	}
	d.well(t, 1, 1)
	c = d.program()
	c.After = killedAfter(cardclient.StepGenerated, 1)
	c.Fetch(t.Context(), string(id), d.ui)
	if _, err := d.program().FetchSigning(t.Context(), d.ui); !errors.Is(err, cardclient.ErrOtherOpen) {
		t.Errorf("signing beside an order: %v", err)
	}
	if _, err := d.fetch(); err != nil {
		t.Fatal(err)
	}
	d.well(t, 1, 1)
}

// TestBadSigningServer: what a server may not make of a signing certificate.
func TestBadSigningServer(t *testing.T) {
	for name, edit := range map[string]func(*scene){
		"for another eID":         func(s *scene) { s.plan.EID = strings.Repeat("0", 64) },
		"for no eID":              func(s *scene) { s.plan.EID = "" },
		"adds one to log in with": func(s *scene) { s.plan.Adds[0].Slot = policy.Authentication },
		"removes the eID":         func(s *scene) { s.plan.Removes = []policy.Removal{{Fingerprint: s.old, Slot: policy.Authentication}} },
		"removes what is not there": func(s *scene) {
			s.plan.Removes = []policy.Removal{{Fingerprint: strings.Repeat("a", 64), Slot: policy.Signing}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.removes = nil
			der, err := s.card.ReadCertificate(t.Context(), s.oldID)
			if err != nil {
				t.Fatal(err)
			}
			s.eids = []wire.EID{{State: "current", SigningAllowed: true, Certificates: []wire.Certificate{
				{Fingerprint: s.old, State: "current", Slot: "authentication", DER: der}}}}
			s.edit = func(d *wire.Download) {
				s.plan.EID, s.plan.Adds[0].Slot = s.plan.Login, policy.Signing
				edit(s)
				d.Order = ""
				d.Items[0].Slot = string(s.plan.Adds[0].Slot)
				s.rehash(d)
			}
			if _, err := s.client.FetchSigning(t.Context(), &holder{}); !errors.Is(err, cardclient.ErrPlan) {
				t.Errorf("%v, want ErrPlan", err)
			}
			if count(t, s.card) != 1 || s.issued != 0 {
				t.Errorf("%d objects, %d issued", count(t, s.card), s.issued)
			}
		})
	}
}

// TestAnotherOrganisationsEID: a plan that would remove it is refused, whether the
// card's own certificate tells or the server's list.
func TestAnotherOrganisationsEID(t *testing.T) {
	for name, c := range map[string]struct{ list, plan func(*scene) }{
		"by the card": {func(s *scene) { s.eids[0].Organisation = "Region Syd" },
			func(s *scene) { s.plan.Adds[0].Content.Organisation = "Region Syd" }},
		"by the list":                {list: func(s *scene) { s.eids[0].Organisation = "Region Syd" }},
		"another kind of identifier": {list: func(s *scene) { s.eids[0].IDKind = "personnummer" }},
		"of no eID":                  {list: func(s *scene) { s.eids[0].Certificates = nil }},
		"a transport certificate":    {plan: func(s *scene) { s.plan.Removes[0].Slot = policy.Transport }},
		"two for authentication":     {plan: func(s *scene) { s.plan.Adds = append(s.plan.Adds, s.plan.Adds[0]) }},
		"signing for another eID": {plan: func(s *scene) {
			add := s.plan.Adds[0].Signing()
			add.Organisation = "org_2"
			s.plan.Adds = append(s.plan.Adds, add)
		}},
		"for an eID that it is not begun for": {plan: func(s *scene) { s.plan.EID = s.plan.Login }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.eids = []wire.EID{{State: "current", Certificates: []wire.Certificate{{Fingerprint: s.old, State: "current", Slot: "authentication"}}}}
			if c.list != nil {
				c.list(s)
			}
			s.edit = func(d *wire.Download) {
				if c.plan == nil {
					return
				}
				c.plan(s)
				for _, add := range s.plan.Adds[1:] {
					d.Items = append(d.Items, wire.Item{Slot: string(add.Slot), State: "planned"})
				}
				s.rehash(d)
			}
			ui := &holder{}
			if _, err := s.client.Fetch(t.Context(), "", ui); !errors.Is(err, cardclient.ErrPlan) {
				t.Errorf("%v, want ErrPlan", err)
			}
			if ui.asked != 0 || !has(t, s.card, s.old) || count(t, s.card) != 1 {
				t.Errorf("asked %d times, %d objects on the card", ui.asked, count(t, s.card))
			}
		})
	}
}
