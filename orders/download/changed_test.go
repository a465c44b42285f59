package download_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/register"
	"sigill/policy"
)

// started is a renewal that has its plan and whose client has made its request.
type started struct {
	*worldtest.Scene
	h      *world.Holder
	id     policy.OrderID
	st     *download.State
	csr    []byte
	caller register.Caller
}

func start(s *worldtest.Scene, h *world.Holder, id policy.OrderID) *started {
	s.T.Helper()
	ctx := s.T.Context()
	r := &started{Scene: s, h: h, id: id}
	var err error
	if r.st, err = s.Begin(ctx, h, id); err != nil {
		s.T.Fatal(err)
	}
	if r.csr, err = h.Request(r.st); err != nil {
		s.T.Fatal(err)
	}
	if r.caller, err = s.Login(ctx, h); err != nil {
		s.T.Fatal(err)
	}
	return r
}

func (r *started) submit() (*download.State, error) {
	return r.Downloads.Submit(r.T.Context(), r.caller, r.st.Download.ID, policy.Authentication, r.csr)
}

// untouched fails the test if anything was intended or signed for the download.
func (r *started) untouched() {
	r.T.Helper()
	if n := r.Rows("intents", "download = ?", string(r.st.Download.ID)); n != 0 {
		r.T.Errorf("%d intents of a refused request", n)
	}
	r.Sound()
	r.Truth()
}

func rename(t *testing.T, s *worldtest.Scene, h *world.Holder, change func(*register.PersonRow)) {
	t.Helper()
	row, err := s.Row(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	change(&row)
	if err := s.Import(t.Context(), row); err != nil {
		t.Fatal(err)
	}
}

// What was ordered is compared with the directory until it is recorded: what is
// wrong by then is not signed. After that it stands, for a change at the
// directory must not cost the holder an eID that is on its way to the card.
func TestDirectoryChanges(t *testing.T) {
	s := worldtest.New(t)
	account := 1000 // accounts are one person's each
	fields := map[string]func(*register.PersonRow){
		"email":      func(r *register.PersonRow) { r.Email = "ny@region.example" },
		"upn":        func(r *register.PersonRow) { account++; r.UPN = fmt.Sprintf("ny%d@ad.region.example", account) },
		"sid":        func(r *register.PersonRow) { account++; r.SID = fmt.Sprintf("S-1-5-21-1-2-3-%d", account) },
		"surname":    func(r *register.PersonRow) { r.Surname = "Ny" },
		"commonName": func(r *register.PersonRow) { r.GivenName = "Ny" },
	}
	names := func(err error, field string) {
		s.T.Helper()
		s.Refused(err, policy.OrderContent)
		if field == "surname" { // stands in the common name, which comes first
			field = "commonName"
		}
		if refusal, _ := errors.AsType[*policy.Refusal](err); !strings.Contains(refusal.Detail, field) {
			s.T.Errorf("refusal %q does not name %s", refusal.Detail, field)
		}
	}
	for field, change := range fields {
		t.Run(field+" between order and plan", func(t *testing.T) {
			s.T = t
			h := s.Holder()
			id := s.Ordered(h, policy.OrderRenewal)
			rename(t, s, h, change)
			_, err := s.Begin(t.Context(), h, id)
			names(err, field)
		})
		t.Run(field+" between plan and request", func(t *testing.T) {
			s.T = t
			h := s.Holder()
			r := start(s, h, s.Ordered(h, policy.OrderRenewal))
			rename(t, s, h, change)
			_, err := r.submit()
			names(err, field)
			r.untouched()
		})
		t.Run(field+" between request and record", func(t *testing.T) {
			s.T = t
			h := s.Holder()
			r := start(s, h, s.Ordered(h, policy.OrderRenewal))
			s.Faults.BeforeUpdate(1, func() { rename(t, s, h, change) })
			_, err := r.submit()
			names(err, field)
			r.untouched()
		})
		t.Run(field+" between record and confirm", func(t *testing.T) {
			s.T = t
			h := s.Holder()
			st, err := s.Begin(t.Context(), h, s.Ordered(h, policy.OrderRenewal))
			if err != nil {
				t.Fatal(err)
			}
			s.Faults.BeforeSign(1, func() { rename(t, s, h, change) })
			if st, err = s.Submit(t.Context(), h, st); err != nil {
				t.Fatal(err)
			}
			if err := s.Confirm(t.Context(), h, st); err != nil {
				t.Error(err)
			}
		})
	}
}

// An assignment that ends, a card that expires, an order that runs out and an
// order withdrawn are refused at the plan too.
func TestPlanRefusesWhatNoLongerHolds(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	for _, c := range []struct {
		name string
		do   func(*testing.T, *world.Holder, policy.OrderID)
		rule policy.Rule
	}{
		{"order withdrawn", func(t *testing.T, _ *world.Holder, id policy.OrderID) {
			if _, err := s.Downloads.Withdraw(ctx, admin(t, s), id); err != nil {
				t.Fatal(err)
			}
		}, policy.OrderStateRule},
		{"assignment ran out", func(_ *testing.T, h *world.Holder, _ policy.OrderID) {
			s.Exec("UPDATE assignments SET ends_at = ? WHERE person = ?", s.Now().UnixMicro()-1, string(h.Person))
		}, policy.OrderAssignment},
		{"card locked", func(t *testing.T, h *world.Holder, _ policy.OrderID) {
			s.Exec("UPDATE cards SET state = 'locked' WHERE number = ?", string(h.Card))
		}, policy.LoginCard},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.T = t
			h := s.Holder()
			id := s.Ordered(h, policy.OrderRenewal)
			c.do(t, h, id)
			_, err := s.Begin(ctx, h, id)
			s.Refused(err, c.rule)
		})
	}
}

// Nobody alone obtains an eID: an order that only one has signed is not carried
// out, even if a row says that it was approved.
func TestApprovalMissing(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Person()
	d, err := s.Preview(ctx, h, policy.OrderOrdinary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Place(ctx, d, 0); err != nil {
		t.Fatal(err)
	}
	_, err = s.Begin(ctx, h, d.Order)
	s.Refused(err, policy.OrderApprovals)
	_, err = s.Approve(ctx, d, 0)
	s.Refused(err, policy.OrderApprover)
	_, err = s.Begin(ctx, h, d.Order)
	s.Refused(err, policy.OrderApprovals)
	s.Exec("UPDATE orders SET state = 'approved' WHERE id = ?", string(d.Order))
	_, err = s.Begin(ctx, h, d.Order)
	s.Refused(err, policy.OrderApprovals)
}

// Who can write the database can invent an approval, but not a signature: the CA
// looks at the statements itself before its key is touched.
func TestForgedStatementIsFoundByTheCA(t *testing.T) {
	for _, c := range []struct {
		name  string
		forge func(*testing.T, *worldtest.Scene, *world.Holder, orders.Document)
	}{
		{"a signature of nobody", func(t *testing.T, s *worldtest.Scene, _ *world.Holder, d orders.Document) {
			insertApproval(t, s, d, func(g *register.Signed) { g.Signature[len(g.Signature)-1] ^= 1 })
		}},
		{"a statement about another order", func(t *testing.T, s *worldtest.Scene, h *world.Holder, d orders.Document) {
			insertApproval(t, s, d, func(g *register.Signed) {
				d.Order = policy.OrderID(policy.NewID("ord"))
				other, err := s.StateAs(world.Statement(statement.ActApprove, d), s.Admins[1])
				if err != nil {
					t.Fatal(err)
				}
				*g = other[0]
			})
		}},
		{"the placing statement in another's name", func(t *testing.T, s *worldtest.Scene, _ *world.Holder, d orders.Document) {
			insertApproval(t, s, d, func(g *register.Signed) {
				own, err := s.StateAs(world.Statement(statement.ActPlace, d), s.Admins[0])
				if err != nil {
					t.Fatal(err)
				}
				g.Content, g.Signature = own[0].Content, own[0].Signature
			})
		}},
		{"the order's content", func(t *testing.T, s *worldtest.Scene, h *world.Holder, d orders.Document) {
			insertApproval(t, s, d, func(*register.Signed) {})
			s.Exec("UPDATE assignments SET email = 'mallory@region.example' WHERE person = ?", string(h.Person))
			d.Content.Email = "mallory@region.example"
			s.Exec("UPDATE orders SET bytes = ? WHERE id = ?", d.Bytes(), string(d.Order))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := worldtest.New(t)
			h := s.Person()
			d, err := s.Preview(t.Context(), h, policy.OrderOrdinary)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Place(t.Context(), d, 0); err != nil {
				t.Fatal(err)
			}
			c.forge(t, s, h, d)
			s.Exec("UPDATE orders SET state = 'approved' WHERE id = ?", string(d.Order))
			signed := len(s.Faults.Signed(world.PersonCA))
			r := start(s, h, d.Order)
			_, err = r.submit()
			s.Refused(err, policy.OrderApprovals)
			r.untouched()
			if n := len(s.Faults.Signed(world.PersonCA)); n != signed {
				t.Errorf("%d signatures were made", n-signed)
			}
		})
	}
}

// insertApproval writes a statement of the second administrator into the
// database, spoilt by spoil.
func insertApproval(t *testing.T, s *worldtest.Scene, d orders.Document, spoil func(*register.Signed)) {
	t.Helper()
	signed, err := s.StateAs(world.Statement(statement.ActApprove, d), s.Admins[1])
	if err != nil {
		t.Fatal(err)
	}
	spoil(&signed[0])
	fp := ca.FingerprintOf(s.Admins[1].CertificateOf())
	s.Exec(`INSERT INTO statements (id, act, subject, by_person, certificate, content, signature, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		policy.NewID("st"), statement.ActApprove, string(d.Order), s.Admins[1].Name(), fp[:], signed[0].Content, signed[0].Signature, s.Now().UnixMicro())
}

// Two rows of one person are one signature.
func TestOnePersonCountsOnce(t *testing.T) {
	s := worldtest.New(t)
	h := s.Person()
	d, err := s.Preview(t.Context(), h, policy.OrderOrdinary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Place(t.Context(), d, 0); err != nil {
		t.Fatal(err)
	}
	signed, err := s.StateAs(world.Statement(statement.ActApprove, d), s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	fp := ca.FingerprintOf(s.Admins[0].CertificateOf())
	s.Exec(`INSERT INTO statements (id, act, subject, by_person, certificate, content, signature, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		policy.NewID("st"), statement.ActApprove, string(d.Order), s.Admins[0].Name(), fp[:], signed[0].Content, signed[0].Signature, s.Now().UnixMicro())
	s.Exec("UPDATE orders SET state = 'approved' WHERE id = ?", string(d.Order))
	_, err = s.Begin(t.Context(), h, d.Order)
	s.Refused(err, policy.OrderApprovals)
}

// A signature counts only while its maker is an administrator whose card was not
// compromised: a dismissed one's approvals, and a stolen card's, carry nothing.
func TestApprovalOfOneWhoIsNoLongerAdministrator(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(*testing.T, *worldtest.Scene)
	}{
		{"lost the role", func(t *testing.T, s *worldtest.Scene) {
			err := s.Views.Register.Update(t.Context(), func(tx *register.Tx) error {
				return tx.EndGrant(s.Admins[1].Person, s.Org, policy.RoleAdministrator, s.Now())
			})
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"card stolen", func(t *testing.T, s *worldtest.Scene) {
			if err := s.Downloads.BlockCard(t.Context(), admin(t, s), s.Admins[1].Card, "stolen"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name+" before the plan", func(t *testing.T) {
			s := worldtest.New(t)
			h := s.Person()
			id := s.Ordered(h, policy.OrderOrdinary)
			c.lose(t, s)
			_, err := s.Begin(t.Context(), h, id)
			s.Refused(err, policy.OrderApprovals)
		})
		t.Run(c.name+" before the record", func(t *testing.T) {
			s := worldtest.New(t)
			h := s.Person()
			r := start(s, h, s.Ordered(h, policy.OrderOrdinary))
			s.Faults.BeforeUpdate(1, func() { c.lose(t, s) })
			_, err := r.submit()
			s.Refused(err, policy.OrderApprovals)
			r.untouched()
		})
	}
	t.Run("renewed the own eID", func(t *testing.T) { // superseded is no compromise
		s := worldtest.New(t)
		h := s.Person()
		id := s.Ordered(h, policy.OrderOrdinary)
		// Who orders for an administrator is another one: a third.
		third := s.Holder()
		if err := s.GrantRole(t.Context(), third, s.Org, policy.RoleAdministrator); err != nil {
			t.Fatal(err)
		}
		second := s.Admins[1]
		s.Admins[1] = third
		if err := s.Fetch(t.Context(), second, s.Ordered(second, policy.OrderRenewal)); err != nil {
			t.Fatal(err)
		}
		if err := s.Fetch(t.Context(), h, id); err != nil {
			t.Error(err)
		}
	})
}
