package app

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/keys"
	"sigill/internal/loopback"
	"sigill/orders/issue"
	"sigill/policy"
	"sigill/revocation/publish"
)

// TestTakenPort: a start that can't listen does nothing before it says so, so that
// a supervisor's restarts pile up no certificates, and gives back what it took.
func TestTakenPort(t *testing.T) {
	dir := make1(t, "")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := loopback.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.Config.Listen.Status, a.Config.Listen.Ops = free[0], taken.Addr().String() // first and last
	before := a.DB.Stats()
	err = a.Serve(t.Context(), func(Addresses) { t.Error("ready") })
	if err == nil || !strings.Contains(err.Error(), "listener ops") {
		t.Fatalf("Serve = %v", err)
	}
	if after := a.DB.Stats(); after.Updates != before.Updates || after.Commits != before.Commits {
		t.Errorf("a start that could not listen wrote to the database: %+v, before %+v", after, before)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "public", "crl", "*", "*")); len(left) != 1 { // the root's
		t.Errorf("a start that could not listen published %v", left)
	}
	again, err := net.Listen("tcp", free[0])
	if err != nil {
		t.Fatalf("the status listener was not given back: %v", err)
	}
	again.Close()
}

// TestStartThatFailsListensNoMore: what fails after the listeners were bound
// gives them back, too.
func TestStartThatFailsListensNoMore(t *testing.T) {
	dir := make1(t, "")
	free, err := loopback.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.Config.Listen.Status = free[0]
	delete(a.Issuers, a.Hierarchy.Issuers[0].ID) // it can't have an OCSP signer
	if err := a.Serve(t.Context(), func(Addresses) { t.Error("ready") }); err == nil || !strings.Contains(err.Error(), "OCSP signer of "+string(a.Hierarchy.Issuers[0].ID)) {
		t.Fatalf("Serve = %v", err)
	}
	again, err := net.Listen("tcp", free[0])
	if err != nil {
		t.Fatalf("the status listener was not given back: %v", err)
	}
	again.Close()
}

// TestStartAfterASmallStepBack: a clock that was put right by some seconds keeps
// nobody from the service, although no list may be published that is older than
// the public one.
func TestStartAfterASmallStepBack(t *testing.T) {
	dir := make1(t, "")
	serving(t, dir, func(Addresses) {})
	var back atomic.Int64
	back.Store(int64(30 * time.Second))
	a, err := open(t, dir, func() time.Time { return time.Now().Add(-time.Duration(back.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	cert, _, err := a.technical(t.Context(), keys.FunctionCA, policy.ProfileServer,
		ca.Content{Country: "SE", Organisation: "O", CommonName: "card.example", DNSNames: []string{"card.example"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	err = a.DB.Issue().Update(t.Context(), func(tx *issue.Tx) error { // so that a list is due
		_, err := issue.Revoke(tx, cert, ca.Superseded, "test", "system", a.now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Sequencer.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Publisher.Publish(t.Context(), a.now()); !errors.Is(err, publish.ErrClock) {
		t.Fatalf("publishing with the clock back: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := false
	err = a.Serve(ctx, func(Addresses) {
		served = true
		back.Store(0) // it has caught up
		stop()
	})
	if !served || err != nil {
		t.Errorf("served %t, %v", served, err)
	}
}

func TestMigrateTakesTheLock(t *testing.T) {
	dir := make1(t, "")
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Migrate(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Migrate under an open installation = %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the lock is given back
		if from, to, err := Migrate(t.Context(), dir); err != nil || from != to || to < 1 {
			t.Errorf("Migrate = %d → %d, %v", from, to, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "sigill.db")); err != nil {
		t.Error(err)
	}
}
