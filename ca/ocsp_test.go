package ca_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/catest"
)

// The ASN.1 of RFC 6960 for encoding/asn1: another encoder than the one tested.
type (
	rfcRequest struct {
		TBS       rfcTBS
		Signature asn1.RawValue `asn1:"optional"`
	}
	rfcTBS struct {
		Version    int           `asn1:"explicit,tag:0,default:0,optional"`
		Name       asn1.RawValue `asn1:"optional"`
		List       []rfcOne
		Extensions []pkix.Extension `asn1:"explicit,tag:2,optional,omitempty"`
	}
	rfcOne struct {
		ID         rfcCertID
		Extensions []pkix.Extension `asn1:"explicit,tag:0,optional,omitempty"`
	}
	rfcCertID struct {
		Algorithm pkix.AlgorithmIdentifier
		Name, Key []byte
		Serial    *big.Int
	}
)

var (
	rfcSHA1   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	rfcSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	rfcSHA384 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	rfcNonce  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
)

func rfcID(oid asn1.ObjectIdentifier, size int, serial int64) rfcCertID {
	return rfcCertID{pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.NullRawValue},
		bytes.Repeat([]byte{1}, size), bytes.Repeat([]byte{2}, size), big.NewInt(serial)}
}

func rfcMarshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// rfcWithNonce is a request whose nonce extension has this value.
func rfcWithNonce(t testing.TB, value []byte) []byte {
	return rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{{ID: rfcID(rfcSHA1, 20, 7)}},
		Extensions: []pkix.Extension{{Id: rfcNonce, Value: value}}}})
}

func octetString(t testing.TB, n int) []byte { return rfcMarshal(t, bytes.Repeat([]byte{0xab}, n)) }

func TestParseOCSPRequest(t *testing.T) {
	absent := rfcID(rfcSHA1, 20, 7)
	absent.Algorithm.Parameters = asn1.RawValue{}
	raw := func(s string) asn1.RawValue {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return asn1.RawValue{FullBytes: b}
	}
	one := []rfcOne{{ID: rfcID(rfcSHA1, 20, 7)}}
	for name, test := range map[string]struct {
		request rfcRequest
		hashes  []crypto.Hash
	}{
		"SHA-1":               {rfcRequest{TBS: rfcTBS{List: one}}, []crypto.Hash{crypto.SHA1}},
		"parameters absent":   {rfcRequest{TBS: rfcTBS{List: []rfcOne{{ID: absent}}}}, []crypto.Hash{crypto.SHA1}},
		"SHA-1 and SHA-256":   {rfcRequest{TBS: rfcTBS{List: []rfcOne{one[0], {ID: rfcID(rfcSHA256, 32, 7)}}}}, []crypto.Hash{crypto.SHA1, crypto.SHA256}},
		"SHA-384 is no error": {rfcRequest{TBS: rfcTBS{List: []rfcOne{{ID: rfcID(rfcSHA384, 48, 7)}}}}, []crypto.Hash{0}},
		"signed, with a name": {rfcRequest{TBS: rfcTBS{Name: raw("a1048202" + hex.EncodeToString([]byte("me"))), List: one}, Signature: raw("a0023000")}, []crypto.Hash{crypto.SHA1}},
		"written version":     {rfcRequest{TBS: rfcTBS{Name: raw("a003020100"), List: one}}, []crypto.Hash{crypto.SHA1}},
		"unknown extension": {rfcRequest{TBS: rfcTBS{List: []rfcOne{{ID: one[0].ID, Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}}},
			Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}}}, []crypto.Hash{crypto.SHA1}},
		"sixteen": {rfcRequest{TBS: rfcTBS{List: repeat(one[0], 16)}}, repeat(crypto.SHA1, 16)},
	} {
		got, err := ca.ParseOCSPRequest(rfcMarshal(t, test.request))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got.CertIDs) != len(test.hashes) || got.Nonce != nil {
			t.Errorf("%s: %d CertIDs, nonce %x", name, len(got.CertIDs), got.Nonce)
			continue
		}
		for i, id := range got.CertIDs {
			want := test.request.TBS.List[i].ID
			if id.Hash != test.hashes[i] || id.NameHash != string(want.Name) || id.KeyHash != string(want.Key) ||
				id.Serial.Cmp(want.Serial) != 0 || !bytes.Equal(id.Raw, rfcMarshal(t, want)) {
				t.Errorf("%s: CertID %d = %+v", name, i, id)
			}
		}
	}
}

func repeat[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestParseOCSPRequestRefuses(t *testing.T) {
	one := rfcOne{ID: rfcID(rfcSHA1, 20, 7)}
	good := rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{one}}})
	odd := one
	odd.ID.Algorithm.Parameters = asn1.RawValue{FullBytes: []byte{4, 1, 0}}
	uneven := one
	uneven.ID.Name = uneven.ID.Name[1:]
	inside := bytes.Clone(good) // one more element within the request
	inside = append(inside, 5, 0)
	inside[1] += 2
	critical := []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	nonce := pkix.Extension{Id: rfcNonce, Value: octetString(t, 16)}
	for name, der := range map[string][]byte{
		"nothing":             nil,
		"not DER":             []byte("GET"),
		"cut":                 good[:len(good)-1],
		"trailing octet":      append(bytes.Clone(good), 0),
		"version 2":           rfcMarshal(t, rfcRequest{TBS: rfcTBS{Version: 1, List: []rfcOne{one}}}),
		"no certificate":      rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{}}}),
		"seventeen":           rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: repeat(one, 17)}}),
		"too long":            rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{one}, Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, 4096)}}}}),
		"hash of wrong size":  rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{{ID: rfcID(rfcSHA256, 20, 7)}}}}),
		"name hash too short": rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{uneven}}}),
		"trailing inside":     inside,
		"odd parameters":      rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{odd}}}),
		"critical extension":  rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{one}, Extensions: critical}}),
		"critical single ext": rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{{ID: one.ID, Extensions: critical}}}}),
		"two nonces":          rfcMarshal(t, rfcRequest{TBS: rfcTBS{List: []rfcOne{one}, Extensions: []pkix.Extension{nonce, nonce}}}),
		"serial not minimal":  bytes.Replace(good, []byte{2, 1, 7}, []byte{2, 1}, 1),
	} {
		if got, err := ca.ParseOCSPRequest(der); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

// RFC 9654: 1 to 128 octets, everything else is malformed; a nonce comes with or
// without an OCTET STRING of its own and goes back as it came.
func TestParseOCSPRequestNonce(t *testing.T) {
	twice := rfcMarshal(t, octetString(t, 32))
	for name, test := range map[string]struct {
		value []byte
		ok    bool
	}{
		"0": {octetString(t, 0), false}, "1": {octetString(t, 1), true}, "16": {octetString(t, 16), true},
		"32": {octetString(t, 32), true}, "128": {octetString(t, 128), true}, "129": {octetString(t, 129), false},
		"wrapped twice": {twice, true},
		"raw 0":         {[]byte{}, false}, "raw 16": {bytes.Repeat([]byte{9}, 16), true},
		"raw 128": {bytes.Repeat([]byte{9}, 128), true}, "raw 129": {bytes.Repeat([]byte{9}, 129), false},
	} {
		got, err := ca.ParseOCSPRequest(rfcWithNonce(t, test.value))
		if (err == nil) != test.ok {
			t.Errorf("%s: err = %v, want ok %v", name, err, test.ok)
		}
		if err == nil && !bytes.Equal(got.Nonce, test.value) {
			t.Errorf("%s: nonce %x, want %x", name, got.Nonce, test.value)
		}
	}
}

// FuzzParseOCSPRequest: no panic, nothing past the limits, and what is read
// names the same certificates as the standard parser of x/crypto reads.
func FuzzParseOCSPRequest(f *testing.F) {
	f.Add(rfcMarshal(f, rfcRequest{TBS: rfcTBS{List: []rfcOne{{ID: rfcID(rfcSHA1, 20, 7)}, {ID: rfcID(rfcSHA256, 32, -1)}}}}))
	f.Add(rfcWithNonce(f, octetString(f, 32)))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		got, err := ca.ParseOCSPRequest(der)
		if err != nil {
			return
		}
		if n := len(got.CertIDs); n < 1 || n > 16 || len(der) > ca.MaxOCSPRequest || got.Nonce != nil && len(got.Nonce) == 0 {
			t.Fatalf("past the limits: %d CertIDs, %d octets, nonce %x", n, len(der), got.Nonce)
		}
		for _, id := range got.CertIDs {
			if !bytes.Contains(der, id.Raw) {
				t.Fatal("a CertID is not what was sent")
			}
		}
		other, err := ocsp.ParseRequest(der)
		if err != nil {
			return // it knows no hash but its own and not every form
		}
		first := got.CertIDs[0]
		if other.HashAlgorithm != first.Hash && (first.Hash != 0) || string(other.IssuerNameHash) != first.NameHash ||
			string(other.IssuerKeyHash) != first.KeyHash || other.SerialNumber.Cmp(first.Serial) != 0 {
			t.Fatalf("read %+v, x/crypto reads %+v", first, other)
		}
	})
}

// question is a request by x/crypto for a serial of the tree's issuer.
func question(t *testing.T, tree *catest.Tree, serial ca.Serial, hash crypto.Hash) (*ca.OCSPRequest, *x509.Certificate) {
	t.Helper()
	cert := &x509.Certificate{SerialNumber: serial.Int(), RawIssuer: tree.Issuer.RawSubject}
	der, err := ocsp.CreateRequest(cert, tree.Issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	request, err := ca.ParseOCSPRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	name, key, err := ca.IssuerHashes(tree.Issuer, hash)
	if err != nil {
		t.Fatal(err)
	}
	if id := request.CertIDs[0]; id.NameHash != name || id.KeyHash != key {
		t.Errorf("%v: x/crypto names the issuer %x %x, we %x %x", hash, id.NameHash, id.KeyHash, name, key)
	}
	return request, cert
}

// Every algorithm and status, read and verified by x/crypto.
func TestSignOCSP(t *testing.T) {
	for name, key := range catest.Keys(t) {
		if name == "Ed25519" {
			continue // x/crypto/ocsp does not know it; OpenSSL is asked below
		}
		t.Run(name, func(t *testing.T) {
			tree := catest.NewTree(t, catest.ECDSA(t, elliptic.P256()), key)
			responder, err := ca.NewResponder(tree.Issuer, tree.Signer, key)
			if err != nil {
				t.Fatal(err)
			}
			at := catest.Time.Add(-90 * time.Minute)
			for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
				for _, test := range []struct {
					single ca.OCSPSingle
					want   int
				}{
					{ca.OCSPSingle{Status: ca.OCSPGood}, ocsp.Good},
					{ca.OCSPSingle{Status: ca.OCSPUnknown}, ocsp.Unknown},
					{ca.OCSPSingle{Status: ca.OCSPRevoked, At: at, Reason: ca.Superseded}, ocsp.Revoked},
					{ca.OCSPSingle{Status: ca.OCSPRevoked, At: at}, ocsp.Revoked},
				} {
					serial := ca.NewSerial()
					request, cert := question(t, tree, serial, hash)
					test.single.ID = request.CertIDs[0]
					der, next, err := responder.SignOCSP(ca.OCSPAnswer{ProducedAt: catest.Time, ThisUpdate: catest.Time.Add(-5 * time.Minute),
						NextUpdate: catest.Time.Add(time.Hour), Singles: []ca.OCSPSingle{test.single}})
					if err != nil {
						t.Fatal(err)
					}
					got, err := ocsp.ParseResponseForCert(der, cert, tree.Issuer)
					if err != nil {
						t.Fatal(err)
					}
					if got.Status != test.want || got.SerialNumber.Cmp(serial.Int()) != 0 || got.IssuerHash != hash ||
						!got.ThisUpdate.Equal(catest.Time.Add(-5*time.Minute)) || !got.NextUpdate.Equal(catest.Time.Add(time.Hour)) ||
						!next.Equal(got.NextUpdate) || !got.ProducedAt.Equal(catest.Time) {
						t.Errorf("%v: %+v", test.single.Status, got)
					}
					if test.want == ocsp.Revoked && (!got.RevokedAt.Equal(at) || got.RevocationReason != int(test.single.Reason)) {
						t.Errorf("revoked at %v for %d", got.RevokedAt, got.RevocationReason)
					}
					if !bytes.Equal(got.Certificate.Raw, tree.Signer.Raw) {
						t.Error("the signer's certificate is not in the answer")
					}
					spki := struct {
						Algorithm asn1.RawValue
						Bits      asn1.BitString
					}{}
					if _, err := asn1.Unmarshal(tree.Signer.RawSubjectPublicKeyInfo, &spki); err != nil {
						t.Fatal(err)
					}
					if want := sha1.Sum(spki.Bits.Bytes); !bytes.Equal(got.ResponderKeyHash, want[:]) || got.RawResponderName != nil {
						t.Errorf("responder is not named by the hash of its key")
					}
				}
			}
		})
	}
}

// nextUpdate never passes the end of the signer; a signer that has ended is silent.
func TestSignOCSPSignerEnds(t *testing.T) {
	tree := catest.NewTree(t, catest.ECDSA(t, elliptic.P256()), catest.ECDSA(t, elliptic.P256()))
	responder, err := ca.NewResponder(tree.Issuer, tree.Signer, tree.SignerKey)
	if err != nil {
		t.Fatal(err)
	}
	request, _ := question(t, tree, ca.NewSerial(), crypto.SHA1)
	singles := []ca.OCSPSingle{{ID: request.CertIDs[0], Status: ca.OCSPGood}}
	end := tree.Signer.NotAfter
	for name, test := range map[string]struct {
		now  time.Time
		next time.Time
	}{
		"long before":    {end.Add(-2 * time.Hour), end.Add(-time.Hour)},
		"shortly before": {end.Add(-time.Minute), end},
		"at the end":     {end, time.Time{}},
		"after":          {end.Add(time.Minute), time.Time{}},
	} {
		der, next, err := responder.SignOCSP(ca.OCSPAnswer{ProducedAt: test.now, ThisUpdate: test.now.Add(-5 * time.Minute), NextUpdate: test.now.Add(time.Hour), Singles: singles})
		if test.next.IsZero() {
			if err == nil {
				t.Errorf("%s: answered until %v", name, next)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := ocsp.ParseResponse(der, tree.Issuer)
		if err != nil {
			t.Fatal(err)
		}
		if !got.NextUpdate.Equal(test.next) || !next.Equal(test.next) {
			t.Errorf("%s: nextUpdate %v and %v, want %v", name, got.NextUpdate, next, test.next)
		}
	}
	for name, a := range map[string]ca.OCSPAnswer{
		"nothing asked": {ProducedAt: catest.Time, ThisUpdate: catest.Time, NextUpdate: catest.Time.Add(time.Hour)},
		"no validity":   {ProducedAt: catest.Time, ThisUpdate: catest.Time, NextUpdate: catest.Time, Singles: singles},
		"no thisUpdate": {ProducedAt: catest.Time, NextUpdate: catest.Time, Singles: singles},
	} {
		if _, _, err := responder.SignOCSP(a); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
}

func TestNewResponderRefuses(t *testing.T) {
	tree := catest.NewTree(t, catest.ECDSA(t, elliptic.P256()), catest.ECDSA(t, elliptic.P256()))
	other := catest.NewTree(t, catest.ECDSA(t, elliptic.P256()), tree.SignerKey)
	signed := func(change func(*x509.Certificate)) *x509.Certificate {
		template := catest.OCSPSigner()
		change(template)
		return catest.Issue(t, template, tree.Issuer, tree.SignerKey.Public(), tree.IssuerKey)
	}
	for name, test := range map[string]struct {
		cert   *x509.Certificate
		signer crypto.Signer
	}{
		"no certificate":      {nil, tree.SignerKey},
		"no key":              {tree.Signer, nil},
		"another key":         {tree.Signer, tree.IssuerKey},
		"same name, other CA": {other.Signer, tree.SignerKey},
		"not for OCSP":        {signed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), tree.SignerKey},
		"any purpose is none": {signed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), tree.SignerKey},
		"no nocheck":          {signed(func(c *x509.Certificate) { c.ExtraExtensions = nil }), tree.SignerKey},
		"not for signatures":  {signed(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), tree.SignerKey},
		"a CA":                {signed(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), tree.SignerKey},
		"the issuer itself":   {tree.Issuer, tree.IssuerKey},
	} {
		if _, err := ca.NewResponder(tree.Issuer, test.cert, test.signer); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOCSPError(t *testing.T) {
	for status, want := range map[ca.OCSPErrorStatus]ocsp.ResponseStatus{
		ca.OCSPMalformedRequest: ocsp.Malformed, ca.OCSPInternalError: ocsp.InternalError,
		ca.OCSPTryLater: ocsp.TryLater, ca.OCSPUnauthorized: ocsp.Unauthorized,
	} {
		_, err := ocsp.ParseResponse(ca.OCSPError(status), nil)
		if got, ok := err.(ocsp.ResponseError); !ok || got.Status != want {
			t.Errorf("status %d is read as %v, want %v", status, err, want)
		}
	}
}

// OpenSSL reads several answers in one, the nonce and the archive cutoff, and
// verifies the delegated signer up to the issuer.
func TestSignOCSPOpenSSL(t *testing.T) {
	for name, key := range catest.Keys(t) {
		t.Run(name, func(t *testing.T) {
			tree := catest.NewTree(t, catest.ECDSA(t, elliptic.P256()), key)
			responder, err := ca.NewResponder(tree.Issuer, tree.Signer, key)
			if err != nil {
				t.Fatal(err)
			}
			nonce := octetString(t, 32)
			cutoff := tree.Issuer.NotBefore
			var singles []ca.OCSPSingle
			for i, status := range []ca.OCSPStatus{ca.OCSPGood, ca.OCSPRevoked, ca.OCSPUnknown} {
				request, _ := question(t, tree, ca.NewSerial(), []crypto.Hash{crypto.SHA1, crypto.SHA256}[i%2])
				singles = append(singles, ca.OCSPSingle{ID: request.CertIDs[0], Status: status, At: catest.Time.Add(-time.Hour), Reason: ca.KeyCompromise, ArchiveCutoff: cutoff})
			}
			der, _, err := responder.SignOCSP(ca.OCSPAnswer{ProducedAt: catest.Time, ThisUpdate: catest.Time.Add(-5 * time.Minute),
				NextUpdate: catest.Time.Add(time.Hour), Singles: singles, Nonce: nonce})
			if err != nil {
				t.Fatal(err)
			}
			// -no_cert_checks is not given: EKU, nocheck and chain are judged.
			out := catest.OpenSSL(t, map[string][]byte{"ca.pem": catest.PEM(tree.Issuer), "answer.der": der},
				"ocsp", "-respin", "answer.der", "-CAfile", "ca.pem", "-text", "-attime", "1773480413")
			for _, want := range []string{"Response verify OK", "Cert Status: good", "Cert Status: revoked", "Cert Status: unknown",
				"Revocation Time: Mar 14 08:26:53 2026 GMT", "Revocation Reason: keyCompromise", "This Update: Mar 14 09:21:53 2026 GMT",
				"Next Update: Mar 14 10:26:53 2026 GMT", "OCSP Archive Cutoff", "Mar 14 09:26:53 2025 GMT", "OCSP Nonce",
				strings.ToUpper(hex.EncodeToString(nonce)), "Hash Algorithm: sha1", "Hash Algorithm: sha256"} {
				if !strings.Contains(out, want) {
					t.Errorf("openssl does not say %q:\n%s", want, out)
				}
			}
		})
	}
}
