package translog

import (
	"context"
	"errors"
	"fmt"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
)

// Leaf returns the Merkle leaf of a certificate that is to be signed (RFC 6962, 3.4).
func Leaf(p ca.PreCert, at time.Time) *ct.MerkleTreeLeaf {
	return &ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &ct.TimestampedEntry{
		Timestamp: uint64(at.UnixMilli()), EntryType: ct.PrecertLogEntryType,
		PrecertEntry: &ct.PreCert{IssuerKeyHash: p.IssuerKeyHash, TBSCertificate: p.TBS}}}
}

// promised returns what an SCT of this time signs, and what is recorded of the leaf. The
// two structures of RFC 6962 (3.2 and 3.4) have the same octets: version and type are 0 in
// both, and all else is of one name. So they are written once.
func promised(sct ct.SignedCertificateTimestamp, p ca.PreCert, at time.Time) ([]byte, ca.LogLeaf, error) {
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *Leaf(p, at)})
	if err != nil {
		return nil, ca.LogLeaf{}, fmt.Errorf("SCT: %w", err)
	}
	return input, ca.LogLeaf{Hash: tlog.RecordHash(input), Time: at}, nil
}

// Promise implements [ca.Log].
func (s *Service) Promise(_ context.Context, p ca.PreCert) (ca.Promise, error) {
	log := s.config.Certificates
	at := s.config.Now().UTC().Truncate(time.Millisecond)
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: log.ID()}, Timestamp: uint64(at.UnixMilli())}
	input, leaf, err := promised(sct, p, at)
	if err != nil {
		return ca.Promise{}, err
	}
	signed, err := checkpoint.DigitallySign(log.Signer, input)
	if err != nil {
		return ca.Promise{}, fmt.Errorf("signing SCT: %w", err)
	}
	if _, err := tls.Unmarshal(signed, &sct.Signature); err != nil {
		return ca.Promise{}, fmt.Errorf("SCT: %w", err)
	}
	octets, err := tls.Marshal(sct)
	if err != nil {
		return ca.Promise{}, fmt.Errorf("encoding SCT: %w", err)
	}
	list, err := tls.Marshal(ctx509.SignedCertificateTimestampList{SCTList: []ctx509.SerializedSCT{{Val: octets}}})
	if err != nil {
		return ca.Promise{}, fmt.Errorf("encoding SCT list: %w", err)
	}
	return ca.Promise{SCTList: list, Leaf: leaf}, nil
}

// Check implements [ca.Log].
func (s *Service) Check(list []byte, p ca.PreCert) (ca.LogLeaf, error) {
	return CheckSCT(s.Reader.Certificates, list, p)
}

// CheckSCT returns the leaf that a list promises for p, and fails if it has no SCT of the
// log that verifies.
func CheckSCT(log *checkpoint.Log, list []byte, p ca.PreCert) (ca.LogLeaf, error) {
	var all ctx509.SignedCertificateTimestampList
	if rest, err := tls.Unmarshal(list, &all); err != nil || len(rest) > 0 {
		return ca.LogLeaf{}, errors.New("not a list of SCTs")
	}
	for _, each := range all.SCTList {
		var sct ct.SignedCertificateTimestamp
		rest, err := tls.Unmarshal(each.Val, &sct)
		if err != nil || len(rest) > 0 || sct.SCTVersion != ct.V1 || sct.LogID.KeyID != log.ID() || len(sct.Extensions) > 0 {
			continue // another log's, or of another form
		}
		at := time.UnixMilli(int64(sct.Timestamp)).UTC()
		input, leaf, err := promised(sct, p, at)
		if err != nil {
			return ca.LogLeaf{}, err
		}
		if err := log.VerifySignature(input, sct.Signature); err != nil {
			return ca.LogLeaf{}, fmt.Errorf("the log's SCT does not verify: %w", err)
		}
		return leaf, nil
	}
	return ca.LogLeaf{}, errors.New("no SCT of the log")
}

// Await implements [ca.Log]. Who waits does the work: the first runs the sequencer's pass
// for all that are recorded by then, and who comes meanwhile waits for the next. So a wait
// depends on no loop in the background, and one pass serves as many as there are.
func (s *Service) Await(ctx context.Context, leaf ca.LogLeaf) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Patience)
	defer cancel()
	wait := s.config.Wait(ctx)
	defer wait.Stop()
	baton := s.baton
	need := s.begun.Load() + 1 // the one under way may have begun before the leaf was committed
	var looks looks
	var failed error
	for {
		kept, bell := s.kept(leaf.Hash)
		if kept {
			return nil
		}
		woken, err := wait.Next(baton, bell)
		if err != nil {
			return errors.Join(fmt.Errorf("the leaf is not in the log: %w", err), failed)
		}
		baton = s.baton
		switch woken {
		case Passes:
			failed = s.passFor(ctx, leaf.Hash)
			<-s.baton
			baton = nil // not at once again: it came to nothing, or the next bell tells
		case Looks:
			if !looks.due(s, need) {
				continue
			}
			if kept, err := s.lookFor(ctx, leaf.Hash); kept {
				return nil
			} else if err != nil {
				failed = err
			}
		}
	}
}

// passFor passes unless the leaf got into the log while its waiter took the baton.
func (s *Service) passFor(ctx context.Context, leaf tlog.Hash) error {
	if kept, _ := s.kept(leaf); kept {
		return nil
	}
	_, err := s.pass(ctx)
	return err
}

// kept reports whether this process knows that a stored head covers the leaf, and returns
// what rings when that may have changed.
func (s *Service) kept(leaf tlog.Hash) (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number, ok := s.numbers[leaf]
	if !ok {
		number, ok = s.previous[leaf]
	}
	return ok && number <= s.covered, s.bell
}

// lookFor reads whether a stored head covers the leaf. What its row says of its place is
// held against the tree under that head: a certificate is signed because of it, and who
// can write a row has not thereby written the log.
func (s *Service) lookFor(ctx context.Context, leaf tlog.Hash) (bool, error) {
	err := s.config.Store.View(ctx, func(tx *Tx) error {
		number, err := tx.LeafNumber(leaf)
		if err != nil {
			return err
		}
		head, err := s.head(tx, audit.CertificateTree, Newest)
		if err == nil && number > head.Size {
			err = ErrNotFound // not yet
		}
		if err != nil {
			return err
		}
		hashes, err := tiles.Inclusion(tx, audit.CertificateTree, number-1, head.Size)
		if err != nil {
			return err
		}
		return checkpoint.CheckLeaf(head.Checkpoint, number-1, leaf, hashes)
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
