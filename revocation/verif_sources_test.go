package revocation_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
)

const leafList = "http://status.example.test/crl/person-hsa-id-3-v1/3.crl"

// judge judges the leaf with what came along.
func (w *web) judge(staples ...[]byte) revocation.Verification {
	return w.v.Judge(w.t.Context(), revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}, OCSP: staples})
}

// staple is what the responder says of the leaf now.
func (w *web) staple() []byte {
	w.t.Helper()
	before := len(w.fetched)
	var answer []byte
	real := w.ocsp
	w.ocsp = func(request []byte) (der []byte, err error) { answer, err = real(request); return answer, err }
	w.judge()
	w.ocsp, w.fetched = real, w.fetched[:before]
	return answer
}

func (w *web) want(got revocation.Verification, status revocation.Status, cause revocation.Cause) {
	w.t.Helper()
	if got.Status != status || got.Cause != cause {
		w.t.Errorf("%s, %s; want %s, %s\n%v", got.Status, got.Cause, status, cause, got.Steps)
	}
}

// asked counts the questions about the leaf since the last count.
func (w *web) asked() int {
	n := 0
	for _, address := range w.fetched {
		if strings.Contains(address, "/ocsp/") || address == leafList {
			n++
		}
	}
	w.fetched = nil
	return n
}

func TestVerifyStapled(t *testing.T) {
	w := newWeb(t)
	answer := w.staple()
	got := w.judge(answer)
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Source != revocation.FromStapled || w.asked() != 0 {
		t.Errorf("source %s", got.Source)
	}
	// What came along and is not believed is told of, and the responder asked.
	other := newWeb(t)
	spoilt := append([]byte{}, answer...)
	spoilt[len(spoilt)-1] ^= 1
	for name, der := range map[string][]byte{"of another certificate": other.staple(), "spoilt": spoilt, "rubbish": []byte("rubbish"), "an error": ca.OCSPError(ca.OCSPTryLater)} {
		got := w.judge(der)
		w.want(got, revocation.Good, revocation.CauseGood)
		if got.Source != revocation.FromOCSP {
			t.Errorf("%s: source %s", name, got.Source)
		}
	}
	// It may be older than an answer that is asked for now, so that its age counts.
	w.v.MaxAge = time.Second
	w.v.Skew = 0
	w.noOCSP()
	delete(w.crl, leafList)
	w.want(w.judge(answer), revocation.Unknown, revocation.CauseStale)
}

// One answer may come along for each certificate, and says nothing of the others.
func TestVerifyStapledForAnother(t *testing.T) {
	w := newWeb(t)
	w.noOCSP()
	delete(w.crl, leafList)
	w.v.Open = revocation.Open{Unreachable: true}
	forCA := w.forge(w.root.OCSPCert, w.root.OCSPKey, nil)
	w.inner.OCSPServer = nil
	answer, err := forCA(requestFor(t, w.inner.Cert, w.root.Cert))
	if err != nil {
		t.Fatal(err)
	}
	got := w.judge(answer)
	w.want(got, revocation.Good, revocation.CauseSoft)
	if !got.Soft || !strings.Contains(got.SoftWhy, "connection refused") {
		t.Errorf("soft %v: %s", got.Soft, got.SoftWhy)
	}
}

func TestVerifyFailsOpen(t *testing.T) {
	stale := func(w *web) {
		w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, func(a *answer) { a.this, a.next = revtest.Start.Add(-2*time.Hour), revtest.Start.Add(-time.Hour) })
	}
	for name, test := range map[string]struct {
		spoil  func(*web)
		open   revocation.Open
		status revocation.Status
		cause  revocation.Cause
	}{
		"closed":       {func(w *web) { w.noOCSP() }, revocation.Open{}, revocation.Unknown, revocation.CauseUnreachable},
		"nobody":       {func(w *web) { w.noOCSP() }, revocation.Open{Unreachable: true}, revocation.Good, revocation.CauseSoft},
		"an error":     {func(w *web) { w.ocsp = func([]byte) ([]byte, error) { return ca.OCSPError(ca.OCSPTryLater), nil } }, revocation.Open{Unreachable: true}, revocation.Good, revocation.CauseSoft},
		"stale":        {stale, revocation.Open{Unreachable: true}, revocation.Unknown, revocation.CauseStale},
		"stale passes": {stale, revocation.Open{Unreachable: true, Stale: true}, revocation.Good, revocation.CauseSoft},
		"a stranger's": {func(w *web) {
			foreign := revtest.NewAuthority(t, revtest.Person, nil)
			w.ocsp = w.forge(foreign.OCSPCert, foreign.OCSPKey, nil)
		}, revocation.Open{Unreachable: true, Stale: true}, revocation.Unknown, revocation.CauseUnbelievable},
		"never issued": {func(w *web) { delete(w.Released, w.serial) }, revocation.Open{Unreachable: true, Stale: true}, revocation.Unknown, revocation.CauseNotIssued},
		"too much": {func(w *web) {
			w.ocsp = func([]byte) ([]byte, error) { return nil, fmt.Errorf("a gigabyte: %w", revocation.ErrUnread) }
		}, revocation.Open{Unreachable: true, Stale: true}, revocation.Unknown, revocation.CauseUnbelievable},
		"no address": {func(w *web) {
			w.leaf = w.inner.Signer(w.t, revtest.NewKey(w.t), func(c *x509.Certificate) {})
		}, revocation.Open{Unreachable: true, Stale: true}, revocation.Unknown, revocation.CauseNoAddress},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t)
			w.t = t
			delete(w.crl, leafList)
			test.spoil(w)
			w.v.Open = test.open
			got := w.judge()
			w.want(got, test.status, test.cause)
			if got.Soft != (test.cause == revocation.CauseSoft) || got.Soft && got.SoftWhy == "" {
				t.Errorf("soft %v %q", got.Soft, got.SoftWhy)
			}
		})
	}
	// Revoked is revoked, however open.
	w := newWeb(t)
	e := revtest.NewEntry(revtest.Person, 3, ca.KeyCompromise)
	e.Serial = w.serial
	w.Revoke(e)
	w.v.Open = revocation.Open{Unreachable: true, Stale: true}
	w.want(w.judge(), revocation.Revoked, revocation.CauseRevoked)
}

func TestVerifyNonce(t *testing.T) {
	w := newWeb(t)
	w.v.Nonce = true
	delete(w.crl, leafList)
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	// A replayed answer repeats another question's nonce, or none.
	old := w.staple()
	w.ocsp = func([]byte) ([]byte, error) { return old, nil }
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnbelievable)
	w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, nil)
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnbelievable)
}

// A responder that knows SHA-1 only is asked again so.
func TestVerifyAsksBySHA1(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	real := w.ocsp
	questions := 0
	w.ocsp = func(request []byte) ([]byte, error) {
		questions++
		r, err := ca.ParseOCSPRequest(request)
		if err != nil {
			return nil, err
		}
		if len(r.CertIDs[0].NameHash) != 20 {
			return ca.OCSPError(ca.OCSPUnauthorized), nil
		}
		return real(request)
	}
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	if questions != 2 {
		t.Errorf("%d questions", questions)
	}
	// One that answers about something else is.
	other := newWeb(t).staple()
	bySHA1 := w.ocsp
	w.ocsp = func(request []byte) ([]byte, error) {
		if der, err := bySHA1(request); err != nil || len(der) > 10 {
			return der, err
		}
		return other, nil
	}
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
}

func TestVerifySources(t *testing.T) {
	w := newWeb(t)
	w.v.Sources = revocation.CRLOnly
	got := w.judge()
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Source != revocation.FromCRL || strings.Contains(strings.Join(w.fetched, " "), "/ocsp/") {
		t.Errorf("source %s, fetched %q", got.Source, w.fetched)
	}
	w.v.Sources = revocation.OCSPOnly
	w.want(w.judge(), revocation.Good, revocation.CauseGood) // the CA has a CRL only
	w.noOCSP()
	w.fetched = nil
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnreachable)
	if strings.Contains(strings.Join(w.fetched, " "), leafList) {
		t.Errorf("fetched %q", w.fetched)
	}
	silent := w.inner.Cert
	w.inner.Cert = responding(t, w)
	w.fetched = nil
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnreachable) // a CA that names one is asked there
	if strings.Contains(strings.Join(w.fetched, " "), ".crl") {
		t.Errorf("fetched %q", w.fetched)
	}
	w.inner.Cert = silent
	// Lists at hand, and nothing is fetched.
	w.v.Sources, w.v.Fetch = revocation.CRLOnly, nil
	p := revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}, CRLs: [][]byte{w.crl[leafList], w.crl[revtest.URLOf(revtest.Root, 0)]}}
	w.want(w.v.Judge(t.Context(), p), revocation.Good, revocation.CauseGood)
	p.CRLs = p.CRLs[:1]
	w.want(w.v.Judge(t.Context(), p), revocation.Unknown, revocation.CauseUnreachable)
}

// responding is the issuing CA's certificate with a responder in it.
func responding(t *testing.T, w *web) *x509.Certificate {
	cert := *w.inner.Cert
	cert.OCSPServer, cert.MaxPathLen = []string{revtest.Base + "/ocsp"}, -1
	return revtest.Sign(t, &cert, w.root.Cert, w.inner.Key.Public(), w.root.Key)
}

// The clocks of issuer and relying party differ by less than the skew.
func TestVerifySkew(t *testing.T) {
	w := newWeb(t)
	young := func(from time.Time) *x509.Certificate {
		t := *w.leaf
		t.NotBefore = from
		return revtest.Sign(w.t, &t, w.inner.Cert, w.leaf.PublicKey, w.inner.Key)
	}
	w.leaf = young(revtest.Start.Add(30 * time.Second))
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	w.leaf = young(revtest.Start.Add(2 * time.Minute))
	w.want(w.judge(), revocation.Unknown, revocation.CauseNotYet)
}

// An answer without an end would be in force for ever: it is not merely stale.
func TestVerifyAnswerWithoutEnd(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	w.v.Open = revocation.Open{Unreachable: true, Stale: true}
	w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, func(a *answer) { a.next = time.Time{} })
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnbelievable)
}

// An issuer's certificate that did not come along is fetched only if that is
// asked for: anybody can put any address into a certificate.
func TestVerifyFetchesIssuers(t *testing.T) {
	w := newWeb(t)
	w.holder(func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"ldap://x", revtest.Base + "/ca.cer"} })
	alone := revocation.Presented{Certificate: w.leaf}
	w.want(w.v.Judge(t.Context(), alone), revocation.Unknown, revocation.CauseUntrusted)
	if len(w.fetched) > 0 {
		t.Errorf("fetched %q", w.fetched)
	}
	w.v.FetchIssuers = true
	w.crl[revtest.Base+"/ca.cer"] = w.inner.Cert.Raw
	w.want(w.v.Judge(t.Context(), alone), revocation.Good, revocation.CauseGood)
	// What is fetched there proves nothing by that.
	w.crl[revtest.Base+"/ca.cer"] = revtest.NewAuthority(t, revtest.Person, nil).Cert.Raw
	w.want(w.v.Judge(t.Context(), alone), revocation.Unknown, revocation.CauseUntrusted)
	w.crl[revtest.Base+"/ca.cer"] = []byte("rubbish")
	w.want(w.v.Judge(t.Context(), alone), revocation.Unknown, revocation.CauseUntrusted)
}
