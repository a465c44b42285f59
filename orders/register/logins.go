package register

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders/issue"
)

// Accepted records that a caller was let in at a listener. It is called before
// anything is done for him, and returns when the record is durable. A certificate that
// keeps coming is recorded once in five minutes by this process: each record is a
// commit, and a client makes a request after the other.
//
// It fails only if the record is not known to be there. Whether the caller is served
// then is for who serves him to say.
func (s *Service) Accepted(ctx context.Context, c Caller, listener string) error {
	now := s.Now().UTC().Truncate(time.Microsecond)
	l := s.logins.of(c.Certificate, now)
	if s.logins.known(l) {
		return nil
	}
	e := issue.NewEvent(audit.LoginAccepted, l.at, c.Name(), issue.F("certificate", c.Certificate.String()),
		issue.F("card", string(c.Card)), issue.F("listener", listener))
	// Requests of one client come side by side, and a commit's outcome may not be
	// known: whoever tries says the same, and it is there once.
	e.ID = audit.EventID(audit.LoginAccepted, s.Owner, c.Certificate.String(), strconv.FormatInt(l.at.UnixMicro(), 10))
	err := s.Store.Update(ctx, func(tx *Tx) error { return tx.Events.Append(e) })
	if err != nil && !errors.Is(err, audit.ErrTaken) {
		return err
	}
	s.logins.note(l)
	return nil
}

const (
	loginEvery = 5 * time.Minute
	// loginsKept bounds the memory of log-ins, some 200 octets each. Where more
	// certificates come in five minutes, some are recorded more than once.
	loginsKept = 100_000
)

// login is a certificate that was let in.
type login struct {
	at       time.Time // since then
	recorded bool
}

// logins remembers who was let in lately, in two generations: the older one is
// forgotten as a whole. The zero value is empty.
type logins struct {
	mu         sync.Mutex
	began      time.Time // of young
	young, old map[ca.Fingerprint]*login
}

// of returns the log-in that a request at now belongs to.
func (m *logins) of(fp ca.Fingerprint, now time.Time) *login {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, generation := range []map[ca.Fingerprint]*login{m.young, m.old} {
		// A clock that went back begins a new one.
		if l := generation[fp]; l != nil && !now.Before(l.at) && now.Sub(l.at) < loginEvery {
			return l
		}
	}
	if m.young == nil || len(m.young) >= loginsKept/2 || now.Sub(m.began) >= loginEvery || now.Before(m.began) {
		m.young, m.old, m.began = map[ca.Fingerprint]*login{}, m.young, now
	}
	l := &login{at: now}
	m.young[fp] = l
	return l
}

// known reports whether a log-in is recorded.
func (m *logins) known(l *login) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return l.recorded
}

// note tells that it is.
func (m *logins) note(l *login) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l.recorded = true
}
