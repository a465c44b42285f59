package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"sigill/internal/cardclient"
	"sigill/internal/products"
	"sigill/internal/token"
	"sigill/policy"
)

type signCertCmd struct {
	EID string `name:"eid" placeholder:"NAME" help:"${eid}"`
	Yes bool   `help:"${yes}"`
	receiptFlag
}

// Run asks for the signing PIN first: what can be typed wrong and what it is
// differs between cards, and nothing has begun yet when it is asked for.
func (s signCertCmd) Run(a *app) error {
	return a.client(func(c *cardclient.Client) error {
		c.EID = s.EID
		if info := c.Card.Info(); info.SigningPIN {
			a.explainPIN2(productPIN2(info))
			if err := a.pins.ask(a.ctx, policy.Signing); err != nil {
				return err
			}
		}
		result, err := c.FetchSigning(a.ctx, &face{app: a, client: c, yes: s.Yes})
		if choose, ok := errors.AsType[*cardclient.ChooseEIDError](err); ok {
			a.note("chooseeid")
			for _, e := range choose.EIDs {
				fmt.Fprintf(a.notes, "  --eid %s  %s  %s  LoA %d  %s\n", hex.EncodeToString(e.With.ID), clean(e.Organisation), clean(e.Identifier), e.LoA,
					e.With.Certificate.NotAfter.Format(time.DateOnly))
			}
			return errTold
		}
		if err != nil {
			return err
		}
		return errors.Join(a.ended(c, result), s.keepFetched(a, result))
	})
}

// productPIN2 tells what the signing PIN of a card is, as far as the card says
// which product it is.
func productPIN2(info token.Info) policy.PIN2 {
	all, err := products.Default()
	if err != nil {
		return policy.PIN2Unknown
	}
	if p, ok := all[info.Product]; ok {
		return p.PIN2
	}
	return policy.PIN2Unknown
}

// explainPIN2 says which code the signing PIN is.
func (a *app) explainPIN2(kind policy.PIN2) {
	switch kind {
	case policy.PIN2Letter:
		a.note("pin2.letter")
	case policy.PIN2Same:
		a.note("pin2.pin1")
	default:
		a.note("pin2.unknown")
	}
}
