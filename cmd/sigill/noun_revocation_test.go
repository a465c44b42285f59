package main

import (
	"strings"
	"testing"

	"sigill/internal/adminclient/admintest"
	"sigill/internal/wire"
)

// One administrator orders by a file, another approves and waits until it is done.
func TestRevocationNouns(t *testing.T) {
	d := &desk{admintest.Start(t), t}
	one, two := d.officer(1), d.officer(2)
	org := d.found(one, two)
	bootstrap := []string{"--org", org, "--second", "soft:" + two.path}
	karin := d.issue("9752000000000000301", "SE2321000016-K7B1", one, two, bootstrap)
	lars := d.issue("9752000000000000302", "SE2321000016-L3A9", one, two, bootstrap)
	d.persons(karin)
	holder := d.issue("9752000000000000303", "SE2321000016-A4O2", karin, lars, nil)
	_, serial := d.eid(karin, holder)
	stolen := d.file("stolen.txt", "# stolen on Friday\n"+strings.ToUpper(serial)+"\n\n"+serial+"\n")

	order := []string{"revocation", "order", "--reason", "keyCompromise"}
	for _, args := range [][]string{
		{"revocation", "order", "--serials", stolen}, order, append(order, "--serials", stolen, "--cards", stolen), append(order, "--serials", stolen, "--wait"),
		{"revocation", "approve"}, {"revocation", "show"},
	} {
		if got := d.as(karin, "", args...); got.code != exitUsage {
			t.Errorf("%v: %+v", args, got)
		}
	}
	for file, want := range map[string]string{
		d.file("wrong.txt", serial+"\nnothing\n"): "line 2", d.file("empty.txt", "# none\n"): "nothing in the list",
		d.file("unknown.txt", strings.Repeat("4", 32)): "revoke.list",
	} {
		if got := d.as(karin, "y\n", append(order, "--serials", file)...); got.code != exitFailed || !strings.Contains(got.err, want) {
			t.Errorf("%s: %+v", want, got)
		}
	}
	if got := d.as(karin, "n\n", append(order, "--serials", stolen)...); got.code != exitFailed || !strings.Contains(got.err, "1 certificates be revoked as keyCompromise") || !strings.Contains(got.err, "Nothing was done") {
		t.Errorf("declined: %+v", got)
	}
	ordered := decoded[wire.Mass](t, d.as(karin, "y\n", append(order, "--serials", stolen, "--json")...))
	if ordered.State != "ordered" || ordered.Entries != 1 {
		t.Fatalf("ordered: %+v", ordered)
	}
	approve := []string{"revocation", "approve", ordered.ID, "--wait"}
	if got := d.as(karin, "y\n", approve...); got.code != exitFailed || !strings.Contains(got.err, "revoke.approver") {
		t.Errorf("by who ordered: %+v", got)
	}
	other := d.file("other.txt", strings.Repeat("4", 32))
	if got := d.as(lars, "y\n", append(approve, "--serials", other)...); got.code != exitFailed || !strings.Contains(got.err, "nothing was signed") {
		t.Errorf("another list: %+v", got)
	}
	if got := d.as(lars, "n\n", approve...); got.code != exitFailed || !strings.Contains(got.err, "1 certificates revoked as keyCompromise") {
		t.Errorf("declined: %+v", got)
	}
	done := decoded[wire.Mass](t, d.as(lars, "y\n", append(approve, "--serials", stolen, "--json")...))
	if done.State != "finished" || done.Done != 1 || done.Revoked != 1 {
		t.Errorf("approved: %+v", done)
	}
	if got := d.as(karin, "", "cert", "show", serial); !strings.Contains(got.out, "revoked") {
		t.Errorf("the certificate: %+v", got)
	}
	if got := d.as(lars, "", "revocation", "show", ordered.ID, "--lines"); got.out != serial+"\n" {
		t.Errorf("its list: %+v", got)
	}
	if got := d.as(lars, "", "revocation", "show", ordered.ID, "--wait"); got.code != 0 || !strings.Contains(got.out, "finished") {
		t.Errorf("show: %+v", got)
	}
	if list := decoded[wire.Masses](t, d.as(karin, "", "revocation", "list", "--json")); len(list.Revocations) != 1 || list.Revocations[0].ID != ordered.ID {
		t.Errorf("list: %+v", list)
	}
	d.byCards(karin, lars, holder)
	if got := program(t, "", "doctor", "--dir", d.Dir); got.code != 0 {
		t.Errorf("doctor: %+v", got)
	}
}

// byCards has both at one desk revoke the eIDs on a card, of which none are left.
func (d *desk) byCards(one, two, holder card) {
	d.t.Helper()
	at := one
	at.more = []string{two.pin}
	file := d.file("cards.txt", holder.number)
	got := decoded[wire.Mass](d.t, d.as(at, "y\n", "revocation", "order", "--cards", file, "--reason", "superseded", "--second", "soft:"+two.path, "--wait", "--json"))
	if got.State != "finished" || got.Kind != "cards" || got.Done != 1 || got.Revoked != 0 {
		d.t.Errorf("by cards: %+v", got)
	}
}
