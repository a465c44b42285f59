package simulate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/cardclient"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
	"sigill/revocation/publish"
	"sigill/revocation/status"
)

// rounds is how often everybody tries again once nothing goes wrong any more,
// and how much time passes before each round: soon, after an idle download has
// lapsed, after a pending certificate has, and so on.
var rounds = []time.Duration{time.Second, time.Minute, 16 * time.Minute, 25 * time.Hour, time.Minute, 25 * time.Hour, time.Minute}

// finish ends the faults and lets everybody come to an end: one process starts,
// recovers, and each holder fetches until nothing waits any more.
func (s *Sim) finish() error {
	if err := s.unwind(); err != nil || s.violation != "" {
		return err
	}
	s.calm = true
	if s.clock.Before(s.latest) {
		s.clock = s.latest // no clock that was set back stays so
	}
	s.clock = s.clock.Add(time.Minute)
	s.note("calm", "from here on nothing goes wrong")
	s.procs = []*process{nil}
	p, err := s.start("server at last")
	if err != nil {
		return err
	}
	s.procs[0], s.world.Services = p, p.services
	if err := s.boot(p); err != nil {
		s.wrong("a start without any fault failed: %v", err)
		return nil
	}
	p.up = true
	for n, rest := range rounds {
		if s.violation != "" {
			return nil
		}
		if n > 0 && !slices.ContainsFunc(s.holders, s.waits) {
			break
		}
		s.clock = s.clock.Add(rest)
		s.jobs(p)
		for _, h := range s.holders {
			if s.waits(h) || n == 0 {
				s.complete(h)
				s.checkStep()
			}
		}
	}
	if s.violation == "" {
		s.demandDone()
		s.demandTidy()
		s.jobs(p)
		s.checkAll()
		s.demandTruth()
		s.demandLogs(p)
		s.sumUp()
		return s.demandStatus(p)
	}
	return nil
}

// jobs runs what a process does in the background.
func (s *Sim) jobs(p *process) {
	s.recoverAndEnd(p)
	ctx := context.Background()
	if err := p.seq.CatchUp(ctx); err != nil {
		s.wrong("numbering without any fault failed: %v", err)
	}
	if _, err := p.pub.Publish(ctx, s.clock); err != nil {
		s.wrong("publishing without any fault failed: %v", err)
	}
}

// complete lets a holder fetch what is open, and then each order by its name.
func (s *Sim) complete(h *holder) {
	h.card.heal()
	s.persist(h, "")
	h.ends = map[string]error{}
	for _, id := range s.approved(h) {
		s.persist(h, id)
		h.ends[id] = h.last
	}
}

// waits reports whether anything is left to do for a holder.
func (s *Sim) waits(h *holder) bool {
	return len(s.approved(h)) > 0 || s.count(`downloads WHERE card = ? AND (state = 'planned' OR state = 'installed' AND cleaned_at IS NULL)`, h.card.number) > 0
}

// approved are the orders that a holder may still fetch.
func (s *Sim) approved(h *holder) []string {
	var ids []string
	s.rows(`SELECT id FROM orders WHERE card = ? AND state = 'approved' AND expires_at > ? ORDER BY placed_at, id`,
		[]any{h.card.number, s.clock.UnixMicro()}, func(r *sql.Rows) error {
			var id string
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		})
	return ids
}

// persist does what the messages say until there is nothing to do or nothing that
// helps.
func (s *Sim) persist(h *holder, order string) {
	for range 8 {
		s.fetch(h, order)
		switch {
		case h.last == nil: // there may be more
		case errors.Is(h.last, cardclient.ErrKeyElsewhere):
			s.abandon(h)
		case ruled(h.last, policy.LoginUnarmed):
			if err := s.world.Arm(context.Background(), h.world); err != nil {
				return
			}
		default:
			return
		}
	}
}

// demandDone: no order is left that its holder could have fetched.
func (s *Sim) demandDone() {
	for _, h := range s.holders {
		left := s.approved(h)
		if n := s.count(`downloads WHERE card = ? AND state = 'planned'`, h.card.number); n > 0 && len(left) == 0 {
			s.wrong("%s: a download stays open after everything", h.name)
		}
		for _, id := range left {
			err := h.ends[id]
			// Refused by rule, and rightly: who orders must order anew.
			changed := ruled(err, policy.OrderContent, policy.OrderApprovals, policy.OrderAssignment)
			// An eID of another organisation needs a log-in with one at its level.
			none := ruled(err, policy.LoginLoA) && s.count(`standings WHERE card = ? AND slot = 'authentication'`, h.card.number) == 0
			// Whose eIDs somebody ended hears by which rule there is nothing.
			p, told := errorAs[*wire.Problem](err)
			ended := len(h.ended) > 0 && told && p.Rule != ""
			if !ended && !changed && !none {
				s.wrong("%s: an order is left, and the last try to fetch it ended with: %v", h.name, err)
			}
		}
	}
}

// demandTidy: once a holder lets the card be swept, it has what the bureau put
// there and the certificates in use, each with its key, and nothing else.
func (s *Sim) demandTidy() {
	for _, h := range s.holders {
		s.sweep(h)
		if h.last != nil {
			if len(h.ended) == 0 && !ruled(h.last, policy.LoginUnarmed) {
				s.wrong("%s: the card cannot be swept: %v", h.name, h.last)
			}
			continue
		}
		for _, o := range h.card.objects {
			if o.slot == policy.Transport {
				continue
			}
			fp := sumOf(o.cert)
			if o.key == nil || o.cert == nil || o.torn || s.count(`standings WHERE kind = 'current' AND certificate = ?`, fp[:]) != 1 {
				s.wrong("%s: after sweeping %s %s is left: key %t, certificate %t", h.name, o.slot, o.id, o.key != nil, o.cert != nil)
			}
		}
	}
}

// sumUp counts what became of orders and downloads.
func (s *Sim) sumUp() {
	s.ends["incidents"] += s.count("incidents")
	s.ends["certificates of compromised keys revoked"] += s.count("queued_revocations WHERE done_at IS NOT NULL")
	for _, table := range []string{"orders", "downloads"} {
		s.rows(`SELECT state, count(*) FROM `+table+` WHERE card IN (`+s.cards()+`) GROUP BY state ORDER BY state`, nil, func(r *sql.Rows) error {
			var state string
			var n int
			err := r.Scan(&state, &n)
			s.ends[table+": "+state] += n
			return err
		})
	}
}

// demandTruth: of all that the issuing key signed, everything is revoked but the
// certificates in use.
func (s *Sim) demandTruth() {
	type fate struct {
		state            string
		revoked, current bool
	}
	known := map[[32]byte]fate{}
	s.rows(`SELECT i.tbs, i.state, EXISTS (SELECT 1 FROM revocations r WHERE r.serial = i.serial),
		EXISTS (SELECT 1 FROM certificates c JOIN standings s ON s.certificate = c.fingerprint WHERE c.serial = i.serial AND s.kind = 'current')
		FROM intents i WHERE i.issuer = ?`, []any{string(world.PersonCA)}, func(r *sql.Rows) error {
		var tbs []byte
		var f fate
		err := r.Scan(&tbs, &f.state, &f.revoked, &f.current)
		known[sha256.Sum256(tbs)] = f
		return err
	})
	for d, issuer := range s.signed {
		if issuer != world.PersonCA {
			continue // technical certificates end by themselves
		}
		if f, ok := known[d]; !ok || f.revoked == f.current {
			s.wrong("signed %x: known %t, %s, revoked %t, current %t", d[:8], ok, f.state, f.revoked, f.current)
		}
	}
	if n := s.count(`intents WHERE state = 'open'`); n != 0 {
		s.wrong("%d intents are open after everything", n)
	}
	if n := s.count(`certificates c JOIN blocked_keys b ON b.fingerprint = c.key_fingerprint
		WHERE NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`); n != 0 {
		s.wrong("%d certificates of compromised keys are good after everything", n)
	}
	if n := s.count(`standings WHERE kind = 'pending'`); n != 0 {
		s.wrong("%d certificates are pending after everything", n)
	}
	summary, err := audit.Verify(context.Background(), s.db.Audit(), nil, func(f audit.Finding) { s.wrong("the chain of events: %v", f) })
	if err != nil || summary.Unnumbered > 0 || summary.Links == 0 {
		s.wrong("the chain of events: %d links, %d unnumbered, %v", summary.Links, summary.Unnumbered, err)
	}
}

// demandStatus: database, OCSP and CRL say the same of every serial.
func (s *Sim) demandStatus(p *process) error {
	signers, err := s.ocspSigner(p)
	if err != nil {
		return err
	}
	// The signer's own certificate is an event, too.
	s.clock = s.clock.Add(2 * time.Second)
	s.jobs(p)
	issuer := s.world.Issuers[world.PersonCA].Certificate()
	responder := &status.Responder{Store: s.db.Revocation(), Signers: signers, Now: s.now}
	listed := map[string]bool{}
	for _, scope := range s.base.scopes {
		if scope.Partition == revocation.Whole { // what it says, the partitions said before
			continue
		}
		der, err := os.ReadFile(filepath.Join(s.public(), publish.CRLPath(scope.Issuer, scope.Partition)))
		if err != nil {
			return err
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return err
		}
		for _, e := range list.RevokedCertificateEntries {
			listed[e.SerialNumber.String()] = true
		}
	}
	type row struct {
		serial            []byte
		released, revoked bool
	}
	var all []row
	s.rows(`SELECT i.serial, EXISTS (SELECT 1 FROM certificates c WHERE c.serial = i.serial),
		EXISTS (SELECT 1 FROM revocations r WHERE r.serial = i.serial) FROM intents i WHERE i.issuer = ? AND i.card IS NOT NULL`,
		[]any{string(world.PersonCA)}, func(r *sql.Rows) error {
			var x row
			err := r.Scan(&x.serial, &x.released, &x.revoked)
			all = append(all, x)
			return err
		})
	for _, x := range all {
		serial := new(big.Int).SetBytes(x.serial)
		want := ocsp.Unknown
		switch {
		case x.revoked:
			want = ocsp.Revoked
		case x.released:
			want = ocsp.Good
		}
		got, err := askOCSP(responder, issuer, serial)
		if err != nil {
			return err
		}
		if got != want || listed[serial.String()] != x.revoked {
			s.wrong("serial %x: the database says %d, OCSP %d, the CRL lists it: %t", x.serial, want, got, listed[serial.String()])
		}
	}
	return nil
}

func askOCSP(r *status.Responder, issuer *x509.Certificate, serial *big.Int) (int, error) {
	request, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial}, issuer, nil)
	if err != nil {
		return 0, err
	}
	answer, err := r.Answer(context.Background(), request)
	if err != nil {
		return 0, err
	}
	parsed, err := ocsp.ParseResponse(answer.DER, issuer)
	if err != nil {
		return 0, fmt.Errorf("OCSP answer: %w", err)
	}
	return parsed.Status, nil
}

// ocspSigner gives the person CA a signer of OCSP answers.
func (s *Sim) ocspSigner(p *process) (*status.Signers, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	req := ca.Request{Profile: policy.ProfileOCSP, PublicKey: key.Public(), NotBefore: s.clock.Add(-register.Backdate), NotAfter: s.clock.AddDate(0, 0, 7),
		Content: ca.Content{Country: "SE", Organisation: "Sigill", CommonName: "TEST OCSP"}}
	cert, err := p.services.Issue.Issue(context.Background(), world.PersonCA, req, issue.Binding{}, nil)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(cert.DER)
	if err != nil {
		return nil, err
	}
	responder, err := ca.NewResponder(s.world.Issuers[world.PersonCA].Certificate(), parsed, key)
	if err != nil {
		return nil, err
	}
	signers := new(status.Signers)
	return signers, signers.Set(world.PersonCA, responder)
}
