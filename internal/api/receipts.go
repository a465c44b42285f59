package api

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sigill/internal/audit"
	"sigill/internal/translog"
	"sigill/internal/wire"
	"sigill/orders/download"
	"sigill/orders/register"
	"sigill/policy"
)

// Receipts prove committed acts.
type Receipts interface {
	// Receipt waits as long as ctx lasts for an act's place in the log. It is
	// [translog.ErrNotYet] where that has not come, and translog.ErrNotFound where
	// there is no such act.
	Receipt(ctx context.Context, event string) (*translog.Receipt, error)
	// Act returns the body of an act, in the log or not yet.
	Act(ctx context.Context, event string) ([]byte, error)
}

// receiptWait is how long an answer waits for its receipts. The act is done by then, and
// who waits for longer waits for nothing but paper.
const receiptWait = 2 * time.Second

// receipts are those of one answer, which wait for no longer together than one.
type receipts struct {
	*handler
	ctx context.Context
}

// proving calls fn with what gives an answer its receipts.
func (h *handler) proving(c *call, fn func(receipts)) {
	ctx, cancel := context.WithTimeout(c.Context(), cmp.Or(h.ReceiptWait, receiptWait))
	defer cancel()
	fn(receipts{h, ctx})
}

// of returns what an answer says of the event of its act. The act is committed: nothing
// here makes it fail. An event that is not there has no receipt, nor one that was erased.
func (r receipts) of(event string) wire.Receipted {
	if r.Receipts == nil || event == "" {
		return wire.Receipted{}
	}
	got, err := r.Receipts.Receipt(r.ctx, event)
	switch {
	case err == nil:
		return wire.Receipted{Receipt: receipt(got)}
	case errors.Is(err, translog.ErrNotFound):
		return wire.Receipted{}
	case !errors.Is(err, translog.ErrNotYet):
		r.Log.Error("no receipt", "event", event, "err", err)
	}
	return wire.Receipted{ReceiptLater: &wire.ReceiptLater{Event: event}}
}

// receipted is of for an answer with one receipt.
func (h *handler) receipted(c *call, event string) (out wire.Receipted) {
	h.proving(c, func(r receipts) { out = r.of(event) })
	return out
}

func receipt(r *translog.Receipt) *wire.Receipt {
	return &wire.Receipt{Act: string(r.Act), Proof: string(r.Proof)}
}

// laterReceipt gives the receipt of an act to who did it, whose it is, and auditors. Who
// is none of them is told the same as of an act that never was, and is told it without
// waiting: ids of acts can be computed from a card's number, and answers that came late
// would tell whether it was blocked.
func (h *handler) laterReceipt(c *call) (any, error) {
	if h.Receipts == nil {
		return nil, errNoRoute
	}
	event := c.PathValue("event")
	body, err := h.Receipts.Act(c.Context(), event)
	if err != nil && !errors.Is(err, translog.ErrNotFound) {
		return nil, err
	}
	if err != nil || !concerns(c.caller, body) {
		if audits := h.Register.Audits(c.Context(), c.caller); audits != nil {
			return nil, audits
		}
		if err != nil {
			return nil, errNoRoute
		}
	}
	ctx, cancel := context.WithTimeout(c.Context(), cmp.Or(h.ReceiptWait, receiptWait))
	defer cancel()
	got, err := h.Receipts.Receipt(ctx, event)
	if err != nil {
		return nil, err
	}
	return receipt(got), nil
}

// concerns reports whether the caller did an act, or his card or person is what it was
// done to.
func concerns(c register.Caller, body []byte) bool {
	b, err := audit.ParseBody(body)
	if err != nil {
		return false
	}
	if slices.Contains(strings.Split(b.By, ","), c.Name()) {
		return true
	}
	for _, f := range b.Public {
		if f.Value != "" && (f.Name == "card" && f.Value == string(c.Card) || f.Name == "person" && f.Value == string(c.Person)) {
			return true
		}
	}
	return false
}

// installed answers with a download, and with the receipt of its confirmation if it is
// installed.
func (h *handler) installed(c *call, st *download.State, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := h.download(st)
	if st.Download.State == policy.DownloadInstalled {
		out.Receipted = h.receipted(c, audit.EventID(audit.DownloadConfirmed, string(st.Download.ID)))
	}
	return out, nil
}

// personEnded answers what ended the eIDs of a person. That it could not be read which
// they are takes nothing back.
func (h *handler) personEnded(c *call, e download.Ended, err error) *wire.PersonEnded {
	if err != nil {
		h.Log.Error("no receipts", "err", err)
	}
	out := &wire.PersonEnded{Certificates: []wire.EndedCertificate{}}
	h.proving(c, func(r receipts) {
		out.Receipted = r.of(e.Assignment)
		for _, v := range e.Certificates {
			out.Certificates = append(out.Certificates, wire.EndedCertificate{Serial: v.Serial.String(), Receipted: r.of(v.Event)})
		}
	})
	return out
}
