package api

import (
	"sigill/internal/wire"
	"sigill/orders/register"
	"sigill/policy"
)

func organisationAnswer(o *register.Organisation, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	w := organisationOf(o)
	return &w, nil
}

func organisationOf(o *register.Organisation) wire.Organisation {
	return wire.Organisation{ID: string(o.ID), Number: o.Number, Name: o.Name, Parent: string(o.Parent),
		SigningAllowed: o.SigningAllowed, CreatedAt: o.CreatedAt}
}

func (h *handler) createOrganisation(c *call) (any, error) {
	document, statements, err := stated(c)
	if err != nil {
		return nil, err
	}
	return organisationAnswer(h.Register.CreateOrganisation(c.Context(), c.caller, document, statements))
}

func (h *handler) organisation(c *call) (any, error) {
	return organisationAnswer(h.Register.Organisation(c.Context(), c.caller, organisation(c)))
}

func (h *handler) organisations(c *call) (any, error) {
	q, n, err := page(c, "after")
	if err != nil {
		return nil, err
	}
	list, err := h.Register.ListOrganisations(c.Context(), c.caller, policy.OrganisationID(q.Get("after")), n)
	if err != nil {
		return nil, err
	}
	out := &wire.Organisations{Organisations: []wire.Organisation{}}
	for _, o := range list {
		out.Organisations = append(out.Organisations, organisationOf(o))
	}
	return out, nil
}

func (h *handler) setSigning(c *call) (any, error) {
	document, statements, err := stated(c)
	if err != nil {
		return nil, err
	}
	return organisationAnswer(h.Register.SetSigning(c.Context(), c.caller, organisation(c), document, statements))
}

func (h *handler) roles(c *call) (any, error) {
	list, err := h.Register.ListRoles(c.Context(), c.caller, organisation(c))
	if err != nil {
		return nil, err
	}
	out := &wire.Roles{Roles: []wire.Role{}}
	for _, r := range list {
		out.Roles = append(out.Roles, wire.Role{Person: string(r.Person), Name: r.Name, Organisation: string(r.Organisation),
			Role: string(r.Role), GrantedAt: r.GrantedAt, Statement: string(r.Statement)})
	}
	return out, nil
}

func (h *handler) grantRole(c *call) (any, error) {
	document, statements, err := stated(c)
	if err != nil {
		return nil, err
	}
	if err := h.Register.GrantRole(c.Context(), c.caller, organisation(c), document, statements); err != nil {
		return nil, err
	}
	return h.roles(c)
}

func (h *handler) endRole(c *call) (any, error) {
	b, err := decode[wire.EndRole](c)
	if err != nil {
		return nil, err
	}
	ended, err := h.Register.EndRole(c.Context(), c.caller, organisation(c), policy.PersonID(b.Person), policy.Role(b.Role))
	return &wire.RoleEnded{Ended: ended}, err
}
