package world

import (
	"crypto"
	"fmt"
	"io"
	"maps"

	"sigill/ca"
	"sigill/internal/service"
	"sigill/orders"
	"sigill/policy"
)

// Fork returns the same installation over other stores, which hold a copy of this
// one's records: the same issuing CAs, administrators and bureau. It is for tests
// that begin many times where this world is now; making one costs a ceremony.
func (w *World) Fork(stores service.Stores) *World {
	f := &World{Issuers: w.Issuers, Now: w.Now, Org: w.Org, config: w.config, issuers: w.issuers, officers: w.officers, bureau: w.bureau}
	f.config.Stores = stores
	f.count.Store(w.count.Load())
	for i, a := range w.Admins {
		f.Admins[i] = a.Twin()
	}
	return f
}

// DrawFrom makes the issuing CAs anew with another source of serials, for tests
// that change the process's source of randomness after the world was made.
func (w *World) DrawFrom(source io.Reader) error {
	configs := maps.Clone(w.issuers)
	for id, c := range configs {
		c.Rand = source
		issuer, err := ca.NewIssuer(c)
		if err != nil {
			return err
		}
		configs[id], w.Issuers[id] = c, issuer
	}
	w.issuers = configs
	return w.Restart()
}

// Process returns services over the same store as a serving process of its own
// has them. change may alter how it is wired; nil: as [World.Restart] does. The
// world itself goes on with the services it has.
func (w *World) Process(change func(*service.Config)) (*service.Services, error) {
	owner := policy.NewID("proc")
	c := service.Config{
		Stores: w.config.Stores, Issuers: w.Issuers, For: kinds, CardCA: CardCA,
		Bureaus:    map[string]crypto.PublicKey{"bureau": w.bureau.Public()},
		Provenance: map[policy.LoA]policy.Provenance{2: policy.Session, 3: policy.Session},
		Owner:      owner, Dead: func(o string) bool { return o != owner }, Now: w.Now,
	}
	if change != nil {
		change(&c)
	}
	s, err := service.New(c)
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	return s, nil
}

// OrderRequest is what an administrator of org asks for a holder at level 3.
func OrderRequest(h *Holder, t policy.OrderType, org policy.OrganisationID, hsaID policy.HSAID) orders.Request {
	return orders.Request{Type: t, Organisation: org, HSAID: hsaID, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3}
}
