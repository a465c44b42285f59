package keys

import (
	"bytes"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/ca"
)

const day = 24 * time.Hour

func serialOf(t *testing.T, c CA) ca.Serial {
	t.Helper()
	s, ok := ca.SerialOf(c.Certificate.SerialNumber)
	if !ok {
		t.Fatal("not a serial")
	}
	return s
}

// away moves the root's directory out of the hierarchy, as for production, and
// loads it there.
func away(t *testing.T, h *Hierarchy) (*Root, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "safe")
	if err := os.Rename(h.RootDir(), dir); err != nil {
		t.Fatal(err)
	}
	r, err := LoadRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r, dir
}

// TestOfflineRoot: with nothing but the root's directory lists follow each other;
// what was revoked stays, since when it was, for the gravest reason given.
func TestOfflineRoot(t *testing.T) {
	h := create(t)
	r, dir := away(t, h)
	if !r.Test() {
		t.Error("a TEST root does not know that it is one")
	}
	person, card := serialOf(t, h.Issuers[0]), serialOf(t, h.Issuers[3])
	steps := []struct {
		revoked []RevokedCA
		want    map[ca.Serial]RevokedCA
	}{
		{nil, nil},
		{[]RevokedCA{{person, at.Add(day), ca.Superseded}}, map[ca.Serial]RevokedCA{person: {person, at.Add(day), ca.Superseded}}},
		{[]RevokedCA{{person, at.Add(2 * day), ca.CessationOfOperation}}, map[ca.Serial]RevokedCA{person: {person, at.Add(day), ca.Superseded}}},
		{[]RevokedCA{{person, at.Add(3 * day), ca.CACompromise}, {card, at.Add(2 * day), ca.AffiliationChanged}},
			map[ca.Serial]RevokedCA{person: {person, at.Add(day), ca.CACompromise}, card: {card, at.Add(2 * day), ca.AffiliationChanged}}},
		{[]RevokedCA{{person, at.Add(5 * day), ca.Superseded}},
			map[ca.Serial]RevokedCA{person: {person, at.Add(day), ca.CACompromise}, card: {card, at.Add(2 * day), ca.AffiliationChanged}}},
	}
	var lists []*x509.RevocationList
	for i, step := range steps {
		next, err := r.Next(at.Add(time.Duration(i+1)*day), nil, step.revoked)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := r.Sign(t.Context(), "", rootPassphrase(), next)
		if err != nil {
			t.Fatal(err)
		}
		list, err := r.ParseCRL(raw)
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, list)
		if want := int64(i + 2); list.Number.Int64() != want || len(list.RevokedCertificateEntries) != len(step.want) {
			t.Errorf("list %d: number %v, want %d; %d entries, want %d", i, list.Number, want, len(list.RevokedCertificateEntries), len(step.want))
		}
		for _, e := range list.RevokedCertificateEntries {
			s, _ := ca.SerialOf(e.SerialNumber)
			if want := step.want[s]; !e.RevocationTime.Equal(want.At) || e.ReasonCode != int(want.Reason) {
				t.Errorf("list %d: %s since %v for %d, want %+v", i, s, e.RevocationTime, e.ReasonCode, want)
			}
		}
		if r, err = LoadRoot(dir); err != nil { // a new process goes on from what is kept
			t.Fatal(err)
		}
	}
	if !SameRevoked(lists[3], lists[4]) || SameRevoked(lists[2], lists[3]) || SameRevoked(lists[0], lists[1]) {
		t.Error("SameRevoked does not tell lists apart, or tells equal ones apart")
	}
	now := at.Add(9 * day)
	if _, err := r.Next(now, lists[2], nil); err == nil || !strings.Contains(err.Error(), "number 6 was signed here") {
		t.Errorf("an older previous list = %v", err)
	}
	if _, err := r.Next(at, nil, nil); err == nil || !strings.Contains(err.Error(), "is the clock right") {
		t.Errorf("a clock that went back = %v", err)
	}
	for name, bad := range map[string]RevokedCA{
		"keyCompromise":      {person, at, ca.KeyCompromise},
		"privilegeWithdrawn": {person, at, ca.PrivilegeWithdrawn},
		"no reason":          {person, at, ca.Unspecified},
		"the future":         {person, now.Add(time.Second), ca.Superseded},
	} {
		if _, err := r.Next(now, nil, []RevokedCA{bad}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := r.Sign(t.Context(), "", passphrase(), lists[0]); err == nil {
		t.Error("signed with a wrong passphrase")
	}
}

// TestTwoCopiesOfTheRoot: copies of the root's directory that each signed a list
// lose nothing of what either revoked, and dates stay as relying parties saw them.
func TestTwoCopiesOfTheRoot(t *testing.T) {
	h := create(t)
	first, dir := away(t, h)
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(copied, "root.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := LoadRoot(copied)
	if err != nil {
		t.Fatal(err)
	}
	person, card := serialOf(t, h.Issuers[0]), serialOf(t, h.Issuers[3])
	sign := func(r *Root, when time.Time, previous *x509.RevocationList, revoked ...RevokedCA) *x509.RevocationList {
		t.Helper()
		next, err := r.Next(when, previous, revoked)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := r.Sign(t.Context(), "", rootPassphrase(), next)
		if err != nil {
			t.Fatal(err)
		}
		list, err := r.ParseCRL(raw)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	public := sign(first, at.Add(2*day), nil, RevokedCA{person, at.Add(day), ca.Superseded})
	sign(second, at.Add(2*day), nil, RevokedCA{person, at.Add(2 * day), ca.CACompromise}, RevokedCA{card, at, ca.Superseded})
	both := sign(second, at.Add(3*day), public)
	if both.Number.Int64() != 3 || len(both.RevokedCertificateEntries) != 2 {
		t.Fatalf("number %v, %d entries", both.Number, len(both.RevokedCertificateEntries))
	}
	for _, e := range both.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(person.Int()) == 0 && (!e.RevocationTime.Equal(at.Add(day)) || e.ReasonCode != int(ca.CACompromise)) {
			t.Errorf("person CA since %v for %d", e.RevocationTime, e.ReasonCode)
		}
	}
}

// TestRootDirectoryOfBefore: a root's directory without a kept list needs to be
// given the public one.
func TestRootDirectoryOfBefore(t *testing.T) {
	h := create(t)
	public, err := h.RootCRL()
	if err != nil {
		t.Fatal(err)
	}
	_, dir := away(t, h)
	if err := os.Remove(filepath.Join(dir, lastRootCRL)); err != nil {
		t.Fatal(err)
	}
	r, err := LoadRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(at.Add(day), nil, nil); err == nil || !strings.Contains(err.Error(), "give the one that is public") {
		t.Errorf("without any list = %v", err)
	}
	next, err := r.Next(at.Add(day), public, nil)
	if err != nil || next.Number.Int64() != 2 {
		t.Errorf("with the public list: %v, %v", next, err)
	}
	// A list of another root, or none at all, beside the key is not built upon.
	foreign, err := os.ReadFile(create(t).RootCRLPath())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string][]byte{"another's": foreign, "noise": []byte("noise")} {
		if err := os.WriteFile(filepath.Join(dir, lastRootCRL), spoil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadRoot(dir); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
}

func TestCheckIssued(t *testing.T) {
	h, other := create(t), create(t)
	r, _ := away(t, h)
	if err := r.CheckIssued(h.Issuers[2].Certificate); err != nil {
		t.Errorf("its own = %v", err)
	}
	plain := *h.Issuers[2].Certificate
	plain.IsCA = false
	for name, cert := range map[string]*x509.Certificate{
		"the root": h.Root.Certificate, "another root's": other.Issuers[2].Certificate, "no CA": &plain,
	} {
		if err := r.CheckIssued(cert); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestOpenSSLReadsTheRootCRL: what a relying party that checks every level
// makes of the root's list.
func TestOpenSSLReadsTheRootCRL(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	h := create(t)
	r, _ := away(t, h)
	next, err := r.Next(at.Add(day), nil, []RevokedCA{{serialOf(t, h.Issuers[0]), at.Add(day), ca.CACompromise}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := r.Sign(t.Context(), "", rootPassphrase(), next)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "list.crl")
	if err := os.WriteFile(list, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "crl", "-inform", "DER", "-in", list, "-noout", "-text").CombinedOutput()
	for _, want := range []string{"X509v3 CRL Number", "CA Compromise"} {
		if err != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("openssl crl: %v, without %q\n%s", err, want, out)
		}
	}
}
