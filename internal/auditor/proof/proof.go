// Package proof answers what a relying party asks an auditor: is this certificate in the
// log, under which checkpoint, seen by whom, and which acts belong to it. One that is not
// in the log was forged, or signed outside of the service.
//
// It follows no log: it looks at one certificate, and at the book of one who does.
package proof

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor/book"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
	"sigill/internal/checkpoint"
)

// Proven is what can be said of a certificate that somebody shows.
type Proven struct {
	Serial string `json:"serial,omitempty"`
	// Signed: the signature of one of the given CAs is on it.
	Signed bool `json:"signed"`
	// Logged: it is in the log, under the checkpoint below.
	Logged bool      `json:"logged"`
	Leaf   string    `json:"leaf,omitempty"` // hash, hexadecimal
	Index  int64     `json:"index"`
	Size   int64     `json:"size,omitempty"` // of the checkpoint
	Time   time.Time `json:"time,omitzero"`  // of the checkpoint
	// Witnesses that have cosigned the checkpoint.
	Witnesses []string `json:"witnesses"`
	// Acts that belong to it, as the auditor's book has them.
	Acts []ActOf `json:"acts"`
	// Why says in a sentence what follows.
	Why string `json:"why"`
}

// ActOf is an act that a certificate rests on, or that ended it.
type ActOf struct {
	Act   string `json:"act"`
	Index int64  `json:"index"` // in the log of acts
}

// Prover proves that certificates are in the log.
type Prover struct {
	Issuers   *rederive.Issuers
	Log       *checkpoint.Log
	Witnesses []checkpoint.Witness
	// Proof returns the text that proves a leaf (C2SP tlog-proof), or [source.ErrUnshown] if the
	// log says that it has no such leaf.
	Proof func(ctx context.Context, leaf tlog.Hash) ([]byte, error)
	// Book tells the acts that belong to it; nil: none are told.
	Book *book.Book
}

// Prove tells whether a certificate is in the log. An error says that it could not be
// found out.
func (p *Prover) Prove(ctx context.Context, der []byte) (*Proven, error) {
	out := &Proven{Index: book.None, Witnesses: []string{}, Acts: []ActOf{}, Serial: rederive.SerialOf(der), Signed: p.Issuers.Signed(der)}
	if !out.Signed {
		out.Why = "none of the given CAs has signed it: it is forged, or of somebody else"
		return out, nil
	}
	// No other certificate of a CA: one that an issuing CA has signed is the work of a thief.
	if slices.ContainsFunc(p.Issuers.All(), func(own []byte) bool { return bytes.Equal(own, der) }) {
		out.Why = "it is one of the given CAs itself: the log has what the issuing CAs make, and not what they are"
		return out, nil
	}
	const outside = "it was signed with the CA's key outside of the service"
	entry, err := rederive.LeafOf(der, p.Issuers, p.Log)
	if err != nil {
		out.Why = "it carries no promise of this log (" + err.Error() + "), so the log cannot have it: " + outside
		return out, nil
	}
	out.Leaf = hex.EncodeToString(entry.Hash[:])
	text, err := p.Proof(ctx, tlog.Hash(entry.Hash))
	if errors.Is(err, source.ErrUnshown) {
		out.Why = "it is not in the log: " + outside
		return out, nil
	} else if err != nil {
		return nil, fmt.Errorf("asking for a proof: %w", err)
	}
	proof, err := checkpoint.ParseProof(text)
	if err != nil {
		return nil, err
	}
	c, seen, err := proof.Verify(p.Log, tlog.Hash(entry.Hash), p.Witnesses)
	if err != nil {
		out.Why = "what was given as a proof is none for it"
		return out, nil
	}
	out.Logged, out.Index, out.Size, out.Time = true, proof.Index, c.Size, c.Time
	for _, w := range seen {
		out.Witnesses = append(out.Witnesses, w.Name)
	}
	out.Why = fmt.Sprintf("it is entry %d of the log", proof.Index)
	if p.Book != nil {
		out.Acts, err = ActsOf(ctx, p.Book, out.Serial)
	}
	return out, err
}

// ActsOf returns the acts that belong to a serial, as far as the book has followed.
func ActsOf(ctx context.Context, b *book.Book, serial string) ([]ActOf, error) {
	out := []ActOf{}
	err := b.View(ctx, func(tx *book.Tx) error {
		c, err := tx.Certificate(serial)
		if errors.Is(err, book.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		stated, err := tx.Approvals(c.Order)
		if err != nil {
			return err
		}
		for _, a := range stated {
			out = append(out, ActOf{a.Act, a.Number})
		}
		d, err := tx.Download(c.Download)
		if err == nil {
			out = append(out, ActOf{"download.begun", d.Begun})
		} else if !errors.Is(err, book.ErrNotFound) {
			return err
		}
		for _, a := range []ActOf{{"intent.recorded", c.Intent}, {"certificate.issued", c.Issued}, {endOf(c), c.Ended}} {
			if a.Index >= 0 {
				out = append(out, a)
			}
		}
		return nil
	})
	return out, err
}

func endOf(c *book.Certificate) string {
	switch {
	case c.Abandoned:
		return "intent.abandoned"
	case c.Reason == "superseded":
		return "certificate.superseded"
	}
	return "certificate.revoked"
}
