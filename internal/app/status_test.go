package app

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/revocation"
	"sigill/revocation/status"
)

// TestRevocationIsAnsweredAtOnce: a served installation says good from its cache, a
// transaction revokes, and the next answer after it has returned says so, by GET and
// by POST.
func TestRevocationIsAnsweredAtOnce(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done, ready := make(chan error, 1), make(chan Addresses, 1)
	go func() { done <- a.Serve(ctx, func(at Addresses) { ready <- at }) }()
	var at Addresses
	select {
	case at = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	all, err := a.DB.ReleasedAfter(t.Context(), ca.Serial{}, 100)
	if err != nil || len(all) == 0 {
		t.Fatalf("%d certificates, %v", len(all), err)
	}
	for i, each := range all[:min(len(all), 4)] {
		issuer, ok := a.Hierarchy.Issuer(each.Issuer)
		if !ok {
			t.Fatalf("no issuer %s", each.Issuer)
		}
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			for range 2 {
				if got := askHTTP(t, at.Status, issuer.Certificate, each.Serial, hash); got != ocsp.Good {
					t.Fatalf("status %d of a certificate that was released", got)
				}
			}
		}
		if a.ocsp.responder.Stats().Hits == 0 {
			t.Error("nothing was answered from the cache: the test shows nothing")
		}
		err := a.DB.Revocation().Update(t.Context(), func(tx *revocation.Tx) error {
			_, _, err := revocation.Revoke(tx, revocation.Entry{Serial: each.Serial, Issuer: each.Issuer, NotAfter: each.NotAfter, At: time.Now(),
				Reason: ca.Superseded, Rule: "test", Event: "evt_test_" + string(rune('a'+i))})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			if got := askHTTP(t, at.Status, issuer.Certificate, each.Serial, hash); got != ocsp.Revoked {
				t.Errorf("%v: status %d after its revocation has returned", hash, got)
			}
		}
	}
	metrics := fetch(t, at.Ops+"/metrics")
	for _, name := range []string{"sigill_revocation_tail_age_seconds", "sigill_ocsp_cache_hits_total", "sigill_ocsp_cache_misses_total", "sigill_ocsp_renewed_total",
		"sigill_ocsp_signed_total", "sigill_ocsp_unknown_total", "sigill_ocsp_busy_total", "sigill_ocsp_address_refused_total",
		"sigill_ocsp_cache_entries", "sigill_ocsp_cache_bytes"} {
		if !strings.Contains(metrics, "\n"+name+" ") {
			t.Errorf("no metric %s", name)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("%s: %d, %v", url, r.StatusCode, err)
	}
	return string(body)
}

// askHTTP asks by POST and by GET, which must say the same.
func askHTTP(t *testing.T, base string, issuer *x509.Certificate, serial ca.Serial, hash crypto.Hash) int {
	t.Helper()
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial.Int()}, issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post(base+"/ocsp", "application/ocsp-request", bytes.NewReader(der))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	posted, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := fetch(t, base+status.PathOf(der))
	if !bytes.Equal(posted, []byte(got)) {
		t.Error("GET and POST are answered differently")
	}
	answer, err := ocsp.ParseResponse(posted, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

// TestDegradedTail: a process that can't see what others revoke says so, once in the
// log and at /readyz, where it goes on to be ready.
func TestDegradedTail(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var log bytes.Buffer
	a.log = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := a.status(); err != nil {
		t.Fatal(err)
	}
	late := time.Duration(0)
	a.ocsp.tail.Now = func() time.Time { return time.Now().Add(late) }
	if err := a.ocsp.tail.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func() (out readiness) {
		w := httptest.NewRecorder()
		a.ready(w, httptest.NewRequest("GET", "/readyz", nil))
		if w.Code != 200 {
			t.Errorf("status %d", w.Code)
		}
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := ask(); out.State != "ready" {
		t.Errorf("%+v", out)
	}
	late = 75 * time.Second
	if out := ask(); out.State != "degraded" || len(out.Degraded) != 1 || !strings.Contains(out.Degraded[0], "1m15s") {
		t.Errorf("%+v", out)
	}
	a.ocsp.tail.Told(true, late, errors.New("away"))
	a.ocsp.tail.Told(false, 0, nil)
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "1m15s") || !strings.Contains(text, "away") {
		t.Errorf("logged %s", text)
	}
}
