package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"sigill/internal/app"
	"sigill/internal/retention"
)

// retentionCmd works on the installation's database, as the service does by itself once
// a day.
type retentionCmd struct {
	Show retentionShowCmd `cmd:"" default:"withargs" help:"Print what is due to be erased, and change nothing."`
	Run  retentionRunCmd  `cmd:"" help:"Erase what is due, now. The service does so by itself once a day."`
}

type retentionShowCmd struct {
	dirFlag
	DryRun bool `name:"dry-run" help:"What it does anyway."`
}

// Help implements kong.HelpProvider.
func (retentionShowCmd) Help() string {
	return `Log-ins and refusals end after 18 months; what belongs to a card ten years after the
card has expired; personal values of other acts when no certificate that they are about
can have expired less than ten years ago.

  sigill retention --dry-run --dir D`
}

// Run implements kong's command.
func (c *retentionShowCmd) Run(g *globals) error {
	report, err := app.Retain(g.ctx, c.Dir, app.Retaining{Dry: true}, time.Now)
	return printRetention(g, report, err, "due")
}

type retentionRunCmd struct {
	dirFlag
	ClockIsRight bool `name:"clock-is-right" help:"You have looked at this machine's clock. Needed where no server of time answers and the log has no record between 45 and 90 days old: what a clock that is ahead erases does not come back."`
}

// Run implements kong's command.
func (c *retentionRunCmd) Run(g *globals) error {
	report, err := app.Retain(g.ctx, c.Dir, app.Retaining{ClockIsRight: c.ClockIsRight}, time.Now)
	return printRetention(g, report, err, "erased")
}

// printRetention tells what was done, also before an error.
func printRetention(g *globals, report retention.Report, err error, done string) error {
	if len(report) > 0 {
		lines := [][]string{{"what", "older than", done, "left", ""}}
		for _, l := range report {
			more := ""
			if l.More {
				more = "there is more"
			}
			lines = append(lines, []string{l.What, l.Through.Format(time.DateOnly), strconv.FormatInt(l.Count, 10), strconv.FormatInt(l.Left, 10), more})
		}
		if print := g.print(report, table(lines...)); err == nil {
			err = print
		}
	}
	if err != nil {
		if errors.Is(err, retention.ErrClock) {
			return fmt.Errorf("%w: nothing was erased. Look at the clock; if it is right, say --clock-is-right", err)
		}
		return fmt.Errorf("%w: what was erased before is told in the log; run it again", err)
	}
	return nil
}
