package app

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/revocation/status"
)

// TestAnswersAsFiles: the job writes one file for each certificate, whose time is the
// answer's end; what has ended goes; another start goes on where the last one was.
func TestAnswersAsFiles(t *testing.T) {
	dir := make1(t, "")
	pass := func(now func() time.Time) *App {
		t.Helper()
		a, err := open(t, dir, now)
		if err != nil {
			t.Fatal(err)
		}
		a.Config.OCSP.Presign.Dir = "ahead"
		if _, err := a.status(); err != nil {
			t.Fatal(err)
		}
		for _, each := range a.Hierarchy.Issuers {
			if err := a.renewSigner(t.Context(), each); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		swept := a.ocsp.ahead.Passed
		a.ocsp.ahead.Passed = func(ctx context.Context) { swept(ctx); stop() }
		a.ocsp.ahead.Run(ctx)
		return a
	}
	a := pass(time.Now)
	ocspDir := filepath.Join(dir, "ahead", "ocsp")
	names, err := os.ReadDir(ocspDir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := a.DB.ReleasedAfter(t.Context(), ca.Serial{}, 1000)
	if err != nil || len(all) == 0 || len(names) != len(all) {
		t.Fatalf("%d files for %d certificates, %v", len(names), len(all), err)
	}
	for _, each := range all {
		issuer, _ := a.Hierarchy.Issuer(each.Issuer)
		der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: each.Serial.Int()}, issuer.Certificate, nil)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "ahead", filepath.FromSlash(status.PathOf(der)))
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ocsp.ParseResponse(file, issuer.Certificate)
		if err != nil || got.Status != ocsp.Good {
			t.Fatalf("%s: %+v, %v", path, got, err)
		}
		info, err := os.Stat(path)
		if err != nil || !info.ModTime().Equal(got.NextUpdate) {
			t.Errorf("%s: time %v, until %v", path, info.ModTime(), got.NextUpdate)
		}
	}
	if at, err := readPosition(filepath.Join(dir, "ahead", presignFile)); err != nil || at != a.ocsp.ahead.Position || !at.Done {
		t.Errorf("kept %+v, %v, was at %+v", at, err, a.ocsp.ahead.Position)
	}
	if told := a.ocsp.degraded(); len(told) != 0 {
		t.Errorf("degraded after a whole pass: %q", told)
	}
	a.ocsp.ahead.Now = func() time.Time { return time.Now().Add(time.Duration(a.Config.OCSP.Presign.Validity)) }
	if told := a.ocsp.degraded(); len(told) != 1 || !strings.Contains(told[0], "signed ahead") {
		t.Errorf("when the answers have ended: %q", told)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	// An answer that nobody renews is removed when it has ended.
	stray := filepath.Join(ocspDir, "stray")
	if err := os.WriteFile(stray, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	a = pass(func() time.Time { return time.Now().Add(7 * time.Hour) })
	defer a.Close()
	if _, err := os.Stat(stray); !os.IsNotExist(err) {
		t.Errorf("an answer past its end is still there: %v", err)
	}
	if names, _ := os.ReadDir(ocspDir); len(names) < len(all) {
		t.Errorf("%d files for %d certificates", len(names), len(all))
	}
}

// TestSpoiltPosition: a start does not begin anew without a word.
func TestSpoiltPosition(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "another key": `{"x":1}`, "no serial": `{"began":"2026-03-14T09:26:53Z","after":"x","done":false,"through":1}`} {
		path := filepath.Join(t.TempDir(), presignFile)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if at, err := readPosition(path); err == nil {
			t.Errorf("%s: read as %+v", name, at)
		}
	}
}
