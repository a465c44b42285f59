package simulate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/certificate-transparency-go/ctutil"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
	"sigill/internal/translog"
)

// trees are both, in the order in which they are looked at.
var trees = []tiles.Name{audit.ActTree, audit.CertificateTree}

// shown is what a log has shown so far: every head that was stored.
type shown struct {
	heads []checkpoint.Checkpoint
	note  []byte // the last one
}

func (b *Base) log(tree tiles.Name) *checkpoint.Log {
	if tree == audit.ActTree {
		return b.acts.Log
	}
	return b.certificates.Log
}

// checkLogs looks at the heads that are stored now: each is signed, is that of the
// tiles, continues the one before, and covers every certificate that was released.
func (s *Sim) checkLogs() {
	s.checkHeads()
	s.rows(`SELECT hex(c.serial) FROM certificates c LEFT JOIN log_leaves l ON l.serial = c.serial
		WHERE l.number IS NULL OR l.number > COALESCE((SELECT size FROM log_heads WHERE log = 'certificates' AND kind = 'signed'), 0)`,
		nil, func(r *sql.Rows) error {
			var serial string
			err := r.Scan(&serial)
			s.wrong("certificate %s was released, and no head of the log covers it", serial)
			return err
		})
}

func (s *Sim) checkHeads() {
	var fresh []tiles.Name
	stored := map[tiles.Name]bool{}
	s.rows(`SELECT log, size, note FROM log_heads WHERE kind = 'signed' ORDER BY log`, nil, func(r *sql.Rows) error {
		var tree tiles.Name
		var size int64
		var note []byte
		if err := r.Scan(&tree, &size, &note); err != nil {
			return err
		}
		stored[tree] = true
		log := s.logs[tree]
		if bytes.Equal(note, log.note) {
			return nil
		}
		head, err := s.base.log(tree).Open(note)
		if err != nil || head.Size != size {
			s.wrong("the stored head of the log of %s, of %d leaves, is %+v: %v", tree, size, head, err)
			return nil
		}
		if n := len(log.heads); n > 0 && (head.Size < log.heads[n-1].Size || head.Time.Before(log.heads[n-1].Time)) {
			s.wrong("the log of %s goes back from %+v to %+v", tree, log.heads[n-1], head)
		}
		log.note, log.heads = note, append(log.heads, head)
		fresh = append(fresh, tree)
		return nil
	})
	for _, tree := range trees {
		if !stored[tree] && len(s.logs[tree].heads) > 0 {
			s.wrong("the head of the log of %s is gone", tree)
		}
	}
	for _, tree := range fresh {
		heads := s.logs[tree].heads
		for _, h := range heads[max(len(heads)-2, 0):] {
			if root, err := tiles.Root(committed{s}, tree, h.Size); err != nil || root != h.Root {
				s.wrong("the log of %s has signed another root of %d leaves than its tiles have: %v", tree, h.Size, err)
			}
		}
	}
}

// inLog is called before the key of an issuing CA signs what an intent has.
func (s *Sim) inLog(serial []byte) {
	if s.count(`log_leaves l JOIN log_heads h ON h.log = 'certificates' AND h.kind = 'signed' AND h.size >= l.number WHERE l.serial = ?`, serial) != 1 {
		s.wrong("the issuing key is asked to sign %x, and no head of the log covers its leaf", serial)
	}
}

// checkTrees builds both trees from the rows, by other code than the service's: they are
// what the tiles have, and what every head said that was ever stored.
func (s *Sim) checkTrees() {
	for _, tree := range trees {
		leaves := s.leaves(tree)
		size, err := tiles.Size(committed{s}, tree)
		if err != nil || size != int64(len(leaves)) {
			s.wrong("the tree of %s has %d leaves, and there are %d rows with a number: %v", tree, size, len(leaves), err)
			return
		}
		heads := s.logs[tree].heads
		factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
		grown, at := factory.NewEmptyRange(0), 0
		for n := 0; ; n++ {
			for ; at < len(heads) && heads[at].Size == int64(n); at++ {
				if root := rootOf(grown); root != heads[at].Root {
					s.wrong("the log of %s has signed another root of %d leaves than its rows have", tree, n)
				}
			}
			if n == len(leaves) {
				break
			}
			if err := grown.Append(leaves[n][:], nil); err != nil {
				s.wrong("looking: %v", err)
			}
		}
		if at < len(heads) {
			s.wrong("the log of %s has signed a head of %d leaves, and has %d", tree, heads[at].Size, len(leaves))
		}
		if root, err := tiles.Root(committed{s}, tree, size); err != nil || root != rootOf(grown) {
			s.wrong("the tiles of the log of %s are not those of its %d rows: %v", tree, size, err)
		}
	}
}

func rootOf(r *compact.Range) tlog.Hash {
	root, err := r.GetRootHash(nil)
	if err != nil || r.End() == 0 {
		return sha256.Sum256(nil)
	}
	return tlog.Hash(root)
}

// leaves returns the leaves of a tree by their rows, in the order of their numbers.
func (s *Sim) leaves(tree tiles.Name) (all []tlog.Hash) {
	query := `SELECT number, leaf, leaf FROM log_leaves WHERE number IS NOT NULL ORDER BY number`
	if tree == audit.ActTree {
		query = `SELECT number, leaf, body FROM events WHERE number IS NOT NULL ORDER BY number`
	}
	s.rows(query, nil, func(r *sql.Rows) error {
		var number int
		var leaf, body []byte
		if err := r.Scan(&number, &leaf, &body); err != nil {
			return err
		}
		all = append(all, tlog.Hash(leaf))
		if number != len(all) {
			s.wrong("row %d of the log of %s has number %d", len(all), tree, number)
		}
		if tree == audit.ActTree && tlog.RecordHash(body) != tlog.Hash(leaf) {
			s.wrong("the leaf of event %d is not that of its body", number)
		}
		return nil
	})
	return all
}

// checkPromises: each certificate that was released has an SCT that other code verifies,
// for the leaf that is recorded.
func (s *Sim) checkPromises() {
	type released struct {
		issuer    ca.IssuerID
		der, leaf []byte
	}
	var all []released
	s.rows(`SELECT c.issuer, c.der, l.leaf FROM certificates c JOIN log_leaves l ON l.serial = c.serial`, nil, func(r *sql.Rows) error {
		var c released
		err := r.Scan(&c.issuer, &c.der, &c.leaf)
		all = append(all, c)
		return err
	})
	for _, c := range all {
		key := sumOf(c.der)
		leaf, ok := s.base.promised[key]
		if !ok {
			var err error
			if leaf, err = s.promisedLeaf(c.issuer, c.der); err != nil {
				s.wrong("the SCT of a certificate by %s: %v", c.issuer, err)
				return
			}
			s.base.promised[key] = leaf
		}
		if !bytes.Equal(leaf[:], c.leaf) {
			s.wrong("a certificate by %s promises another leaf than is recorded", c.issuer)
		}
	}
}

// promisedLeaf verifies the SCT of a certificate and returns the leaf that it promises.
func (s *Sim) promisedLeaf(id ca.IssuerID, der []byte) (leaf [32]byte, err error) {
	chain := make([]*ctx509.Certificate, 2)
	for i, b := range [][]byte{der, s.world.Issuers[id].Certificate().Raw} {
		if chain[i], err = ctx509.ParseCertificate(b); err != nil {
			return leaf, err
		}
	}
	public, err := ctx509.ParsePKIXPublicKey(s.base.certificates.SPKI())
	if err != nil {
		return leaf, err
	}
	all, err := x509util.ParseSCTsFromSCTList(&chain[0].SCTList)
	if err != nil || len(all) != 1 {
		return leaf, fmt.Errorf("%d are there: %w", len(all), err)
	}
	if err := ctutil.VerifySCT(public, chain, all[0], true); err != nil {
		return leaf, err
	}
	return ctutil.LeafHash(chain, all[0], true)
}

// demandLogs: when all has been done, both logs have everything, and show it to who has
// their public keys.
func (s *Sim) demandLogs(p *process) {
	s.checkTrees()
	s.checkPromises()
	for tree, rows := range map[tiles.Name]string{audit.ActTree: "events", audit.CertificateTree: "log_leaves"} {
		head, err := p.logs.Head(context.Background(), tree)
		if n := s.count(rows); err != nil || head.Size != int64(n) {
			s.wrong("the head of the log of %s is of %d leaves, and there are %d: %v", tree, head.Size, n, err)
		}
	}
	for _, leaf := range s.leaves(audit.CertificateTree) {
		if err := proved(p.logs, s.base.certificates.Log, leaf); err != nil {
			s.wrong("the log does not prove leaf %s: %v", leaf, err)
			return
		}
	}
}

func proved(from *translog.Service, log *checkpoint.Log, leaf tlog.Hash) error {
	index, err := from.IndexOf(context.Background(), leaf)
	if err != nil {
		return err
	}
	text, err := from.Proof(context.Background(), audit.CertificateTree, index)
	if err != nil {
		return err
	}
	p, err := checkpoint.ParseProof(text)
	if err != nil {
		return err
	}
	_, _, err = p.Verify(log, leaf, nil)
	return err
}

// committed reads the tiles that are in the database now.
type committed struct{ s *Sim }

// Tile implements [tiles.Records].
func (c committed) Tile(tree tiles.Name, level int, n int64) (hashes []byte, err error) {
	c.s.rows(`SELECT hashes FROM log_tiles WHERE log = ? AND level = ? AND n = ?`, []any{string(tree), level, n}, func(r *sql.Rows) error {
		return r.Scan(&hashes)
	})
	return hashes, nil
}

// LastTile implements [tiles.Records].
func (c committed) LastTile(tree tiles.Name) (n int64, hashes []byte, err error) {
	n = -1
	c.s.rows(`SELECT n, hashes FROM log_tiles WHERE log = ? AND level = 0 ORDER BY n DESC LIMIT 1`, []any{string(tree)}, func(r *sql.Rows) error {
		return r.Scan(&n, &hashes)
	})
	return n, hashes, nil
}

// PutTile implements [tiles.Records].
func (c committed) PutTile(tiles.Name, int, int64, []byte) error {
	return errors.New("here tiles are only read")
}
