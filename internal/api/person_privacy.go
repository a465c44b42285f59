package api

import (
	"sigill/internal/wire"
	"sigill/orders/privacy"
	"sigill/policy"
)

func (h *handler) exportPerson(c *call) (any, error) {
	b, err := decode[wire.ExportPerson](c)
	if err != nil {
		return nil, err
	}
	if h.Privacy == nil {
		return nil, errNoRoute
	}
	e, err := h.Privacy.Export(c.Context(), c.caller, policy.OrganisationID(b.Organisation), policy.PersonID(c.PathValue("id")))
	if err != nil {
		return nil, err
	}
	return exported(e), nil
}

func (h *handler) erasePerson(c *call) (any, error) {
	document, statements, err := stated(c)
	if err != nil {
		return nil, err
	}
	if h.Privacy == nil {
		return nil, errNoRoute
	}
	o, err := h.Privacy.Erase(c.Context(), c.caller, policy.PersonID(c.PathValue("id")), document, statements)
	if err != nil {
		return nil, err
	}
	out := &wire.PersonErased{Person: string(o.Person), ErasedAt: o.ErasedAt, Assignments: o.Assignments, Events: o.Values, Kept: []wire.Kept{}}
	for _, k := range o.Kept {
		out.Kept = append(out.Kept, wire.Kept{What: k.What, Count: k.Count, Until: k.Until, Why: k.Why})
	}
	return out, nil
}

func exported(e *privacy.Export) *wire.PersonExport {
	out := &wire.PersonExport{ID: string(e.Person.ID), Number: e.Person.Number.Digits(), NumberKind: string(e.Person.NumberKind),
		GivenName: e.Person.GivenName, Surname: e.Person.Surname, CreatedAt: e.Person.CreatedAt, More: e.More,
		Assignments: []wire.HeldAssignment{}, Roles: []wire.HeldRole{}, Cards: []wire.HeldCard{}, Events: []wire.HeldEvent{}}
	for _, a := range e.Assignments {
		out.Assignments = append(out.Assignments, wire.HeldAssignment{Organisation: string(a.Organisation), HSAID: string(a.HSAID),
			Email: a.Email, UPN: a.UPN, SID: a.SID, EndsAt: a.EndsAt, UpdatedAt: a.UpdatedAt})
	}
	for _, r := range e.Roles {
		out.Roles = append(out.Roles, wire.HeldRole{Organisation: string(r.Organisation), Role: string(r.Role), GrantedAt: r.GrantedAt, EndedAt: r.EndedAt})
	}
	for _, card := range e.Cards {
		out.Cards = append(out.Cards, exportedCard(card))
	}
	for _, ev := range e.Events {
		held := wire.HeldEvent{ID: ev.ID, At: ev.At, Act: ev.Act, About: ev.About, Body: string(ev.Body)}
		for _, p := range ev.Personal {
			if held.Personal == nil {
				held.Personal = map[string]string{}
			}
			held.Personal[p.Name] = p.Value
		}
		out.Events = append(out.Events, held)
	}
	return out
}

func exportedCard(c privacy.Card) wire.HeldCard {
	out := wire.HeldCard{Number: string(c.Number), Product: c.Product, Kind: string(c.Kind), Organisation: string(c.Organisation),
		State: string(c.State), ExpiresAt: c.ExpiresAt, Identity: c.Identity,
		Certificates: []wire.HeldCertificate{}, Orders: []wire.HeldOrder{}, Downloads: []wire.HeldDownload{}}
	for _, cert := range c.Certificates {
		held := wire.HeldCertificate{Serial: cert.Serial.String(), Fingerprint: cert.Fingerprint.String(), Issuer: string(cert.Issuer),
			Profile: string(cert.Profile), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, RevokedAt: cert.Revoked, DER: cert.DER}
		for _, st := range cert.Signed {
			held.Statements = append(held.Statements, wire.HeldStatement{ID: string(st.ID), Act: st.Act, Subject: st.Subject, At: st.At, Content: string(st.Content)})
		}
		out.Certificates = append(out.Certificates, held)
	}
	for _, o := range c.Orders {
		out.Orders = append(out.Orders, wire.HeldOrder{ID: string(o.ID), Type: string(o.Type), Organisation: string(o.Organisation),
			State: string(o.State), PlacedAt: o.PlacedAt, Document: string(o.Bytes)})
	}
	for _, d := range c.Downloads {
		out.Downloads = append(out.Downloads, wire.HeldDownload{ID: string(d.ID), Order: string(d.Order), State: string(d.State),
			CreatedAt: d.CreatedAt, EndedAt: d.EndedAt, Plan: string(d.Plan)})
	}
	return out
}
