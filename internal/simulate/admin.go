package simulate

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/orders/register"
	"sigill/policy"
)

// administrate is the actor of the administrators: they order, arm, and now and
// then end what they should or should not.
func (s *Sim) administrate(a *actor) {
	w := s.world.Fork(s.stores())
	for n := 0; !s.closing; n++ {
		s.pause(s.between(time.Second, 60*time.Second))
		p := s.living()
		if p == nil || s.closing {
			continue
		}
		a.proc, w.Services = p, p.services
		h := s.holders[s.rng.IntN(len(s.holders))]
		what, err := s.act(w, h, n)
		a.proc = nil
		s.ended(what, h.name+" "+outcome(err))
		if _, refused := asRefusal(err); !refused {
			s.expected(what, err)
		}
	}
}

// act is one act of an administrator about a holder.
func (s *Sim) act(w *world.World, h *holder, n int) (string, error) {
	ctx := context.Background()
	var admin register.Caller
	login := func() (err error) { admin, err = w.Login(ctx, w.Admins[s.rng.IntN(2)]); return err }
	switch s.draw(AdminAbandons, AdminWithdraws, AdminBlocks, AdminRevokes, AdminEnds, AdminEdits, AdminSwitches) {
	case AdminAbandons:
		id := s.text(`SELECT id FROM downloads WHERE card = ? AND state = 'planned'`, h.card.number)
		if err := login(); err != nil || id == "" {
			return "abandon", err
		}
		return "abandon", w.Downloads.Abandon(ctx, admin, policy.DownloadID(id))
	case AdminWithdraws:
		id := s.text(`SELECT id FROM orders WHERE card = ? AND state IN ('placed', 'approved') ORDER BY placed_at LIMIT 1`, h.card.number)
		if err := login(); err != nil || id == "" {
			return "withdraw", err
		}
		_, err := w.Downloads.Withdraw(ctx, admin, policy.OrderID(id))
		return "withdraw", err
	case AdminBlocks:
		h.ended[everyOne] = true
		if err := login(); err != nil {
			return "block", err
		}
		return "block", w.Downloads.BlockCard(ctx, admin, policy.CardNumber(h.card.number), "stolen")
	case AdminRevokes:
		if err := login(); err != nil {
			return "revoke", err
		}
		return "revoke", s.revoke(ctx, w, admin, h)
	case AdminEnds:
		org := []policy.OrganisationID{w.Org, h.branch}[s.rng.IntN(2)]
		h.ended[org] = true
		if err := login(); err != nil {
			return "end assignment", err
		}
		return "end assignment", w.Downloads.EndAssignment(ctx, admin, h.world.Person, org)
	case AdminSwitches:
		return "switch", w.SetSigning(ctx, []policy.OrganisationID{w.Org, h.branch}[s.rng.IntN(2)], s.chance(.5))
	case AdminEdits:
		return "edit", s.edit(ctx, w, h, n)
	}
	if s.chance(.15) {
		return "arm", w.Arm(ctx, h.world)
	}
	return s.order(ctx, w, h)
}

// revoke revokes the person's eIDs of an organisation, or one certificate.
func (s *Sim) revoke(ctx context.Context, w *world.World, admin register.Caller, h *holder) error {
	if s.chance(.5) {
		h.ended[w.Org] = true
		return w.Downloads.RevokePerson(ctx, admin, h.world.Person, w.Org, ca.AffiliationChanged)
	}
	serial, org := "", ""
	s.rows(`SELECT hex(c.serial), c.organisation FROM certificates c WHERE c.card = ? AND c.slot <> 'transport' ORDER BY c.stored_at DESC, c.serial LIMIT 1`,
		[]any{h.card.number}, func(r *sql.Rows) error { return r.Scan(&serial, &org) })
	if serial == "" {
		return nil
	}
	h.ended[policy.OrganisationID(org)] = true
	parsed, err := ca.ParseSerial(lower(serial))
	if err != nil {
		return err
	}
	_, err = w.Downloads.Revoke(ctx, admin, parsed, ca.KeyCompromise)
	return err
}

// edit changes what the directory says of a person.
func (s *Sim) edit(ctx context.Context, w *world.World, h *holder, n int) error {
	row, err := w.Row(ctx, h.world)
	if err != nil {
		return err
	}
	row.Email = fmt.Sprintf("ny%d.%s@region.example", n, h.name)
	err = w.Import(ctx, row)
	if err != nil && len(h.ended) > 0 && !blameless(err) {
		return nil // a row of an assignment that has ended is refused
	}
	return err
}

// order orders an eID that the card can have.
func (s *Sim) order(ctx context.Context, w *world.World, h *holder) (string, error) {
	org, hsaID := w.Org, h.world.HSAID
	if s.chance(.3) {
		org, hsaID = h.branch, h.hsaID
	}
	// A first eID comes from the card's own organisation.
	if s.count(`standings WHERE card = ? AND kind = 'current' AND slot = 'authentication'`, h.card.number) == 0 && s.chance(.8) {
		org, hsaID = w.Org, h.world.HSAID
	}
	has := s.count(`standings WHERE card = ? AND organisation = ? AND kind = 'current' AND slot = 'authentication'`, h.card.number, string(org)) > 0
	t := policy.OrderRenewal
	switch {
	case has && s.chance(.3):
		t = policy.OrderUpdate
	case !has && org == w.Org:
		t = policy.OrderOrdinary
	case !has:
		t = policy.OrderExtra
	}
	_, err := w.OrderFor(ctx, world.OrderRequest(h.world, t, org, hsaID))
	// An order that the card's log-in makes need one signature is approved when
	// it is placed; the second one's approval is refused then, as it should be.
	if refusal, ok := asRefusal(err); ok && refusal.Rule == policy.OrderApprover {
		err = nil
	}
	return "order " + string(t), err
}
