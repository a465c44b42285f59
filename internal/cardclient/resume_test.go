package cardclient_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/internal/world/fault"
	"sigill/policy"
)

// scenario is something that holders do and that may be cut off.
type scenario struct {
	name    string
	prepare func(*testing.T, *desk) *desk
	order   policy.OrderType // that is placed each time; empty: none
	// fresh: each time with a new card.
	fresh                   bool
	authentication, signing int // current ones in the end
}

func scenarios() []scenario {
	return []scenario{
		{"first eID", func(t *testing.T, d *desk) *desk { return d.newcomer(t) }, policy.OrderOrdinary, true, 1, 0},
		{"renewal", func(t *testing.T, d *desk) *desk { return d.newcomer(t).equipped(t) }, policy.OrderRenewal, false, 1, 0},
		{"renewal of both", func(t *testing.T, d *desk) *desk { return d.newcomer(t).equipped(t).withSigning(t) }, policy.OrderRenewal, false, 1, 1},
		{"signing certificate", func(t *testing.T, d *desk) *desk { return d.newcomer(t).equipped(t) }, "", false, 1, 1},
	}
}

// round is one time that a scenario is played.
type round struct {
	*desk
	scenario
}

// rounds plays a scenario again and again, until play says that there was nothing
// left to interrupt. A holder who has a working eID must have one after each
// request that the server has served.
func (sc scenario) rounds(t *testing.T, d *desk, fewest int, play func(t *testing.T, r round, n int) (more bool)) {
	t.Helper()
	for n := 1; ; n++ {
		if n > 150 {
			t.Fatalf("%d rounds and no end", n)
		}
		if n == 1 || sc.fresh {
			d = sc.prepare(t, d)
		}
		d.Pass(25 * time.Hour) // intents are limited by the day
		if sc.fresh {
			if err := d.Arm(t.Context(), d.holder); err != nil {
				t.Fatal(err)
			}
		}
		if sc.order != "" {
			d.Ordered(d.holder, sc.order)
		}
		d.least = d.Working(d.holder)
		more := play(t, round{d, sc}, n)
		if t.Failed() {
			t.Fatalf("in round %d", n)
		}
		d.calm()
		d.well(t, sc.authentication, sc.signing)
		if !more {
			if n <= fewest {
				t.Fatalf("only %d rounds: nothing was interrupted", n)
			}
			return
		}
	}
}

// run is what the holder does: the same command every time, in a program that is
// started anew.
func (r round) run(change ...func(*cardclient.Client)) (*cardclient.Result, error) {
	c := r.program()
	for _, f := range change {
		f(c)
	}
	if r.order == "" {
		return c.FetchSigning(r.T.Context(), r.ui)
	}
	return c.Fetch(r.T.Context(), "", r.ui)
}

// calm ends all disturbances.
func (d *desk) calm() {
	d.Faults.Clear()
	d.card.fail = nil
	d.net.mu.Lock()
	d.net.during, d.net.after = nil, nil
	d.net.request, d.net.answer = map[string]int{}, map[string]int{}
	d.net.mu.Unlock()
}

// again runs it once more after an interruption, which must end well: by going on,
// or because all was done and only the answer was missing.
func (r round) again(t *testing.T) {
	t.Helper()
	r.calm()
	if _, err := r.run(); err != nil && !errors.Is(err, cardclient.ErrNothing) {
		t.Fatalf("the next run: %v", err)
	}
}

// TestResumeCardPulled pulls the card before every single thing that is done with
// it, in each scenario: keys, reads, writes, signatures, deletions.
func TestResumeCardPulled(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			sc.rounds(t, d0, 15, func(t *testing.T, r round, n int) bool {
				r.card.ops = 0
				pulled := false
				r.card.fail = func(_ string, op int) error {
					if pulled = pulled || op >= n; pulled {
						return fmt.Errorf("reading the card: %w", token.ErrNoCard)
					}
					return nil
				}
				_, err := r.run()
				if pulled && err != nil && !errors.Is(err, token.ErrNoCard) {
					t.Errorf("pulled before operation %d: %v", n, err)
				}
				r.again(t)
				return pulled
			})
		})
	}
}

// TestResumeClientKilled ends the program after each of its steps. The next one,
// which remembers nothing, goes on.
func TestResumeClientKilled(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			sc.rounds(t, d0, 6, func(t *testing.T, r round, n int) bool {
				killed := false
				_, err := r.run(func(c *cardclient.Client) {
					c.After = func(string) error {
						if n--; n == 0 {
							killed = true
							return errKilled
						}
						return nil
					}
				})
				if killed != errors.Is(err, errKilled) {
					t.Errorf("killed %t: %v", killed, err)
				}
				r.again(t)
				return killed
			})
		})
	}
}

// TestResumeNetworkCut loses the n-th request and all after it, or lets it be
// served and loses its answer and all that follows.
func TestResumeNetworkCut(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, what := range []string{"request", "answer"} {
		for _, sc := range scenarios() {
			t.Run(what+" lost, "+sc.name, func(t *testing.T) {
				sc.rounds(t, d0, 4, func(t *testing.T, r round, n int) bool {
					r.net.mu.Lock()
					r.net.cutAt, r.net.cutAnswer, r.net.seen = n, what == "answer", 0
					r.net.mu.Unlock()
					_, err := r.run()
					r.net.mu.Lock()
					cut := r.net.seen >= n
					r.net.cutAt = 0
					r.net.mu.Unlock()
					if _, problem := errors.AsType[*wire.Problem](err); problem {
						t.Errorf("cut at request %d: %v", n, err)
					}
					r.again(t)
					return cut
				})
			})
		}
	}
}

// TestResumeServerKilled kills the server before and after every transaction and
// every signature, and starts it again.
func TestResumeServerKilled(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, f := range []fault.Fault{fault.DiesBefore, fault.DiesAfter} {
		for _, at := range []string{"transaction", "signature"} {
			for _, sc := range scenarios() {
				t.Run(fmt.Sprintf("%s %s, %s", f, at, sc.name), func(t *testing.T) {
					fewest := 4
					if at == "signature" {
						fewest = 1
					}
					sc.rounds(t, d0, fewest, func(t *testing.T, r round, n int) bool {
						if at == "signature" {
							r.Faults.FailSign(n, f, func() {})
						} else {
							r.Faults.FailUpdate(n, f, func() {})
						}
						_, err := r.run()
						updates, signatures := r.Faults.Counts()
						died := at == "transaction" && updates >= n || at == "signature" && signatures >= n
						if !died && err != nil {
							t.Errorf("nothing died, and yet: %v", err)
						}
						r.restart(t)
						r.again(t)
						return died
					})
				})
			}
		}
	}
}

// TestResumeServerDiskFull: every transaction of a run fails in its turn, as on a
// full disk; nothing is half done, and the same command succeeds when there is
// room.
func TestResumeServerDiskFull(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, sc := range scenarios()[1:] {
		t.Run(sc.name, func(t *testing.T) {
			sc.rounds(t, d0, 4, func(t *testing.T, r round, n int) bool {
				r.Faults.FailUpdate(n, fault.RolledBack, func() {})
				_, err := r.run()
				updates, _ := r.Faults.Counts()
				if p, ok := errors.AsType[*wire.Problem](err); err != nil && (!ok || p.Status < 500) {
					t.Errorf("transaction %d failed: %v", n, err)
				}
				r.again(t)
				return updates >= n
			})
		})
	}
}

// TestResumeWriteFails: the card takes no certificate. Nothing is lost: the next
// run writes the same one.
func TestResumeWriteFails(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			d := sc.prepare(t, d0)
			if sc.order != "" {
				d.Ordered(d.holder, sc.order)
			}
			r := round{d, sc}
			d.least = d.Working(d.holder)
			before := d.Rows("certificates", "card = ?", string(d.holder.Card))
			d.card.fail = func(op string, _ int) error {
				if op == "write" {
					return errors.New("the card is full")
				}
				return nil
			}
			if _, err := r.run(); !errors.Is(err, cardclient.ErrWrite) {
				t.Fatalf("%v, want ErrWrite", err)
			}
			r.again(t)
			d.well(t, sc.authentication, sc.signing)
			if n := d.Rows("certificates", "card = ?", string(d.holder.Card)) - before; n > len(d.ui.plan.Adds) {
				t.Errorf("%d certificates were issued for a plan of %d", n, len(d.ui.plan.Adds))
			}
		})
	}
}

// TestResumeReadBackDiffers: the card gives back something else than was written.
// It is not confirmed; the next run writes what is right.
func TestResumeReadBackDiffers(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			d := sc.prepare(t, d0)
			if sc.order != "" {
				d.Ordered(d.holder, sc.order)
			}
			r := round{d, sc}
			d.least = d.Working(d.holder)
			d.card.lies = true
			if _, err := r.run(); !errors.Is(err, cardclient.ErrReadBack) {
				t.Fatalf("%v, want ErrReadBack", err)
			}
			if n := d.current(policy.Authentication); n != d.least {
				t.Errorf("%d are current, were %d", n, d.least)
			}
			d.card.lies = false
			r.again(t)
			d.well(t, sc.authentication, sc.signing)
		})
	}
}

// TestResumeOldStays: what was replaced can't be deleted. The run succeeds and
// says so; the next one deletes it, whether or not there is something to fetch.
func TestResumeOldStays(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, sc := range scenarios()[1:] {
		if sc.name == "signing certificate" {
			sc.prepare = func(t *testing.T, d *desk) *desk { return d.newcomer(t).equipped(t).withSigning(t) }
		}
		t.Run(sc.name, func(t *testing.T) {
			d := sc.prepare(t, d0)
			if sc.order != "" {
				d.Ordered(d.holder, sc.order)
			}
			r := round{d, sc}
			d.card.fail = func(op string, _ int) error {
				if op == "delete" {
					return errors.New("the card does not delete")
				}
				return nil
			}
			result, err := r.run()
			if err != nil || len(result.Kept) == 0 || len(result.Removed) != 0 || len(result.Installed) == 0 {
				t.Fatalf("%+v, %v", result, err)
			}
			if n := d.Rows("downloads", "card = ? AND cleaned_at IS NULL AND state = 'installed'", string(d.holder.Card)); n != 1 {
				t.Errorf("reported as tidied all the same (%d)", n)
			}
			d.calm()
			result, err = d.fetch()
			if err != nil || len(result.Removed) == 0 || len(result.Kept) != 0 {
				t.Fatalf("the next run: %+v, %v", result, err)
			}
			d.well(t, sc.authentication, sc.signing)
			if _, err := d.fetch(); !errors.Is(err, cardclient.ErrNothing) {
				t.Errorf("and then: %v", err)
			}
		})
	}
}
