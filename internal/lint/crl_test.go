package lint

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
	"sigill/ca/crl"
)

var crlTime = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

const (
	hexClock     = "170d 3236303331343039323635335a" // crlTime
	hexTomorrow  = "170d 3236303331353039323635335a"
	hexECDSA     = "300a 0608 2a8648ce3d040302"
	hexIssuer    = "300f 310d 300b 0603550403 0c04 54455354"
	hexReason    = "300a 0603551d15 0403 0a0104"
	hexKeyID     = "300c 0603551d23 0405 3003 800141"
	hexNumber    = "300a 0603551d14 0403 020129"
	hexScope     = "3025 0603551d1c 0101ff 041b 3019 a017 a015 8613 687474703a2f2f612e746573742f372e63726c" // http://a.test/7.crl
	hexSignature = "0309 00 3006020101020101"
)

// rawCRL is a list whose every part a test can spoil: DER in hexadecimal.
type rawCRL struct {
	version, algorithm, issuer, thisUpdate, nextUpdate string
	revoked                                            bool     // write revokedCertificates, even if empty
	entries, extensions                                []string // each one
	outer, signature, after                            string
}

func goodCRL() *rawCRL {
	return &rawCRL{
		version: "020101", algorithm: hexECDSA, issuer: hexIssuer, thisUpdate: hexClock, nextUpdate: hexTomorrow, revoked: true,
		entries:    []string{crlEntry(1, hexReason), crlEntry(2), crlEntry(3, hexReason)},
		extensions: []string{hexKeyID, hexNumber, hexScope},
		outer:      hexECDSA, signature: hexSignature,
	}
}

// crlEntry is an entry of a serial that ends in n, with these extensions.
func crlEntry(n byte, extensions ...string) string {
	serial := "0210 40" + strings.Repeat("00", 14) + hex.EncodeToString([]byte{n})
	return crlEntryOf(serial, hexClock, extensions...)
}

func crlEntryOf(serial, at string, extensions ...string) string {
	parts := [][]byte{crlHex(serial), crlHex(at)}
	if len(extensions) > 0 {
		parts = append(parts, crlWrap(casn1.SEQUENCE, crlHex(extensions...)))
	}
	return hex.EncodeToString(crlWrap(casn1.SEQUENCE, parts...))
}

func crlHex(texts ...string) []byte {
	return must(hex.DecodeString(strings.ReplaceAll(strings.Join(texts, ""), " ", "")))
}

func crlWrap(tag casn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(parts...)) })
	return b.BytesOrPanic()
}

func (r *rawCRL) der() []byte {
	parts := [][]byte{crlHex(r.version, r.algorithm, r.issuer, r.thisUpdate, r.nextUpdate)}
	if r.revoked {
		parts = append(parts, crlWrap(casn1.SEQUENCE, crlHex(r.entries...)))
	}
	if len(r.extensions) > 0 {
		parts = append(parts, crlWrap(casn1.Tag(0).ContextSpecific().Constructed(), crlWrap(casn1.SEQUENCE, crlHex(r.extensions...))))
	}
	return slices.Concat(crlWrap(casn1.SEQUENCE, crlWrap(casn1.SEQUENCE, parts...), crlHex(r.outer, r.signature)), crlHex(r.after))
}

// What the signer writes passes, with every algorithm's form of head.
func TestGoodCRLsPass(t *testing.T) {
	l := newLinter(t)
	key := testKey()
	template := &x509.Certificate{RawSubject: issuerTemplate().RawSubject, SerialNumber: big.NewInt(1), NotBefore: crlTime, NotAfter: crlTime.AddDate(9, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign}
	issuer, err := x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := crl.NewSigner(issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*crl.List){
		"as it is":          func(*crl.List) {},
		"all certificates":  func(c *crl.List) { c.DistributionPoint = "" },
		"with its sequel":   func(c *crl.List) { c.NextPublish = c.ThisUpdate.Add(time.Hour) },
		"sequel in 2050":    func(c *crl.List) { c.NextUpdate, c.NextPublish = crlTime.AddDate(25, 0, 0), crlTime.AddDate(24, 0, 0) },
		"empty":             func(c *crl.List) { c.Entries = nil },
		"thisUpdate before": func(c *crl.List) { c.ThisUpdate = c.ThisUpdate.Add(-10 * time.Minute) },
	} {
		list := crl.List{Number: 41, ThisUpdate: crlTime, NextUpdate: crlTime.AddDate(0, 0, 1), DistributionPoint: "http://crl.example.test/7.crl"}
		for i, reason := range []ca.Reason{ca.Unspecified, ca.KeyCompromise, ca.CACompromise, ca.AffiliationChanged, ca.Superseded, ca.CessationOfOperation, ca.PrivilegeWithdrawn} {
			list.Entries = append(list.Entries, crl.Revoked{Serial: ca.Serial{0x40, 15: byte(i + 1)}, At: crlTime, Reason: reason})
		}
		change(&list)
		der, err := signer.SignCRL(list)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.LintCRL(der); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// What a publisher shows instead of the whole list has no signature.
		var lines [][]byte
		for _, e := range list.Entries[:min(2, len(list.Entries))] {
			lines = append(lines, must(crl.EncodeRevoked(e)))
		}
		list.Entries = nil
		if err := l.LintCRL(must(signer.SampleCRL(list, lines))); err != nil {
			t.Errorf("%s, a sample: %v", name, err)
		}
	}
	if err := l.LintCRL(goodCRL().der()); err != nil {
		t.Errorf("written by hand: %v", err)
	}
}

// Each list is wrong in one thing, and what is found is that and nothing else.
func TestSpoiltCRLsFail(t *testing.T) {
	l := newLinter(t)
	public := func(names ...string) []string { return names }
	extension := func(id, critical, value string) string {
		return hex.EncodeToString(crlWrap(casn1.SEQUENCE, crlHex(id, critical), crlWrap(casn1.OCTET_STRING, crlHex(value))))
	}
	const number, scope, delta, sequel, yes = "0603551d14", "0603551d1c", "0603551d1b", "06092b0601040182371504", "0101ff"
	point := func(tag, url string) string {
		inner := crlWrap(casn1.Tag(0).ContextSpecific().Constructed(), crlWrap(casn1.Tag(0).ContextSpecific().Constructed(), crlHex(tag), []byte{byte(len(url))}, []byte(url)))
		return hex.EncodeToString(crlWrap(casn1.SEQUENCE, inner))
	}
	for name, test := range map[string]struct {
		spoil func(*rawCRL)
		want  []string
	}{
		"not a list":        {func(r *rawCRL) { r.version = "0500" }, public("sigill_crl_parse")},
		"version 1":         {func(r *rawCRL) { r.version = "" }, public("sigill_crl_parse")},
		"version 3":         {func(r *rawCRL) { r.version = "020102" }, public("sigill_crl_parse")},
		"two algorithms":    {func(r *rawCRL) { r.outer = "300a 0608 2a8648ce3d040303" }, public("sigill_crl_parse")},
		"SHA-1":             {func(r *rawCRL) { r.algorithm, r.outer = "3009 0607 2a8648ce3d0401", "3009 0607 2a8648ce3d0401" }, public("sigill_crl_der", "sigill_crl_algorithm")},
		"RSA without NULL":  {func(r *rawCRL) { r.algorithm = "300b 0609 2a864886f70d01010b"; r.outer = r.algorithm }, public("e_crl_sigalgo_missing_null_params", "sigill_crl_der")},
		"PSS":               {func(r *rawCRL) { r.algorithm = pssOfSHA256; r.outer = r.algorithm }, public("sigill_crl_algorithm")},
		"more after it":     {func(r *rawCRL) { r.after = "0500" }, public("sigill_crl_der")},
		"more in it":        {func(r *rawCRL) { r.signature += "0500" }, public("sigill_crl_der")},
		"signature in bits": {func(r *rawCRL) { r.signature = "0309 01 3006020101020102" }, public("sigill_crl_der")},
		"no issuer":         {func(r *rawCRL) { r.issuer = "3000" }, public("sigill_crl_issuer")},
		"no nextUpdate":     {func(r *rawCRL) { r.nextUpdate = ""; r.entries = nil; r.revoked = false }, public("e_crl_has_next_update", "sigill_crl_next_update")},
		"nextUpdate is now": {func(r *rawCRL) { r.nextUpdate = hexClock }, public("sigill_crl_next_update")},
		"thisUpdate long":   {func(r *rawCRL) { r.thisUpdate = "180f 3230323630333134303932363533 5a" }, public("sigill_crl_time_form")},
		"nextUpdate long":   {func(r *rawCRL) { r.nextUpdate = "180f 3230323630333135303932363533 5a" }, public("sigill_crl_time_form")},
		"time of an entry long": {func(r *rawCRL) {
			r.entries[1] = crlEntryOf("0210 40"+strings.Repeat("00", 14)+"02", "180f 3230323630333134303932363533 5a")
		}, public("sigill_crl_time_form")},
		"empty list written": {func(r *rawCRL) { r.entries = nil }, public("e_crl_empty_revoked_certificates", "e_crl_revoked_certificates_field_must_be_empty")},

		"no key identifier":       {func(r *rawCRL) { r.extensions = slices.Delete(r.extensions, 0, 1) }, public("e_crl_has_authority_key_identifier", "sigill_crl_authority_key_identifier")},
		"critical key identifier": {func(r *rawCRL) { r.extensions[0] = extension("0603551d23", yes, "3003800141") }, public("sigill_crl_parse")},
		"empty key identifier":    {func(r *rawCRL) { r.extensions[0] = extension("0603551d23", "", "30028000") }, public("sigill_crl_authority_key_identifier")},
		"serial of the issuer":    {func(r *rawCRL) { r.extensions[0] = extension("0603551d23", "", "3008800141 a100 820142") }, public("sigill_crl_authority_key_identifier")},
		"no number":               {func(r *rawCRL) { r.extensions = slices.Delete(r.extensions, 1, 2) }, public("e_crl_missing_crl_number", "sigill_crl_number")},
		"critical number":         {func(r *rawCRL) { r.extensions[1] = extension(number, yes, "020129") }, public("sigill_crl_number")},
		"number 0":                {func(r *rawCRL) { r.extensions[1] = extension(number, "", "020100") }, public("sigill_crl_number")},
		"number of 21 octets":     {func(r *rawCRL) { r.extensions[1] = extension(number, "", "0215 01"+strings.Repeat("00", 20)) }, public("sigill_crl_der", "sigill_crl_number")},
		"number twice":            {func(r *rawCRL) { r.extensions = append(r.extensions, hexNumber) }, public("e_crl_no_duplicate_extensions", "sigill_crl_der")},
		"criticality FALSE":       {func(r *rawCRL) { r.extensions[1] = extension(number, "010100", "020129") }, public("sigill_crl_der")},

		"scope not critical":  {func(r *rawCRL) { r.extensions[2] = extension(scope, "", point("86", "http://a.test/7.crl")) }, public("sigill_crl_issuing_distribution_point")},
		"scope by https":      {func(r *rawCRL) { r.extensions[2] = extension(scope, yes, point("86", "https://a.test/7.crl")) }, public("sigill_crl_issuing_distribution_point")},
		"scope by ldap":       {func(r *rawCRL) { r.extensions[2] = extension(scope, yes, point("86", "ldap://a.test/7")) }, public("sigill_crl_issuing_distribution_point")},
		"scope without host":  {func(r *rawCRL) { r.extensions[2] = extension(scope, yes, point("86", "http:7.crl")) }, public("sigill_crl_issuing_distribution_point")},
		"scope of a DNS name": {func(r *rawCRL) { r.extensions[2] = extension(scope, yes, point("82", "a.test")) }, public("sigill_crl_issuing_distribution_point")},
		"scope of two addresses": {func(r *rawCRL) {
			r.extensions[2] = extension(scope, yes, "3016 a014 a012 8607 687474703a2f2f 8607 687474703a2f2f")
		}, public("sigill_crl_issuing_distribution_point")},
		"scope of nothing": {func(r *rawCRL) { r.extensions[2] = extension(scope, yes, "3000") }, public("sigill_crl_issuing_distribution_point")},
		"scope of users":   {func(r *rawCRL) { r.extensions[2] = extension(scope, yes, "30038101ff") }, public("sigill_crl_issuing_distribution_point")},
		"address and users": {func(r *rawCRL) {
			r.extensions[2] = extension(scope, yes, "301c a017 a015 8613 687474703a2f2f612e746573742f372e63726c 8101ff")
		}, public("sigill_crl_issuing_distribution_point")},
		"address and indirect": {func(r *rawCRL) {
			r.extensions[2] = extension(scope, yes, "301c a017 a015 8613 687474703a2f2f612e746573742f372e63726c 8401ff")
		}, public("sigill_crl_issuing_distribution_point")},
		"a delta":           {func(r *rawCRL) { r.extensions = append(r.extensions, extension(delta, yes, "020128")) }, public("sigill_crl_delta")},
		"unknown extension": {func(r *rawCRL) { r.extensions = append(r.extensions, extension("06032a0304", "", "0500")) }, public("sigill_crl_extension")},
		"freshest CRL":      {func(r *rawCRL) { r.extensions = append(r.extensions, extension("0603551d2e", "", "3000")) }, public("sigill_crl_extension")},
		"sequel critical":   {func(r *rawCRL) { r.extensions = append(r.extensions, extension(sequel, yes, hexTomorrow)) }, public("sigill_crl_next_publish")},
		"sequel too late": {func(r *rawCRL) {
			r.extensions = append(r.extensions, extension(sequel, "", "170d 3236303331363039323635335a"))
		}, public("sigill_crl_next_publish")},
		"sequel before": {func(r *rawCRL) {
			r.extensions = append(r.extensions, extension(sequel, "", "170d 3236303331333039323635335a"))
		}, public("sigill_crl_next_publish")},
		"sequel in the long form": {func(r *rawCRL) {
			r.extensions = append(r.extensions, extension(sequel, "", "180f 3230323630333135303932363533 5a"))
		}, public("sigill_crl_next_publish")},

		"serial 0":            {func(r *rawCRL) { r.entries[0] = crlEntryOf("020100", hexClock) }, public("sigill_crl_entry_serial")},
		"negative serial":     {func(r *rawCRL) { r.entries[0] = crlEntryOf("020181", hexClock) }, public("sigill_crl_entry_serial")},
		"serial of 21 octets": {func(r *rawCRL) { r.entries[2] = crlEntryOf("0215 01"+strings.Repeat("00", 20), hexClock) }, public("sigill_crl_entry_serial")},
		"serial of 160 bits":  {func(r *rawCRL) { r.entries[2] = crlEntryOf("0215 00ff"+strings.Repeat("00", 19), hexClock) }, public("sigill_crl_entry_serial")},
		"not in order":        {func(r *rawCRL) { r.entries[0], r.entries[1] = r.entries[1], r.entries[0] }, public("sigill_crl_entry_order")},
		"serial twice":        {func(r *rawCRL) { r.entries[1] = r.entries[0] }, public("e_crl_unique_revoked_certificate", "sigill_crl_entry_order")},
		"revoked next week":   {func(r *rawCRL) { r.entries[0] = crlEntryOf("020101", "170d 3236303332323039323635335a") }, public("sigill_crl_entry_time")},
		"revoked in 1998":     {func(r *rawCRL) { r.entries[0] = crlEntryOf("020101", "170d 3938303331343039323635335a") }, public("e_crl_revocation_date_too_early")},
		"reason unspecified":  {func(r *rawCRL) { r.entries[0] = crlEntry(1, "300a 0603551d15 0403 0a0100") }, public("e_crl_has_valid_reason_code", "sigill_crl_entry_reason")},
		"reason hold":         {func(r *rawCRL) { r.entries[0] = crlEntry(1, "300a 0603551d15 0403 0a0106") }, public("sigill_crl_entry_reason")},
		"reason 7":            {func(r *rawCRL) { r.entries[0] = crlEntry(1, "300a 0603551d15 0403 0a0107") }, public("e_crl_has_valid_reason_code", "sigill_crl_entry_reason")},
		"removed from list":   {func(r *rawCRL) { r.entries[0] = crlEntry(1, "300a 0603551d15 0403 0a0108") }, public("sigill_crl_entry_reason")},
		"attribute authority": {func(r *rawCRL) { r.entries[0] = crlEntry(1, "300a 0603551d15 0403 0a010a") }, public("sigill_crl_entry_reason")},
		"reason 11":           {func(r *rawCRL) { r.entries[0] = crlEntry(1, "300a 0603551d15 0403 0a010b") }, public("e_crl_has_valid_reason_code", "sigill_crl_entry_reason")},
		"critical reason":     {func(r *rawCRL) { r.entries[0] = crlEntry(1, "300d 0603551d15 0101ff 0403 0a0104") }, public("sigill_crl_entry_extension")},
		"invalidity date": {func(r *rawCRL) {
			r.entries[0] = crlEntry(1, hexReason, "3018 0603551d18 0411 180f 3230323630333134303932363533 5a")
		}, public("sigill_crl_entry_extension")},
		"another issuer's":    {func(r *rawCRL) { r.entries[0] = crlEntry(1, "300c 0603551d1d 0101ff 0402 3000") }, public("sigill_crl_entry_extension")},
		"reason twice":        {func(r *rawCRL) { r.entries[0] = crlEntry(1, hexReason, hexReason) }, public("e_crl_revoked_certificate_crl_entry_has_no_duplicate_extensions", "sigill_crl_der", "sigill_crl_entry_extension")},
		"no extension at all": {func(r *rawCRL) { r.entries[0] = crlEntry(1, "") }, public("sigill_crl_der")},
	} {
		raw := goodCRL()
		test.spoil(raw)
		if got := crlFindings(t, l.LintCRL(raw.der())); !slices.Equal(got, sorted(test.want)) {
			t.Errorf("%s: found %v, want %v", name, got, sorted(test.want))
		}
	}
}

const pssOfSHA256 = "3041 0609 2a864886f70d01010a 3034 a00f 300d 0609 608648016503040201 0500 a11c 301a 0609 2a864886f70d010108 300d 0609 608648016503040201 0500 a203 020120"

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

// crlFindings are the names of what was found, sorted.
func crlFindings(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	found, ok := errors.AsType[*ca.LintError](err)
	if !ok {
		t.Fatalf("%T is no lint error", err)
	}
	var names []string
	for _, finding := range found.Findings {
		name, _, _ := strings.Cut(finding, ":")
		names = append(names, name)
	}
	return sorted(names)
}

// A list with a thousand mistakes of one kind is told of once, and by no serial.
func TestLintCRLFindingsAreFew(t *testing.T) {
	raw := goodCRL()
	raw.entries = nil
	for i := range 1000 {
		raw.entries = append(raw.entries, crlEntryOf("0202"+fmt.Sprintf("%04x", 0x7fff-i), hexClock, "300a 0603551d15 0403 0a0106"))
	}
	err := newLinter(t).LintCRL(raw.der())
	if got := crlFindings(t, err); !slices.Equal(got, []string{"sigill_crl_entry_order", "sigill_crl_entry_reason"}) {
		t.Errorf("found %v", got)
	}
}

// FuzzLintCRL: whatever octets come, the linter answers, and what passes is a list
// that the standard library reads to its end.
func FuzzLintCRL(f *testing.F) {
	l := newLinter(f)
	f.Add(goodCRL().der())
	empty := goodCRL()
	empty.revoked, empty.entries = false, nil
	f.Add(empty.der())
	f.Fuzz(func(t *testing.T, der []byte) {
		if l.LintCRL(der) != nil {
			return
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil || len(list.Raw) != len(der) || list.Number == nil || len(list.AuthorityKeyId) == 0 || !list.NextUpdate.After(list.ThisUpdate) {
			t.Errorf("what passed is no list of ours: %v", err)
		}
	})
}

func BenchmarkLintCRL(b *testing.B) {
	l := newLinter(b)
	for _, n := range []int{0, 10, 1000} {
		raw := goodCRL()
		raw.entries, raw.revoked = nil, n > 0
		for i := range n {
			raw.entries = append(raw.entries, crlEntryOf(fmt.Sprintf("0210 40%028x%02x", i>>8, i&0xff), hexClock, hexReason))
		}
		der := raw.der()
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := l.LintCRL(der); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
