package transcript

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"
)

// TestName: every attribute in its order and readable, and no value that can be taken
// for another attribute.
func TestName(t *testing.T) {
	of := func(value any, oid ...int) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier(oid), Value: value}
	}
	n := pkix.Name{Names: []pkix.AttributeTypeAndValue{of("SE", 2, 5, 4, 6), of("Region Österbyggd", 2, 5, 4, 10), of("Öström Häggkvist", 2, 5, 4, 4),
		of("Åsa", 2, 5, 4, 42), of("SE2321000016-A4O2", 2, 5, 4, 5), of("Åsa, CN=Karin", 2, 5, 4, 3), of(7, 1, 2, 3)}}
	const want = `C=SE, O=Region Österbyggd, SN=Öström Häggkvist, GN=Åsa, serialNumber=SE2321000016-A4O2, CN="Åsa, CN=Karin", 1.2.3=7`
	if got := name(n); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s ago", 61*time.Second + 1: "1m1s ago", -time.Hour: "in 1h0m0s", -24 * time.Hour: "in 24h0m0s",
		-(365*24 - 1) * time.Hour: "in 364 days", 48 * time.Hour: "2 days ago", 48*time.Hour - time.Second: "47h59m59s ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
}
