package reconcile

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
)

// Get returns what an address of the logs' reading side answers, such as
// "/log/acts/checkpoint": over HTTP, from the database of a copy, or from files. The error
// is ErrErased where retention has erased the entry of the certificate log that is asked for
// first.
type Get func(ctx context.Context, address string) ([]byte, error)

// ErrErased is what a Get returns for what was erased at the end of its retention.
var ErrErased = errors.New("erased at the end of its retention")

// Source is a copy of both logs under the heads that it shows. What it returns is held
// against those heads by who uses it.
type Source struct {
	get  Get
	Acts Head
	// Certificates is the head of the certificate log.
	Certificates Head
}

// Head is a signed head.
type Head struct {
	checkpoint.Checkpoint
	Note []byte
}

// Logs are both logs as everybody knows them.
type Logs struct{ Acts, Certificates *checkpoint.Log }

// Of returns the log of a tree.
func (l Logs) Of(tree tiles.Name) *checkpoint.Log {
	if tree == audit.ActTree {
		return l.Acts
	}
	return l.Certificates
}

// OpenSource reads the heads of a copy and refuses one that the logs did not sign.
func OpenSource(ctx context.Context, get Get, logs Logs) (*Source, error) {
	s := &Source{get: get}
	for tree, to := range map[tiles.Name]*Head{audit.ActTree: &s.Acts, audit.CertificateTree: &s.Certificates} {
		note, err := get(ctx, checkpointAt(tree))
		if err != nil {
			return nil, fmt.Errorf("the copy's head of the log of %s: %w", tree, err)
		}
		c, err := logs.Of(tree).Open(note)
		if err != nil {
			return nil, fmt.Errorf("the copy's head: %w", err)
		}
		*to = Head{c, note}
	}
	return s, nil
}

func checkpointAt(tree tiles.Name) string { return "/log/" + string(tree) + "/checkpoint" }

// bundleAt returns the address of a bundle of acts (C2SP tlog-tiles).
func bundleAt(n int64, width int) string {
	path := tlog.Tile{H: tiles.Height, L: -1, N: n, W: width}.Path()
	return "/log/acts/tile/entries/" + strings.TrimPrefix(path, fmt.Sprintf("tile/%d/data/", tiles.Height))
}

// entriesAt returns the address of entries of the certificate log (RFC 6962, 4.6).
func entriesAt(start, end int64) string {
	return fmt.Sprintf("/log/certificates/ct/v1/get-entries?start=%d&end=%d", start, end)
}

// tileAt returns the address of the leaf hashes of tile n.
func tileAt(tree tiles.Name, n int64, width int) string {
	path := tlog.Tile{H: tiles.Height, L: 0, N: n, W: width}.Path()
	return "/log/" + string(tree) + "/" + strings.Replace(path, fmt.Sprintf("tile/%d/", tiles.Height), "tile/", 1)
}

// bodies returns the bodies of bundle n, all that the head covers.
func (s *Source) bodies(ctx context.Context, n int64) ([][]byte, error) {
	width := int(min(tiles.Width, s.Acts.Size-n*tiles.Width))
	bundle, err := s.get(ctx, bundleAt(n, width))
	if err != nil {
		return nil, fmt.Errorf("acts from %d: %w", n*tiles.Width, err)
	}
	out, err := parseBundle(bundle)
	if err != nil || len(out) < width {
		return nil, fmt.Errorf("acts from %d: %d bodies instead of %d: %w", n*tiles.Width, len(out), width, errors.Join(err, errForm))
	}
	return out[:width], nil
}

var errForm = errors.New("the copy is not in form")

// parseBundle reads bodies with their lengths in two octets in front.
func parseBundle(bundle []byte) ([][]byte, error) {
	var out [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 {
			return nil, errForm
		}
		n := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+n || len(out) == tiles.Width {
			return nil, errForm
		}
		out, bundle = append(out, bundle[2:2+n:2+n]), bundle[2+n:]
	}
	return out, nil
}

// Entry is an entry of the certificate log.
type Entry struct {
	Leaf      tlog.Hash
	At        time.Time
	IssuerKey [32]byte // SHA-256 of the issuing CA's public key
	TBS       []byte   // without SCTs; nil: it was erased, and nothing but Leaf is known
}

// part is what one answer has of a chunk: entries, or places that were erased.
type part struct {
	start   int64
	answer  []byte // as JSON
	entries []ct.LeafEntry
	erased  int64 // that many from start on; then there are no entries
}

// answered is what get-entries answers, and what stands in a copy where it answered that
// all was erased.
type answered struct {
	ct.GetEntriesResponse
	Erased int64 `json:"erased,omitempty"`
}

// chunk calls yield with each part of chunk n, in order. Neighbouring places that were
// erased come as one.
func (s *Source) chunk(ctx context.Context, n int64, yield func(part) error) error {
	start, end := n*tiles.Width, min((n+1)*tiles.Width, s.Certificates.Size)
	var gap part
	flush := func() (err error) {
		if gap.erased > 0 {
			if gap.answer, err = json.Marshal(answered{GetEntriesResponse: ct.GetEntriesResponse{Entries: []ct.LeafEntry{}}, Erased: gap.erased}); err == nil {
				err = yield(gap)
			}
		}
		gap = part{}
		return err
	}
	for start < end {
		p, err := s.part(ctx, start, end)
		if err != nil {
			return fmt.Errorf("certificates from %d: %w", start, err)
		}
		if start += int64(len(p.entries)) + p.erased; p.erased > 0 {
			if gap.erased == 0 {
				gap.start = p.start
			}
			gap.erased += p.erased
			continue
		}
		if err := errors.Join(flush(), yield(p)); err != nil {
			return err
		}
	}
	return flush()
}

// part reads what one answer has from start on, at most up to end.
func (s *Source) part(ctx context.Context, start, end int64) (part, error) {
	answer, err := s.get(ctx, entriesAt(start, end-1))
	if errors.Is(err, ErrErased) {
		return part{start: start, erased: 1}, nil // that one, at least
	} else if err != nil {
		return part{}, err
	}
	var got answered
	if err := json.Unmarshal(answer, &got); err != nil {
		return part{}, fmt.Errorf("%w: %w", errForm, err)
	}
	if (len(got.Entries) == 0) != (got.Erased > 0) || got.Erased < 0 {
		return part{}, fmt.Errorf("%d of %d entries, and %d erased: %w", len(got.Entries), end-start, got.Erased, errForm)
	}
	// A copy that was being made anew when it was cut off has more than its head.
	return part{start: start, answer: answer, entries: got.Entries[:min(int64(len(got.Entries)), end-start)], erased: min(got.Erased, end-start)}, nil
}

// hashes returns the leaf hashes of tile n, as the copy has them.
func (s *Source) hashes(ctx context.Context, tree tiles.Name, n int64) ([]tlog.Hash, error) {
	size := s.Certificates.Size
	if tree == audit.ActTree {
		size = s.Acts.Size
	}
	width := int(min(tiles.Width, size-n*tiles.Width))
	tile, err := s.get(ctx, tileAt(tree, n, width))
	if err == nil && len(tile) != width*tlog.HashSize {
		err = errForm
	}
	if err != nil {
		return nil, fmt.Errorf("hashes from %d of the log of %s: %w", n*tiles.Width, tree, err)
	}
	out := make([]tlog.Hash, width)
	for i := range out {
		out[i] = tlog.Hash(tile[i*tlog.HashSize:])
	}
	return out, nil
}

// entries returns the entries of chunk n.
func (s *Source) entries(ctx context.Context, n int64) ([]Entry, error) {
	var out []Entry
	var hashes []tlog.Hash
	err := s.chunk(ctx, n, func(p part) (err error) {
		if p.erased > 0 && hashes == nil {
			if hashes, err = s.hashes(ctx, audit.CertificateTree, n); err != nil {
				return err
			}
		}
		for range p.erased {
			out = append(out, Entry{Leaf: hashes[len(out)]})
		}
		for i := range p.entries {
			e, err := parseEntry(p.entries[i].LeafInput)
			if err != nil {
				return fmt.Errorf("certificate %d: %w", p.start+int64(i), err)
			}
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

// parseEntry reads a MerkleTreeLeaf of a certificate that was logged before it was signed
// (RFC 6962, 3.4).
func parseEntry(input []byte) (Entry, error) {
	var leaf ct.MerkleTreeLeaf
	if rest, err := tls.Unmarshal(input, &leaf); err != nil || len(rest) > 0 {
		return Entry{}, fmt.Errorf("not a leaf: %w", errForm)
	}
	t := leaf.TimestampedEntry
	if leaf.Version != ct.V1 || leaf.LeafType != ct.TimestampedEntryLeafType || t == nil || t.EntryType != ct.PrecertLogEntryType ||
		t.PrecertEntry == nil || t.Timestamp > checkpoint.MaxSize {
		return Entry{}, fmt.Errorf("not the leaf of a certificate that is to be signed: %w", errForm)
	}
	return Entry{Leaf: tlog.RecordHash(input), At: time.UnixMilli(int64(t.Timestamp)).UTC(),
		IssuerKey: t.PrecertEntry.IssuerKeyHash, TBS: t.PrecertEntry.TBSCertificate}, nil
}
