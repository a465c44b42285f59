package download

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/policy"
)

// bell wakes one who waits; several rings are one. The zero value is ready.
type bell struct {
	once sync.Once
	c    chan struct{}
}

func (b *bell) rung() chan struct{} {
	b.once.Do(func() { b.c = make(chan struct{}, 1) })
	return b.c
}

func (b *bell) ring() {
	select {
	case b.rung() <- struct{}{}:
	default: // it rings already
	}
}

// RunMass works through what is approved until ctx ends: at once where this process
// approved it, else at the next tick. What fails is reported, and tried again.
func (s *Service) RunMass(ctx context.Context, every time.Duration, report func(error)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if _, err := s.RevokeMass(ctx); err != nil && ctx.Err() == nil {
			report(fmt.Errorf("revoking many: %w", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.massBell.rung():
		}
	}
}

// RevokeMass works every approved mass revocation through, the oldest first, and
// returns how many certificates it revoked. Several processes may, at once, and any
// of them be cut off anywhere: how far a list is done is written in the transactions
// that revoke.
func (s *Service) RevokeMass(ctx context.Context) (int, error) {
	var open []*Mass
	err := s.Store.View(ctx, func(tx *Tx) error {
		var err error
		open, err = tx.MassesOf("", "", batch)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("reading mass revocations: %w", err)
	}
	total := 0
	var failed []error
	for _, m := range open {
		n, err := s.workThrough(ctx, m)
		total += n
		if ctx.Err() != nil {
			return total, ctx.Err()
		}
		if err != nil { // the others are not to wait for it
			failed = append(failed, fmt.Errorf("mass revocation %s: %w", m.ID, err))
		}
	}
	return total, errors.Join(failed...)
}

// massRun is the working through of one list in this process.
type massRun struct {
	s       *Service
	id      MassID
	entries []string // in the order in which they are worked through
	scope   *massScope
}

// together is how many entries share a transaction.
func (s *Service) together() int {
	if s.Together > 0 {
		return min(s.Together, Together)
	}
	return Together
}

// workThrough revokes what is on a list. Certificates share transactions; where one
// fails, each of its certificates has its own, and one that fails alone waits until
// all others are done, so that it cannot hold them up.
func (s *Service) workThrough(ctx context.Context, m *Mass) (int, error) {
	entries, err := s.believeMass(ctx, m)
	if err != nil {
		return 0, err
	}
	if entries, err = inTurn(m.Kind, entries); err != nil {
		return 0, err
	}
	run := &massRun{s: s, id: m.ID, entries: entries, scope: newMassScope(m.Organisation)}
	total, alone := 0, 0
	for ctx.Err() == nil {
		size := s.together()
		if alone > 0 {
			size, alone = 1, alone-1
		}
		now, n, err := run.step(ctx, size)
		switch {
		case err == nil && now.State == MassFinished:
			return total + n, nil
		case err == nil:
			total += n
		case size > 1:
			alone = size
		default:
			if now, err = run.passOver(ctx, err); err != nil {
				return total, err
			}
		}
		if err == nil && now.Done == len(entries) {
			n, err := run.again(ctx, now)
			return total + n, err
		}
	}
	return total, ctx.Err()
}

// believeMass reads a list, and believes it only as far as two administrators' cards
// have signed it: a row that somebody wrote into the database revokes nothing.
func (s *Service) believeMass(ctx context.Context, m *Mass) ([]string, error) {
	var list []byte
	err := s.Store.View(ctx, func(tx *Tx) error {
		var err error
		if list, err = tx.MassList(m.ID); err != nil {
			return err
		}
		ordered, err := s.statedMass(tx, m, m.Ordered)
		if err != nil {
			return err
		}
		approved, err := s.statedMass(tx, m, m.Approved)
		if err != nil {
			return err
		}
		if ordered == approved {
			return errors.New("one person stated it twice")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	o, reason, entries, err := parseMass(m.Document, list)
	if err == nil && (o.Revocation != m.ID || o.Organisation != m.Organisation || reason != m.Reason || o.Kind != m.Kind || o.Entries != m.Entries) {
		err = errors.New("the row says something else than the document that was stated")
	}
	return entries, err
}

// statedMass verifies one of the statements and returns whose it is.
func (s *Service) statedMass(tx *Tx, m *Mass, id policy.StatementID) (policy.PersonID, error) {
	st, err := massStatement(tx, m, id)
	if err != nil {
		return "", err
	}
	said, err := statement.Parse(st.Content)
	if err != nil {
		return "", err
	}
	if said.Act != statement.ActRevoke || said.Subject != string(m.ID) || said.By != string(st.By) || said.Content != sha256.Sum256(m.Document) {
		return "", fmt.Errorf("statement %s is about something else", id)
	}
	cert, err := tx.Certificate(st.Certificate)
	if err != nil {
		return "", err
	}
	if cert.Profile != policy.ProfileAuthentication || cert.Person != st.By {
		return "", fmt.Errorf("statement %s is not signed with an eID of %s", id, st.By)
	}
	parsed, err := s.Certificates.Verify(cert)
	if err != nil {
		return "", err
	}
	return st.By, statement.Verify(parsed.PublicKey, st.Content, st.Signature)
}

// step revokes the next of the list, up to size entries, in one transaction, and
// returns what stands then and how many certificates it revoked.
func (r *massRun) step(ctx context.Context, size int) (now *Mass, revoked int, err error) {
	err = r.s.Store.Update(ctx, func(tx *Tx) error {
		m, err := tx.Mass(r.id)
		if err != nil {
			return err
		}
		now, revoked = m, 0
		if m.State != MassApproved || m.Done >= len(r.entries) {
			return r.end(tx, m) // another process was faster
		}
		some := r.entries[m.Done:min(m.Done+size, len(r.entries))]
		if revoked, err = r.revoke(tx, m, some); err != nil {
			return err
		}
		m.Done, m.Revoked = m.Done+len(some), m.Revoked+revoked
		return r.end(tx, m)
	})
	return now, revoked, err
}

// end writes a mass revocation of which something was done, finished if that was all.
func (r *massRun) end(tx *Tx, m *Mass) error {
	if m.State != MassApproved {
		return nil
	}
	if m.Done < len(r.entries) || len(m.Failed) > 0 {
		return tx.PutMass(m)
	}
	m.State, m.FinishedAt = MassFinished, r.s.now()
	if err := tx.PutMass(m); err != nil {
		return err
	}
	return tx.Events.Append(m.event(audit.RevocationFinished, m.FinishedAt, "system",
		issue.F("entries", strconv.Itoa(m.Entries)), issue.F("revoked", strconv.Itoa(m.Revoked))))
}

// passOver notes that the next entry failed by itself.
func (r *massRun) passOver(ctx context.Context, why error) (now *Mass, err error) {
	err = r.s.Store.Update(ctx, func(tx *Tx) error {
		m, err := tx.Mass(r.id)
		if err != nil {
			return err
		}
		if now = m; m.State != MassApproved || m.Done >= len(r.entries) {
			return nil
		}
		if len(m.Failed) >= batch {
			return fmt.Errorf("%d entries failed, the last: %w", batch, why)
		}
		m.Failed = append(m.Failed, m.Done)
		m.Done++
		return tx.PutMass(m)
	})
	return now, err
}

// again tries each entry that failed before in a transaction of its own.
func (r *massRun) again(ctx context.Context, now *Mass) (total int, err error) {
	var failed []error
	for _, position := range slices.Clone(now.Failed) {
		if position < 0 || position >= len(r.entries) {
			return total, fmt.Errorf("no entry %d", position)
		}
		revoked := 0
		err := r.s.Store.Update(ctx, func(tx *Tx) error {
			m, err := tx.Mass(r.id)
			if err != nil {
				return err
			}
			i := slices.Index(m.Failed, position)
			if revoked = 0; i < 0 || m.State != MassApproved {
				return nil // another process was faster
			}
			if revoked, err = r.revoke(tx, m, r.entries[position:position+1]); err != nil {
				return err
			}
			m.Failed, m.Revoked = slices.Delete(m.Failed, i, i+1), m.Revoked+revoked
			return r.end(tx, m)
		})
		if total += revoked; err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", r.entries[position], err))
		}
		if ctx.Err() != nil {
			return total, ctx.Err()
		}
	}
	return total, errors.Join(failed...)
}

// revoke revokes what some entries name.
func (r *massRun) revoke(tx *Tx, m *Mass, some []string) (int, error) {
	if m.Kind == ByCard {
		return r.cards(tx, m, some)
	}
	return r.certificates(tx, m, some)
}

// cards revokes the organisation's eIDs that stand on cards, and ends what is open
// there for them.
func (r *massRun) cards(tx *Tx, m *Mass, some []string) (int, error) {
	total := 0
	for _, entry := range some {
		card, err := tx.Card(policy.CardNumber(entry))
		if err != nil {
			return 0, err
		}
		n, orgs, err := r.onCard(tx, card.Number)
		if err != nil {
			return 0, err
		}
		total += n
		for _, org := range orgs {
			if err := r.s.endOnCard(tx, card, ending{organisation: org, reason: m.Reason, rule: m.rule(), by: string(m.ApprovedBy)}); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

// onCard returns how many certificates of eIDs in scope stand on a card, and which
// organisations in scope have something there.
func (r *massRun) onCard(tx *Tx, number policy.CardNumber) (n int, orgs []policy.OrganisationID, err error) {
	standings, err := tx.StandingsOfCard(number)
	if err != nil {
		return 0, nil, err
	}
	open, err := tx.Orders.OpenOrdersOfCard(number)
	if err != nil {
		return 0, nil, err
	}
	add := func(org policy.OrganisationID) (bool, error) {
		in, err := r.scope.has(tx, org)
		if in && !slices.Contains(orgs, org) {
			orgs = append(orgs, org)
		}
		return in, err
	}
	for _, st := range standings {
		if in, err := add(st.Organisation); err != nil {
			return 0, nil, err
		} else if in && st.Slot != policy.Transport {
			n++
		}
	}
	for _, o := range open {
		if _, err := add(o.Organisation); err != nil {
			return 0, nil, err
		}
	}
	return n, orgs, nil
}

// certificates revokes certificates, each with what ends with it.
func (r *massRun) certificates(tx *Tx, m *Mass, some []string) (int, error) {
	serials, err := serialsOf(some)
	if err != nil {
		return 0, err
	}
	held, certs, err := readRows(tx, serials)
	if err != nil {
		return 0, err
	}
	view := held.view()
	revoked := 0
	for _, cert := range certs {
		if in, err := certificateWithin(view, r.scope, cert); err != nil {
			return 0, err
		} else if !in {
			return 0, fmt.Errorf("certificate %s is not of %s", cert.Serial, m.Organisation)
		}
		if err := r.s.revokeEID(view, cert, m.Reason, m.rule(), string(m.ApprovedBy)); err != nil {
			return 0, err
		}
		if e, _, err := view.Revocations.Revocation(cert.Serial); err != nil {
			return 0, err
		} else if e.Rule == m.rule() {
			revoked++ // now, or by the list with another certificate of the eID
		}
	}
	return revoked, held.flush()
}
