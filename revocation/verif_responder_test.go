package revocation_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
)

// signed is an answer "good" by whatever key, with whatever certificates beside it.
type signed struct {
	key   crypto.Signer
	pss   bool
	certs []*x509.Certificate
}

// answer encodes and signs it, by other code than what reads it.
func (s signed) answer(t testing.TB, request []byte) []byte {
	t.Helper()
	r, err := ca.ParseOCSPRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	id := r.CertIDs[0]
	type single struct {
		ID   asn1.RawValue
		Good asn1.RawValue
		This time.Time `asn1:"generalized"`
		Next time.Time `asn1:"generalized,explicit,tag:0"`
	}
	tbs := mustMarshal(t, struct {
		Responder asn1.RawValue
		Produced  time.Time `asn1:"generalized"`
		Singles   []single
	}{asn1.RawValue{FullBytes: append([]byte{0xa2, 22, 4, 20}, make([]byte, 20)...)}, revtest.Start,
		[]single{{asn1.RawValue{FullBytes: id.Raw}, asn1.RawValue{FullBytes: []byte{0x80, 0}}, revtest.Start.Add(-time.Minute), revtest.Start.Add(time.Hour)}}})
	algorithm, options, message := s.method(t, tbs)
	signature, err := s.key.Sign(rand.Reader, message, options)
	if err != nil {
		t.Fatal(err)
	}
	var certs []asn1.RawValue
	for _, cert := range s.certs {
		certs = append(certs, asn1.RawValue{FullBytes: cert.Raw})
	}
	parts := struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
		Certs          []asn1.RawValue `asn1:"explicit,optional,omitempty,tag:0"`
	}{asn1.RawValue{FullBytes: tbs}, asn1.RawValue{FullBytes: algorithm}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}, certs}
	basic := mustMarshal(t, parts)
	return mustMarshal(t, struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type asn1.ObjectIdentifier
			DER  []byte
		} `asn1:"explicit,tag:0"`
	}{0, struct {
		Type asn1.ObjectIdentifier
		DER  []byte
	}{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}, basic}})
}

func (s signed) method(t testing.TB, tbs []byte) (algorithm []byte, options crypto.SignerOpts, message []byte) {
	t.Helper()
	digest := sha256.Sum256(tbs)
	sha := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, Parameters: asn1.NullRawValue}
	switch s.key.(type) {
	case *rsa.PrivateKey:
		if !s.pss {
			return mustMarshal(t, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue}), crypto.SHA256, digest[:]
		}
		params := mustMarshal(t, struct {
			Hash pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
			MGF  pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
			Salt int                      `asn1:"explicit,tag:2"`
		}{sha, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}, Parameters: asn1.RawValue{FullBytes: mustMarshal(t, sha)}}, 32})
		return mustMarshal(t, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}, Parameters: asn1.RawValue{FullBytes: params}}),
			&rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}, digest[:]
	case ed25519.PrivateKey:
		return mustMarshal(t, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}}), crypto.Hash(0), tbs
	}
	return mustMarshal(t, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}), crypto.SHA256, digest[:]
}

// Each form of a responder that is in use is believed: the issuer itself, one to
// whom it delegated, each with whatever certificates in whatever order.
func TestVerifyResponders(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	issuer, delegate := w.inner.Cert, w.inner.OCSPCert
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaCert := w.inner.Signer(t, rsaKey, func(*x509.Certificate) {})
	edCert := w.inner.Signer(t, edKey, func(*x509.Certificate) {})
	strange := w.inner.Signer(t, w.inner.OCSPKey, func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: []int{2, 999, 1}, Critical: true, Value: []byte{5, 0}})
	})
	type certs = []*x509.Certificate
	for name, test := range map[string]struct {
		signed
		good bool
	}{
		"the issuer":                                  {signed{w.inner.Key, false, nil}, true},
		"the issuer, with its certificate":            {signed{w.inner.Key, false, certs{issuer}}, true},
		"a delegate":                                  {signed{w.inner.OCSPKey, false, certs{delegate}}, true},
		"a delegate, then the issuer":                 {signed{w.inner.OCSPKey, false, certs{delegate, issuer}}, true},
		"the issuer, then a delegate":                 {signed{w.inner.OCSPKey, false, certs{issuer, delegate}}, true},
		"a delegate after a root and a holder":        {signed{w.inner.OCSPKey, false, certs{w.root.Cert, w.leaf, delegate}}, true},
		"a delegate that is left out":                 {signed{w.inner.OCSPKey, false, certs{issuer}}, false},
		"RSA":                                         {signed{rsaKey, false, certs{rsaCert}}, true},
		"RSA-PSS":                                     {signed{rsaKey, true, certs{rsaCert, issuer}}, true},
		"Ed25519":                                     {signed{edKey, false, certs{edCert}}, true},
		"a critical extension that is not known":      {signed{w.inner.OCSPKey, false, certs{strange}}, false},
		"the delegate of the CA above":                {signed{w.root.OCSPKey, false, certs{w.root.OCSPCert}}, false},
		"the CA above":                                {signed{w.root.Key, false, certs{w.root.Cert}}, false},
		"a stranger, with the delegate's certificate": {signed{revtest.NewKey(t), false, certs{delegate}}, false},
	} {
		w.ocsp = func(request []byte) ([]byte, error) { return test.answer(t, request), nil }
		got := w.judge()
		if (got.Status == revocation.Good) != test.good {
			t.Errorf("%s: %s, %v", name, got.Status, got.Steps)
		}
		// Another reader agrees, as far as it goes.
		answer := test.answer(t, requestFor(t, w.leaf, issuer))
		if parsed, err := ocsp.ParseResponseForCert(answer, w.leaf, issuer); err == nil && parsed.Status == ocsp.Good && !test.good && name != "a critical extension that is not known" {
			t.Errorf("%s: x/crypto/ocsp believes it", name)
		}
	}
}

// Parameters of RSA-PSS in another form than the usual one are refused, also where
// the signature itself is in the usual one.
func TestVerifySaltOfAnotherLength(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := signed{key, true, []*x509.Certificate{w.inner.Signer(t, key, func(*x509.Certificate) {})}}
	salt := []byte{0xa2, 3, 2, 1, 32}
	w.ocsp = func(request []byte) ([]byte, error) {
		der := s.answer(t, request)
		if bytes.Count(der, salt) != 1 {
			t.Errorf("the salt stands %d times in the answer", bytes.Count(der, salt))
		}
		return bytes.Replace(der, salt, []byte{0xa2, 3, 2, 1, 20}, 1), nil
	}
	got := w.judge()
	w.want(got, revocation.Unknown, revocation.CauseUnbelievable)
	if !strings.Contains(text(got), "a salt of 20 octets is not accepted") {
		t.Errorf("%v", got.Steps)
	}
}

// The issuer's certificate beside an answer is not what is wrong with it.
func TestVerifyToldWhoDidNotSign(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	w.ocsp = func(request []byte) ([]byte, error) {
		return signed{w.inner.OCSPKey, false, []*x509.Certificate{w.inner.Cert}}.answer(t, request), nil
	}
	got := w.judge()
	w.want(got, revocation.Unknown, revocation.CauseUnbelievable)
	if !strings.Contains(text(got), `it is not signed by "TEST person-hsa-id-3-v1"`) {
		t.Errorf("%v", got.Steps)
	}
}

// An answer that is rightly signed, and about another certificate, tells nothing of
// this one: of another serial of the issuer's, or of this serial of another issuer's.
func TestVerifyAnswerAboutAnother(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	honest := w.forge(w.inner.OCSPCert, w.inner.OCSPKey, nil)
	neighbour := w.inner.Leaf(t, ca.NewSerial().Int(), 3)
	namesake := revtest.NewAuthority(t, revtest.Person, nil)
	for name, about := range map[string][]byte{
		"another serial":               requestFor(t, neighbour, w.inner.Cert),
		"another issuer's key":         requestFor(t, w.leaf, namesake.Cert),
		"another issuer's name":        requestFor(t, w.leaf, renamed(t, w.inner.Cert)),
		"another issuer's certificate": requestFor(t, w.leaf, w.root.Cert),
	} {
		der, err := honest(about)
		if err != nil {
			t.Fatal(err)
		}
		w.ocsp = func([]byte) ([]byte, error) { return der, nil }
		if got := w.judge(); got.Status != revocation.Unknown || got.Cause != revocation.CauseUnbelievable {
			t.Errorf("%s, fetched: %s, %v", name, got.Status, got.Steps)
		}
		if got := w.judge(der); got.Status != revocation.Unknown || got.Cause != revocation.CauseUnbelievable {
			t.Errorf("%s, stapled: %s, %v", name, got.Status, got.Steps)
		}
	}
	w.ocsp = honest
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
}

// renamed is the same key under another name.
func renamed(t *testing.T, cert *x509.Certificate) *x509.Certificate {
	other := *cert
	other.RawSubject = mustMarshal(t, pkix.Name{CommonName: "TEST another"}.ToRDNSequence())
	return &other
}

// A holder cannot vouch for himself, whatever stands in his certificate beside
// the purpose.
func TestVerifyHolderIsNoResponder(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	key := revtest.NewKey(t)
	holder := *w.leaf
	holder.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}
	w.leaf = revtest.Sign(t, &holder, w.inner.Cert, key.Public(), w.inner.Key)
	w.ocsp = func(request []byte) ([]byte, error) {
		return signed{key, false, []*x509.Certificate{w.leaf}}.answer(t, request), nil
	}
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnbelievable)
}

// An answer says two things of one certificate: it says nothing.
func TestVerifyContradiction(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	honest := signed{w.inner.OCSPKey, false, []*x509.Certificate{w.inner.OCSPCert}}
	w.ocsp = func(request []byte) ([]byte, error) {
		r, err := ca.ParseOCSPRequest(request)
		if err != nil {
			return nil, err
		}
		der, _, err := w.inner.Responder(t).SignOCSP(ca.OCSPAnswer{ProducedAt: revtest.Start, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour),
			Singles: []ca.OCSPSingle{{ID: r.CertIDs[0], Status: ca.OCSPGood}, {ID: r.CertIDs[0], Status: ca.OCSPRevoked, At: revtest.Start}}})
		return der, err
	}
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnbelievable)
	w.ocsp = func(request []byte) ([]byte, error) { return honest.answer(t, request), nil }
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
}

// An answer that was made at a time that has not come is somebody's clock or
// somebody's forgery.
func TestVerifyMadeInTheFuture(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	for ahead, cause := range map[time.Duration]revocation.Cause{30 * time.Second: revocation.CauseGood, 2 * time.Minute: revocation.CauseUnbelievable} {
		w.ocsp = func(request []byte) ([]byte, error) {
			r, err := ca.ParseOCSPRequest(request)
			if err != nil {
				return nil, err
			}
			der, _, err := w.inner.Responder(t).SignOCSP(ca.OCSPAnswer{ProducedAt: revtest.Start.Add(ahead), ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour),
				Singles: []ca.OCSPSingle{{ID: r.CertIDs[0], Status: ca.OCSPGood}}})
			return der, err
		}
		if got := w.judge(); got.Cause != cause {
			t.Errorf("%s ahead: %s", ahead, got.Cause)
		}
	}
}
