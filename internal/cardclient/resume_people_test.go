package cardclient_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sigill/internal/cardclient"
	"sigill/internal/wire"
	"sigill/policy"
)

// What people do, or do not do in time, while a fetch is under way.

// TestResumeOnAnotherComputer: the holder comes back with nothing but the card,
// in time and after the pending certificate has lapsed.
func TestResumeOnAnotherComputer(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, after := range []time.Duration{20 * time.Hour, 5 * 24 * time.Hour} {
		for _, step := range []string{cardclient.StepGenerated, cardclient.StepSubmitted, cardclient.StepReadBack} {
			for _, sc := range scenarios()[1:] {
				t.Run(fmt.Sprintf("%s, %s, %s", after, step, sc.name), func(t *testing.T) {
					d := sc.prepare(t, d0)
					if sc.order != "" {
						d.Ordered(d.holder, sc.order)
					}
					r := round{d, sc}
					d.least = d.Working(d.holder)
					if _, err := r.run(func(c *cardclient.Client) { c.After = killedAfter(step, 1) }); !errors.Is(err, errKilled) {
						t.Fatal(err)
					}
					d.Pass(after)
					if _, err := d.Downloads.EndDue(t.Context()); err != nil { // the server's job
						t.Fatal(err)
					}
					result, err := r.run()
					if err != nil {
						t.Fatal(err)
					}
					inTime := after < 24*time.Hour && step != cardclient.StepGenerated // without a certificate it lapses in minutes
					if result.Resumed != inTime {
						t.Errorf("resumed: %t, want %t", result.Resumed, inTime)
					}
					d.well(t, sc.authentication, sc.signing)
				})
			}
		}
	}
}

// TestResumeTwoPrograms: two programs work with one card at once. One of them may
// lose; together they bring it to its end, and nobody sweeps the other's key.
func TestResumeTwoPrograms(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, sc := range scenarios() {
		for _, step := range []string{cardclient.StepBegin, cardclient.StepGenerated, cardclient.StepSubmitted, cardclient.StepWritten, cardclient.StepReadBack, cardclient.StepConfirmed} {
			t.Run(sc.name+" "+step, func(t *testing.T) {
				d := sc.prepare(t, d0)
				if sc.order != "" {
					d.Ordered(d.holder, sc.order)
				}
				r := round{d, sc}
				d.least = d.Working(d.holder)
				var second error
				_, first := r.run(func(c *cardclient.Client) {
					c.After = func(s string) error {
						if s == step {
							c.After = nil
							_, second = r.run() // in between
						}
						return nil
					}
				})
				if first != nil && second != nil && !errors.Is(second, cardclient.ErrNothing) {
					t.Logf("both lost: %v; %v", first, second)
				}
				r.again(t)
				d.least = 0
				if sc.name == "signing certificate" { // asked for three times: replaced, not doubled
					d.well(t, 1, 1)
					return
				}
				d.well(t, sc.authentication, sc.signing)
			})
		}
	}
}

// TestResumeAbandoned: given up by the holder or by an administrator at each step,
// the order can be fetched anew.
func TestResumeAbandoned(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, by := range []string{"holder", "administrator"} {
		for _, step := range []string{cardclient.StepBegin, cardclient.StepGenerated, cardclient.StepSubmitted, cardclient.StepWritten} {
			for _, sc := range scenarios() {
				t.Run(by+" after "+step+", "+sc.name, func(t *testing.T) {
					d := sc.prepare(t, d0)
					if sc.order != "" {
						d.Ordered(d.holder, sc.order)
					}
					r := round{d, sc}
					d.least = d.Working(d.holder)
					_, err := r.run(func(c *cardclient.Client) {
						c.After = killedAfter(step, 1)
						if by == "administrator" {
							c.After = func(s string) error {
								if s == step {
									c.After = nil
									d.abandonAsAdmin(t)
								}
								return nil
							}
						}
					})
					if by == "holder" {
						if _, err := d.program().Abandon(t.Context()); err != nil {
							t.Fatal(err)
						}
					} else if p, ok := errors.AsType[*wire.Problem](err); !ok || p.Rule != string(policy.DownloadStateRule) && p.Rule != string(policy.DownloadChallenge) &&
						p.Rule != string(policy.LoginRevoked) {
						t.Errorf("in the middle: %v", err)
					}
					if sc.fresh { // it was armed for that one download
						if err := d.Arm(t.Context(), d.holder); err != nil {
							t.Fatal(err)
						}
					}
					r.again(t)
					d.well(t, sc.authentication, sc.signing)
				})
			}
		}
	}
}

func (d *desk) abandonAsAdmin(t *testing.T) {
	t.Helper()
	admin, err := d.Login(t.Context(), d.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	me, err := d.program().Me(t.Context(), cardclient.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Downloads.Abandon(t.Context(), admin, policy.DownloadID(me.Open.ID)); err != nil {
		t.Fatal(err)
	}
}

// refused fails the test unless err is a refusal by one of the rules that says
// what to do now.
func refused(t *testing.T, err error, rules ...policy.Rule) {
	t.Helper()
	p, ok := errors.AsType[*wire.Problem](err)
	if !ok || !slices.Contains(rules, policy.Rule(p.Rule)) || p.Next == "" {
		t.Errorf("%v, want a refusal by one of %q with what to do", err, rules)
	}
}

// TestResumeCardBlocked: a card that is reported lost in the middle gets nothing
// more, and what waited for it is revoked. This alone takes the working eID.
func TestResumeCardBlocked(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, step := range []string{cardclient.StepBegin, cardclient.StepGenerated, cardclient.StepSubmitted, cardclient.StepReadBack} {
		for _, sc := range scenarios() {
			t.Run(step+", "+sc.name, func(t *testing.T) {
				d := sc.prepare(t, d0)
				if sc.order != "" {
					d.Ordered(d.holder, sc.order)
				}
				r := round{d, sc}
				_, err := r.run(func(c *cardclient.Client) {
					c.After = func(s string) error {
						if s != step {
							return nil
						}
						c.After = nil
						admin, err := d.Login(t.Context(), d.Admins[0])
						if err != nil {
							return err
						}
						return d.Downloads.BlockCard(t.Context(), admin, d.holder.Card, "lost")
					}
				})
				refused(t, err, policy.CardStateRule, policy.LoginRevoked, policy.DownloadStateRule)
				_, err = r.run()
				refused(t, err, policy.CardStateRule, policy.LoginRevoked)
				if n := d.current(policy.Authentication) + d.current(policy.Signing); n != 0 {
					t.Errorf("%d are current on a blocked card", n)
				}
				if n := d.Rows("certificates c", "c.card = ? AND c.slot <> 'transport' AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)", string(d.holder.Card)); n != 0 {
					t.Errorf("%d certificates of a blocked card are not revoked", n)
				}
				d.Sound()
				d.Truth()
			})
		}
	}
}

// TestResumeOrderGone: the order is withdrawn, or runs out, in the middle. What
// waited is revoked, the old eID lives, and the next run says that there is
// nothing.
func TestResumeOrderGone(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, how := range []string{"withdrawn", "expired"} {
		for _, step := range []string{cardclient.StepBegin, cardclient.StepGenerated, cardclient.StepSubmitted, cardclient.StepReadBack} {
			t.Run(how+" after "+step, func(t *testing.T) {
				d := d0.newcomer(t).equipped(t)
				id := d.Ordered(d.holder, policy.OrderRenewal)
				d.least = 1
				c := d.program()
				c.After = func(s string) error {
					if s != step {
						return nil
					}
					c.After = nil
					return d.takeBack(t, id, how)
				}
				_, err := c.Fetch(t.Context(), "", d.ui)
				if !errors.Is(err, cardclient.ErrEnded) { // the new one was refused: told as what it is
					refused(t, err, policy.DownloadStateRule, policy.OrderStateRule, policy.OrderExpiredRule)
				}
				result, err := d.fetch()
				if !errors.Is(err, cardclient.ErrNothing) && (err != nil || len(result.Installed) != 0) {
					t.Errorf("the next run: %+v, %v", result, err)
				}
				d.well(t, 1, 0)
			})
		}
	}
}

func (d *desk) takeBack(t *testing.T, id policy.OrderID, how string) error {
	if how == "expired" {
		d.Pass(100 * 24 * time.Hour)
		_, err := d.Downloads.EndDue(t.Context())
		return err
	}
	admin, err := d.Login(t.Context(), d.Admins[0])
	if err != nil {
		return err
	}
	_, err = d.Downloads.Withdraw(t.Context(), admin, id)
	return err
}

// TestResumePendingOver: the certificate was written and not confirmed in time. It
// is revoked, and the order is fetched anew.
func TestResumePendingOver(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, sc := range scenarios()[1:] {
		t.Run(sc.name, func(t *testing.T) {
			d := sc.prepare(t, d0)
			if sc.order != "" {
				d.Ordered(d.holder, sc.order)
			}
			r := round{d, sc}
			d.least = d.Working(d.holder)
			_, err := r.run(func(c *cardclient.Client) {
				c.After = func(s string) error {
					if s == cardclient.StepReadBack {
						c.After = nil
						d.Pass(25 * time.Hour) // the server has not yet looked
					}
					return nil
				}
			})
			if p, ok := errors.AsType[*wire.Problem](err); !ok || p.Rule != string(policy.DownloadStateRule) {
				if sc.name != "renewal of both" {
					t.Errorf("%v, want download.state", err)
				}
			}
			r.again(t)
			d.well(t, sc.authentication, sc.signing)
		})
	}
}

// TestResumeArmingOver: the time at the desk runs out in the middle of a first
// fetch. Two administrators arm the card again, and it goes on or begins anew.
func TestResumeArmingOver(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, step := range []string{cardclient.StepBegin, cardclient.StepGenerated, cardclient.StepSubmitted, cardclient.StepReadBack} {
		t.Run(step, func(t *testing.T) {
			d := d0.newcomer(t)
			d.Ordered(d.holder, policy.OrderOrdinary)
			c := d.program()
			c.After = func(s string) error {
				if s == step {
					c.After = nil
					d.Pass(3 * time.Hour)
				}
				return nil
			}
			_, err := c.Fetch(t.Context(), "", d.ui)
			if err != nil {
				refused(t, err, policy.LoginUnarmed, policy.LoginRevoked)
				_, err = d.fetch()
				refused(t, err, policy.LoginUnarmed)
				if err := d.Arm(t.Context(), d.holder); err != nil {
					t.Fatal(err)
				}
				if _, err := d.fetch(); err != nil {
					t.Fatal(err)
				}
			}
			d.well(t, 1, 0)
		})
	}
}

// TestResumeDeclined: the holder says no to the plan. A new download is given up
// at once; one that was begun before stays, for only the holder's word ends it.
func TestResumeDeclined(t *testing.T) {
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
			d.ui.no = true
			if _, err := r.run(); !errors.Is(err, cardclient.ErrDeclined) {
				t.Fatal(err)
			}
			if n := d.Rows("downloads", "card = ? AND state = 'planned'", string(d.holder.Card)); n != 0 {
				t.Errorf("%d downloads are open", n)
			}
			d.ui.no = false
			if sc.fresh {
				if err := d.Arm(t.Context(), d.holder); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := r.run(func(c *cardclient.Client) { c.After = killedAfter(cardclient.StepSubmitted, 1) }); !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			d.ui.no = true
			if _, err := r.run(); !errors.Is(err, cardclient.ErrDeclined) {
				t.Fatal(err)
			}
			if n := d.Rows("downloads", "card = ? AND state = 'planned'", string(d.holder.Card)); n != 1 {
				t.Errorf("%d downloads are open", n)
			}
			d.ui.no = false
			r.again(t)
			d.well(t, sc.authentication, sc.signing)
		})
	}
}

// TestResumeClientClock: the client's clock is days wrong. It asks for a fresh
// challenge once too often, or is told to; nothing depends on it.
func TestResumeClientClock(t *testing.T) {
	t.Parallel()
	d0 := newDesk(t)
	for _, wrong := range []time.Duration{-72 * time.Hour, -15 * time.Minute, 15 * time.Minute, 72 * time.Hour} {
		for _, sc := range scenarios() {
			t.Run(fmt.Sprintf("%s, %s", wrong, sc.name), func(t *testing.T) {
				d := sc.prepare(t, d0)
				if sc.order != "" {
					d.Ordered(d.holder, sc.order)
				}
				r := round{d, sc}
				d.least = d.Working(d.holder)
				clock := func(c *cardclient.Client) { c.Now = func() time.Time { return d.Now().Add(wrong) } }
				if _, err := r.run(clock, func(c *cardclient.Client) { c.After = killedAfter(cardclient.StepGenerated, 1) }); !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				d.Pass(12 * time.Minute) // the challenge has run out, the download not
				if _, err := r.run(clock); err != nil {
					t.Fatal(err)
				}
				d.well(t, sc.authentication, sc.signing)
			})
		}
	}
}
