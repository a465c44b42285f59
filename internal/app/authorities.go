package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/durable"
	"sigill/internal/keys"
	"sigill/internal/store"
	"sigill/orders/issue"
	"sigill/policy"
	"sigill/revocation/publish"
)

const (
	// authoritiesEvery is how often closings and the root's CRL are looked at.
	authoritiesEvery = time.Second
	// livingEvery is how often the certificates of a closed CA are counted: to do
	// so reads all of them, and nothing but time makes them fewer.
	livingEvery = time.Hour
	// authoritiesRecorded holds, a line each, what of it was made an event, so
	// that a new process does not record it again.
	authoritiesRecorded = "authorities.recorded"

	rootCRLDegraded = 30 * 24 * time.Hour
)

// Ended tells why an issuing CA issues nothing any more.
type Ended struct {
	Issuer ca.IssuerID `json:"issuer"`
	Why    string      `json:"why"` // revoked or closed
	Since  time.Time   `json:"since"`
	Reason string      `json:"reason,omitempty"` // of the root, where it is revoked
	By     string      `json:"-"`                // account of who closed it
}

func (e Ended) text() string {
	if e.Why == "revoked" {
		return fmt.Sprintf("%s is revoked by the root since %s for %s: nothing is issued with it", e.Issuer, e.Since.Format(time.RFC3339), e.Reason)
	}
	return fmt.Sprintf("%s is closed since %s: nothing is issued with it", e.Issuer, e.Since.Format(time.RFC3339))
}

// endedCAs returns which issuing CAs are revoked by the root's public CRL or
// closed; who is both is revoked.
func endedCAs(h *keys.Hierarchy) (out map[ca.IssuerID]Ended, closed map[ca.IssuerID]keys.Closing, next time.Time, err error) {
	out = map[ca.IssuerID]Ended{}
	closed, err = h.Closings()
	for id, c := range closed {
		out[id] = Ended{Issuer: id, Why: "closed", Since: c.At.UTC(), By: c.By}
	}
	list, unread := h.RootCRL()
	if unread != nil {
		return out, closed, next, errors.Join(err, unread)
	}
	for _, e := range list.RevokedCertificateEntries {
		for _, each := range h.Issuers {
			if each.Certificate.SerialNumber.Cmp(e.SerialNumber) == 0 {
				out[each.ID] = Ended{Issuer: each.ID, Why: "revoked", Since: e.RevocationTime.UTC(), Reason: ca.Reason(e.ReasonCode).String()}
			}
		}
	}
	return out, closed, list.NextUpdate, err
}

// authorities knows which issuing CAs have ended and how long the root's CRL
// lasts. Commands write both as files, perhaps while nobody serves. It is safe for
// concurrent use; look is one goroutine's.
type authorities struct {
	h      *keys.Hierarchy
	now    func() time.Time
	log    *slog.Logger
	record func(ctx context.Context, act string, e Ended) error
	living func(ctx context.Context, id ca.IssuerID, now time.Time) (store.Living, error)

	mu         sync.Mutex
	ended      map[ca.IssuerID]Ended
	unread     error                // closings or the root's CRL can't be read: everything counts as ended
	next       time.Time            // end of the root's CRL; zero where it can't be read
	final      map[ca.IssuerID]bool // nothing of it needs another list
	nextLiving map[ca.IssuerID]time.Time
	demanded   map[ca.IssuerID]bool

	recorded []string // lines; of look
	said     string
}

// look reads what commands have written, and returns what is closed. It never forgets an end: a list of the
// root never drops an entry, and a file that was removed opens no CA again before
// the next start, which somebody will ask about.
func (s *authorities) look(ctx context.Context) (map[ca.IssuerID]keys.Closing, error) {
	ended, closed, next, err := endedCAs(s.h)
	s.mu.Lock()
	for id, e := range ended {
		if old, ok := s.ended[id]; ok && (old.Why == "revoked" && e.Why != "revoked") {
			continue
		} else if !ok || old != e {
			s.log.Warn("issuing CA has ended", "issuer", id, "why", e.Why, "since", e.Since, "reason", e.Reason)
		}
		s.ended[id] = e
	}
	s.unread, s.next = err, next
	known := s.list()
	s.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != s.said && err != nil {
		s.log.Error("issuing CAs: while this cannot be read nothing is issued", "err", err)
	}
	s.said = text
	for _, e := range known {
		act := audit.CAClosed
		if e.Why == "revoked" {
			act = audit.CARevoked
		}
		s.tell(ctx, act, e)
	}
	return closed, err
}

// tell makes an event, once. What fails is tried again at the next look; one that
// was made and not kept is made twice.
func (s *authorities) tell(ctx context.Context, act string, e Ended) {
	line := recordLine(act, e)
	if slices.Contains(s.recorded, line) {
		return
	}
	err := s.record(ctx, act, e)
	if err == nil {
		s.recorded = append(s.recorded, line)
		err = durable.WriteFile(s.recordPath(), []byte(strings.Join(s.recorded, "\n")+"\n"), 0o644)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("recording the end of an issuing CA", "err", err)
	}
}

func recordLine(act string, e Ended) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", act, e.Issuer, e.Reason))
}

func (s *authorities) recordPath() string { return filepath.Join(s.h.Dir, authoritiesRecorded) }

// count finds out whether the last CRLs of a closed CA may be made: when nothing
// of it is valid any more or, where that is demanded, nothing that is not revoked.
// After them nothing could be revoked on a list.
func (s *authorities) count(ctx context.Context, c keys.Closing) {
	now := s.now()
	early := !c.LastCRL.IsZero()
	s.mu.Lock()
	wait := s.final[c.Issuer] || now.Before(s.nextLiving[c.Issuer]) && early == s.demanded[c.Issuer]
	if !wait {
		s.nextLiving[c.Issuer], s.demanded[c.Issuer] = now.Add(livingEvery), early
	}
	s.mu.Unlock()
	if wait {
		return
	}
	n, err := s.living(ctx, c.Issuer, now)
	if err != nil {
		s.mu.Lock()
		s.nextLiving[c.Issuer] = now.Add(time.Minute)
		s.mu.Unlock()
		if ctx.Err() == nil {
			s.log.Error("counting the certificates of a closed CA", "issuer", c.Issuer, "err", err)
		}
		return
	}
	if n.Good > 0 || n.Valid > 0 && !early {
		return
	}
	s.tell(ctx, audit.CALast, Ended{Issuer: c.Issuer, Why: "closed", Since: c.At, By: c.By})
	s.mu.Lock()
	s.final[c.Issuer] = true
	s.mu.Unlock()
}

// last reports whether the CRLs of an issuing CA are to be its last: without end.
func (s *authorities) last(id ca.IssuerID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final[id]
}

// list returns what has ended, by name. mu is held.
func (s *authorities) list() []Ended {
	var out []Ended
	for _, e := range s.ended {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Ended) int { return strings.Compare(string(a.Issuer), string(b.Issuer)) })
	return out
}

// all returns what has ended, by name.
func (s *authorities) all() []Ended {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list()
}

func (s *authorities) ids() []ca.IssuerID {
	var out []ca.IssuerID
	for _, e := range s.all() {
		out = append(out, e.Issuer)
	}
	return out
}

// mayIssue is the gate: what has ended issues nothing.
func (s *authorities) mayIssue(id ca.IssuerID) policy.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ended := s.ended[id]; ended {
		return policy.MayWork(policy.ModeIssuerEnded, policy.WorkIssue)
	}
	if s.unread != nil {
		return policy.Refuse(policy.ServiceRevokeOnly, "which issuing CAs have ended cannot be read")
	}
	return policy.Allowed
}

// mayIssueTechnical is the gate of certificates that are for no card's eID. What
// lets revoking and status go on is made as long as the CA's key signs: OCSP
// signers, and the certificate of the listener.
func (s *authorities) mayIssueTechnical(id ca.IssuerID, profile ca.ProfileName) error {
	if profile == policy.ProfileOCSP || profile == policy.ProfileServer {
		return nil
	}
	return s.mayIssue(id).Err()
}

// remaining is how long the root's CRL is valid still, negative after its end, and 0
// where it cannot be read: it is no worse for relying parties that it has ended.
func (s *authorities) remaining() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next.IsZero() {
		return 0
	}
	return s.next.Sub(s.now())
}

// degraded tells what an operator must see to.
func (s *authorities) degraded() (out []string) {
	left := s.remaining()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unread != nil {
		out = append(out, fmt.Sprintf("which issuing CAs have ended cannot be read, and nothing is issued: %v", s.unread))
	}
	switch {
	case s.next.IsZero():
		out = append(out, "the root's CRL that is public is none: who checks every level refuses everything")
	case left < rootCRLDegraded:
		out = append(out, fmt.Sprintf("the root's CRL ends in %d hours", int(left.Hours())))
	}
	return out
}

// run looks again and again until ctx ends.
func (s *authorities) run(ctx context.Context) {
	t := time.NewTicker(authoritiesEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			closed, _ := s.look(ctx) // it tells by itself what is wrong
			for _, c := range closed {
				s.count(ctx, c)
			}
		}
	}
}

// watchAuthorities makes what knows which issuing CAs have ended, and looks. What
// cannot be read stops issuing and not the start: revoking goes on.
func (a *App) watchAuthorities() {
	a.authorities = &authorities{h: a.Hierarchy, now: a.now, log: a.log, record: a.recordEnded,
		living: func(ctx context.Context, id ca.IssuerID, now time.Time) (store.Living, error) {
			return a.DB.Living(ctx, id, policy.ProfileOCSP, now)
		},
		ended: map[ca.IssuerID]Ended{}, final: map[ca.IssuerID]bool{}, nextLiving: map[ca.IssuerID]time.Time{}, demanded: map[ca.IssuerID]bool{}}
	if text, err := os.ReadFile(a.authorities.recordPath()); err == nil {
		a.authorities.recorded = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
	for _, each := range a.Hierarchy.Issuers {
		// What was found before is not counted again, and a list that was the last
		// stays it from the first moment on.
		a.authorities.final[each.ID] = slices.Contains(a.authorities.recorded, recordLine(audit.CALast, Ended{Issuer: each.ID}))
	}
	ended, _, next, err := endedCAs(a.Hierarchy)
	a.authorities.ended, a.authorities.next, a.authorities.unread = ended, next, err
}

func (a *App) recordEnded(ctx context.Context, act string, e Ended) error {
	return a.DB.Issue().Update(ctx, func(tx *issue.Tx) error {
		return tx.Events.Append(issue.NewEvent(act, a.now(), "operator", issue.F("issuer", string(e.Issuer)),
			issue.F("since", e.Since.UTC().Format(time.RFC3339)), issue.F("reason", e.Reason), issue.F("account", e.By)))
	})
}

// authorityFindings tell the root's CRL, and which issuing CAs have ended.
func authorityFindings(h *keys.Hierarchy, now time.Time, say sayer) {
	der, err := os.ReadFile(h.RootCRLPath())
	if err != nil {
		say(Red, "root", "the CRL of the root cannot be read, and relying parties refuse everything: %v", err)
		return
	}
	given := publish.Given{Issuer: keys.RootID, Certificate: h.Root.Certificate, DER: der}
	warning, err := given.Warning(now)
	ended, _, next, unread := endedCAs(h)
	switch left := next.Sub(now); {
	case err != nil:
		say(Red, "root", "%v", err)
	case left < rootCRLDegraded:
		say(Red, "root", "%s: sign a new one with `sigill ca root-crl`", warning)
	case warning != "":
		say(Yellow, "root", "%s: sign a new one with `sigill ca root-crl`", warning)
	default:
		say(Green, "root", "the CRL of the root is valid until %s", next.UTC().Format(time.RFC3339))
	}
	if unread != nil && err == nil {
		say(Red, "ca", "%v: while it cannot be read nothing is issued", unread)
	}
	for _, each := range h.Issuers {
		if e, ok := ended[each.ID]; ok {
			say(Yellow, "ca", "%s", e.text())
		}
	}
}
