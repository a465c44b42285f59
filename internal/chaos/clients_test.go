//go:build unix && cgo

package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"sigill/internal/cardclient"
	"sigill/internal/stage"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
	"sigill/orders"
	"sigill/policy"
)

// mostIntents is less than what a card gets in a day, of which its transport
// certificate took one: each kill may cost one that comes to nothing.
const mostIntents = policy.IntentsPerCard - 4

// tries are how often a holder runs the program for one order. The server comes
// back after each kill, so that more would show a download that never ends.
const tries = 40

// entry is what a client was told in the end, of an order or of a signing
// certificate, which has none: serials by slot.
type entry struct {
	order   string
	serials map[policy.Slot]string
}

// life is a holder with a card, and the client's book.
type life struct {
	*stage.Holder
	card  string // as programs are told of it
	hsm   string // configuration of the SoftHSM that has the card's tokens; "": none
	pins  string
	books []entry
	// limit: the card had all the intents that it may have in a day. The last
	// order was not fetched.
	limit bool
}

func (l *life) pin() token.PIN {
	pins := strings.SplitN(strings.TrimSpace(l.pins), "\n", 2)
	return tokentest.PIN(pins[0], pins[len(pins)-1])
}

// client fetches orders to cards, one after the other.
type client struct {
	*chaos
	kind kind
	// run runs a command of the holder's program once, fetch or sign-cert.
	run func(ctx context.Context, l *life, command string) (told, error)
	// signs: beside each first eID a signing certificate is fetched, which is
	// replaced with it.
	signs bool
}

// told is what a run of the holder's program told: a result, or a failure in
// words.
type told struct {
	entry
	failure string
}

// live carries out orders until enough was killed; the last one to its end.
func (c *client) live(ctx context.Context) error {
	for !c.isOver() {
		l, err := c.next(ctx, c.kind)
		if err != nil {
			return err
		}
		kind, each := "ordinary", 1
		if c.signs {
			each = 2
		}
		for !c.isOver() && !l.limit && l.intents()+each <= mostIntents {
			order, err := c.order(ctx, kind, l.Holder)
			if err != nil {
				return fmt.Errorf("card %s: %s order: %w", l.Card, kind, err)
			}
			if err := c.carryOut(ctx, l, "fetch", order); err != nil {
				return fmt.Errorf("card %s: order %s: %w", l.Card, order, err)
			}
			if c.signs && kind == "ordinary" && !l.limit {
				if err := c.carryOut(ctx, l, "sign-cert", ""); err != nil {
					return fmt.Errorf("card %s: signing certificate: %w", l.Card, err)
				}
			}
			kind = "renewal"
		}
	}
	return nil
}

// intents are those that the client knows of.
func (l *life) intents() (n int) {
	for _, e := range l.books {
		n += len(e.serials)
	}
	return n
}

// carryOut runs a command of the holder's program until it has done what it is for.
func (c *client) carryOut(ctx context.Context, l *life, command, order string) error {
	for try := 1; try <= tries; try++ {
		got, err := c.run(ctx, l, command)
		if err != nil {
			return err
		}
		switch {
		case got.failure == "":
			if got.order != order {
				return fmt.Errorf("%s: of another order: %+v", command, got.entry)
			}
			l.books = append(l.books, got.entry)
			return nil
		case strings.Contains(got.failure, cardclient.ErrNothing.Error()) && try > 1:
			// All was done when the answer to the very last request was lost.
			e, err := c.current(ctx, l)
			if err != nil {
				return err
			}
			e.order = order
			l.books = append(l.books, e)
			return nil
		case strings.Contains(got.failure, string(policy.IntentLimit)):
			l.limit = true
			return nil
		}
		c.heard(got.failure)
		if err := c.server.ready(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: not done in %d runs", command, tries)
}

// current asks the server what is current, by the holder's program.
func (c *chaos) current(ctx context.Context, l *life) (entry, error) {
	for range tries {
		o, err := c.program(ctx, l, "login", "--json")
		if err != nil {
			return entry{}, err
		}
		if o.Code != 0 {
			c.heard(failureOf(o))
			if err := c.server.ready(ctx); err != nil {
				return entry{}, err
			}
			continue
		}
		var me wire.Me
		if err := json.Unmarshal([]byte(o.Out), &me); err != nil {
			return entry{}, err
		}
		return entry{serials: currentOf(&me)}, nil
	}
	return entry{}, errors.New("no log-in succeeds")
}

// currentOf returns the serials of the current certificates, by slot; where there
// are several of a slot, a text that equals none.
func currentOf(me *wire.Me) map[policy.Slot]string {
	found := map[policy.Slot]string{}
	for _, e := range me.EIDs {
		for _, cert := range e.Certificates {
			if cert.State == "current" {
				found[policy.Slot(cert.Slot)] += cert.Serial
			}
		}
	}
	return found
}

// program runs sigill-card with the holder's card.
func (c *chaos) program(ctx context.Context, l *life, args ...string) (stage.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return stage.Outcome{}, err
	}
	cmd, err := c.HolderProgram(c.cardProgram, l.card, c.Server, l.pins, args...)
	if err != nil {
		return stage.Outcome{}, err
	}
	if l.hsm != "" {
		cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+l.hsm)
	}
	o, err := stage.Try(cmd)
	return o, errors.Join(err, cmd.ExtraFiles[0].Close())
}

// byProgram runs the real program.
func (c *chaos) byProgram(ctx context.Context, l *life, command string) (told, error) {
	o, err := c.program(ctx, l, command, "--yes", "--json")
	if err != nil || o.Code != 0 {
		return told{failure: failureOf(o)}, err
	}
	var r struct {
		Order     string
		Installed []struct{ Slot, Serial string }
	}
	if err := json.Unmarshal([]byte(o.Out), &r); err != nil {
		return told{}, fmt.Errorf("sigill-card %s: %w: %v", command, err, o)
	}
	got := told{entry: entry{r.Order, map[policy.Slot]string{}}}
	for _, in := range r.Installed {
		got.serials[policy.Slot(in.Slot)] = in.Serial
	}
	return got, nil
}

// ahead is how far the clock of one computer is wrong. A client there takes every
// challenge for too old, and asks for another.
const ahead = time.Hour

// byClockAhead fetches as the program does, at a computer whose clock is wrong.
func (c *chaos) byClockAhead(ctx context.Context, l *life, _ string) (told, error) {
	card, err := token.Open(ctx, l.card, l.pin())
	if err != nil {
		return told{}, err
	}
	defer card.Close()
	holder := &cardclient.Client{Server: c.Server, Roots: c.Roots, Card: card, Version: "0.1.0", Language: "en",
		Now: func() time.Time { return time.Now().Add(ahead) }}
	r, err := holder.Fetch(ctx, "", consenting{})
	if err != nil {
		return told{failure: err.Error()}, ctx.Err()
	}
	got := told{entry: entry{r.Order, map[policy.Slot]string{}}}
	for _, in := range r.Installed {
		got.serials[in.Slot] = in.Serial
	}
	return got, nil
}

// consenting approves every plan and says nothing.
type consenting struct{}

// Approve implements [cardclient.UI].
func (consenting) Approve(context.Context, *wire.Me, policy.Plan) (bool, error) { return true, nil }

// Progress implements [cardclient.UI].
func (consenting) Progress(string, policy.Slot) {}

// failureOf is what the program said in the end, about no address or id.
func failureOf(o stage.Outcome) string {
	lines := strings.Split(strings.TrimSpace(o.Err), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "sigill-card:") {
			return strings.Join(lines[i:], " ")
		}
	}
	return lines[len(lines)-1]
}

var particulars = regexp.MustCompile(`127\.0\.0\.1:\d+(->127\.0\.0\.1:\d+)?|\b[a-z]+_[0-9a-zA-Z]{8,}|[0-9a-f]{16,}|\d{4}-\d\d-\d\d`)

// heard counts what holders were told when a run came to nothing.
func (c *chaos) heard(failure string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[particulars.ReplaceAllString(failure, "…")]++
}

// order has administrators order for a holder, however often that must be asked.
func (c *chaos) order(ctx context.Context, kind string, h *stage.Holder) (id string, err error) {
	var document []byte
	for range tries {
		if document == nil {
			document, err = c.Admins[0].PreviewOrder(ctx, c.Request(kind, h))
		}
		if document != nil {
			if id, err = c.place(ctx, document); err == nil {
				return id, nil
			}
		}
		if p, ok := errors.AsType[*wire.Problem](err); ok && p.Rule != "" {
			return "", err // a refusal stays one
		}
		c.heard("an administrator: " + err.Error())
		if err := c.server.ready(ctx); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("not ordered in %d tries: %w", tries, err)
}

// place places an order and has it approved. Placing the same again, and finding
// it approved already, is no error: an answer may have been lost.
func (c *chaos) place(ctx context.Context, document []byte) (id string, err error) {
	d, err := orders.ParseDocument(document)
	if err != nil {
		return "", err
	}
	o, err := c.Admins[0].PlaceOrder(ctx, document)
	if err != nil {
		return "", err
	}
	if o.State == "placed" {
		if o, err = c.Admins[1].ApproveOrder(ctx, string(d.Order)); err != nil {
			now, unseen := c.Admins[0].Order(ctx, string(d.Order))
			if unseen == nil && now.State == "approved" {
				return now.ID, nil
			}
			return "", cmp.Or(unseen, err)
		}
	}
	if o.State != "approved" {
		return "", fmt.Errorf("the order is %s", o.State)
	}
	return o.ID, nil
}
