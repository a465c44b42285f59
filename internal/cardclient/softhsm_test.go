//go:build cgo

package cardclient_test

import (
	"errors"
	"testing"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/policy"
)

// TestFetchOverPKCS11 runs the journey with keys that stay on two tokens, one
// per PIN, cut off once in the middle with the card opened anew.
func TestFetchOverPKCS11(t *testing.T) {
	h := tokentest.StartSoftHSM(t)
	h.NewToken(t, "card", "123456")
	h.NewToken(t, "card sign", "654321")
	open := func() token.Card {
		t.Helper()
		c, err := token.Open(t.Context(), h.URI("card", "card sign"), tokentest.PIN("123456", "654321"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	f := newFake(t)
	f.signing = true
	c := open()
	_, old := f.certified(t, c, policy.Authentication)
	f.removes = []string{old}
	client := &cardclient.Client{Server: f.url, Roots: f.roots, Card: c, Version: "1.0.0"}
	client.After = func(step string) error {
		if step == "written" {
			return errPulled
		}
		return nil
	}
	if _, err := client.Fetch(t.Context(), "", &holder{}); err == nil {
		t.Fatal("not cut off")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open()
	defer c.Close()
	client.Card, client.After = c, nil
	result, err := client.Fetch(t.Context(), "", &holder{})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Resumed || len(result.Installed) != 2 || f.issued != 2 || has(t, c, old) || count(t, c) != 2 {
		t.Errorf("result %+v, %d issued, %d objects", result, f.issued, count(t, c))
	}
	if _, me, err := client.Login(t.Context(), cardclient.Identity{}); err != nil || me.LoggedInWith != "authentication" {
		t.Errorf("log-in with the new certificate: %v", err)
	}
}

// TestSigningOverPKCS11: on a card with a token for each PIN the signing PIN is
// given to open its token and for the one signature, and never again.
func TestSigningOverPKCS11(t *testing.T) {
	h := tokentest.StartSoftHSM(t)
	h.NewToken(t, "card", pin1)
	h.NewToken(t, "card sign", pin2)
	d := newDesk(t)
	f := &fingers{pins: map[policy.Slot]string{policy.Authentication: pin1, policy.Signing: pin2}}
	reopen := func() {
		t.Helper()
		if d.card.Soft != nil {
			d.card.Soft.Close()
		}
		c, err := token.Open(t.Context(), h.URI("card", "card sign"), f.PIN)
		if err != nil {
			t.Fatal(err)
		}
		d.card.Soft, f.asked = c.(Soft), nil
	}
	reopen()
	defer func() { d.card.Soft.Close() }()
	signing := func() (n int) {
		for _, s := range f.asked {
			if s == policy.Signing {
				n++
			}
		}
		return n
	}
	run := func(what string, want int, fetch func(*cardclient.Client) error) {
		t.Helper()
		reopen()
		c := d.program()
		done := -1
		c.SigningDone = func() {
			if done < 0 {
				done = signing()
			}
		}
		if err := fetch(c); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n := signing(); n != want || want == 2 && done != want {
			t.Errorf("%s: the signing PIN was given %d times, %d until it was done, want %d", what, n, done, want)
		}
		if n := len(f.asked) - signing(); n != 1 {
			t.Errorf("%s: PIN1 was given %d times", what, n)
		}
	}
	fetch := func(c *cardclient.Client) error {
		_, err := c.Fetch(t.Context(), "", d.ui)
		return err
	}
	sign := func(c *cardclient.Client) error {
		_, err := c.FetchSigning(t.Context(), d.ui)
		return err
	}
	d.Ordered(d.holder, policy.OrderOrdinary)
	run("first eID", 0, fetch)
	run("signing certificate", 2, sign)
	run("in place of it", 2, sign)
	d.Ordered(d.holder, policy.OrderRenewal)
	run("both", 2, fetch)
	d.well(t, 1, 1)
	d.once(t, 3)

	// Cut off with the key made: the next one has a new challenge for it.
	run("cut off", 1, func(c *cardclient.Client) error {
		c.After, c.SigningDone = killedAfter(cardclient.StepGenerated, 1), nil
		if err := sign(c); !errors.Is(err, errKilled) {
			t.Errorf("%v", err)
		}
		return nil
	})
	run("gone on with", 2, sign)
	d.well(t, 1, 1)
}
