package revocation_test

import (
	"context"
	"crypto/x509"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation"
)

// cached is a web whose verifier keeps what it fetches, with a clock to turn.
func cached(t *testing.T) (*web, *time.Time) {
	t.Helper()
	w := newWeb(t)
	now := revtest.Start
	cache, err := revocation.NewCache(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	w.v.Cache, w.v.Now = cache, func() time.Time { return now }
	return w, &now
}

func TestVerifyCachesOCSP(t *testing.T) {
	w, now := cached(t)
	honest := func(this time.Time) {
		w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, func(a *answer) { a.this, a.next = this, revtest.Start.Add(time.Hour) })
	}
	honest(revtest.Start.Add(-time.Minute))
	delete(w.crl, leafList)
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	if n := w.asked(); n != 1 {
		t.Errorf("first: %d questions", n)
	}
	*now = now.Add(59 * time.Second)
	got := w.judge()
	w.want(got, revocation.Good, revocation.CauseGood)
	if n := w.asked(); n != 0 || got.Source != revocation.FromCache {
		t.Errorf("within a minute: %d questions, source %s", n, got.Source)
	}
	*now = now.Add(2 * time.Second)
	if w.judge(); w.asked() != 1 {
		t.Error("after a minute nobody is asked")
	}
	// An older answer does not take the place of the kept one.
	*now = now.Add(2 * time.Minute)
	honest(revtest.Start.Add(-2 * time.Minute))
	got = w.judge()
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Source != revocation.FromCache || !strings.Contains(text(got), "an older one was put in its place") {
		t.Errorf("source %s: %v", got.Source, got.Steps)
	}
	// Nobody answers: the kept one serves until its end, and not longer.
	w.noOCSP()
	*now = revtest.Start.Add(59 * time.Minute)
	if got := w.judge(); got.Status != revocation.Good || got.Source != revocation.FromCache {
		t.Errorf("nobody answers: %s by %s", got.Status, got.Source)
	}
	*now = revtest.Start.Add(62 * time.Minute)
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnreachable)
	// A nonce wants an answer of now.
	w.v.Nonce = true
	*now = revtest.Start.Add(59 * time.Minute)
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnreachable)
}

// What was fetched serves for as long as the verifier says, and not at all where
// our clock has gone back since: how long it has served is not known then.
func TestVerifyKeep(t *testing.T) {
	w, now := cached(t)
	w.ocsp = w.says(good(), revtest.Start.Add(-time.Minute), revtest.Start.Add(time.Hour))
	w.v.Keep = 10 * time.Second
	for _, step := range []struct {
		after time.Duration
		asked int
	}{{0, 1}, {9 * time.Second, 0}, {10 * time.Second, 1}, {5 * time.Second, 1}, {14 * time.Second, 0}} {
		*now = revtest.Start.Add(step.after)
		w.want(w.judge(), revocation.Good, revocation.CauseGood)
		if n := w.asked(); n != step.asked {
			t.Errorf("after %s: %d questions, want %d", step.after, n, step.asked)
		}
	}
}

func text(v revocation.Verification) string {
	var all []string
	for _, s := range v.Steps {
		all = append(all, s.Text)
	}
	return strings.Join(all, "\n")
}

// Revoked is seen as soon as what is kept has served its minute.
func TestVerifyCacheSeesRevocation(t *testing.T) {
	w, now := cached(t)
	w.v.Sources = revocation.CRLOnly
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	old := w.crl[leafList]
	line := crl.Revoked{Serial: w.serial, At: revtest.Start, Reason: ca.KeyCompromise}
	w.crl[leafList] = w.inner.CRL(t, w.list(func(l *crl.List) { l.Number, l.Entries = 2, []crl.Revoked{line} }))
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	*now = now.Add(61 * time.Second)
	w.want(w.judge(), revocation.Revoked, revocation.CauseRevoked)
	// The list of before is put back: it is not believed, and the kept one serves.
	w.crl[leafList] = old
	*now = now.Add(61 * time.Second)
	got := w.judge()
	w.want(got, revocation.Revoked, revocation.CauseRevoked)
	if !strings.Contains(text(got), "an older list was put in its place") {
		t.Errorf("%v", got.Steps)
	}
	// The number stays known after the list itself was dropped: it is over. (The
	// leaf's revocation does too; another certificate is asked about.)
	w.leaf = w.inner.Leaf(t, ca.NewSerial().Int(), 3)
	*now = revtest.Start.Add(time.Hour + 2*time.Minute)
	w.crl[leafList] = w.inner.CRL(t, w.list(func(l *crl.List) { l.Number, l.NextUpdate = 1, revtest.Start.Add(3*time.Hour) }))
	w.want(w.judge(), revocation.Unknown, revocation.CauseUnbelievable)
}

// A list is kept under the key and name of who signed it: the same address in
// another CA's certificate gets nothing of it.
func TestCacheIsByIssuer(t *testing.T) {
	w, _ := cached(t)
	w.v.Sources = revocation.CRLOnly
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	namesake := revtest.NewAuthority(t, revtest.Person, w.root)
	leaf := namesake.Leaf(t, ca.NewSerial().Int(), 3)
	got := w.v.Verify(t.Context(), leaf, namesake.Cert)
	w.want(got, revocation.Unknown, revocation.CauseUnbelievable)
}

// A hundred log-ins at the end of a list fetch it once.
func TestCacheFetchesOnce(t *testing.T) {
	w, _ := cached(t)
	w.v.Sources = revocation.CRLOnly
	lists := map[string][]byte{leafList: w.crl[leafList], revtest.URLOf(revtest.Root, 0): w.crl[revtest.URLOf(revtest.Root, 0)]}
	var mu sync.Mutex
	waiting, fetched := 0, 0
	all := make(chan struct{})
	const clients = 100
	w.v.Fetch = func(ctx context.Context, address string) ([]byte, error) {
		if address == leafList {
			<-all
			mu.Lock()
			fetched++
			mu.Unlock()
		}
		return lists[address], ctx.Err()
	}
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i == 0 {
				cancel() // one of them leaves; the list comes all the same
			}
			mu.Lock()
			if waiting++; waiting == clients {
				close(all)
			}
			mu.Unlock()
			if got := w.v.Judge(ctx, revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}}); got.Status != revocation.Good && i > 0 {
				t.Errorf("%s: %v", got.Status, got.Steps)
			}
		})
	}
	group.Wait()
	// Not all need wait at once, but what one fetched serves the others.
	if fetched != 1 {
		t.Errorf("fetched %d times", fetched)
	}
}

// A cache is bounded: what does not fit is asked for again, not trusted.
func TestCacheIsBounded(t *testing.T) {
	if _, err := revocation.NewCache(100); err == nil {
		t.Error("a cache of 100 octets was made")
	}
	w := newWeb(t)
	var err error
	if w.v.Cache, err = revocation.NewCache(64 << 10); err != nil {
		t.Fatal(err)
	}
	w.v.Sources = revocation.CRLOnly
	var lines []crl.Revoked
	for i := range 4000 { // 128 kB as an index
		serial := ca.Serial{0x40, byte(i >> 8), byte(i), 15: 1}
		lines = append(lines, crl.Revoked{Serial: serial, At: revtest.Start, Reason: ca.Superseded})
	}
	w.crl[leafList] = w.inner.CRL(t, w.list(func(l *crl.List) { l.Entries = lines }))
	for range 2 {
		w.want(w.judge(), revocation.Good, revocation.CauseGood)
		if n := w.asked(); n != 1 {
			t.Errorf("%d questions", n)
		}
	}
}

// A flood of certificates takes no more memory than the cache was given.
func TestCacheHoldsItsBudget(t *testing.T) {
	w := newWeb(t)
	var err error
	if w.v.Cache, err = revocation.NewCache(64 << 10); err != nil {
		t.Fatal(err)
	}
	w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, nil)
	for range 100 {
		w.leaf = w.inner.Leaf(t, ca.NewSerial().Int(), 3)
		w.want(w.judge(), revocation.Good, revocation.CauseGood)
	}
	if octets, entries := w.v.Cache.Taken(); octets > 64<<10 || entries == 0 || entries >= 100 {
		t.Errorf("%d octets, %d entries", octets, entries)
	}
}

// Who came first leaves while the list is being fetched: it comes all the same,
// for those who wait for it.
func TestCacheFetchOutlivesItsFirst(t *testing.T) {
	w, _ := cached(t)
	w.v.Sources = revocation.CRLOnly
	ctx, leave := context.WithCancel(t.Context())
	var fetched atomic.Int32
	inner := w.v.Fetch
	w.v.Fetch = func(ctx context.Context, address string) ([]byte, error) {
		der, err := inner(ctx, address)
		if address == leafList {
			fetched.Add(1)
			leave()
			err = ctx.Err()
		}
		return der, err
	}
	p := revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}}
	w.v.Judge(ctx, p)
	w.want(w.v.Judge(t.Context(), p), revocation.Good, revocation.CauseGood)
	if n := fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}
