package cardclient_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/policy"
)

// fingers type PINs, and remember for which slots they were asked.
type fingers struct {
	pins  map[policy.Slot]string
	asked []policy.Slot
}

func (f *fingers) PIN(_ context.Context, slot policy.Slot) ([]byte, error) {
	f.asked = append(f.asked, slot)
	if slot != policy.Signing {
		slot = policy.Authentication
	}
	return []byte(f.pins[slot]), nil
}

// withPINs gives the person a card with PINs. The function that is returned opens
// it anew, as a new program does.
func (d *desk) withPINs(t *testing.T) (*fingers, func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.card")
	if err := token.CreateSoft(path, token.SoftConfig{Number: string(d.holder.Card), Product: "7XX", PIN1: pin1, PIN2: pin2}); err != nil {
		t.Fatal(err)
	}
	f := &fingers{}
	open := func() {
		t.Helper()
		soft, err := token.OpenSoft(path, f.PIN)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { soft.Close() })
		d.card.Soft = soft
		f.asked, f.pins = nil, map[policy.Slot]string{policy.Authentication: pin1, policy.Signing: pin2}
	}
	open()
	return f, open
}

// TestOnePIN2OnePIN1: each PIN is asked for once in a run, and the one for signing
// only where there is something for it to do.
func TestOnePIN2OnePIN1(t *testing.T) {
	d := newDesk(t)
	f, reopen := d.withPINs(t)
	expect := func(what string, want ...policy.Slot) {
		t.Helper()
		slices.Sort(f.asked)
		if !slices.Equal(f.asked, want) {
			t.Errorf("%s: asked for %q, want %q", what, f.asked, want)
		}
		reopen()
	}
	d.equipped(t)
	expect("first eID", policy.Authentication)
	d.withSigning(t)
	expect("signing certificate", policy.Authentication, policy.Signing)
	d.withSigning(t)
	expect("another, in place of it", policy.Authentication, policy.Signing)
	d.Ordered(d.holder, policy.OrderRenewal)
	if _, err := d.fetch(); err != nil {
		t.Fatal(err)
	}
	expect("both anew", policy.Authentication, policy.Signing)
	id := d.Ordered(d.holder, policy.OrderRenewal)
	c := d.program()
	c.WithoutSigning = true
	result, err := c.Fetch(t.Context(), string(id), d.ui)
	if err != nil || len(result.Kept) != 1 || !errors.Is(result.Kept[0].Err, cardclient.ErrNotAsked) {
		t.Fatalf("%+v, %v", result, err)
	}
	expect("without signing", policy.Authentication)
	if _, err := d.program().Sweep(t.Context(), func([]cardclient.Leftover) (bool, error) { return true, nil }); err != nil {
		t.Fatal(err)
	}
	expect("sweeping what was left", policy.Authentication, policy.Signing)
	d.well(t, 1, 0)
}

// TestResumeWrongPIN: a wrong PIN costs one try and nothing else; what was begun
// goes on with the right one.
func TestResumeWrongPIN(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	wrong := func(t *testing.T, err error, slot policy.Slot, whole bool) {
		t.Helper()
		pin, ok := errors.AsType[token.ErrPIN](err)
		if !ok || pin.Slot != slot && !(pin.Slot == policy.Transport && slot == policy.Authentication) || pin.Left != 2 {
			t.Errorf("%v, want a wrong PIN for %s with two tries left", err, slot)
		}
		if errors.Is(err, cardclient.ErrSigningPIN) != whole {
			t.Errorf("%v: told how to do without: %t", err, !whole)
		}
	}
	t.Run("PIN1", func(t *testing.T) {
		d.newcomer(t)
		f, reopen := d.withPINs(t)
		d.equipped(t)
		d.Ordered(d.holder, policy.OrderRenewal)
		reopen()
		d.least = 1
		f.pins[policy.Authentication] = "000000"
		_, err := d.fetch()
		wrong(t, err, policy.Authentication, false)
		reopen()
		if _, err := d.fetch(); err != nil {
			t.Fatal(err)
		}
		d.well(t, 1, 0)
	})
	t.Run("PIN2 of a signing certificate", func(t *testing.T) {
		d.newcomer(t)
		f, reopen := d.withPINs(t)
		d.equipped(t)
		reopen()
		d.least = 1
		f.pins[policy.Signing] = "000000"
		_, err := d.program().FetchSigning(t.Context(), d.ui)
		wrong(t, err, policy.Signing, false)
		reopen()
		result, err := d.program().FetchSigning(t.Context(), d.ui)
		if err != nil || !result.Resumed {
			t.Fatalf("%+v, %v", result, err)
		}
		d.well(t, 1, 1)
		d.once(t, 1)
	})
	t.Run("PIN2 of both", func(t *testing.T) {
		d.newcomer(t)
		f, reopen := d.withPINs(t)
		d.equipped(t).withSigning(t)
		d.Ordered(d.holder, policy.OrderRenewal)
		reopen()
		d.least = 1
		f.pins[policy.Signing] = "000000"
		_, err := d.fetch()
		wrong(t, err, policy.Signing, true)
		if n := len(slices.DeleteFunc(f.asked, func(s policy.Slot) bool { return s != policy.Signing })); n != 1 {
			t.Errorf("the wrong PIN was presented %d times", n)
		}
		reopen()
		result, err := d.fetch()
		if err != nil || !result.Resumed || len(result.Installed) != 2 {
			t.Fatalf("%+v, %v", result, err)
		}
		d.well(t, 1, 1)
	})
}

// TestResumePINLocked: PIN2 is locked half-way through both: the eID lives on, and
// is fetched without the signing certificate. PIN1 is locked half-way: when it is
// unlocked the fetch goes on.
func TestResumePINLocked(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	t.Run("PIN2", func(t *testing.T) {
		d.newcomer(t)
		f, reopen := d.withPINs(t)
		d.equipped(t).withSigning(t)
		id := d.Ordered(d.holder, policy.OrderRenewal)
		d.least = 1
		for _, left := range []int{2, 1, 0} {
			reopen()
			f.pins[policy.Signing] = "000000"
			_, err := d.fetch()
			locked, ok := errors.AsType[token.LockedError](err)
			if !errors.Is(err, cardclient.ErrSigningPIN) || ok != (left == 0) || ok && locked.Slot != policy.Signing {
				t.Errorf("%d left: %v", left, err)
			}
		}
		reopen()
		c := d.program()
		c.WithoutSigning = true
		if _, err := c.Fetch(t.Context(), string(id), d.ui); err == nil || !strings.Contains(err.Error(), string(policy.DownloadOpen)) {
			t.Errorf("another plan is open: %v", err)
		}
		if _, err := d.program().Abandon(t.Context()); err != nil {
			t.Fatal(err)
		}
		result, err := c.Fetch(t.Context(), string(id), d.ui)
		if err != nil || len(result.Installed) != 1 || len(result.Kept) == 0 {
			t.Fatalf("%+v, %v", result, err)
		}
		if n, m := d.current(policy.Authentication), d.current(policy.Signing); n != 1 || m != 0 {
			t.Errorf("%d and %d are current", n, m)
		}
		if whole, rest := d.onCard(t, policy.Authentication); whole != 1 || rest != 0 {
			t.Errorf("authentication: %d whole, %d remains", whole, rest)
		}
		d.Sound()
		d.Truth()
	})
	t.Run("PIN1", func(t *testing.T) {
		d.newcomer(t).equipped(t)
		d.Ordered(d.holder, policy.OrderRenewal)
		d.least = 1
		locked := false
		d.card.fail = func(op string, _ int) error {
			if locked = locked || op == "generate"; locked && (op == "signer" || op == "generate" || strings.HasPrefix(op, "sign ")) {
				return token.LockedError{Slot: policy.Authentication}
			}
			return nil
		}
		for range 2 {
			if _, err := d.fetch(); !errors.Is(err, token.ErrPINLocked) {
				t.Errorf("%v, want a locked PIN", err)
			}
		}
		d.card.fail = nil
		result, err := d.fetch()
		if err != nil || !result.Resumed {
			t.Fatalf("%+v, %v", result, err)
		}
		d.well(t, 1, 0)
	})
}

// TestWrongPIN2IsPresentedOnce: whatever a run wants the signing PIN for, a wrong
// one costs one try in it.
func TestWrongPIN2IsPresentedOnce(t *testing.T) {
	once := func(t *testing.T, f *fingers, err error) {
		t.Helper()
		if n := len(slices.DeleteFunc(slices.Clone(f.asked), func(s policy.Slot) bool { return s != policy.Signing })); n != 1 {
			t.Errorf("presented %d times", n)
		}
		if pin, ok := errors.AsType[token.ErrPIN](err); !ok || pin.Left != 2 {
			t.Errorf("%v, want two tries left", err)
		}
	}
	t.Run("sweeping", func(t *testing.T) {
		d := newDesk(t)
		f, reopen := d.withPINs(t)
		d.equipped(t)
		d.orphan(t, policy.Signing)
		d.orphan(t, policy.Signing)
		reopen()
		f.pins[policy.Signing] = "000000"
		result, err := d.program().Sweep(t.Context(), yes)
		if err != nil || len(result.Kept) != 2 {
			t.Fatalf("%+v, %v", result, err)
		}
		once(t, f, result.Kept[0].Err)
	})
	t.Run("tidying, and then another fetch", func(t *testing.T) {
		d := newDesk(t)
		f, reopen := d.withPINs(t)
		d.equipped(t).withSigning(t)
		d.Ordered(d.holder, policy.OrderRenewal)
		d.card.fail = func(op string, _ int) error {
			if op == "delete" {
				return errors.New("does not delete")
			}
			return nil
		}
		if _, err := d.fetch(); err != nil {
			t.Fatal(err)
		}
		d.calm()
		d.Ordered(d.holder, policy.OrderRenewal)
		reopen()
		f.pins[policy.Signing] = "000000"
		_, err := d.fetch()
		once(t, f, err)
		reopen()
		if _, err := d.fetch(); err != nil {
			t.Fatal(err)
		}
		d.well(t, 1, 1)
	})
}
