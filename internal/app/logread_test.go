package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"

	"sigill/internal/checkpoint"
)

// A served installation shows its logs: checkpoints and proofs to everybody on the status
// listener, nothing of them on the card listener to who has no card, and to auditors
// certificates that chain to the root.
func TestLogsAreServed(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done, ready := make(chan error, 1), make(chan Addresses, 1)
	go func() { done <- a.Serve(ctx, func(at Addresses) { ready <- at }) }()
	select {
	case at := <-ready:
		a.showsLogs(t, at)
		a.readsCertificates(t, at)
	case err := <-done:
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// showsLogs asks what strangers ask.
func (a *App) showsLogs(t *testing.T, at Addresses) {
	t.Helper()
	for tree, log := range map[string]*checkpoint.Log{"acts": a.Logs.Reader.Acts, "certificates": a.Logs.Reader.Certificates} {
		if c, err := log.Open([]byte(fetch(t, at.Status+"/log/"+tree+"/checkpoint"))); err != nil || c.Size == 0 {
			t.Errorf("checkpoint of %s: %+v, %v", tree, c, err)
		}
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // what it says is looked at, and nothing is told it
	for _, path := range []string{"/log/acts/checkpoint", "/log/certificates/ct/v1/get-entries?start=0&end=1"} {
		r, err := c.Get(at.Card + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusUnauthorized {
			t.Errorf("without a certificate: %s: %d", path, r.StatusCode)
		}
	}
	if !strings.Contains(fetch(t, at.Ops+"/metrics"), "\nsigill_log_broken_total 0\n") {
		t.Error("no metric sigill_log_broken_total")
	}
}

// readsCertificates reads what auditors read.
func (a *App) readsCertificates(t *testing.T, at Addresses) {
	t.Helper()
	answer, err := a.logReads.Read(httptest.NewRequestWithContext(t.Context(), "GET", "/log/certificates/ct/v1/get-entries?start=0&end=255", nil))
	if err != nil {
		t.Fatal(err)
	}
	var page ct.GetEntriesResponse
	if err := json.Unmarshal(answer.Body, &page); err != nil || len(page.Entries) == 0 {
		t.Fatalf("%d entries, %v", len(page.Entries), err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Hierarchy.Root.Certificate)
	for i := range page.Entries {
		e, err := ct.LogEntryFromLeaf(int64(i), &page.Entries[i])
		if err != nil {
			t.Fatal(err)
		}
		final, err := x509.ParseCertificate(e.Precert.Submitted.Data)
		if err != nil || len(e.Chain) != 2 {
			t.Fatalf("%d certificates above it, %v", len(e.Chain), err)
		}
		above := x509.NewCertPool()
		issuer, err := x509.ParseCertificate(e.Chain[0].Data)
		if err != nil {
			t.Fatal(err)
		}
		above.AddCert(issuer)
		if _, err := final.Verify(x509.VerifyOptions{Roots: roots, Intermediates: above, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
		leaf, err := ct.LeafHashForLeaf(&e.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if proof := fetch(t, fmt.Sprintf("%s/log/certificates/proof/%x", at.Status, leaf)); !strings.HasPrefix(proof, "c2sp.org/tlog-proof@v1\n") {
			t.Errorf("proof of entry %d: %s", i, proof)
		}
	}
}
