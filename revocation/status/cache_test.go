package status_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/status"
)

// reader is a state in memory that is read as the store is, and can be held up.
type reader struct {
	mu      sync.Mutex
	states  map[ca.Serial]*revocation.Entry // nil: good
	reads   int
	err     error
	between func() // called after the state was read and before it is told
}

func (r *reader) Status(_ context.Context, issuer ca.IssuerID, serial ca.Serial) (bool, *revocation.Entry, error) {
	r.mu.Lock()
	r.reads++
	entry, released := r.states[serial]
	err, between := r.err, r.between
	r.mu.Unlock()
	if between != nil {
		between()
	}
	return released, entry, err
}

func (r *reader) set(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

// counter is a counter with a cache over a reader, for two issuers.
type counter struct {
	*reader
	*status.Responder
	person, other *revtest.Authority
	clock         atomic.Int64
	failed        []error
}

func (c *counter) now() time.Time         { return time.Unix(0, c.clock.Load()).UTC() }
func (c *counter) pass(d time.Duration)   { c.clock.Add(int64(d)) }
func (c *counter) size() (int, uint64)    { return c.Cache.Size() }
func (c *counter) readings() (n int)      { c.set(func() { n = c.reads }); return n }
func (c *counter) between(between func()) { c.set(func() { c.reader.between = between }) }

func newCounter(t testing.TB, budget uint64) *counter {
	t.Helper()
	c := &counter{reader: &reader{states: map[ca.Serial]*revocation.Entry{}}, person: revtest.NewAuthority(t, revtest.Person, nil), other: revtest.NewAuthority(t, revtest.Another, nil)}
	c.clock.Store(revtest.Start.UnixNano())
	signers := new(status.Signers)
	for _, a := range []*revtest.Authority{c.person, c.other} {
		if err := signers.Set(a.ID, a.Responder(t)); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := status.NewCache(budget, signers)
	if err != nil {
		t.Fatal(err)
	}
	c.Responder = &status.Responder{Reader: c.reader, Signers: signers, Now: c.now, Cache: cache, Failed: func(err error) { c.failed = append(c.failed, err) }}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Wait)
	return c
}

// good returns a new released certificate.
func (c *counter) good() ca.Serial {
	serial := ca.NewSerial()
	c.set(func() { c.states[serial] = nil })
	return serial
}

// commit writes that a serial is revoked, and returns the entry.
func (c *counter) commit(serial ca.Serial) []revocation.Entry {
	e := revtest.NewEntry(revtest.Person, 0, ca.KeyCompromise)
	e.Serial = serial
	c.set(func() { c.states[serial] = &e })
	return []revocation.Entry{e}
}

// ask returns the status that is answered.
func (c *counter) ask(t testing.TB, serial ca.Serial, hash crypto.Hash) (int, *status.Answer) {
	t.Helper()
	a, err := c.Reply(context.Background(), status.Question{DER: request(t, c.person, serial, hash)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ocsp.ParseResponseForCert(a.DER, &x509.Certificate{SerialNumber: serial.Int()}, c.person.Cert)
	if err != nil {
		t.Fatal(err)
	}
	return got.Status, a
}

// An answer is made once for each form of its CertID, and given until half its life;
// then it is made anew beside who finds it; past its end nobody is given it.
func TestCache(t *testing.T) {
	c := newCounter(t, 1<<20)
	serial := c.good()
	_, first := c.ask(t, serial, crypto.SHA1)
	c.pass(30*time.Minute - time.Second)
	if _, again := c.ask(t, serial, crypto.SHA1); again != first || c.readings() != 1 {
		t.Errorf("the answer was made %d times before half its life", c.readings())
	}
	if _, other := c.ask(t, serial, crypto.SHA256); bytes.Equal(other.DER, first.DER) || c.readings() != 2 {
		t.Error("another CertID has the same answer")
	}
	c.pass(time.Second)
	if _, half := c.ask(t, serial, crypto.SHA1); half != first {
		t.Error("who finds it at half its life waits for a new one")
	}
	c.Wait()
	_, renewed := c.ask(t, serial, crypto.SHA1)
	if renewed == first || !renewed.NextUpdate.Equal(first.NextUpdate.Add(30*time.Minute)) || c.readings() != 3 {
		t.Errorf("at half its life it was not made anew: until %v, %d readings", renewed.NextUpdate, c.readings())
	}
	c.set(func() { c.err = errors.New("away") })
	c.pass(time.Hour - time.Nanosecond)
	if _, last := c.ask(t, serial, crypto.SHA1); last != renewed {
		t.Error("the last moment of an answer is not used")
	}
	c.Wait()
	c.pass(time.Nanosecond)
	a, err := c.Reply(t.Context(), status.Question{DER: request(t, c.person, serial, crypto.SHA1)})
	if err == nil || !bytes.Equal(a.DER, ca.OCSPError(ca.OCSPTryLater)) || a.Cacheable {
		t.Errorf("past nextUpdate and without database: %x, %v", a.DER, err)
	}
	if len(c.failed) == 0 {
		t.Error("nobody was told that the answer could not be renewed")
	}
	if s := c.Stats(); s.Hits != 4 || s.Misses != 3 || s.Renewed != 1 || s.Signed != 3 {
		t.Errorf("counted %+v", s)
	}
}

// While the database is away, one in five seconds tries to renew an answer, and
// everybody is given the old one.
func TestCacheRenewsOneAtATime(t *testing.T) {
	c := newCounter(t, 1<<20)
	serial := c.good()
	c.ask(t, serial, crypto.SHA1)
	c.pass(31 * time.Minute)
	c.set(func() { c.err = errors.New("away") })
	hold := make(chan struct{})
	c.between(func() { <-hold })
	for range 10 {
		c.ask(t, serial, crypto.SHA1)
	}
	close(hold)
	c.Wait()
	if n := c.readings(); n != 2 {
		t.Errorf("%d readings, want the first and one to renew it", n)
	}
	c.ask(t, serial, crypto.SHA1)
	c.Wait()
	c.pass(5 * time.Second)
	c.ask(t, serial, crypto.SHA1)
	c.Wait()
	if n := c.readings(); n != 3 {
		t.Errorf("%d readings five seconds after a failure", n)
	}
}

// No other way to ask makes another entry: what can be left out or added is not part
// of the key. unknown and answers with a nonce are not kept at all.
func TestCacheKeys(t *testing.T) {
	c := newCounter(t, 1<<20)
	serial := c.good()
	sha1, sha256 := request(t, c.person, serial, crypto.SHA1), request(t, c.person, serial, crypto.SHA256)
	type one struct{ ID asn1.RawValue }
	type extension struct {
		ID    asn1.ObjectIdentifier
		Value []byte
	}
	var version, name, extended, signed []byte
	id := func(der []byte) []one {
		parsed, err := ca.ParseOCSPRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		return []one{{asn1.RawValue{FullBytes: parsed.CertIDs[0].Raw}}}
	}
	marshal := func(v any) []byte {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	raw := func(b ...byte) asn1.RawValue { return asn1.RawValue{FullBytes: b} }
	version = marshal(struct{ TBS any }{struct {
		Version asn1.RawValue
		List    []one
	}{raw(0xa0, 3, 2, 1, 0), id(sha1)}})
	name = marshal(struct{ TBS any }{struct {
		Name asn1.RawValue
		List []one
	}{raw(0xa1, 4, 0x82, 2, 'm', 'e'), id(sha1)}})
	extended = marshal(struct{ TBS any }{struct {
		List       []one
		Extensions []extension `asn1:"explicit,tag:2"`
	}{id(sha1), []extension{{asn1.ObjectIdentifier{1, 2, 3}, []byte{5, 0}}}}})
	signed = marshal(struct{ TBS, Signature any }{struct{ List []one }{id(sha1)}, raw(0xa0, 2, 0x30, 0)})
	absent := func(der []byte) []byte { // the hash's parameters
		raw := id(der)[0].ID.FullBytes
		at := bytes.Index(raw, []byte{5, 0, 4})
		raw = append(bytes.Clone(raw[:at]), raw[at+2:]...)
		raw[1] -= 2
		raw[3] -= 2
		return marshal(struct{ TBS any }{struct{ List []one }{[]one{{asn1.RawValue{FullBytes: raw}}}}})
	}
	for name, der := range map[string][]byte{"SHA-1": sha1, "written version": version, "named": name, "extended": extended, "signed": signed,
		"SHA-256": sha256, "SHA-1 without parameters": absent(sha1), "SHA-256 without parameters": absent(sha256)} {
		var last *status.Answer
		for i := range 2 {
			a, err := c.Reply(t.Context(), status.Question{DER: der})
			if err != nil || !a.Cacheable {
				t.Fatalf("%s: %x, %v", name, a.DER, err)
			}
			if i == 1 && a != last {
				t.Errorf("%s: made twice", name)
			}
			last = a
			asked, err := ca.ParseOCSPRequest(der)
			if err != nil || !bytes.Contains(a.DER, asked.CertIDs[0].Raw) {
				t.Errorf("%s: the CertID is not repeated as it was sent: %v", name, err)
			}
		}
	}
	if n, octets := c.size(); n != 4 || octets == 0 || c.readings() != 4 {
		t.Errorf("%d entries of %d octets and %d readings for one certificate, want 4", n, octets, c.readings())
	}
	for range 5 {
		if _, err := c.Reply(t.Context(), status.Question{DER: many(t, []byte("nonce"), sha1)}); err != nil {
			t.Fatal(err)
		}
		c.ask(t, ca.NewSerial(), crypto.SHA1)
		if _, err := c.Reply(t.Context(), status.Question{DER: many(t, nil, sha1, sha256)}); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := c.size(); n != 4 {
		t.Errorf("%d entries after what must not be kept", n)
	}
	// Under another issuer's name the same serial is another certificate, unknown.
	a, err := c.Reply(t.Context(), status.Question{DER: request(t, c.other, serial, crypto.SHA1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ocsp.ParseResponse(a.DER, c.other.Cert); err != nil {
		t.Errorf("the other issuer's signer did not answer: %v", err)
	}
}

// Once Revoked has returned nobody is told good, in whatever form it is asked.
func TestRevokedRemoves(t *testing.T) {
	c := newCounter(t, 1<<20)
	serial, neighbour := c.good(), c.good()
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		c.ask(t, serial, hash)
	}
	_, kept := c.ask(t, neighbour, crypto.SHA1)
	c.Cache.Revoked(c.commit(serial))
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		if got, _ := c.ask(t, serial, hash); got != ocsp.Revoked {
			t.Errorf("%v: status %d", hash, got)
		}
	}
	if got, a := c.ask(t, neighbour, crypto.SHA1); got != ocsp.Good || a != kept {
		t.Error("another's answer went with it")
	}
	// A graver reason takes the place of the first.
	graver := c.commit(serial)
	graver[0].Version, graver[0].Reason = 2, ca.CACompromise
	c.set(func() { c.states[serial] = &graver[0] })
	c.Cache.Revoked(graver)
	_, a := c.ask(t, serial, crypto.SHA1)
	if got, err := ocsp.ParseResponse(a.DER, c.person.Cert); err != nil || got.RevocationReason != ocsp.CACompromise {
		t.Errorf("%+v, %v", got, err)
	}
	// An issuer that nobody has signed for is no reason to fail.
	c.Cache.Revoked([]revocation.Entry{{Issuer: "nobody", Serial: ca.NewSerial()}})
}

// The dangerous order: a miss has read that the certificate is good; then the
// revocation is committed, and the cache is told, and has nothing to remove; then the
// miss goes on. What it read must neither be told nor kept. The same for one who makes
// an answer anew.
func TestRevokedWhileAnswering(t *testing.T) {
	for _, renewal := range []bool{false, true} {
		c := newCounter(t, 1<<20)
		serial := c.good()
		if renewal {
			c.ask(t, serial, crypto.SHA1)
			c.pass(31 * time.Minute)
		}
		read, told := make(chan struct{}), make(chan struct{})
		var once sync.Once
		c.between(func() {
			once.Do(func() {
				close(read)
				<-told
			})
		})
		got := make(chan int, 1)
		go func() {
			answer, _ := c.ask(t, serial, crypto.SHA1)
			got <- answer
		}()
		<-read
		c.Cache.Revoked(c.commit(serial)) // returns before the miss goes on
		close(told)
		if answer := <-got; answer != ocsp.Revoked && !renewal {
			t.Errorf("the miss told %d", answer)
		}
		c.Wait()
		if answer, _ := c.ask(t, serial, crypto.SHA1); answer != ocsp.Revoked {
			t.Errorf("renewal %v: afterwards the cache tells %d", renewal, answer)
		}
		if s := c.Stats(); !renewal && s.Signed != 2 {
			t.Errorf("%d signatures, want one for each reading", s.Signed)
		}
	}
}

// The same with the signer in the place of the certificate: a miss has begun under one
// that is then revoked and replaced. What it signs is neither kept nor told.
func TestSignerReplacedWhileAnswering(t *testing.T) {
	c := newCounter(t, 1<<20)
	signer := func(a *status.Answer) *x509.Certificate {
		t.Helper()
		got, err := ocsp.ParseResponse(a.DER, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Certificate
	}
	serial, other := c.good(), c.good()
	_, was := c.ask(t, other, crypto.SHA1)
	old := signer(was)
	replace := func() {
		var once sync.Once
		c.between(func() {
			once.Do(func() {
				c.person.OCSPCert = c.person.Signer(t, c.person.OCSPKey, func(*x509.Certificate) {})
				if err := c.Signers.Set(c.person.ID, c.person.Responder(t)); err != nil {
					t.Error(err)
				}
				c.Cache.Clear()
			})
		})
	}
	replace()
	_, first := c.ask(t, serial, crypto.SHA1)
	for _, s := range []ca.Serial{serial, other} {
		if _, a := c.ask(t, s, crypto.SHA1); signer(a).Equal(old) {
			t.Error("the cache has what the signer before has signed")
		}
	}
	if signer(first).Equal(old) {
		t.Error("who was waiting was given the answer of the signer before")
	}
	// Who asks with a nonce waits for the database too.
	current := signer(first)
	replace()
	a, err := c.Reply(t.Context(), status.Question{DER: many(t, []byte("nonce"), request(t, c.person, serial, crypto.SHA1))})
	if err != nil || signer(a).Equal(current) {
		t.Errorf("an answer with a nonce is of the signer before, %v", err)
	}
}

// As above with many at once: a miss for each serial and its revocation, in any order.
func TestRevokedRace(t *testing.T) {
	c := newCounter(t, 1<<20)
	serials := make([]ca.Serial, 50)
	for i := range serials {
		serials[i] = c.good()
	}
	requests := map[ca.Serial][]byte{}
	for _, s := range serials {
		requests[s] = request(t, c.person, s, crypto.SHA1)
	}
	c.between(runtime.Gosched)
	var wg sync.WaitGroup
	for _, serial := range serials {
		for range 3 {
			wg.Go(func() {
				for range 5 {
					if _, err := c.Reply(context.Background(), status.Question{DER: requests[serial]}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			c.Cache.Revoked(c.commit(serial))
			if got, _ := c.ask(t, serial, crypto.SHA1); got != ocsp.Revoked {
				t.Errorf("status %d after Revoked", got)
			}
		})
	}
	wg.Wait()
	for _, serial := range serials {
		if got, _ := c.ask(t, serial, crypto.SHA1); got != ocsp.Revoked {
			t.Errorf("status %d in the end", got)
		}
	}
}

// Where revocations never stop beside it, an answer is given up rather than told old.
func TestRevokedWithoutEnd(t *testing.T) {
	c := newCounter(t, 1<<20)
	serial := c.good()
	entry := []revocation.Entry{{Issuer: revtest.Person, Serial: serial}}
	c.between(func() { c.Cache.Revoked(entry) })
	a, err := c.Reply(t.Context(), status.Question{DER: request(t, c.person, serial, crypto.SHA1)})
	if err == nil || !bytes.Equal(a.DER, ca.OCSPError(ca.OCSPTryLater)) {
		t.Errorf("%x, %v", a.DER, err)
	}
	if n, _ := c.size(); n != 0 {
		t.Error("and it is kept")
	}
}

// A certificate that the store no longer knows, after a restore say, is not called
// good from memory for longer than until the answer is made anew.
func TestCacheForgets(t *testing.T) {
	c := newCounter(t, 1<<20)
	serial := c.good()
	c.ask(t, serial, crypto.SHA1)
	c.set(func() { delete(c.states, serial) })
	c.pass(31 * time.Minute)
	c.ask(t, serial, crypto.SHA1)
	c.Wait()
	if got, _ := c.ask(t, serial, crypto.SHA1); got != ocsp.Unknown {
		t.Errorf("status %d", got)
	}
}

// The budget holds, and what the cache thinks that an entry weighs is what it weighs.
func TestCacheWeighs(t *testing.T) {
	const budget = 8 << 20
	c := newCounter(t, budget)
	all := status.Responder{Reader: everything{}, Signers: c.Signers, Now: c.now, Cache: c.Cache}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	template := request(t, c.person, ca.NewSerial(), crypto.SHA1)
	fill := func(n int) {
		for range n {
			serial := ca.NewSerial()
			copy(template[len(template)-16:], serial[:])
			if _, err := all.Reply(t.Context(), status.Question{DER: template}); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(4000)
	used := heap() - before
	entries, weight := c.size()
	if entries != 4000 || weight > budget {
		t.Fatalf("%d entries of %d octets", entries, weight)
	}
	t.Logf("%d octets an entry on the heap, %d by the cache's own counting", used/4000, weight/4000)
	if ratio := float64(used) / float64(weight); ratio < 0.75 || ratio > 1.25 {
		t.Errorf("%d entries take %d octets, the cache thinks %d", entries, used, weight)
	}
	fill(8000)
	if entries, weight = c.size(); weight > budget {
		t.Errorf("%d entries of %d octets, more than the budget", entries, weight)
	}
	runtime.KeepAlive(c)
}

type everything struct{}

func (everything) Status(context.Context, ca.IssuerID, ca.Serial) (bool, *revocation.Entry, error) {
	return true, nil, nil
}

func TestNewCacheRefuses(t *testing.T) {
	if _, err := status.NewCache(0, new(status.Signers)); err == nil {
		t.Error("a cache without budget")
	}
	if _, err := status.NewCache(1<<20, nil); err == nil {
		t.Error("a cache without signers")
	}
	c := newCounter(t, 1<<20)
	r := &status.Responder{Reader: c.reader, Signers: new(status.Signers), Now: c.now, Cache: c.Cache}
	if err := r.Check(); err == nil {
		t.Error("a cache of other signers")
	}
}

// A hit makes nothing on the heap, so that it costs what a table look-up costs.
func TestHitAllocatesNothing(t *testing.T) {
	c := newCounter(t, 1<<20)
	serial := c.good()
	c.ask(t, serial, crypto.SHA1)
	q := status.Question{DER: request(t, c.person, serial, crypto.SHA1), From: "192.0.2.1:1234"}
	if n := testing.AllocsPerRun(100, func() { c.Reply(context.Background(), q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHit(b *testing.B) {
	c := newCounter(b, 1<<20)
	serial := c.good()
	c.ask(b, serial, crypto.SHA1)
	q := status.Question{DER: request(b, c.person, serial, crypto.SHA1)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Reply(context.Background(), q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMiss(b *testing.B) {
	c := newCounter(b, 64<<20)
	all := status.Responder{Reader: everything{}, Signers: c.Signers, Now: c.now, Cache: c.Cache, Gate: status.NewGate(8, 100)}
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		der := request(b, c.person, ca.NewSerial(), crypto.SHA1)
		for p.Next() {
			serial := ca.NewSerial()
			copy(der[len(der)-16:], serial[:])
			if _, err := all.Reply(context.Background(), status.Question{DER: der}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
