package population_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/audit"
	"sigill/internal/bench/population"
	"sigill/internal/store"
)

const (
	certs      = 20_000
	revoked    = 5_000
	partitions = 4
)

// TestPopulation: a population is an installation like any other. Its rows obey
// every rule, its chain of events verifies, and a service over it answers for each
// certificate what the rows say.
func TestPopulation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "population")
	var steps []string
	made, err := population.Make(t.Context(), population.Options{Dir: dir, Certs: certs, Revoked: revoked, Partitions: partitions,
		Progress: func(p population.Progress) { steps = append(steps, p.String()) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows, %.0f a second, %d octets; %d steps", made.Rows, made.RowsPerSecond, made.Octets, len(steps))
	p, err := population.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p, made) || p.Rows < 4*certs || p.Octets < certs*1000 || !strings.Contains(strings.Join(steps, "\n"), fmt.Sprintf("certificates: %d of %d", certs, certs)) {
		t.Errorf("%+v\n%+v\n%q", p, made, steps)
	}
	check(t, p)
	serve(t, p)
}

// check asks the store's rules and walks the chain.
func check(t *testing.T, p *population.Population) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: p.Database()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Check(t.Context(), func(v store.Violation) { t.Errorf("%s", v) }); err != nil {
		t.Fatal(err)
	}
	sum, err := audit.Verify(t.Context(), db.Audit(), nil, func(f audit.Finding) { t.Errorf("%s", f) })
	if err != nil || sum.Links < revoked || sum.Unnumbered != 0 {
		t.Errorf("chain: %+v, %v", sum, err)
	}
}

// serve serves the population and asks.
func serve(t *testing.T, p *population.Population) {
	t.Helper()
	a, err := app.Open(t.Context(), p.Dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- a.Serve(ctx, func(at app.Addresses) { ready <- at.Status }) }()
	var address string
	select {
	case address = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	issuer, ok := a.Hierarchy.Issuer(population.Issuer)
	if !ok {
		t.Fatal("no issuer")
	}
	lists := make([]*x509.RevocationList, partitions)
	total := 0
	for i := range lists {
		if lists[i], err = x509.ParseRevocationList(fetch(t, fmt.Sprintf("%s/crl/%s/%d.crl", address, population.Issuer, i), nil)); err != nil {
			t.Fatal(err)
		}
		total += len(lists[i].RevokedCertificateEntries)
	}
	if total != revoked {
		t.Errorf("%d entries in all CRLs", total)
	}
	r := rand.New(rand.NewPCG(1, 2))
	serials, is, err := p.Sample(t.Context(), 40, func() int { return r.IntN(p.Certs) })
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	for i, s := range serials {
		want := ocsp.Good
		if is[i] {
			want = ocsp.Revoked
		}
		ask(t, address, issuer.Certificate, s, want, lists[ca.PartitionOf(s, partitions)])
		seen[want]++
	}
	if seen[ocsp.Good] == 0 || seen[ocsp.Revoked] == 0 {
		t.Errorf("the sample is of one kind: %v", seen)
	}
	ask(t, address, issuer.Certificate, ca.NewSerial(), ocsp.Unknown, nil)
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// ask asks OCSP and, if list is given, compares it with the CRL.
func ask(t *testing.T, address string, issuer *x509.Certificate, s ca.Serial, want int, list *x509.RevocationList) {
	t.Helper()
	request, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: s.Int()}, issuer, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := ocsp.ParseResponseForCert(fetch(t, address+"/ocsp", request), &x509.Certificate{SerialNumber: s.Int()}, issuer)
	if err != nil || answer.Status != want {
		t.Fatalf("%s: %+v, %v, want status %d", s, answer, err, want)
	}
	if list == nil {
		return
	}
	listed := false
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(s.Int()) == 0 {
			listed = e.RevocationTime.Equal(answer.RevokedAt) && e.ReasonCode == answer.RevocationReason
		}
	}
	if listed != (want == ocsp.Revoked) {
		t.Errorf("%s: OCSP says %d and the CRL %v", s, want, listed)
	}
}

func fetch(t *testing.T, url string, post []byte) []byte {
	t.Helper()
	method := http.MethodGet
	if post != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(post))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return b
}

func TestPopulationRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]population.Options{
		"no directory":        {Certs: 1},
		"no certificates":     {Dir: t.TempDir()},
		"more than all":       {Dir: t.TempDir(), Certs: 1, Revoked: 2},
		"too many":            {Dir: t.TempDir(), Certs: 1 << 40},
		"partitions":          {Dir: t.TempDir(), Certs: 1, Partitions: -1},
		"directory not empty": {Dir: full, Certs: 1},
	} {
		if _, err := population.Make(t.Context(), o); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	if _, err := os.Stat(filepath.Join(full, "file")); err != nil {
		t.Errorf("what was in the directory is gone: %v", err)
	}
	if _, err := population.Open(full); err == nil {
		t.Error("a directory without a population was opened")
	}
}

// All revoked, none revoked, one partition: what Check demands holds at the ends.
func TestPopulationAtTheEnds(t *testing.T) {
	for _, n := range [][3]int{{1, 0, 1}, {300, 300, 2}} {
		p, err := population.Make(t.Context(), population.Options{Dir: filepath.Join(t.TempDir(), "p"), Certs: n[0], Revoked: n[1], Partitions: n[2]})
		if err != nil {
			t.Fatalf("%v: %v", n, err)
		}
		db, err := store.Open(t.Context(), store.Config{URL: p.Database()})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Check(t.Context(), func(v store.Violation) { t.Errorf("%v: %s", n, v) }); err != nil {
			t.Error(err)
		}
		db.Close()
		got := 0
		_, is, err := p.Sample(t.Context(), n[0], func() func() int { i := -1; return func() int { i++; return i } }())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range is {
			if r {
				got++
			}
		}
		if got != n[1] {
			t.Errorf("%v: %d are revoked", n, got)
		}
	}
}
