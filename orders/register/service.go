package register

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders/issue"
	"sigill/policy"
)

// Store runs transactions over a Tx; the contract is that of
// orders/download.Store.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}

// Service keeps the register. It is safe for concurrent use.
type Service struct {
	issue.Config
	Store Store
	// Issue makes transport certificates.
	Issue *issue.Service
	// CardCA issues transport certificates.
	CardCA ca.IssuerID
	// TransportKeys are the keys that a bureau may make.
	TransportKeys policy.KeyRules
	// Bureaus are the keys of those who may sign delivery files, by name.
	Bureaus map[string]crypto.PublicKey
	// Products are the kinds of cards that may be delivered.
	Products policy.Products
	// ArmedFor is how long a transport certificate is armed at hand-out and
	// at the desk.
	ArmedFor time.Duration

	refusals refusals
	logins   logins
}

// Caller is who has proved possession of a card's (or officer's) key in this
// very TLS connection. Every operation takes it as an argument.
type Caller struct {
	Certificate  ca.Fingerprint
	Profile      ca.ProfileName
	Card         policy.CardNumber
	Person       policy.PersonID
	Organisation policy.OrganisationID
	IDKind       policy.IDKind
	LoA          policy.LoA // 0 for a transport certificate
	Pending      bool       // may only confirm
	Officer      int        // 1 or 2 during the bootstrap, else 0
}

// Name returns how the caller is named in events and statements.
func (c Caller) Name() string {
	if c.Officer > 0 {
		return fmt.Sprintf("officer:%d", c.Officer)
	}
	if c.Person != "" {
		return string(c.Person)
	}
	return "card:" + string(c.Card)
}

// Login judges the certificate der, whose key the TLS client has proved. It is
// called on every request: what was true a request ago may not be any more. A
// pending certificate passes only if confirming. A refusal is recorded if the
// certificate is one of ours, whatever is wrong with it; an unknown one is not:
// anybody can make one, and rows with them.
func (s *Service) Login(ctx context.Context, der []byte, confirming bool) (Caller, error) {
	var c Caller
	err := s.Store.View(ctx, func(tx *Tx) error {
		var err error
		c, err = s.judge(tx, ca.FingerprintOf(der), confirming)
		return err
	})
	if err == nil || c.Certificate.IsZero() {
		return c, err
	}
	by := "certificate:" + c.Certificate.String()
	if c.Card != "" {
		by = "card:" + string(c.Card)
	}
	return c, s.record(ctx, err, audit.LoginRefused, by, issue.F("certificate", c.Certificate.String()), issue.F("card", string(c.Card)))
}

// judge returns the caller's certificate with every verdict on one that is stored.
func (s *Service) judge(tx *Tx, fp ca.Fingerprint, confirming bool) (Caller, error) {
	now := s.Now()
	cert, err := tx.Certificate(fp)
	if errors.Is(err, issue.ErrNotFound) {
		return Caller{}, policy.Login(policy.LoginFacts{Now: now}).Err()
	} else if err != nil {
		return Caller{}, err
	}
	if _, err := s.Certificates.Verify(cert); err != nil {
		// Somebody wrote into the database: nobody is believed on that row.
		return Caller{Certificate: fp}, policy.Refuse(policy.LoginUnknown, "%s", err).Err()
	}
	if cert.Profile == policy.ProfileOfficer {
		return officer(tx, cert, now)
	}
	c := Caller{Certificate: fp, Profile: cert.Profile, Card: cert.Card, Person: cert.Person,
		Organisation: cert.Organisation, IDKind: cert.IDKind, LoA: cert.LoA}
	f := policy.LoginFacts{Now: now, Known: true, Profile: cert.Profile, NotBefore: cert.NotBefore,
		NotAfter: cert.NotAfter, Confirming: confirming}
	if f.Revoked, f.Current, f.Pending, err = standing(tx, cert); err != nil {
		return c, err
	}
	c.Pending = f.Pending
	if cert.Card != "" {
		card, err := tx.Card(cert.Card)
		if err != nil {
			return c, fmt.Errorf("card of certificate %s: %w", cert.Serial, err)
		}
		f.CardState, f.CardExpires = card.State, card.ExpiresAt
		f.HolderAgree = card.Holder != "" && card.Holder == cert.Person
		f.ArmedUntil = card.ArmedUntil
		if cert.Profile == policy.ProfileTransport {
			c.Person = card.Holder
		}
	}
	if err := policy.Login(f).Err(); err != nil {
		return c, err
	}
	// Its revocation is queued; until it is done, the key opens nothing.
	return c, issue.Blocked(&tx.Tx, cert.Key)
}

func standing(tx *Tx, cert *issue.Certificate) (revoked, current, pending bool, err error) {
	if _, revoked, err = tx.Revocations.Revocation(cert.Serial); err != nil {
		return
	}
	st, err := tx.Standing(cert.Fingerprint)
	if errors.Is(err, issue.ErrNotFound) {
		return revoked, false, false, nil
	} else if err != nil {
		return
	}
	return revoked, st.Kind == issue.Current, st.Kind == issue.Pending, nil
}

// officer judges the certificate of an officer, which stands nowhere: it must be
// one of the two that the ceremony names, valid now and not revoked, for an
// officer's key that was stolen must stop being one while the bootstrap is open.
func officer(tx *Tx, cert *issue.Certificate, now time.Time) (Caller, error) {
	caller := Caller{Certificate: cert.Fingerprint, Profile: policy.ProfileOfficer}
	c, err := tx.Ceremony()
	if err != nil {
		return caller, err
	}
	if _, revoked, err := tx.Revocations.Revocation(cert.Serial); err != nil {
		return caller, err
	} else if revoked {
		return caller, policy.Refuse(policy.LoginRevoked, "officer's certificate was revoked").Err()
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return caller, policy.Refuse(policy.LoginExpired, "officer's certificate is not valid now").Err()
	}
	for i, o := range c.Officers {
		if o == cert.Fingerprint {
			if !c.ClosedAt.IsZero() {
				return caller, policy.Refuse(policy.CeremonyClosed, "closed").Err()
			}
			caller.Officer = i + 1
			return caller, nil
		}
	}
	return caller, policy.Refuse(policy.LoginUnknown, "not an officer of this installation").Err()
}

// Keep records the refusal of a request in a transaction of its own and returns err.
func (s *Service) Keep(ctx context.Context, err error, by string, fields ...audit.Field) error {
	return s.record(ctx, err, audit.RequestRefused, by, fields...)
}

// record records a refusal as an act and returns err. The state of the service is not
// recorded: it says nothing of the caller, and there may be no room.
func (s *Service) record(ctx context.Context, err error, act, by string, fields ...audit.Field) error {
	refusal, ok := errors.AsType[*policy.Refusal](err)
	if !ok || refusal.Rule.OfService() {
		return err
	}
	if !s.refusals.first(refusal.Rule, by, s.Now()) {
		return err
	}
	keep := s.Store.Update(context.WithoutCancel(ctx), func(tx *Tx) error {
		return issue.Refused(&tx.Tx, refusal, act, by, s.Now(), fields...)
	})
	if keep != nil { // the verdict is not told before it is durable
		return fmt.Errorf("recording refusal %s: %w", refusal.Rule, keep)
	}
	return err
}

// refusals bounds what a caller who is refused again and again writes: of each
// rule and caller the first few of a minute are recorded. Each record is durable,
// and a card that was revoked could otherwise fill the disk.
type refusals struct {
	mu     sync.Mutex
	minute int64
	seen   map[string]int
}

const (
	refusalsPerMinute = 10     // of one rule and caller
	refusalCallers    = 10_000 // different rules and callers a minute
)

func (r *refusals) first(rule policy.Rule, by string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := now.Unix() / 60; m != r.minute || r.seen == nil {
		r.minute, r.seen = m, map[string]int{}
	}
	key := string(rule) + " " + by
	if r.seen[key] >= refusalsPerMinute || len(r.seen) >= refusalCallers && r.seen[key] == 0 {
		return false
	}
	r.seen[key]++
	return true
}

// MaxBranchDepth bounds the walk from a branch to its customer.
const MaxBranchDepth = 8

// Role decides whether a person has a role for an organisation or one above it,
// and uses it with an eID of one of these: what another organisation's
// administrators issued to the person gives no rights here.
func Role(tx *Tx, person policy.PersonID, eid, org policy.OrganisationID, roles ...policy.Role) error {
	grants, err := tx.GrantsOf(person)
	if err != nil {
		return err
	}
	granted, fitting := false, false
	for depth := 0; org != "" && depth < MaxBranchDepth; depth++ {
		for _, g := range grants {
			for _, r := range roles {
				granted = granted || g.Organisation == org && g.Role == r
			}
		}
		if fitting = fitting || org == eid; granted && fitting {
			return nil
		}
		o, err := tx.Organisation(org)
		if errors.Is(err, issue.ErrNotFound) {
			break // nobody has a role there, and nobody learns that it is not there
		} else if err != nil {
			return err
		}
		org = o.Parent
	}
	return policy.Refuse(policy.RoleMissing, "no such role here").Err()
}

// Administrator decides whether the caller administers org: a current LoA3 eID
// and the role.
func Administrator(tx *Tx, c Caller, org policy.OrganisationID) error {
	if !administers(c) {
		return notAtLevel()
	}
	return Role(tx, c.Person, c.Organisation, org, policy.RoleAdministrator)
}

// administers reports whether the caller logged in with what administration needs,
// whatever the roles.
func administers(c Caller) bool {
	return c.Profile == policy.ProfileAuthentication && c.LoA >= 3 && !c.Pending
}

func notAtLevel() error {
	return policy.Refuse(policy.RoleLoA, "administration needs a current eID at level 3").Err()
}
