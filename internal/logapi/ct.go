package logapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/tiles"
	"sigill/orders/issue"
)

// Limits of get-entries (RFC 6962, 4.6: a log may return fewer than were asked for).
const (
	maxEntries      = tiles.Width
	maxEntryOctets  = 4 << 20 // of entries, before base64
	minEntriesAsked = 1
)

// ct answers a method of RFC 6962, 4.3 to 4.8. Nothing is added by this way.
func (s *Service) ct(r *http.Request, method string) (*Answer, error) {
	methods := map[string]func(*http.Request) (any, error){
		"get-sth":             s.getSTH,
		"get-sth-consistency": s.getConsistency,
		"get-proof-by-hash":   s.getProof,
		"get-entries":         s.getEntries,
		"get-entry-and-proof": s.getEntryAndProof,
		"get-roots":           s.getRoots,
	}
	fn, ok := methods[method]
	if !ok {
		return nil, issue.ErrNotFound
	}
	v, err := fn(r)
	if err != nil {
		return nil, err
	}
	return asJSON(v)
}

func asJSON(v any) (*Answer, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding answer: %w", err)
	}
	return &Answer{typeJSON, cacheNever, append(b, '\n')}, nil
}

func (s *Service) getSTH(r *http.Request) (any, error) {
	if err := plain(r); err != nil {
		return nil, err
	}
	head, err := s.Trees.Head(r.Context(), audit.CertificateTree)
	if err != nil {
		return nil, fmt.Errorf("tree head: %w", err)
	}
	sth, err := s.Certificates.TreeHead(head.Note)
	if err != nil {
		return nil, fmt.Errorf("tree head: %w", err)
	}
	signature, err := tls.Marshal(sth.TreeHeadSignature)
	if err != nil {
		return nil, fmt.Errorf("tree head: %w", err)
	}
	return ct.GetSTHResponse{TreeSize: sth.TreeSize, Timestamp: sth.Timestamp, SHA256RootHash: sth.SHA256RootHash[:], TreeHeadSignature: signature}, nil
}

func (s *Service) getConsistency(r *http.Request) (any, error) {
	n, err := counts(r, "first", "second")
	if err != nil {
		return nil, err
	}
	first, second := n[0], n[1]
	if first > second {
		return nil, form("first is larger than second")
	}
	if err := s.reaches(r.Context(), second); err != nil {
		return nil, err
	}
	// Every tree grew out of the empty one, and out of itself: there is nothing to prove.
	proof := []tlog.Hash{}
	if first > 0 && first < second {
		if proof, err = s.Trees.Consistency(r.Context(), audit.CertificateTree, first, second); err != nil {
			return nil, fmt.Errorf("proving that tree %d grew to %d: %w", first, second, err)
		}
	}
	return ct.GetSTHConsistencyResponse{Consistency: octets(proof)}, nil
}

// reaches refuses a size of the tree that was not signed yet.
func (s *Service) reaches(ctx context.Context, size int64) error {
	head, err := s.Trees.Head(ctx, audit.CertificateTree)
	if err != nil {
		return fmt.Errorf("tree head: %w", err)
	}
	if size > head.Size {
		return form("the tree has %d entries", head.Size)
	}
	return nil
}

// octets never returns nil, which would be null in JSON and no list.
func octets(proof []tlog.Hash) [][]byte {
	out := make([][]byte, len(proof))
	for i := range proof {
		out[i] = proof[i][:]
	}
	return out
}

func (s *Service) getProof(r *http.Request) (any, error) {
	p, err := params(r, "hash", "tree_size")
	if err != nil {
		return nil, err
	}
	size, err := count("tree_size", p["tree_size"])
	if err != nil {
		return nil, err
	}
	hash, err := leafHash(p["hash"])
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, form("an empty tree has no proofs")
	}
	if err := s.reaches(r.Context(), size); err != nil {
		return nil, err
	}
	index, err := s.Trees.IndexOf(r.Context(), hash)
	if err != nil {
		return nil, fmt.Errorf("looking for a leaf: %w", err)
	}
	if index >= size {
		return nil, issue.ErrNotFound
	}
	path, err := s.Trees.Inclusion(r.Context(), audit.CertificateTree, index, size)
	if err != nil {
		return nil, fmt.Errorf("proving leaf %d: %w", index, err)
	}
	return ct.GetProofByHashResponse{LeafIndex: index, AuditPath: octets(path)}, nil
}

func (s *Service) getEntries(r *http.Request) (any, error) {
	n, err := counts(r, "start", "end")
	if err != nil {
		return nil, err
	}
	start, end := n[0], n[1]
	if start > end {
		return nil, form("start is larger than end")
	}
	head, err := s.Trees.Head(r.Context(), audit.CertificateTree)
	if err != nil {
		return nil, fmt.Errorf("tree head: %w", err)
	}
	if start >= head.Size {
		return nil, form("the tree has %d entries", head.Size)
	}
	// No sum of numbers from outside, which could overflow.
	list, err := s.entries(r.Context(), start, int(min(end-start, head.Size-1-start, maxEntries-1))+1)
	if err != nil {
		return nil, err
	}
	return ct.GetEntriesResponse{Entries: list}, nil
}

// entries returns up to limit entries from start on, of which the caller knows that they
// are there: at least one, and none behind one that was erased or would make too much.
func (s *Service) entries(ctx context.Context, start int64, limit int) ([]ct.LeafEntry, error) {
	leaves, err := s.leaves(ctx, audit.CertificateTree, start, limit)
	if err != nil {
		return nil, err
	}
	rows, err := s.Entries.LoggedCertificates(ctx, start, limit)
	if err != nil {
		return nil, fmt.Errorf("reading entries from %d: %w", start, err)
	}
	if len(rows) != limit {
		return nil, fmt.Errorf("%d of %d entries from %d: %w", len(rows), limit, start, errBroken)
	}
	var out []ct.LeafEntry
	size := 0
	for i := range rows {
		if len(rows[i].TBS) == 0 {
			break
		}
		e, err := s.entry(&rows[i], leaves[i])
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", start+int64(i), err)
		}
		if size += len(e.LeafInput) + len(e.ExtraData); size > maxEntryOctets && len(out) > 0 {
			break
		}
		out = append(out, e)
	}
	if len(out) < minEntriesAsked {
		return nil, fmt.Errorf("entry %d: %w", start, ErrErased)
	}
	return out, nil
}

func (s *Service) getEntryAndProof(r *http.Request) (any, error) {
	n, err := counts(r, "leaf_index", "tree_size")
	if err != nil {
		return nil, err
	}
	index, size := n[0], n[1]
	if index >= size {
		return nil, form("leaf_index is not in a tree of tree_size")
	}
	if err := s.reaches(r.Context(), size); err != nil {
		return nil, err
	}
	list, err := s.entries(r.Context(), index, 1)
	if err != nil {
		return nil, err
	}
	path, err := s.Trees.Inclusion(r.Context(), audit.CertificateTree, index, size)
	if err != nil {
		return nil, fmt.Errorf("proving leaf %d: %w", index, err)
	}
	return ct.GetEntryAndProofResponse{LeafInput: list[0].LeafInput, ExtraData: list[0].ExtraData, AuditPath: octets(path)}, nil
}

func (s *Service) getRoots(r *http.Request) (any, error) {
	if err := plain(r); err != nil {
		return nil, err
	}
	out := ct.GetRootsResponse{}
	for _, root := range s.Roots {
		out.Certificates = append(out.Certificates, base64.StdEncoding.EncodeToString(root.Raw))
	}
	return out, nil
}
