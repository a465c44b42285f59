package crl_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/catest"
)

// rawCRL is a list whose every part the test can spoil. Each is DER in
// hexadecimal, spaces ignored.
type rawCRL struct {
	version, algorithm, issuer, thisUpdate, nextUpdate string
	entries                                            string // content of revokedCertificates; "" for none
	extensions                                         string // content of the Extensions; "" for none
	afterExtensions                                    string
	outer                                              string // the outer algorithm
}

const (
	derEd25519 = "300506032b6570"
	derClock   = "170d3236303331343039323635335a"
	derNumber  = "300a0603551d140403020129" // 41
	derReason  = "300a0603551d1504030a0104"
	derLine    = "302f 0210 41000000000000000000000000000001" + derClock + "300c" + derReason
)

func goodRaw(issuer *x509.Certificate) rawCRL {
	return rawCRL{"020101", derEd25519, hex.EncodeToString(issuer.RawSubject), derClock,
		strings.Replace(derClock, "3134", "3135", 1), derLine, derNumber, "", derEd25519}
}

func unhex(text string) []byte {
	return must(hex.DecodeString(strings.ReplaceAll(text, " ", "")))
}

func wrap(tag casn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(parts...)) })
	return b.BytesOrPanic()
}

func (r rawCRL) tbs() []byte {
	parts := [][]byte{unhex(r.version), unhex(r.algorithm), unhex(r.issuer), unhex(r.thisUpdate), unhex(r.nextUpdate)}
	if r.entries != "" {
		parts = append(parts, wrap(casn1.SEQUENCE, unhex(r.entries)))
	}
	if r.extensions != "" {
		parts = append(parts, wrap(casn1.Tag(0).ContextSpecific().Constructed(), wrap(casn1.SEQUENCE, unhex(r.extensions))))
	}
	return wrap(casn1.SEQUENCE, append(parts, unhex(r.afterExtensions))...)
}

// sealEd25519 signs a to-be-signed list, whatever is in it.
func sealEd25519(key crypto.Signer, tbs, outer []byte) []byte {
	signature := must(key.Sign(rand.Reader, tbs, crypto.Hash(0)))
	return wrap(casn1.SEQUENCE, tbs, outer, wrap(casn1.BIT_STRING, []byte{0}, signature))
}

func ed25519Issuer(t testing.TB) (crypto.Signer, *x509.Certificate) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key, catest.Issue(t, catest.CA("TEST Person HSA-id 3 CA v1"), nil, key.Public(), key)
}

// One wrong thing each, under a signature that verifies.
func TestCRLReaderRefuses(t *testing.T) {
	key, issuer := ed25519Issuer(t)
	extension := func(id, value string) string {
		return hex.EncodeToString(wrap(casn1.SEQUENCE, unhex(id), wrap(casn1.OCTET_STRING, unhex(value))))
	}
	entry := func(parts ...string) string {
		return hex.EncodeToString(wrap(casn1.SEQUENCE, unhex(strings.Join(parts, ""))))
	}
	serial := "021041000000000000000000000000000001"
	if _, _, err := readCRL(sealEd25519(key, goodRaw(issuer).tbs(), unhex(derEd25519)), issuer); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		spoil func(*rawCRL)
		want  string
	}{
		"version 1":               {func(r *rawCRL) { r.version = "" }, "version"},
		"version 3":               {func(r *rawCRL) { r.version = "020102" }, "version 2"},
		"version in two octets":   {func(r *rawCRL) { r.version = "02020001" }, "version 2"},
		"two algorithms":          {func(r *rawCRL) { r.outer = "300a06082a8648ce3d040302" }, "two signature algorithms"},
		"another key's algorithm": {func(r *rawCRL) { r.algorithm, r.outer = "300a06082a8648ce3d040302", "300a06082a8648ce3d040302" }, "not for a key"},
		"parameters":              {func(r *rawCRL) { r.algorithm, r.outer = "300706032b65700500", "300706032b65700500" }, "not supported"},
		"SHA-1": {func(r *rawCRL) {
			r.algorithm, r.outer = "300d06092a864886f70d0101050500", "300d06092a864886f70d0101050500"
		}, "not supported"},
		"RSA without NULL": {func(r *rawCRL) { r.algorithm, r.outer = "300b06092a864886f70d01010b", "300b06092a864886f70d01010b" }, "not supported"},
		"PSS by default": {func(r *rawCRL) {
			r.algorithm, r.outer = "300d06092a864886f70d01010a3000", "300d06092a864886f70d01010a3000"
		}, "not supported"},
		"algorithm in no order":            {func(r *rawCRL) { r.algorithm, r.outer = "30020500", "30020500" }, "not one in DER"},
		"another issuer":                   {func(r *rawCRL) { r.issuer = "3000" }, "another issuer"},
		"no issuer":                        {func(r *rawCRL) { r.issuer = "" }, "issuer"},
		"no thisUpdate":                    {func(r *rawCRL) { r.thisUpdate, r.nextUpdate = "", "" }, "thisUpdate"},
		"thisUpdate without zone":          {func(r *rawCRL) { r.thisUpdate = "170c323630333134303932363533" }, "thisUpdate"},
		"nextUpdate in minutes":            {func(r *rawCRL) { r.nextUpdate = "170b323630333134303932365a" }, "nextUpdate"},
		"entry is a SET":                   {func(r *rawCRL) { r.entries = "3100" }, "tag 0x31"},
		"entry is empty":                   {func(r *rawCRL) { r.entries = "3000" }, "entry 0"},
		"second entry is cut":              {func(r *rawCRL) { r.entries += "3005020101" }, "entry 1"},
		"entry one octet too long":         {func(r *rawCRL) { r.entries += "3004020101" }, "longer than what it stands in"},
		"entries one too long":             {func(r *rawCRL) { r.nextUpdate, r.entries, r.extensions = r.nextUpdate+"3032"+derLine, "", "" }, "longer than what it stands in"},
		"entries' length too wide":         {func(r *rawCRL) { r.nextUpdate, r.entries = r.nextUpdate+"308131"+derLine, "" }, "a length is not in DER"},
		"entries' length with zero":        {func(r *rawCRL) { r.nextUpdate, r.entries = r.nextUpdate+"30820031"+derLine, "" }, "a length is not in DER"},
		"200 octets, with zero":            {func(r *rawCRL) { r.nextUpdate, r.entries = r.nextUpdate+"308200c4"+strings.Repeat(derLine, 4), "" }, "a length is not in DER"},
		"entries without length":           {func(r *rawCRL) { r.nextUpdate, r.entries = r.nextUpdate+"3080"+derLine+"0000", "" }, "a length is not in DER"},
		"length of five octets":            {func(r *rawCRL) { r.nextUpdate, r.entries = r.nextUpdate+"30850000000031"+derLine, "" }, "a length is not in DER"},
		"entries end in an entry":          {func(r *rawCRL) { r.entries += "30" }, "entry 1"},
		"entry's length not in DER":        {func(r *rawCRL) { r.entries = "3081" + r.entries[2:] }, "DER"},
		"indefinite length":                {func(r *rawCRL) { r.entries = "3080" + r.entries[4:] + "0000" }, "DER"},
		"serial not minimal":               {func(r *rawCRL) { r.entries = entry("02020001", derClock) }, "entry 0"},
		"empty serial":                     {func(r *rawCRL) { r.entries = entry("0200", derClock) }, "entry 0"},
		"negative serial, long":            {func(r *rawCRL) { r.entries = entry("0202ff80", derClock) }, "entry 0"},
		"no time":                          {func(r *rawCRL) { r.entries = entry(serial) }, "entry 0"},
		"31 April":                         {func(r *rawCRL) { r.entries = entry(serial, "170d3236303433313039323635335a") }, "entry 0"},
		"empty extensions":                 {func(r *rawCRL) { r.entries = entry(serial, derClock, "3000") }, "entry 0"},
		"reason twice":                     {func(r *rawCRL) { r.entries = entry(serial, derClock, "3018", derReason, derReason) }, "entry 0"},
		"reason of two octets":             {func(r *rawCRL) { r.entries = entry(serial, derClock, "300d300b0603551d1504040a020104") }, "entry 0"},
		"negative reason":                  {func(r *rawCRL) { r.entries = entry(serial, derClock, "300c300a0603551d1504030a0184") }, "entry 0"},
		"reason is an INTEGER":             {func(r *rawCRL) { r.entries = entry(serial, derClock, "300c300a0603551d150403020104") }, "entry 0"},
		"after the extensions of an entry": {func(r *rawCRL) { r.entries = entry(serial, derClock, "300c"+derReason, "0500") }, "entry 0"},
		"value's length with zero": {func(r *rawCRL) {
			r.entries = entry(serial, derClock, hex.EncodeToString(wrap(casn1.SEQUENCE, wrap(casn1.SEQUENCE, unhex("0603551d40"+"048200c8"), make([]byte, 200)))))
		}, "entry 0"},
		"negative critical reason": {func(r *rawCRL) { r.entries = entry(serial, derClock, "300f300d0603551d150101ff04030a0184") }, "entry 0"},
		"value is a BIT STRING":    {func(r *rawCRL) { r.entries = entry(serial, derClock, "300c300a0603551d1503030a0104") }, "entry 0"},
		"criticality FALSE":        {func(r *rawCRL) { r.entries = entry(serial, derClock, "300f300d0603551d1501010004030a0104") }, "entry 0"},
		"extension without value":  {func(r *rawCRL) { r.entries = entry(serial, derClock, "300730050603551d15") }, "entry 0"},
		"more after the value":     {func(r *rawCRL) { r.entries = entry(serial, derClock, "300e300c0603551d1504030a01040500") }, "entry 0"},
		"identifier not in DER":    {func(r *rawCRL) { r.entries = entry(serial, derClock, "300b300906042a80010104010a") }, "entry 0"},
		"seventeen extensions": {func(r *rawCRL) {
			var all []byte
			for i := range 17 {
				all = append(all, unhex("30070603551d"+hex.EncodeToString([]byte{byte(64 + i)})+"0400")...)
			}
			r.entries = entry(serial, derClock, hex.EncodeToString(wrap(casn1.SEQUENCE, all)))
		}, "entry 0"},
		"an entry of 64 kB":       {func(r *rawCRL) { r.entries = entry(strings.Repeat("00", crl.MaxLine)) }, "too long"},
		"no extension":            {func(r *rawCRL) { r.extensions, r.afterExtensions = "", "a0023000" }, "extensions"},
		"after the extensions":    {func(r *rawCRL) { r.afterExtensions = "0500" }, "after the extensions"},
		"number twice":            {func(r *rawCRL) { r.extensions += derNumber }, "twice"},
		"unknown one twice":       {func(r *rawCRL) { r.extensions += strings.Repeat(extension("06032a0304", "0500"), 2) }, "twice"},
		"negative number":         {func(r *rawCRL) { r.extensions = extension("0603551d14", "020181") }, "2.5.29.20"},
		"number of 21 octets":     {func(r *rawCRL) { r.extensions = extension("0603551d14", "021501"+strings.Repeat("00", 20)) }, "2.5.29.20"},
		"number and more":         {func(r *rawCRL) { r.extensions = extension("0603551d14", "0201290500") }, "2.5.29.20"},
		"number criticality no":   {func(r *rawCRL) { r.extensions = "300d0603551d140101000403020129" }, "criticality"},
		"key identifier in none":  {func(r *rawCRL) { r.extensions = extension("0603551d23", "0400") }, "2.5.29.35"},
		"key identifier and more": {func(r *rawCRL) { r.extensions = extension("0603551d23", "30048001410500") }, "2.5.29.35"},
		"critical key identifier": {func(r *rawCRL) { r.extensions = "300f0603551d230101ff0405 3003800141" }, "2.5.29.35"},
		"scope with FALSE":        {func(r *rawCRL) { r.extensions = extension("0603551d1c", "3003810100") }, "2.5.29.28"},
		"scope out of order":      {func(r *rawCRL) { r.extensions = extension("0603551d1c", "30068201ff8101ff") }, "2.5.29.28"},
		"scope of no name":        {func(r *rawCRL) { r.extensions = extension("0603551d1c", "3004a002a000") }, "2.5.29.28"},
		"next list never": {func(r *rawCRL) {
			r.extensions = extension("06092b0601040182371504", "0500")
		}, "311.21.4"},
	} {
		raw := goodRaw(issuer)
		test.spoil(&raw)
		head, _, err := readCRL(sealEd25519(key, raw.tbs(), unhex(raw.outer)), issuer)
		if err == nil || !strings.Contains(err.Error(), test.want) || head != nil {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// What is wrong outside of what is signed, and what is changed after signing.
func TestCRLReaderRefusesForgeries(t *testing.T) {
	key, issuer := ed25519Issuer(t)
	_, stranger := ed25519Issuer(t)
	tbs := goodRaw(issuer).tbs()
	good := sealEd25519(key, tbs, unhex(derEd25519))
	noSign := catest.CA("TEST Person HSA-id 3 CA v1")
	noSign.KeyUsage = x509.KeyUsageCertSign
	leaf := catest.OCSPSigner()
	leaf.Subject = catest.CA("TEST Person HSA-id 3 CA v1").Subject
	signing := catest.OCSPSigner()
	signing.Subject, signing.KeyUsage = leaf.Subject, x509.KeyUsageCRLSign
	signature := must(key.Sign(rand.Reader, tbs, crypto.Hash(0)))
	for name, test := range map[string]struct {
		der    []byte
		issuer *x509.Certificate
	}{
		"nothing":               {nil, issuer},
		"one octet":             {[]byte{0x30}, issuer},
		"not a list":            {issuer.Raw, issuer},
		"another key":           {good, stranger},
		"may not sign":          {good, catest.Issue(t, noSign, nil, key.Public(), key)},
		"not a CA":              {good, catest.Issue(t, leaf, issuer, key.Public(), key)},
		"signs, but is no CA":   {good, catest.Issue(t, signing, issuer, key.Public(), key)},
		"more after it":         {append(slices.Clone(good), 0), issuer},
		"signature and more":    {wrap(casn1.SEQUENCE, tbs, unhex(derEd25519), wrap(casn1.BIT_STRING, []byte{0}, signature), []byte{5, 0}), issuer},
		"signature in bits":     {wrap(casn1.SEQUENCE, tbs, unhex(derEd25519), wrap(casn1.BIT_STRING, []byte{3}, signature, []byte{0})), issuer},
		"bits, by the hash":     {wrap(casn1.SEQUENCE, tbs, unhex(derEd25519), wrap(casn1.BIT_STRING, []byte{3}, signature, []byte{0})), nil},
		"no signature":          {wrap(casn1.SEQUENCE, tbs, unhex(derEd25519)), issuer},
		"longer than anything":  {unhex("3084100000013084100000000201"), issuer},
		"list longer than file": {unhex("3084010000003084001000000201"), issuer},
	} {
		if head, _, err := readCRL(test.der, test.issuer); err == nil || head != nil {
			t.Errorf("%s: read", name)
		}
	}
	for cut := range good {
		if _, _, err := readCRL(good[:cut], issuer); err == nil {
			t.Fatalf("read though cut after %d octets", cut)
		} else if cut > 2 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d octets: %v", cut, err)
		}
		for bit := range 8 {
			changed := slices.Clone(good)
			changed[cut] ^= 1 << bit
			if _, _, err := readCRL(changed, issuer); err == nil {
				t.Fatalf("read though bit %d of octet %d is changed", bit, cut)
			}
		}
	}
	broken := errors.New("connection reset")
	r, err := crl.NewReader(io.MultiReader(bytes.NewReader(good[:len(good)-70]), iotest.ErrReader(broken)), issuer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(); !errors.Is(err, broken) {
		t.Errorf("a broken connection is told as %v", err)
	}
}

// Lists of other issuers: other serials, extensions and scopes, read as they are.
func TestCRLReaderForeign(t *testing.T) {
	key := catest.ECDSA(t, elliptic.P256())
	issuer := catest.Issue(t, catest.CA("Another"), nil, key.Public(), key)
	at := func(y int) time.Time { return time.Date(y, 2, 28, 1, 2, 3, 0, time.UTC) }
	critical := []pkix.Extension{catest.Extension(asn1.ObjectIdentifier{2, 5, 29, 29}, true, unhex("3000"))}
	template := &x509.RevocationList{Number: new(big.Int).Lsh(big.NewInt(1), 150), ThisUpdate: at(2049), NextUpdate: at(2051),
		RevokedCertificateEntries: []x509.RevocationListEntry{
			{SerialNumber: new(big.Int).Lsh(big.NewInt(1), 8*40), RevocationTime: at(2050)},
			{SerialNumber: big.NewInt(200), RevocationTime: at(1999), ReasonCode: 6, ExtraExtensions: []pkix.Extension{
				catest.Extension(asn1.ObjectIdentifier{2, 5, 29, 24}, false, []byte("\x18\x0f20260314092653Z"))}},
			{SerialNumber: big.NewInt(1), RevocationTime: at(1970), ExtraExtensions: critical},
			{SerialNumber: big.NewInt(-129), RevocationTime: at(1950), ExtraExtensions: []pkix.Extension{
				catest.Extension(asn1.ObjectIdentifier{2, 5, 29, 24}, true, []byte("\x18\x0f20260314092653Z"))}},
			{SerialNumber: new(big.Int).Lsh(big.NewInt(0x99), 8*150), RevocationTime: at(2026), ExtraExtensions: []pkix.Extension{
				catest.Extension(asn1.ObjectIdentifier{1, 2, 3, 4}, false, []byte("x")), catest.Extension(asn1.ObjectIdentifier{1, 2, 3, 5}, false, nil)}},
		},
		ExtraExtensions: []pkix.Extension{
			catest.Extension(asn1.ObjectIdentifier{2, 5, 29, 27}, true, unhex("020107")),
			catest.Extension(asn1.ObjectIdentifier{1, 2, 3, 4}, true, []byte("x")),
			catest.Extension(asn1.ObjectIdentifier{1, 2, 3, 5}, false, []byte("x")),
			catest.Extension(asn1.ObjectIdentifier{2, 5, 29, 28}, true, unhex("3014 a008a006860161860162 8101ff 83020780 8401ff")),
		}}
	der, err := x509.CreateRevocationList(rand.Reader, template, issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	head, entries, err := readCRL(der, issuer)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range template.RevokedCertificateEntries {
		got := entries[i]
		if got.Serial.Cmp(e.SerialNumber) != 0 || !got.At.Equal(e.RevocationTime) || int(got.Reason) != e.ReasonCode || got.Critical != (i == 2) {
			t.Errorf("entry %d = %+v", i, got)
		}
	}
	if head.Number.Cmp(template.Number) != 0 || !head.NextUpdate.Equal(at(2051)) || head.Sorted || head.CriticalEntries != 1 || head.Entries != 5 {
		t.Errorf("head %+v", head)
	}
	if head.DeltaBase == nil || head.DeltaBase.Int64() != 7 || len(head.UnknownCritical) != 1 || head.UnknownCritical[0].String() != "1.2.3.4" {
		t.Errorf("delta to %v, unknown %v", head.DeltaBase, head.UnknownCritical)
	}
	s := head.Scope
	if head.DistributionPoint != "" || !s.Critical || !slices.Equal(s.URIs, []string{"a", "b"}) || !s.OnlyUserCerts || !s.OnlySomeReasons || !s.Indirect || s.OnlyCACerts || s.OnlyAttributes || s.OtherNames {
		t.Errorf("scope %+v", s)
	}
}

// Sorted is said of positive serials in strict order, whatever their lengths; and
// a reason is understood even if it is critical.
func TestCRLReaderSorted(t *testing.T) {
	key, issuer := ed25519Issuer(t)
	for name, test := range map[string]struct {
		serials []string
		want    bool
	}{
		"none":            {nil, true},
		"one":             {[]string{"020101"}, true},
		"zero":            {[]string{"020100", "020101"}, true},
		"longer is later": {[]string{"020101", "02017f", "02020080", "020300ffff", "0203010000"}, true},
		"twice":           {[]string{"020105", "020105"}, false},
		"back":            {[]string{"020105", "020104"}, false},
		"shorter":         {[]string{"02020100", "020104"}, false},
		"negative":        {[]string{"020180"}, false},
		"negative last":   {[]string{"020101", "0202ff7f"}, false},
	} {
		raw := goodRaw(issuer)
		raw.entries = ""
		for _, serial := range test.serials {
			raw.entries += hex.EncodeToString(wrap(casn1.SEQUENCE, unhex(serial), unhex(derClock), unhex("300f300d0603551d150101ff04030a0104")))
		}
		head, entries, err := readCRL(sealEd25519(key, raw.tbs(), unhex(derEd25519)), issuer)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if head.Sorted != test.want || head.Entries != len(test.serials) || head.CriticalEntries != 0 {
			t.Errorf("%s: %+v", name, head)
		}
		for _, e := range entries {
			if e.Critical || e.Reason != ca.Superseded {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
}

// Times at the borders of what is one, each held against the standard library.
func TestCRLReaderTimes(t *testing.T) {
	key, issuer := ed25519Issuer(t)
	for text, want := range map[string]bool{
		"260314092653Z": true, "491231235959Z": true, "500101000000Z": true, "680229000000Z": true, "690101000000Z": true, "991231235959Z": true, "000229000000Z": true,
		"20500101000000Z": true, "99991231235959Z": true, "20000229120000Z": true, "24000229120000Z": true, "19500101000000Z": true,
		"21000229120000Z": false, "20260229120000Z": false, "260229120000Z": false, "260431120000Z": false, "260631120000Z": false, "260931120000Z": false, "261131120000Z": false,
		"260132120000Z": false, "260100120000Z": false, "260001120000Z": false, "261301120000Z": false, "260314240000Z": false, "260314096000Z": false, "260314090060Z": false,
		"2603140926530": false, "26031409265:Z": false, "2603140926/3Z": false, "+60314092653Z": false, "26031409265 Z": false, "2050010100000Z": false, "2:500101000000Z": false, "20:00101000000Z": false,
		"260314092653z": false, "2603140926Z": false, "20500101000000.5Z": false, "205001010000Z": false, "260314092653+0000": false, "": false,
	} {
		tag := "17"
		if len(text) == 15 || len(text) == 17 && text[0:2] == "20" {
			tag = "18"
		}
		raw := goodRaw(issuer)
		at := append(append(unhex(tag), byte(len(text))), text...)
		raw.entries = hex.EncodeToString(wrap(casn1.SEQUENCE, unhex("020101"), at))
		der := sealEd25519(key, raw.tbs(), unhex(derEd25519))
		_, entries, err := readCRL(der, issuer)
		if (err == nil) != want {
			t.Errorf("%q: %v", text, err)
			continue
		}
		list, stdErr := x509.ParseRevocationList(der)
		if want && (stdErr != nil || !entries[0].At.Equal(list.RevokedCertificateEntries[0].RevocationTime)) {
			t.Errorf("%q is %v, the standard library's is %v (%v)", text, entries[0].At, list, stdErr)
		}
	}
}

// A distribution point is one only if it is all that the scope says.
func TestCRLReaderScope(t *testing.T) {
	key, issuer := ed25519Issuer(t)
	for name, test := range map[string]struct{ critical, value, want string }{
		"one address":         {"0101ff", "3007a005a003860161", "a"},
		"not critical":        {"", "3007a005a003860161", ""},
		"two addresses":       {"0101ff", "300aa008a006860161860162", ""},
		"a name besides":      {"0101ff", "300aa008a006860161820162", ""},
		"an empty address":    {"0101ff", "3006a004a0028600", ""},
		"relative":            {"0101ff", "3004a002a100", ""},
		"user certificates":   {"0101ff", "300aa005a0038601618101ff", ""},
		"CA certificates":     {"0101ff", "300aa005a0038601618201ff", ""},
		"some reasons":        {"0101ff", "300ba005a00386016183020780", ""},
		"indirect":            {"0101ff", "300aa005a0038601618401ff", ""},
		"attributes":          {"0101ff", "300aa005a0038601618501ff", ""},
		"nothing said at all": {"0101ff", "3000", ""},
	} {
		raw := goodRaw(issuer)
		raw.extensions = hex.EncodeToString(wrap(casn1.SEQUENCE, unhex("0603551d1c"+test.critical), wrap(casn1.OCTET_STRING, unhex(test.value))))
		head, _, err := readCRL(sealEd25519(key, raw.tbs(), unhex(derEd25519)), issuer)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if head.DistributionPoint != test.want || !head.Scope.Present {
			t.Errorf("%s: %q, %+v", name, head.DistributionPoint, head.Scope)
		}
	}
}

// Every signature algorithm that is verified, made by the standard library, and
// with one bit of the signature changed.
func TestCRLReaderAlgorithms(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, key := range map[x509.SignatureAlgorithm]crypto.Signer{
		x509.ECDSAWithSHA256: catest.ECDSA(t, elliptic.P521()), x509.ECDSAWithSHA384: catest.ECDSA(t, elliptic.P256()), x509.ECDSAWithSHA512: catest.ECDSA(t, elliptic.P384()),
		x509.SHA256WithRSA: rsaKey, x509.SHA384WithRSA: rsaKey, x509.SHA512WithRSA: rsaKey,
		x509.SHA256WithRSAPSS: rsaKey, x509.SHA384WithRSAPSS: rsaKey, x509.SHA512WithRSAPSS: rsaKey,
		x509.PureEd25519: func() crypto.Signer { key, _ := ed25519Issuer(t); return key }(),
	} {
		issuer := catest.Issue(t, catest.CA("Another"), nil, key.Public(), key)
		template := &x509.RevocationList{SignatureAlgorithm: algorithm, Number: big.NewInt(1), ThisUpdate: catest.Time, NextUpdate: catest.Time.Add(time.Hour)}
		der, err := x509.CreateRevocationList(rand.Reader, template, issuer, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := readCRL(der, issuer); err != nil {
			t.Errorf("%v: %v", algorithm, err)
		}
		der[len(der)-1] ^= 1
		if _, _, err := readCRL(der, issuer); err == nil {
			t.Errorf("%v: read with a wrong signature", algorithm)
		}
		if _, _, err := readCRL(der, nil); err != nil {
			t.Errorf("%v: without an issuer: %v", algorithm, err)
		}
	}
}
