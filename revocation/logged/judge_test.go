package logged_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"

	"sigill/ca"
	"sigill/internal/checkpoint"
	"sigill/internal/revtest"
	"sigill/revocation/logged"
)

const origin = "status.example.test/log/certificates"

// scene is a certificate that is promised in a log and has not got its SCT yet.
type scene struct {
	t        testing.TB
	issuer   *revtest.Authority
	cert     *x509.Certificate
	pre      revtest.PreCert
	log      *revtest.Log
	stranger *revtest.Log // which nobody knows here
	w        [3]*checkpoint.Cosigner
	config   logged.Config
	now      time.Time
	fetch    logged.Fetch
	proofs   [][]byte
}

func newScene(t testing.TB) *scene {
	s := &scene{t: t, issuer: revtest.NewAuthority(t, revtest.Person, nil), now: revtest.Start,
		log: revtest.NewLog(t, origin), stranger: revtest.NewLog(t, "stranger.example/log")}
	s.cert = s.issuer.Leaf(t, ca.NewSerial().Int(), 3)
	s.pre = revtest.PreCert{TBS: s.cert.RawTBSCertificate, Issuer: s.issuer.Cert, At: revtest.Start.Add(-time.Hour)}
	for i, name := range []string{"one.example", "two.example", "three.example"} {
		s.w[i] = revtest.NewCosigner(t, name)
		if i < 2 {
			s.config.Witnesses = append(s.config.Witnesses, s.w[i].Witness())
		}
	}
	s.config.Logs = []logged.Log{{Log: s.log.Log}}
	return s
}

func (s *scene) judge() *logged.Judge {
	s.t.Helper()
	j, err := logged.New(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	return j
}

func (s *scene) with(list []byte) logged.Question {
	return logged.Question{Certificate: revtest.Embed(s.t, s.cert, s.issuer.Key, list), Issuer: s.issuer.Cert, Proofs: s.proofs, Now: s.now, Skew: time.Minute, Fetch: s.fetch}
}

func (s *scene) sct(change func(*ct.SignedCertificateTimestamp)) []byte {
	sct := s.log.SCT(s.pre)
	if change != nil {
		change(&sct)
	}
	return revtest.Octets(s.t, sct)
}

// promised is the question about the certificate with its honest SCT.
func (s *scene) promised() logged.Question {
	return s.with(revtest.SCTList(s.t, s.sct(nil)))
}

// fill puts the certificate's leaf among others into the log and returns its index.
func (s *scene) fill() int64 {
	for i := range 5 {
		s.log.Add([32]byte{byte(i)})
	}
	index := s.log.Add(s.pre.Leaf(s.t))
	s.log.Add([32]byte{9})
	return index
}

func (s *scene) want(f logged.Finding, state logged.State, says string) {
	s.t.Helper()
	text := f.Why
	for _, p := range f.Promises {
		text += "\n" + p.String()
	}
	if f.State != state || !strings.Contains(text, says) {
		s.t.Errorf("%q, want %q and %q in:\n%s", f.State, state, says, text)
	}
}

func TestPromises(t *testing.T) {
	other := func(s *scene) revtest.PreCert {
		pre := s.pre
		pre.TBS = s.issuer.Leaf(s.t, ca.NewSerial().Int(), 3).RawTBSCertificate
		return pre
	}
	at := func(offset time.Duration) func(s *scene) []byte {
		return func(s *scene) []byte {
			s.pre.At = s.now.Add(offset)
			return revtest.SCTList(s.t, s.sct(nil))
		}
	}
	// over is a list of one SCT that says something else than it was signed for.
	over := func(change func(*ct.SignedCertificateTimestamp)) func(s *scene) []byte {
		return func(s *scene) []byte { return revtest.SCTList(s.t, s.sct(change)) }
	}
	for _, c := range []struct {
		name  string
		list  func(s *scene) []byte
		state logged.State
		says  string
	}{
		{"honest", over(nil), logged.Promised, origin + " promised at 2026-03-14T08:26:53Z to show the certificate; that it does is not proved"},
		{"with extensions", func(s *scene) []byte {
			s.pre.Extensions = []byte{0, 0, 5, 0, 0, 0, 0, 7}
			return revtest.SCTList(s.t, s.sct(nil))
		}, logged.Promised, "promised"},
		{"of another certificate", func(s *scene) []byte { return revtest.SCTList(s.t, revtest.Octets(s.t, s.log.SCT(other(s)))) }, logged.Refused, "did not sign it"},
		{"of another issuer's", func(s *scene) []byte {
			s.pre.Issuer = revtest.NewAuthority(s.t, revtest.Person, nil).Cert
			return revtest.SCTList(s.t, s.sct(nil))
		}, logged.Refused, "did not sign it"},
		{"of another time", over(func(sct *ct.SignedCertificateTimestamp) { sct.Timestamp++ }), logged.Refused, "did not sign it"},
		{"with other extensions", over(func(sct *ct.SignedCertificateTimestamp) { sct.Extensions = []byte{1} }), logged.Refused, "did not sign it"},
		{"of an unknown log", func(s *scene) []byte { return revtest.SCTList(s.t, revtest.Octets(s.t, s.stranger.SCT(s.pre))) }, logged.Unchecked, "not known here"},
		{"in a known log's name", func(s *scene) []byte {
			sct := s.stranger.SCT(s.pre)
			sct.LogID = ct.LogID{KeyID: s.log.ID()}
			return revtest.SCTList(s.t, revtest.Octets(s.t, sct))
		}, logged.Refused, "did not sign it"},
		{"by SHA-1", func(s *scene) []byte {
			sct := s.log.SCT(s.pre)
			sum := sha1.Sum(inputOf(s.t, sct, s.pre))
			sct.Signature.Algorithm.Hash = tls.SHA1
			var err error
			if sct.Signature.Signature, err = s.log.Key.Sign(nil, sum[:], crypto.SHA1); err != nil {
				s.t.Fatal(err)
			}
			return revtest.SCTList(s.t, revtest.Octets(s.t, sct))
		}, logged.Refused, "not signed by SHA-256 and ECDSA"},
		{"octets behind the signature", over(func(sct *ct.SignedCertificateTimestamp) {
			sct.Signature.Signature = append(sct.Signature.Signature, 0)
		}), logged.Refused, "did not sign it"},
		{"octets behind the SCT", func(s *scene) []byte { return revtest.SCTList(s.t, append(s.sct(nil), 0)) }, logged.Refused, "something is behind it"},
		{"cut off", func(s *scene) []byte { return revtest.SCTList(s.t, s.sct(nil)[:50]) }, logged.Refused, "it cannot be read"},
		{"one octet", func(s *scene) []byte { return revtest.SCTList(s.t, []byte{0}) }, logged.Refused, "it cannot be read"},
		{"of version 2", func(s *scene) []byte { return revtest.SCTList(s.t, append([]byte{1}, s.sct(nil)[1:]...)) }, logged.Unchecked, "another version"},
		{"of the near future", at(30 * time.Second), logged.Promised, "promised"},
		{"of the future", at(2 * time.Minute), logged.Refused, "has not come: the log's clock is ahead of ours by 2m0s"},
		{"of no time", over(func(sct *ct.SignedCertificateTimestamp) { sct.Timestamp = 1 << 63 }), logged.Refused, "out of range"},
		{"twice", func(s *scene) []byte {
			sct := s.sct(nil)
			return revtest.SCTList(s.t, sct, sct)
		}, logged.Promised, "it stands there already"},
		{"beside an unknown one", func(s *scene) []byte {
			return revtest.SCTList(s.t, revtest.Octets(s.t, s.stranger.SCT(s.pre)), s.sct(nil))
		}, logged.Promised, "not known here"},
		{"beside a forged one", func(s *scene) []byte {
			return revtest.SCTList(s.t, s.sct(func(sct *ct.SignedCertificateTimestamp) { sct.Timestamp++ }), s.sct(nil))
		}, logged.Promised, "did not sign it"},
		{"forged ones only", func(s *scene) []byte {
			forged := s.sct(func(sct *ct.SignedCertificateTimestamp) { sct.Timestamp++ })
			return revtest.SCTList(s.t, revtest.Octets(s.t, s.stranger.SCT(s.pre)), forged)
		}, logged.Refused, "did not sign it"},
		{"too many", func(s *scene) []byte {
			var many [][]byte
			for i := range 17 {
				many = append(many, []byte{1, byte(i)})
			}
			return revtest.SCTList(s.t, append(many, s.sct(nil))...)
		}, logged.Refused, "18 timestamps, more than"},
		{"an empty list", func(*scene) []byte { return []byte{0, 0} }, logged.Refused, "cannot be read"},
		{"an empty SCT", func(*scene) []byte { return []byte{0, 2, 0, 0} }, logged.Refused, "cannot be read"},
		{"no list", func(*scene) []byte { return nil }, logged.Refused, "cannot be read"},
		{"a list cut off", func(s *scene) []byte { return bytes.TrimSuffix(revtest.SCTList(s.t, append(s.sct(nil), 7)), []byte{7}) }, logged.Refused, "cannot be read"},
		{"octets behind the list", func(s *scene) []byte { return append(revtest.SCTList(s.t, s.sct(nil)), 0) }, logged.Refused, "something behind it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.want(s.judge().Judge(t.Context(), s.with(c.list(s))), c.state, c.says)
		})
	}
}

func inputOf(t testing.TB, sct ct.SignedCertificateTimestamp, pre revtest.PreCert) []byte {
	t.Helper()
	sct.SCTVersion = ct.V1
	leaf := pre.Entry()
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: leaf})
	if err != nil {
		t.Fatal(err)
	}
	return input
}

// Where nothing can be checked, that is said, and no demand is met.
func TestUnchecked(t *testing.T) {
	s := newScene(t)
	q := s.promised()
	var nobody *logged.Judge
	s.want(nobody.Judge(t.Context(), q), logged.Unchecked, "no log is known here")
	alone := q
	alone.Issuer = nil
	s.want(s.judge().Judge(t.Context(), alone), logged.Unchecked, "issuer")
	alone.Certificate = s.cert
	s.want(s.judge().Judge(t.Context(), alone), logged.Absent, "")
	s.config.Logs = nil
	s.want(s.judge().Judge(t.Context(), q), logged.Unchecked, "no log is known here")
}

func TestDemands(t *testing.T) {
	states := []logged.State{"", logged.Absent, logged.Unchecked, logged.Refused, logged.Promised, logged.Included, logged.Logged}
	for i, s := range states {
		if !s.Meets(logged.DemandNone) || s.Meets(logged.DemandSCT) != (i >= 4) || s.Meets(logged.DemandLogged) != (i == 6) {
			t.Errorf("%q meets: %v, %v, %v", s, s.Meets(logged.DemandNone), s.Meets(logged.DemandSCT), s.Meets(logged.DemandLogged))
		}
	}
}

func TestProofs(t *testing.T) {
	cosigned := func(who ...int) func(s *scene, i int64) [][]byte {
		return func(s *scene, i int64) [][]byte {
			var w []*checkpoint.Cosigner
			for _, n := range who {
				w = append(w, s.w[n])
			}
			return [][]byte{s.log.Proof(i, s.log.Head(s.now, w...))}
		}
	}
	// thief makes a log of the same key for himself, with other leaves.
	thief := func(s *scene) *revtest.Log {
		l := *revtest.NewLog(s.t, origin)
		l.Log, l.Key = s.log.Log, s.log.Key
		return &l
	}
	for _, c := range []struct {
		name   string
		quorum int
		proofs func(s *scene, index int64) [][]byte
		state  logged.State
		says   string
	}{
		{"both witnesses", 0, cosigned(0, 1), logged.Logged, "logged: entry 5 of 7 under the tree head of 2026-03-14T09:26:53Z, cosigned by one.example, two.example (proof presented)"},
		{"one of one", 1, cosigned(1), logged.Logged, "cosigned by two.example"},
		{"one of two", 0, cosigned(0), logged.Included, "1 of the 2 witnesses that are known have cosigned it, and 2 are demanded"},
		{"nobody", 1, cosigned(), logged.Included, "included, not witnessed"},
		{"a stranger", 1, cosigned(2), logged.Included, "0 of the 2 witnesses"},
		{"none", 0, func(*scene, int64) [][]byte { return nil }, logged.Promised, "no proof came along, and none was fetched"},
		{"a fork that nobody has seen", 1, func(s *scene, _ int64) [][]byte {
			l := thief(s)
			return [][]byte{l.Proof(l.Add(s.pre.Leaf(s.t)), l.Head(s.now))}
		}, logged.Included, "0 of the 2 witnesses"},
		{"another head's cosignature", 1, func(s *scene, i int64) [][]byte {
			l := thief(s)
			l.Add(s.pre.Leaf(s.t))
			honest := bytes.SplitAfter(s.log.Head(s.now, s.w[0]), []byte("\n"))
			forged := append(l.Head(s.now), honest[len(honest)-2]...)
			return [][]byte{l.Proof(0, forged)}
		}, logged.Promised, "the signature in the name of one.example is false"},
		{"of another leaf", 1, func(s *scene, _ int64) [][]byte { return cosigned(0, 1)(s, 3) }, logged.Promised, "leaf 3 of 7 is not proved"},
		{"of another time", 1, func(s *scene, _ int64) [][]byte {
			pre := s.pre
			pre.At = pre.At.Add(time.Millisecond)
			i := s.log.Add(pre.Leaf(s.t))
			return cosigned(0, 1)(s, i)
		}, logged.Promised, "is not proved"},
		{"of another log", 1, func(s *scene, _ int64) [][]byte {
			i := s.stranger.Add(s.pre.Leaf(s.t))
			return [][]byte{s.stranger.Proof(i, s.stranger.Head(s.now, s.w[0], s.w[1]))}
		}, logged.Promised, "not signed by whom it should be"},
		{"of the near future", 0, func(s *scene, i int64) [][]byte {
			return [][]byte{s.log.Proof(i, s.log.Head(s.now.Add(30*time.Second), s.w[0], s.w[1]))}
		}, logged.Logged, ""},
		{"of the future", 0, func(s *scene, i int64) [][]byte {
			return [][]byte{s.log.Proof(i, s.log.Head(s.now.Add(time.Hour), s.w[0], s.w[1]))}
		}, logged.Promised, "tree head is of 2026-03-14T10:26:53Z, which has not come"},
		{"cut off", 0, func(s *scene, i int64) [][]byte { return [][]byte{cosigned(0, 1)(s, i)[0][:100]} }, logged.Promised, "proof"},
		{"rubbish, then a good one", 0, func(s *scene, i int64) [][]byte {
			return append([][]byte{nil, []byte("x")}, cosigned(0, 1)(s, i)...)
		}, logged.Logged, ""},
		{"a poor one, then a good one", 0, func(s *scene, i int64) [][]byte {
			return append(cosigned(0)(s, i), cosigned(0, 1)(s, i)...)
		}, logged.Logged, ""},
		{"more than is read", 0, func(s *scene, i int64) [][]byte { return append(make([][]byte, 16), cosigned(0, 1)(s, i)...) }, logged.Promised, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.config.Quorum = c.quorum
			q := s.promised()
			q.Proofs = c.proofs(s, s.fill())
			s.want(s.judge().Judge(t.Context(), q), c.state, c.says)
		})
	}
}

// Without witnesses a log alone says what it likes to each: that is never proof.
func TestWithoutWitnesses(t *testing.T) {
	s := newScene(t)
	s.config.Witnesses = nil
	s.proofs = [][]byte{s.log.Proof(s.fill(), s.log.Head(s.now, s.w[0]))}
	s.want(s.judge().Judge(t.Context(), s.promised()), logged.Included, "0 of the 0 witnesses that are known have cosigned it, and 1 are demanded")
}

// The leaf has the extensions of its SCT in it (RFC 6962, 3.4).
func TestLeafHasExtensions(t *testing.T) {
	s := newScene(t)
	s.pre.Extensions = []byte{0, 0, 5, 0, 0, 0, 0, 7}
	s.proofs = [][]byte{s.log.Proof(s.fill(), s.log.Head(s.now, s.w[0], s.w[1]))}
	s.want(s.judge().Judge(t.Context(), s.promised()), logged.Logged, "")
}

// A refused SCT is nothing that a proof could mend, and the log is not asked about it.
func TestNothingIsFetchedForWhatIsRefused(t *testing.T) {
	s := newScene(t)
	s.proofs = [][]byte{s.log.Proof(s.fill(), s.log.Head(s.now, s.w[0], s.w[1]))}
	s.fetch = func(context.Context, string) ([]byte, time.Duration, error) {
		t.Error("fetched")
		return nil, 0, nil
	}
	forged := s.sct(func(sct *ct.SignedCertificateTimestamp) { sct.Signature.Signature[10] ^= 1 })
	s.want(s.judge().Judge(t.Context(), s.with(revtest.SCTList(t, forged))), logged.Refused, "did not sign it")
}

// served is a log that tells proofs.
type served struct {
	mu    sync.Mutex
	asked []string
	text  []byte
	err   error
}

func (l *served) fetch(_ context.Context, address string) ([]byte, time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, address)
	return l.text, time.Millisecond, l.err
}

func TestFetch(t *testing.T) {
	s := newScene(t)
	l := &served{err: errors.New("connection refused")}
	s.fetch = l.fetch
	j, q, index := s.judge(), s.promised(), s.fill()
	after := func(d time.Duration) logged.Question { q.Now = q.Now.Add(d); return q }
	leaf := s.pre.Leaf(t)
	got := j.Judge(t.Context(), q)
	s.want(got, logged.Promised, "proved nothing: connection refused")
	if want := "http://" + origin + "/proof/" + hex.EncodeToString(leaf[:]); len(l.asked) != 1 || l.asked[0] != want || got.Promises[0].Asked == nil || got.Promises[0].Asked.Address != want {
		t.Fatalf("asked %q, want %q", l.asked, want)
	}
	// It is not asked again at once, what it answered is looked at.
	l.err, l.text = nil, s.log.Proof(index, s.log.Head(s.now, s.w[0]))
	s.want(j.Judge(t.Context(), after(9*time.Second)), logged.Promised, "9s ago the log at http://"+origin+" proved nothing: connection refused")
	s.want(j.Judge(t.Context(), after(time.Second)), logged.Included, "(proof fetched)")
	s.want(j.Judge(t.Context(), q), logged.Included, "(proof kept)")
	// The clock goes backwards: what was kept is of no known age.
	s.want(j.Judge(t.Context(), after(-time.Second)), logged.Included, "(proof fetched)")
	if len(l.asked) != 3 {
		t.Errorf("asked %d times", len(l.asked))
	}
	// Then more witnesses have cosigned, and that stays so.
	l.text = s.log.Proof(index, s.log.Head(s.now, s.w[0], s.w[1]))
	s.want(j.Judge(t.Context(), after(20*time.Second)), logged.Logged, "(proof fetched)")
	l.err = errors.New("down")
	got = j.Judge(t.Context(), after(1000*time.Hour))
	s.want(got, logged.Logged, "(proof kept)")
	if len(l.asked) != 4 || got.Promises[0].Asked != nil {
		t.Errorf("asked %d times", len(l.asked))
	}
	// Another certificate is another leaf.
	s.cert = s.issuer.Leaf(t, ca.NewSerial().Int(), 3)
	s.pre.TBS = s.cert.RawTBSCertificate
	s.want(j.Judge(t.Context(), s.promised()), logged.Promised, "proved nothing: down")
}

// A presented proof spares the question, and is kept like a fetched one.
func TestPresentedIsKept(t *testing.T) {
	s := newScene(t)
	l := &served{}
	s.fetch = l.fetch
	j, q := s.judge(), s.promised()
	q.Proofs = [][]byte{s.log.Proof(s.fill(), s.log.Head(s.now, s.w[0], s.w[1]))}
	s.want(j.Judge(t.Context(), q), logged.Logged, "(proof presented)")
	q.Proofs = nil
	s.want(j.Judge(t.Context(), q), logged.Logged, "(proof kept)")
	if len(l.asked) > 0 {
		t.Errorf("asked %q", l.asked)
	}
}

// What a log answers is held against the leaf that was asked for, whatever it is.
func TestFetchedRubbish(t *testing.T) {
	for name, text := range map[string][]byte{"nothing": nil, "a page": []byte("<html>"), "much": make([]byte, 1<<20)} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.fetch = (&served{text: text}).fetch
			s.want(s.judge().Judge(t.Context(), s.promised()), logged.Promised, "proved nothing")
		})
	}
}

// Of two logs one is enough, and the other is not asked then; each is asked where it is.
func TestSeveralLogs(t *testing.T) {
	s := newScene(t)
	s.config.Logs = append(s.config.Logs, logged.Log{Log: s.stranger.Log, URL: "https://elsewhere.example/x/"})
	first, second := s.log.Proof(s.fill(), s.log.Head(s.now, s.w[0], s.w[1])), []byte(nil)
	var asked []string
	s.fetch = func(_ context.Context, address string) ([]byte, time.Duration, error) {
		asked = append(asked, address)
		if strings.HasPrefix(address, "https://elsewhere.example/x/proof/") {
			return second, 0, nil
		}
		return first, 0, nil
	}
	both := revtest.SCTList(t, revtest.Octets(t, s.stranger.SCT(s.pre)), s.sct(nil))
	got := s.judge().Judge(t.Context(), s.with(both))
	s.want(got, logged.Logged, "stranger.example/log promised")
	if len(asked) != 2 || got.String() != "logged ("+origin+")" {
		t.Errorf("asked %q; %s", asked, got)
	}
	second = s.stranger.Proof(s.stranger.Add(s.pre.Leaf(t)), s.stranger.Head(s.now, s.w[0], s.w[1]))
	asked = nil
	s.want(s.judge().Judge(t.Context(), s.with(both)), logged.Logged, "no proof was looked for")
	if len(asked) != 1 {
		t.Errorf("asked %q", asked)
	}
}

// Many who want one proof ask once; who leaves spoils nothing for the others.
func TestFetchesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		text := s.log.Proof(s.fill(), s.log.Head(s.now, s.w[0], s.w[1]))
		times := 0
		s.fetch = func(ctx context.Context, _ string) ([]byte, time.Duration, error) {
			times++
			select {
			case <-ctx.Done():
				return nil, 0, ctx.Err()
			case <-time.After(time.Minute):
				return text, time.Minute, nil
			}
		}
		j, q := s.judge(), s.promised()
		leaving, leave := context.WithCancel(t.Context())
		left := make(chan logged.Finding)
		go func() { left <- j.Judge(leaving, q) }()
		synctest.Wait()
		states := make(chan logged.State)
		for range 10 {
			go func() { states <- j.Judge(t.Context(), q).State }()
		}
		synctest.Wait()
		leave()
		s.want(<-left, logged.Promised, "asking the log: context canceled")
		for range 10 {
			if got := <-states; got != logged.Logged {
				t.Errorf("%q", got)
			}
		}
		if times != 1 {
			t.Errorf("asked %d times", times)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	s := newScene(t)
	again, err := checkpoint.NewLog("another.example", s.log.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	one := s.w[0].Witness()
	_, key, _ := strings.Cut(one.String(), "+")
	for name, c := range map[string]logged.Config{
		"two logs of one key":    {Logs: []logged.Log{{Log: s.log.Log}, {Log: again}}},
		"two logs of one name":   {Logs: []logged.Log{{Log: s.log.Log}, {Log: revtest.NewLog(t, origin).Log}}},
		"a witness twice":        {Witnesses: []checkpoint.Witness{one, one}},
		"more than there are":    {Witnesses: []checkpoint.Witness{one}, Quorum: 2},
		"less than none":         {Witnesses: []checkpoint.Witness{one}, Quorum: -1},
		"a witness of two names": {Witnesses: []checkpoint.Witness{one, renamed(t, key)}},
	} {
		if _, err := logged.New(c); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	// A witness that changes its key is one witness.
	s.config.Witnesses = []checkpoint.Witness{one, revtest.NewCosigner(t, one.Name()).Witness()}
	s.proofs = [][]byte{s.log.Proof(s.fill(), s.log.Head(s.now, s.w[0]))}
	s.want(s.judge().Judge(t.Context(), s.promised()), logged.Logged, "cosigned by one.example (")
}
