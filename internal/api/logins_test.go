package api_test

import (
	"testing"

	"sigill/internal/audit"
	"sigill/internal/wire"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
)

// TestLogInIsRecordedBeforeTheAnswer: who reads has been recorded, and who cannot be
// recorded reads nothing.
func TestLogInIsRecordedBeforeTheAnswer(t *testing.T) {
	c := serveUnder(t)
	h := c.Holder()
	before := len(c.Told(audit.LoginAccepted))
	c.Faults.FailUpdate(1, fault.NotBegun, nil)
	if a := c.do(c.as(h), "GET", "/card/v1/me", nil); a.StatusCode != 500 {
		t.Errorf("the log-in could not be recorded, and the answer is %d", a.StatusCode)
	}
	if n := len(c.Told(audit.LoginAccepted)) - before; n != 0 {
		t.Errorf("%d log-ins are recorded", n)
	}
	c.Faults.Clear()
	for range 3 {
		c.do(c.as(h), "GET", "/card/v1/me", nil).read(t, new(wire.Me))
	}
	all := c.Told(audit.LoginAccepted)
	if len(all) != before+1 {
		t.Fatalf("%d log-ins are recorded of three requests", len(all)-before)
	}
	if b := all[before]; b.By != string(h.Person) || worldtest.Value(b, "listener") != "card" {
		t.Errorf("the log-in says %+v", b)
	}
}

// TestRevokingDoesNotWaitForItsLogIn: a card is blocked although its log-in cannot be
// recorded; and where it is known that the database does not do all that it should,
// who has to look before he blocks is let look.
func TestRevokingDoesNotWaitForItsLogIn(t *testing.T) {
	c := serveUnder(t)
	lost, looks := c.Holder(), c.Holder()
	before := len(c.Told(audit.LoginAccepted))
	c.Faults.FailUpdate(1, fault.NotBegun, nil)
	c.do(c.as(lost), "POST", "/card/v1/block", wire.Block{Reason: "lost"}).read(t, new(struct{}))
	if c.Working(lost) != 0 {
		t.Error("the eID on a blocked card works")
	}
	blocked := c.Told(audit.CardBlocked)
	if b := blocked[len(blocked)-1]; b.By != string(lost.Person) || worldtest.Value(b, "card") != string(lost.Card) {
		t.Errorf("the block says %+v", b)
	}
	c.free.Store(10)
	c.keeper.Look(t.Context())
	c.Faults.FailUpdate(1, fault.NotBegun, nil)
	c.do(c.as(looks), "GET", "/card/v1/me", nil).read(t, new(wire.Me))
	if n := len(c.Told(audit.LoginAccepted)) - before; n != 0 {
		t.Errorf("%d log-ins are recorded", n)
	}
	// Once there is room again, they are.
	c.Faults.Clear()
	c.do(c.as(looks), "GET", "/card/v1/me", nil).read(t, new(wire.Me))
	if n := len(c.Told(audit.LoginAccepted)) - before; n != 1 {
		t.Errorf("%d log-ins are recorded", n)
	}
}
