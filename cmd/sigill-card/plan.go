package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"sigill/internal/cardclient"
	"sigill/internal/wire"
	"sigill/policy"
)

// face is the holder's face of a run.
type face struct {
	*app
	client *cardclient.Client
	yes    bool
	// alone: only a signing certificate is new, and it does not log in.
	alone bool
}

// Approve implements [cardclient.UI].
func (t *face) Approve(_ context.Context, me *wire.Me, plan policy.Plan) (bool, error) {
	_, hash := plan.Bytes()
	t.alone = plan.EID != ""
	t.note("plan", clean(me.Name), clean(string(plan.Card)))
	for _, add := range plan.Adds {
		t.note("plan.add", t.say("slot."+string(add.Slot)), clean(add.Content.CommonName), clean(add.Content.Organisation),
			clean(identifier(add)), add.LoA, add.NotAfter.Format(time.DateOnly))
		for _, v := range []string{add.Content.Email, add.Content.UPN} {
			if v != "" && (v != add.Content.UPN || add.Slot == policy.Authentication) { // UPN is for logging on
				fmt.Fprintf(t.notes, "       %s\n", clean(v))
			}
		}
	}
	for _, rm := range plan.Removes {
		t.note("plan.remove", t.say("slot."+string(rm.Slot)), clean(rm.Serial), rm.NotAfter.Format(time.DateOnly))
	}
	t.becomes(plan)
	if len(plan.Removes) > 0 {
		t.note("plan.pending", plan.PendingUntil.Format(time.RFC3339))
	} else {
		t.note("plan.first", plan.PendingUntil.Format(time.RFC3339))
	}
	t.note("plan.hash", hex.EncodeToString(hash[:]))
	t.note("stay")
	if _, signs := plan.Addition(policy.Signing); signs && plan.EID == "" && t.client.Card.Info().SigningPIN {
		t.note("pin2.needed")
		t.explainPIN2(policy.PIN2(me.PIN2))
	}
	if t.yes {
		return true, nil
	}
	return t.confirm("goon")
}

// identifier is what an eID carries of its holder. Whoever looks over a shoulder
// gets no whole personnummer.
func identifier(add policy.Addition) string {
	if add.IDKind == policy.ByPersonNumber {
		return policy.PersonNumber(add.Content.SerialNumber).String()
	}
	return add.Content.SerialNumber
}

// becomes says what becomes of the eID's signing certificate: holders miss it
// when it is gone, and then it is too late to ask.
func (t *face) becomes(plan policy.Plan) {
	_, comes := plan.Addition(policy.Signing)
	goes := slices.ContainsFunc(plan.Removes, func(r policy.Removal) bool { return r.Slot == policy.Signing })
	anew := slices.ContainsFunc(plan.Removes, func(r policy.Removal) bool { return r.FetchAnew })
	switch {
	case comes && goes:
		t.note("plan.signing.replaced")
	case comes:
		t.note("plan.signing.comes")
	case goes && anew:
		t.note("plan.signing.goes")
	case goes:
		t.note("plan.signing.off")
	default:
		t.note("plan.signing.none")
	}
}

// Progress implements [cardclient.UI].
func (t *face) Progress(step string, slot policy.Slot) {
	if t.alone && step == cardclient.StepConfirmed {
		step += ".signing"
	}
	if slot == "" {
		t.note("step." + step)
		return
	}
	t.note("step."+step, t.say("slot."+string(slot)))
}
