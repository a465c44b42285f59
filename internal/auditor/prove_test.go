package auditor_test

import (
	"context"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
	"golang.org/x/mod/sumdb/tlog"

	"crypto"
	"crypto/rand"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/auditor"
	"sigill/internal/auditor/auditortest"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/proof"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
	"sigill/internal/checkpoint"
)

// proofs answers as the log's public address does.
func proofs(s *auditortest.Scene) func(context.Context, tlog.Hash) ([]byte, error) {
	l := s.Logs[auditor.Certificates]
	return func(_ context.Context, leaf tlog.Hash) ([]byte, error) {
		for i := range l.Size {
			if l.Hashes[tlog.StoredHashIndex(0, i)] != leaf {
				continue
			}
			path, err := tlog.ProveRecord(l.Size, i, l)
			return checkpoint.Proof{Index: i, Hashes: path, Note: l.Note}.Text(), err
		}
		return nil, auditor.ErrUnshown
	}
}

func TestProve(t *testing.T) {
	s := auditortest.Founded(t)
	p := s.Person()
	s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
	late(s)
	a := begin(t, s)
	a.finds()
	prover := proof.Prover{Issuers: a.Issuers, Log: s.Logs[auditor.Certificates].Log, Proof: proofs(s), Book: a.book}
	got, err := prover.Prove(t.Context(), p.DER)
	if err != nil || !got.Logged || !got.Signed || got.Index != 4 || got.Size != 5 || got.Serial != auditortest.SerialOf(p.DER) {
		t.Fatalf("Prove = %+v, %v", got, err)
	}
	var acts []string
	for _, act := range got.Acts {
		acts = append(acts, act.Act)
		if b, err := audit.ParseBody(s.Bodies[act.Index]); err != nil || b.Act != act.Act {
			t.Errorf("act %d is no %s", act.Index, act.Act)
		}
	}
	if want := []string{"order.placed", "order.approved", "download.begun", "intent.recorded", "certificate.issued"}; !slices.Equal(acts, want) {
		t.Errorf("acts %v, want %v", acts, want)
	}

	// The same installation goes on elsewhere, with the stolen keys.
	thief := s.Fork()
	stolen := thief.Stray(auditortest.Intended{})
	for name, der := range map[string][]byte{"stolen issuing key and log key": stolen, "stolen issuing key": s.WithoutSCT(stolen), "no key of ours": s.Forge(stolen),
		"no certificate": []byte("x")} {
		got, err := prover.Prove(t.Context(), der)
		if err != nil || got.Logged || got.Why == "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if outside := strings.Contains(got.Why, "outside"); outside != (name[0] == 's') || got.Signed != outside {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// The CAs that were given are no forgeries. Another CA that theirs has signed is.
	if got, err := prover.Prove(t.Context(), s.CAs[0]); err != nil || got.Logged || !strings.Contains(got.Why, "given CAs itself") {
		t.Errorf("a CA that was given: %+v, %v", got, err)
	}
	own := s.Issuers[auditortest.PersonCA].Certificate()
	below := &x509.Certificate{SerialNumber: ca.NewSerial().Int(), Subject: own.Subject, NotBefore: s.Now, NotAfter: s.Now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	planted, err := x509.CreateCertificate(rand.Reader, below, own, &s.Keys[auditortest.PersonCA].PublicKey, s.Keys[auditortest.PersonCA])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := prover.Prove(t.Context(), planted); err != nil || got.Logged || !strings.Contains(got.Why, "outside") {
		t.Errorf("a CA that was planted below: %+v, %v", got, err)
	}
	// A proof of another certificate proves nothing.
	of := proofs(s)
	prover.Proof = func(ctx context.Context, _ tlog.Hash) ([]byte, error) {
		e, err := rederive.LeafOf(s.Admins[0].DER, a.Issuers, s.Logs[auditor.Certificates].Log)
		if err != nil {
			return nil, err
		}
		return of(ctx, tlog.Hash(e.Hash))
	}
	if got, err := prover.Prove(t.Context(), p.DER); err != nil || got.Logged {
		t.Errorf("another's proof: %+v, %v", got, err)
	}
}

func TestCompare(t *testing.T) {
	s := auditortest.Founded(t)
	head := func(s *auditortest.Scene) checkpoint.Checkpoint {
		c, err := s.Logs[auditor.Acts].Log.Open(s.Logs[auditor.Acts].Note)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	early := head(s)
	mine, other := s.Fork(), s.Fork()
	for range 3 {
		mine.EID(mine.Person(), "ordinary", mine.Admins[0], mine.Admins[1])
	}
	other.EID(other.Person(), "ordinary", other.Admins[0], other.Admins[1])
	mine.Sign()
	other.Sign()
	one := begin(t, mine)
	one.finds()
	root := func(size int64) (tlog.Hash, error) { return one.book.Root(t.Context(), string(auditor.Acts), size) }
	if err := source.Compare(early, head(mine), root); err != nil {
		t.Errorf("grown: %v", err)
	}
	if err := source.Compare(head(mine), head(other), root); !errors.Is(err, source.ErrFork) {
		t.Errorf("forked: %v", err)
	}
	if err := source.Compare(head(other), head(mine), root); !errors.Is(err, source.ErrFork) {
		t.Errorf("forked, the other way round: %v", err)
	}
	if err := source.Compare(head(mine), head(mine), nil); err != nil {
		t.Errorf("the same: %v", err)
	}
	remote := func(size int64) (tlog.Hash, error) {
		return source.Under(t.Context(), auditortest.Source{Scene: mine}, auditor.Acts, head(mine)).Root(size)
	}
	if err := source.Compare(early, head(mine), remote); err != nil {
		t.Errorf("grown, by the log's hashes: %v", err)
	}
	if err := source.Compare(head(other), head(mine), remote); !errors.Is(err, source.ErrFork) {
		t.Errorf("forked, by the log's hashes: %v", err)
	}
}

// witnessed cosigns the heads of a scene.
func cosign(t *testing.T, s *auditortest.Scene, w *checkpoint.Cosigner) {
	t.Helper()
	for _, l := range s.Logs {
		c, err := l.Log.Open(l.Note)
		if err != nil {
			t.Fatal(err)
		}
		line, err := w.Cosign(c, s.Now)
		if err != nil {
			t.Fatal(err)
		}
		if l.Note, err = l.Log.Merge(l.Note, line, []checkpoint.Witness{w.Witness()}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWitnesses(t *testing.T) {
	key, err := checkpoint.GenerateCosigner("witness.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := checkpoint.NewCosigner(key)
	if err != nil {
		t.Fatal(err)
	}
	with := func(c *auditor.Config) { c.Witnesses = []checkpoint.Witness{w.Witness()} }
	s := auditortest.Founded(t)
	begin(t, s, with).finds(finding.Unwatched) // never cosigned
	young := begin(t, s, func(c *auditor.Config) {
		with(c)
		c.Now = func() time.Time { return s.Now }
	})
	young.finds() // signed just now, perhaps for this auditor's own log-in, and nothing is known of before
	s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	s.Sign()
	young.finds(finding.Unwatched)
	cosign(t, s, w)
	a := begin(t, s, with)
	if r := a.finds(); r.Logs[0].Witnessed != r.Logs[0].Size || r.Logs[0].Size == 0 {
		t.Errorf("witnessed %+v", r.Logs)
	}
	s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	s.Sign()
	a.finds() // it was signed just now: the witness is asked after it
	late(s)
	s.Tick(time.Hour)
	s.Sign()
	a.finds(finding.Unwatched) // a witness that is shown another log does not cosign this one
}

// The newest checkpoint is mostly not cosigned yet; what witnesses have cosigned is in the
// public proofs. It must be the log that is shown here.
func TestWhatWitnessesHaveCosigned(t *testing.T) {
	key, err := checkpoint.GenerateCosigner("witness.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := checkpoint.NewCosigner(key)
	if err != nil {
		t.Fatal(err)
	}
	s := auditortest.Founded(t)
	seen := s.Fork() // what the witness is shown
	public := func(of *auditortest.Scene) func(context.Context, auditor.Tree, tlog.Hash, int64) ([]byte, error) {
		return func(_ context.Context, tree auditor.Tree, leaf tlog.Hash, _ int64) ([]byte, error) {
			l := of.Logs[tree]
			for i := range l.Size {
				if l.Hashes[tlog.StoredHashIndex(0, i)] == leaf {
					path, err := tlog.ProveRecord(l.Size, i, l)
					return checkpoint.Proof{Index: i, Hashes: path, Note: l.Note}.Text(), err
				}
			}
			return nil, auditor.ErrUnshown
		}
	}
	with := func(c *auditor.Config) {
		c.Witnesses, c.Public = []checkpoint.Witness{w.Witness()}, 24*time.Hour
		c.Proof = func(ctx context.Context, tree auditor.Tree, leaf tlog.Hash, index int64) ([]byte, error) {
			return public(seen)(ctx, tree, leaf, index)
		}
	}
	a := begin(t, s, with)
	a.look()
	s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	s.Sign()
	same := s.Fork()
	s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	s.Sign()

	other := seen.Fork() // another log than the one that is shown here
	other.EID(other.Person(), "ordinary", other.Admins[1], other.Admins[0])
	other.Sign()
	cosign(t, other, w)
	cosign(t, same, w)
	seen = other
	r := a.look()
	if got := wrong(r); !slices.Equal(got, []string{"log.forked"}) || len(r.Findings[0].Evidence) != 2 {
		t.Errorf("found %v", r.Findings)
	}
	seen = same
	r = a.look()
	if got := wrong(r); len(got) > 0 || r.Logs[1].Witnessed != same.Logs[auditor.Acts].Size || r.Logs[1].Size == r.Logs[1].Witnessed {
		t.Errorf("found %v, logs %+v", r.Findings, r.Logs)
	}
}

// relying is what relying parties are told.
type relying struct {
	t       *testing.T
	s       *auditortest.Scene
	revoked []string
	status  int
	at      time.Time
	good    map[string]bool // of these OCSP says good, whatever status is
	silent  bool
	asked   []string
}

func (r *relying) issuer() *x509.Certificate { return r.s.Issuers[auditortest.PersonCA].Certificate() }

// List implements [auditor.Status].
func (r *relying) List(_ context.Context, address string) ([]byte, error) {
	if address != auditortest.StatusURL+"/crl/person-hsa-id-3-v1/0.crl" {
		return nil, errors.New("no such list")
	}
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, text := range r.revoked {
		serial, err := ca.ParseSerial(text)
		if err != nil {
			return nil, err
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial.Int(), RevocationTime: r.at})
	}
	return x509.CreateRevocationList(rand.Reader, list, r.issuer(), r.s.Keys[auditortest.PersonCA])
}

// OCSP implements [auditor.Status].
func (r *relying) OCSP(_ context.Context, address string, request []byte) ([]byte, error) {
	if address != auditortest.StatusURL+"/ocsp" {
		return nil, errors.New("nobody is there")
	}
	q, err := ocsp.ParseRequest(request)
	if err != nil {
		return nil, err
	}
	hash := q.HashAlgorithm.New()
	hash.Write(r.issuer().RawSubject)
	if string(hash.Sum(nil)) != string(q.IssuerNameHash) {
		r.t.Error("OCSP is asked of another CA")
	}
	serial, _ := ca.SerialOf(q.SerialNumber)
	r.asked = append(r.asked, serial.String())
	status := r.status
	if r.silent {
		return nil, errors.New("nobody is there")
	} else if r.good[serial.String()] {
		status = ocsp.Good
	}
	return ocsp.CreateResponse(r.issuer(), r.issuer(), ocsp.Response{Status: status, SerialNumber: q.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute),
		NextUpdate: time.Now().Add(time.Hour), RevokedAt: r.at, RevocationReason: 1, IssuerHash: crypto.SHA1}, r.s.Keys[auditortest.PersonCA])
}

func TestWhatRelyingPartiesSee(t *testing.T) {
	s := auditortest.Founded(t)
	p, q := s.Person(), s.Person()
	s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
	s.EID(q, "ordinary", s.Admins[0], s.Admins[1])
	s.Revoke(p)
	at := s.Now
	late(s)
	gone, lives := auditortest.SerialOf(p.DER), auditortest.SerialOf(q.DER)
	for _, c := range []struct {
		name    string
		revoked []string
		status  int
		want    []auditor.Kind
	}{
		{"all is well", []string{gone}, ocsp.Revoked, nil},
		{"not in the list", nil, ocsp.Revoked, []auditor.Kind{finding.Unpublic}},
		{"good in OCSP", []string{gone}, ocsp.Good, []auditor.Kind{finding.Unpublic}},
		{"a list says more", []string{gone, lives}, ocsp.Revoked, []auditor.Kind{finding.Unlogged}},
		{"of a serial that nobody intended", []string{gone, ca.NewSerial().String()}, ocsp.Revoked, []auditor.Kind{finding.Unlogged}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &relying{t: t, s: s, revoked: c.revoked, status: c.status, at: at}
			a := begin(t, s, func(config *auditor.Config) { config.Status = r })
			a.finds(c.want...)
			a.finds() // said once
		})
	}
	t.Run("a revocation that is taken back later", func(t *testing.T) {
		r := &relying{t: t, s: s, revoked: []string{gone}, status: ocsp.Revoked, at: at}
		a := begin(t, s, func(config *auditor.Config) { config.Status = r })
		a.finds()
		r.revoked = nil
		a.finds(finding.Unpublic)
	})
}

// TestOCSPIsAskedForAll: whatever a look's bound is, OCSP is asked for each revoked
// certificate in time, for what is new first, and then again: one that is good again long
// after it was revoked is found. How many were not asked for yet is said.
func TestOCSPIsAskedForAll(t *testing.T) {
	s := auditortest.Founded(t)
	r := &relying{t: t, s: s, status: ocsp.Revoked, good: map[string]bool{}}
	revoke := func(n int) (serials []string) {
		for range n {
			p := s.Person()
			s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
			s.Revoke(p)
			serials = append(serials, auditortest.SerialOf(p.DER))
		}
		r.revoked, r.at = append(r.revoked, serials...), s.Now
		late(s)
		return serials
	}
	old := revoke(11)
	a := begin(t, s, func(config *auditor.Config) { config.Status, config.Ask = r, 4 })
	ask := func(want []string, waiting, round int64) {
		t.Helper()
		r.asked = nil
		report := a.look()
		if got := wrong(report); len(got) > 0 {
			t.Fatalf("found %v", report.Findings)
		}
		if !slices.Equal(r.asked, want) || *report.OCSP != (auditor.Asked{Now: int64(len(want)), Waiting: waiting, Round: round}) {
			t.Fatalf("asked for %v, said %+v; want %v, %d waiting, %d in the round", r.asked, *report.OCSP, want, waiting, round)
		}
	}
	some := func(a ...[]string) []string { return slices.Concat(a...) }
	ask(old[0:3], 8, 0)
	ask(some(old[3:6], old[0:1]), 5, 2)
	fresh := revoke(1)
	ask(some(old[6:9], old[1:2]), 3, 4)
	ask(some(old[9:11], fresh, old[2:3]), 0, 6)
	r.silent = true
	if report := a.look(); !slices.Equal(wrong(report), []string{string(finding.StatusGone)}) || report.OCSP.Round != 9 || len(report.Findings) != 3 {
		t.Fatalf("nobody answers: found %v, said %+v", report.Findings, report.OCSP)
	}
	r.silent = false
	fresh = append(fresh, revoke(1)...)
	ask(some(fresh[1:], old[3:6]), 0, 6) // those that were not answered, again
	ask(some(old[6:10]), 0, 3)
	r.good[old[1]] = true
	ask(some(old[10:11], fresh), 0, 0)
	r.asked = nil
	a.finds(finding.Unpublic)
	if !slices.Equal(r.asked, old[0:4]) {
		t.Errorf("the next round asked for %v", r.asked)
	}
}
