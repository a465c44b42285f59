package revocation_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation"
)

// asOf judges the leaf of a past time.
func (w *web) asOf(at time.Time) revocation.Verification {
	return w.v.Judge(w.t.Context(), revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}, At: at})
}

func TestVerifyPast(t *testing.T) {
	day := revtest.Start.AddDate(0, 0, -1)
	for _, ocsp := range []bool{true, false} {
		w := newWeb(t)
		if !ocsp {
			w.noOCSP()
		}
		w.want(w.asOf(day), revocation.Good, revocation.CauseGood)
		w.want(w.asOf(revtest.Start.AddDate(0, -2, 0)), revocation.Unknown, revocation.CauseNotYet)
		w.want(w.asOf(revtest.Start.Add(time.Second)), revocation.Unknown, revocation.CauseFuture)

		e := revtest.NewEntry(revtest.Person, 3, ca.KeyCompromise)
		e.Serial, e.At = w.serial, revtest.Start.Add(-12*time.Hour)
		w.Revoke(e)
		w.crl[leafList] = w.inner.CRL(t, w.list(func(l *crl.List) { l.Entries = []crl.Revoked{{Serial: w.serial, At: e.At, Reason: ca.KeyCompromise}} }))
		got := w.asOf(day)
		w.want(got, revocation.Good, revocation.CauseGood)
		if !strings.Contains(text(got), "that no use before it was a thief's is not proved") || !got.Judged.Equal(day) {
			t.Errorf("judged %s: %v", got.Judged, got.Steps)
		}
		w.want(w.asOf(e.At), revocation.Revoked, revocation.CauseRevoked)
		w.want(w.asOf(revtest.Start.Add(-time.Hour)), revocation.Revoked, revocation.CauseRevoked)
	}
}

// A CA's stolen key makes certificates of any date.
func TestVerifyPastOfStolenCA(t *testing.T) {
	w := newWeb(t)
	serial, _ := ca.SerialOf(w.inner.Cert.SerialNumber)
	list := func(reason ca.Reason) {
		w.crl[revtest.URLOf(revtest.Root, 0)] = w.root.CRL(t, crl.List{Number: 2, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.AddDate(1, 0, 0),
			Entries: []crl.Revoked{{Serial: serial, At: revtest.Start.Add(-time.Hour), Reason: reason}}})
	}
	list(ca.CACompromise)
	w.want(w.asOf(revtest.Start.AddDate(0, 0, -1)), revocation.Unknown, revocation.CausePast)
	list(ca.CessationOfOperation)
	w.want(w.asOf(revtest.Start.AddDate(0, 0, -1)), revocation.Good, revocation.CauseGood)
	w.want(w.asOf(revtest.Start.Add(-time.Minute)), revocation.Revoked, revocation.CauseRevoked)
}

// Of a certificate that has expired since, a list proves nothing, and an answer
// only if its archive goes back so far.
func TestVerifyPastOfExpired(t *testing.T) {
	w := newWeb(t)
	w.holder(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = revtest.Start.AddDate(0, -3, 0), revtest.Start.AddDate(0, -1, 0)
	})
	then := revtest.Start.AddDate(0, -2, 0)
	w.want(w.judge(), revocation.Unknown, revocation.CauseExpired)
	list := w.crl[leafList]
	archive := func(cutoff time.Time) {
		w.ocsp = func(request []byte) ([]byte, error) {
			r, err := ca.ParseOCSPRequest(request)
			if err != nil {
				return nil, err
			}
			der, _, err := w.inner.Responder(t).SignOCSP(ca.OCSPAnswer{ProducedAt: revtest.Start, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour),
				Singles: []ca.OCSPSingle{{ID: r.CertIDs[0], Status: ca.OCSPGood, ArchiveCutoff: cutoff}}})
			return der, err
		}
	}
	delete(w.crl, leafList)
	archive(revtest.Start.AddDate(0, -2, 0))
	w.want(w.asOf(then), revocation.Good, revocation.CauseGood)
	archive(revtest.Start.AddDate(0, 0, -1))
	if got := w.asOf(then); got.Status != revocation.Unknown || !strings.Contains(text(got), "since when revocations are kept") {
		t.Errorf("a short archive: %v", got.Steps)
	}
	archive(time.Time{})
	if got := w.asOf(then); got.Status != revocation.Unknown {
		t.Errorf("no archive: %v", got.Steps)
	}
	w.crl[leafList] = list
	w.noOCSP()
	if got := w.asOf(then); got.Status != revocation.Unknown || !strings.Contains(text(got), "lists leave out what has expired") {
		t.Errorf("a list: %v", got.Steps)
	}
}
