package revocation_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/revocation"
)

const root = ca.IssuerID("root")

// yearly is the root's CRL as a ceremony makes it.
func yearly(number int64, entries ...ca.Revoked) ca.CRL {
	return ca.CRL{Number: number, ThisUpdate: start.Add(time.Duration(number) * time.Minute), NextUpdate: start.AddDate(1, 0, 0), Entries: entries}
}

func TestInstall(t *testing.T) {
	a, stranger := newAuthority(t, root, nil), newAuthority(t, "stranger", nil)
	revoked := ca.Revoked{Serial: ca.NewSerial(), At: start, Reason: ca.CACompromise}
	now := start.AddDate(0, 1, 0)
	second := a.crl(t, yearly(2, revoked))
	partitioned := yearly(3, revoked)
	partitioned.DistributionPoint = urlOf(root, 0)
	older := yearly(4, revoked)
	older.ThisUpdate = start
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
		{"not in force yet", a.crl(t, future), false, "has not come"},
		{"ended", a.crl(t, ended), false, "has passed"},
		{"another's", stranger.crl(t, yearly(1)), false, "verification failure"},
		{"first", a.crl(t, yearly(1)), true, ""},
		{"second", second, true, ""},
		{"again", second, false, ""},
		{"same number", a.crl(t, yearly(2, revoked)), false, "has number 2"},
		{"older number", a.crl(t, yearly(1)), false, "has number 2"},
		{"older time", a.crl(t, older), false, "look at the clock"},
		{"entry dropped", a.crl(t, yearly(3)), false, "is on the public CRL and not on this one"},
		{"for a partition", a.crl(t, partitioned), false, "the certificates say"},
		{"third", a.crl(t, yearly(3, revoked)), true, ""},
	} {
		var was []byte
		if _, err := os.Stat(path); err == nil {
			was = read(t, path)
		}
		changed, err := revocation.Install(dir, revocation.Given{Issuer: root, Certificate: a.cert, DER: test.der}, now)
		if changed != test.changed || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v, want %v and %q", test.name, changed, err, test.changed, test.want)
		}
		switch {
		case test.changed && !bytes.Equal(read(t, path), test.der):
			t.Errorf("%s: it is not in place", test.name)
		case !test.changed && was != nil && !bytes.Equal(read(t, path), was):
			t.Errorf("%s: the file was changed", test.name)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	a, now := newAuthority(t, root, nil), start.AddDate(0, 1, 0)
	second := a.crl(t, yearly(2))
	for name, g := range map[string]revocation.Given{
		"no issuer":       {Certificate: a.cert, DER: second},
		"no certificate":  {Issuer: root, DER: second},
		"out of the tree": {Issuer: "../root", Certificate: a.cert, DER: second},
		"address missing": {Issuer: root, Certificate: a.cert, DER: second, URL: urlOf(root, 0)},
	} {
		if _, err := revocation.Install(t.TempDir(), g, now); err == nil {
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
	if _, err := revocation.Install(dir, revocation.Given{Issuer: root, Certificate: a.cert, DER: second}, now); err == nil {
		t.Error("a damaged public CRL was replaced unseen")
	}
}

func TestGivenWarning(t *testing.T) {
	a := newAuthority(t, root, nil)
	g := revocation.Given{Issuer: root, Certificate: a.cert, DER: a.crl(t, yearly(1))}
	end := start.AddDate(1, 0, 0)
	for _, test := range []struct {
		now  time.Time
		want string
	}{
		{start.AddDate(0, 5, 0), ""},
		{start.AddDate(0, 7, 0), "half of the life"},
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
	if _, err := g.Warning(start); err == nil {
		t.Error("no CRL, no error")
	}
}
