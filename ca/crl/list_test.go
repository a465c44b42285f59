package crl_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/catest"
)

const statusURL = "http://crl.example.test/crl/person-hsa-id-3-v1/7.crl"

// statusEntries returns n entries in order, of every reason.
func statusEntries(n int) []crl.Revoked {
	reasons := []ca.Reason{ca.Superseded, ca.KeyCompromise, ca.Unspecified, ca.CessationOfOperation, ca.AffiliationChanged, ca.PrivilegeWithdrawn}
	var list []crl.Revoked
	for i := range n {
		list = append(list, crl.Revoked{Serial: ca.NewSerial(), At: catest.Time.Add(-time.Duration(i) * time.Hour), Reason: reasons[i%len(reasons)]})
	}
	slices.SortFunc(list, func(a, b crl.Revoked) int { return bytes.Compare(a.Serial[:], b.Serial[:]) })
	return list
}

func statusList(n int) crl.List {
	return crl.List{Number: 41, ThisUpdate: catest.Time, NextUpdate: catest.Time.Add(24 * time.Hour), DistributionPoint: statusURL, Entries: statusEntries(n)}
}

// Every algorithm, every form: what the standard library reads is what was asked for.
func TestSignCRL(t *testing.T) {
	for name, key := range catest.Keys(t) {
		t.Run(name, func(t *testing.T) {
			tree := catest.NewTree(t, key, catest.ECDSA(t, elliptic.P256()))
			signer, err := crl.NewSigner(tree.Issuer, key)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{0, 1, 40} {
				for _, url := range []string{statusURL, ""} {
					list := statusList(n)
					list.DistributionPoint = url
					der, err := signer.SignCRL(list)
					if err != nil {
						t.Fatal(err)
					}
					checkCRL(t, der, list, tree.Issuer)
				}
			}
		})
	}
}

func checkCRL(t *testing.T, der []byte, want crl.List, issuer *x509.Certificate) {
	t.Helper()
	got, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.CheckSignatureFrom(issuer); err != nil {
		t.Error(err)
	}
	if got.Number.Int64() != want.Number || !got.ThisUpdate.Equal(want.ThisUpdate) || !got.NextUpdate.Equal(want.NextUpdate) {
		t.Errorf("number %v, thisUpdate %v, nextUpdate %v", got.Number, got.ThisUpdate, got.NextUpdate)
	}
	if !bytes.Equal(got.AuthorityKeyId, issuer.SubjectKeyId) || !bytes.Equal(got.RawIssuer, issuer.RawSubject) {
		t.Error("issuer is not named by name and key identifier")
	}
	url, err := crl.IssuingDistributionPoint(got)
	if err != nil || url != want.DistributionPoint {
		t.Errorf("issuing distribution point = %q, %v, want %q", url, err, want.DistributionPoint)
	}
	if len(got.RevokedCertificateEntries) != len(want.Entries) {
		t.Fatalf("%d entries, want %d", len(got.RevokedCertificateEntries), len(want.Entries))
	}
	for i, e := range got.RevokedCertificateEntries {
		w := want.Entries[i]
		if e.SerialNumber.Cmp(w.Serial.Int()) != 0 || !e.RevocationTime.Equal(w.At) || e.ReasonCode != int(w.Reason) {
			t.Errorf("entry %d = %v %v %d, want %v", i, e.SerialNumber, e.RevocationTime, e.ReasonCode, w)
		}
		if wantExt := w.Reason != ca.Unspecified; (len(e.Extensions) == 1) != wantExt {
			t.Errorf("entry %d with reason %v has %d extensions", i, w.Reason, len(e.Extensions))
		}
	}
}

// The issuing distribution point is what SChannel compares with the
// certificate's address byte by byte: the encoding is held against one written
// by hand from RFC 5280, 5.2.5.
func TestSignCRLDistributionPointBytes(t *testing.T) {
	key := catest.ECDSA(t, elliptic.P256())
	tree := catest.NewTree(t, key, key)
	signer, err := crl.NewSigner(tree.Issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	list := statusList(1)
	list.DistributionPoint = "http://a.test/0.crl"
	der, err := signer.SignCRL(list)
	if err != nil {
		t.Fatal(err)
	}
	// 2.5.29.28, critical, SEQUENCE { [0] { [0] { [6] the 19 octets } } }
	want, err := hex.DecodeString("30250603551d1c0101ff041b3019a017a0158613" + hex.EncodeToString([]byte(list.DistributionPoint)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(der, want) {
		t.Errorf("the list does not contain %x", want)
	}
}

func TestSignCRLRefuses(t *testing.T) {
	key := catest.ECDSA(t, elliptic.P256())
	tree := catest.NewTree(t, key, key)
	signer, err := crl.NewSigner(tree.Issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*crl.List){
		"number 0":        func(l *crl.List) { l.Number = 0 },
		"negative number": func(l *crl.List) { l.Number = -3 },
		"no thisUpdate":   func(l *crl.List) { l.ThisUpdate = time.Time{} },
		"no validity":     func(l *crl.List) { l.NextUpdate = l.ThisUpdate },
		"not in order":    func(l *crl.List) { l.Entries[0], l.Entries[1] = l.Entries[1], l.Entries[0] },
		"serial twice":    func(l *crl.List) { l.Entries[1] = l.Entries[0] },
		"no serial":       func(l *crl.List) { l.Entries[0].Serial = ca.Serial{} },
		"no time":         func(l *crl.List) { l.Entries[2].At = time.Time{} },
	} {
		list := statusList(3)
		spoil(&list)
		if der, err := signer.SignCRL(list); err == nil || der != nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// faultySigner changes what the key returns, as a broken token would.
type faultySigner struct {
	crypto.Signer
	spoil func([]byte) ([]byte, error)
}

func (f faultySigner) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := f.Signer.Sign(r, digest, opts)
	if err != nil {
		return nil, err
	}
	return f.spoil(signature)
}

// A signature that does not verify never leaves, and a refusal of the key is told.
func TestSignCRLFaultyKey(t *testing.T) {
	key := catest.ECDSA(t, elliptic.P256())
	tree := catest.NewTree(t, key, key)
	refused := errors.New("token refuses")
	for name, test := range map[string]struct {
		spoil func([]byte) ([]byte, error)
		want  error
	}{
		"refused": {func([]byte) ([]byte, error) { return nil, refused }, refused},
		"wrong":   {func(s []byte) ([]byte, error) { s[len(s)-1] ^= 1; return s, nil }, nil},
		"empty":   {func([]byte) ([]byte, error) { return nil, nil }, nil},
	} {
		signer, err := crl.NewSigner(tree.Issuer, faultySigner{key, test.spoil})
		if err != nil {
			t.Fatal(err)
		}
		der, err := signer.SignCRL(statusList(2))
		if err == nil || der != nil {
			t.Errorf("%s: a list came out", name)
		}
		if test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v does not tell %v", name, err, test.want)
		}
		var out bytes.Buffer
		if err := signer.WriteCRL(&out, statusList(0), crl.Lines{}); err == nil {
			t.Errorf("%s: a list was written", name)
		} else if _, _, err := readCRL(out.Bytes(), tree.Issuer); err == nil {
			t.Errorf("%s: what was written can be read", name)
		}
	}
}

func TestNewCRLSignerRefuses(t *testing.T) {
	key, other := catest.ECDSA(t, elliptic.P256()), catest.ECDSA(t, elliptic.P256())
	noSign := catest.CA("x")
	noSign.KeyUsage = x509.KeyUsageCertSign
	leaf := catest.OCSPSigner()
	leaf.KeyUsage |= x509.KeyUsageCRLSign
	good := catest.Issue(t, catest.CA("x"), nil, key.Public(), key)
	for name, test := range map[string]struct {
		cert   *x509.Certificate
		signer crypto.Signer
	}{
		"no certificate":     {nil, key},
		"no key":             {good, nil},
		"another key":        {good, other},
		"may not sign CRLs":  {catest.Issue(t, noSign, nil, key.Public(), key), key},
		"not a CA":           {catest.Issue(t, leaf, good, key.Public(), key), key},
		"no key identifier":  {func() *x509.Certificate { c := *good; c.SubjectKeyId = nil; return &c }(), key},
		"curve nobody knows": {catest.Issue(t, catest.CA("x"), nil, catest.ECDSA(t, elliptic.P224()).Public(), key), catest.ECDSA(t, elliptic.P224())},
	} {
		if _, err := crl.NewSigner(test.cert, test.signer); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestIssuingDistributionPointRefuses(t *testing.T) {
	good := "301ba019a0178615" + hex.EncodeToString([]byte("http://a.test/000.crl"))
	for name, test := range map[string]struct {
		value    string
		critical bool
	}{
		"not critical":         {good, false},
		"trailing octets":      {good + "00", true},
		"onlyContainsCACerts":  {"301ea019a0178615" + hex.EncodeToString([]byte("http://a.test/000.crl")) + "8201ff", true},
		"two addresses":        {"300aa008a006860161860162", true},
		"empty address":        {"3006a004a0028600", true},
		"no distributionPoint": {"3000", true},
		"relative name":        {"3006a004a1028600", true},
		"not DER":              {"ff", true},
	} {
		value, err := hex.DecodeString(test.value)
		if err != nil {
			t.Fatal(err)
		}
		list := &x509.RevocationList{}
		list.Extensions = append(list.Extensions, catest.Extension(asn1.ObjectIdentifier{2, 5, 29, 28}, test.critical, value))
		if url, err := crl.IssuingDistributionPoint(list); err == nil {
			t.Errorf("%s: read as %q", name, url)
		}
	}
}

func TestSignCRLOpenSSL(t *testing.T) {
	for name, key := range catest.Keys(t) {
		t.Run(name, func(t *testing.T) {
			tree := catest.NewTree(t, key, catest.ECDSA(t, elliptic.P256()))
			signer, err := crl.NewSigner(tree.Issuer, key)
			if err != nil {
				t.Fatal(err)
			}
			list := statusList(6)
			der, err := signer.SignCRL(list)
			if err != nil {
				t.Fatal(err)
			}
			out := catest.OpenSSL(t, map[string][]byte{"ca.pem": catest.PEM(tree.Issuer), "list.crl": der},
				"crl", "-inform", "DER", "-in", "list.crl", "-CAfile", "ca.pem", "-verify", "-text", "-noout")
			wants := []string{"verify OK", "Version 2", "X509v3 Issuing Distribution Point: critical", "URI:" + statusURL, "X509v3 CRL Number: \n                41", "Key Compromise", "Superseded", "Affiliation Changed", "Cessation Of Operation", "Privilege Withdrawn"}
			for _, e := range list.Entries {
				wants = append(wants, strings.ToUpper(e.Serial.String()))
			}
			for _, want := range wants {
				if !strings.Contains(out, want) {
					t.Errorf("openssl does not say %q:\n%s", want, out)
				}
			}
			if strings.Contains(out, "Unspecified") {
				t.Error("reason unspecified is written though it must be left out")
			}
		})
	}
}
