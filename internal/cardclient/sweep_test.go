package cardclient_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
	"sigill/policy"
)

// orphan makes a key on the card that belongs to nothing.
func (d *desk) orphan(t *testing.T, slot policy.Slot) []byte {
	t.Helper()
	id, err := d.card.Soft.GenerateKey(t.Context(), slot, token.P256)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// on reports whether the card has an object.
func (d *desk) on(t *testing.T, id []byte) bool {
	t.Helper()
	all, err := d.card.Soft.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(o token.Object) bool { return string(o.ID) == string(id) })
}

func yes([]cardclient.Leftover) (bool, error) { return true, nil }

// TestSweep: what interrupted runs left goes, before a fetch, after it and by hand;
// what is in use, what is not this program's and what an open download may need
// stays.
func TestSweep(t *testing.T) {
	d := newDesk(t).equipped(t).withSigning(t)
	a, b := d.orphan(t, policy.Authentication), d.orphan(t, policy.Signing)
	transport := d.orphan(t, policy.Transport)
	var shown []cardclient.Leftover
	result, err := d.program().Sweep(t.Context(), func(all []cardclient.Leftover) (bool, error) { shown = all; return false, nil })
	if !errors.Is(err, cardclient.ErrDeclined) || len(shown) != 2 || result.Swept != 0 || !d.on(t, a) || !d.on(t, b) {
		t.Fatalf("asked and declined: %+v, %+v, %v", shown, result, err)
	}
	if result, err = d.program().Sweep(t.Context(), yes); err != nil || result.Swept != 2 || d.on(t, a) || d.on(t, b) {
		t.Errorf("by hand: %+v, %v", result, err)
	}
	if !d.on(t, transport) {
		t.Error("a transport key was swept")
	}
	if err := d.card.Delete(t.Context(), transport); err != nil {
		t.Fatal(err)
	}
	d.well(t, 1, 1)

	a = d.orphan(t, policy.Authentication)
	if result, err = d.fetch(); err != nil || result.Swept != 1 || d.on(t, a) {
		t.Errorf("a fetch with nothing to fetch: %+v, %v", result, err)
	}
	d.well(t, 1, 1)

	// While a download is open nothing is swept.
	d.Ordered(d.holder, policy.OrderRenewal)
	c := d.program()
	c.After = killedAfter(cardclient.StepGenerated, 1)
	if _, err := c.Fetch(t.Context(), "", d.ui); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	before, _ := d.card.Soft.Objects(t.Context())
	if _, err := d.program().Sweep(t.Context(), yes); !errors.Is(err, cardclient.ErrSweepOpen) {
		t.Errorf("while a download is open: %v", err)
	}
	if after, _ := d.card.Soft.Objects(t.Context()); len(after) != len(before) {
		t.Errorf("%d objects, were %d", len(after), len(before))
	}
	if _, err := d.fetch(); err != nil {
		t.Fatal(err)
	}
	d.well(t, 1, 1)
}

// TestSweepLeavesANewDownloadAlone: another program begins a download and makes
// its key after this one has looked at the card.
func TestSweepLeavesANewDownloadAlone(t *testing.T) {
	d := newDesk(t).equipped(t)
	d.Ordered(d.holder, policy.OrderRenewal)
	other := d.program()
	other.After = killedAfter(cardclient.StepGenerated, 1)
	began := false
	d.net.mu.Lock()
	d.net.after = func(step string) { // this one was told that nothing is open
		if step == "me" && !began {
			began = true
			if _, err := other.Fetch(t.Context(), "", &holder{}); !errors.Is(err, errKilled) {
				t.Errorf("the other: %v", err)
			}
		}
	}
	d.net.mu.Unlock()
	if result, err := d.program().Sweep(t.Context(), yes); err != nil || result.Swept != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if _, rest := d.onCard(t, policy.Authentication); rest != 1 {
		t.Errorf("%d keys without certificate, want the other's", rest)
	}
	if result, err := d.fetch(); err != nil || !result.Resumed {
		t.Errorf("%+v, %v", result, err)
	}
	d.well(t, 1, 0)
}

// TestFetchExisting writes current certificates again where their keys are, says
// where they are not, and issues nothing.
func TestFetchExisting(t *testing.T) {
	d := newDesk(t).equipped(t).withSigning(t)
	ids := map[policy.Slot][]byte{}
	all, err := d.card.Soft.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		ids[o.Slot] = o.ID
	}
	issued := d.Rows("certificates", "card = ?", string(d.holder.Card))
	existing := func(written, there, missing int) *cardclient.Existing {
		t.Helper()
		e, err := d.program().FetchExisting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Written) != written || len(e.There) != there || len(e.Missing) != missing || len(e.Failed) != 0 {
			t.Errorf("%+v, want %d written, %d there, %d missing", e, written, there, missing)
		}
		if n := d.Rows("certificates", "card = ?", string(d.holder.Card)); n != issued {
			t.Errorf("%d certificates, were %d", n, issued)
		}
		return e
	}
	drop := func(slot policy.Slot) {
		t.Helper()
		if err := d.card.DropCertificate(t.Context(), ids[slot]); err != nil {
			t.Fatal(err)
		}
	}
	existing(0, 2, 0)
	drop(policy.Signing)
	existing(1, 1, 0)
	d.well(t, 1, 1)

	// Nothing but the keys is left: the transport certificate, armed, logs in.
	drop(policy.Signing)
	drop(policy.Authentication)
	if err := d.Arm(t.Context(), d.holder); err != nil {
		t.Fatal(err)
	}
	existing(2, 0, 0)
	d.well(t, 1, 1)

	// Another certificate under the same key is replaced.
	drop(policy.Authentication)
	key, err := d.card.Soft.Signer(t.Context(), ids[policy.Authentication])
	if err != nil {
		t.Fatal(err)
	}
	other := tokentest.NewAuthority(t, "another CA").Issue(t, key.Public(), policy.Authentication, string(d.holder.Card))
	if err := d.card.Soft.WriteCertificate(t.Context(), ids[policy.Authentication], other); err != nil {
		t.Fatal(err)
	}
	existing(1, 1, 0)
	d.well(t, 1, 1)

	// A fetch that finds this repairs it instead of sweeping the key.
	drop(policy.Signing)
	if result, err := d.fetch(); err != nil || len(result.Repaired) != 1 || result.Swept != 0 {
		t.Errorf("fetch: %+v, %v", result, err)
	}
	d.well(t, 1, 1)

	if err := d.card.Soft.Delete(t.Context(), ids[policy.Signing]); err != nil {
		t.Fatal(err)
	}
	if e := existing(0, 1, 1); e.Missing[0].Slot != policy.Signing {
		t.Errorf("%+v", e.Missing)
	}
}

// TestCompare flags in what card and server differ.
func TestCompare(t *testing.T) {
	d := newDesk(t).equipped(t).withSigning(t)
	kinds := func() string {
		t.Helper()
		now, err := d.program().Compare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, diff := range now.Differences {
			all = append(all, diff.Kind+" "+string(diff.Slot))
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	if got := kinds(); got != "" {
		t.Errorf("a card as it should be: %s", got)
	}
	objects, err := d.card.Soft.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var sign token.Object
	for _, o := range objects {
		if o.Slot == policy.Signing {
			sign = o
		}
	}
	if err := d.card.DropCertificate(t.Context(), sign.ID); err != nil {
		t.Fatal(err)
	}
	if got := kinds(); got != "no-certificate signing" {
		t.Errorf("without the certificate: %s", got)
	}
	if err := d.card.Soft.Delete(t.Context(), sign.ID); err != nil {
		t.Fatal(err)
	}
	if got := kinds(); got != "no-key signing" {
		t.Errorf("without the key: %s", got)
	}
	d.withSigning(t) // which replaces it
	if got := kinds(); got != "" {
		t.Errorf("replaced: %s", got)
	}
	d.Ordered(d.holder, policy.OrderRenewal)
	d.card.fail = func(op string, _ int) error {
		if op == "delete" {
			return errors.New("does not delete")
		}
		return nil
	}
	if _, err := d.fetch(); err != nil {
		t.Fatal(err)
	}
	if got := kinds(); got != "dead authentication, dead signing" {
		t.Errorf("with what was replaced: %s", got)
	}
	d.card.fail = nil
	id := d.orphan(t, policy.Authentication)
	key, err := d.card.Soft.Signer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.card.Soft.WriteCertificate(t.Context(), id, tokentest.NewAuthority(t, "another CA").Issue(t, key.Public(), policy.Authentication, number)); err != nil {
		t.Fatal(err)
	}
	if got := kinds(); got != "dead authentication, dead signing, unknown authentication" {
		t.Errorf("with one of another server: %s", got)
	}
	if _, err := d.program().Sweep(t.Context(), yes); err != nil {
		t.Fatal(err)
	}
	if got := kinds(); got != "unknown authentication" || !d.on(t, id) {
		t.Errorf("swept: %s, on the card: %t", got, d.on(t, id))
	}
}

// TestExistingIsChecked: what the server calls current is written only if it is a
// certificate of this card, for the key, and what it is listed as.
func TestExistingIsChecked(t *testing.T) {
	const other = "9752000000000000099"
	s := newScene(t)
	id, err := s.card.GenerateKey(t.Context(), policy.Authentication, token.P256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.card.Signer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	listed := func(der []byte, slot policy.Slot) wire.Certificate {
		return wire.Certificate{Fingerprint: fingerprint(der), State: "current", Slot: string(slot), DER: der}
	}
	wrong := listed(s.ca.Issue(t, key.Public(), policy.Authentication, number), policy.Authentication)
	wrong.Fingerprint = strings.Repeat("0", 64)
	for name, cert := range map[string]wire.Certificate{
		"of another card":     listed(s.ca.Issue(t, key.Public(), policy.Authentication, other), policy.Authentication),
		"for another use":     listed(s.ca.Issue(t, key.Public(), policy.Signing, number), policy.Authentication),
		"listed as another":   wrong,
		"that does not parse": listed([]byte{0x30, 0}, policy.Authentication),
	} {
		s.eids = []wire.EID{{State: "current", Certificates: []wire.Certificate{cert}}}
		e, err := s.client.FetchExisting(t.Context())
		if err != nil || len(e.Failed) != 1 || len(e.Written) != 0 {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		if _, err := s.card.ReadCertificate(t.Context(), id); !errors.Is(err, token.ErrNotFound) {
			t.Errorf("%s: it was written (%v)", name, err)
		}
	}
	right := listed(s.ca.Issue(t, key.Public(), policy.Authentication, number), policy.Authentication)
	s.eids = []wire.EID{{State: "current", Certificates: []wire.Certificate{right}}}
	if e, err := s.client.FetchExisting(t.Context()); err != nil || len(e.Written) != 1 || !has(t, s.card, right.Fingerprint) {
		t.Errorf("the right one: %+v, %v", e, err)
	}
}
