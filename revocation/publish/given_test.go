package publish_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation/publish"
)

// yearly is the root's CRL as a ceremony makes it.
func yearly(number int64, entries ...crl.Revoked) crl.List {
	return crl.List{Number: number, ThisUpdate: revtest.Start.Add(time.Duration(number) * time.Minute), NextUpdate: revtest.Start.AddDate(1, 0, 0), Entries: entries}
}

func TestInstall(t *testing.T) {
	a, stranger := revtest.NewAuthority(t, revtest.Root, nil), revtest.NewAuthority(t, "stranger", nil)
	revoked := crl.Revoked{Serial: ca.NewSerial(), At: revtest.Start, Reason: ca.CACompromise}
	now := revtest.Start.AddDate(0, 1, 0)
	second := a.CRL(t, yearly(2, revoked))
	partitioned := yearly(3, revoked)
	partitioned.DistributionPoint = revtest.URLOf(revtest.Root, 0)
	older := yearly(4, revoked)
	older.ThisUpdate = revtest.Start
	future := yearly(4, revoked)
	future.ThisUpdate = now.Add(time.Second)
	ended := yearly(4, revoked)
	ended.NextUpdate = now
	dir := t.TempDir()
	path := filepath.Join(dir, "crl", "root", "0.crl")
	for _, test := range []struct {
		name    string
		der     []byte
		changed bool
		want    string // part of the error
	}{
		{"not a CRL", []byte("oops"), false, "x509"},
		{"not in force yet", a.CRL(t, future), false, "has not come"},
		{"ended", a.CRL(t, ended), false, "has passed"},
		{"another's", stranger.CRL(t, yearly(1)), false, "verification failure"},
		{"first", a.CRL(t, yearly(1)), true, ""},
		{"second", second, true, ""},
		{"again", second, false, ""},
		{"same number", a.CRL(t, yearly(2, revoked)), false, "has number 2"},
		{"older number", a.CRL(t, yearly(1)), false, "has number 2"},
		{"older time", a.CRL(t, older), false, "look at the clock"},
		{"entry dropped", a.CRL(t, yearly(3)), false, "is on the public CRL and not on this one"},
		{"for a partition", a.CRL(t, partitioned), false, "the certificates say"},
		{"third", a.CRL(t, yearly(3, revoked)), true, ""},
	} {
		var was []byte
		if _, err := os.Stat(path); err == nil {
			was = revtest.Read(t, path)
		}
		changed, err := publish.Install(dir, publish.Given{Issuer: revtest.Root, Certificate: a.Cert, DER: test.der}, now)
		if changed != test.changed || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v, want %v and %q", test.name, changed, err, test.changed, test.want)
		}
		switch {
		case test.changed && !bytes.Equal(revtest.Read(t, path), test.der):
			t.Errorf("%s: it is not in place", test.name)
		case !test.changed && was != nil && !bytes.Equal(revtest.Read(t, path), was):
			t.Errorf("%s: the file was changed", test.name)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	a, now := revtest.NewAuthority(t, revtest.Root, nil), revtest.Start.AddDate(0, 1, 0)
	second := a.CRL(t, yearly(2))
	for name, g := range map[string]publish.Given{
		"no issuer":       {Certificate: a.Cert, DER: second},
		"no certificate":  {Issuer: revtest.Root, DER: second},
		"out of the tree": {Issuer: "../root", Certificate: a.Cert, DER: second},
		"address missing": {Issuer: revtest.Root, Certificate: a.Cert, DER: second, URL: revtest.URLOf(revtest.Root, 0)},
	} {
		if _, err := publish.Install(t.TempDir(), g, now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// What the standard library takes, and stricter readers do not.
	list, err := x509.ParseRevocationList(second)
	if err != nil {
		t.Fatal(err)
	}
	critical := func(id ...int) []byte {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: list.Number, ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate,
			ExtraExtensions: []pkix.Extension{{Id: id, Critical: true, Value: []byte{2, 1, 1}}}}, a.Cert, a.Key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for name, der := range map[string][]byte{"a delta": critical(2, 5, 29, 27), "unknown and critical": critical(1, 2, 3), "something after it": append(bytes.Clone(second), 0)} {
		if _, err := publish.Install(t.TempDir(), publish.Given{Issuer: revtest.Root, Certificate: a.Cert, DER: der}, now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// What cannot be read is not overwritten.
	dir := t.TempDir()
	path := filepath.Join(dir, "crl", "root", "0.crl")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("oops"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := publish.Install(dir, publish.Given{Issuer: revtest.Root, Certificate: a.Cert, DER: second}, now); err == nil {
		t.Error("a damaged public CRL was replaced unseen")
	}
}

func TestGivenWarning(t *testing.T) {
	a := revtest.NewAuthority(t, revtest.Root, nil)
	g := publish.Given{Issuer: revtest.Root, Certificate: a.Cert, DER: a.CRL(t, yearly(1))}
	end := revtest.Start.AddDate(1, 0, 0)
	for _, test := range []struct {
		now  time.Time
		want string
	}{
		{revtest.Start.AddDate(0, 5, 0), ""},
		{revtest.Start.AddDate(0, 7, 0), "half of the life"},
		{end.AddDate(0, 0, -30), "half of the life"},
		{end.AddDate(0, 0, -29), "ends in 29 days"},
		{end, "has ended"},
	} {
		got, err := g.Warning(test.now)
		if err != nil || test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%v: %q, %v, want %q", test.now, got, err, test.want)
		}
	}
	g.DER = nil
	if _, err := g.Warning(revtest.Start); err == nil {
		t.Error("no CRL, no error")
	}
}
