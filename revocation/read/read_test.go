package read_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation/read"
	"sigill/testdata/pkits"
)

// Every serial of a list is found, whatever its length and sign, and nothing
// else is; crypto/x509 made the list.
func TestLookup(t *testing.T) {
	root := revtest.NewAuthority(t, revtest.Root, nil)
	at := func(n int) time.Time { return revtest.Start.Add(-time.Duration(n) * time.Minute) }
	two := big.NewInt(2)
	listed := []*big.Int{big.NewInt(1), big.NewInt(127), big.NewInt(128), big.NewInt(-128), big.NewInt(255), new(big.Int).Lsh(two, 126),
		new(big.Int).Lsh(two, 158), new(big.Int).Lsh(two, 166), new(big.Int).Lsh(two, 300), new(big.Int).Neg(new(big.Int).Lsh(two, 300))}
	l := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour)}
	for i, serial := range listed {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: at(i), ReasonCode: i % 2 * 4})
	}
	slices.Reverse(l.RevokedCertificateEntries)
	// One stands twice, with another time.
	l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(127), RevocationTime: at(1000), ReasonCode: 1})
	der, err := x509.CreateRevocationList(rand.Reader, l, root.Cert, root.Key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := read.CRL(der, root.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if got.Head.Number.Int64() != 7 || got.Scope() != "all certificates" || got.Issuer != root.Cert.Subject.CommonName {
		t.Errorf("number %v of %s for %s", got.Head.Number, got.Issuer, got.Scope())
	}
	for i, serial := range listed {
		since, reason, ok := got.Lookup(serial)
		want, because := at(i), ca.Reason(i%2*4)
		if i == 1 { // of two, the earlier
			want, because = at(1000), ca.KeyCompromise
		}
		if !ok || !since.Equal(want) || reason != because {
			t.Errorf("%v: %v, since %v as %v", serial, ok, since, reason)
		}
		near := new(big.Int).Add(serial, two)
		if _, _, ok := got.Lookup(near); ok {
			t.Errorf("%v is not listed, and found", near)
		}
		if _, _, ok := got.Lookup(new(big.Int).Neg(serial)); ok && serial.CmpAbs(big.NewInt(128)) != 0 && serial.BitLen() < 300 {
			t.Errorf("-%v is not listed, and found", serial)
		}
	}
	stranger := revtest.NewAuthority(t, revtest.Root, nil)
	if _, err := read.CRL(der, stranger.Cert); err == nil {
		t.Error("believed under another key of the same name")
	}
	if !read.Names(der, root.Cert) || read.Names(der, revtest.NewAuthority(t, revtest.Person, nil).Cert) {
		t.Error("whose list it is")
	}
}

// A list whose scope is not read here is refused as that, whatever else it says.
func TestListOfAnotherKind(t *testing.T) {
	root := revtest.NewAuthority(t, revtest.Root, nil)
	at := []byte{0xa0, 5, 0xa0, 3, 0x86, 1, 'a'} // fullName: one URI
	scope := func(critical bool, parts ...byte) pkix.Extension {
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: critical, Value: append([]byte{0x30, byte(len(parts))}, parts...)}
	}
	with := func(more ...byte) []byte { return append(slices.Clone(at), more...) }
	for name, test := range map[string]struct {
		extension   pkix.Extension
		fails       bool
		unsupported bool
	}{
		"one address":         {scope(true, at...), false, false},
		"indirect":            {scope(true, with(0x84, 1, 0xff)...), true, true},
		"some reasons":        {scope(true, with(0x83, 2, 5, 0x60)...), true, true},
		"attributes":          {scope(true, with(0x85, 1, 0xff)...), true, true},
		"a relative name":     {scope(true, 0xa0, 2, 0xa1, 0), true, true},
		"not critical":        {scope(false, at...), true, false},
		"nothing in it":       {scope(true), true, false},
		"holders, no address": {scope(true, 0x81, 1, 0xff), false, false},
	} {
		l := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour), ExtraExtensions: []pkix.Extension{test.extension}}
		der, err := x509.CreateRevocationList(rand.Reader, l, root.Cert, root.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read.CRL(der, root.Cert); (err != nil) != test.fails || errors.Is(err, read.ErrUnsupported) != test.unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What an answer marks critical and this reader does not know, it does not pass over.
func TestAnswerWithCriticalExtension(t *testing.T) {
	root := revtest.NewAuthority(t, revtest.Root, nil)
	for _, critical := range []bool{false, true} {
		der, err := ocsp.CreateResponse(root.Cert, root.Cert, ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(7), ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour),
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 999, 1}, Critical: critical, Value: []byte{5, 0}}}}, root.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read.OCSP(der); (err != nil) != critical {
			t.Errorf("critical %v: %v", critical, err)
		}
	}
}

// A list without a number cannot be told from an older one.
func TestListWithoutNumber(t *testing.T) {
	root := revtest.NewAuthority(t, revtest.Root, nil)
	ecdsaSHA256 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}
	for numbered, extensions := range map[bool][]pkix.Extension{true: {{Id: asn1.ObjectIdentifier{2, 5, 29, 20}, Value: []byte{2, 1, 7}}}, false: nil} {
		tbs, err := asn1.Marshal(struct {
			Version    int
			Algorithm  pkix.AlgorithmIdentifier
			Issuer     asn1.RawValue
			This, Next time.Time
			Extensions []pkix.Extension `asn1:"tag:0,explicit,optional,omitempty"`
		}{1, ecdsaSHA256, asn1.RawValue{FullBytes: root.Cert.RawSubject}, revtest.Start, revtest.Start.Add(time.Hour), extensions})
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(tbs)
		signature, err := root.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		der, err := asn1.Marshal(struct {
			TBS       asn1.RawValue
			Algorithm pkix.AlgorithmIdentifier
			Signature asn1.BitString
		}{asn1.RawValue{FullBytes: tbs}, ecdsaSHA256, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read.CRL(der, root.Cert); (err == nil) != numbered || err != nil && !strings.Contains(err.Error(), "no number") {
			t.Errorf("numbered %v: %v", numbered, err)
		}
	}
}

// x/crypto/ocsp and this reader read the same of an answer.
func TestAnswerReadTwice(t *testing.T) {
	root := revtest.NewAuthority(t, revtest.Root, nil)
	leaf := root.Leaf(t, ca.NewSerial().Int(), 0)
	for _, template := range []ocsp.Response{
		{Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour)},
		{Status: ocsp.Revoked, SerialNumber: leaf.SerialNumber, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour), RevokedAt: revtest.Start.Add(-time.Hour), RevocationReason: ocsp.KeyCompromise},
		{Status: ocsp.Unknown, SerialNumber: leaf.SerialNumber, ThisUpdate: revtest.Start},
	} {
		template.Certificate = root.OCSPCert
		der, err := ocsp.CreateResponse(root.Cert, root.OCSPCert, template, root.OCSPKey)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ocsp.ParseResponseForCert(der, leaf, root.Cert)
		if err != nil {
			t.Fatal(err)
		}
		a, err := read.OCSP(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Verify(root.Cert); err != nil {
			t.Error(err)
		}
		got, err := a.Of(leaf, root.Cert)
		if err != nil {
			t.Fatal(err)
		}
		status := map[int]ca.OCSPStatus{ocsp.Good: ca.OCSPGood, ocsp.Revoked: ca.OCSPRevoked, ocsp.Unknown: ca.OCSPUnknown}[want.Status]
		if got.Status != status || !got.ThisUpdate.Equal(want.ThisUpdate) || !got.NextUpdate.Equal(want.NextUpdate) || !got.At.Equal(want.RevokedAt) ||
			int(got.Reason) != want.RevocationReason || !a.ProducedAt.Equal(want.ProducedAt) || a.Signer.Name != root.OCSPCert.Subject.CommonName {
			t.Errorf("%+v, want %+v", got, want)
		}
		if _, err := a.Of(root.Leaf(t, leaf.SerialNumber, 1), revtest.NewAuthority(t, revtest.Root, nil).Cert); !errors.Is(err, read.ErrNotAbout) {
			t.Errorf("about a namesake's: %v", err)
		}
	}
	for status, der := range map[read.ErrorStatus][]byte{1: ca.OCSPError(ca.OCSPMalformedRequest), 6: ca.OCSPError(ca.OCSPUnauthorized), 42: {0x30, 3, 0x0a, 1, 42}} {
		if _, err := read.OCSP(der); !errors.Is(err, status) {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

// ca reads the question as x/crypto/ocsp does.
func TestRequest(t *testing.T) {
	root := revtest.NewAuthority(t, revtest.Root, nil)
	leaf := root.Leaf(t, ca.NewSerial().Int(), 0)
	for _, o := range []ocsp.RequestOptions{{Hash: 3}, {Hash: 5}} {
		want, err := ocsp.CreateRequest(leaf, root.Cert, &o)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read.Request(leaf, root.Cert, o.Hash, nil); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %x, %v; want %x", o.Hash, got, err, want)
		}
		got, err := read.Request(leaf, root.Cert, o.Hash, []byte{4, 1, 7})
		if err != nil {
			t.Fatal(err)
		}
		if asked, err := ca.ParseOCSPRequest(got); err != nil || !bytes.Equal(asked.Nonce, []byte{4, 1, 7}) {
			t.Errorf("with a nonce: %+v, %v", asked, err)
		}
	}
}

// points reads the distribution points of a certificate that has nothing else.
func points(der []byte) ([]string, error) {
	return read.DistributionPoints(&x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 31}, Value: der}}})
}

func TestDistributionPointsThatShowHalf(t *testing.T) {
	uri := append([]byte{0x86, 3}, "a:b"...)
	name := append([]byte{0xa0, 7, 0xa0, 5}, uri...)
	point := func(more ...byte) []byte { return append(append([]byte{0x30, byte(9 + len(more))}, name...), more...) }
	list := func(points ...[]byte) []byte {
		all := bytes.Join(points, nil)
		return append([]byte{0x30, byte(len(all))}, all...)
	}
	reasons, issuer := []byte{0x81, 2, 5, 0x60}, []byte{0xa2, 3, 0x86, 1, 'x'}
	for text, test := range map[string]struct {
		der  []byte
		want []string
		fail bool
	}{
		"one":                    {list(point()), []string{"a:b"}, false},
		"one and one of reasons": {list(point(), point(reasons...)), []string{"a:b"}, false},
		"reasons":                {list(point(reasons...)), nil, true},
		"another issuer's list":  {list(point(issuer...)), nil, true},
		"nothing":                {list(), nil, true},
		"something behind":       {append(list(point()), 0), nil, true},
		"something in it":        {list(point(5, 0)), nil, true},
	} {
		got, err := points(test.der)
		if !slices.Equal(got, test.want) || (err != nil) != test.fail {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func FuzzDistributionPoints(f *testing.F) {
	for _, c := range pkits.Cases() {
		if cert, err := x509.ParseCertificate(c.Leaf); err == nil {
			for _, ext := range cert.Extensions {
				if ext.Id.String() == "2.5.29.31" {
					f.Add(ext.Value)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		uris, err := points(der)
		if err == nil && len(uris) == 0 {
			t.Error("no address and no error")
		}
		for _, uri := range uris {
			if !bytes.Contains(der, []byte(uri)) {
				t.Errorf("%q does not stand there", uri)
			}
		}
	})
}

func FuzzOCSP(f *testing.F) {
	root := revtest.NewAuthority(f, revtest.Root, nil)
	leaf := root.Leaf(f, ca.NewSerial().Int(), 0)
	der, err := ocsp.CreateResponse(root.Cert, root.OCSPCert, ocsp.Response{Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: revtest.Start, Certificate: root.OCSPCert}, root.OCSPKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(ca.OCSPError(ca.OCSPTryLater))
	other := revtest.NewAuthority(f, revtest.Root, nil)
	f.Fuzz(func(t *testing.T, der []byte) {
		a, err := read.OCSP(der)
		if err != nil {
			return
		}
		if len(a.Singles) > 64 || a.Octets != len(der) {
			t.Errorf("%d certificates, %d octets", len(a.Singles), a.Octets)
		}
		if a.Verify(other.Cert) == nil {
			t.Error("a stranger's answer verifies")
		}
	})
}
