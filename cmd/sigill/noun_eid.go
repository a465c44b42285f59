package main

import (
	"errors"
	"strconv"

	"sigill/internal/cardclient"
)

type eidCmd struct {
	List eidListCmd `cmd:"" help:"List the eIDs and certificates of your own card."`
}

type eidListCmd struct{ ownCard }

func (c *eidListCmd) Run(g *globals) error {
	s, err := c.open(g)
	if err != nil {
		return err
	}
	return errors.Join(c.list(s), s.close())
}

func (c *eidListCmd) list(s *session) error {
	card, err := s.card(c.Identity)
	if err != nil {
		return err
	}
	client := &cardclient.Client{Server: s.flags.Server, Roots: s.roots, Card: card, Version: version, Language: s.lang}
	if client.LoginWith, err = c.object(); err != nil {
		return err
	}
	me, err := client.Me(s.ctx, cardclient.Identity{})
	if err != nil {
		return err
	}
	lines := [][]string{{"organisation", "id kind", "LoA", "slot", "serial", "state", "valid until"}}
	for _, e := range me.EIDs {
		for _, cert := range e.Certificates {
			lines = append(lines, []string{e.Organisation, e.IDKind, strconv.Itoa(e.LoA), cert.Slot, cert.Serial, cert.State, moment(cert.NotAfter)})
		}
	}
	text := facts("card", me.Card, "state", me.CardState, "holder", me.Name) + table(lines...)
	for _, o := range me.Offers {
		text += facts("to be fetched", o.Order+" ("+o.Type+", "+o.Organisation+"), before "+moment(o.ExpiresAt))
	}
	return s.print(me, text)
}
