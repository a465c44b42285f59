package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"sigill/internal/config"
	"sigill/internal/mode"
)

// outageCmd announces planned outages. It works on a file in the installation's
// directory and opens neither database nor keys: it is needed most when those do
// not work. Nobody's card is asked for: who may write the file could also stop
// the service.
type outageCmd struct {
	Begin outageBeginCmd `cmd:"" help:"Stop issuing, announced; revoking, confirming and status go on. An outage in effect is replaced."`
	End   outageEndCmd   `cmd:"" help:"Let issuing go on."`
	Show  outageShowCmd  `cmd:"" help:"Show the outage in effect, or the last one."`
}

type outageBeginCmd struct {
	dirFlag
	Until    string `required:"" placeholder:"TIME" help:"When it is expected to be over: 2h, 90m, '2026-05-01 18:00' (this machine's time) or RFC 3339. Issuing does not begin again by itself."`
	ReasonSV string `required:"" name:"reason-sv" placeholder:"TEXT" help:"Why, in Swedish, as holders read it."`
	ReasonEN string `required:"" name:"reason-en" placeholder:"TEXT" help:"Why, in English."`
}

func (c *outageBeginCmd) Run(g *globals) error {
	dir, err := installation(c.Dir)
	if err != nil {
		return err
	}
	now := time.Now()
	until, err := parseUntil(c.Until, now)
	if err != nil {
		return usageError{"--until: " + err.Error()}
	}
	n, err := mode.Begin(dir, mode.Notice{Begun: now, Until: until, ReasonSV: c.ReasonSV, ReasonEN: c.ReasonEN, By: account()})
	if err != nil {
		return err
	}
	return g.print(n, fmt.Sprintf("Outage %s begins. Within a second nothing new is issued; revoking, confirming and status go on.\nExpected to be over at %s, and to be ended by: sigill outage end --dir %s\n",
		n.ID, n.Until.Format(time.RFC3339), c.Dir))
}

type outageEndCmd struct{ dirFlag }

func (c *outageEndCmd) Run(g *globals) error {
	dir, err := installation(c.Dir)
	if err != nil {
		return err
	}
	n, err := mode.End(dir, time.Now())
	if err != nil {
		return err
	}
	return g.print(n, fmt.Sprintf("Outage %s is over; within a second issuing goes on.\n", n.ID))
}

type outageShowCmd struct{ dirFlag }

func (c *outageShowCmd) Run(g *globals) error {
	dir, err := installation(c.Dir)
	if err != nil {
		return err
	}
	n, err := mode.ReadNotice(dir)
	if err != nil {
		return fmt.Errorf("%w: while it cannot be read nothing is issued; begin or remove it", err)
	}
	if n.ID == "" {
		return g.print(struct{}{}, "No outage was ever announced.\n")
	}
	state := "in effect since " + n.Begun.Format(time.RFC3339)
	if !n.Active() {
		state = "over since " + n.Ended.Format(time.RFC3339)
	}
	return g.print(n, fmt.Sprintf("Outage %s by %s: %s\n  expected to be over at %s\n  sv: %s\n  en: %s\n", n.ID, n.By, state, n.Until.Format(time.RFC3339), n.ReasonSV, n.ReasonEN))
}

// installation returns the directory of an installation, which it must be: an
// announcement elsewhere would be heard by nobody.
func installation(dir string) (string, error) {
	cfg, err := config.Load(dir)
	if err != nil {
		return "", err
	}
	return cfg.Dir, nil
}

// parseUntil reads a length of time, or a time.
func parseUntil(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		if d <= 0 {
			return time.Time{}, errors.New("it must lie ahead")
		}
		return now.Add(d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.ParseInLocation("2006-01-02 15:04", text, now.Location())
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not 2h, '2026-05-01 18:00' or 2026-05-01T18:00:00+02:00", text)
	}
	if !at.After(now) {
		return time.Time{}, errors.New("it must lie ahead")
	}
	return at, nil
}

// account names who is at the keyboard, as far as the machine knows.
func account() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
