package revocation_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation"
)

const hold = ca.Reason(6)

// CertStatus in DER (RFC 6960, 4.2.1), all revocations three hours old.
func good() []byte    { return []byte{0x80, 0} }
func unknown() []byte { return []byte{0x82, 0} }
func revokedAs(reason ca.Reason) []byte {
	der := append([]byte{0xa1, 22, 0x18, 15}, revtest.Start.Add(-3*time.Hour).UTC().Format("20060102150405Z")...)
	return append(der, 0xa0, 3, 0x0a, 1, byte(reason))
}

// says makes answers by other code than ours, which signs no hold.
func (w *web) says(status []byte, this, next time.Time) func([]byte) ([]byte, error) {
	return w.forge(w.inner.OCSPCert, w.inner.OCSPKey, func(a *answer) { a.status, a.this, a.next = status, this, next })
}

// one is the answer on the leaf.
func (w *web) one(says func([]byte) ([]byte, error)) []byte {
	w.t.Helper()
	der, err := says(requestFor(w.t, w.leaf, w.inner.Cert))
	if err != nil {
		w.t.Fatal(err)
	}
	return der
}

// listing is the leaf's list with the leaf in it.
func (w *web) listing(change func(*crl.List)) []byte {
	return w.inner.CRL(w.t, w.list(func(l *crl.List) {
		l.Entries = []crl.Revoked{{Serial: w.serial, At: revtest.Start.Add(-3 * time.Hour), Reason: ca.Superseded}}
		change(l)
	}))
}

// A revocation is never taken back: whoever holds the issuer's "revoked" believes
// nothing else, however old it is, and whoever else says good.
func TestVerifyRevokedDoesNotGrowOld(t *testing.T) {
	at := func(d time.Duration) time.Time { return revtest.Start.Add(d) }
	ended := func(l *crl.List) { l.ThisUpdate, l.NextUpdate = at(-2*time.Hour), at(-time.Hour) }
	for name, test := range map[string]struct {
		spoil func(*web, *revocation.Presented)
		want  revocation.Status
	}{
		"answer too old, the list says good": {func(w *web, _ *revocation.Presented) {
			w.v.MaxAge = time.Minute
			w.ocsp = w.says(revokedAs(ca.KeyCompromise), at(-10*time.Minute), at(time.Hour))
		}, revocation.Revoked},
		"answer past its end, the list says good": {func(w *web, _ *revocation.Presented) {
			w.ocsp = w.says(revokedAs(ca.Superseded), at(-2*time.Hour), at(-time.Hour))
		}, revocation.Revoked},
		"answer of a time to come": {func(w *web, _ *revocation.Presented) {
			w.ocsp = w.says(revokedAs(ca.Superseded), at(2*time.Hour), at(3*time.Hour))
		}, revocation.Good},
		"answer by the key of an ended signer": {func(w *web, _ *revocation.Presented) {
			key := revtest.NewKey(w.t)
			cert := w.inner.Signer(w.t, key, func(c *x509.Certificate) { c.NotAfter = at(-10 * time.Minute) })
			w.ocsp = w.forge(cert, key, func(a *answer) { a.status, a.this, a.next = revokedAs(ca.Superseded), at(-2*time.Hour), at(-time.Hour) })
		}, revocation.Good},
		"answer without an end": {func(w *web, _ *revocation.Presented) {
			w.ocsp = w.says(revokedAs(ca.Superseded), at(-2*time.Hour), time.Time{})
		}, revocation.Good},
		"list older than one that was seen": {func(w *web, p *revocation.Presented) {
			w.noOCSP()
			w.v.Cache, _ = revocation.NewCache(1 << 20)
			w.crl[leafList] = w.inner.CRL(w.t, w.list(func(l *crl.List) { l.Number = 2 }))
			w.want(w.judge(), revocation.Good, revocation.CauseGood)
			p.CRLs = [][]byte{w.listing(func(*crl.List) {})}
		}, revocation.Revoked},
		"answer past its end, no list": {func(w *web, _ *revocation.Presented) {
			delete(w.crl, leafList)
			w.ocsp = w.says(revokedAs(ca.Superseded), at(-2*time.Hour), at(-time.Hour))
		}, revocation.Revoked},
		"staple past its end, OCSP says good": {func(w *web, p *revocation.Presented) {
			p.OCSP = [][]byte{w.one(w.says(revokedAs(ca.Superseded), at(-2*time.Hour), at(-time.Hour)))}
		}, revocation.Revoked},
		"staple without the nonce, OCSP says good": {func(w *web, p *revocation.Presented) {
			w.v.Nonce = true
			p.OCSP = [][]byte{w.one(w.says(revokedAs(ca.Superseded), at(-time.Minute), at(time.Hour)))}
		}, revocation.Revoked},
		"list past its end": {func(w *web, _ *revocation.Presented) {
			w.noOCSP()
			w.crl[leafList] = w.listing(ended)
		}, revocation.Revoked},
		"list at hand past its end, the one fetched says good": {func(w *web, p *revocation.Presented) {
			w.noOCSP()
			p.CRLs = [][]byte{w.listing(ended)}
		}, revocation.Revoked},
		"a hold past its end": {func(w *web, _ *revocation.Presented) {
			w.ocsp = w.says(revokedAs(hold), at(-2*time.Hour), at(-time.Hour))
		}, revocation.Good},
		"what is lifted": {func(w *web, _ *revocation.Presented) {
			w.ocsp = w.says(revokedAs(8), at(-2*time.Hour), at(-time.Hour))
		}, revocation.Good},
		"a hold": {func(w *web, _ *revocation.Presented) {
			w.ocsp = w.says(revokedAs(hold), at(-time.Minute), at(time.Hour))
		}, revocation.Revoked},
		"a stranger's, past its end": {func(w *web, _ *revocation.Presented) {
			stranger := newWeb(w.t)
			stranger.leaf = w.leaf
			w.ocsp = stranger.says(revokedAs(ca.Superseded), at(-2*time.Hour), at(-time.Hour))
		}, revocation.Good},
		"another partition's list, past its end": {func(w *web, p *revocation.Presented) {
			w.noOCSP()
			p.CRLs = [][]byte{w.listing(func(l *crl.List) { ended(l); l.DistributionPoint = revtest.URLOf(revtest.Person, 2) })}
		}, revocation.Good},
	} {
		for _, open := range []revocation.Open{{}, {Unreachable: true, Stale: true}} {
			w := newWeb(t)
			p := revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}}
			test.spoil(w, &p)
			w.v.Open = open
			got := w.v.Judge(t.Context(), p)
			if got.Status != test.want || got.Soft {
				t.Errorf("%s, open %v: %s\n%v", name, open, got.Status, got.Steps)
			}
			if test.want == revocation.Revoked && name != "a hold" && !strings.Contains(text(got), "; that stands, though ") {
				t.Errorf("%s: no step says why it stands: %v", name, got.Steps)
			}
		}
	}
}

// What was once told to be revoked is remembered apart from who told it: neither
// another source, nor a newer answer, nor that nobody answers makes it good.
func TestVerifyRemembersRevocation(t *testing.T) {
	w, now := cached(t)
	other := w.inner.Leaf(t, ca.NewSerial().Int(), 3)
	w.crl[leafList] = w.listing(func(l *crl.List) { l.Number = 2 })
	w.noOCSP()
	w.want(w.judge(), revocation.Revoked, revocation.CauseRevoked)
	staple := w.one(w.says(good(), revtest.Start.Add(-time.Minute), revtest.Start.Add(time.Hour)))
	got := w.judge(staple)
	w.want(got, revocation.Revoked, revocation.CauseRevoked)
	if !strings.Contains(text(got), "it was told before: revoked at 2026-03-14T06:26:53Z as superseded, which is never taken back") {
		t.Errorf("%v", got.Steps)
	}
	w.ocsp = w.says(good(), revtest.Start.Add(time.Minute), revtest.Start.Add(time.Hour))
	*now = now.Add(2 * time.Minute)
	w.want(w.judge(), revocation.Revoked, revocation.CauseRevoked)
	w.ocsp = w.says(unknown(), revtest.Start.Add(time.Minute), revtest.Start.Add(time.Hour))
	*now = now.Add(2 * time.Minute)
	w.want(w.judge(), revocation.Revoked, revocation.CauseRevoked)
	// Everything that was kept has run out, and nobody answers.
	w.noOCSP()
	delete(w.crl, leafList)
	*now = now.Add(2 * time.Hour)
	w.v.Open = revocation.Open{Unreachable: true, Stale: true}
	w.want(w.judge(), revocation.Revoked, revocation.CauseRevoked)
	// It is read for what it tells of a past time, as what is told now is.
	w.want(w.asOf(revtest.Start.Add(-2*time.Hour)), revocation.Revoked, revocation.CauseRevoked)
	w.want(w.asOf(revtest.Start.Add(-4*time.Hour)), revocation.Good, revocation.CauseGood)
	// Another certificate of the same issuer has nothing of it.
	w.crl[leafList] = w.inner.CRL(t, w.list(func(l *crl.List) { l.Number, l.NextUpdate = 3, revtest.Start.Add(4*time.Hour) }))
	w.leaf = other
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
}

// What told it was at hand once only, and nobody answers now.
func TestVerifyRemembersWhatWasAtHand(t *testing.T) {
	w, _ := cached(t)
	w.noOCSP()
	delete(w.crl, leafList)
	p := revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}, CRLs: [][]byte{w.listing(func(*crl.List) {})}}
	w.want(w.v.Judge(t.Context(), p), revocation.Revoked, revocation.CauseRevoked)
	for _, open := range []bool{false, true} {
		w.v.Open.Unreachable = open
		got := w.judge()
		w.want(got, revocation.Revoked, revocation.CauseRevoked)
		if got.Source != revocation.FromCache || got.Reason != ca.Superseded || !strings.Contains(text(got), "nobody tells it now; it was told before: revoked") {
			t.Errorf("%s by %s: %v", got, got.Source, got.Steps)
		}
		w.want(w.asOf(revtest.Start.Add(-4*time.Hour)), revocation.Good, revocation.CauseGood)
	}
}

// The gravest reason is remembered; a hold is not, because it may end.
func TestVerifyRemembersTheGravest(t *testing.T) {
	w, now := cached(t)
	delete(w.crl, leafList)
	for _, reason := range []ca.Reason{ca.Superseded, ca.KeyCompromise, ca.Superseded} {
		w.ocsp = w.says(revokedAs(reason), *now, now.Add(time.Hour))
		w.want(w.judge(), revocation.Revoked, revocation.CauseRevoked)
		*now = now.Add(2 * time.Minute)
	}
	w.ocsp = w.says(good(), *now, now.Add(time.Hour))
	if got := w.judge(); got.Status != revocation.Revoked || got.Reason != ca.KeyCompromise || got.Source != revocation.FromCache {
		t.Errorf("%s by %s: %v", got, got.Source, got.Steps)
	}
	w, now = cached(t)
	delete(w.crl, leafList)
	w.ocsp = w.says(revokedAs(hold), *now, now.Add(time.Hour))
	w.want(w.judge(), revocation.Revoked, revocation.CauseRevoked)
	*now = now.Add(2 * time.Minute)
	w.ocsp = w.says(good(), *now, now.Add(time.Hour))
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
}

// A client staples what it likes, perhaps what a thief recorded before the hold or
// the revocation: what is kept and newer decides.
func TestVerifyStapleOlderThanKept(t *testing.T) {
	w, now := cached(t)
	delete(w.crl, leafList)
	at := func(d time.Duration) time.Time { return revtest.Start.Add(d) }
	old := w.one(w.says(good(), at(-time.Minute), at(2*time.Hour)))
	w.ocsp = w.says(revokedAs(hold), at(0), at(time.Hour))
	w.want(w.judge(), revocation.Revoked, revocation.CauseRevoked)
	w.noOCSP()
	*now = now.Add(2 * time.Minute)
	got := w.judge(old)
	w.want(got, revocation.Revoked, revocation.CauseRevoked)
	if !strings.Contains(text(got), "as presented: no answer: an answer with a later thisUpdate has been seen") {
		t.Errorf("%v", got.Steps)
	}
	// One that is newer is believed, and from then on it is the one to be newer than.
	newer := w.one(w.says(good(), at(time.Minute), at(time.Hour)))
	got = w.judge(newer)
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Source != revocation.FromStapled {
		t.Errorf("source %s", got.Source)
	}
	w.ocsp = w.says(revokedAs(hold), at(0), at(time.Hour))
	got = w.judge()
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Source != revocation.FromCache || !strings.Contains(text(got), "an older one was put in its place") {
		t.Errorf("source %s: %v", got.Source, got.Steps)
	}
}

// A staple spares its own question only: who comes without is asked about.
func TestVerifyStapleDoesNotSpareOthers(t *testing.T) {
	w, now := cached(t)
	w.ocsp = w.says(good(), revtest.Start, revtest.Start.Add(time.Hour))
	staple := w.one(w.says(good(), revtest.Start.Add(-time.Minute), revtest.Start.Add(time.Hour)))
	w.want(w.judge(staple), revocation.Good, revocation.CauseGood)
	if n := w.asked(); n != 0 {
		t.Errorf("stapled: %d questions", n)
	}
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	if n := w.asked(); n != 1 {
		t.Errorf("not stapled: %d questions", n)
	}
	*now = now.Add(time.Second)
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	if n := w.asked(); n != 0 {
		t.Errorf("kept: %d questions", n)
	}
	// Nor does a staple no newer than it make what was fetched be fetched again.
	w.want(w.judge(w.one(w.ocsp)), revocation.Good, revocation.CauseGood)
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	if n := w.asked(); n != 0 {
		t.Errorf("after a staple of the same time: %d questions", n)
	}
}

// A nonce is demanded, and a staple has none: it is passed over, and whoever
// staples is no worse off for it than whoever does not.
func TestVerifyNonceTakesNoStaple(t *testing.T) {
	w := newWeb(t)
	delete(w.crl, leafList)
	staple := w.staple()
	w.v.Nonce = true
	got := w.judge(staple)
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Source != revocation.FromOCSP || !strings.Contains(text(got), "as presented: no answer: a nonce is demanded") {
		t.Errorf("source %s: %v", got.Source, got.Steps)
	}
	w.noOCSP()
	w.want(w.judge(staple), revocation.Unknown, revocation.CauseUnreachable)
	w.v.Open.Unreachable = true
	w.want(w.judge(staple), revocation.Good, revocation.CauseSoft)
	// Where nobody else could tell, it does not stand for "nobody answered".
	w.holder(func(c *x509.Certificate) { c.OCSPServer, c.CRLDistributionPoints = nil, nil })
	w.want(w.judge(staple), revocation.Unknown, revocation.CauseNoAddress)
}

// A list at hand is measured by the newest that was seen, and measures others.
func TestVerifyListAtHandOlderThanSeen(t *testing.T) {
	w, now := cached(t)
	w.v.Sources = revocation.CRLOnly
	second := w.inner.Leaf(t, ca.NewSerial().Int(), 3)
	numbered := func(n int64) []byte { return w.inner.CRL(t, w.list(func(l *crl.List) { l.Number = n })) }
	judge := func(cert *x509.Certificate, lists ...[]byte) revocation.Verification {
		return w.v.Judge(t.Context(), revocation.Presented{Certificate: cert, Issuers: []*x509.Certificate{w.inner.Cert}, CRLs: lists})
	}
	older := numbered(1)
	w.crl[leafList] = numbered(2)
	w.want(judge(w.leaf), revocation.Good, revocation.CauseGood)
	got := judge(w.leaf, older)
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Source != revocation.FromCache || !strings.Contains(text(got), "number is 1, and number 2 has been seen") {
		t.Errorf("source %s: %v", got.Source, got.Steps)
	}
	// Number 3 was at hand for one of them: neither the kept number 2 nor the one
	// that is still fetched there is believed for the other.
	got = judge(second, numbered(3))
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Source != revocation.FromCRL {
		t.Errorf("source %s: %v", got.Source, got.Steps)
	}
	w.want(judge(w.leaf), revocation.Unknown, revocation.CauseUnbelievable)
	w.crl[leafList] = numbered(4)
	*now = now.Add(2 * time.Minute)
	w.want(judge(w.leaf), revocation.Good, revocation.CauseGood)
	// Two lists of one number: the later one.
	w.crl[leafList] = w.inner.CRL(t, w.list(func(l *crl.List) { l.Number, l.ThisUpdate = 4, l.ThisUpdate.Add(-time.Minute) }))
	*now = now.Add(2 * time.Minute)
	got = judge(w.leaf)
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Source != revocation.FromCache || !strings.Contains(text(got), "number 4 has been seen with a later thisUpdate") {
		t.Errorf("source %s: %v", got.Source, got.Steps)
	}
	// It has not taken the place of what is kept, which serves when nobody answers.
	delete(w.crl, leafList)
	w.want(judge(w.leaf), revocation.Good, revocation.CauseGood)
}

// A demanded age is about lists too where they stand for answers: or keeping answers
// back would have a list of yesterday believed.
func TestVerifyMaxAgeOfLists(t *testing.T) {
	w := newWeb(t)
	w.v.MaxAge = 30 * time.Minute
	w.noOCSP()
	w.want(w.judge(), revocation.Unknown, revocation.CauseStale) // made an hour ago
	w.crl[leafList] = w.inner.CRL(t, w.list(func(l *crl.List) { l.ThisUpdate = revtest.Start.Add(-29 * time.Minute) }))
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	// The root's list is a month old: nobody else tells the status of a CA.
	w.holder(func(c *x509.Certificate) { c.OCSPServer = nil })
	w.crl[leafList] = w.inner.CRL(t, w.list(nil))
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
}
