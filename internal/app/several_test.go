package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/keys"
	"sigill/orders/issue"
	"sigill/policy"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// running is an installation that serves until its stop is called or the test ends.
type running struct {
	*App
	at   Addresses
	stop func()
}

func run(t *testing.T, dir string) *running {
	t.Helper()
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan Addresses, 1)
	go func() { done <- a.Serve(ctx, func(at Addresses) { ready <- at }) }()
	r := &running{App: a}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, a.Close()); err != nil {
			t.Errorf("ending: %v", err)
		}
	})
	select {
	case r.at = <-ready:
	case err := <-done:
		cancel()
		t.Fatalf("Serve ended before it was ready: %v", errors.Join(err, a.Close()))
	}
	t.Cleanup(r.stop)
	return r
}

// several are two processes, each with its own directory, on one PostgreSQL. The
// first publishes.
func several(t *testing.T) (a, b *running) {
	t.Helper()
	one := make1(t, postgres.URL(t))
	two := filepath.Join(t.TempDir(), "second")
	copyTree(t, one, two)
	return run(t, one), run(t, two)
}

// soon waits until something is so.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// list is what a process serves of a list, and its number.
func (r *running) list(t *testing.T, path string) ([]byte, *x509.RevocationList) {
	t.Helper()
	resp, err := http.Get(r.at.Status + "/" + filepath.ToSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	der, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return der, list
}

// same waits until both serve every list in the same octets.
func same(t *testing.T, a, b *running) {
	t.Helper()
	for i := range a.Publisher.Scopes {
		s := &a.Publisher.Scopes[i]
		path := publish.CRLPath(s.Issuer, s.Partition)
		soon(t, path+" is the same", func() bool {
			one, _ := a.list(t, path)
			two, _ := b.list(t, path)
			return bytes.Equal(one, two)
		})
	}
}

// ask returns what OCSP of this process says.
func (r *running) ask(t *testing.T, c *issue.Certificate) int {
	t.Helper()
	issuer, _ := r.Hierarchy.Issuer(c.Issuer)
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: c.Serial.Int()}, issuer.Certificate, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(r.at.Status+"/ocsp", "application/ocsp-request", bytes.NewReader(der))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ocsp.ParseResponse(body, issuer.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return got.Status
}

// revoke revokes a certificate as an act of the API does.
func (r *running) revoke(c *issue.Certificate) func() error {
	return func() error {
		return r.DB.Issue().Update(context.Background(), func(tx *issue.Tx) error {
			_, err := issue.Revoke(tx, c, ca.Superseded, "test", "system", time.Now())
			return err
		})
	}
}

func has(list *x509.RevocationList, serial ca.Serial) bool {
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(serial.Int()) == 0 {
			return true
		}
	}
	return false
}

// TestSeveralProcesses: two processes on one database. One publishes and both serve the
// same octets; what one revokes the other says at once to whoever asks after the wait;
// when the one that publishes is gone the other goes on with its numbers.
func TestSeveralProcesses(t *testing.T) {
	a, b := several(t)
	same(t, a, b)
	c, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer)
	if err != nil {
		t.Fatal(err)
	}
	path := publish.CRLPath(c.Issuer, c.Partition)
	_, first := a.list(t, path)
	for _, p := range []*running{a, b} {
		if got := p.ask(t, c); got != ocsp.Good { // from now on it is in the cache
			t.Fatalf("status %d before the revocation", got)
		}
	}
	if missing, err := a.seen(t.Context(), a.revoke(c)); missing != "" || err != nil {
		t.Fatalf("seen = %q, %v", missing, err)
	}
	for _, p := range []*running{a, b} {
		if got := p.ask(t, c); got != ocsp.Revoked {
			t.Errorf("status %d after the wait", got)
		}
	}
	_, second := a.list(t, path)
	if !has(second, c.Serial) || second.Number.Cmp(first.Number) <= 0 {
		t.Errorf("list %v, after %v, has it: %t", second.Number, first.Number, has(second, c.Serial))
	}
	same(t, a, b)
	again, err := a.seen(t.Context(), a.revoke(c)) // its answer was lost
	if again != "" || err != nil {
		t.Errorf("repeated: seen = %q, %v", again, err)
	}

	// The first one's lock is gone, as it is when the process dies.
	if err := a.presence.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = b.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer); err != nil {
		t.Fatal(err)
	}
	path = publish.CRLPath(c.Issuer, c.Partition)
	_, before := a.list(t, path)
	if missing, err := b.seen(t.Context(), b.revoke(c)); missing != "" || err != nil {
		t.Fatalf("seen = %q, %v", missing, err)
	}
	_, third := b.list(t, path)
	if third.Number.Cmp(before.Number) <= 0 || !has(third, c.Serial) {
		t.Errorf("list %v after %v has it: %t", third.Number, before.Number, has(third, c.Serial))
	}
	same(t, a, b)
	if err := a.DB.Revocation().View(t.Context(), func(tx *revocation.Tx) error {
		p, err := tx.NewestPublication(c.Issuer, revocation.List{Issuer: c.Issuer, Partition: c.Partition}.Scope(), "")
		if err == nil && p.Number > third.Number.Int64()+1 {
			t.Errorf("number %d is reserved, %v is public: they publish against each other", p.Number, third.Number)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestNotVisible: a process that lives and does not see what is revoked is named; one
// that has died does not count, nor what has no list.
func TestNotVisible(t *testing.T) {
	a, b := several(t)
	c, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer)
	if err != nil {
		t.Fatal(err)
	}
	shortly := func() (string, error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return a.seen(ctx, func() error {
			err := a.revoke(c)()
			time.AfterFunc(3*time.Second, cancel)
			return err
		})
	}
	if b.ask(t, c) != ocsp.Good {
		t.Fatal("it is not good before")
	}
	// The second one's tail hangs: others hold all connections that it reads by.
	release := make(chan struct{})
	var held, begun sync.WaitGroup
	for range 4 {
		begun.Add(1)
		held.Go(func() {
			once := sync.OnceFunc(begun.Done)
			if err := b.DB.Revocation().View(context.Background(), func(*revocation.Tx) error { once(); <-release; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	begun.Wait()
	missing, err := shortly()
	if err != nil || !strings.Contains(missing, "process "+b.owner+" has not seen it") {
		t.Errorf("seen = %q, %v", missing, err)
	}
	close(release)
	held.Wait()
	if missing, err := a.seen(t.Context(), a.revoke(c)); missing != "" || err != nil {
		t.Errorf("released: seen = %q, %v", missing, err)
	}
	if got := b.ask(t, c); got != ocsp.Revoked {
		t.Errorf("status %d", got)
	}

	// What was left by one that died does not count.
	if err := a.DB.SetTail(t.Context(), "proc_dead", 1); err != nil {
		t.Fatal(err)
	}
	if c, err = a.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer); err != nil {
		t.Fatal(err)
	}
	if missing, err := a.seen(t.Context(), a.revoke(c)); missing != "" || err != nil {
		t.Errorf("beside a dead one: seen = %q, %v", missing, err)
	}

	// A list that can't be put in place.
	if c, err = a.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(a.Hierarchy.PublicDir(), publish.CRLPath(c.Issuer, c.Partition))
	if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "in the way"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if missing, err = shortly(); err != nil || !strings.Contains(missing, "CRL "+string(c.Issuer)) {
		t.Errorf("seen = %q, %v", missing, err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	until(t, a.at.Status+"/"+filepath.ToSlash(publish.CRLPath(c.Issuer, c.Partition)), func(status int, _ string) bool { return status == http.StatusOK })

	// What fails is not waited for.
	wrong := errors.New("wrong")
	if missing, err := a.seen(t.Context(), func() error { return wrong }); missing != "" || !errors.Is(err, wrong) {
		t.Errorf("seen = %q, %v", missing, err)
	}
}

// TestVisibleAlone: with SQLite there is this process only.
func TestVisibleAlone(t *testing.T) {
	a := run(t, make1(t, ""))
	c, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer)
	if err != nil {
		t.Fatal(err)
	}
	if a.ask(t, c) != ocsp.Good {
		t.Fatal("it is not good before")
	}
	if missing, err := a.seen(t.Context(), a.revoke(c)); missing != "" || err != nil {
		t.Errorf("seen = %q, %v", missing, err)
	}
	if _, list := a.list(t, publish.CRLPath(c.Issuer, c.Partition)); a.ask(t, c) != ocsp.Revoked || !has(list, c.Serial) {
		t.Error("it is not visible")
	}
	if owners, err := a.DB.TailsBelow(t.Context(), 1<<62); err != nil || len(owners) > 0 {
		t.Errorf("tails of %v, %v", owners, err)
	}
}
