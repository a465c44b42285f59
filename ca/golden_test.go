package ca_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
	"sigill/internal/der"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// Whole certificates, byte for byte: a change of any of them is a change of what
// relying parties see, and is to be read in review.
func TestGolden(t *testing.T) {
	card := "9752263890112233445"
	plain := asa()
	plain.UPN, plain.SID = "", ""
	for n, c := range []struct {
		name, profile string
		content       ca.Content
	}{
		{"authentication", "authentication", plain},
		{"authentication-upn-sid", "authentication", asa()},
		{"signing", "signing", asa()},
		{"transport", "transport", ca.Content{Country: "SE", CommonName: card, CardNumber: card}},
		{"ocsp", "ocsp", ca.Content{Country: "SE", Organisation: "Sigill", CommonName: "TEST Sigill Person HSA-id 3 CA v1 OCSP 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, uint64(n+1))
			i := newIssuer(t, issuerConfig(t, "P-256"))
			issued, _ := issue(t, i, request(t, ca.ProfileName(c.profile), c.content))
			text := dump(t, issued.DER)
			path := filepath.Join("..", "testdata", "golden", c.name)
			if *update {
				for _, f := range []struct {
					suffix  string
					content []byte
				}{{".der", issued.DER}, {".txt", []byte(text)}} {
					if err := os.WriteFile(path+f.suffix, f.content, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				return
			}
			wantDER, err := os.ReadFile(path + ".der")
			if err != nil {
				t.Fatal(err)
			}
			wantText, err := os.ReadFile(path + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			if text != string(wantText) {
				t.Errorf("the text differs; got\n%s\nwant\n%s", text, wantText)
			}
			if !bytes.Equal(issued.DER, wantDER) {
				t.Errorf("the certificate differs; got\n%x\nwant\n%x", issued.DER, wantDER)
			}
		})
	}
}

// Names stand in the certificate as they stand in the order: not normalised, not
// transliterated, and as UTF8String, found here without any parser.
func TestNamesAreByteExact(t *testing.T) {
	content := asa()
	content.GivenName = "A\u030asa" // decomposed, as some directories have it
	issued, cert := issue(t, newIssuer(t, issuerConfig(t, "P-256")), request(t, "authentication", content))
	for _, s := range []string{"Åsa Öström Häggström", "Öström Häggström", "A\u030asa", "Region Östergötland", "åsa.häggström@ad.example.se"} {
		if !bytes.Contains(issued.DER, append([]byte{byte(casn1.UTF8String), byte(len(s))}, s...)) {
			t.Errorf("%q does not stand in the certificate as UTF8String", s)
		}
	}
	for _, s := range []string{"SE", content.SerialNumber, content.CardNumber} {
		if !bytes.Contains(issued.DER, append([]byte{byte(casn1.PrintableString), byte(len(s))}, s...)) {
			t.Errorf("%q does not stand in the certificate as PrintableString", s)
		}
	}
	var order []string
	for _, a := range cert.Subject.Names {
		order = append(order, a.Type.String())
	}
	if want := []string{"2.5.4.6", "2.5.4.10", "2.5.4.3", "2.5.4.4", "2.5.4.42", "2.5.4.5"}; !slices.Equal(order, want) {
		t.Errorf("order of the subject %v, want %v", order, want)
	}
}

// The otherNames, octet for octet: encoding/asn1 would lose the explicit tag, and
// crypto/x509 would not notice.
func TestOtherNames(t *testing.T) {
	content := asa()
	content.Email, content.UPN, content.SID = "", "a@b", "S-1-5-21-7"
	_, cert := issue(t, newIssuer(t, issuerConfig(t, "P-256")), request(t, "authentication", content))
	for id, want := range map[string]string{
		"2.5.29.17": "3015" + "a013" + "060a2b060104018237140203" + "a005" + "0c03" + hex.EncodeToString([]byte("a@b")),
		"1.3.6.1.4.1.311.25.2": "301c" + "a01a" + "060a2b060104018237190201" + "a00c" + "040a" +
			hex.EncodeToString([]byte("S-1-5-21-7")),
	} {
		i := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.String() == id })
		if i < 0 {
			t.Errorf("no extension %s", id)
		} else if got := hex.EncodeToString(cert.Extensions[i].Value); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
}

// smartcardLogon and the SID extension stand there if and only if there is a UPN
// and a SID, and never in a certificate that signs.
func TestLogOnFollowsContent(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	logon := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 2}
	for _, c := range []struct {
		profile        ca.ProfileName
		upn, sid       string
		usages         int // extended ones
		hasUPN, hasSID bool
	}{
		{"authentication", "", "", 1, false, false},
		{"authentication", "a@b", "", 2, true, false},
		{"authentication", "", "S-1-5-21-7", 1, false, true},
		{"authentication", "a@b", "S-1-5-21-7", 2, true, true},
		{"signing", "a@b", "S-1-5-21-7", 1, false, false},
	} {
		content := asa()
		content.UPN, content.SID = c.upn, c.sid
		_, cert := issue(t, i, request(t, c.profile, content))
		hasUPN := slices.ContainsFunc(cert.UnknownExtKeyUsage, logon.Equal)
		if got := len(cert.ExtKeyUsage) + len(cert.UnknownExtKeyUsage); hasUPN != c.hasUPN || got != c.usages {
			t.Errorf("%+v: smartcardLogon %v, %d usages", c, hasUPN, got)
		}
		hasSID := slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.String() == "1.3.6.1.4.1.311.25.2" })
		if hasSID != c.hasSID {
			t.Errorf("%+v: SID extension %v", c, hasSID)
		}
		if !slices.Equal(cert.EmailAddresses, []string{content.Email}) {
			t.Errorf("%+v: e-mail %q", c, cert.EmailAddresses)
		}
	}
}

func TestServerNames(t *testing.T) {
	_, cert := issue(t, newIssuer(t, issuerConfig(t, "P-256")), request(t, "server", server()))
	for _, host := range server().DNSNames {
		if err := cert.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if len(cert.DNSNames) != 2 || len(cert.IPAddresses) != 2 {
		t.Errorf("names %q, addresses %v", cert.DNSNames, cert.IPAddresses)
	}
}

// dump writes a certificate for people who review it: one fact a line.
func dump(t *testing.T, raw []byte) string {
	t.Helper()
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := der.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "serial      %x\n", cert.SerialNumber)
	fmt.Fprintf(&b, "signed with %v\n", cert.SignatureAlgorithm)
	fmt.Fprintf(&b, "not before  %v\nnot after   %v\n", cert.NotBefore, cert.NotAfter)
	fmt.Fprintf(&b, "key         %v %x\n", cert.PublicKeyAlgorithm, parts.PublicKey)
	fmt.Fprintf(&b, "issuer\n%ssubject\n%s", tree(parts.Issuer, 1), tree(parts.Subject, 1))
	for _, e := range parts.Extensions {
		critical := ""
		if e.Critical {
			critical = " critical"
		}
		fmt.Fprintf(&b, "extension %v%s%s\n%s", e.ID, oidNames[e.ID.String()], critical, tree(e.Value, 1))
	}
	fmt.Fprintf(&b, "signature   %x\n", parts.Signature)
	return b.String()
}

var oidNames = map[string]string{
	"2.5.4.3": " (commonName)", "2.5.4.4": " (surname)", "2.5.4.5": " (serialNumber)", "2.5.4.6": " (country)",
	"2.5.4.10": " (organisation)", "2.5.4.42": " (givenName)", "2.5.29.14": " (subject key identifier)",
	"2.5.29.15": " (key usage)", "2.5.29.17": " (alternative names)", "2.5.29.31": " (CRL distribution points)",
	"2.5.29.32": " (certificate policies)", "2.5.29.35": " (authority key identifier)",
	"2.5.29.37": " (extended key usage)", "1.3.6.1.5.5.7.1.1": " (authority information access)",
	"1.2.752.34.2.1": " (card number)", "1.3.6.1.4.1.311.25.2": " (SID)", "1.3.6.1.4.1.311.25.2.1": " (SID)",
	"1.3.6.1.4.1.311.20.2.3": " (UPN)", "1.3.6.1.4.1.311.20.2.2": " (smartcardLogon)",
	"1.3.6.1.5.5.7.3.2": " (clientAuth)", "1.3.6.1.5.5.7.3.9": " (OCSPSigning)", "1.3.6.1.5.5.7.3.36": " (documentSigning)",
	"1.3.6.1.5.5.7.48.1": " (OCSP)", "1.3.6.1.5.5.7.48.2": " (caIssuers)", "1.3.6.1.5.5.7.48.1.5": " (ocsp-nocheck)",
}

// tree writes DER as an indented tree, without knowing what it means.
func tree(raw []byte, depth int) string {
	var b strings.Builder
	for in := cryptobyte.String(raw); !in.Empty(); {
		var body cryptobyte.String
		var tag casn1.Tag
		if !in.ReadAnyASN1(&body, &tag) {
			fmt.Fprintf(&b, "not DER: %x\n", []byte(in))
			break
		}
		fmt.Fprintf(&b, "%*s", 2*depth, "")
		if tag&0x20 != 0 {
			fmt.Fprintf(&b, "%s\n%s", tagName(tag), tree(body, depth+1))
			continue
		}
		fmt.Fprintf(&b, "%s %s\n", tagName(tag), value(tag, body))
	}
	return b.String()
}

func tagName(tag casn1.Tag) string {
	names := map[casn1.Tag]string{casn1.SEQUENCE: "SEQUENCE", casn1.SET: "SET", casn1.UTF8String: "UTF8String",
		casn1.PrintableString: "PrintableString", casn1.OCTET_STRING: "OCTET STRING", casn1.BIT_STRING: "BIT STRING",
		casn1.OBJECT_IDENTIFIER: "OID", casn1.NULL: "NULL", casn1.BOOLEAN: "BOOLEAN", casn1.INTEGER: "INTEGER"}
	if name, ok := names[tag]; ok {
		return name
	}
	return fmt.Sprintf("[%d]", tag&0x1f)
}

func value(tag casn1.Tag, body []byte) string {
	if tag == casn1.OBJECT_IDENTIFIER {
		var id x509.OID
		if err := id.UnmarshalBinary(body); err == nil {
			return id.String() + oidNames[id.String()]
		}
	}
	text := len(body) > 0 && utf8.Valid(body) && !bytes.ContainsFunc(body, func(r rune) bool { return r < ' ' || r == 0x7f })
	if text && tag != casn1.BIT_STRING {
		return fmt.Sprintf("%q", body)
	}
	return hex.EncodeToString(body)
}
