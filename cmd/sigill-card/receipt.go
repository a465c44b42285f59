package main

import (
	"sigill/internal/audit"
	"sigill/internal/cardclient"
	"sigill/internal/durable"
	"sigill/internal/receipt"
	"sigill/internal/wire"
)

// receiptFlag is for what leaves a receipt.
type receiptFlag struct {
	Receipt string `placeholder:"FILE" help:"${receipt}"`
}

// keepFetched keeps the receipt of a download.
func (f receiptFlag) keepFetched(a *app, r *cardclient.Result) error {
	if r.Download == "" {
		return nil
	}
	return f.keep(a, r.Receipted, audit.DownloadConfirmed, audit.Field{Name: "download", Value: r.Download}, audit.Field{Name: "card", Value: r.Card})
}

// keep writes the receipt of an act, if it is of that one. Its signature is for who has
// the log's public key to judge, which a holder need not have.
func (f receiptFlag) keep(a *app, got wire.Receipted, act string, fields ...audit.Field) error {
	if f.Receipt == "" {
		return nil
	}
	switch {
	case got.ReceiptLater != nil:
		a.note("receipt.later")
		return nil
	case got.Receipt == nil:
		a.note("receipt.none")
		return nil
	}
	read, err := receipt.Parse(got.Receipt.Act, got.Receipt.Proof)
	if err == nil {
		err = read.About(act, fields...)
	}
	if err != nil {
		a.note("receipt.wrong", clean(err.Error()))
		return errTold
	}
	text, err := read.Document()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(f.Receipt, text, 0o600); err != nil {
		return err
	}
	a.note("receipt.kept", clean(f.Receipt))
	return nil
}
