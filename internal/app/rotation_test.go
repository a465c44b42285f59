package app

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/revocation/status"
)

// TestSignerRotation walks through the lives of three OCSP signers of one issuing CA,
// hour by hour: renewed at half of the life, then not renewed until shortly before the
// end because the CA can't sign. At every hour there is an answer that is valid then
// and verifies under a signer that is; what an old signer signed is given out after
// the change too, and nothing is past its end. Only when no renewal ever succeeds
// there is, from the signer's end on, no answer: none, rather than an old one.
func TestSignerRotation(t *testing.T) {
	var passed atomic.Int64
	start := time.Now().Truncate(time.Hour)
	now := func() time.Time { return start.Add(time.Hour + time.Duration(passed.Load())) }
	a, err := open(t, make1(t, ""), now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.status(); err != nil {
		t.Fatal(err)
	}
	each := a.Hierarchy.Issuers[0]
	renew := func() error { return a.renewSigner(t.Context(), each) }
	if err := renew(); err != nil {
		t.Fatal(err)
	}
	all, err := a.DB.ReleasedAfter(t.Context(), ca.Serial{}, 100)
	all = slices.DeleteFunc(all, func(r status.Released) bool { return r.Issuer != each.ID })
	if err != nil || len(all) == 0 {
		t.Fatalf("%d certificates, %v", len(all), err)
	}
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: all[0].Serial.Int()}, each.Certificate, &ocsp.RequestOptions{Hash: crypto.SHA1})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() *ocsp.Response {
		t.Helper()
		answer, err := a.ocsp.responder.Reply(t.Context(), status.Question{DER: der})
		a.ocsp.responder.Wait()
		if bytes.Equal(answer.DER, ca.OCSPError(ca.OCSPInternalError)) && err != nil {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := ocsp.ParseResponse(answer.DER, each.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		at := now()
		if at.Before(got.ThisUpdate) || !at.Before(got.NextUpdate) || !got.NextUpdate.Equal(answer.NextUpdate) || got.NextUpdate.After(got.Certificate.NotAfter) ||
			at.Before(got.Certificate.NotBefore) || at.After(got.Certificate.NotAfter) || got.Status != ocsp.Good {
			t.Errorf("after %v: status %d, from %v to %v, by a signer from %v to %v", time.Duration(passed.Load()), got.Status,
				got.ThisUpdate, got.NextUpdate, got.Certificate.NotBefore, got.Certificate.NotAfter)
		}
		return got
	}
	signers := map[string]int{}
	walk := func(hours int) {
		t.Helper()
		for range hours {
			got := ask()
			if got == nil {
				t.Fatalf("no answer after %v", time.Duration(passed.Load()))
			}
			signers[string(got.Certificate.Raw)]++
			passed.Add(int64(time.Hour))
		}
	}
	half := int(ocspLife / 2 / time.Hour)
	walk(half)
	before := ask()
	if err := renew(); err != nil {
		t.Fatal(err)
	}
	// What the old one signed a moment ago is given until half its life.
	if after := ask(); !after.Certificate.Equal(before.Certificate) || !after.NextUpdate.Equal(before.NextUpdate) {
		t.Error("an answer was thrown away because its signer was renewed")
	}
	walk(half)
	if len(signers) != 2 {
		t.Errorf("%d signers in one life", len(signers))
	}
	// The CA fails at half of the second life and until two hours before its end.
	issuer := a.Issuers[each.ID]
	delete(a.Issuers, each.ID)
	if err := renew(); err == nil {
		t.Fatal("renewed without the CA")
	}
	walk(half - 2)
	a.Issuers[each.ID] = issuer
	if err := renew(); err != nil {
		t.Fatal(err)
	}
	walk(3) // past the end of the second
	if len(signers) != 3 {
		t.Errorf("%d signers, want three", len(signers))
	}
	// Never renewed again: answers end with their signer, none is given after it.
	third := ask().Certificate
	for now().Before(third.NotAfter.Add(-time.Hour)) {
		walk(1)
	}
	for last := (time.Time{}); ; passed.Add(int64(10 * time.Minute)) {
		got := ask()
		if got == nil {
			if now().Before(third.NotAfter) {
				t.Errorf("no answer at %v, before the signer's end %v", now(), third.NotAfter)
			}
			break
		}
		if got.NextUpdate.Before(last) || now().After(third.NotAfter) {
			t.Fatalf("at %v an answer until %v by a signer until %v", now(), got.NextUpdate, third.NotAfter)
		}
		last = got.NextUpdate
	}
}
