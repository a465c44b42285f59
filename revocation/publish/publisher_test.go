package publish_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/publish"
)

var errGone = errors.New("token is gone")

// bench is a publisher of two partitions of one issuer over a fake store.
type bench struct {
	*revtest.Store
	t      *testing.T
	issuer *revtest.Authority
	key    *revtest.WatchedKey
	dir    string
	p      *publish.Publisher
	lint   linter
}

// linter takes note of the entries that it is shown, and refuses one serial.
type linter struct {
	seen    []string
	refuses string
}

func (l *linter) LintCRL(der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	for _, e := range list.RevokedCertificateEntries {
		serial := e.SerialNumber.Text(16)
		if serial == l.refuses {
			return errors.New("it is refused")
		}
		l.seen = append(l.seen, serial)
	}
	return nil
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, Store: revtest.NewStore(t), issuer: revtest.NewAuthority(t, revtest.Person, nil), dir: t.TempDir()}
	b.key = &revtest.WatchedKey{Signer: b.issuer.Key, Store: b.Store}
	b.restart()
	return b
}

// restart is a new process over the same store and directory.
func (b *bench) restart() {
	b.t.Helper()
	signer, err := crl.NewSigner(b.issuer.Cert, b.key)
	if err != nil {
		b.t.Fatal(err)
	}
	b.p = &publish.Publisher{Store: b.Store, Dir: b.dir, Now: func() time.Time { return revtest.Start }, Log: slog.New(slog.DiscardHandler), Lint: &b.lint}
	for i := range 2 {
		b.p.Scopes = append(b.p.Scopes, publish.Scope{Issuer: revtest.Person, Partition: i, URL: revtest.URLOf(revtest.Person, i), Signer: signer})
	}
	if err := b.p.Check(); err != nil {
		b.t.Fatal(err)
	}
}

// publish is one pass, which must publish want CRLs.
func (b *bench) publish(now time.Time, want int) {
	b.t.Helper()
	n, err := b.p.Publish(b.t.Context(), now)
	if err != nil || n != want {
		b.t.Fatalf("Publish = %d, %v, want %d", n, err, want)
	}
}

func (b *bench) path(partition int) string {
	return filepath.Join(b.dir, publish.CRLPath(revtest.Person, partition))
}

// public reads and verifies what relying parties see; nil if nothing.
func (b *bench) public(partition int) *x509.RevocationList {
	b.t.Helper()
	der, err := os.ReadFile(b.path(partition))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(b.issuer.Cert); err != nil {
		b.t.Fatal(err)
	}
	return list
}

func (b *bench) number(partition int) int64 {
	b.t.Helper()
	return b.public(partition).Number.Int64()
}

func lists(list *x509.RevocationList, serial ca.Serial) *x509.RevocationListEntry {
	for i := range list.RevokedCertificateEntries {
		if list.RevokedCertificateEntries[i].SerialNumber.Cmp(serial.Int()) == 0 {
			return &list.RevokedCertificateEntries[i]
		}
	}
	return nil
}

func TestPublishWhatIsDue(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2) // every scope has a CRL from the first
	for i := range 2 {
		list := b.public(i)
		if list.Number.Int64() != 1 || !list.ThisUpdate.Equal(revtest.Start.Add(-5*time.Minute)) || !list.NextUpdate.Equal(revtest.Start.Add(24*time.Hour)) || len(list.RevokedCertificateEntries) != 0 {
			t.Errorf("first CRL of %d: %v %v %v", i, list.Number, list.ThisUpdate, list.NextUpdate)
		}
		if url, err := crl.IssuingDistributionPoint(list); err != nil || url != revtest.URLOf(revtest.Person, i) {
			t.Errorf("it is for %q, %v", url, err)
		}
	}
	b.publish(revtest.Start.Add(time.Minute), 0)

	e := b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
	b.publish(revtest.Start.Add(2*time.Minute), 1)
	if b.number(0) != 1 || b.number(1) != 2 {
		t.Errorf("numbers %d and %d, want only the partition's own to rise", b.number(0), b.number(1))
	}
	if got := lists(b.public(1), e.Serial); got == nil || got.ReasonCode != 4 || !got.RevocationTime.Equal(e.At) {
		t.Errorf("entry = %+v", got)
	}
	b.publish(revtest.Start.Add(3*time.Minute), 0)

	// A graver reason is published too, in place of the first and with its time.
	again := e
	again.Reason, again.Event, again.At = ca.KeyCompromise, "graver", revtest.Start.Add(4*time.Minute)
	b.Revoke(again)
	b.publish(revtest.Start.Add(5*time.Minute), 1)
	if got := lists(b.public(1), e.Serial); got == nil || got.ReasonCode != 1 || !got.RevocationTime.Equal(e.At) || len(b.public(1).RevokedCertificateEntries) != 1 {
		t.Errorf("entry = %+v", got)
	}
	last := b.Published[len(b.Published)-1]
	if last.State != revocation.Published || last.Entries != 1 || last.Through != 2 || last.Number != 3 {
		t.Errorf("publication = %+v", last)
	}
}

// A CRL is issued anew at half of its life, whether anything happened or not.
func TestPublishOnSchedule(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	half := revtest.Start.Add(-5 * time.Minute).Add((24*time.Hour + 5*time.Minute) / 2)
	b.publish(half.Add(-time.Second), 0)
	b.publish(half.Add(time.Second), 2)
	if b.number(0) != 2 || b.number(1) != 2 {
		t.Errorf("numbers %d, %d", b.number(0), b.number(1))
	}
	b.restart()
	b.publish(half.Add(2*time.Second), 0)
}

// What is revoked within a second is one CRL.
func TestPublishCoalesces(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	for range 5 {
		b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	}
	b.publish(revtest.Start, 0) // the first CRL is less than a second old
	b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.publish(revtest.Start.Add(time.Second), 1)
	if list := b.public(0); list.Number.Int64() != 2 || len(list.RevokedCertificateEntries) != 6 {
		t.Errorf("number %v with %d entries", list.Number, len(list.RevokedCertificateEntries))
	}
}

// RFC 5280, 3.3: an entry leaves only after it was on a CRL issued after the
// certificate had expired.
func TestPublishExpiredEntriesLeave(t *testing.T) {
	b := newBench(t)
	e := revtest.NewEntry(revtest.Person, 0, ca.KeyCompromise)
	e.NotAfter = revtest.Start.Add(20 * time.Hour)
	b.Revoke(e)
	kept := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	for i, test := range []struct {
		hours int
		on    bool
	}{{0, true}, {13, true}, {26, true}, {39, false}, {52, false}} {
		b.publish(revtest.Start.Add(time.Duration(test.hours)*time.Hour), 2)
		list := b.public(0)
		if got := lists(list, e.Serial) != nil; got != test.on {
			t.Errorf("CRL %d, %d hours after the start: listed = %v, want %v", i, test.hours, got, test.on)
		}
		if lists(list, kept.Serial) == nil {
			t.Errorf("CRL %d has dropped a certificate that lives", i)
		}
	}
}

// A key that refuses leaves the public CRL alone and costs a number; when it
// works again, the CRL comes.
func TestPublishKeyRefuses(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	e := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.key.Fail(errGone)
	if n, err := b.p.Publish(t.Context(), revtest.Start.Add(time.Minute)); n != 0 || !errors.Is(err, errGone) {
		t.Fatalf("Publish = %d, %v", n, err)
	}
	if b.number(0) != 1 {
		t.Errorf("number %d is public", b.number(0))
	}
	b.key.Fail(nil)
	b.publish(revtest.Start.Add(2*time.Minute), 1)
	if b.number(0) != 3 || lists(b.public(0), e.Serial) == nil {
		t.Errorf("number %d, want 3: 2 was reserved and is never used", b.number(0))
	}
}

// A key that goes on refusing is not asked at every look: each try costs a
// number. The error stays visible meanwhile.
func TestPublishPauses(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.key.Fail(errGone)
	for second := range 3600 {
		if _, err := b.p.Publish(t.Context(), revtest.Start.Add(time.Duration(60+second)*time.Second)); !errors.Is(err, errGone) {
			t.Fatalf("second %d: %v", second, err)
		}
	}
	tries := len(b.Published) - 2
	if tries < 60 || tries > 70 {
		t.Errorf("%d tries in an hour, want one a minute after the first few", tries)
	}
	b.key.Fail(nil)
	b.publish(revtest.Start.Add(2*time.Hour), 1)
}

// A directory that cannot be written is told, and what is public stays.
func TestPublishDirectoryInTheWay(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	if err := os.Remove(b.path(0)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(b.path(0), "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	e := b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
	n, err := b.p.Publish(t.Context(), revtest.Start.Add(time.Minute))
	if err == nil || n != 1 || lists(b.public(1), e.Serial) == nil {
		t.Errorf("Publish = %d, %v: the other scope must not wait", n, err)
	}
	if err := os.RemoveAll(b.path(0)); err != nil {
		t.Fatal(err)
	}
	b.publish(revtest.Start.Add(2*time.Minute), 1)
}

// The public file is lost or replaced by an older one: it is published anew.
func TestPublishRepairsTheFile(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	old, err := os.ReadFile(b.path(0))
	if err != nil {
		t.Fatal(err)
	}
	e := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.publish(revtest.Start.Add(time.Minute), 1)
	for name, damage := range map[string]func() error{
		"lost":      func() error { return os.Remove(b.path(0)) },
		"old again": func() error { return os.WriteFile(b.path(0), old, 0o644) },
	} {
		was := b.number(0)
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		b.publish(revtest.Start.Add(2*time.Minute), 1)
		if b.number(0) != was+1 || lists(b.public(0), e.Serial) == nil {
			t.Errorf("%s: number %d after %d", name, b.number(0), was)
		}
	}
}

// More entries than are read at a time, in a process that begins late: every
// partition with one above what its CRL contains is published.
func TestPublishLongTail(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	first := b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
	for range 2500 {
		b.Entries = append(b.Entries, revtest.NewEntry(revtest.Person, 0, ca.Superseded))
		b.Entries[len(b.Entries)-1].Version = 1
	}
	b.Sequence()
	last := b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
	b.restart()
	b.publish(revtest.Start.Add(time.Minute), 2)
	if n := len(b.public(0).RevokedCertificateEntries); n != 2500 {
		t.Errorf("%d entries, want 2500", n)
	}
	if lists(b.public(1), first.Serial) == nil || lists(b.public(1), last.Serial) == nil {
		t.Error("the entries at the ends of the tail are not listed")
	}
	b.publish(revtest.Start.Add(2*time.Minute), 0)
}

// An entry of a partition that nobody publishes is an error at every pass, and
// does not keep the others back.
func TestPublishUnlistedEntry(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	b.Revoke(revtest.NewEntry(revtest.Person, 7, ca.Superseded))
	e := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	for i, want := range []int{1, 0} {
		n, err := b.p.Publish(t.Context(), revtest.Start.Add(time.Minute))
		if n != want || err == nil || !strings.Contains(err.Error(), "/7: it has entries and no publisher") {
			t.Errorf("pass %d = %d, %v", i, n, err)
		}
	}
	if lists(b.public(0), e.Serial) == nil {
		t.Error("the other partition waits")
	}
}

// Temporary files of a killed process go at the start.
func TestPublishSweeps(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	left := filepath.Join(filepath.Dir(b.path(0)), ".0.crl.17.tmp")
	if err := os.WriteFile(left, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.restart()
	b.publish(revtest.Start, 0)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat = %v", err)
	}
}

func TestPublisherCheck(t *testing.T) {
	b := newBench(t)
	for name, spoil := range map[string]func(*publish.Publisher){
		"no store":      func(p *publish.Publisher) { p.Store = nil },
		"no directory":  func(p *publish.Publisher) { p.Dir = "" },
		"no clock":      func(p *publish.Publisher) { p.Now = nil },
		"no log":        func(p *publish.Publisher) { p.Log = nil },
		"short life":    func(p *publish.Publisher) { p.Lifetime = time.Minute },
		"long life":     func(p *publish.Publisher) { p.Lifetime = 73 * time.Hour },
		"twice":         func(p *publish.Publisher) { p.Scopes[1].Partition = 0 },
		"out of dir":    func(p *publish.Publisher) { p.Scopes[0].Issuer = "../x" },
		"no signer":     func(p *publish.Publisher) { p.Scopes[0].Signer = nil },
		"no address":    func(p *publish.Publisher) { p.Scopes[0].URL = "" },
		"no issuer":     func(p *publish.Publisher) { p.Scopes[0].Issuer = "" },
		"bad partition": func(p *publish.Publisher) { p.Scopes[0].Partition = -1 },
	} {
		b.restart()
		spoil(b.p)
		if b.p.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPublishCancelled(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := b.p.Publish(ctx, revtest.Start); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Publish = %d, %v", n, err)
	}
}

// The loop publishes a revocation at its next look, re-issues at half life, goes
// on after an error, tells it once, and ends with its context.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var log bytes.Buffer
		b.p.Log = slog.New(slog.NewTextHandler(&log, nil))
		began := time.Now()
		b.p.Now = func() time.Time { return revtest.Start.Add(time.Since(began)) }
		b.p.Interval = 10 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.p.Run(ctx); close(done) }()
		wait := func(d time.Duration) { time.Sleep(d); synctest.Wait() }

		wait(time.Second)
		if b.number(0) != 1 || b.number(1) != 1 {
			t.Fatalf("numbers %d, %d at the start", b.number(0), b.number(1))
		}
		e := b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
		wait(10 * time.Second)
		if b.number(0) != 1 || b.number(1) != 2 || lists(b.public(1), e.Serial) == nil {
			t.Fatalf("numbers %d, %d after a revocation", b.number(0), b.number(1))
		}
		wait(13 * time.Hour)
		if b.number(0) != 2 || b.number(1) != 3 {
			t.Fatalf("numbers %d, %d after half a life", b.number(0), b.number(1))
		}
		b.key.Fail(errGone)
		b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
		wait(time.Minute)
		b.key.Fail(nil)
		wait(time.Minute)
		if list := b.public(0); len(list.RevokedCertificateEntries) != 1 {
			t.Errorf("%d entries after the token came back", len(list.RevokedCertificateEntries))
		}
		cancel()
		<-done
		if !strings.Contains(log.String(), "token is gone") {
			t.Errorf("log:\n%s", log.String())
		}
	})
}
