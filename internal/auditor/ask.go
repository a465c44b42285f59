package auditor

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
)

// Asked is what OCSP was asked for in a look. Lists are compared whole; OCSP is asked for
// so many a look, first for what was ended since, and with what is left of that for
// everything else that was ended and has not expired, again and again in the order in
// which it was ended: a responder that goes back to "good" years later is found out too.
type Asked struct {
	Now int64 `json:"now"` // in this look
	// Waiting were ended and were not asked for yet, not once.
	Waiting int64 `json:"waiting"`
	// Round is how many are not asked for again yet in the round that goes on.
	Round int64 `json:"round"`
}

// Words in the book: the act that ended what was asked for last, for the first time and
// again.
const (
	metaAskedFirst = "ocsp.first"
	metaAskedAgain = "ocsp.again"
)

// silences is how many requests in a row may go without an answer, before it is taken for
// granted that nobody is there: the others are asked for in the next look.
const silences = 3

// ask asks OCSP for what was ended, as far as this look goes.
func (r *run) ask() error {
	now := book.Micro(r.Now())
	var first, again, newest int64
	err := r.Book.View(r.ctx, func(tx *book.Tx) (err error) {
		if first, err = tx.Number(metaAskedFirst); err != nil {
			return err
		}
		again, err = tx.Number(metaAskedAgain)
		return err
	})
	if err != nil {
		return err
	}
	// A quarter is kept for the round, so that many revocations do not end it.
	told := &Asked{}
	if newest, err = r.askFrom(first, book.Last, now, r.Ask-r.Ask/4, told); err != nil {
		return err
	}
	if again, err = r.askFrom(min(again, first), first, now, r.Ask-int(told.Now), told); err != nil {
		return err
	}
	err = r.Book.Update(r.ctx, func(tx *book.Tx) (err error) {
		if told.Waiting, err = tx.EndedBetween(newest, book.Last, now); err != nil {
			return err
		}
		if told.Round, err = tx.EndedBetween(again, first, now); err != nil {
			return err
		}
		if told.Round == 0 {
			again = book.None // from the beginning
		}
		if err := tx.PutMeta(metaAskedFirst, fmt.Sprint(newest)); err != nil {
			return err
		}
		return tx.PutMeta(metaAskedAgain, fmt.Sprint(again))
	})
	r.report.OCSP = told
	return err
}

// askFrom asks for up to limit that were ended by acts behind after and up to last, and
// returns the act of the last one that was asked for.
func (r *run) askFrom(after, last, now int64, limit int, told *Asked) (int64, error) {
	var due []*book.Certificate
	err := r.Book.View(r.ctx, func(tx *book.Tx) (err error) {
		due, err = tx.EndedAfter(after, last, now, limit)
		return err
	})
	if err != nil {
		return after, err
	}
	silent, heard := 0, after
	for _, c := range due {
		if r.Now().Sub(book.Moment(c.EndedAt)) <= r.Grace {
			return after, nil // it may be good a moment longer: to be asked when that says something
		}
		answered, err := r.answered(c)
		if err != nil {
			return heard, err
		}
		told.Now++
		if silent++; answered {
			silent = 0
		}
		if silent == silences {
			return heard, nil
		}
		if after = c.Ended; silent == 0 {
			heard = after
		}
	}
	return after, nil
}

// answered asks OCSP for a serial that was ended. false: it does not answer.
func (r *run) answered(c *book.Certificate) (bool, error) {
	base, _, ok := strings.Cut(c.CRL, "/crl/")
	if !ok {
		return true, nil // a certificate without addresses: nobody asks
	}
	serial, err := ca.ParseSerial(c.Serial)
	if err != nil {
		return true, nil // said of its leaf
	}
	key, err := r.issuerKey(c.Issuer)
	if err != nil {
		return false, err
	}
	cert, err := x509.ParseCertificate(r.Issuers.Certificate(key))
	if err != nil {
		return true, nil // said of its leaf
	}
	request, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial.Int()}, cert, nil)
	if err != nil {
		return false, err
	}
	f := Finding{Kind: finding.StatusGone, Severity: finding.Warning, Log: Acts, Index: c.Ended, IDs: finding.IDs("serial", c.Serial)}
	text, err := r.Status.OCSP(r.ctx, base+"/ocsp", request)
	if r.ctx.Err() != nil {
		return false, r.ctx.Err()
	}
	if err != nil {
		f.Text = "OCSP does not answer"
		return false, r.told(f)
	}
	answer, err := ocsp.ParseResponseForCert(text, &x509.Certificate{SerialNumber: new(big.Int).Set(serial.Int())}, cert)
	switch {
	case err != nil:
		f.Text = "OCSP's answer cannot be used"
	case answer.Status == ocsp.Revoked:
		return true, nil
	case r.Now().Sub(book.Moment(c.EndedAt)) <= r.Public && answer.Status != ocsp.Good:
		return true, nil
	default:
		f.Kind, f.Severity, f.Text = finding.Unpublic, finding.Critical, "it was revoked, and OCSP does not say so"
	}
	return true, r.told(f)
}
