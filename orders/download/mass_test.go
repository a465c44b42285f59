package download_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/orders/download"
	"sigill/orders/register"
	"sigill/policy"
)

// massOrder is what two administrators state.
type massOrder struct {
	download.MassOrder
	list     []byte
	document []byte
}

// listed returns an order of what is named, in the world's organisation.
func listed(s *worldtest.Scene, kind download.MassKind, reason ca.Reason, entries ...string) massOrder {
	entries = slices.Clone(entries)
	slices.Sort(entries)
	list := []byte(strings.Join(entries, "\n") + "\n")
	return (massOrder{MassOrder: download.MassOrder{Act: statement.ActRevoke, Revocation: download.MassID(policy.NewID("mrv")), Organisation: s.Org,
		Reason: reason.String(), Kind: kind, Entries: len(entries), List: fmt.Sprintf("%x", sha256.Sum256(list))}, list: list}).written()
}

// written encodes the document anew.
func (o massOrder) written() massOrder {
	o.document, _ = json.Marshal(o.MassOrder)
	return o
}

func (o massOrder) stated(s *worldtest.Scene, by ...*world.Holder) []register.Signed {
	s.T.Helper()
	signed, err := s.StateAs(statement.Statement{Act: statement.ActRevoke, Subject: string(o.Revocation), Content: register.HashOf(o.document)}, by...)
	if err != nil {
		s.T.Fatal(err)
	}
	return signed
}

// order has the first administrator order, approve the second approve.
func (o massOrder) order(ctx context.Context, s *worldtest.Scene) error {
	_, err := s.Downloads.OrderMass(ctx, login(s, s.Admins[0]), o.Organisation, o.document, o.list, o.stated(s, s.Admins[0]))
	return err
}

func (o massOrder) approve(ctx context.Context, s *worldtest.Scene) error {
	_, err := s.Downloads.ApproveMass(ctx, login(s, s.Admins[1]), o.Revocation, o.stated(s, s.Admins[1]))
	return err
}

// approved orders and approves.
func (o massOrder) approved(s *worldtest.Scene) {
	s.T.Helper()
	if err := errors.Join(o.order(s.T.Context(), s), o.approve(s.T.Context(), s)); err != nil {
		s.T.Fatal(err)
	}
}

// now is the mass revocation as it stands.
func (o massOrder) now(s *worldtest.Scene) *download.Mass {
	s.T.Helper()
	m, list, err := s.Downloads.Mass(s.T.Context(), login(s, s.Admins[0]), o.Revocation, true)
	if err != nil || string(list) != string(o.list) {
		s.T.Fatalf("%+v, a list of %d octets, %v", m, len(list), err)
	}
	return m
}

func serialOf(h *world.Holder) string { return h.Certificate().Serial.String() }

// revokedFor reports whether a certificate is revoked for a reason, by a mass
// revocation and once.
func (o massOrder) revokedFor(s *worldtest.Scene, serial ca.Serial, reason ca.Reason) bool {
	s.T.Helper()
	return s.Rows("revocations", "serial = ? AND reason = ? AND rule = ?", serial[:], int(reason), "revocation.approved:"+string(o.Revocation)) == 1 &&
		s.Rows("revocations", "serial = ?", serial[:]) == 1
}

// Two administrators revoke what is on a list, and nothing else; what belongs to it
// ends with it, as if each had been revoked by itself.
func TestMassRevocation(t *testing.T) {
	onBoth(t, func(t *testing.T, scene func(testing.TB) *worldtest.Scene) {
		s := scene(t)
		ctx := t.Context()
		plain, pair, busy, bystander := s.Holder(), both(s), s.Holder(), s.Holder()
		renewal := s.Ordered(busy, policy.OrderRenewal)
		if _, err := s.Begin(ctx, busy, renewal); err != nil {
			t.Fatal(err)
		}
		o := listed(s, download.BySerial, ca.PrivilegeWithdrawn, serialOf(plain), serialOf(pair), pair.SigningCertificate().Serial.String(), serialOf(busy))
		for range 2 { // an answer that was lost is asked for again
			if err := o.order(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := s.Downloads.RevokeMass(ctx); n != 0 || err != nil || s.Working(plain) != 1 || o.now(s).State != download.MassOrdered {
			t.Fatalf("before it is approved: %d revoked, %v", n, err)
		}
		signed := o.stated(s, s.Admins[1])
		for range 2 {
			if m, err := s.Downloads.ApproveMass(ctx, login(s, s.Admins[1]), o.Revocation, signed); err != nil || m.State != download.MassApproved {
				t.Fatalf("%+v, %v", m, err)
			}
		}
		if n, err := s.Downloads.RevokeMass(ctx); n != 4 || err != nil {
			t.Fatalf("%d revoked, %v", n, err)
		}
		if m := o.now(s); m.State != download.MassFinished || m.Done != 4 || m.Revoked != 4 || m.FinishedAt.IsZero() || len(m.Failed) != 0 {
			t.Errorf("in the end: %+v", m)
		}
		for _, serial := range []ca.Serial{plain.Certificate().Serial, pair.Certificate().Serial, pair.SigningCertificate().Serial, busy.Certificate().Serial} {
			if !o.revokedFor(s, serial, ca.PrivilegeWithdrawn) {
				t.Errorf("%s is not revoked once, by the list", serial)
			}
		}
		if s.Working(bystander) != 1 || s.Working(s.Admins[0]) != 1 {
			t.Error("somebody else's eID ended")
		}
		if s.Rows("downloads", "card = ? AND state = 'planned'", string(busy.Card)) != 0 {
			t.Error("the download that the revoked eID began is open")
		}
		if n := s.Rows("events", "act IN ('revocation.ordered', 'revocation.approved', 'revocation.finished')"); n != 3 {
			t.Errorf("%d events of it", n)
		}
		if n := s.Rows("events", "act = 'certificate.revoked' AND by_who = ?", string(s.Admins[1].Person)); n != 4 {
			t.Errorf("%d certificates were revoked by who approved", n)
		}
		if n, err := s.Downloads.RevokeMass(ctx); n != 0 || err != nil {
			t.Errorf("again: %d revoked, %v", n, err)
		}
		s.Sound()
		s.Truth()
	})
}

// What a list names must be of the organisation or below it: one that is not refuses
// the list as a whole, whether it exists or not.
func TestMassRevocationIsOfTheOrganisation(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, moved, below := s.Holder(), s.Holder(), s.Holder()
	branch, err := s.CreateBranch(ctx, "Below", s.Org)
	if err != nil {
		t.Fatal(err)
	}
	s.Exec("INSERT INTO organisations (id, number, name, signing_allowed, created_at) VALUES ('org_other', '2321000099', 'Other', 0, 1)")
	s.Exec("UPDATE certificates SET organisation = 'org_other' WHERE card = ? AND organisation IS NOT NULL", string(moved.Card))
	s.Exec("UPDATE certificates SET organisation = ? WHERE card = ? AND organisation IS NOT NULL", string(branch.ID), string(below.Card))
	_, technical := technical(s)
	var tech ca.Serial
	if err := s.Store.Downloads().View(ctx, func(tx *download.Tx) error {
		c, err := tx.Certificate(technical)
		tech = c.Serial
		return err
	}); err != nil {
		t.Fatal(err)
	}
	transport := transportSerial(s, h)
	never := ca.NewSerial().String()
	for _, entries := range [][]string{{serialOf(moved)}, {tech.String()}, {never}} {
		err := listed(s, download.BySerial, ca.KeyCompromise, append(entries, serialOf(h))...).order(ctx, s)
		s.Refused(err, policy.RevokeList)
		if !strings.Contains(err.Error(), entries[0]) || strings.Contains(err.Error(), serialOf(h)) {
			t.Errorf("it names what is wrong: %v", err)
		}
	}
	for i := range 12 {
		entries := []string{}
		for range i + 1 {
			entries = append(entries, ca.NewSerial().String())
		}
		err := listed(s, download.BySerial, ca.KeyCompromise, entries...).order(ctx, s)
		if more := strings.Contains(err.Error(), fmt.Sprintf("and %d more", i+1-10)); more != (i >= 10) {
			t.Errorf("%d wrong: %v", i+1, err)
		}
	}
	s.Refused(listed(s, download.ByCard, ca.KeyCompromise, "9752999999999999999").order(ctx, s), policy.RevokeList)
	// A transport certificate is of the organisation whose card it is on.
	o := listed(s, download.BySerial, ca.KeyCompromise, serialOf(below), transport.String())
	o.approved(s)
	if n, err := s.Downloads.RevokeMass(ctx); n != 2 || err != nil {
		t.Errorf("of a branch, and a transport certificate: %d, %v", n, err)
	}
	if s.Working(moved) != 1 || s.Working(h) != 1 || s.Rows("mass_revocations", "TRUE") != 1 {
		t.Error("a refused list did something")
	}
	// Administrators of the branch alone have no right to what is above it.
	o = listed(s, download.BySerial, ca.KeyCompromise, serialOf(h))
	o.Organisation = branch.ID
	s.Refused(o.written().order(ctx, s), policy.RevokeList)
}

func transportSerial(s *worldtest.Scene, h *world.Holder) (serial ca.Serial) {
	s.T.Helper()
	err := s.Store.Downloads().View(s.T.Context(), func(tx *download.Tx) error {
		c, err := tx.Certificate(ca.FingerprintOf(h.TransportDER()))
		serial = c.Serial
		return err
	})
	if err != nil {
		s.T.Fatal(err)
	}
	return serial
}

// Nobody orders but an administrator by his own card, for what he states.
func TestMassRevocationIsOrdered(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	good := listed(s, download.BySerial, ca.KeyCompromise, serialOf(h))
	change := func(f func(*massOrder)) massOrder {
		o := listed(s, download.BySerial, ca.KeyCompromise, serialOf(h))
		f(&o)
		return o.written()
	}
	other := listed(s, download.BySerial, ca.Superseded, serialOf(h))
	one, two := s.Admins[0], s.Admins[1]
	for _, tt := range []struct {
		name   string
		by     *world.Holder
		o      massOrder
		signed []register.Signed // nil: as it should be
		want   policy.Rule
	}{
		{"no administrator", h, good, nil, policy.RoleMissing},
		{"another's card", one, good, good.stated(s, two), policy.StatementSignature},
		{"no statement", one, good, []register.Signed{}, policy.StatementSignature},
		{"two statements", one, good, good.stated(s, one, two), policy.StatementForm},
		{"about another order", one, good, other.stated(s, one), policy.StatementForm},
		{"another list", one, change(func(o *massOrder) { o.list = []byte(ca.NewSerial().String() + "\n") }), nil, policy.RequestForm},
		{"another count", one, change(func(o *massOrder) { o.Entries++ }), nil, policy.RequestForm},
		{"another act", one, change(func(o *massOrder) { o.Act = statement.ActKeyBlock }), nil, policy.RequestForm},
		{"another kind", one, change(func(o *massOrder) { o.Kind = download.ByCard }), nil, policy.RequestForm},
		{"no kind", one, change(func(o *massOrder) { o.Kind = "" }), nil, policy.RequestForm},
		{"an id of nothing", one, change(func(o *massOrder) { o.Revocation = "mrv_" }), nil, policy.RequestForm},
		{"an id of something else", one, change(func(o *massOrder) { o.Revocation = download.MassID(policy.NewID("ord")) }), nil, policy.RequestForm},
		{"a reason of CAs", one, change(func(o *massOrder) { o.Reason = ca.CACompromise.String() }), nil, policy.RequestForm},
		{"no reason", one, change(func(o *massOrder) { o.Reason = ca.Unspecified.String() }), nil, policy.RequestForm},
		{"no organisation", one, change(func(o *massOrder) { o.Organisation = "" }), nil, policy.RequestForm},
		{"an unknown organisation", one, change(func(o *massOrder) { o.Organisation = "org_x" }), nil, policy.RoleMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.signed == nil {
				tt.signed = tt.o.stated(s, tt.by)
			}
			_, err := s.Downloads.OrderMass(ctx, login(s, tt.by), tt.o.Organisation, tt.o.document, tt.o.list, tt.signed)
			s.Refused(err, tt.want)
		})
	}
	if s.Rows("mass_revocations", "TRUE")+s.Rows("mass_lists", "TRUE")+s.Rows("statements", "act = 'certificates.revoke'") != 0 {
		t.Error("something refused was kept")
	}
	_, err := s.Downloads.OrderMass(ctx, login(s, one), "org_x", good.document, good.list, good.stated(s, one))
	s.Refused(err, policy.RequestForm)
	good.approved(s)
	// The id is taken, by another document and by another person.
	other.Revocation = good.Revocation
	s.Refused(other.written().order(ctx, s), policy.RequestRepeated)
	_, err = s.Downloads.OrderMass(ctx, login(s, two), s.Org, good.document, good.list, good.stated(s, two))
	s.Refused(err, policy.RequestRepeated)
	_, _, err = s.Downloads.Mass(ctx, login(s, h), good.Revocation, false)
	s.Refused(err, policy.RoleMissing)
	_, _, err = s.Downloads.Mass(ctx, login(s, one), "mrv_x", false)
	s.Refused(err, policy.RoleMissing)
	if all, err := s.Downloads.ListMasses(ctx, login(s, one), s.Org, "", 10); err != nil || len(all) != 1 || all[0].ID != good.Revocation {
		t.Errorf("listed: %v, %v", all, err)
	}
	_, err = s.Downloads.ListMasses(ctx, login(s, h), s.Org, "", 10)
	s.Refused(err, policy.RoleMissing)
}

// Another administrator approves, while the order is in force and young.
func TestMassRevocationIsApproved(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(s *worldtest.Scene, o massOrder)
		by     int // administrator
		want   policy.Rule
	}{
		{"who ordered", nil, 0, policy.RevokeApprover},
		{"a day later", func(s *worldtest.Scene, _ massOrder) { s.Pass(24 * time.Hour) }, 1, policy.RevokeState},
		{"approved already", func(s *worldtest.Scene, o massOrder) {
			if err := o.approve(s.T.Context(), s); err != nil {
				s.T.Fatal(err)
			}
			s.Pass(2 * time.Second) // another statement
		}, 1, policy.RevokeState},
		{"of one who has lost the role", func(s *worldtest.Scene, _ massOrder) {
			s.Exec("UPDATE grants SET ended_at = 1 WHERE person = ?", string(s.Admins[0].Person))
		}, 1, policy.RevokeApprover},
		{"of one whose card was stolen", func(s *worldtest.Scene, _ massOrder) {
			if err := s.Downloads.BlockCard(s.T.Context(), login(s, s.Admins[0]), s.Admins[0].Card, "stolen"); err != nil {
				s.T.Fatal(err)
			}
		}, 1, policy.RevokeApprover},
		{"by one who has lost the role", func(s *worldtest.Scene, _ massOrder) {
			s.Exec("UPDATE grants SET ended_at = 1 WHERE person = ?", string(s.Admins[1].Person))
		}, 1, policy.RoleMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := worldtest.New(t)
			h := s.Holder()
			o := listed(s, download.BySerial, ca.KeyCompromise, serialOf(h))
			if err := o.order(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if tt.before != nil {
				tt.before(s, o)
			}
			state := s.Rows("mass_revocations", "state = 'approved'")
			_, err := s.Downloads.ApproveMass(t.Context(), login(s, s.Admins[tt.by]), o.Revocation, o.stated(s, s.Admins[tt.by]))
			s.Refused(err, tt.want)
			if s.Rows("mass_revocations", "state = 'approved'") != state || s.Working(h) != 1 {
				t.Error("it was approved")
			}
			s.Sound()
		})
	}
}

// What an approval has decided is carried out, whatever became of who decided it.
func TestMassRevocationOutlivesItsAdministrators(t *testing.T) {
	s := worldtest.New(t)
	h := s.Holder()
	o := listed(s, download.BySerial, ca.KeyCompromise, serialOf(h), serialOf(s.Admins[0]), serialOf(s.Admins[1]))
	o.approved(s)
	s.Exec("UPDATE grants SET ended_at = 1")
	if n, err := s.Downloads.RevokeMass(t.Context()); n != 3 || err != nil {
		t.Errorf("%d revoked, %v", n, err)
	}
	for _, h := range []*world.Holder{h, s.Admins[0], s.Admins[1]} {
		if !compromised(s, h.Certificate().Fingerprint) {
			t.Errorf("the eID on card %s is alive", h.Card)
		}
	}
	s.Sound()
}

// What changes between the approval and a certificate's turn does not keep the
// others from theirs.
func TestMassRevocationMeanwhile(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	gone, graver, renewed, locked, pending := s.Holder(), s.Holder(), s.Holder(), s.Holder(), s.Holder()
	old := renewed.Certificate()
	expired := s.Holder()
	next := s.Ordered(pending, policy.OrderRenewal)
	st, err := s.Begin(ctx, pending, next)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Submit(ctx, pending, st); err != nil {
		t.Fatal(err)
	}
	o := listed(s, download.BySerial, ca.PrivilegeWithdrawn, serialOf(gone), serialOf(graver), old.Serial.String(), serialOf(locked), serialOf(pending), serialOf(expired))
	o.approved(s)

	for h, reason := range map[*world.Holder]ca.Reason{gone: ca.KeyCompromise, graver: ca.CessationOfOperation} {
		if _, err := s.Downloads.Revoke(ctx, login(s, s.Admins[0]), h.Certificate().Serial, reason); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Fetch(ctx, renewed, s.Ordered(renewed, policy.OrderRenewal)); err != nil {
		t.Fatal(err)
	}
	s.Exec("UPDATE cards SET state = 'locked' WHERE number = ?", string(locked.Card))
	end := s.Now().Add(-time.Hour).UnixMicro()
	s.Exec("UPDATE certificates SET not_after = ? WHERE card = ? AND slot = 'authentication'", end, string(expired.Card))
	s.Exec("UPDATE intents SET not_after = ? WHERE card = ? AND slot = 'authentication'", end, string(expired.Card))

	if n, err := s.Downloads.RevokeMass(ctx); err != nil || n != 5 {
		t.Errorf("%d revoked, %v", n, err)
	}
	reason := func(serial ca.Serial) (highest int) {
		for r := range 10 {
			if s.Rows("revocations r", "serial = ? AND reason = ? AND NOT EXISTS (SELECT 1 FROM revocations n WHERE n.serial = r.serial AND n.version > r.version)", serial[:], r) == 1 {
				return r
			}
		}
		return -1
	}
	for name, tt := range map[string]struct {
		serial ca.Serial
		want   ca.Reason
	}{
		"revoked for a graver reason": {gone.Certificate().Serial, ca.KeyCompromise},
		"revoked for another reason":  {graver.Certificate().Serial, ca.PrivilegeWithdrawn},
		"superseded":                  {old.Serial, ca.PrivilegeWithdrawn},
		"on a card that was locked":   {locked.Certificate().Serial, ca.PrivilegeWithdrawn},
		"with a renewal half done":    {pending.Certificate().Serial, ca.PrivilegeWithdrawn},
		"expired":                     {expired.Certificate().Serial, ca.PrivilegeWithdrawn},
	} {
		if got := reason(tt.serial); got != int(tt.want) {
			t.Errorf("%s: reason %d, want %v", name, got, tt.want)
		}
	}
	if s.Working(renewed) != 1 {
		t.Error("the eID that replaced the listed one ended")
	}
	if s.Rows("downloads", "card = ? AND state = 'planned'", string(pending.Card)) != 0 {
		t.Error("the renewal that the listed eID began is open")
	}
	s.Sound()
}

// A list of cards takes the eIDs that stand on them when their turn comes, and what
// is open for them; of the organisation and those below it only.
func TestMassRevocationByCards(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, pair, shared, empty := s.Holder(), both(s), s.Holder(), s.Person()
	foreign := shared.Certificate()
	s.Exec("INSERT INTO organisations (id, number, name, signing_allowed, created_at) VALUES ('org_other', '2321000099', 'Other', 0, 1)")
	s.Exec("UPDATE certificates SET organisation = 'org_other' WHERE fingerprint = ?", foreign.Fingerprint[:])
	s.Exec("UPDATE standings SET organisation = 'org_other' WHERE certificate = ?", foreign.Fingerprint[:])
	o := listed(s, download.ByCard, ca.KeyCompromise, string(h.Card), string(pair.Card), string(shared.Card), string(empty.Card))
	o.approved(s)
	old := h.Certificate()
	if err := s.Fetch(ctx, h, s.Ordered(h, policy.OrderRenewal)); err != nil { // meanwhile
		t.Fatal(err)
	}
	waiting := s.Ordered(pair, policy.OrderRenewal)
	if n, err := s.Downloads.RevokeMass(ctx); n != 3 || err != nil {
		t.Errorf("%d revoked, %v", n, err)
	}
	for _, serial := range []ca.Serial{h.Certificate().Serial, pair.Certificate().Serial, pair.SigningCertificate().Serial} {
		if !o.revokedFor(s, serial, ca.KeyCompromise) {
			t.Errorf("%s is alive", serial)
		}
	}
	if h.Certificate().Serial == old.Serial || s.Rows("revocations", "serial = ?", foreign.Serial[:]) != 0 {
		t.Error("not what stood when its turn came, of this organisation")
	}
	if s.Rows("orders", "id = ? AND state = 'withdrawn'", string(waiting)) != 1 {
		t.Error("the order for the card is open")
	}
	if m := o.now(s); m.State != download.MassFinished || m.Done != 4 || m.Revoked != 3 {
		t.Errorf("%+v", m)
	}
}

// massUpdates are the transactions of an order, its approval, and the working through
// of three certificates, two together.
const massUpdates = 1 + 1 + 2

// Wherever the server is cut off, what is approved is revoked in the end, each
// certificate once, and nothing is before it is approved.
func TestMassCutOffAnywhere(t *testing.T) {
	onBoth(t, func(t *testing.T, scene func(testing.TB) *worldtest.Scene) {
		s := scene(t)
		s.Faults.Clear()
		o := cutMass(s, 0, fault.None, true)
		if m := o.now(s); m.State != download.MassFinished {
			t.Fatalf("a clean run: %+v", m)
		}
		for i := range massUpdates {
			s := scene(t)
			for _, f := range fault.Transactions() {
				for _, restart := range []bool{true, false} {
					if !restart && testing.Short() {
						continue
					}
					t.Run(fmt.Sprintf("transaction %d %s, restarted %v", i+1, f, restart), func(t *testing.T) {
						s.T = t
						cutMass(s, i+1, f, restart)
					})
				}
			}
		}
	})
}

func cutMass(s *worldtest.Scene, n int, f fault.Fault, restart bool) massOrder {
	t := s.T
	t.Helper()
	pair := both(s)
	holders := []*world.Holder{pair, s.Holder()}
	entries := []string{pair.SigningCertificate().Serial.String()}
	for _, h := range holders {
		entries = append(entries, serialOf(h))
	}
	o := listed(s, download.BySerial, ca.PrivilegeWithdrawn, entries...)
	first, second := o.stated(s, s.Admins[0]), o.stated(s, s.Admins[1])
	one, two := login(s, s.Admins[0]), login(s, s.Admins[1])
	all := func(ctx context.Context) error {
		if _, err := s.Downloads.OrderMass(ctx, one, s.Org, o.document, o.list, first); err != nil {
			return err
		}
		if _, err := s.Downloads.ApproveMass(ctx, two, o.Revocation, second); err != nil {
			return err
		}
		_, err := s.Downloads.RevokeMass(ctx)
		return err
	}
	s.Downloads.Together = 2
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if s.Faults.Clear(); n > 0 {
		s.Faults.FailUpdate(n, f, cancel)
	}
	err := all(ctx)
	updates, _ := s.Faults.Counts()
	s.Faults.Clear()
	if n == 0 && (err != nil || updates != massUpdates) {
		t.Fatalf("a clean run has %d transactions, want %d; %v", updates, massUpdates, err)
	}
	s.Sound()
	if s.Rows("mass_revocations", "id = ? AND state = 'ordered'", string(o.Revocation)) == 1 && s.Working(pair) != 1 {
		t.Error("revoked before it was approved")
	}
	if restart {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		s.Downloads.Together = 2
	}
	for range 2 { // the second time there is nothing to do
		if err := all(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if m := o.now(s); m.State != download.MassFinished || m.Done != 3 || m.Revoked != 3 {
		t.Errorf("in the end: %+v", m)
	}
	for _, entry := range entries {
		serial, err := ca.ParseSerial(entry)
		if err != nil || !o.revokedFor(s, serial, ca.PrivilegeWithdrawn) {
			t.Errorf("%s is not revoked once, by the list", entry)
		}
	}
	if n := s.Rows("events", "act LIKE 'revocation.%' AND instr(body, ?) > 0", string(o.Revocation)); n != 3 {
		t.Errorf("%d events of it", n)
	}
	s.Sound()
	s.Truth()
	return o
}
