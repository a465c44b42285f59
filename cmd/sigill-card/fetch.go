package main

import (
	"errors"
	"fmt"
	"time"

	"sigill/internal/cardclient"
	"sigill/internal/wire"
)

type fetchCmd struct {
	Order          string `placeholder:"ORDER" help:"${order}"`
	Existing       bool   `help:"${existing}"`
	WithoutSigning bool   `help:"${withoutsigning}"`
	Yes            bool   `help:"${yes}"`
	receiptFlag
}

func (f fetchCmd) Run(a *app) error {
	if f.Existing && (f.Order != "" || f.WithoutSigning || f.Receipt != "") {
		return usageError{a.say("existingalone")}
	}
	return a.client(func(c *cardclient.Client) error {
		if f.Existing {
			return a.existing(c)
		}
		c.WithoutSigning = f.WithoutSigning
		result, err := c.Fetch(a.ctx, f.Order, &face{app: a, client: c, yes: f.Yes})
		if choose, ok := errors.AsType[*cardclient.ChooseError](err); ok {
			a.note("choose")
			for _, o := range choose.Offers {
				fmt.Fprintf(a.notes, "  --order %s  %s  %s  LoA %d\n", clean(o.Order), clean(o.Organisation), clean(o.IDKind), o.LoA)
			}
			return errTold
		}
		if err != nil {
			return err
		}
		return errors.Join(a.ended(c, result), f.keepFetched(a, result))
	})
}

// ended tells what a run did, what waits further, and in what card and server
// differ. That the latter can't be asked for any more makes no run a failed one.
func (a *app) ended(c *cardclient.Client, result *cardclient.Result) error {
	now, err := c.Compare(a.ctx)
	if err != nil {
		now = &cardclient.Standing{Me: &wire.Me{}}
		a.note("notcompared", a.explain(err))
	}
	return a.print(fetched(result, now), func() { a.showResult(result, now) })
}

// fetched is a result in JSON.
func fetched(r *cardclient.Result, now *cardclient.Standing) any {
	type installed struct {
		Slot        string    `json:"slot"`
		Serial      string    `json:"serial"`
		Fingerprint string    `json:"fingerprint"`
		NotAfter    time.Time `json:"notAfter"`
	}
	type kept struct {
		ID          string `json:"id,omitempty"`
		Fingerprint string `json:"fingerprint,omitempty"`
		Error       string `json:"error"`
	}
	out := struct {
		Card        string       `json:"card"`
		Download    string       `json:"download,omitempty"`
		Order       string       `json:"order,omitempty"`
		Resumed     bool         `json:"resumed"`
		Installed   []installed  `json:"installed"`
		Removed     []string     `json:"removed"`
		Kept        []kept       `json:"kept"`
		Repaired    []string     `json:"repaired"`
		Swept       int          `json:"swept"`
		Offers      []wire.Offer `json:"offers"`
		Differences []difference `json:"differences"`
		wire.Receipted
	}{r.Card, r.Download, r.Order, r.Resumed, []installed{}, append([]string{}, r.Removed...), []kept{}, append([]string{}, r.Repaired...),
		r.Swept, append([]wire.Offer{}, now.Me.Offers...), differences(now), r.Receipted}
	for _, in := range r.Installed {
		out.Installed = append(out.Installed, installed{string(in.Slot), in.Serial, in.Fingerprint, in.NotAfter})
	}
	for _, k := range r.Kept {
		out.Kept = append(out.Kept, kept{fmt.Sprintf("%x", k.ID), k.Fingerprint, clean(k.Err.Error())})
	}
	return out
}

// difference is one in JSON.
type difference struct {
	Kind         string `json:"kind"`
	Organisation string `json:"organisation,omitempty"`
	Slot         string `json:"slot"`
	Serial       string `json:"serial"`
	State        string `json:"state,omitempty"`
}

func differences(now *cardclient.Standing) []difference {
	all := []difference{}
	for _, d := range now.Differences {
		all = append(all, difference{d.Kind, d.Organisation, string(d.Slot), d.Serial, d.State})
	}
	return all
}

func (a *app) showResult(r *cardclient.Result, now *cardclient.Standing) {
	for _, in := range r.Installed {
		a.printf("%s\n", a.say("installed", a.say("slot."+string(in.Slot)), in.Serial, in.NotAfter.Format(time.DateOnly)))
	}
	if len(r.Removed) > 0 {
		a.printf("%s\n", a.say("removed", len(r.Removed)))
	}
	a.showMended(r)
	a.printf("%s\n", a.say("finished", clean(r.Card)))
	a.showStanding(now)
}

// showMended tells what was mended and swept on the way, and what stays.
func (a *app) showMended(r *cardclient.Result) {
	if len(r.Repaired) > 0 {
		a.printf("%s\n", a.say("repaired", len(r.Repaired)))
	}
	if r.Swept > 0 {
		a.printf("%s\n", a.say("swept", r.Swept))
	}
	for _, k := range r.Kept {
		what := a.say("slot." + string(k.Slot))
		if errors.Is(k.Err, cardclient.ErrNotReported) {
			a.note("kept.report")
		} else if k.ID == nil {
			a.note("kept.unread", a.explain(k.Err))
		} else if errors.Is(k.Err, cardclient.ErrNotAsked) {
			a.note("kept.pin2", what)
		} else {
			a.note("kept", what, a.explain(k.Err))
		}
	}
}

// showStanding tells what waits further, and differences.
func (a *app) showStanding(now *cardclient.Standing) {
	a.showNotice(now.Me.Notice)
	if len(now.Me.Offers) > 0 {
		a.printf("%s\n", a.say("offers"))
	}
	for _, o := range now.Me.Offers {
		a.printf("  %s\n", a.say("offer", clean(o.Order), clean(o.Organisation), clean(o.IDKind), o.LoA, o.ExpiresAt.Format(time.DateOnly)))
	}
	a.showDifferences(now)
}

// showNotice tells what the service does not do right now.
func (a *app) showNotice(n *wire.Notice) {
	if n == nil {
		return
	}
	for _, text := range []string{n.Title, n.Text, n.Next} {
		if text != "" {
			a.printf("%s\n", clean(text))
		}
	}
	if !n.Until.IsZero() {
		a.printf("%s\n", a.say("noticeuntil", n.Until.Local().Format("2006-01-02 15:04")))
	}
}

func (a *app) showDifferences(now *cardclient.Standing) {
	if len(now.Differences) > 0 {
		a.printf("%s\n", a.say("differences"))
	}
	for _, d := range now.Differences {
		a.printf("  %s\n", a.say("diff."+d.Kind, a.say("slot."+string(d.Slot)), clean(d.Serial), clean(d.Organisation)))
	}
}

// existing writes current certificates to the card again.
func (a *app) existing(c *cardclient.Client) error {
	e, err := c.FetchExisting(a.ctx)
	if err != nil {
		return err
	}
	type line struct {
		Organisation string `json:"organisation"`
		Slot         string `json:"slot"`
		Serial       string `json:"serial"`
		Error        string `json:"error,omitempty"`
	}
	out := struct {
		Card    string `json:"card"`
		Written []line `json:"written"`
		There   []line `json:"there"`
		Missing []line `json:"missing"`
		Failed  []line `json:"failed"`
	}{e.Card, []line{}, []line{}, []line{}, []line{}}
	add := func(to *[]line, text string, n cardclient.Current, err error) {
		l := line{Organisation: n.Organisation, Slot: string(n.Slot), Serial: n.Serial}
		args := []any{a.say("slot." + string(n.Slot)), clean(n.Serial), clean(n.Organisation)}
		if err != nil {
			l.Error = clean(err.Error())
			args = append(args, a.explain(err))
		}
		*to = append(*to, l)
		if !a.flags.JSON {
			a.printf("%s\n", a.say(text, args...))
		}
	}
	for _, n := range e.Written {
		add(&out.Written, "existing.written", n, nil)
	}
	for _, n := range e.There {
		add(&out.There, "existing.there", n, nil)
	}
	for _, n := range e.Missing {
		add(&out.Missing, "existing.missing", n, nil)
	}
	for _, f := range e.Failed {
		add(&out.Failed, "existing.failed", f.Current, f.Err)
	}
	if err := a.print(out, func() {
		if len(e.Written)+len(e.There)+len(e.Missing)+len(e.Failed) == 0 {
			a.printf("%s\n", a.say("existing.none"))
		}
	}); err != nil {
		return err
	}
	if len(e.Failed) > 0 {
		return errTold
	}
	return nil
}

type sweepCmd struct {
	Yes bool `help:"${yessweep}"`
}

func (s sweepCmd) Run(a *app) error {
	return a.client(func(c *cardclient.Client) error {
		found := 0
		result, err := c.Sweep(a.ctx, func(all []cardclient.Leftover) (bool, error) {
			found = len(all)
			for _, l := range all {
				a.note("left."+l.Kind, a.say("slot."+string(l.Slot)), fmt.Sprintf("%x", l.ID), l.Count)
			}
			if s.Yes {
				return true, nil
			}
			return a.confirm("gosweep")
		})
		if err != nil {
			return err
		}
		return a.print(fetched(result, &cardclient.Standing{Me: &wire.Me{}}), func() {
			a.showMended(result)
			if found+len(result.Repaired) == 0 {
				a.printf("%s\n", a.say("nothingleft"))
			}
		})
	})
}
