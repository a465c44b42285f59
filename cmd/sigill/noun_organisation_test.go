package main

import (
	"slices"
	"strings"
	"testing"

	"sigill/internal/adminclient/admintest"
	"sigill/internal/wire"
)

// organisations is what an organisation decides, by command: a branch, its
// administrator, its switch, and an eID of the branch beside the customer's.
func (d *desk) organisations(org string, karin, lars, åsa card) {
	t := d.t
	both := karin
	both.more = []string{lars.pin}
	second := []string{"--second", "soft:" + lars.path}
	create := []string{"organisation", "create", "--number", "5560001009", "--name", "Folktandvården"}
	if got := d.as(karin, "y\n", create...); got.code != exitUsage || !strings.Contains(got.err, "--second") {
		t.Errorf("one alone: %+v", got)
	}
	create = append(create, second...)
	if got := d.typed(karin, karin.pin+"\nn\n", create...); got.code != exitFailed || got.out != "" || !strings.Contains(got.err, "Nothing was done") || !strings.Contains(got.err, "Region Österbyggd") {
		t.Errorf("declined: %+v", got)
	}
	wrong := slices.Clone(create)
	wrong[3] = "5560001008"
	if got := d.as(both, "y\n", wrong...); got.code != exitFailed || !strings.Contains(got.err, "check digit") {
		t.Errorf("wrong number: %+v", got)
	}
	branch := decoded[wire.Organisation](t, d.as(both, "y\n", append(create, "--json")...))
	if branch.Parent != org || branch.SigningAllowed || branch.Name != "Folktandvården" {
		t.Fatalf("%+v", branch)
	}
	if again := decoded[wire.Organisation](t, d.as(both, "", append(create, "--yes", "--json")...)); again.ID != branch.ID {
		t.Errorf("again: %+v", again)
	}
	if got := d.as(karin, "", "organisation", "list"); got.code != 0 || !strings.Contains(got.out, "Region Österbyggd") || !strings.Contains(got.out, "Folktandvården") {
		t.Errorf("list: %+v", got)
	}
	if list := decoded[wire.Organisations](t, d.as(karin, "", "organisation", "list", "--limit", "1", "--json")); len(list.Organisations) != 1 {
		t.Errorf("page: %+v", list)
	}
	d.signing(branch.ID, karin, both, second)
	d.roles(org, branch.ID, both, lars, åsa, second)
	d.extra(branch.ID, karin, lars, åsa)
}

// signing turns a branch's switch on and off.
func (d *desk) signing(branch string, karin, both card, second []string) {
	t := d.t
	turn := func(way string) wire.Organisation {
		t.Helper()
		return decoded[wire.Organisation](t, d.as(both, "y\n", append([]string{"organisation", "signing", branch, way, "--reason", "beslut 14", "--json"}, second...)...))
	}
	if o := turn("--allow"); !o.SigningAllowed || o.ID != branch {
		t.Errorf("allowed: %+v", o)
	}
	if got := d.as(karin, "", "organisation", "show", branch); got.code != 0 || !strings.Contains(got.out, "signing certificates  allowed") {
		t.Errorf("show: %+v", got)
	}
	if got := d.as(karin, "", "organisation", "show"); got.code != 0 || !strings.Contains(got.out, "not allowed") || !strings.Contains(got.out, "Region Österbyggd") {
		t.Errorf("the customer's switch: %+v", got)
	}
	if o := turn("--deny"); o.SigningAllowed {
		t.Errorf("denied: %+v", o)
	}
	for _, args := range [][]string{{}, {"--allow", "--deny"}, {"--allow"}} {
		if got := d.as(both, "y\n", append([]string{"organisation", "signing", branch}, args...)...); got.code != exitUsage {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// roles makes one who is employed by the customer administrator of its branch,
// and takes that away.
func (d *desk) roles(org, branch string, both, lars, åsa card, second []string) {
	t := d.t
	who := []string{"--person", "SE2321000016-A4O2", "--role", "administrator", "--org", branch}
	grant := append([]string{"role", "grant"}, who...)
	if got := d.as(both, "y\n", grant...); got.code != exitUsage || !strings.Contains(got.err, "--second") {
		t.Errorf("one alone: %+v", got)
	}
	grant = append(grant, second...)
	got := d.as(both, "y\n", append(grant, "--json")...)
	if roles := decoded[wire.Roles](t, got); len(roles.Roles) != 1 || roles.Roles[0].Name != "Åsa Öström" || !strings.Contains(got.err, "Åsa Öström, SE2321000016-A4O2") {
		t.Errorf("granted: %+v", got)
	}
	if got := d.as(åsa, "", "role", "list"); got.code != 0 || !strings.Contains(got.out, "Åsa Öström") || !strings.Contains(got.out, "administrator") {
		t.Errorf("what she administers: %+v", got)
	}
	if got := d.as(åsa, "", "role", "list", "--org", org); got.code != exitFailed {
		t.Errorf("what she does not: %+v", got)
	}
	own := append([]string{"role", "grant", "--person", "SE2321000016-L3A9", "--role", "reader", "--org", branch, "--yes"}, second...)
	if got := d.as(both, "", own...); got.code != exitFailed || !strings.Contains(got.err, "role.self") {
		t.Errorf("to oneself: %+v", got)
	}
	if got := d.as(both, "", append([]string{"role", "grant", "--person", "SE2321000016-NONE", "--role", "reader", "--org", branch, "--yes"}, second...)...); got.code != exitFailed ||
		!strings.Contains(got.err, "SE2321000016-NONE") {
		t.Errorf("to nobody: %+v", got)
	}
	auditor := append([]string{"role", "grant", "--person", "SE2321000016-A4O2", "--role", "auditor", "--yes"}, second...)
	if got := d.as(both, "", append(auditor, "--org", branch)...); got.code != exitFailed || !strings.Contains(got.err, "role.root") {
		t.Errorf("an auditor in a branch: %+v", got)
	}
	if got := d.as(both, "", auditor...); got.code != 0 || !strings.Contains(got.out, "auditor") {
		t.Errorf("an auditor: %+v", got)
	}
	if got := d.as(lars, "y\n", "role", "end", "--person", "SE2321000016-A4O2", "--role", "auditor"); got.code != 0 {
		t.Errorf("an auditor no more: %+v", got)
	}
	end := append([]string{"role", "end"}, who...)
	if got := d.typed(lars, lars.pin+"\nn\n", end...); got.code != exitFailed || !strings.Contains(got.err, "Nothing was done") {
		t.Errorf("declined: %+v", got)
	}
	if got := d.as(lars, "y\n", end...); got.code != 0 || !strings.Contains(got.out, "ended") {
		t.Errorf("ended: %+v", got)
	}
	if got := d.as(lars, "y\n", end...); got.code != exitFailed || !strings.Contains(got.err, "does not have the role") {
		t.Errorf("ended again: %+v", got)
	}
	if got := d.as(åsa, "", "role", "list", "--org", branch); got.code != exitFailed {
		t.Errorf("after the end: %+v", got)
	}
	if roles := decoded[wire.Roles](t, d.as(lars, "", "role", "list", "--json")); len(roles.Roles) != 2 {
		t.Errorf("the customer's: %+v", roles)
	}
}

// extra puts the branch's eID beside the customer's on one card.
func (d *desk) extra(branch string, karin, lars, åsa card) {
	t := d.t
	csv := "personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected\n198001042384,Åsa,Öström,SE5560001009-A1,,,,,\n"
	if got := d.as(karin, "", "person", "import", "--org", branch, d.file("branch.csv", csv)); got.code != 0 {
		t.Fatalf("import: %+v", got)
	}
	o := decoded[wire.Order](t, d.as(karin, "y\n", "order", "place", "--type", "extra", "--org", branch, "--person-number", "198001042384", "--to", åsa.number, "--json"))
	if o.Organisation != branch {
		t.Fatalf("%+v", o)
	}
	if o := decoded[wire.Order](t, d.as(lars, "y\n", "order", "approve", o.ID, "--json")); o.State != "approved" {
		t.Fatalf("%+v", o)
	}
	d.Fetch(t, admintest.Open(t, åsa.path, admintest.PIN))
	got := d.as(åsa, "", "eid", "list")
	if got.code != 0 || !strings.Contains(got.out, "Region Österbyggd") || !strings.Contains(got.out, "Folktandvården") {
		t.Errorf("two eIDs: %+v", got)
	}
}

func TestOrganisationNouns(t *testing.T) {
	d := &desk{admintest.Start(t), t}
	one, two := d.officer(1), d.officer(2)
	org := d.found(one, two)
	bootstrap := []string{"--org", org, "--second", "soft:" + two.path}
	karin := d.issue("9752000000000000311", "SE2321000016-K7B1", one, two, bootstrap)
	lars := d.issue("9752000000000000312", "SE2321000016-L3A9", one, two, bootstrap)
	d.persons(karin)
	åsa := d.issue("9752000000000000313", "SE2321000016-A4O2", karin, lars, nil)
	d.organisations(org, karin, lars, åsa)
}
