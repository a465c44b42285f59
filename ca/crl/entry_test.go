package crl_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/catest"
)

func TestRevokedRoundTrip(t *testing.T) {
	for _, e := range append(statusEntries(12),
		crl.Revoked{Serial: ca.NewSerial(), At: time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC), Reason: ca.KeyCompromise},
		crl.Revoked{Serial: ca.NewSerial(), At: time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), Reason: ca.CACompromise},
		crl.Revoked{Serial: ca.NewSerial(), At: time.Date(1949, 12, 31, 0, 0, 0, 0, time.UTC)},
		crl.Revoked{Serial: ca.NewSerial(), At: time.Date(2028, 2, 29, 12, 0, 0, 0, time.FixedZone("", 7200))},
	) {
		line, err := crl.EncodeRevoked(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := crl.ParseRevoked(line)
		if err != nil || got.Serial != e.Serial || !got.At.Equal(e.At) || got.Reason != e.Reason {
			t.Errorf("%v became %v (%v)", e, got, err)
		}
	}
}

// The octets of an entry, from RFC 5280, 5.1 and 5.3.1 by hand.
func TestEncodeRevokedBytes(t *testing.T) {
	serial, err := ca.ParseSerial("4102030405060708090a0b0c0d0e0f10")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 14, 9, 26, 53, 999, time.UTC)
	for reason, want := range map[ca.Reason]string{
		ca.Unspecified: "3021" + "0210" + serial.String() + "170d" + hex.EncodeToString([]byte("260314092653Z")),
		ca.Superseded:  "302f" + "0210" + serial.String() + "170d" + hex.EncodeToString([]byte("260314092653Z")) + "300c300a0603551d1504030a0104",
	} {
		got, err := crl.EncodeRevoked(crl.Revoked{Serial: serial, At: at, Reason: reason})
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%v: %x, %v, want %s", reason, got, err, want)
		}
	}
}

func TestEncodeRevokedRefuses(t *testing.T) {
	good := crl.Revoked{Serial: ca.NewSerial(), At: catest.Time, Reason: ca.Superseded}
	for name, spoil := range map[string]func(*crl.Revoked){
		"no serial":        func(r *crl.Revoked) { r.Serial = ca.Serial{} },
		"negative serial":  func(r *crl.Revoked) { r.Serial[0] |= 0x80 },
		"short serial":     func(r *crl.Revoked) { r.Serial[0] = 0 },
		"no time":          func(r *crl.Revoked) { r.At = time.Time{} },
		"year 10000":       func(r *crl.Revoked) { r.At = r.At.AddDate(8000, 0, 0) },
		"certificateHold":  func(r *crl.Revoked) { r.Reason = 6 },
		"reason 7":         func(r *crl.Revoked) { r.Reason = 7 },
		"removeFromCRL":    func(r *crl.Revoked) { r.Reason = 8 },
		"negative reason":  func(r *crl.Revoked) { r.Reason = -1 },
		"reason 260 mod 8": func(r *crl.Revoked) { r.Reason = 260 },
	} {
		r := good
		spoil(&r)
		if line, err := crl.EncodeRevoked(r); err == nil || line != nil {
			t.Errorf("%s: %x", name, line)
		}
	}
}

func TestParseRevokedRefuses(t *testing.T) {
	head := "021041020304050607" + "08090a0b0c0d0e0f10"
	at := "170d" + hex.EncodeToString([]byte("260314092653Z"))
	line := func(parts ...string) string {
		body := strings.Join(parts, "")
		return "30" + hex.EncodeToString([]byte{byte(len(body) / 2)}) + body
	}
	clock := func(tag, text string) string {
		return tag + hex.EncodeToString([]byte{byte(len(text))}) + hex.EncodeToString([]byte(text))
	}
	reason := "300c300a0603551d1504030a0104"
	if _, err := crl.ParseRevoked(must(hex.DecodeString(line(head, at, reason)))); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"nothing":                   "",
		"cut":                       line(head, at, reason)[:94],
		"more after it":             line(head, at, reason) + "00",
		"length not in DER":         "30812f" + head + at + reason,
		"no time":                   line(head),
		"something after the time":  line(head, at, "0500"),
		"unspecified written out":   line(head, at, "300c300a0603551d1504030a0100"),
		"hold":                      line(head, at, "300c300a0603551d1504030a0106"),
		"removeFromCRL":             line(head, at, "300c300a0603551d1504030a0108"),
		"critical reason":           line(head, at, "300f300d0603551d150101ff04030a0104"),
		"another extension":         line(head, at, "300c300a0603551d1604030a0104"),
		"no extensions in the list": line(head, at, "3000"),
		"local time":                line(head, clock("17", "260314092653+0100")),
		"no seconds":                line(head, clock("17", "2603140926Z")),
		"fraction":                  line(head, clock("18", "20560314092653.5Z")),
		"GeneralizedTime too early": line(head, clock("18", "20260314092653Z")),
		"month 13":                  line(head, clock("17", "261314092653Z")),
		"30 February":               line(head, clock("17", "260230092653Z")),
		"29 February 2026":          line(head, clock("17", "260229092653Z")),
		"hour 24":                   line(head, clock("17", "260314242653Z")),
		"letters":                   line(head, clock("17", "26031409265aZ")),
		"sign":                      line(head, clock("17", "2603140926-3Z")),
		"serial of 17 octets":       line("021100"+strings.Repeat("ff", 16), at),
		"serial of 1 octet":         line("020141", at),
		"serial with zero":          line("0211004102030405060708090a0b0c0d0e0f10", at),
		"negative serial":           line("0210c102030405060708090a0b0c0d0e0f10", at),
	} {
		if got, err := crl.ParseRevoked(must(hex.DecodeString(raw))); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// FuzzParseRevoked: what is read as one of our entries is written again octet for
// octet, and stands in a list that the standard library reads.
func FuzzParseRevoked(f *testing.F) {
	for _, e := range statusEntries(6) {
		f.Add(must(crl.EncodeRevoked(e)))
	}
	f.Add(must(crl.EncodeRevoked(crl.Revoked{Serial: ca.NewSerial(), At: catest.Time.AddDate(40, 0, 0), Reason: ca.Superseded})))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := crl.ParseRevoked(line)
		if err != nil {
			return
		}
		if again, err := crl.EncodeRevoked(r); err != nil || !bytes.Equal(again, line) {
			t.Fatalf("%x became %x (%v)", line, again, err)
		}
	})
}
