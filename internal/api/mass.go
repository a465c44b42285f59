package api

import (
	"errors"
	"time"

	"sigill/internal/audit"
	"sigill/internal/wire"
	"sigill/orders/download"
	"sigill/orders/register"
)

func mass(m *download.Mass) *wire.Mass {
	return &wire.Mass{ID: string(m.ID), Organisation: string(m.Organisation), State: string(m.State), Reason: m.Reason.String(), Kind: string(m.Kind),
		Entries: m.Entries, Document: m.Document, OrderedBy: string(m.OrderedBy), OrderedAt: m.OrderedAt, ApprovedBy: string(m.ApprovedBy),
		ApprovedAt: given(m.ApprovedAt), Done: m.Done - len(m.Failed), Revoked: m.Revoked, Failed: len(m.Failed), FinishedAt: given(m.FinishedAt)}
}

// given is a time that may not have come.
func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// massStated answers with a mass revocation and the receipt of what was stated of it.
func (h *handler) massStated(c *call, act string, m *download.Mass, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := mass(m)
	out.Receipted = h.receipted(c, audit.EventID(act, string(m.ID)))
	return out, nil
}

func massAnswer(m *download.Mass, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return mass(m), nil
}

// notYet refuses to wait for what is revoked only later.
func notYet(c *call) error {
	if c.URL.Query().Has("wait") {
		return form(errors.New("what is on the list is revoked after this was answered: ask for the revocation until it is finished"))
	}
	return nil
}

func (h *handler) orderMass(c *call) (any, error) {
	if err := notYet(c); err != nil {
		return nil, err
	}
	b, err := decode[wire.MassOrder](c)
	if err != nil {
		return nil, err
	}
	statements, err := signed(b.Statements)
	if err != nil {
		return nil, err
	}
	m, err := h.Downloads.OrderMass(c.Context(), c.caller, organisation(c), b.Document, []byte(b.List), statements)
	return h.massStated(c, audit.RevocationOrdered, m, err)
}

func (h *handler) approveMass(c *call) (any, error) {
	if err := notYet(c); err != nil {
		return nil, err
	}
	document, statements, err := stated(c)
	if err == nil && document != nil {
		err = form(errors.New("what is approved is the document that was ordered"))
	}
	if err != nil {
		return nil, err
	}
	m, err := h.Downloads.ApproveMass(c.Context(), c.caller, download.MassID(c.PathValue("id")), statements)
	return h.massStated(c, audit.RevocationApproved, m, err)
}

func (h *handler) mass(c *call) (any, error) {
	m, _, err := h.Downloads.Mass(c.Context(), c.caller, download.MassID(c.PathValue("id")), false)
	return massAnswer(m, err)
}

func (h *handler) massList(c *call) (any, error) {
	_, list, err := h.Downloads.Mass(c.Context(), c.caller, download.MassID(c.PathValue("id")), true)
	if err != nil {
		return nil, err
	}
	return &wire.MassList{List: string(list)}, nil
}

func (h *handler) masses(c *call) (any, error) {
	q, n, err := page(c, "after")
	if err != nil {
		return nil, err
	}
	list, err := h.Downloads.ListMasses(c.Context(), c.caller, organisation(c), download.MassID(q.Get("after")), register.Page(n))
	if err != nil {
		return nil, err
	}
	out := &wire.Masses{Revocations: []wire.Mass{}}
	for _, m := range list {
		out.Revocations = append(out.Revocations, *mass(m))
	}
	return out, nil
}
