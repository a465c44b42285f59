package simulate

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/policy"
)

// holder is a person with a card.
type holder struct {
	person
	name    string
	world   *world.Holder
	card    *plastic
	clients []*client // that run now
	// ended are the organisations whose eIDs somebody has begun to end, everyOne all
	// of them: then having none is no fault of the service.
	ended map[policy.OrganisationID]bool
	// last is how the last run of the client ended.
	last error
	// ends is how the last try to fetch each order that is left ended.
	ends map[string]error
}

// everyOne stands for all organisations.
const everyOne policy.OrganisationID = ""

// mayEnd reports whether an organisation's eID on the card may be gone.
func (h *holder) mayEnd(org policy.OrganisationID) bool { return h.ended[everyOne] || h.ended[org] }

// newHolder puts a person of the base, with the card, into a schedule.
func newHolder(p person, name string) *holder {
	h := &holder{person: p, name: name, world: p.holder.Twin(), card: newPlastic(string(p.holder.Card)),
		ended: map[policy.OrganisationID]bool{}}
	h.card.add(policy.Transport, p.holder.TransportKey(), p.holder.TransportDER())
	if key := p.holder.CurrentKey(); key != nil {
		h.card.add(policy.Authentication, key, p.holder.CertificateOf())
	}
	return h
}

// client is one run of the card client: the program from its start to its end,
// knowing nothing but what is on the card.
type client struct {
	s      *Sim
	h      *holder
	ctx    context.Context
	cancel context.CancelFunc
	killed bool
}

func (c *client) kill() {
	c.killed = true
	c.cancel()
	c.s.note("killed", "client of "+c.h.name)
}

func (h *holder) killClients() {
	for _, c := range h.clients {
		c.killed = true
		c.cancel()
	}
}

// runClient starts the client anew and lets do use it.
func (s *Sim) runClient(h *holder, what string, do func(context.Context, *cardclient.Client) error) error {
	c := &client{s: s, h: h}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	h.clients = append(h.clients, c)
	if s.current != nil {
		s.current.client = c
	}
	err := do(c.ctx, &cardclient.Client{Server: "https://card.example", Card: &reader{c: c, p: h.card, epoch: h.card.epoch}, Version: "1.0.0",
		Language: "sv", Now: s.now, Wait: s.wait,
		Transport: func(cert *x509.Certificate, key crypto.Signer) http.RoundTripper {
			return &wireless{c: c, cert: cert, key: key}
		}})
	c.cancel()
	h.clients = without(h.clients, c)
	if s.current != nil {
		s.current.client = nil
	}
	s.ended(what, clientOutcome(err))
	s.unexpected(h, what, err)
	return err
}

func without(list []*client, c *client) []*client {
	var rest []*client
	for _, x := range list {
		if x != c {
			rest = append(rest, x)
		}
	}
	return rest
}

// clientOutcome names how a run ended.
func clientOutcome(err error) string {
	if p, ok := errorAs[*wire.Problem](err); ok {
		return fmt.Sprintf("problem %d %s %s", p.Status, p.Type, p.Rule)
	}
	if err == nil {
		return "ok"
	}
	return err.Error()
}

// unexpected are ends of a run that no fault, no rule and no choice explains:
// then the client or the server has gone wrong.
func (s *Sim) unexpected(h *holder, what string, err error) {
	var locked token.ErrPIN
	switch {
	case err == nil, blameless(err), errors.Is(err, token.ErrPINLocked), errors.As(err, &locked),
		errors.Is(err, cardclient.ErrNothing), errors.Is(err, cardclient.ErrDeclined), errors.Is(err, cardclient.ErrNoneOpen),
		errors.Is(err, cardclient.ErrOtherOpen), errors.Is(err, cardclient.ErrKeyElsewhere), errors.Is(err, cardclient.ErrNoSigning),
		errors.Is(err, cardclient.ErrNoSuchEID), errors.Is(err, cardclient.ErrStillSigning), errors.Is(err, cardclient.ErrSweepOpen):
		return
	}
	if _, ok := errorAs[*wire.Problem](err); ok {
		return
	}
	if _, ok := errorAs[*cardclient.ChooseError](err); ok {
		return
	}
	if _, ok := errorAs[*cardclient.ChooseEIDError](err); ok {
		return
	}
	if len(h.clients) > 0 || s.shared(h) {
		return // another client did something to the same card meanwhile
	}
	s.wrong("%s: %s ended without a reason: %v", h.name, what, err)
}

// shared reports whether two clients use the card in this schedule.
func (s *Sim) shared(h *holder) bool { return s.rates[CardShared] > 0 }

// face is the holder before the client.
type face struct {
	s *Sim
}

// Approve implements [cardclient.UI].
func (f face) Approve(context.Context, *wire.Me, policy.Plan) (bool, error) {
	f.s.point("approve")
	if f.s.drawAt(HolderSlow) {
		f.s.pause(f.s.between(time.Minute, 3*time.Hour))
	}
	return !f.s.drawAt(HolderDeclines), nil
}

// Progress implements [cardclient.UI].
func (f face) Progress(step string, _ policy.Slot) { f.s.ended("client", step) }

// live is a holder's actor: now and then the client is started.
func (s *Sim) live(h *holder) func(*actor) {
	return func(a *actor) {
		for !s.closing {
			s.pause(s.between(time.Second, 30*time.Second))
			if s.closing {
				return
			}
			s.useCard(h)
		}
	}
}

// useCard is one thing that a holder does.
func (s *Sim) useCard(h *holder) {
	switch {
	case s.drawAt(HolderAbandons):
		s.abandon(h)
		return
	case s.drawAt(HolderReports):
		h.ended[everyOne] = true
		h.last = s.runClient(h, "report lost", func(ctx context.Context, c *cardclient.Client) error { _, err := c.ReportLost(ctx); return err })
		return
	}
	switch p := s.rng.Float64(); {
	case p < .2:
		s.fetchSigning(h)
	case p < .25:
		s.sweep(h)
	case p < .3:
		h.last = s.runClient(h, "fetch existing", func(ctx context.Context, c *cardclient.Client) error {
			_, err := c.FetchExisting(ctx)
			return err
		})
	default:
		s.fetch(h, "")
	}
	switch {
	case errors.Is(h.last, token.ErrPINLocked):
		s.pause(s.between(time.Minute, 10*time.Minute)) // to the desk, with the PUK
		h.card.heal()
	case errors.Is(h.last, cardclient.ErrKeyElsewhere) && s.chance(.5):
		s.abandon(h) // as the message says
	}
}

func (s *Sim) abandon(h *holder) {
	h.last = s.runClient(h, "abandon", func(ctx context.Context, c *cardclient.Client) error {
		_, err := c.Abandon(ctx)
		return err
	})
}

// fetch lets the client fetch an order, or whatever waits; where it asks which one,
// any.
func (s *Sim) fetch(h *holder, order string) {
	h.last = s.runClient(h, "fetch", func(ctx context.Context, c *cardclient.Client) error {
		c.WithoutSigning = s.chance(.2)
		r, err := c.Fetch(ctx, order, face{s})
		s.kept(h, r)
		if choose, ok := errorAs[*cardclient.ChooseError](err); ok {
			_, err = c.Fetch(ctx, choose.Offers[s.rng.IntN(len(choose.Offers))].Order, face{s})
		}
		return err
	})
}

// fetchSigning lets the client fetch a signing certificate; where it asks for which
// eID, for any.
func (s *Sim) fetchSigning(h *holder) {
	h.last = s.runClient(h, "sign-cert", func(ctx context.Context, c *cardclient.Client) error {
		_, err := c.FetchSigning(ctx, face{s})
		if choose, ok := errorAs[*cardclient.ChooseEIDError](err); ok {
			c.EID = choose.EIDs[s.rng.IntN(len(choose.EIDs))].Serial
			_, err = c.FetchSigning(ctx, face{s})
		}
		return err
	})
}

// sweep lets the client take off the card what nobody needs.
func (s *Sim) sweep(h *holder) {
	h.last = s.runClient(h, "sweep", func(ctx context.Context, c *cardclient.Client) error {
		r, err := c.Sweep(ctx, func([]cardclient.Leftover) (bool, error) { return true, nil })
		s.kept(h, r)
		return err
	})
}

// kept looks at why objects were left on the card.
func (s *Sim) kept(h *holder, r *cardclient.Result) {
	if r == nil {
		return
	}
	for _, k := range r.Kept {
		s.ended("kept", clientOutcome(k.Err))
		if !errors.Is(k.Err, cardclient.ErrNotAsked) {
			s.unexpected(h, "tidying", k.Err)
		}
	}
}
