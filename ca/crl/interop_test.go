package crl_test

import (
	"strings"
	"testing"
	"time"

	"sigill/ca/crl"
	"sigill/internal/catest"
)

// OpenSSL and GnuTLS read and verify what is written in a stream: every
// algorithm, no entries and many, times on both sides of 2050, with the hint to
// Windows when the next list comes.
func TestWriteCRLInterop(t *testing.T) {
	for name, key := range catest.Keys(t) {
		t.Run(name, func(t *testing.T) {
			// certtool judges by the clock of the machine, so that the lists are of now.
			now := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
			template := catest.CA("TEST Person HSA-id 3 CA v1")
			template.NotBefore, template.NotAfter = now.AddDate(-1, 0, 0), now.AddDate(40, 0, 0)
			signer, err := crl.NewSigner(catest.Issue(t, template, nil, key.Public(), key), key)
			if err != nil {
				t.Fatal(err)
			}
			empty, soon, late := statusList(0), statusList(1400), statusList(3)
			empty.ThisUpdate, empty.NextUpdate = now, now.AddDate(0, 0, 1)
			soon.ThisUpdate, soon.NextPublish, soon.NextUpdate = now, now.Add(12*time.Hour), now.AddDate(0, 0, 1)
			late.ThisUpdate, late.NextPublish, late.NextUpdate = now, time.Date(2050, 1, 1, 1, 0, 0, 0, time.UTC), time.Date(2050, 1, 2, 0, 0, 0, 0, time.UTC)
			late.Entries[0].At, late.Entries[1].At = time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC), late.NextPublish
			for _, list := range []crl.List{empty, soon, late} {
				der := streamed(t, signer, list)
				checkRead(t, der, list, signer.Certificate())
				files := map[string][]byte{"ca.pem": catest.PEM(signer.Certificate()), "ca.der": signer.Certificate().Raw, "list.crl": der}
				wants := []string{"verify OK", "Version 2", "X509v3 Issuing Distribution Point: critical", "URI:" + statusURL,
					"Last Update: " + list.ThisUpdate.Format("Jan _2 15:04:05 2006 GMT"), "Next Update: " + list.NextUpdate.Format("Jan _2 15:04:05 2006 GMT")}
				if len(list.Entries) == 0 {
					wants = append(wants, "No Revoked Certificates")
				}
				if !list.NextPublish.IsZero() { // which OpenSSL has no name for
					wants = append(wants, "1.3.6.1.4.1.311.21.4", list.NextPublish.Format("060102150405Z"))
				}
				for _, e := range list.Entries {
					wants = append(wants, strings.ToUpper(e.Serial.String()), "Revocation Date: "+e.At.Format("Jan _2 15:04:05 2006 GMT"))
				}
				expect(t, catest.OpenSSL(t, files, "crl", "-inform", "DER", "-in", "list.crl", "-CAfile", "ca.pem", "-verify", "-text", "-noout"), wants)

				expect(t, catest.Tool(t, "certtool", files, "--verify-crl", "--load-ca-certificate", "ca.der", "--inder", "--infile", "list.crl"), []string{"Verified"})
				wants = []string{"CRL Number", "Update dates", "Issued: " + list.ThisUpdate.Format("Mon Jan 02 15:04:05 UTC 2006"), "Next at: " + list.NextUpdate.Format("Mon Jan 02 15:04:05 UTC 2006")}
				if len(list.Entries) == 0 {
					wants = append(wants, "No revoked certificates")
				}
				if !list.NextPublish.IsZero() {
					wants = append(wants, "1.3.6.1.4.1.311.21.4")
				}
				for _, e := range list.Entries {
					wants = append(wants, e.Serial.String(), e.At.Format("Mon Jan 02 15:04:05 UTC 2006"))
				}
				expect(t, catest.Tool(t, "certtool", files, "--crl-info", "--inder", "--infile", "list.crl"), wants)
			}
		})
	}
}

func expect(t *testing.T, text string, wants []string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Fatalf("no %q in\n%s", want, text[:min(len(text), 5000)])
		}
	}
}
