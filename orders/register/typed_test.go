package register_test

import (
	"testing"
	"time"

	"sigill/ca"
	"sigill/orders/register"
	"sigill/policy"
)

// A personal number that somebody puts in the place of an identifier stands in no body
// of the log, only in the detail, which can be erased.
func TestPersonalNumbersStayOutOfTheLog(t *testing.T) {
	o := newOrganisation(t)
	ctx, c, typed := t.Context(), o.caller(o.one), "197001019990"
	if _, err := o.Register.EndRole(ctx, o.caller(o.nobody), o.Org, policy.PersonID(typed), policy.RoleReader); err == nil {
		t.Error("somebody without a right ended a role")
	}
	o.Pass(2 * time.Minute) // not told apart from what was refused in the same minute
	if _, err := o.Register.Card(ctx, c, policy.CardNumber(typed)); err == nil {
		t.Error("a card that is none was shown")
	}
	if _, err := o.Register.ListCards(ctx, c, policy.OrganisationID(typed), "", 10); err == nil {
		t.Error("cards of no organisation were shown")
	}
	if err := o.Downloads.RevokePerson(ctx, o.caller(o.nobody), policy.PersonID(typed), o.Org, ca.PrivilegeWithdrawn); err == nil {
		t.Error("somebody without a right revoked")
	}
	if _, err := o.Register.ImportDelivery(ctx, c, register.Delivery{Bureau: typed, Organisation: o.Org}); err == nil {
		t.Error("a delivery of no bureau was imported")
	}
	if n := o.Rows("events", "act = 'request.refused'"); n < 3 {
		t.Errorf("%d refusals are recorded", n)
	}
	if n := o.Rows("events", "instr(CAST(body AS TEXT), ?) > 0", typed); n != 0 {
		t.Errorf("%d bodies have the number", n)
	}
	if n := o.Rows("event_personal", "instr(value, ?) > 0", typed); n == 0 {
		t.Error("what was asked for is not told at all")
	}
}
