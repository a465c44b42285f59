package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/internal/der"
)

// checkSigned is the last look at a certificate. No request leads to what it
// refuses, so it is shown what a broken signer or builder would make.
func TestCheckSigned(t *testing.T) {
	i, other, twin := signedIssuer(t, "CA", nil), signedIssuer(t, "Other CA", nil), signedIssuer(t, "CA", nil)
	renamed := signedIssuer(t, "Renamed CA", i.key.Signer())
	list := []byte{0, 5, 0, 3, 1, 2, 3}
	now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	made := func(by *Issuer, sct bool) *Logged {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewProfile(ProfileConfig{Name: "officer", Kind: EndEntity, Mandate: MandateNone, MaxValidity: Period(time.Hour),
			Keys: KeyRules{Curves: []string{"P-256"}}, KeyUsage: []string{"digitalSignature"}, ExtendedKeyUsage: []string{"clientAuth"},
			Content: ContentRules{CommonName: Required}, CRL: true})
		if err != nil {
			t.Fatal(err)
		}
		d, err := by.draft(p, Request{Profile: "officer", Content: Content{CommonName: "Åsa"}, PublicKey: key.Public(),
			NotBefore: now, NotAfter: now.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		r := &Logged{work: work{issuer: by, intent: d.intent, tbs0: d.intent.TBS, spki: d.spki}}
		if sct {
			if r.intent.TBS, err = addSCTList(r.tbs0, list); err != nil {
				t.Fatal(err)
			}
			r.log = struct{ Log }{}
		}
		return r
	}
	checkOtherIssuers(t, i, map[string]*Logged{"another name of the same key": made(renamed, false), "another's name": made(other, false), "another's key of the same name": made(twin, false)})
	good := func(sct bool) *Logged { return made(i, sct) }
	for _, c := range []struct {
		name   string
		sct    bool
		signer *Issuer
		change func(*Logged)
		want   string // part of the refusal; empty: accepted
	}{
		{"as it should be", false, i, func(*Logged) {}, ""},
		{"as it should be, with SCTs", true, i, func(*Logged) {}, ""},
		{"another issuer's key", false, other, func(*Logged) {}, "does not verify"},
		{"other bytes", false, i, func(r *Logged) { r.intent.TBS = good(false).intent.TBS }, "not what was recorded"},
		{"the log saw other bytes", true, i, func(r *Logged) { r.tbs0 = good(false).tbs0 }, "not what the log saw"},
		{"an extension the log did not see", false, i, func(r *Logged) {
			r.tbs0, _ = der.RemoveExtension(r.tbs0, asn1.ObjectIdentifier{2, 5, 29, 31})
		}, "not an SCT list"},
		{"SCTs and no log", true, i, func(r *Logged) { r.log = nil }, "no log"},
		{"a log and no SCTs", false, i, func(r *Logged) { r.log = struct{ Log }{} }, "no SCT list"},
		{"other serial", false, i, func(r *Logged) { r.intent.Serial = NewSerial() }, "serial"},
		{"other key", false, i, func(r *Logged) { r.intent.Key[0] ^= 1 }, "key"},
		{"other encoding of the key", false, i, func(r *Logged) { r.spki = r.spki[1:] }, "key"},
		{"other end", false, i, func(r *Logged) { r.intent.NotAfter = now.Add(2 * time.Hour) }, "validity"},
		{"other beginning", false, i, func(r *Logged) { r.intent.NotBefore = now.Add(time.Second) }, "validity"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := good(c.sct)
			cert, err := c.signer.key.Seal(slices.Clone(r.intent.TBS))
			if err != nil {
				t.Fatal(err)
			}
			c.change(r)
			err = i.checkSigned(r, cert)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func checkOtherIssuers(t *testing.T, i *Issuer, foreign map[string]*Logged) {
	t.Helper()
	for name, r := range foreign {
		cert, err := i.key.Seal(r.intent.TBS)
		if err != nil {
			t.Fatal(err)
		}
		if err := i.checkSigned(r, cert); err == nil || !strings.Contains(err.Error(), "another issuer") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// signedIssuer returns an issuer with key, or with a new one.
func signedIssuer(t *testing.T, name string, key crypto.Signer) *Issuer {
	t.Helper()
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4e9, 0)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewIssuer(IssuerConfig{ID: "ca", Certificate: cert, Signer: key, Partitions: 1, StatusURL: "http://a", Linter: noLinter{}})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

type noLinter struct{}

func (noLinter) Lint([]byte, ProfileName) error { return nil }

// FuzzSCTList: a list is accepted only if it can be added to a certificate and
// taken out again.
func FuzzSCTList(f *testing.F) {
	f.Add([]byte{0, 5, 0, 3, 1, 2, 3})
	f.Add([]byte{0, 0})
	f.Add([]byte{0, 2, 0, 0})
	tbs := []byte{0x30, 0x2b, 0xa0, 3, 2, 1, 2, 2, 1, 1, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0,
		0xa3, 0x15, 0x30, 0x13, 0x30, 0x11, 6, 3, 0x55, 0x1d, 0x0e, 4, 0x0a, 4, 8, 1, 2, 3, 4, 5, 6, 7, 8}
	tbs[1] = byte(len(tbs) - 2)
	if _, err := der.ParseTBS(tbs); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		sealed, err := addSCTList(tbs, list)
		if err != nil {
			return
		}
		if err := checkSCTList(sealed, tbs); err != nil {
			t.Fatal(err)
		}
		if _, err := addSCTList(sealed, list); err == nil {
			t.Fatal("a second list was added")
		}
	})
}
