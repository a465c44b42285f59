package simulate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/api"
	"sigill/internal/audit"
	"sigill/internal/service"
	"sigill/internal/store"
	"sigill/internal/translog"
	"sigill/internal/world"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation/publish"
)

// process is a serving process: services, handler and jobs over the one store.
type process struct {
	name     string
	alive    bool // not killed
	up       bool // has recovered and answers
	services *service.Services
	handler  http.Handler
	seq      *audit.Sequencer
	logs     *translog.Service
	pub      *publish.Publisher
}

// start makes a process; it does not answer yet.
func (s *Sim) start(name string) (*process, error) {
	p := &process{name: name, alive: true}
	var err error
	if p.seq, p.logs, err = s.base.logsOver(s.auditStore(), s.translogStore(), s.newRest); err != nil {
		return nil, err
	}
	p.services, err = s.world.Process(func(c *service.Config) {
		c.Log = p.logs
		if s.several() { // the others may live: only deadlines tell
			c.Dead = func(string) bool { return false }
		}
		s.Options.wire(c)
	})
	if err != nil {
		return nil, err
	}
	p.services.Downloads.Gate = func(ca.IssuerID) policy.Decision {
		if !s.calm && s.clock.Before(s.outage) {
			return policy.MayWork(policy.ModeOutage, policy.WorkIssue)
		}
		return policy.MayWork(policy.ModeNormal, policy.WorkIssue)
	}
	log := slog.New(&listener{s: s})
	p.handler = api.New(api.Config{Register: p.services.Register, Orders: p.services.Orders, Downloads: p.services.Downloads,
		Texts: s.base.texts, Log: log, MinClient: "0.1.0", Unknown: store.ErrOutcomeUnknown,
		IssuerCertificate: func(id string) []byte { return s.world.Issuers[ca.IssuerID(id)].Certificate().Raw }})
	p.pub = &publish.Publisher{Store: s.ledger(), Dir: s.public(), Now: s.now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Scopes: s.base.scopes, Lint: s.base.linter}
	return p, p.pub.Check()
}

func (s *Sim) public() string { return filepath.Join(s.dir, "public") }

// several reports whether more than one process serves.
func (s *Sim) several() bool { return len(s.procs) > 1 }

// boot is what a process does before it answers.
func (s *Sim) boot(p *process) error {
	ctx := context.Background()
	if _, err := p.services.Downloads.Recover(ctx); err != nil {
		return err
	}
	if err := p.seq.CatchUp(ctx); err != nil {
		return err
	}
	if p != s.publisherOf() {
		return nil
	}
	_, err := p.pub.Publish(ctx, s.clock)
	return err
}

// publisherOf is the one process that writes the public directory.
func (s *Sim) publisherOf() *process { return s.procs[0] }

// kill ends a process at once: nothing of it has an effect any more.
func (s *Sim) kill(p *process) {
	p.alive, p.up = false, false
	s.note("killed", p.name)
}

// supervise keeps process number i running, and is its job that recovers and ends
// what is due.
func (s *Sim) supervise(i int) func(*actor) {
	return func(a *actor) {
		for n := 1; !s.closing; n++ {
			p, err := s.start(fmt.Sprintf("server %d.%d", i, n))
			if err != nil {
				s.wrong("start: %v", err)
				return
			}
			s.procs[i], a.proc = p, p
			begun := s.clock
			if err := s.boot(p); err != nil {
				s.note("boot", outcome(err))
				if !s.leapt(begun, err) {
					s.expected("boot", err)
				}
				p.alive = false
			} else {
				p.up = true
				s.note("boot", "up")
			}
			for p.alive && !s.closing {
				s.pause(s.between(5*time.Second, 60*time.Second))
				s.recoverAndEnd(p)
				if s.drawAt(OperatorOutage) {
					s.outage = s.clock.Add(s.between(time.Second, 10*time.Minute))
				}
			}
			a.proc = nil
			s.pause(s.between(time.Second, 40*time.Second))
		}
	}
}

func (s *Sim) recoverAndEnd(p *process) {
	ctx, overdue := context.Background(), s.list(`SELECT hex(serial) FROM intents WHERE state = 'open' AND deadline < ?`, s.clock.UnixMicro())
	// While the clock goes back nobody can say what is due.
	back := s.counts[ClockBack]
	n, err := p.services.Downloads.Recover(ctx)
	s.told("recover", n, err)
	if err == nil && p.alive && s.counts[ClockBack] == back {
		s.recovered(overdue)
	}
	begun := s.clock
	back = s.counts[ClockBack]
	n, err = p.services.Downloads.EndDue(ctx)
	s.told("end due", n, err)
	if err == nil && p.alive && s.counts[ClockBack] == back {
		s.endedDue(begun)
	}
	queued := s.list(`SELECT hex(certificate) FROM queued_revocations WHERE done_at IS NULL`)
	n, err = p.services.Downloads.RevokeQueued(ctx)
	s.told("revoke queued", n, err)
	if err == nil && p.alive {
		s.revokedQueued(queued)
	}
}

func (s *Sim) told(what string, n int, err error) {
	if n > 0 || err != nil {
		s.note(what, fmt.Sprint(n, " ", outcome(err)))
	}
	s.expected(what, err)
}

// expected fails the schedule for an error that no fault made.
func (s *Sim) expected(what string, err error) {
	if err == nil || blameless(err) {
		return
	}
	// A list is not put in place of one that is younger than the clock was.
	if s.counts[ClockBack] > 0 && !s.calm && strings.Contains(err.Error(), "look at the clock") {
		return
	}
	s.wrong("%s failed and nothing was wrong: %v", what, err)
}

// leapt reports whether a list was not published because the clock leapt while it was
// made: what was revoked after the leap is in no list of before, and the next try has it.
func (s *Sim) leapt(begun time.Time, err error) bool {
	return err != nil && strings.Contains(err.Error(), "after the list's end") && s.clock.Sub(begun) > 24*time.Hour
}

// blameless reports whether an error is the simulation's own doing.
func blameless(err error) bool {
	return errors.Is(err, errInjected) || errors.Is(err, store.ErrOutcomeUnknown) || errors.Is(err, context.Canceled)
}

// number is the job that numbers events.
func (s *Sim) number(a *actor) {
	for !s.closing {
		s.pause(s.between(5*time.Second, 60*time.Second))
		if p := s.procs[s.rng.IntN(len(s.procs))]; p != nil && p.up {
			a.proc = p
			n, err := p.seq.Pass(context.Background())
			s.told("number", n, err)
			a.proc = nil
		}
	}
}

// renew is the job that makes technical certificates anew: several at once, as at a
// start, so that many wait for the log together.
func (s *Sim) renew(*actor) {
	for !s.closing {
		s.pause(s.between(10*time.Second, 5*time.Minute))
		p := s.living()
		if p == nil {
			continue
		}
		for range 1 + s.rng.IntN(3) {
			s.spawn("renewal", func(a *actor) {
				a.proc = p
				faults := s.delaying()
				err := s.renewServer(p)
				s.ended("renew", outcome(err))
				if !errors.Is(err, issue.ErrConflict) || s.delaying() == faults {
					s.expected("renew", err) // else it took too long, and its intent was given up
				}
			})
		}
	}
}

// renewServer gives a process a certificate for its listener.
func (s *Sim) renewServer(p *process) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	req := ca.Request{Profile: policy.ProfileServer, PublicKey: key.Public(), NotBefore: s.clock.Add(-register.Backdate), NotAfter: s.clock.AddDate(0, 0, 30),
		Content: ca.Content{Country: "SE", Organisation: "Sigill", CommonName: "card.example", DNSNames: []string{"card.example"}}}
	_, err = p.services.Issue.Issue(context.Background(), world.FunctionCA, req, issue.Binding{}, nil)
	return err
}

// publish is the job that publishes CRLs.
func (s *Sim) publish(a *actor) {
	for !s.closing {
		s.pause(s.between(20*time.Second, 3*time.Minute))
		if p := s.publisherOf(); p != nil && p.up {
			a.proc = p
			begun := s.clock
			n, err := p.pub.Publish(context.Background(), begun)
			if s.leapt(begun, err) {
				s.note("publish", outcome(err))
			} else {
				s.told("publish", n, err)
			}
			a.proc = nil
		}
	}
}

// living returns a process that answers, or nil.
func (s *Sim) living() *process {
	var up []*process
	for _, p := range s.procs {
		if p != nil && p.up {
			up = append(up, p)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[s.rng.IntN(len(up))]
}

// listener is the log of a process. It hears of what should never be logged.
type listener struct{ s *Sim }

// Enabled implements [slog.Handler].
func (l *listener) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

// Handle implements [slog.Handler].
func (l *listener) Handle(_ context.Context, r slog.Record) error {
	var cause error
	text := ""
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			cause = err
		}
		text += " " + a.String()
		return true
	})
	if cause == nil || !blameless(cause) {
		l.s.wrong("the server logged %q without a fault:%s", r.Message, text)
	}
	return nil
}

// WithAttrs implements [slog.Handler].
func (l *listener) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements [slog.Handler].
func (l *listener) WithGroup(string) slog.Handler { return l }
