package reconcile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
	"sigill/internal/translog"
	"sigill/orders/issue"
)

// Issuer is an issuing CA whose certificates are in the log.
type Issuer struct {
	ID          ca.IssuerID
	Certificate *x509.Certificate
}

// Kept is what a place outside of the installation has seen of a log.
type Kept struct {
	Place string
	Tree  tiles.Name
	Size  int64
	// Root of the tree; nil: the place tells the size alone.
	Root *tlog.Hash
}

// Config is what a Reconciler needs; all must be set, Kept as far as there is any.
type Config struct {
	Store   Store
	Source  *Source
	Kept    []Kept
	Issuers []Issuer
	// Partitions is how many lists each issuing CA has.
	Partitions int
	Now        func() time.Time
	// Batch is how many entries one transaction takes over; 0: 64.
	Batch int
}

// Reconciler takes over what a database lacks. It is for one goroutine, and for a
// database on which nothing else is numbered meanwhile.
type Reconciler struct {
	Config
	issuers map[[32]byte]Issuer
	story   *story
}

// New returns a Reconciler.
func New(c Config) (*Reconciler, error) {
	if c.Store == nil || c.Source == nil || len(c.Issuers) == 0 || c.Partitions < 1 || c.Now == nil {
		return nil, errors.New("reconcile: store, copy, issuing CAs, lists or clock is missing")
	}
	r := &Reconciler{Config: c, issuers: map[[32]byte]Issuer{}}
	for _, i := range c.Issuers {
		r.issuers[sha256.Sum256(i.Certificate.RawSubjectPublicKeyInfo)] = i
	}
	return r, nil
}

// Range is what is taken over of a log: indices from From up to, and without, To.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Plan is what a Reconciler would do.
type Plan struct {
	Acts         Range `json:"acts"`
	Certificates Range `json:"certificates"`
	// Lost are the serials of which nothing but the leaf is left: they are revoked.
	Lost []string `json:"lost"`
	// Told is how many revocations the acts tell of.
	Told int `json:"told"`
	// ByAct counts the acts that are taken over.
	ByAct map[string]int `json:"byAct"`
	// Again are the persons that were erased and are there again.
	Again []string `json:"again,omitempty"`
	// Unfinished are the mass revocations that were approved and not seen to be finished.
	// Their lists are in no log: whom they had still to end stays valid until they are
	// ordered again.
	Unfinished []string `json:"unfinished,omitempty"`
}

// Nothing reports whether there is nothing to take over.
func (p *Plan) Nothing() bool {
	return p.Acts.From == p.Acts.To && p.Certificates.From == p.Certificates.To
}

// Plan reads the copy, holds it against the database and against what was kept
// elsewhere, and returns what there is to do. It writes nothing.
func (r *Reconciler) Plan(ctx context.Context) (*Plan, error) {
	var acts, leaves int64
	err := r.Store.View(ctx, func(tx *Tx) (err error) {
		if acts, err = tiles.Size(tx.Trees, audit.ActTree); err != nil {
			return err
		}
		leaves, err = tiles.Size(tx.Trees, audit.CertificateTree)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the own logs: %w", err)
	}
	s := r.Source
	if s.Acts.Size < acts || s.Certificates.Size < leaves {
		return nil, fmt.Errorf("the copy ends at %d acts and %d certificates, and %d and %d are here: it has nothing to take over", s.Acts.Size, s.Certificates.Size, acts, leaves)
	}
	story, err := read(ctx, s, acts, leaves)
	if err != nil {
		return nil, err
	}
	if err := r.Store.View(ctx, func(tx *Tx) error { return r.verify(tx, story) }); err != nil {
		return nil, err
	}
	r.story = story
	return r.plan(ctx)
}

// verify holds the copy against the database and what was kept.
func (r *Reconciler) verify(tx *Tx, story *story) error {
	actTree, err := grown(tx.Trees, audit.ActTree, story.firstAct, story.actLeaves(), r.Source.Acts)
	if err != nil {
		return err
	}
	leafTree, err := grown(tx.Trees, audit.CertificateTree, story.firstLeaf, story.certificateLeaves(), r.Source.Certificates)
	if err != nil {
		return err
	}
	for _, k := range r.Kept {
		tree, head := actTree, r.Source.Acts.Checkpoint
		if k.Tree == audit.CertificateTree {
			tree, head = leafTree, r.Source.Certificates.Checkpoint
		}
		if err := k.agrees(tree, head); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kept) agrees(tree tiles.Records, head checkpoint.Checkpoint) error {
	if k.Size > head.Size {
		return fmt.Errorf("%s has seen %d leaves of the log of %s, and the copy ends at %d: what it lacks would stay unknown; take one that has it all",
			k.Place, k.Size, k.Tree, head.Size)
	}
	if k.Root == nil {
		return nil
	}
	root, err := tiles.Root(tree, k.Tree, k.Size)
	if err != nil {
		return err
	}
	if root != *k.Root {
		return fmt.Errorf("%s has seen another history of the log of %s, of %d leaves: %w. Which of them is true is for people to decide: see \"After a restore\" in docs/AUDIT.md",
			k.Place, k.Tree, k.Size, translog.ErrForked)
	}
	return nil
}

// tell notes what the acts come to for who reads the plan.
func (p *Plan) tell(acts []told) {
	for i := range acts {
		a := &acts[i]
		p.ByAct[a.Act]++
		switch a.Act {
		case audit.PersonErased:
			p.Again = append(p.Again, a.is("person"))
		case audit.RevocationApproved:
			p.Unfinished = append(p.Unfinished, a.is("revocation"))
		case audit.RevocationFinished:
			p.Unfinished = slices.DeleteFunc(p.Unfinished, func(id string) bool { return id == a.is("revocation") })
		}
	}
}

// plan tells what the story comes to.
func (r *Reconciler) plan(ctx context.Context) (*Plan, error) {
	s := r.story
	p := &Plan{Acts: Range{s.firstAct, r.Source.Acts.Size}, Certificates: Range{s.firstLeaf, r.Source.Certificates.Size}, ByAct: map[string]int{}}
	p.tell(s.acts)
	for _, entries := range s.ended {
		p.Told += len(entries)
	}
	err := r.Store.View(ctx, func(tx *Tx) error {
		p.Lost = nil
		for i := range s.entries {
			c, err := r.certificate(&s.entries[i])
			if err != nil {
				return fmt.Errorf("certificate %d: %w", s.firstLeaf+int64(i), err)
			}
			switch _, err := tx.Intent(c.Serial); {
			case errors.Is(err, issue.ErrNotFound):
				p.Lost = append(p.Lost, c.Serial.String())
			case err != nil:
				return err
			}
		}
		return nil
	})
	return p, err
}

const defaultBatch = 64

// Run does what Plan has told, in transactions that each leave both logs as a beginning
// of the copy's: after a crash Plan and Run go on from there. progress is told how far it
// is; nil: nobody.
//
// Certificates come first: what acts say of them is known from the copy as long as the
// acts are not taken over.
func (r *Reconciler) Run(ctx context.Context, progress func(what string, done, total int)) error {
	if r.story == nil {
		return errors.New("reconcile: there is no plan")
	}
	if progress == nil {
		progress = func(string, int, int) {}
	}
	s, batch := r.story, cmp.Or(r.Batch, defaultBatch)
	for at := 0; at < len(s.entries); at += batch {
		some := s.entries[at:min(at+batch, len(s.entries))]
		if err := r.Store.Update(ctx, func(tx *Tx) error { return r.takeCertificates(tx, s.firstLeaf+int64(at), some) }); err != nil {
			return fmt.Errorf("taking over certificates from %d: %w", s.firstLeaf+int64(at), err)
		}
		progress("certificates", at+len(some), len(s.entries))
	}
	for at := 0; at < len(s.acts); at += batch {
		some := s.acts[at:min(at+batch, len(s.acts))]
		if err := r.Store.Update(ctx, func(tx *Tx) error { return r.takeActs(tx, s.firstAct+int64(at), some) }); err != nil {
			return fmt.Errorf("taking over acts from %d: %w", s.firstAct+int64(at), err)
		}
		progress("acts", at+len(some), len(s.acts))
	}
	if err := r.Store.Update(ctx, r.finish); err != nil {
		return fmt.Errorf("finishing: %w", err)
	}
	return nil
}

// finish stores the copy's heads as the own, once the trees are theirs, and tells that.
func (r *Reconciler) finish(tx *Tx) error {
	for tree, head := range map[tiles.Name]Head{audit.ActTree: r.Source.Acts, audit.CertificateTree: r.Source.Certificates} {
		size, err := tiles.Size(tx.Trees, tree)
		if err != nil {
			return err
		}
		root, err := tiles.Root(tx.Trees, tree, size)
		if err != nil {
			return err
		}
		if size != head.Size || root != head.Root {
			return fmt.Errorf("log of %s: it has %d leaves and is not the copy's", tree, size)
		}
		if err := tx.Heads.PutHead(tree, translog.Newest, head.Size, head.Note); err != nil {
			return err
		}
	}
	s := r.story
	id := audit.EventID(audit.LogReconciled, r.Source.Acts.Root.String(), r.Source.Certificates.Root.String())
	if _, _, found, err := tx.Acts.EventLeaf(id); err != nil || found {
		return err
	}
	count := func(n int64) string { return fmt.Sprint(n) }
	ev := issue.NewEvent(audit.LogReconciled, r.Now(), "operator", issue.F("acts-kept", count(r.Source.Acts.Size)),
		issue.F("certificates-kept", count(r.Source.Certificates.Size)), issue.F("acts-from", count(s.firstAct)), issue.F("acts-to", count(r.Source.Acts.Size)),
		issue.F("certificates-from", count(s.firstLeaf)), issue.F("certificates-to", count(r.Source.Certificates.Size)),
		issue.F("revoked", count(int64(len(s.entries)))))
	ev.ID = id
	return tx.Events.Append(ev)
}

// atSize refuses to go on where the tree is not as large as it is thought to be.
func atSize(tx *Tx, tree tiles.Name, want int64) error {
	size, err := tiles.Size(tx.Trees, tree)
	if err == nil && size != want {
		err = fmt.Errorf("log of %s: it has %d leaves instead of %d: something else has written", tree, size, want)
	}
	return err
}
