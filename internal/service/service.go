// Package service puts the domain's services together over a store and the
// issuing CAs. It owns the wiring that the server, the tests and the benchmarks
// share, and no rule of its own.
package service

import (
	"crypto"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sigill/ca"
	"sigill/internal/products"
	"sigill/internal/weakkeys"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/privacy"
	"sigill/orders/register"
	"sigill/policy"
)

// Stores are the views of one store that the services work in.
type Stores struct {
	Downloads download.Store
	Orders    orders.Store
	Register  register.Store
	Issue     issue.Store
	Privacy   privacy.Store // nil: nobody is told or erased
}

// Config is what the services need.
type Config struct {
	Stores
	Issuers issue.Issuers
	// For names the issuing CA of each kind of eID, CardCA that of transport
	// certificates.
	For    map[orders.Kind]ca.IssuerID
	CardCA ca.IssuerID
	// Log is the certificate log; nil: none.
	Log ca.Log
	// WeakKeys are the lists of weak keys that the operator put in place; nil:
	// none.
	WeakKeys *weakkeys.Lists
	// Bureaus sign delivery files.
	Bureaus map[string]crypto.PublicKey
	// Products are the known kinds of cards; nil: those that the program knows.
	Products policy.Products
	// Provenance is the weakest evidence of a key's origin, by level.
	Provenance map[policy.LoA]policy.Provenance
	// Owner names this process in intents; Dead tells of other owners.
	Owner       string
	Dead        func(owner string) bool
	Now         func() time.Time
	PendingTTL  time.Duration
	ArmedFor    time.Duration
	OrderOpen   time.Duration
	Validity    time.Duration
	SignTimeout time.Duration
}

// Services are the domain's services.
type Services struct {
	Issue     *issue.Service
	Register  *register.Service
	Orders    *orders.Service
	Downloads *download.Service
	Privacy   *privacy.Service // nil: the stores have none
}

// Defaults fills in the times that are not set.
func (c *Config) Defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.PendingTTL, 24*time.Hour)
	set(&c.ArmedFor, 2*time.Hour)
	set(&c.OrderOpen, 90*24*time.Hour)
	set(&c.Validity, 5*365*24*time.Hour)
	set(&c.SignTimeout, 30*time.Second)
}

// New wires the services and refuses what is not complete.
func New(c Config) (*Services, error) {
	c.Defaults()
	if c.Downloads == nil || c.Stores.Orders == nil || c.Register == nil || c.Issue == nil || c.Now == nil || c.Owner == "" || c.Dead == nil {
		return nil, errors.New("service: store, clock, owner or liveness is missing")
	}
	if c.Products == nil {
		var err error
		if c.Products, err = products.Default(); err != nil {
			return nil, err
		}
	}
	oids, err := policyOIDs(c)
	if err != nil {
		return nil, err
	}
	base := issue.Config{Issuers: c.Issuers, Certificates: &issue.Verifier{Issuers: c.Issuers}, Owner: c.Owner, SignTimeout: c.SignTimeout, Log: c.Log, Now: monotonic(c.Now)}
	s := &Services{Issue: &issue.Service{Config: base, Store: c.Issue}}
	s.Register = &register.Service{Config: base, Store: c.Register, Issue: s.Issue, CardCA: c.CardCA, Bureaus: c.Bureaus, Products: c.Products, ArmedFor: c.ArmedFor,
		TransportKeys: KeyRules(c.WeakKeys)}
	s.Orders = &orders.Service{Store: c.Stores.Orders, Register: s.Register, Issuers: c.Issuers, For: c.For, OIDs: oids,
		Validity: c.Validity, Open: c.OrderOpen, Now: base.Now}
	s.Downloads = &download.Service{Config: base, Store: c.Downloads, Register: s.Register, Orders: s.Orders,
		Keys:       KeyRules(c.WeakKeys),
		Provenance: c.Provenance, PendingTTL: c.PendingTTL, Dead: c.Dead}
	if c.Stores.Privacy != nil {
		s.Privacy = &privacy.Service{Store: c.Stores.Privacy, Register: s.Register, Now: base.Now}
	}
	return s, nil
}

// KeyRules are what is demanded of the keys of cards, those that bureaus make and
// those that cards make.
func KeyRules(lists *weakkeys.Lists) policy.KeyRules {
	return policy.KeyRules{Algorithms: []string{"P-256", "P-384", "RSA"}, MinRSA: 2048, MaxRSA: 4096, Lists: lists}
}

// policyOIDs are those that the authentication profile names for each routine.
func policyOIDs(c Config) (policy.OIDs, error) {
	if _, err := c.Issuers.Issuer(c.CardCA); err != nil {
		return nil, err
	}
	oids := policy.OIDs{}
	for kind, id := range c.For {
		issuer, err := c.Issuers.Issuer(id)
		if err != nil {
			return nil, err
		}
		profile, ok := issuer.Profile(policy.ProfileAuthentication)
		if !ok {
			return nil, fmt.Errorf("issuing CA %s does not issue %s", id, policy.ProfileAuthentication)
		}
		for _, card := range []policy.CardKind{policy.Ordinary, policy.Reserve} {
			routine := policy.Routine(card, "", kind.LoA)
			oid, ok := profile.AssurancePolicy(routine)
			if !ok {
				return nil, fmt.Errorf("profile %s names no policy OID for %s", policy.ProfileAuthentication, routine)
			}
			oids[routine] = []string{oid}
		}
	}
	return oids, nil
}

// monotonic returns now, but never a time before one that was returned: a clock
// that jumps back must not order facts wrongly.
func monotonic(now func() time.Time) func() time.Time {
	var last atomic.Int64
	return func() time.Time {
		t := now().UnixMicro()
		for {
			l := last.Load()
			if t <= l {
				return time.UnixMicro(l).UTC()
			}
			if last.CompareAndSwap(l, t) {
				return time.UnixMicro(t).UTC()
			}
		}
	}
}
