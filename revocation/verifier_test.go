package revocation_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/status"
)

// web is what a relying party can fetch: CRLs under their address, OCSP answers
// from a responder.
type web struct {
	*revtest.Store
	t           *testing.T
	root, inner *revtest.Authority
	leaf        *x509.Certificate
	serial      ca.Serial
	ocsp        func(request []byte) ([]byte, error)
	crl         map[string][]byte
	fetched     []string
	v           *revocation.Verifier
}

func newWeb(t *testing.T) *web {
	t.Helper()
	w := &web{t: t, Store: revtest.NewStore(t), crl: map[string][]byte{}, serial: ca.NewSerial()}
	w.root = revtest.NewAuthority(t, revtest.Root, nil)
	w.inner = revtest.NewAuthority(t, revtest.Person, w.root)
	w.inner.OCSPServer = []string{revtest.Base + "/ocsp"}
	w.leaf = w.inner.Leaf(t, w.serial.Int(), 3)
	w.Released[w.serial] = revtest.Person
	w.crl[revtest.URLOf(revtest.Root, 0)] = w.root.CRL(t, crl.List{Number: 1, ThisUpdate: revtest.Start.AddDate(0, -1, 0), NextUpdate: revtest.Start.AddDate(1, 0, 0)})
	w.crl[revtest.URLOf(revtest.Person, 3)] = w.inner.CRL(t, w.list(nil))
	w.answerAs(w.inner.Responder(t))
	w.v = &revocation.Verifier{Roots: []*x509.Certificate{w.root.Cert}, Fetch: w.fetch, Now: func() time.Time { return revtest.Start }, Skew: time.Minute}
	return w
}

// list is the CRL of the leaf's partition, changed by change.
func (w *web) list(change func(*crl.List)) crl.List {
	list := crl.List{Number: 1, ThisUpdate: revtest.Start.Add(-time.Hour), NextUpdate: revtest.Start.Add(time.Hour), DistributionPoint: revtest.URLOf(revtest.Person, 3)}
	if change != nil {
		change(&list)
	}
	return list
}

// answerAs makes OCSP answers come from this signer.
func (w *web) answerAs(signer *ca.Responder) {
	w.t.Helper()
	signers := &status.Signers{}
	if err := signers.Set(revtest.Person, signer); err != nil {
		w.t.Fatal(err)
	}
	r := &status.Responder{Store: w.Store, Signers: signers, Now: func() time.Time { return revtest.Start }}
	w.ocsp = func(request []byte) ([]byte, error) {
		answer, err := r.Answer(context.Background(), request)
		return answer.DER, err
	}
}

func (w *web) fetch(_ context.Context, address string) ([]byte, error) {
	w.fetched = append(w.fetched, address)
	if text, ok := strings.CutPrefix(address, revtest.Base+"/ocsp/"); ok {
		text, err := url.PathUnescape(text)
		if err != nil {
			w.t.Error(err)
		}
		request, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			w.t.Error(err)
		}
		return w.ocsp(request)
	}
	if der, ok := w.crl[address]; ok {
		return der, nil
	}
	return nil, errors.New("connection refused")
}

func (w *web) noOCSP() {
	w.ocsp = func([]byte) ([]byte, error) { return nil, errors.New("connection refused") }
}

func TestVerify(t *testing.T) {
	w := newWeb(t)
	for _, ocsp := range []bool{true, false} {
		if !ocsp {
			w.noOCSP()
		}
		got := w.v.Verify(t.Context(), w.leaf, w.inner.Cert)
		if got.Status != revocation.Good || len(got.PolicyOIDs) != 1 || got.PolicyOIDs[0] != "1.2.752.146.101.3" {
			t.Errorf("OCSP %v: %+v", ocsp, got)
		}
		if len(got.Steps) < 3 {
			t.Errorf("steps %q", got.Steps)
		}
	}
	// Every level is asked about, from the root down.
	if len(w.fetched) != 5 || w.fetched[0] != revtest.URLOf(revtest.Root, 0) || !strings.HasPrefix(w.fetched[1], revtest.Base+"/ocsp/") || w.fetched[4] != revtest.URLOf(revtest.Person, 3) {
		t.Errorf("fetched %q", w.fetched)
	}
}

func TestVerifyRevoked(t *testing.T) {
	w := newWeb(t)
	e := revtest.NewEntry(revtest.Person, 3, ca.Superseded)
	e.Serial = w.serial
	w.Revoke(e)
	line := crl.Revoked{Serial: w.serial, At: e.At, Reason: ca.Superseded}
	w.crl[revtest.URLOf(revtest.Person, 3)] = w.inner.CRL(t, w.list(func(l *crl.List) { l.Entries = []crl.Revoked{line} }))
	for _, ocsp := range []bool{true, false} {
		if !ocsp {
			w.noOCSP()
		}
		got := w.v.Verify(t.Context(), w.leaf, w.inner.Cert)
		if got.Status != revocation.Revoked || got.Reason != ca.Superseded || !got.At.Equal(e.At) {
			t.Errorf("OCSP %v: %+v", ocsp, got)
		}
		if last := got.Steps[len(got.Steps)-1].Text; !strings.Contains(last, "revoked at 2026-03-14T09:25:53Z as superseded") {
			t.Errorf("last step %q", last)
		}
	}
}

// The issuing CA is revoked by the root: nothing below it is good, and what it
// says itself is not even asked.
func TestVerifyRevokedCA(t *testing.T) {
	w := newWeb(t)
	serial, ok := ca.SerialOf(w.inner.Cert.SerialNumber)
	if !ok {
		t.Fatal("no serial")
	}
	w.crl[revtest.URLOf(revtest.Root, 0)] = w.root.CRL(t, crl.List{Number: 2, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.AddDate(1, 0, 0),
		Entries: []crl.Revoked{{Serial: serial, At: revtest.Start, Reason: ca.CACompromise}}})
	got := w.v.Verify(t.Context(), w.leaf, w.inner.Cert)
	if got.Status != revocation.Revoked || got.Reason != ca.CACompromise || len(w.fetched) != 1 {
		t.Errorf("%+v, fetched %q", got, w.fetched)
	}
}

// Each row is something that must not be believed. Where only OCSP is spoilt,
// the CRL, which lists the certificate, decides; where the CRL is spoilt, OCSP is gone.
// foreign is another CA of the same name.
func unbelievable(foreign *revtest.Authority) map[string]func(*web) {
	selfMade := func(change func(*x509.Certificate)) func(*web) {
		return func(w *web) {
			key := revtest.NewKey(w.t)
			cert := w.inner.Signer(w.t, key, change)
			w.ocsp = w.forge(cert, key, nil)
		}
	}
	listed := func(change func(*crl.List)) func(*web) {
		return func(w *web) { w.noOCSP(); w.crl[revtest.URLOf(revtest.Person, 3)] = w.inner.CRL(w.t, w.list(change)) }
	}
	return map[string]func(*web){
		"nothing answers": func(w *web) { w.noOCSP(); delete(w.crl, revtest.URLOf(revtest.Person, 3)) },
		"no root CRL":     func(w *web) { delete(w.crl, revtest.URLOf(revtest.Root, 0)) },
		"root CRL ended": func(w *web) {
			w.crl[revtest.URLOf(revtest.Root, 0)] = w.root.CRL(w.t, crl.List{Number: 1, ThisUpdate: revtest.Start.AddDate(-1, 0, 0), NextUpdate: revtest.Start.Add(-2 * time.Minute)})
		},
		"CRL ended":          listed(func(l *crl.List) { l.NextUpdate = revtest.Start.Add(-2 * time.Minute) }),
		"CRL of the future":  listed(func(l *crl.List) { l.ThisUpdate = revtest.Start.Add(2 * time.Minute) }),
		"another partition":  listed(func(l *crl.List) { l.DistributionPoint = revtest.URLOf(revtest.Person, 2) }),
		"CRL of another key": func(w *web) { w.noOCSP(); w.crl[revtest.URLOf(revtest.Person, 3)] = foreign.CRL(w.t, w.list(nil)) },
		"CRL with a critical extension": func(w *web) {
			w.noOCSP()
			w.crl[revtest.URLOf(revtest.Person, 3)] = w.criticalCRL()
		},
		"never issued": func(w *web) { delete(w.Released, w.serial) },
		"OCSP error": func(w *web) {
			w.ocsp = func([]byte) ([]byte, error) { return ca.OCSPError(ca.OCSPTryLater), nil }
			delete(w.crl, revtest.URLOf(revtest.Person, 3))
		},
		"signer for another purpose": func(w *web) {
			selfMade(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })(w)
			delete(w.crl, revtest.URLOf(revtest.Person, 3))
		},
		"signer without nocheck": func(w *web) {
			selfMade(func(c *x509.Certificate) { c.ExtraExtensions = nil })(w)
			delete(w.crl, revtest.URLOf(revtest.Person, 3))
		},
		"signer has ended": func(w *web) {
			selfMade(func(c *x509.Certificate) { c.NotAfter = revtest.Start.Add(-time.Hour) })(w)
			delete(w.crl, revtest.URLOf(revtest.Person, 3))
		},
		"signer of another CA": func(w *web) {
			w.ocsp = w.forge(foreign.OCSPCert, foreign.OCSPKey, nil)
			delete(w.crl, revtest.URLOf(revtest.Person, 3))
		},
		"answer for another issuer": func(w *web) {
			w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, func(a *answer) { a.keyHash[0] ^= 1 })
			delete(w.crl, revtest.URLOf(revtest.Person, 3))
		},
		"replayed after its end": func(w *web) {
			w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, func(a *answer) { a.this, a.next = revtest.Start.Add(-2*time.Hour), revtest.Start.Add(-time.Hour) })
			delete(w.crl, revtest.URLOf(revtest.Person, 3))
		},
		"answer of the future": func(w *web) {
			w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, func(a *answer) { a.this = revtest.Start.Add(2 * time.Minute) })
			delete(w.crl, revtest.URLOf(revtest.Person, 3))
		},
	}
}

func TestVerifyFailsClosed(t *testing.T) {
	for name, spoil := range unbelievable(revtest.NewAuthority(t, revtest.Person, nil)) {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t)
			spoil(w)
			if got := w.v.Verify(t.Context(), w.leaf, w.inner.Cert); got.Status != revocation.Unknown {
				t.Errorf("status %v: %q", got.Status, got.Steps)
			}
		})
	}
	// The forger's tool makes answers that are believed when nothing is wrong.
	w := newWeb(t)
	w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, nil)
	if got := w.v.Verify(t.Context(), w.leaf, w.inner.Cert); got.Status != revocation.Good {
		t.Errorf("an honest answer: %+v", got)
	}
}

// criticalCRL is a delta CRL, which says so in a critical extension: it does not
// list what its base lists.
func (w *web) criticalCRL() []byte {
	w.t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(2), ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}},
	}, w.inner.Cert, w.inner.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return der
}

// answer is what forge signs.
type answer struct {
	nameHash, keyHash []byte
	this, next        time.Time
	status            []byte // CertStatus in DER; nil: good
}

// forge returns OCSP answers, "good" unless change says otherwise, signed by whatever key, encoded by
// encoding/asn1 and not by the code that is tested elsewhere.
func (w *web) forge(cert *x509.Certificate, key crypto.Signer, change func(*answer)) func([]byte) ([]byte, error) {
	return func(request []byte) ([]byte, error) {
		parsed, err := ca.ParseOCSPRequest(request)
		if err != nil {
			return nil, err
		}
		id := parsed.CertIDs[0]
		a := answer{[]byte(id.NameHash), []byte(id.KeyHash), revtest.Start.Add(-time.Minute), revtest.Start.Add(time.Hour), []byte{0x80, 0}}
		if change != nil {
			change(&a)
		}
		return forgeOCSP(w.t, a, id, cert, key), nil
	}
}

func forgeOCSP(t *testing.T, a answer, id ca.CertID, cert *x509.Certificate, key crypto.Signer) []byte {
	t.Helper()
	type certID struct {
		Algorithm pkix.AlgorithmIdentifier
		Name, Key []byte
		Serial    any
	}
	type single struct {
		ID     certID
		Status asn1.RawValue
		This   time.Time `asn1:"generalized"`
		Next   time.Time `asn1:"generalized,explicit,optional,tag:0"`
	}
	data := struct {
		Responder asn1.RawValue
		Produced  time.Time `asn1:"generalized"`
		Singles   []single
	}{
		Responder: asn1.RawValue{FullBytes: append([]byte{0xa2, 22, 4, 20}, make([]byte, 20)...)},
		Produced:  revtest.Start,
		Singles: []single{{ID: certID{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}, a.nameHash, a.keyHash, id.Serial},
			Status: asn1.RawValue{FullBytes: a.status}, This: a.this.UTC(), Next: a.next.UTC()}},
	}
	tbs := mustMarshal(t, data)
	h := crypto.SHA256.New()
	h.Write(tbs)
	signature, err := key.Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	basic := mustMarshal(t, struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0"`
	}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
		asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}, []asn1.RawValue{{FullBytes: cert.Raw}}})
	type bytesOf struct {
		Type asn1.ObjectIdentifier
		DER  []byte
	}
	return mustMarshal(t, struct {
		Status asn1.Enumerated
		Bytes  bytesOf `asn1:"explicit,tag:0"`
	}{0, bytesOf{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}, basic}})
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// OpenSSL checks every level of the chain against the CRLs, and believes the
// partition only of a certificate that names it.
func TestChainOpenSSL(t *testing.T) {
	w := newWeb(t)
	revoked := w.inner.Leaf(t, ca.NewSerial().Int(), 3)
	serial, _ := ca.SerialOf(revoked.SerialNumber)
	elsewhere := w.inner.Leaf(t, ca.NewSerial().Int(), 4)
	partition := w.inner.CRL(t, w.list(func(l *crl.List) {
		l.Entries = []crl.Revoked{{Serial: serial, At: revtest.Start.Add(-time.Minute), Reason: ca.Superseded}}
	}))
	inPEM := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}) }
	files := map[string][]byte{"root.pem": revtest.PEMOf(w.root.Cert), "inner.pem": revtest.PEMOf(w.inner.Cert), "leaf.pem": revtest.PEMOf(w.leaf), "revoked.pem": revtest.PEMOf(revoked),
		"elsewhere.pem": revtest.PEMOf(elsewhere), "crls.pem": append(inPEM(w.crl[revtest.URLOf(revtest.Root, 0)]), inPEM(partition)...), "partition.pem": inPEM(partition)}
	for _, test := range []struct{ crls, leaf, want string }{
		{"crls.pem", "leaf.pem", "leaf.pem: OK"},
		{"crls.pem", "revoked.pem", "certificate revoked"},
		{"crls.pem", "elsewhere.pem", "different CRL scope"},
		{"partition.pem", "leaf.pem", "unable to get certificate CRL"}, // the root's is missing
	} {
		out := revtest.OpenSSL(t, files, "verify", "-crl_check_all", "-CAfile", "root.pem", "-untrusted", "inner.pem", "-CRLfile", test.crls,
			"-attime", fmt.Sprint(revtest.Start.Unix()), test.leaf)
		if !strings.Contains(strings.ToLower(out), strings.ToLower(test.want)) {
			t.Errorf("%s with %s: openssl does not say %q:\n%s", test.leaf, test.crls, test.want, out)
		}
	}
}
