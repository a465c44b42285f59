package main

import (
	"strconv"

	"sigill/internal/adminclient"
)

type whoamiCmd struct{ ownCard }

// Help implements kong.HelpProvider.
func (whoamiCmd) Help() string {
	return `  sigill whoami --identity soft:anna.card
  sigill whoami --identity 'pkcs11:module-path=/usr/lib/libiidp11.so;token=card' --json`
}

func (c *whoamiCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		me, err := a.WhoAmI(g.ctx)
		if err != nil {
			return err
		}
		level := ""
		if me.LoA > 0 {
			level = strconv.Itoa(me.LoA)
		}
		text := facts("you are", me.Name, "name", me.DisplayName, "card", me.Card, "level of assurance", level,
			"logged in with", me.LoggedInWith, "certificate", me.Certificate)
		for _, r := range me.Roles {
			text += facts("role", r.Role+" of "+r.Organisation)
		}
		return g.print(me, text)
	})
}
