package main

import (
	"sigill/internal/audit"
	"sigill/internal/cardclient"
	"sigill/internal/durable"
	"sigill/internal/receipt"
)

// receiptFlag is for what leaves a receipt.
type receiptFlag struct {
	Receipt string `placeholder:"FILE" help:"${receipt}"`
}

// keep writes the receipt of a download, if it is of that one. Its signature is for who
// has the log's public key to judge, which a holder need not have.
func (f receiptFlag) keep(a *app, r *cardclient.Result) error {
	if f.Receipt == "" || r.Download == "" {
		return nil
	}
	switch got := r.Receipted; {
	case got.ReceiptLater != nil:
		a.note("receipt.later")
		return nil
	case got.Receipt == nil:
		a.note("receipt.none")
		return nil
	}
	read, err := receipt.Parse(r.Receipted.Receipt.Act, r.Receipted.Receipt.Proof)
	if err == nil {
		err = read.About(audit.DownloadConfirmed, audit.Field{Name: "download", Value: r.Download}, audit.Field{Name: "card", Value: r.Card})
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
