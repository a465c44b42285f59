package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// quiet approves every plan and says nothing.
type quiet struct{}

func (quiet) Approve(context.Context, *wire.Me, policy.Plan) (bool, error) { return true, nil }
func (quiet) Progress(string, policy.Slot)                                 {}

// told approves every plan and tells it.
type told struct{ *demo }

func (t told) Approve(_ context.Context, _ *wire.Me, p policy.Plan) (bool, error) {
	for _, a := range p.Adds {
		if a.Slot == policy.Signing {
			a.Content.UPN = "" // is for logging on: the profile leaves it out
		}
		t.tell("plan: comes  %s, %s %s, level %d, %s, until %s", a.Slot, a.IDKind, a.Content.SerialNumber, a.LoA, contact(a.Content.Email, a.Content.UPN), a.NotAfter.Format("2006-01-02"))
	}
	for _, r := range p.Removes {
		t.tell("plan: goes   %s %s, revoked as %s", r.Slot, r.Serial, r.Reason)
	}
	if len(p.Removes) == 0 {
		t.tell("plan: nothing goes")
	}
	return true, nil
}

func (told) Progress(string, policy.Slot) {}

func contact(email, upn string) string {
	return strings.Join([]string{"e-mail " + or(email), "UPN " + or(upn)}, ", ")
}

func or(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// current returns the card's current authentication certificate as the server
// tells it, and an error unless there is exactly one.
func (d *demo) current(p *person) (*wire.Certificate, error) {
	me, err := d.holder(p).Me(d.ctx, cardclient.Identity{})
	if err != nil {
		return nil, err
	}
	var found []*wire.Certificate
	for _, e := range me.EIDs {
		for i := range e.Certificates {
			if e.Certificates[i].State == "current" {
				found = append(found, &e.Certificates[i])
			}
		}
	}
	if err := expect(len(found) == 1, "%s has %d current certificates", p.name, len(found)); err != nil {
		return nil, err
	}
	return found[0], nil
}

// firstEID: two administrators, one holder, one new eID.
func (d *demo) firstEID() error {
	d.begin("An ordinary eID is ordered, approved and fetched")
	o, err := d.order("ordinary", d.åsa, d.admin(0), nil)
	if err != nil {
		return err
	}
	d.fact("%s ordered %s for %s, with a statement signed by her card", d.admins[0].name, o.ID, d.åsa.name)
	_, err = d.admin(0).ApproveOrder(d.ctx, o.ID)
	if err := d.refusedBy(err, string(policy.OrderApprover), "approving one's own order"); err != nil {
		return err
	}
	_, err = d.holder(d.åsa).Fetch(d.ctx, o.ID, quiet{})
	if err := d.refusedBy(err, string(policy.OrderApprovals), d.åsa.name+" fetches it before that"); err != nil {
		return err
	}
	if o, err = d.admin(1).ApproveOrder(d.ctx, o.ID); err != nil {
		return err
	}
	d.fact("%s approved it, with a statement of his own: %s", d.admins[1].name, o.State)
	_, err = d.holder(d.göran).Fetch(d.ctx, o.ID, quiet{})
	if err := d.refusedBy(err, string(policy.DownloadCard), d.göran.name+" fetches it with another card"); err != nil {
		return err
	}
	r, err := d.holder(d.åsa).Fetch(d.ctx, o.ID, told{d})
	if err != nil {
		return err
	}
	c, err := d.current(d.åsa)
	if err != nil {
		return err
	}
	if err := expect(c.Serial == r.Installed[0].Serial, "current is %s, installed was %s", c.Serial, r.Installed[0].Serial); err != nil {
		return err
	}
	d.fact("key made in the card, certificate %s written, read back,\nconfirmed by a full handshake with it: current", c.Serial)
	return d.expectStatus("the new certificate", c.DER, good)
}

// update: a wrong address is put right; what was there is superseded.
func (d *demo) update() error {
	d.begin("E-mail and UPN were wrong: an update replaces the eID")
	old, err := d.current(d.åsa)
	if err != nil {
		return err
	}
	// A thief's copy of the card as it is now, for later. (A real card can't be
	// copied; this one is a file.)
	if err := d.copyCard(d.åsa, d.åsa.path+".before-update"); err != nil {
		return err
	}
	rows, err := d.admin(0).ImportPeople(d.ctx, d.org, corrected())
	if err != nil {
		return err
	}
	if err := expect(rows.Rows[0].Result == "changed", "the corrected row is %s", rows.Rows[0].Result); err != nil {
		return err
	}
	o, err := d.order("update", d.åsa, d.admin(0), nil)
	if err != nil {
		return err
	}
	d.fact("one signature is enough for an update that the holder fetches with her current eID: %s", o.State)
	if err := d.interrupted(o, old); err != nil {
		return err
	}
	now, err := d.resumed(o, old)
	if err != nil {
		return err
	}
	if err := d.expectStatus("the new one", now.DER, good); err != nil {
		return err
	}
	if err := d.expectStatus("the old one", old.DER, superseded); err != nil {
		return err
	}
	d.old, d.new = old, now
	return d.onlyOnCard(d.åsa, now)
}

// interrupted: the card leaves the reader in the middle; the old eID lives on.
func (d *demo) interrupted(o *wire.Order, old *wire.Certificate) error {
	d.tell("the card is pulled out right after the certificate was written:")
	pulled := errors.New("the card left the reader")
	client := d.holder(d.åsa)
	client.After = func(step string) error {
		if step == cardclient.StepWritten {
			return pulled
		}
		return nil
	}
	if _, err := client.Fetch(d.ctx, o.ID, told{d}); !errors.Is(err, pulled) {
		return fmt.Errorf("the interrupted download ended with: %w", err)
	}
	still, err := d.current(d.åsa)
	if err != nil {
		return err
	}
	if err := expect(still.Serial == old.Serial, "current is %s after the interruption", still.Serial); err != nil {
		return err
	}
	d.fact("the old eID %s is untouched and logs in", old.Serial)
	return nil
}

// resumed: the same download is finished, and there is one current eID, the new.
func (d *demo) resumed(o *wire.Order, old *wire.Certificate) (*wire.Certificate, error) {
	r, err := d.holder(d.åsa).Fetch(d.ctx, o.ID, quiet{})
	if err != nil {
		return nil, err
	}
	if err := expect(r.Resumed, "the download was not resumed"); err != nil {
		return nil, err
	}
	now, err := d.current(d.åsa)
	if err != nil {
		return nil, err
	}
	if err := expect(now.Serial != old.Serial && now.Serial == r.Installed[0].Serial, "current is %s", now.Serial); err != nil {
		return nil, err
	}
	d.fact("resumed and finished: %s has exactly one current eID, %s", d.åsa.name, now.Serial)
	d.download = r.Download
	return now, nil
}

// onlyOnCard: the old key and certificate are gone from the card.
func (d *demo) onlyOnCard(p *person, c *wire.Certificate) error {
	objects, err := p.card.Objects(d.ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, o := range objects {
		if o.Slot == policy.Authentication {
			n++
			if err := expect(fingerprint(o.Certificate) == c.Fingerprint, "another authentication certificate is on the card"); err != nil {
				return err
			}
		}
	}
	if err := expect(n == 1, "%d authentication objects on the card", n); err != nil {
		return err
	}
	d.fact("on the card, too: one authentication key, one certificate")
	return nil
}

// copyCard copies a card file.
func (d *demo) copyCard(p *person, to string) error {
	b, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// lost: a card is reported lost between plan and confirm.
func (d *demo) lost() error {
	d.begin("A card is reported lost in the middle of its download")
	o, err := d.order("ordinary", d.märta, d.admin(0), d.admin(1))
	if err != nil {
		return err
	}
	client := d.holder(d.märta)
	client.After = func(step string) error {
		if step != cardclient.StepReadBack {
			return nil
		}
		d.tell("… certificate written and read back; now %s reports the card lost", d.admins[1].name)
		_, err := d.admin(1).BlockCard(d.ctx, d.märta.number, "lost")
		return err
	}
	_, err = client.Fetch(d.ctx, o.ID, quiet{})
	if err := d.refusedBy(err, string(policy.LoginRevoked), "the confirmation from the lost card"); err != nil {
		return err
	}
	after, err := d.admin(0).Order(d.ctx, o.ID)
	if err != nil {
		return err
	}
	if err := expect(after.State == "withdrawn", "the order is %s", after.State); err != nil {
		return err
	}
	k, err := d.admin(0).CardInfo(d.ctx, d.märta.number)
	if err != nil {
		return err
	}
	if err := expect(k.State == "blocked", "the card is %s", k.State); err != nil {
		return err
	}
	d.fact("card %s is blocked, the order withdrawn", k.Number)
	return d.deadOnCard(d.märta)
}

// deadOnCard: every certificate on the card is revoked to relying parties.
func (d *demo) deadOnCard(p *person) error {
	objects, err := p.card.Objects(d.ctx)
	if err != nil {
		return err
	}
	dead := 0
	for _, o := range objects {
		if len(o.Certificate) == 0 {
			continue
		}
		if err := d.expectRevoked(fmt.Sprintf("the %s certificate on it", o.Slot), o.Certificate); err != nil {
			return err
		}
		dead++
	}
	// The transport certificate, and the one that was about to come alive.
	return expect(dead >= 2, "only %d certificates on the card", dead)
}

// refused: what must not work.
func (d *demo) refused() error {
	d.begin("What must not work")
	thief, err := token.OpenSoft(d.åsa.path+".before-update", pins)
	if err != nil {
		return err
	}
	defer thief.Close()
	_, err = d.call(thief, d.old.Fingerprint, "GET", "/card/v1/me", nil)
	if err := d.refusedBy(err, string(policy.LoginRevoked), "log-in with the superseded certificate, from a copy of the card"); err != nil {
		return err
	}
	if err := d.replay(); err != nil {
		return err
	}
	_, err = d.call(d.göran.card, "", "GET", "/card/v1/downloads/"+d.download, nil)
	if err := d.refusedBy(err, string(policy.DownloadCard), "another card that asks for the download"); err != nil {
		return err
	}
	self := wire.OrderRequest{Type: "renewal", Organisation: d.org, HSAID: d.admins[0].hsaID, Card: d.admins[0].number, IDKind: "hsa-id", LoA: 3}
	_, err = d.admin(0).PreviewOrder(d.ctx, self)
	return d.refusedBy(err, string(policy.OrderSelf), "an administrator who orders for herself")
}

// replay sends the confirmation of the finished download again.
func (d *demo) replay() error {
	var before wire.Download
	if err := d.callInto(d.åsa.card, d.new.Fingerprint, "GET", "/card/v1/downloads/"+d.download, nil, &before); err != nil {
		return err
	}
	body := wire.Confirm{PlanHash: before.PlanHash, ReadBack: map[string]string{"authentication": d.new.Fingerprint}}
	var after wire.Download
	if err := d.callInto(d.åsa.card, d.new.Fingerprint, "POST", "/card/v1/downloads/"+d.download+"/confirm", body, &after); err != nil {
		return err
	}
	if err := expect(after.State == "installed" && before.State == "installed", "the download is %s", after.State); err != nil {
		return err
	}
	c, err := d.current(d.åsa)
	if err != nil {
		return err
	}
	if err := expect(c.Serial == d.new.Serial, "current is %s after the replay", c.Serial); err != nil {
		return err
	}
	if err := d.expectStatus("the new one after a replayed confirmation", d.new.DER, good); err != nil {
		return err
	}
	d.fact("a replayed confirmation changes nothing: the same answer, still exactly one current eID")
	return nil
}
