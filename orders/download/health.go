package download

import (
	"slices"
	"time"

	"sigill/ca"
	"sigill/policy"
)

// Gate decides whether an issuing CA may issue right now; modes of the whole
// service are told through it. It MUST be quick and do no I/O: it is asked inside
// transactions. It may be asked concurrently.
type Gate func(issuer ca.IssuerID) policy.Decision

// FailingIssuers returns the issuing CAs whose keys have failed to sign so often
// that nothing is begun with them right now, in order. After a pause each is
// tried again by whoever comes first.
func (s *Service) FailingIssuers() []ca.IssuerID { return s.breaker.failing(s.now()) }

func (b *breaker) failing(now time.Time) []ca.IssuerID {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []ca.IssuerID
	for id, n := range b.failures {
		if n >= breakAfter && now.Before(b.until[id]) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// mayBegin decides whether a plan may be made: its certificates would be of
// these issuing CAs. A holder whose card makes a key for a CA that does not sign
// has waited for nothing.
func (s *Service) mayBegin(adds []policy.Addition) error {
	for _, add := range adds {
		if !s.breaker.closed(add.Issuer, s.now()) {
			return policy.MayWork(policy.ModeSignerDown, policy.WorkIssue).Err()
		}
		if err := s.mayIssue(add.Issuer); err != nil {
			return err
		}
	}
	return nil
}

// mayIssue asks the gate. It is the last word before an intent is recorded: a
// request that was let in before issuing was stopped is refused here.
func (s *Service) mayIssue(id ca.IssuerID) error {
	if s.Gate == nil {
		return nil
	}
	return s.Gate(id).Err()
}
