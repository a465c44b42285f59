package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/excerpt"
	"sigill/internal/auditor/remote"
	"sigill/internal/auditor/source"
	"sigill/internal/checkpoint"
)

type auditCompareCmd struct {
	knownLogs
	One   string `arg:"" help:"An auditor's memory (a directory), or a checkpoint (a file)."`
	Other string `arg:"" help:"Another auditor's."`
}

// Help implements kong.HelpProvider.
func (auditCompareCmd) Help() string {
	return `A log that shows each of two auditors another history is found out when they
compare what they saw. A memory has in it what both need; of two checkpoints alone
only those of one size can be compared.

  sigill audit compare /var/lib/audit theirs/acts.checkpoint --log status.example/log/acts=acts.pem

Exit 0: they have seen one log; 1: two, or it cannot be told; 2: wrong use.`
}

// seen is what one auditor has: a memory, or a checkpoint.
type seen struct {
	name  string
	book  *book.Book // nil: a checkpoint
	notes map[auditor.Tree][]byte
}

func (c *auditCompareCmd) open(g *globals, path string, logs map[auditor.Tree]*checkpoint.Log) (*seen, error) {
	s := &seen{name: path, notes: map[auditor.Tree][]byte{}}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is neither an auditor's memory nor a checkpoint (a memory has its newest in acts.checkpoint and certificates.checkpoint)", path)
	} else if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		note, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for tree, l := range logs {
			if _, err := l.Open(note); err == nil {
				s.notes[tree] = note
			}
		}
		if len(s.notes) == 0 {
			return nil, fmt.Errorf("%s is no checkpoint that one of the logs has signed", path)
		}
		return s, nil
	}
	if s.book, err = openBook(g, path); err != nil {
		return nil, err
	}
	for tree := range logs {
		h, err := s.book.Head(g.ctx, string(tree))
		if errors.Is(err, book.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, errors.Join(err, s.book.Close())
		}
		s.notes[tree] = h.Note
	}
	return s, nil
}

// root returns the root that a tree had at a size, from what an auditor has seen.
func (s *seen) root(g *globals, tree auditor.Tree, size int64) (tlog.Hash, error) {
	if s.book == nil {
		return tlog.Hash{}, errors.New("two checkpoints of different sizes cannot be compared without one of the auditors' memories: give the directory of --state in place of one of them")
	}
	h, err := s.book.Head(g.ctx, string(tree))
	if err == nil && h.Done < size {
		err = fmt.Errorf("%s has followed %d entries only: follow to the end first", s.name, h.Done)
	}
	if err != nil {
		return tlog.Hash{}, err
	}
	return s.book.Root(g.ctx, string(tree), size)
}

// compared is one log in the answer.
type compared struct {
	Log  auditor.Tree `json:"log"`
	Same bool         `json:"same"` // one history
	Fork bool         `json:"fork"`
	Why  string       `json:"why"`
}

func (c *auditCompareCmd) Run(g *globals) error {
	logs, _, err := c.knownLogs.read()
	if err != nil {
		return err
	}
	if filepath.Clean(c.One) == filepath.Clean(c.Other) {
		return usageError{"both are the same: name what two auditors have"}
	}
	one, err := c.open(g, c.One, logs)
	if err != nil {
		return err
	}
	other, err := c.open(g, c.Other, logs)
	if one.book != nil {
		defer one.book.Close()
	}
	if err != nil {
		return err
	}
	if other.book != nil {
		defer other.book.Close()
	}
	answers, text, bad := []compared{}, "", false
	for _, tree := range []auditor.Tree{auditor.Certificates, auditor.Acts} {
		if one.notes[tree] == nil || other.notes[tree] == nil {
			continue
		}
		a := compareTree(g, logs[tree], tree, one, other)
		answers, text, bad = append(answers, a), text+fmt.Sprintf("log of %s: %s\n", tree, a.Why), bad || !a.Same
	}
	if len(answers) == 0 {
		return usageError{"the two have seen no log in common of those that --log names"}
	}
	if err := g.print(answers, text); err != nil {
		return err
	}
	if bad {
		return errTold
	}
	return nil
}

func compareTree(g *globals, log *checkpoint.Log, tree auditor.Tree, one, other *seen) compared {
	out := compared{Log: tree}
	a, err := log.Open(one.notes[tree])
	var b checkpoint.Checkpoint
	if err == nil {
		b, err = log.Open(other.notes[tree])
	}
	if err == nil {
		larger, smaller := one, other
		if a.Size < b.Size {
			larger, smaller = other, one
		}
		err = source.Compare(a, b, func(size int64) (tlog.Hash, error) {
			if larger.book == nil && smaller.book != nil {
				return tlog.Hash{}, errors.New("the larger one is a checkpoint alone: let its auditor compare, or follow on")
			}
			return larger.root(g, tree, size)
		})
	}
	switch {
	case err == nil:
		out.Same, out.Why = true, fmt.Sprintf("one history (%d and %d entries)", a.Size, b.Size)
	case errors.Is(err, source.ErrFork):
		out.Fork, out.Why = true, "FORK: "+err.Error()+". Keep both checkpoints: together they prove it"
	default:
		out.Why = "cannot be told: " + err.Error()
	}
	return out
}

type auditExportCmd struct {
	ownCard
	knownLogs
	From string `required:"" placeholder:"TIME|N" help:"First act: a time (2026-03-14 or 2026-03-14T09:26:53Z), or its index in the log."`
	To   string `required:"" placeholder:"TIME|N" help:"Up to this time, or before this act."`
	Out  string `required:"" placeholder:"DIR" help:"A new directory."`
}

// Help implements kong.HelpProvider.
func (auditExportCmd) Help() string {
	return `Writes a period of the log of acts with what proves it: whoever has the log's public
key can verify it years later without the service (sigill audit verify-export). Acts
whose times are out of order by a few minutes come along on both sides. It holds
identifiers and hashes, and no personal values.`
}

// bound reads where a period begins or ends.
func bound(flag, text string) (excerpt.Bound, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return excerpt.Bound{Index: n}, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil {
			return excerpt.Bound{Time: t}, nil
		}
	}
	return excerpt.Bound{}, usageError{fmt.Sprintf("--%s wants a time such as 2026-03-14 or 2026-03-14T09:26:53Z, or an index", flag)}
}

func (c *auditExportCmd) Run(g *globals) error {
	logs, _, err := c.knownLogs.read(auditor.Acts)
	if err != nil {
		return err
	}
	from, err := bound("from", c.From)
	if err != nil {
		return err
	}
	to, err := bound("to", c.To)
	if err != nil {
		return err
	}
	s, err := c.serverFlags.open(g)
	if err != nil {
		return err
	}
	defer s.close()
	opened, err := s.card(c.Identity)
	if err != nil {
		return err
	}
	with, err := c.object()
	if err != nil {
		return err
	}
	source, err := remote.Open(s.ctx, remote.Login{Server: c.Server, Roots: s.roots, Card: opened, With: with, Language: s.lang})
	if err != nil {
		return err
	}
	defer source.Close()
	sum, err := excerpt.Export(g.ctx, source, logs[auditor.Acts], from, to, filepath.Clean(c.Out))
	if err != nil {
		return err
	}
	return g.print(sum, exported(sum))
}

func exported(s *excerpt.Summary) string {
	return facts("log", s.Origin, "acts", fmt.Sprintf("%d to %d", s.From, s.To-1), "from", moment(s.First), "to", moment(s.Last), "not shown", notShown(s.Erased),
		"checkpoint", fmt.Sprintf("%d entries, signed %s", s.Size, moment(s.Signed)))
}

// notShown tells of acts that an excerpt has only the hashes of.
func notShown(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%d: erased by retention, or left out by who made this; the log itself tells which", n)
}

type auditVerifyExportCmd struct {
	knownLogs
	Export string `arg:"" type:"existingdir" help:"The directory."`
}

func (c *auditVerifyExportCmd) Run(g *globals) error {
	logs, witnesses, err := c.knownLogs.read(auditor.Acts)
	if err != nil {
		return err
	}
	sum, err := excerpt.Verify(c.Export, logs[auditor.Acts], witnesses)
	if err != nil {
		return err
	}
	if len(sum.Witnesses) < c.quorum() {
		return fmt.Errorf("its checkpoint is cosigned by %d of the witnesses, and %d are wanted", len(sum.Witnesses), c.quorum())
	}
	return g.print(sum, "verified\n"+exported(sum))
}
