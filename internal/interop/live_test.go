//go:build unix

package interop

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigill/internal/stage"
)

// What is revoked now is refused at the next knock by who asks OCSP, and by who
// has fetched the new list; nothing has to be told to anybody.
func TestRevokedWhileTheyWatch(t *testing.T) {
	stage.Need(t, "openssl", "openssl")
	needNginx(t)
	in := served(t)
	l := in.leaves[spare]
	if l.revoked {
		t.Skip("an earlier run of this test has revoked the spare eID")
	}
	n := in.startNginx(t, "")
	ask := "openssl ocsp -CAfile root.pem -issuer issuer.pem -cert spare.pem -url " + l.OCSPServer[0]
	n.doors(t, []door{{"leaf", spare, ""}, {"crl", spare, ""}})
	in.judge(t, []judged{{"openssl before", ask, 0, []string{"spare.pem: good"}}})
	before := in.get(l.CRLDistributionPoints[0])

	admin := stage.Opened(t, in.dir).Admins[0]
	if _, err := admin.Revoke(t.Context(), serialOf(l), "affiliationChanged"); err != nil {
		t.Fatal(err)
	}
	l.revoked = true
	in.judge(t, []judged{{"openssl after", ask, 0, []string{"spare.pem: revoked", "Reason: affiliationChanged"}}})
	n.doors(t, []door{{"leaf", spare, nginxByOCSP}, {"both", spare, nginxByOCSP}})

	der := in.successor(t, l, before)
	text, err := os.ReadFile(filepath.Join(in.work, "crl-root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	if err := os.WriteFile(filepath.Join(in.work, "newer.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	in.judge(t, []judged{{"openssl by the new list", "openssl verify -crl_check_all -CAfile root.pem -untrusted issuer.pem -CRLfile newer.pem spare.pem", 2,
		[]string{"certificate revoked", "error 23 at 0 depth"}}})
}

// successor waits for the list that replaces one, which is there soon after a
// revocation, and checks that it goes forward.
func (in *installation) successor(t *testing.T, l *leaf, before []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stage.Patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		der := in.get(l.CRLDistributionPoints[0])
		if !bytes.Equal(der, before) {
			old, err := x509.ParseRevocationList(before)
			if err != nil {
				t.Fatal(err)
			}
			list, err := x509.ParseRevocationList(der)
			if err != nil {
				t.Fatal(err)
			}
			if list.Number.Cmp(old.Number) <= 0 || list.ThisUpdate.Before(old.ThisUpdate) || len(list.RevokedCertificateEntries) != len(old.RevokedCertificateEntries)+1 {
				t.Errorf("number %v of %v with %d entries follows number %v of %v with %d", list.Number, list.ThisUpdate, len(list.RevokedCertificateEntries),
					old.Number, old.ThisUpdate, len(old.RevokedCertificateEntries))
			}
			return der
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is not replaced", l.CRLDistributionPoints[0])
		case <-tick.C:
		}
	}
}
