package witness

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
)

// noon is what the witness's clock says.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const origin = "test.example/log/acts"

// history is a log: its key and a tree, made by other people's code.
type history struct {
	*checkpoint.Log
	key  *ecdsa.PrivateKey
	tree *testonly.Tree
}

func newHistory(t testing.TB, origin string) *history {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l, err := checkpoint.NewLog(origin, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	h := &history{Log: l, key: key, tree: testonly.New(rfc6962.DefaultHasher)}
	for i := range 40 {
		h.tree.AppendData(fmt.Appendf(nil, "leaf %d", i))
	}
	return h
}

// forked is the same log with another history from leaf on.
func (h *history) forked(leaf int) *history {
	out := &history{Log: h.Log, key: h.key, tree: testonly.New(rfc6962.DefaultHasher)}
	for i := range 40 {
		if i >= leaf {
			out.tree.AppendData(fmt.Appendf(nil, "another leaf %d", i))
		} else {
			out.tree.AppendData(fmt.Appendf(nil, "leaf %d", i))
		}
	}
	return out
}

func (h *history) note(t testing.TB, size int) []byte {
	t.Helper()
	root := checkpoint.EmptyRoot()
	if size > 0 {
		root = tlog.Hash(h.tree.HashAt(uint64(size)))
	}
	text, err := h.Sign(h.key, int64(size), root, noon)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (h *history) prove(_ context.Context, old, new int64) ([]tlog.Hash, error) {
	raw, err := h.tree.ConsistencyProof(uint64(old), uint64(new))
	var out []tlog.Hash
	for _, each := range raw {
		out = append(out, tlog.Hash(each))
	}
	return out, err
}

func (h *history) proof(t testing.TB, old, new int64) []tlog.Hash {
	t.Helper()
	if old == 0 || old == new {
		return nil
	}
	p, err := h.prove(t.Context(), old, new)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// notes takes what a witness logs.
type notes struct {
	mu   sync.Mutex
	text strings.Builder
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// stand is a witness that serves, and its client.
type stand struct {
	t      testing.TB
	dir    string
	logs   []*checkpoint.Log
	log    notes
	server *Server
	http   *httptest.Server
	client *Client
}

func newStand(t testing.TB, logs ...*checkpoint.Log) *stand {
	t.Helper()
	s := &stand{t: t, dir: filepath.Join(t.TempDir(), "witness"), logs: logs}
	if _, err := Init(s.dir, "witness.example/w1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop() })
	s.start()
	return s
}

func (s *stand) start() {
	s.t.Helper()
	var err error
	s.server, err = Open(Config{Dir: s.dir, Logs: s.logs, Now: func() time.Time { return noon }, Log: slog.New(slog.NewJSONHandler(&s.log, nil))})
	if err != nil {
		s.t.Fatal(err)
	}
	s.http = httptest.NewServer(http.StripPrefix("/prefix", s.server))
	if s.client, err = NewClient(s.http.URL+"/prefix/", s.server.Witness()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stand) stop() {
	if s.server != nil {
		s.http.Close()
		s.server.Close()
		s.server = nil
	}
}

// add asks, and sees that what comes back is a cosignature of the note.
func (s *stand) add(h *history, old, size int) error {
	s.t.Helper()
	text := h.note(s.t, size)
	lines, err := s.client.Add(s.t.Context(), h.Log, int64(old), h.proof(s.t, int64(old), int64(size)), text)
	if err != nil {
		if lines != nil {
			s.t.Errorf("%d to %d: %s and %v", old, size, lines, err)
		}
		return err
	}
	merged, err := h.Merge(text, lines, []checkpoint.Witness{s.client.Witness()})
	if err != nil {
		s.t.Fatal(err)
	}
	c, seen, err := h.Witnessed(merged, []checkpoint.Witness{s.client.Witness()})
	if err != nil || c.Size != int64(size) || len(seen) != 1 || seen[0] != (checkpoint.Cosignature{Name: "witness.example/w1", Time: noon}) {
		s.t.Fatalf("%d to %d: %+v, %v, %v", old, size, c, seen, err)
	}
	return nil
}

func (s *stand) must(h *history, old, size int) {
	s.t.Helper()
	if err := s.add(h, old, size); err != nil {
		s.t.Fatalf("%d to %d: %v", old, size, err)
	}
}

// at sees that the witness is at size, now and after a start.
func (s *stand) at(h *history, size int64) {
	s.t.Helper()
	for range 2 {
		if got := s.server.heads[h.Origin()].Size; got != size {
			s.t.Fatalf("the witness is at %d, want %d", got, size)
		}
		s.stop()
		s.start()
	}
}

func (s *stand) evidence(kind string) []evidence {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, evidenceDir, kind+"-*.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var out []evidence
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		var e evidence
		if err := json.Unmarshal(text, &e); err != nil {
			s.t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func conflictAt(err error) int64 {
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		return conflict.Size
	}
	return -1
}

func TestHonestGrowth(t *testing.T) {
	h, other := newHistory(t, origin), newHistory(t, "test.example/log/certificates")
	s := newStand(t, h.Log, other.Log)
	s.must(h, 0, 0)
	s.must(h, 0, 0)
	s.must(h, 0, 1)
	s.must(other, 0, 3)
	for size := 1; size < 40; size++ {
		s.must(h, size, size+1)
	}
	s.must(h, 40, 40)
	s.at(h, 40)
	s.at(other, 3)
	if log := s.log.String(); strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, `"level":"WARN"`) {
		t.Error(log)
	}
}

// What was sent before is harmless: the same again is cosigned again, what is smaller is
// not, and the witness stays where it is.
func TestReplayAndRollback(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	s.must(h, 0, 10)
	s.must(h, 10, 20)
	s.must(h, 20, 20)
	for _, old := range []int{0, 5, 10} {
		for _, size := range []int{old, 10, 15, 20, 30} {
			if size < old {
				continue
			}
			if err := s.add(h, old, size); conflictAt(err) != 20 {
				t.Errorf("%d to %d: %v", old, size, err)
			}
		}
	}
	// What lies beyond the checkpoint is no conflict but nonsense, and says so.
	if _, err := s.client.Add(t.Context(), h.Log, 20, nil, h.note(t, 10)); err == nil || conflictAt(err) >= 0 || !strings.Contains(err.Error(), "400") {
		t.Errorf("back from 20 to 10: %v", err)
	}
	s.at(h, 20)
	s.must(h, 20, 30)
	if len(s.evidence("*")) > 0 {
		t.Error("evidence of nothing")
	}
}

func TestForkAtOneSize(t *testing.T) {
	h := newHistory(t, origin)
	fork := h.forked(5)
	s := newStand(t, h.Log)
	s.must(h, 0, 10)
	if err := s.add(fork, 10, 10); !errors.Is(err, ErrInconsistent) {
		t.Errorf("from 10: %v", err)
	}
	kept := s.evidence(kindFork)
	if len(kept) != 1 {
		t.Fatalf("%d forks are kept", len(kept))
	}
	// Whoever has the file has the proof.
	a, errA := h.Open([]byte(kept[0].Kept))
	b, errB := h.Open([]byte(kept[0].Submitted))
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.CheckGrowth(a, b, nil); !errors.Is(err, checkpoint.ErrFork) || kept[0].Log != origin || !bytes.Equal(kept[0].Key, h.SPKI()) {
		t.Errorf("%v in %+v", err, kept[0])
	}
	if !strings.Contains(s.log.String(), `"level":"ERROR","msg":"FORK`) {
		t.Error(s.log.String())
	}
	s.at(h, 10)
	s.must(h, 10, 11)
}

// A log that says that it begins elsewhere hides no fork.
func TestForkIsSeenWhereverItBegins(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	s.must(h, 0, 10)
	if err := s.add(h.forked(5), 7, 10); conflictAt(err) != 10 {
		t.Errorf("from 7: %v", err)
	}
	if kept := s.evidence(kindFork); len(kept) != 1 {
		t.Errorf("%d forks are kept", len(kept))
	}
}

func TestForkAtALargerSize(t *testing.T) {
	h := newHistory(t, origin)
	fork := h.forked(5)
	s := newStand(t, h.Log)
	s.must(h, 0, 10)
	for _, proof := range [][]tlog.Hash{fork.proof(t, 10, 20), h.proof(t, 10, 20), nil, {{1}}} {
		if _, err := s.client.Add(t.Context(), h.Log, 10, proof, fork.note(t, 20)); !errors.Is(err, ErrInconsistent) {
			t.Errorf("%v", err)
		}
	}
	if _, err := s.client.Submit(t.Context(), h.Log, 0, 0, fork.note(t, 20), fork.prove); !errors.Is(err, ErrInconsistent) {
		t.Errorf("asked from nothing on: %v", err)
	}
	if kept := s.evidence(kindUnproved); len(kept) != 1 || len(kept[0].Proof) == 0 || len(s.evidence(kindFork)) > 0 {
		t.Errorf("kept %+v", kept)
	}
	s.at(h, 10)
	s.must(h, 10, 20)
	if err := s.add(fork, 20, 30); !errors.Is(err, ErrInconsistent) {
		t.Errorf("later: %v", err)
	}
}

// Killed after the memory is on disk and before the answer is out: whoever asks again is
// told where the witness is, and gets the cosignature.
func TestKilledBeforeTheAnswer(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	s.must(h, 0, 10)
	r := request{old: 10, proof: h.proof(t, 10, 20), note: h.note(t, 20)}
	if lines, err := s.server.add(t.Context(), r.text()); err != nil || len(lines) == 0 {
		t.Fatal(err)
	}
	s.stop() // and nobody has got the lines
	s.start()
	if err := s.add(h, 10, 20); conflictAt(err) != 20 {
		t.Errorf("as before: %v", err)
	}
	lines, err := s.client.Submit(t.Context(), h.Log, 10, 0, h.note(t, 20), h.prove)
	if err != nil || len(lines) == 0 {
		t.Errorf("asked again: %s, %v", lines, err)
	}
	if lines, err = s.client.Submit(t.Context(), h.Log, 10, 0, h.note(t, 30), h.prove); err != nil || len(lines) == 0 {
		t.Errorf("asked with what has grown since: %s, %v", lines, err)
	}
	s.at(h, 30)
}

// A disk that fails costs the answer and nothing else: nothing was said, and the witness
// goes on from what the disk holds.
func TestDiskFails(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	s.must(h, 0, 10)
	heads := filepath.Join(s.dir, headsDir)
	gone := heads + ".gone"
	if err := os.Rename(heads, gone); err != nil {
		t.Fatal(err)
	}
	if err := s.add(h, 10, 20); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("without a disk: %v", err)
	}
	if err := os.Rename(gone, heads); err != nil {
		t.Fatal(err)
	}
	if err := s.add(h.forked(5), 20, 20); conflictAt(err) != 10 {
		t.Errorf("it believes what it could not write: %v", err)
	}

	// A write that failed may have happened all the same, and may be lost again by the
	// next loss of power: it is written anew before it is signed.
	if err := os.Rename(heads, gone); err != nil {
		t.Fatal(err)
	}
	if err := s.add(h, 10, 20); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("without a disk: %v", err)
	}
	file := filepath.Join(gone, nameOf(origin)+".note")
	if err := os.WriteFile(file, h.note(t, 9), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(gone, heads); err != nil {
		t.Fatal(err)
	}
	if err := s.add(h, 9, 20); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("the disk has gone back: %v", err)
	}
	if err := os.Remove(heads); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, h.note(t, 20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(gone, heads); err != nil {
		t.Fatal(err)
	}
	if err := s.add(h, 10, 30); conflictAt(err) != 20 || s.server.heads[origin].sure {
		t.Errorf("the disk is further: %v", err)
	}
	s.must(h, 20, 20)
	if !s.server.heads[origin].sure {
		t.Error("what was in doubt was not written again")
	}
	s.at(h, 20)
}

// Concurrent requests take their turns: the witness never goes back, and of two
// histories one is cosigned.
func TestConcurrentAdds(t *testing.T) {
	h := newHistory(t, origin)
	fork := h.forked(0)
	s := newStand(t, h.Log)
	var wg sync.WaitGroup
	var mu sync.Mutex
	cosigned := map[*history]int{}
	for _, each := range []*history{h, fork} {
		for size := 1; size <= 40; size += 3 {
			text := each.note(t, size)
			wg.Go(func() {
				lines, err := s.client.Submit(t.Context(), each.Log, 0, 0, text, each.prove)
				if err == nil {
					if _, err := each.Merge(text, lines, []checkpoint.Witness{s.client.Witness()}); err != nil {
						t.Error(err)
					}
					mu.Lock()
					cosigned[each] = max(cosigned[each], size)
					mu.Unlock()
				} else if !errors.Is(err, ErrInconsistent) && conflictAt(err) < 0 {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if len(cosigned) != 1 {
		t.Fatalf("cosigned %v", cosigned)
	}
	for each, size := range cosigned {
		s.at(each, int64(size))
	}
}

func TestOneProcess(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	if _, err := Open(Config{Dir: s.dir, Logs: s.logs, Now: time.Now, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one: %v", err)
	}
	if _, err := Init(s.dir, "another"); err == nil {
		t.Error("made again while it serves")
	}
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "witness")
	w, err := Init(dir, "witness.example/w1")
	if err != nil || w.Name() != "witness.example/w1" {
		t.Fatalf("%v, %v", w, err)
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if got, err := ReadWitness(dir); err != nil || got != w {
		t.Errorf("%v, %v", got, err)
	}
	if again, err := Init(dir, "witness.example/w1"); err == nil {
		t.Errorf("made again: %v", again)
	}
	if got, err := ReadWitness(dir); err != nil || got != w {
		t.Errorf("afterwards: %v, %v", got, err)
	}
	if _, err := Init(filepath.Join(t.TempDir(), "w"), "a name"); err == nil {
		t.Error("a name with a space was taken")
	}
}

// A witness does not start with a memory that is gone or damaged, a key that others can
// read, or what it was not told.
func TestOpenRefuses(t *testing.T) {
	h, other := newHistory(t, origin), newHistory(t, origin)
	open := func(dir string, logs ...*checkpoint.Log) error {
		s, err := Open(Config{Dir: dir, Logs: logs, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			s.Close()
		}
		return err
	}
	for name, damage := range map[string]func(s *stand) error{
		"no memory":  func(s *stand) error { return os.RemoveAll(filepath.Join(s.dir, headsDir)) },
		"cut off":    func(s *stand) error { return os.Truncate(filepath.Join(s.dir, headsDir, nameOf(origin)+".note"), 50) },
		"empty":      func(s *stand) error { return os.Truncate(filepath.Join(s.dir, headsDir, nameOf(origin)+".note"), 0) },
		"open key":   func(s *stand) error { return os.Chmod(filepath.Join(s.dir, keyFile), 0o644) },
		"no key":     func(s *stand) error { return os.Remove(filepath.Join(s.dir, keyFile)) },
		"broken key": func(s *stand) error { return os.Truncate(filepath.Join(s.dir, keyFile), 60) },
		"other log":  func(s *stand) error { s.logs = []*checkpoint.Log{other.Log}; return nil },
		"log twice":  func(s *stand) error { s.logs = []*checkpoint.Log{h.Log, h.Log}; return nil },
		"no logs":    func(s *stand) error { s.logs = nil; return nil },
	} {
		s := newStand(t, h.Log)
		s.must(h, 0, 10)
		s.stop()
		if err := open(s.dir, s.logs...); err != nil {
			t.Fatal(err)
		}
		if err := damage(s); err != nil {
			t.Fatal(err)
		}
		if err := open(s.dir, s.logs...); err == nil {
			t.Errorf("%s: it starts", name)
		}
	}
}
