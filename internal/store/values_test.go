package store

import (
	"testing"
	"time"

	"sigill/ca"
)

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"  Åsa\tÖberg ":           "asa oberg",
		"A\u030asa O\u0308berg":   "asa oberg",
		"ÆGIR Łukasz Straße":      "aegir lukasz strasse",
		"SE2321000016-1A2B":       "se2321000016-1a2b",
		"\u0130":                  "i",
		string([]byte{0xff, 'a'}): "\ufffda",
		"Ærø–Þór":                 "aero–thor",
	} {
		if got := Fold(in); got != want {
			t.Errorf("Fold(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzFold: folding what is folded changes nothing, or a stored key could not be
// found by typing it.
func FuzzFold(f *testing.F) {
	f.Add("Åsa  Öberg")
	f.Add("İ\u0308ß")
	f.Fuzz(func(t *testing.T, s string) {
		once := Fold(s)
		if twice := Fold(once); twice != once {
			t.Errorf("Fold(%q) = %q, folded again %q", s, once, twice)
		}
	})
}

func TestZeroIsNull(t *testing.T) {
	for name, v := range map[string]any{"text": text(""), "time": at(time.Time{}), "hash": hash(ca.Fingerprint{}), "serial": serial(ca.Serial{}), "number": number(0), "bytes": bytes(nil)} {
		if v != nil {
			t.Errorf("%s: %v, want NULL", name, v)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	var s string
	var n int
	var b bool
	var w time.Time
	for name, err := range map[string]error{
		"text": str(&s).Scan(int64(1)), "time": intoTime{&w}.Scan("x"), "number": intoInt{&n}.Scan("1"), "flag": intoFlag{&b}.Scan(nil),
		"short": intoOctets(make([]byte, 32)).Scan(make([]byte, 31)), "octets": intoOctets(nil).Scan("x"),
	} {
		if err == nil {
			t.Errorf("%s: scanned", name)
		}
	}
}
