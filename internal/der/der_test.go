package der_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigill/internal/der"
)

func goldens(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../../testdata/golden/*.der")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden certificates: %v", err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = raw
	}
	return all
}

// The two parsers agree about every golden certificate.
func TestParseAgainstX509(t *testing.T) {
	for name, raw := range goldens(t) {
		p, err := der.Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.TBS, c.RawTBSCertificate) || !bytes.Equal(p.Issuer, c.RawIssuer) || !bytes.Equal(p.Subject, c.RawSubject) ||
			!bytes.Equal(p.PublicKey, c.RawSubjectPublicKeyInfo) || !bytes.Equal(p.Signature, c.Signature) || p.Serial.Cmp(c.SerialNumber) != 0 {
			t.Errorf("%s: the parsers disagree", name)
		}
		if len(p.Extensions) != len(c.Extensions) {
			t.Errorf("%s: %d extensions, x509 has %d", name, len(p.Extensions), len(c.Extensions))
			continue
		}
		for i, e := range p.Extensions {
			if x := c.Extensions[i]; !e.ID.Equal(x.Id) || e.Critical != x.Critical || !bytes.Equal(e.Value, x.Value) {
				t.Errorf("%s: extension %v differs", name, e.ID)
			}
		}
	}
}

func TestAppendAndRemove(t *testing.T) {
	id := asn1.ObjectIdentifier{2, 999, 1}
	for name, raw := range goldens(t) {
		p, err := der.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		// 200 octets make lengths grow from one octet to two, and from two to three.
		for _, size := range []int{0, 1, 127, 200, 70000} {
			longer, err := der.AppendExtension(p.TBS, der.Extension{ID: id, Value: make([]byte, size)})
			if err != nil {
				t.Fatal(err)
			}
			q, err := der.ParseTBS(longer)
			if err != nil {
				t.Fatal(err)
			}
			if last := q.Extensions[len(q.Extensions)-1]; !last.ID.Equal(id) || len(last.Value) != size {
				t.Errorf("%s: last extension is %v", name, last.ID)
			}
			if _, err := der.AppendExtension(longer, der.Extension{ID: id}); err == nil {
				t.Errorf("%s: appended twice", name)
			}
			back, err := der.RemoveExtension(longer, id)
			if err != nil || !bytes.Equal(back, p.TBS) {
				t.Errorf("%s: removing does not undo appending (%v)", name, err)
			}
			if _, err := der.RemoveExtension(back, id); err == nil {
				t.Errorf("%s: removed what is not there", name)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := goldens(t)["ocsp.der"]
	p, err := der.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	keyUsage := unhex(t, "0603551d0f0101ff0404030207 80")
	for _, c := range []struct {
		name string
		raw  []byte
	}{
		{"nothing", nil},
		{"cut", good[:len(good)-1]},
		{"something after it", append(slices.Clone(good), 0)},
		{"inner algorithm differs", bytes.Replace(good, unhex(t, "2a8648ce3d040302"), unhex(t, "2a8648ce3d040303"), 1)},
		{"version 2", bytes.Replace(good, unhex(t, "a003020102"), unhex(t, "a003020101"), 1)},
		{"criticality FALSE written out", bytes.Replace(good, keyUsage, unhex(t, "0603551d0f010100040403020780"), 1)},
		{"criticality of another TRUE", bytes.Replace(good, keyUsage, unhex(t, "0603551d0f010101040403020780"), 1)},
		{"extension twice", bytes.Replace(good, unhex(t, "0603551d23"), unhex(t, "0603551d0e"), 1)},
		{"a TBS", p.TBS},
	} {
		if bytes.Equal(c.raw, good) {
			t.Errorf("%s: nothing was changed", c.name)
		}
		if _, err := der.Parse(c.raw); err == nil {
			t.Errorf("%s: parsed", c.name)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(" "), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestIsPrintable(t *testing.T) {
	for s, want := range map[string]bool{"": true, "SE2321000016-1A2B": true, "a 'b' (c) +,-./:=?": true,
		"*": false, "&": false, "@": false, "_": false, "å": false, "a\n": false} {
		if got := der.IsPrintable(s); got != want {
			t.Errorf("IsPrintable(%q) = %v", s, got)
		}
	}
}

// FuzzTBS: what is taken apart is written again byte for byte, and an extension
// that is added can be taken out again without a trace.
func FuzzTBS(f *testing.F) {
	for _, raw := range goldens(f) {
		p, err := der.Parse(raw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.TBS)
	}
	id := asn1.ObjectIdentifier{2, 999, 1}
	f.Fuzz(func(t *testing.T, tbs []byte) {
		p, err := der.ParseTBS(tbs)
		if err != nil {
			return
		}
		if slices.ContainsFunc(p.Extensions, func(e der.Extension) bool { return e.ID.Equal(id) }) {
			return
		}
		longer, err := der.AppendExtension(tbs, der.Extension{ID: id, Value: []byte{5, 0}})
		if err != nil {
			t.Fatalf("parsed, but can't be extended: %v", err)
		}
		back, err := der.RemoveExtension(longer, id)
		if err != nil || !bytes.Equal(back, tbs) {
			t.Fatalf("%x\nbecame\n%x (%v)", tbs, back, err)
		}
	})
}

// FuzzParse: what Parse accepts, crypto/x509 reads alike or not at all.
func FuzzParse(f *testing.F) {
	for _, raw := range goldens(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := der.Parse(raw)
		if err != nil {
			return
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(p.TBS, c.RawTBSCertificate) || !bytes.Equal(p.PublicKey, c.RawSubjectPublicKeyInfo) ||
			p.Serial.Cmp(c.SerialNumber) != 0 || len(p.Extensions) != len(c.Extensions) {
			t.Fatal("the parsers disagree")
		}
	})
}
