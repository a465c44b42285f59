package simulate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
	"sigill/internal/translog"
)

// makeLogs makes the keys of both logs.
func (b *Base) makeLogs() error {
	for _, each := range []struct {
		tree tiles.Name
		to   *translog.Keyed
	}{{audit.CertificateTree, &b.certificates}, {audit.ActTree, &b.acts}} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		log, err := checkpoint.NewLog("simulate.test/log/"+string(each.tree), key.Public())
		if err != nil {
			return err
		}
		*each.to = translog.Keyed{Log: log, Signer: &logKey{b, string(each.tree), key}}
	}
	return nil
}

// logsOver returns the logs of one process, and the sequencer that drives them. wait is
// how it waits; nil: by the machine's clock.
func (b *Base) logsOver(acts audit.Store, logs translog.Store, wait func(context.Context) translog.Waiter) (*audit.Sequencer, *translog.Service, error) {
	q := &audit.Sequencer{Store: acts}
	// The machine's clock must decide nothing in a schedule: who waits ends by the other.
	s, err := translog.Attach(q, translog.Config{Store: logs, Acts: b.acts, Certificates: b.certificates, Now: b.now, Patience: time.Hour, Wait: wait})
	return q, s, err
}

// logKey is the key of a log. It fails as the schedule says.
type logKey struct {
	b    *Base
	name string
	key  crypto.Signer
}

// Public implements [crypto.Signer].
func (k *logKey) Public() crypto.PublicKey { return k.key.Public() }

// Sign implements [crypto.Signer].
func (k *logKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s := k.b.sim
	if s == nil {
		return k.key.Sign(random, digest, opts)
	}
	what := "sign by the log of " + k.name
	s.point(what)
	if err := s.alive(); err != nil {
		return nil, err
	}
	f := s.draw(LogRefused, LogSlow)
	switch f {
	case LogRefused:
		return nil, fmt.Errorf("%w: %s", errInjected, f)
	case LogSlow:
		d := s.between(time.Second, 30*time.Second)
		s.lasts(d)
		s.pause(d)
		if err := s.alive(); err != nil {
			return nil, err
		}
	}
	signature, err := k.key.Sign(random, digest, opts)
	s.note(what, outcome(err))
	return signature, err
}

// Of those who wait for a log, in the schedule's time.
const (
	logPatience = 10 * time.Second
	logLook     = time.Second
)

// rest is how somebody waits for a log: it gives way to others, and time passes.
type rest struct {
	s                  *Sim
	begun, until, look time.Time
	faults             int
}

func (s *Sim) newRest(context.Context) translog.Waiter {
	return &rest{s: s, begun: s.clock, until: s.clock.Add(logPatience), look: s.clock.Add(logLook), faults: s.delaying()}
}

// Next implements [translog.Waiter].
func (r *rest) Next(baton chan<- struct{}, bell <-chan struct{}) (translog.Woken, error) {
	s := r.s
	for {
		if err := s.alive(); err != nil {
			return 0, err
		}
		select {
		case baton <- struct{}{}:
			return translog.Passes, nil
		default:
		}
		select {
		case <-bell:
			return translog.Rung, nil
		default:
		}
		switch {
		case s.clock.After(r.until):
			return 0, r.late()
		case !s.clock.Before(r.look):
			r.look = s.clock.Add(logLook)
			return translog.Looks, nil
		}
		s.pause(r.look.Sub(s.clock))
	}
}

// Stop implements [translog.Waiter].
func (r *rest) Stop() {}

// late is the error of a wait that was too long: without a fault it is the service's.
func (r *rest) late() error {
	if r.s.delaying() > r.faults || r.begun.Before(r.s.trouble) {
		return fmt.Errorf("%w: the log was waited for too long", errInjected)
	}
	return fmt.Errorf("the log was waited for %s", r.s.clock.Sub(r.begun))
}

// delaying counts the faults that can keep the log from going on.
func (s *Sim) delaying() (n int) {
	for f, times := range s.counts {
		if kind, _, _ := strings.Cut(string(f), ":"); kind != "network" && kind != "holder" && kind != "administrator" && kind != "card" && kind != "client" {
			n += times
		}
	}
	return n
}

// lasts notes that what goes wrong now goes on for d.
func (s *Sim) lasts(d time.Duration) {
	if end := s.clock.Add(d); end.After(s.trouble) {
		s.trouble = end
	}
}

func (s *Sim) translogStore() translog.Store {
	var logs translog.Store = scoped[translog.Tx]{s, "log", s.db.Translog()}
	if s.Options.Logs != nil {
		logs = s.Options.Logs(logs)
	}
	return logs
}
