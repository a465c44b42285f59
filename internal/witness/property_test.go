package witness

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"sigill/internal/checkpoint"
)

// Whatever a log with two histories sends, in whatever order, with whatever proofs, and
// however often the witness starts again: sizes never fall, and all that was cosigned is
// one history.
func TestOneHistoryIsCosigned(t *testing.T) {
	h := newHistory(t, origin)
	fork := h.forked(8) // the same until 8
	root := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		s := &stand{t: t, dir: filepath.Join(root, fmt.Sprint(runs)), logs: []*checkpoint.Log{h.Log}}
		if _, err := Init(s.dir, "w.example"); err != nil {
			rt.Fatal(err)
		}
		s.start()
		defer s.stop()
		var last checkpoint.Checkpoint
		of := h // whose history last is
		for range rapid.IntRange(1, 12).Draw(rt, "requests") {
			if rapid.IntRange(0, 5).Draw(rt, "start again") == 0 {
				s.stop()
				s.start()
			}
			from := rapid.SampledFrom([]*history{h, fork}).Draw(rt, "history")
			size := rapid.IntRange(0, 40).Draw(rt, "size")
			old := rapid.SampledFrom([]int64{last.Size, last.Size, last.Size, 0, int64(rapid.IntRange(0, 40).Draw(rt, "old"))}).Draw(rt, "begins")
			var proof []tlog.Hash
			if old > 0 && old < int64(size) {
				proof = rapid.SampledFrom([]*history{from, from, h, fork}).Draw(rt, "proof of").proof(t, old, int64(size))
			}
			note := from.note(t, size)
			lines, err := s.server.add(t.Context(), request{old, proof, note}.text())
			if err != nil {
				if conflict, ok := errors.AsType[*ConflictError](err); ok && conflict.Size != last.Size {
					rt.Fatalf("it says %d, and has cosigned %d", conflict.Size, last.Size)
				}
				// What is honest is never refused.
				if old == last.Size && int64(size) >= old && (from == of || old <= 8) && checkpoint.CheckGrowth(atSize(from, old), atSize(from, int64(size)), proof) == nil {
					rt.Fatalf("refused %d to %d: %v", old, size, err)
				}
				continue
			}
			c, err := h.Open(append(note, lines...))
			if err != nil || c.Size < last.Size || old != last.Size {
				rt.Fatalf("cosigned %d after %d, from %d: %v", c.Size, last.Size, old, err)
			}
			if c.Size > 8 && last.Size > 8 && from != of {
				rt.Fatalf("cosigned both histories, at %d and %d", last.Size, c.Size)
			}
			if c.Size >= last.Size {
				last, of = c, from
			}
		}
	})
}

// atSize is a checkpoint that nobody signed.
func atSize(h *history, size int64) checkpoint.Checkpoint {
	root := checkpoint.EmptyRoot()
	if size > 0 {
		root = tlog.Hash(h.tree.HashAt(uint64(size)))
	}
	return checkpoint.Checkpoint{Origin: origin, Size: size, Root: root}
}
