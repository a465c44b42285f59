package target

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/revtest"
)

// answers are of one serial, by one signer.
type answers struct {
	t    *testing.T
	by   *ca.Responder
	id   ca.CertID
	path string
}

func newAnswers(t *testing.T) *answers {
	t.Helper()
	a := &answers{t: t, by: revtest.NewAuthority(t, revtest.Person, nil).Responder(t), path: "/ocsp/MEQ%2BAB%2FCD%3D%3D"}
	forms, err := ca.OCSPIssuerForms(a.by.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	asked, err := ca.ParseOCSPRequest(ca.OCSPRequestFor(forms[0], ca.NewSerial()))
	if err != nil {
		t.Fatal(err)
	}
	a.id = asked.CertIDs[0]
	return a
}

// at returns an answer of a second after the start.
func (a *answers) at(second int, status ca.OCSPStatus) []byte {
	a.t.Helper()
	at := revtest.Start.Add(time.Duration(second) * time.Second)
	single := ca.OCSPSingle{ID: a.id, Status: status}
	if status == ca.OCSPRevoked {
		single.At, single.Reason = revtest.Start, ca.KeyCompromise
	}
	der, _, err := a.by.SignOCSP(ca.OCSPAnswer{ProducedAt: at, ThisUpdate: at, NextUpdate: at.Add(12 * time.Hour), Singles: []ca.OCSPSingle{single}})
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// TestAnswers: an answer that was signed ahead is where clients ask for it, and good never
// follows revoked.
func TestAnswers(t *testing.T) {
	eachTarget(t, func(t *testing.T, to Target) {
		a := newAnswers(t)
		sink := NewAnswers(to)
		put := func(der []byte) {
			t.Helper()
			if err := sink.Put(t.Context(), a.path, der, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		is := func(want []byte, what string) {
			t.Helper()
			if !bytes.Equal(got(t, to, "ocsp/MEQ+AB/CD=="), want) {
				t.Errorf("%s: the target has something else", what)
			}
		}
		good, revoked, later := a.at(1, ca.OCSPGood), a.at(1, ca.OCSPRevoked), a.at(2, ca.OCSPRevoked)
		put(good)
		is(good, "the first")
		put(revoked)
		is(revoked, "revoked in the same second")
		put(good)
		is(revoked, "good of the same second")
		put(later)
		is(later, "the next")
		put(good)
		is(later, "an older one")
		// Many at once: whatever order they come in, the last word stays.
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				for { // told to come again, the caller does
					if sink.Put(t.Context(), a.path, a.at(10+i, ca.OCSPGood), time.Time{}) == nil {
						return
					}
				}
			})
		}
		wg.Wait()
		var last []byte
		if last = got(t, to, "ocsp/MEQ+AB/CD=="); len(last) == 0 {
			t.Fatal("there is none")
		}
		if old, _, err := sink.present(t.Context(), "ocsp/MEQ+AB/CD=="); err != nil || !old.ProducedAt.Equal(revtest.Start.Add(14*time.Second).Truncate(time.Second)) {
			t.Errorf("in the end it is one of %v (%v)", old.ProducedAt, err)
		}
	})
}

func TestAnswersRefuse(t *testing.T) {
	a, to := newAnswers(t), directory(t)
	sink := NewAnswers(to)
	for _, path := range []string{"", "/ocsp/", "/ocsp/../crl/x/0.crl", "/crl/x/0.crl", "/ocsp/%zz", "/ocsp/a.b", "/ocsp/" + strings.Repeat("=", 3)} {
		if err := sink.Put(t.Context(), path, a.at(1, ca.OCSPGood), time.Time{}); err == nil {
			t.Errorf("%q is a path of an answer", path)
		}
	}
	if err := sink.Put(t.Context(), a.path, []byte("no answer"), time.Time{}); err == nil {
		t.Error("what is no answer is put")
	}
	// What cannot be read helps nobody.
	if _, err := to.Put(t.Context(), "ocsp/MEQ+AB/CD==", contentOf([]byte("spoilt")), ""); err != nil {
		t.Fatal(err)
	}
	good := a.at(1, ca.OCSPGood)
	if err := sink.Put(t.Context(), a.path, good, time.Time{}); err != nil || !bytes.Equal(got(t, to, "ocsp/MEQ+AB/CD=="), good) {
		t.Errorf("in place of what is spoilt: %v", err)
	}
}
