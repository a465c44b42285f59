package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"text/tabwriter"
	"time"

	"sigill/ca"
	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// print writes v as JSON when that was asked for, or else calls text.
func (a *app) print(v any, text func()) error {
	if !a.flags.JSON {
		text()
		return nil
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// client opens card and server for a command and calls fn.
func (a *app) client(fn func(*cardclient.Client) error) error {
	if a.flags.Server == "" {
		return usageError{a.say("noserver")}
	}
	c := &cardclient.Client{Server: a.flags.Server, Version: version, Language: a.lang, SigningDone: func() { a.pins.drop(policy.Signing) }}
	if a.flags.LoginWith != "" {
		id, err := hex.DecodeString(a.flags.LoginWith)
		if err != nil || len(id) == 0 {
			return usageError{a.say("badid")}
		}
		c.LoginWith = id
	}
	if a.flags.CA != "" {
		text, err := os.ReadFile(a.flags.CA)
		if err != nil {
			return err
		}
		c.Roots = x509.NewCertPool()
		if !c.Roots.AppendCertsFromPEM(text) {
			root, err := x509.ParseCertificate(text) // as it is published: DER
			if err != nil {
				return fmt.Errorf("%s: %s", a.flags.CA, a.say("nopem"))
			}
			c.Roots.AddCert(root)
		}
	}
	card, err := a.openCard()
	if err != nil {
		return err
	}
	c.Card = card
	return errors.Join(fn(c), card.Close())
}

type listCmd struct{}

// listed is an object on the card in JSON.
type listed struct {
	ID          string    `json:"id"`
	Slot        string    `json:"slot"`
	Label       string    `json:"label"`
	HasKey      bool      `json:"hasKey"`
	Serial      string    `json:"serial,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Subject     string    `json:"subject,omitempty"`
	Issuer      string    `json:"issuer,omitempty"`
	NotBefore   time.Time `json:"notBefore,omitzero"`
	NotAfter    time.Time `json:"notAfter,omitzero"`
}

func (listCmd) Run(a *app) error {
	card, err := a.openCard()
	if err != nil {
		return err
	}
	defer card.Close()
	objects, err := card.Objects(a.ctx)
	if err != nil {
		return err
	}
	all := make([]listed, 0, len(objects))
	for _, o := range objects {
		all = append(all, describe(o))
	}
	info := card.Info()
	return a.print(struct {
		Number  string   `json:"number"`
		Product string   `json:"product"`
		Label   string   `json:"label"`
		Serial  string   `json:"serial"`
		Objects []listed `json:"objects"`
	}{info.Number, info.Product, info.Label, info.Serial, all}, func() { a.showCard(info, all) })
}

func describe(o token.Object) listed {
	l := listed{ID: hex.EncodeToString(o.ID), Slot: string(o.Slot), Label: o.Label, HasKey: o.HasKey}
	if cert, err := x509.ParseCertificate(o.Certificate); err == nil {
		l.Serial = fmt.Sprintf("%032x", cert.SerialNumber)
		l.Fingerprint = ca.FingerprintOf(o.Certificate).String()
		l.Subject, l.Issuer = cert.Subject.String(), cert.Issuer.CommonName
		l.NotBefore, l.NotAfter = cert.NotBefore, cert.NotAfter
	}
	return l
}

func (a *app) showCard(info token.Info, all []listed) {
	a.printf("%s %s  %s\n", a.say("card.word"), clean(info.Number), clean(info.Label))
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, l := range all {
		what := a.say("nocertificate")
		if l.Serial != "" {
			what = fmt.Sprintf("%s\t%s – %s\t%s", l.Serial, l.NotBefore.Format(time.DateOnly), l.NotAfter.Format(time.DateOnly), clean(l.Issuer))
			if now := time.Now(); now.Before(l.NotBefore) || !now.Before(l.NotAfter) {
				what += "\t" + a.say("notvalid")
			}
		}
		if !l.HasKey {
			what += "\t" + a.say("nokey")
		}
		fmt.Fprintf(w, "  %s\t%s\n", a.say("slot."+l.Slot), what)
	}
}

type loginCmd struct{}

func (loginCmd) Run(a *app) error {
	return a.client(func(c *cardclient.Client) error {
		me, err := c.Me(a.ctx, cardclient.Identity{})
		if err != nil {
			return err
		}
		return a.print(me, func() { a.showMe(me) })
	})
}

func (a *app) showMe(me *wire.Me) {
	a.printf("%s\n", a.say("loggedin", clean(me.Name), clean(me.Card), a.say("slot."+me.LoggedInWith)))
	for _, e := range me.EIDs {
		a.printf("  eID  %s  %s  %s  LoA %d  %s\n", clean(e.Organisation), clean(e.IDKind), clean(e.Identifier), e.LoA, a.state(e.State))
		for _, cert := range e.Certificates {
			a.printf("       %s  %s  %s  %s\n", a.say("slot."+cert.Slot), clean(cert.Serial), cert.NotAfter.Format(time.DateOnly), a.state(cert.State))
		}
	}
	for _, o := range me.Offers {
		a.printf("  %s\n", a.say("offer", clean(o.Order), clean(o.Organisation), clean(o.IDKind), o.LoA, o.ExpiresAt.Format(time.DateOnly)))
	}
	if me.Open != nil {
		key := "open"
		if me.Open.Order == "" {
			key = "open.signing"
		}
		a.printf("  %s\n", a.say(key, clean(cmp.Or(me.Open.Order, me.Open.ID))))
	}
}

type fetchCmd struct {
	Order          string `placeholder:"ORDER" help:"${order}"`
	WithoutSigning bool   `help:"${withoutsigning}"`
	Yes            bool   `help:"${yes}"`
}

func (f fetchCmd) Run(a *app) error {
	return a.client(func(c *cardclient.Client) error {
		c.WithoutSigning = f.WithoutSigning
		result, err := c.Fetch(a.ctx, f.Order, &face{a, c, f.Yes})
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
		return a.ended(c, result)
	})
}

// ended tells what a run did.
func (a *app) ended(c *cardclient.Client, result *cardclient.Result) error {
	return a.print(fetched(result), func() { a.showResult(result) })
}

// fetched is a result in JSON.
func fetched(r *cardclient.Result) any {
	type installed struct {
		Slot        string    `json:"slot"`
		Serial      string    `json:"serial"`
		Fingerprint string    `json:"fingerprint"`
		NotAfter    time.Time `json:"notAfter"`
	}
	out := struct {
		Card      string      `json:"card"`
		Download  string      `json:"download,omitempty"`
		Order     string      `json:"order,omitempty"`
		Resumed   bool        `json:"resumed"`
		Installed []installed `json:"installed"`
		Removed   []string    `json:"removed"`
	}{r.Card, r.Download, r.Order, r.Resumed, []installed{}, append([]string{}, r.Removed...)}
	for _, in := range r.Installed {
		out.Installed = append(out.Installed, installed{string(in.Slot), in.Serial, in.Fingerprint, in.NotAfter})
	}
	return out
}

func (a *app) showResult(r *cardclient.Result) {
	for _, in := range r.Installed {
		a.printf("%s\n", a.say("installed", a.say("slot."+string(in.Slot)), in.Serial, in.NotAfter.Format(time.DateOnly)))
	}
	if len(r.Removed) > 0 {
		a.printf("%s\n", a.say("removed", len(r.Removed)))
	}
	a.printf("%s\n", a.say("finished", clean(r.Card)))
}

// face is the holder's face of a run.
type face struct {
	*app
	client *cardclient.Client
	yes    bool
}

// Approve implements [cardclient.UI].
func (t *face) Approve(_ context.Context, me *wire.Me, plan policy.Plan) (bool, error) {
	_, hash := plan.Bytes()
	t.note("plan", clean(me.Name), clean(string(plan.Card)))
	for _, add := range plan.Adds {
		t.note("plan.add", t.say("slot."+string(add.Slot)), clean(add.Content.CommonName), clean(add.Content.Organisation),
			clean(add.Content.SerialNumber), add.LoA, add.NotAfter.Format(time.DateOnly))
		for _, v := range []string{add.Content.Email, add.Content.UPN} {
			if v != "" {
				fmt.Fprintf(t.notes, "       %s\n", clean(v))
			}
		}
	}
	for _, rm := range plan.Removes {
		t.note("plan.remove", t.say("slot."+string(rm.Slot)), clean(rm.Serial), rm.NotAfter.Format(time.DateOnly))
	}
	t.becomes(plan)
	t.note("plan.pending", plan.PendingUntil.Format(time.RFC3339))
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

// becomes says what becomes of the eID's signing certificate: holders miss it
// when it is gone, and then it is too late to ask.
func (t *face) becomes(plan policy.Plan) {
	_, comes := plan.Addition(policy.Signing)
	goes := slices.ContainsFunc(plan.Removes, func(r policy.Removal) bool { return r.Slot == policy.Signing })
	switch {
	case comes && goes:
		t.note("plan.signing.replaced")
	case comes:
		t.note("plan.signing.comes")
	case goes:
		t.note("plan.signing.goes")
	default:
		t.note("plan.signing.none")
	}
}

// Progress implements [cardclient.UI].
func (t *face) Progress(step string, slot policy.Slot) {
	if slot == "" {
		t.note("step." + step)
		return
	}
	t.note("step."+step, t.say("slot."+string(slot)))
}

type abandonCmd struct{}

func (abandonCmd) Run(a *app) error {
	return a.client(func(c *cardclient.Client) error {
		id, err := c.Abandon(a.ctx)
		if err != nil {
			return err
		}
		return a.print(map[string]string{"download": id}, func() { a.printf("%s\n", a.say("abandoned", clean(id))) })
	})
}

type reportLossCmd struct {
	Yes bool `help:"${yesloss}"`
}

func (r reportLossCmd) Run(a *app) error {
	if !r.Yes {
		a.note("wouldblock")
		return errTold
	}
	return a.client(func(c *cardclient.Client) error {
		if err := c.ReportLost(a.ctx); err != nil {
			return err
		}
		return a.print(map[string]bool{"blocked": true}, func() { a.printf("%s\n", a.say("blocked")) })
	})
}

type selfTestCmd struct{}

func (selfTestCmd) Run(a *app) error {
	type line struct {
		Check  string `json:"check"`
		Passed bool   `json:"passed"`
		Detail string `json:"detail"`
		Error  string `json:"error,omitempty"`
	}
	return a.client(func(c *cardclient.Client) error {
		lines := []line{}
		ok := c.SelfTest(a.ctx, func(check cardclient.Check) {
			l := line{Check: check.Name, Passed: check.Err == nil, Detail: clean(check.Detail)}
			if check.Err != nil {
				l.Error = a.explain(check.Err)
			}
			lines = append(lines, l)
			if a.flags.JSON {
				return
			}
			mark := "ok"
			if !l.Passed {
				mark = a.say("failed")
			}
			a.printf("%-6s %s  %s\n", mark, a.say("check."+l.Check), l.Detail)
			if !l.Passed {
				a.printf("       %s\n", l.Error)
			}
		})
		if err := a.print(lines, func() {}); err != nil {
			return err
		}
		if !ok {
			return errTold
		}
		if !a.flags.JSON {
			a.printf("%s\n", a.say("healthy"))
		}
		return nil
	})
}

type versionCmd struct{}

func (versionCmd) Run(a *app) error {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return a.print(map[string]string{"version": version, "revision": revision}, func() { a.printf("sigill-card %s %s\n", version, revision) })
}
