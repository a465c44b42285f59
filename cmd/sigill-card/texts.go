package main

import (
	"errors"
	"fmt"

	"sigill/internal/cardclient"
	"sigill/internal/terminal"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// text is one text in both languages; a test holds that their verbs agree.
type text struct{ sv, en string }

// say returns a text in a language. An unknown key is shown as it is: the words
// of the protocol ("current") are such keys too, and newer ones must not fail.
func say(lang, key string, args ...any) string {
	t, ok := texts[key]
	if !ok {
		return clean(key)
	}
	s := t.en
	if lang == "sv" {
		s = t.sv
	}
	if len(args) == 0 {
		return s
	}
	return fmt.Sprintf(s, args...)
}

func (a *app) state(s string) string { return a.say("state." + s) }

// clean is for every text that is not the program's own.
func clean(s string) string { return terminal.Clean(s) }

// explain says what is wrong and what to do now.
func (a *app) explain(err error) string {
	if errors.Is(err, cardclient.ErrEnded) {
		return a.say("err.ended")
	}
	var problem *wire.Problem
	if errors.As(err, &problem) {
		return clean(problem.Error())
	}
	if text := a.explainPIN(err); text != "" {
		return text
	}
	for _, e := range []struct {
		err error
		key string
	}{
		{token.ErrNoCard, "err.nocard"},
		{cardclient.ErrNoCertificate, "err.nocertificate"}, {cardclient.ErrNothing, "err.nothing"},
		{cardclient.ErrDeclined, "err.declined"}, {cardclient.ErrClientTooOld, "err.old"},
		{cardclient.ErrPlan, "err.plan"}, {cardclient.ErrCertificate, "err.certificate"},
		{cardclient.ErrReadBack, "err.readback"}, {cardclient.ErrKeyElsewhere, "err.elsewhere"},
		{cardclient.ErrOtherOpen, "err.otheropen"}, {cardclient.ErrOtherCard, "err.othercard"},
		{cardclient.ErrNoneOpen, "err.noneopen"}, {cardclient.ErrInspected, "err.inspected"},
		{cardclient.ErrNotValidNow, "err.notvalid"}, {cardclient.ErrWrite, "err.write"},
		{cardclient.ErrNoSigning, "err.nosigning"}, {cardclient.ErrNoSuchEID, "err.noeid"},
		{cardclient.ErrStillSigning, "err.still"}, {cardclient.ErrSweepOpen, "err.sweepopen"},
	} {
		if errors.Is(err, e.err) {
			return a.say(e.key) + " (" + clean(err.Error()) + ")"
		}
	}
	return clean(err.Error())
}

// explainPIN says what a wrong or locked PIN means, or nothing if err is about
// none. Every such failure leaves what was there before; what a run has begun it
// goes on with.
func (a *app) explainPIN(err error) string {
	text := ""
	if pin, ok := errors.AsType[token.ErrPIN](err); ok {
		slot := a.say("slot." + string(policy.Authentication))
		if pin.Slot == policy.Signing { // one PIN opens all the others
			slot = a.say("slot." + string(pin.Slot))
		}
		if pin.Left < 0 {
			text = a.say("err.pin", slot)
		} else {
			text = a.say("err.pinleft", slot, pin.Left)
		}
	} else if locked, ok := errors.AsType[token.LockedError](err); ok && locked.Slot == policy.Signing {
		text = a.say("err.pin2locked")
	} else if errors.Is(err, token.ErrPINLocked) {
		return a.say("err.pinlocked")
	}
	switch {
	case text == "":
		return ""
	case errors.Is(err, cardclient.ErrSigningPIN):
		return text + ". " + a.say("err.withoutsigning")
	}
	return text + ". " + a.say("err.pinnothing")
}

// helpTexts are the texts that the command line's tags name.
func helpTexts(lang string) map[string]string {
	vars := map[string]string{}
	for _, key := range []string{"card", "server", "ca", "pinfd", "loginwith", "lang", "json", "list", "login", "fetch", "abandon",
		"reportloss", "selftest", "version", "order", "yes", "yesloss", "signcert", "eid", "withoutsigning", "existing", "sweep", "yessweep", "receipt"} {
		vars[key] = say(lang, "help."+key)
	}
	return vars
}
