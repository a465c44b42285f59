package revocation_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"sigill/revocation"
	"sigill/testdata/pkits"
)

var pkitsDir = flag.String("pkits", "", "write the cases in the manner of PKITS to this directory, a subdirectory each")

func pkitsCases(t *testing.T) []pkits.Case {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 5280)
	return pkits.Cases()
}

// judgePKITS has a Verifier judge a case, with what it needs at hand.
func judgePKITS(t *testing.T, c pkits.Case) revocation.Verification {
	t.Helper()
	parse := func(der []byte) *x509.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil
		}
		return cert
	}
	v := &revocation.Verifier{Roots: []*x509.Certificate{parse(c.Anchor)}, Now: func() time.Time { return pkits.Now },
		Demand: revocation.Demand{Policies: c.Policies},
		Fetch:  func(context.Context, string) ([]byte, error) { return nil, errors.New("nobody is asked") }}
	p := revocation.Presented{Certificate: parse(c.Leaf), CRLs: c.CRLs}
	if p.Certificate == nil {
		return revocation.Verification{Status: revocation.Unknown, Steps: []revocation.Step{{Text: "it is no certificate that Go reads"}}}
	}
	for _, der := range c.Issuers {
		if cert := parse(der); cert != nil {
			p.Issuers = append(p.Issuers, cert)
		}
	}
	return v.Judge(t.Context(), p)
}

// Every case in the manner of PKITS comes out as RFC 5280 wants it, or as
// verifierDeviates says and why.
func TestPKITS(t *testing.T) {
	cases := pkitsCases(t)
	if len(cases) < 100 {
		t.Errorf("only %d cases", len(cases))
	}
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		seen[c.Name] = true
		got := judgePKITS(t, c)
		_, deviates := verifierDeviates[c.Name]
		if want := c.Valid != deviates; (got.Status == revocation.Good) != want {
			t.Errorf("%s: %s, want valid=%v\n  %v", c.Name, got, want, got.Steps)
		}
	}
	for name, why := range verifierDeviates {
		if !seen[name] || why == "" {
			t.Errorf("a deviation is listed of %q, which is no case, or without a reason", name)
		}
	}
	if *pkitsDir != "" {
		for _, c := range cases {
			writePKITS(t, filepath.Join(*pkitsDir, strings.ReplaceAll(c.Name, " ", "-")), c)
		}
	}
}

// writePKITS writes a case as PEM files.
func writePKITS(t *testing.T, dir string, c pkits.Case) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, ders ...[]byte) {
		var b strings.Builder
		for _, der := range ders {
			if err := pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("anchor.pem", "CERTIFICATE", c.Anchor)
	write("issuers.pem", "CERTIFICATE", c.Issuers...)
	write("leaf.pem", "CERTIFICATE", c.Leaf)
	write("crls.pem", "X509 CRL", c.CRLs...)
}

// OpenSSL judges the same cases the same way, or as opensslDeviates says and why.
func TestPKITSOpenSSL(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	for _, c := range pkitsCases(t) {
		writePKITS(t, dir, c)
		args := []string{"verify", "-crl_check_all", "-extended_crl", "-use_deltas", "-policy_check", "-auth_level", "0", "-attime", fmt.Sprint(pkits.Now.Unix()),
			"-CAfile", "anchor.pem", "-CRLfile", "crls.pem"}
		if len(c.Issuers) > 0 {
			args = append(args, "-untrusted", "issuers.pem")
		}
		policies := c.Policies
		if len(policies) == 0 {
			policies = []string{"2.5.29.32.0"} // any
		}
		for _, policy := range policies {
			args = append(args, "-policy", policy)
		}
		if len(c.Policies) > 0 {
			args = append(args, "-explicit_policy")
		}
		cmd := exec.CommandContext(t.Context(), program, append(args, "leaf.pem")...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		_, deviates := opensslDeviates[c.Name]
		if want := c.Valid != deviates; (err == nil) != want {
			t.Errorf("%s: openssl says %v, want valid=%v\n%s", c.Name, err, want, out)
		}
	}
}

// The cases are the same byte for byte each time they are made.
func TestPKITSIsDeterministic(t *testing.T) {
	var first []pkits.Case
	t.Run("first", func(t *testing.T) { first = pkitsCases(t) })
	t.Run("again", func(t *testing.T) {
		if again := pkitsCases(t); !reflect.DeepEqual(first, again) {
			t.Error("made again, they differ")
		}
	})
}
