// Package excerpt takes a period out of the log of acts, with what proves it: a
// directory that an archive or a court can keep and verify years later with the log's
// public key alone, without the service, the rest of the log or anybody's word.
//
// An excerpt has the acts as they were logged, one a line, and the hashes of the tree on
// both sides of them; together they lead to the root that the log, and perhaps its
// witnesses, signed. It holds no personal values: the log has commitments to them.
//
// In the place of an act that is erased stands its hash. An excerpt does not prove that it
// was retention that erased it: who makes one can leave out what he likes in that way, and
// only the log itself, with the act of retention that covers it, tells.
package excerpt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/auditor/source"
	"sigill/internal/checkpoint"
	"sigill/internal/strictjson"
)

// Files of an excerpt.
const (
	headFile = "excerpt.json"
	actsFile = "acts.jsonl"
	noteFile = "checkpoint"
)

// head is the first file.
type head struct {
	Version int    `json:"version"` // 1
	Origin  string `json:"origin"`
	From    int64  `json:"from"` // index of the first act
	To      int64  `json:"to"`   // index after the last
	// Left and Right are the hashes of the largest whole subtrees before and after the
	// acts, from left to right, hexadecimal.
	Left  []string `json:"left"`
	Right []string `json:"right"`
}

// erased stands in the place of an act that is not shown: its leaf's hash. Retention has
// erased it, or who made the excerpt left it out; an excerpt cannot tell which.
type erased struct {
	Erased string `json:"erased"`
}

// Summary is what an excerpt holds.
type Summary struct {
	Origin    string    `json:"origin"`
	From      int64     `json:"from"`           // index of the first act
	To        int64     `json:"to"`             // index after the last
	Erased    int64     `json:"erased"`         // not shown: erased, or left out by who made it
	First     time.Time `json:"first,omitzero"` // time of the first and the last act that is there
	Last      time.Time `json:"last,omitzero"`
	Size      int64     `json:"size"` // of the checkpoint
	Signed    time.Time `json:"signed"`
	Witnesses []string  `json:"witnesses"`
}

// Bound is where a period begins or ends: a time, or the index of an act.
type Bound struct {
	Time  time.Time // if it is not zero
	Index int64
}

// slack is how far acts may be out of the order of their times. A period given in times
// takes that much more on both sides: nothing that belongs to it is missing.
const slack = 5 * time.Minute

var factory = &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

// Export writes the acts from one bound up to another into dir, which must not exist.
// The log is verified as it is read.
func Export(ctx context.Context, s source.Source, log *checkpoint.Log, from, to Bound, dir string) (*Summary, error) {
	note, err := s.Checkpoint(ctx, source.Acts)
	if err != nil {
		return nil, err
	}
	c, err := log.Open(note)
	if err != nil {
		return nil, err
	}
	r := &reader{ctx: ctx, source: s, head: c, last: -1}
	first, err := r.find(from, -slack)
	if err != nil {
		return nil, err
	}
	end, err := r.find(to, slack)
	if err != nil {
		return nil, err
	}
	if first >= end {
		return nil, fmt.Errorf("the log of %d acts has none in this period", c.Size)
	}
	h := head{Version: 1, Origin: c.Origin, From: first, To: end}
	if h.Left, err = r.side(0, first); err != nil {
		return nil, err
	}
	if h.Right, err = r.side(end, c.Size); err != nil {
		return nil, err
	}
	if err := write(dir, h, note, r); err != nil {
		return nil, err
	}
	return Verify(dir, log, nil)
}

func write(dir string, h head, note []byte, r *reader) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	text, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, headFile), append(text, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, noteFile), note, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, actsFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	for i := h.From; i < h.To && err == nil; i++ {
		var line []byte
		if line, err = r.act(i); err == nil && len(line) == 0 {
			line, err = r.gone(i)
		}
		out.Write(append(line, '\n')) // Flush tells
	}
	return errors.Join(err, out.Flush(), f.Sync(), f.Close())
}

// reader reads the log bundle by bundle.
type reader struct {
	ctx    context.Context
	source source.Source
	head   checkpoint.Checkpoint
	last   int64 // the bundle that is kept
	bodies [][]byte
}

// act returns the body of an act; empty: erased.
func (r *reader) act(index int64) ([]byte, error) {
	if n := index / source.Across; n != r.last {
		bodies, err := r.source.Acts(r.ctx, n, int(min(source.Across, r.head.Size-n*source.Across)))
		if err != nil {
			return nil, fmt.Errorf("acts from %d: %w", n*source.Across, err)
		}
		r.last, r.bodies = n, bodies
	}
	return r.bodies[index%source.Across], nil
}

// gone returns the line of an act that is erased.
func (r *reader) gone(index int64) ([]byte, error) {
	hashes, err := source.Under(r.ctx, r.source, source.Acts, r.head).Leaves(index, 1)
	if err != nil {
		return nil, err
	}
	return json.Marshal(erased{hex.EncodeToString(hashes[0][:])})
}

// find returns the index of the first act at or after a bound, moved by slack.
func (r *reader) find(b Bound, slack time.Duration) (int64, error) {
	if b.Time.IsZero() {
		return min(max(b.Index, 0), r.head.Size), nil
	}
	at := b.Time.Add(slack)
	low, high := int64(0), r.head.Size // all before low are before, all from high on are not
	for low < high {
		middle := low + (high-low)/2
		i := middle
		for ; i < high; i++ { // those that were erased have no time
			body, err := r.act(i)
			if err != nil {
				return 0, err
			}
			if len(body) > 0 {
				break
			}
		}
		if i == high {
			high = middle
			continue
		}
		body, _ := r.act(i) // read just now
		event, err := audit.ParseBody(body)
		if err != nil {
			return 0, fmt.Errorf("act %d: %w", i, err)
		}
		if event.At.Before(at) {
			low = i + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// side returns the hashes of the subtrees that cover the acts from begin to end.
func (r *reader) side(begin, end int64) ([]string, error) {
	out := []string{}
	var indexes []int64
	for _, id := range compact.RangeNodes(uint64(begin), uint64(end), nil) {
		indexes = append(indexes, tlog.StoredHashIndex(int(id.Level), int64(id.Index)))
	}
	if len(indexes) == 0 {
		return out, nil
	}
	hashes, err := source.Under(r.ctx, r.source, source.Acts, r.head).Hashes(indexes)
	for _, h := range hashes {
		out = append(out, hex.EncodeToString(h[:]))
	}
	return out, err
}

// maxHead bounds the first file and the note: two sides have 2 × 63 hashes at most.
const maxHead = 1 << 16

func small(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxHead+1))
	if err == nil && len(text) > maxHead {
		err = fmt.Errorf("%s has more than %d octets", name, maxHead)
	}
	return text, err
}

// Verify verifies an excerpt with the log's public key alone. Witnesses whose
// cosignatures are under its checkpoint are told.
func Verify(dir string, log *checkpoint.Log, witnesses []checkpoint.Witness) (*Summary, error) {
	note, err := small(dir, noteFile)
	if err != nil {
		return nil, err
	}
	c, seen, err := log.Witnessed(note, witnesses)
	if err != nil {
		return nil, err
	}
	text, err := small(dir, headFile)
	if err != nil {
		return nil, err
	}
	var h head
	if err := strictjson.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("%s: %w", headFile, err)
	}
	if h.Version != 1 || h.Origin != c.Origin || h.From < 0 || h.From >= h.To || h.To > c.Size {
		return nil, fmt.Errorf("%s is not version 1, or of another log or size", headFile)
	}
	out := &Summary{Origin: c.Origin, From: h.From, To: h.To, Size: c.Size, Signed: c.Time, Witnesses: []string{}}
	for _, w := range seen {
		out.Witnesses = append(out.Witnesses, w.Name)
	}
	tree, err := out.middle(dir, h)
	if err != nil {
		return nil, err
	}
	root, err := h.root(c.Size, tree)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(root, c.Root[:]) {
		return nil, errors.New("its acts do not lead to the root that the log has signed: something was changed, left out or put in")
	}
	return out, nil
}

// middle reads the acts, and returns the range of the tree that they are.
func (s *Summary) middle(dir string, h head) (*compact.Range, error) {
	f, err := os.Open(filepath.Join(dir, actsFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tree := factory.NewEmptyRange(uint64(h.From))
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, 1<<17), 1<<17) // a body has 64 KiB at most
	for lines.Scan() {
		hash, err := s.line(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", actsFile, int64(tree.End())-h.From+1, err)
		}
		if int64(tree.End()) >= h.To {
			return nil, fmt.Errorf("%s has more acts than its head says", actsFile)
		}
		if err := tree.Append(hash[:], nil); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if int64(tree.End()) != h.To {
		return nil, fmt.Errorf("%s has %d acts, and its head says %d", actsFile, int64(tree.End())-h.From, h.To-h.From)
	}
	return tree, nil
}

// line returns the hash of the leaf that a line is.
func (s *Summary) line(text []byte) ([32]byte, error) {
	if bytes.HasPrefix(text, []byte(`{"erased":`)) {
		var e erased
		var hash [32]byte
		if err := strictjson.Unmarshal(text, &e); err != nil {
			return hash, err
		}
		b, err := hex.DecodeString(e.Erased)
		if err != nil || len(b) != len(hash) {
			return hash, errors.New("erased, and not with the hash of a leaf")
		}
		s.Erased++
		return [32]byte(b), nil
	}
	event, err := audit.ParseBody(text)
	if err != nil {
		return [32]byte{}, err
	}
	if s.First.IsZero() || event.At.Before(s.First) {
		s.First = event.At
	}
	if event.At.After(s.Last) {
		s.Last = event.At
	}
	return audit.LeafHash(text), nil
}

// root computes the root of the whole tree from both sides and the middle.
func (h head) root(size int64, middle *compact.Range) ([]byte, error) {
	left, err := side(0, h.From, h.Left)
	if err != nil {
		return nil, err
	}
	right, err := side(h.To, size, h.Right)
	if err != nil {
		return nil, err
	}
	for _, part := range []*compact.Range{middle, right} {
		if err := left.AppendRange(part, nil); err != nil {
			return nil, err
		}
	}
	return left.GetRootHash(nil)
}

func side(begin, end int64, hashes []string) (*compact.Range, error) {
	var out [][]byte
	for _, text := range hashes {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != tlog.HashSize {
			return nil, fmt.Errorf("%s: a hash beside the acts is none", headFile)
		}
		out = append(out, b)
	}
	r, err := factory.NewRange(uint64(begin), uint64(end), out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", headFile, err)
	}
	return r, nil
}
