package lint

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/der"
)

const loa3, loa2, ncp = "2.999.752.3.1", "2.999.752.2.1", "0.4.0.2042.1.2"

func newLinter(t testing.TB) *Linter {
	t.Helper()
	l, err := New(Config{LoAPolicies: []string{loa3, loa2}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// testKey is one key for all certificates: making it is not what is tested.
var testKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// draft is a certificate in the making: a template whose subject and extensions
// the test can spoil one by one.
type draft struct {
	*x509.Certificate
	subject []der.Attribute
	parent  *x509.Certificate
}

// must unwraps what the DER writer returns.
func must(value []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return value
}

func (d *draft) set(id asn1.ObjectIdentifier, critical bool, value []byte) {
	d.remove(id)
	d.ExtraExtensions = append(d.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
}

func (d *draft) remove(id asn1.ObjectIdentifier) {
	d.ExtraExtensions = slices.DeleteFunc(d.ExtraExtensions, func(e pkix.Extension) bool { return e.Id.Equal(id) })
}

func (d *draft) policies(oids ...string) {
	d.Policies = nil
	for _, text := range oids {
		oid, err := x509.ParseOID(text)
		if err != nil {
			panic(err)
		}
		d.Policies = append(d.Policies, oid)
	}
}

func (d *draft) der(t testing.TB) []byte {
	t.Helper()
	if d.subject != nil {
		d.RawSubject = must(der.Name(d.subject))
	}
	raw, err := x509.CreateCertificate(rand.Reader, d.Certificate, d.parent, testKey().Public(), testKey())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var (
	oidC  = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidO  = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidCN = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSN = asn1.ObjectIdentifier{2, 5, 4, 4}
	oidGN = asn1.ObjectIdentifier{2, 5, 4, 42}
	oidID = asn1.ObjectIdentifier{2, 5, 4, 5}
	oidOU = asn1.ObjectIdentifier{2, 5, 4, 11}
)

const (
	cardNumber = "9752278900000000017"
	upn        = "åsa.öberg@region.example.se"
	sid        = "S-1-5-21-1004336348-1177238915-682003330-512"
)

func issuerTemplate() *x509.Certificate {
	return &x509.Certificate{
		RawSubject: must(der.Name([]der.Attribute{
			{Type: oidC, Value: "SE", Printable: true}, {Type: oidO, Value: "Sigill Test AB"}, {Type: oidCN, Value: "TEST Sigill CA v1"},
		})),
		SubjectKeyId: []byte{1, 2, 3, 4},
	}
}

func sanOf(email, upn string) []byte {
	var n der.GeneralNames
	if email != "" {
		n.Emails = []string{email}
	}
	if upn != "" {
		n.Others = []der.OtherName{{Type: oidUPN, Value: must(der.UTF8String(upn))}}
	}
	return must(n.Encode())
}

func sidOf(inner asn1.ObjectIdentifier, text string) []byte {
	return must(der.GeneralNames{Others: []der.OtherName{{Type: inner, Value: must(der.OctetString([]byte(text)))}}}.Encode())
}

func oid(text string) asn1.ObjectIdentifier {
	parsed, err := x509.ParseOID(text)
	if err != nil {
		panic(err)
	}
	var id asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(must(asn1Marshal(parsed)), &id); err != nil {
		panic(err)
	}
	return id
}

func asn1Marshal(o x509.OID) ([]byte, error) {
	body, err := o.MarshalBinary()
	return append([]byte{6, byte(len(body))}, body...), err
}

// good returns a certificate of the profile that has nothing wrong.
func good(profile ca.ProfileName) *draft {
	from := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d := &draft{parent: issuerTemplate(), Certificate: &x509.Certificate{
		SerialNumber: ca.NewSerial().Int(), NotBefore: from, NotAfter: from.AddDate(5, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, SubjectKeyId: []byte{5, 6, 7, 8},
		OCSPServer:            []string{"http://status.example.se/ocsp"},
		IssuingCertificateURL: []string{"http://status.example.se/aia/x.cer"},
		CRLDistributionPoints: []string{"http://status.example.se/crl/x/0.crl"},
	}}
	d.subject = []der.Attribute{{Type: oidC, Value: "SE", Printable: true}, {Type: oidO, Value: "Region Öst"}, {Type: oidCN, Value: "Åsa Öberg"}}
	person := func() {
		d.subject = append(d.subject, der.Attribute{Type: oidSN, Value: "Öberg"}, der.Attribute{Type: oidGN, Value: "Åsa"},
			der.Attribute{Type: oidID, Value: "SE2321000016-1XYZ", Printable: true})
		d.policies(loa3)
	}
	card := func() { d.set(oidCardNumber, false, must(der.PrintableString(cardNumber))) }
	switch profile {
	case authentication:
		person()
		card()
		d.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oid(ekuClientAuth), oid(ekuSmartcardLogon)}
		d.set(oidSubjectAltName, false, sanOf("asa.oberg@region.example.se", upn))
		d.set(oidSID, false, sidOf(oidSIDName, sid))
	case signing:
		person()
		card()
		d.KeyUsage = x509.KeyUsageContentCommitment
		d.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oid(ekuDocSigning)}
		d.set(oidSubjectAltName, false, sanOf("asa.oberg@region.example.se", ""))
	case transport:
		d.subject = []der.Attribute{{Type: oidCN, Value: cardNumber}}
		card()
		d.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oid(TestTransportEKU)}
	case ocspSigner:
		d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
		d.OCSPServer, d.IssuingCertificateURL, d.CRLDistributionPoints = nil, nil, nil
		d.set(oidNoCheck, false, []byte{5, 0})
	case server:
		d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		d.set(oidSubjectAltName, false, must(der.GeneralNames{DNSNames: []string{"localhost"}, IPs: [][]byte{{127, 0, 0, 1}}}.Encode()))
	case officer:
		d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case rootCA, issuingCA:
		authority(d, profile)
	}
	return d
}

func authority(d *draft, profile ca.ProfileName) {
	d.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	d.IsCA, d.BasicConstraintsValid, d.MaxPathLenZero = true, true, true
	d.OCSPServer = nil
	if profile == rootCA {
		d.MaxPathLen, d.MaxPathLenZero = 1, false
		d.IssuingCertificateURL, d.CRLDistributionPoints = nil, nil
		d.parent = d.Certificate
	}
}

func bigSerial(octets ...byte) *big.Int { return new(big.Int).SetBytes(octets) }
