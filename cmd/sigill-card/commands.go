package main

import (
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
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
	ID     string `json:"id"`
	Slot   string `json:"slot"`
	Label  string `json:"label"`
	HasKey bool   `json:"hasKey"`
	// Leftover: this program made it, and it is not whole.
	Leftover    bool      `json:"leftover,omitempty"`
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
	l.Leftover = o.Made() && o.Slot != policy.Transport && (o.Certificate == nil || !o.HasKey || o.Damaged)
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
		if l.Leftover {
			what = a.say("leftover")
		}
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
		now, err := c.Compare(a.ctx)
		if err != nil {
			return err
		}
		return a.print(now.Me, func() {
			a.showMe(now.Me)
			a.showDifferences(now)
			a.showNotice(now.Me.Notice)
		})
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
	receiptFlag
}

func (r reportLossCmd) Run(a *app) error {
	if !r.Yes {
		a.note("wouldblock")
		return errTold
	}
	return a.client(func(c *cardclient.Client) error {
		var of []audit.Field
		if number := c.Card.Info().Number; number != "" { // not every card tells it
			of = []audit.Field{{Name: "card", Value: number}}
		}
		done, err := c.ReportLost(a.ctx)
		if err != nil {
			return err
		}
		out := struct {
			Blocked bool `json:"blocked"`
			*wire.Done
		}{true, done}
		return errors.Join(a.print(out, func() { a.printf("%s\n", a.say("blocked")) }),
			r.keep(a, done.Receipted, audit.CardBlocked, of...))
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
