package translog_test

import (
	"context"
	"crypto"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/ctutil"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/store/storetest"
	"sigill/internal/tiles"
	"sigill/internal/translog"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/issue"
)

func TestMain(m *testing.M) { worldtest.Main(m) }

// embedded returns the SCT of a certificate as others read it, and its leaf.
func embedded(t *testing.T, s *worldtest.Scene, c *issue.Certificate) (*ct.SignedCertificateTimestamp, tlog.Hash) {
	t.Helper()
	cert, err := ctx509.ParseCertificate(c.DER)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := s.Issuers.Issuer(c.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	parent, err := ctx509.ParseCertificate(issuer.Certificate().Raw)
	if err != nil {
		t.Fatal(err)
	}
	scts, err := x509util.ParseSCTsFromSCTList(&cert.SCTList)
	if err != nil || len(scts) != 1 {
		t.Fatalf("%d SCTs: %v", len(scts), err)
	}
	public, err := ctx509.ParsePKIXPublicKey(s.Logs.Certificates.SPKI())
	if err != nil {
		t.Fatal(err)
	}
	if err := ctutil.VerifySCT(public, []*ctx509.Certificate{cert, parent}, scts[0], true); err != nil {
		t.Errorf("the SCT does not verify: %v", err)
	}
	leaf, err := ctutil.LeafHash([]*ctx509.Certificate{cert, parent}, scts[0], true)
	if err != nil {
		t.Fatal(err)
	}
	return scts[0], leaf
}

// Every certificate carries a promise that an independent verifier believes, and the log
// keeps it: the leaf that the verifier computes is in the tree under a signed head.
func TestPromiseIsKept(t *testing.T) {
	s := worldtest.New(t, worldtest.Logged)
	h := s.Holder()
	c := h.Certificate()
	_, leaf := embedded(t, s, c)
	index, err := s.Logs.IndexOf(t.Context(), leaf)
	if err != nil {
		t.Fatal(err)
	}
	head, err := s.Logs.Head(t.Context(), audit.CertificateTree)
	if err != nil || index >= head.Size {
		t.Fatalf("leaf %d under a head of %d: %v", index, head.Size, err)
	}
	hashes, err := s.Logs.Inclusion(t.Context(), audit.CertificateTree, index, head.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckRecord(hashes, head.Size, head.Root, index, leaf); err != nil {
		t.Error(err)
	}
	text, err := s.Logs.Proof(t.Context(), audit.CertificateTree, index)
	if err != nil {
		t.Fatal(err)
	}
	var p proof.TLogProof
	if err := p.Unmarshal(text); err != nil || p.Index != uint64(index) {
		t.Errorf("proof of %d: %v", p.Index, err)
	}
	if got, err := s.Logs.Certificates.Open(p.Checkpoint); err != nil || got.Size != head.Size {
		t.Errorf("proof under %+v: %v", got, err)
	}
	// The log of acts has a leaf for each event, at its number.
	acts, err := s.Logs.Head(t.Context(), audit.ActTree)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Sequencer.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.Rows("events", "TRUE"); acts.Size == 0 || int64(n) < acts.Size {
		t.Errorf("%d acts in the tree, %d events", acts.Size, n)
	}
	if now, err := s.Logs.Head(t.Context(), audit.ActTree); err != nil || now.Size != int64(s.Rows("events", "TRUE")) {
		t.Errorf("after catching up %d acts: %v", now.Size, err)
	}
	if grown, err := s.Logs.Consistency(t.Context(), audit.ActTree, acts.Size, acts.Size); err != nil || len(grown) != 0 {
		t.Errorf("consistency with itself: %v, %v", grown, err)
	}
	s.Sound()
}

// Many wait at once: they share passes, and each has its own leaf.
func TestManyAtOnce(t *testing.T) {
	s := worldtest.New(t, worldtest.Logged)
	const n = 40
	certs := make([]*issue.Certificate, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { certs[i] = s.Holder().Certificate() })
	}
	wait.Wait()
	seen := map[int64]bool{}
	for _, c := range certs {
		_, leaf := embedded(t, s, c)
		index, err := s.Logs.IndexOf(t.Context(), leaf)
		if err != nil || seen[index] {
			t.Errorf("leaf %d: twice %t, %v", index, seen[index], err)
		}
		seen[index] = true
	}
}

// failing is a key that does not sign.
type failing struct{ crypto.Signer }

func (failing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the token was removed")
}

// Without the log's key nothing is intended: no serial is drawn for ever.
func TestLogKeyFails(t *testing.T) {
	s := worldtest.New(t, worldtest.Logged)
	h := s.Person()
	id := s.Ordered(h, "ordinary")
	before := s.Rows("intents", "TRUE")
	broken, err := translog.New(translog.Config{Store: s.Store.Translog(), Now: s.Now, Pass: s.Sequencer.Pass,
		Certificates: translog.Keyed{Log: s.Logs.Certificates, Signer: failing{}}, Acts: translog.Keyed{Log: s.Logs.Acts, Signer: failing{}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Downloads.Log = broken
	if err := s.Fetch(t.Context(), h, id); err == nil {
		t.Fatal("a certificate without a promise")
	}
	if after := s.Rows("intents", "TRUE"); after != before {
		t.Errorf("%d intents for nothing", after-before)
	}
	s.Downloads.Log = s.Logs
	if err := s.Resume(t.Context(), h, id); err != nil {
		t.Errorf("with the key again: %v", err)
	}
}

// Where the tree is not the one that was signed, no head is signed and so nothing is
// issued: what was recorded is given up, and the issuing key does not sign.
func TestForkedTree(t *testing.T) {
	for name, tamper := range map[string]string{
		"changed leaf":  `UPDATE log_tiles SET hashes = (SELECT leaf FROM events LIMIT 1) WHERE log = 'certificates' AND level = 0`,
		"another leaf":  `UPDATE log_tiles SET hashes = CAST((SELECT leaf FROM events LIMIT 1) || substr(hashes, 33) AS BLOB) WHERE log = 'certificates' AND level = 0`,
		"no tree":       `DELETE FROM log_tiles WHERE log = 'certificates'`,
		"foreign root":  `UPDATE log_heads SET note = (SELECT note FROM log_heads WHERE log = 'acts'), size = 0 WHERE log = 'certificates'`,
		"changed act":   `UPDATE log_tiles SET hashes = (SELECT hashes FROM log_tiles WHERE log = 'certificates' AND level = 0) WHERE log = 'acts' AND level = 0`,
		"rows taken":    `DELETE FROM log_leaves`,
		"events hidden": `UPDATE events SET number = NULL, hash = NULL WHERE number > 3`,
	} {
		t.Run(name, func(t *testing.T) {
			s := worldtest.On(t, "", worldtest.LoggedFor(time.Second))
			h := s.Person()
			id := s.Ordered(h, "ordinary")
			if err := s.Sequencer.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.Faults.Clear()
			signed := len(s.Faults.Signed(world.PersonCA))
			s.Exec(tamper)
			if err := s.Fetch(t.Context(), h, id); err == nil {
				t.Fatal("issued")
			}
			if n := len(s.Faults.Signed(world.PersonCA)); n != signed {
				t.Errorf("the issuing key signed %d times", n-signed)
			}
			if n := s.Rows("intents", "state = 'open'"); n != 0 {
				t.Errorf("%d intents are open", n)
			}
		})
	}
}

// Another process may number a leaf and sign its head: who waits finds it in the store.
func TestNumberedElsewhere(t *testing.T) {
	db := storetest.SQLite(t)
	now := time.Now
	q, other, err := world.NewLog(db.Audit(), db.Translog(), now, 0)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	here, err := translog.New(translog.Config{Store: db.Translog(), Now: now, Patience: time.Minute,
		Acts:         translog.Keyed{Log: other.Reader.Acts, Signer: failing{}},
		Certificates: translog.Keyed{Log: other.Reader.Certificates, Signer: failing{}},
		Pass: func(context.Context) (int, error) {
			asked <- struct{}{}
			return 0, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	in := storetest.Intent(7)
	in.Leaf.Hash, in.Leaf.Time = tlog.RecordHash([]byte("x")), now().UTC().Truncate(time.Millisecond)
	err = db.Issue().Update(t.Context(), func(tx *issue.Tx) error { return tx.InsertIntent(in) })
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- here.Await(t.Context(), in.Leaf) }()
	<-asked // it waits, and its own pass came to nothing
	if _, err := other.IndexOf(t.Context(), in.Leaf.Hash); !errors.Is(err, translog.ErrNotFound) {
		t.Errorf("before its number: %v", err)
	}
	if err := q.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Nothing is shown that no stored head covers, and nothing that is not there.
func TestReaderShowsWhatIsSigned(t *testing.T) {
	db := storetest.SQLite(t)
	q, logs, err := world.NewLog(db.Audit(), db.Translog(), time.Now, 0)
	if err != nil {
		t.Fatal(err)
	}
	heads := q.Heads
	leaves := func(n byte) {
		t.Helper()
		for i := range n {
			in := storetest.Intent(i + 1)
			in.Serial[14] = n
			in.Leaf.Hash, in.Leaf.Time = tlog.RecordHash([]byte{n, i}), time.UnixMilli(1).UTC()
			if err := db.Issue().Update(t.Context(), func(tx *issue.Tx) error { return tx.InsertIntent(in) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := logs.Head(t.Context(), audit.CertificateTree); !errors.Is(err, translog.ErrNotFound) {
		t.Errorf("before the first head: %v", err)
	}
	leaves(5)
	if err := q.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.Heads = nil // numbered, not signed
	leaves(9)
	if err := q.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	tile := func(level int, n int64, width int) error {
		_, err := logs.Tile(t.Context(), audit.CertificateTree, level, n, width)
		return err
	}
	for _, c := range []struct {
		level int
		n     int64
		width int
		there bool
	}{{0, 0, 5, true}, {0, 0, 1, true}, {0, 0, 6, false}, {0, 0, 0, false}, {0, 1, 1, false}, {1, 0, 1, false}, {-1, 0, 1, false},
		{8, 0, 1, false}, {0, -1, 1, false}, {0, 1 << 62, 256, false}, {0, 0, 257, false}} {
		if err := tile(c.level, c.n, c.width); (err == nil) != c.there || err != nil && !errors.Is(err, translog.ErrNotFound) {
			t.Errorf("tile %d of level %d, width %d: %v", c.n, c.level, c.width, err)
		}
	}
	if _, err := logs.Inclusion(t.Context(), audit.CertificateTree, 2, 9); !errors.Is(err, translog.ErrNotFound) {
		t.Errorf("inclusion in what no head covers: %v", err)
	}
	if _, err := logs.Consistency(t.Context(), audit.CertificateTree, 5, 9); !errors.Is(err, translog.ErrNotFound) {
		t.Errorf("consistency with what no head covers: %v", err)
	}
	if _, err := logs.Proof(t.Context(), audit.CertificateTree, 7); !errors.Is(err, translog.ErrNotFound) {
		t.Errorf("proof of what no head covers: %v", err)
	}
	if _, err := logs.Head(t.Context(), tiles.Name("other")); !errors.Is(err, translog.ErrNotFound) {
		t.Errorf("another log: %v", err)
	}
	if err := heads(t.Context()); err != nil {
		t.Fatal(err)
	}
	if head, err := logs.Head(t.Context(), audit.CertificateTree); err != nil || head.Size != 14 || tile(0, 0, 14) != nil {
		t.Errorf("after signing: %d, %v", head.Size, err)
	}
}

// A head is signed anew when it is an hour old, with a later time, and never with an
// earlier one than the last.
func TestHeadsInTime(t *testing.T) {
	db := storetest.SQLite(t)
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	_, logs, err := world.NewLog(db.Audit(), db.Translog(), func() time.Time { return now }, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pass, want time.Duration
	}{{0, 0}, {59 * time.Minute, 0}, {time.Hour, time.Hour}, {time.Minute, time.Hour}, {2 * time.Hour, 2 * time.Hour}} {
		now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC).Add(c.pass)
		if err := logs.Heads(t.Context()); err != nil {
			t.Fatal(err)
		}
		head, err := logs.Head(t.Context(), audit.ActTree)
		if want := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC).Add(c.want); err != nil || !head.Time.Equal(want) {
			t.Errorf("at %s the head is of %s, want %s: %v", now, head.Time, want, err)
		}
	}
}

// The receipt of an act is had at once, and is checked without the log.
func TestReceipt(t *testing.T) {
	s := worldtest.New(t, worldtest.LoggedFor(3*time.Second))
	h := s.Person()
	id := s.Ordered(h, "ordinary")
	event := audit.EventID(audit.OrderPlaced, string(id))
	r, err := s.Logs.Receipt(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	body, err := audit.ParseBody(r.Act)
	if err != nil || body.ID != event || body.Act != audit.OrderPlaced {
		t.Errorf("the receipt is of %+v: %v", body, err)
	}
	p, err := checkpoint.ParseProof(r.Proof)
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := p.Verify(s.Logs.Acts, tlog.Hash(audit.LeafHash(r.Act)), nil); err != nil || c.Size <= p.Index {
		t.Errorf("under %+v: %v", c, err)
	}
	if _, _, err := p.Verify(s.Logs.Acts, tlog.Hash(audit.LeafHash(append(r.Act, ' '))), nil); err == nil {
		t.Error("another act was proved")
	}
	if _, err := s.Logs.Receipt(t.Context(), "evt_nothing"); !errors.Is(err, translog.ErrNotFound) {
		t.Errorf("of no act: %v", err)
	}
	second := s.Person()
	s.Sequencer.Hold = func() bool { return true }
	other := s.Ordered(second, "ordinary")
	if _, err := s.Logs.Receipt(t.Context(), audit.EventID(audit.OrderPlaced, string(other))); !errors.Is(err, translog.ErrNotYet) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while nothing is numbered it was waited for: %v", err)
	}
}

// Trees are built anew from the rows: whatever was changed on one side alone is found,
// and nothing is found where nothing was changed.
func TestVerifyTrees(t *testing.T) {
	s := worldtest.On(t, "", worldtest.Logged)
	for range 60 { // more than one tile of acts
		s.Person()
	}
	if err := s.Sequencer.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	acts := s.Rows("events", "TRUE")
	if acts <= tiles.Width {
		t.Fatalf("only %d acts", acts)
	}
	findings := func() (out []audit.Finding) {
		t.Helper()
		if err := s.Logs.VerifyTrees(t.Context(), func(f audit.Finding) { out = append(out, f) }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := findings(); len(got) != 0 {
		t.Fatalf("untouched: %v", got)
	}
	for _, c := range []struct {
		name, tamper, undo string
		kind               audit.Kind
		number             int64
	}{
		{"changed leaf", `UPDATE events SET leaf = x'` + strings.Repeat("00", 32) + `' WHERE number = 7`,
			`UPDATE events SET leaf = (SELECT substr(hashes, 6*32+1, 32) FROM log_tiles WHERE log = 'acts' AND level = 0 AND n = 0) WHERE number = 7`, audit.Changed, 7},
		{"changed tile above", `UPDATE log_tiles SET hashes = (SELECT leaf FROM events WHERE number = 1) WHERE log = 'acts' AND level = 1`, "", audit.Changed, 0},
		{"another head", `UPDATE log_heads SET note = (SELECT note FROM log_heads WHERE log = 'acts') WHERE log = 'certificates'`, "", audit.Forked, 0},
		{"cut off", `DELETE FROM log_leaves WHERE number = (SELECT max(number) FROM log_leaves)`, "", audit.Missing, int64(s.Rows("log_leaves", "TRUE"))},
	} {
		s.Exec(c.tamper)
		got := findings()
		if !slices.ContainsFunc(got, func(f audit.Finding) bool { return f.Kind == c.kind && f.Number == c.number }) {
			t.Errorf("%s: %v, want %s at %d", c.name, got, c.kind, c.number)
		}
		if c.undo != "" {
			s.Exec(c.undo)
			if got := findings(); len(got) != 0 {
				t.Errorf("%s, undone: %v", c.name, got)
			}
		}
	}
}
