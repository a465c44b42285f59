package demo

import (
	"bytes"
	"encoding/csv"
	"fmt"

	"sigill/internal/adminclient"
	"sigill/internal/cardclient"
	"sigill/internal/wire"
	"sigill/policy"
	data "sigill/testdata/demo"
)

// several: one card carries two organisations' eIDs, and a signing certificate.
func (d *demo) several() error {
	d.begin("Two organisations' eIDs on one card, and a signing certificate")
	first, err := d.order("ordinary", d.göran, d.admin(0), d.admin(1))
	if err != nil {
		return err
	}
	if _, err := d.holder(d.göran).Fetch(d.ctx, first.ID, quiet{}); err != nil {
		return err
	}
	own, err := d.current(d.göran)
	if err != nil {
		return err
	}
	d.fact("%s has an eID of the region, %s", d.göran.name, own.Serial)
	if err := d.extra(); err != nil {
		return err
	}
	if err := d.expectStatus("the region's eID beside it", own.DER, good); err != nil {
		return err
	}
	return d.signing(own)
}

// extra: a branch that never saw the card's holder orders an eID for it.
func (d *demo) extra() error {
	both := []*adminclient.Client{d.admin(0), d.admin(1)}
	document, st, err := adminclient.BranchDocument("2120000142", "Österbyggda kommun", d.org)
	if err != nil {
		return err
	}
	statements, err := d.state(both, st)
	if err != nil {
		return err
	}
	branch, err := both[0].CreateOrganisation(d.ctx, document, statements)
	if err != nil {
		return err
	}
	row, err := rowOf(d.göran.hsaID, "SE2120000142-G77")
	if err != nil {
		return err
	}
	if _, err := both[0].ImportPeople(d.ctx, branch.ID, row); err != nil {
		return err
	}
	document, err = both[0].PreviewOrder(d.ctx, wire.OrderRequest{Type: "extra", Organisation: branch.ID, HSAID: "SE2120000142-G77",
		Card: d.göran.number, IDKind: "hsa-id", LoA: 3})
	if err != nil {
		return err
	}
	o, err := both[0].PlaceOrder(d.ctx, document)
	if err != nil {
		return err
	}
	if o, err = both[1].ApproveOrder(d.ctx, o.ID); err != nil {
		return err
	}
	r, err := d.holder(d.göran).Fetch(d.ctx, o.ID, told{d})
	if err != nil {
		return err
	}
	me, err := d.holder(d.göran).Me(d.ctx, cardclient.Identity{})
	if err != nil {
		return err
	}
	n := 0
	for _, e := range me.EIDs {
		if e.State == "current" {
			n++
		}
	}
	if err := expect(n == 2 && len(r.Installed) == 1, "%d current eIDs on the card", n); err != nil {
		return err
	}
	d.fact("%s ordered an extra eID for the same card; it lies beside the first: %d current eIDs", branch.Name, n)
	return nil
}

// rowOf returns the directory's file with one person, under another HSA-id.
func rowOf(hsaID, as string) ([]byte, error) {
	rows, err := csv.NewReader(bytes.NewReader(data.People)).ReadAll()
	if err != nil {
		return nil, err
	}
	for _, row := range rows[1:] {
		if row[3] != hsaID {
			continue
		}
		row[3], row[4], row[5], row[6] = as, "", "", ""
		var out bytes.Buffer
		w := csv.NewWriter(&out)
		if err := w.WriteAll([][]string{rows[0], row}); err != nil {
			return nil, err
		}
		return out.Bytes(), nil
	}
	return nil, fmt.Errorf("nobody has HSA-id %s", hsaID)
}

// signing: off until the organisation decides; then the holder fetches by himself.
func (d *demo) signing(eid *wire.Certificate) error {
	holder := d.holder(d.göran)
	holder.EID = eid.Serial
	// The holder's program would not even ask; the server is the one to refuse.
	_, err := d.call(d.göran.card, eid.Fingerprint, "POST", "/card/v1/downloads", wire.Begin{Signing: true})
	if err := d.refusedBy(err, string(policy.SigningOff), "a signing certificate, which the region has not allowed"); err != nil {
		return err
	}
	document, st, err := adminclient.SwitchDocument(d.org, true, "")
	if err != nil {
		return err
	}
	both := []*adminclient.Client{d.admin(0), d.admin(1)}
	statements, err := d.state(both, st)
	if err != nil {
		return err
	}
	org, err := both[0].SetSigning(d.ctx, d.org, document, statements)
	if err != nil {
		return err
	}
	d.fact("two administrators allow signing certificates: %t", org.SigningAllowed)
	r, err := holder.FetchSigning(d.ctx, told{d})
	if err != nil {
		return err
	}
	if err := expect(len(r.Installed) == 1 && r.Installed[0].Slot == policy.Signing, "installed %v", r.Installed); err != nil {
		return err
	}
	der, err := d.göran.card.ReadCertificate(d.ctx, r.Installed[0].ID)
	if err != nil {
		return err
	}
	d.fact("fetched by himself, without an order: %s, key in the signing slot", r.Installed[0].Serial)
	if err := d.expectStatus("the signing certificate", der, good); err != nil {
		return err
	}
	if _, err := both[0].Revoke(d.ctx, eid.Serial, "privilegeWithdrawn"); err != nil {
		return err
	}
	return d.expectRevoked("the signing certificate, once its eID is revoked", der)
}
