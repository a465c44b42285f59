// Package receipt reads receipts of acts and says what they prove, to who has public keys
// and nothing else: not the log, not the service, nobody's word.
//
// It owns the form of a receipt as a document and the question whether one is of the act
// that somebody asked for. It knows no network, no files and no words for people. Its
// central rule: nothing is told of a receipt but what was verified.
package receipt

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/strictjson"
)

// MaxOctets bounds a receipt as a document: the longest act and the longest proof, with
// every octet escaped.
const MaxOctets = 6*(audit.MaxBody+checkpoint.MaxNote) + 1<<16

// ErrOther says that a receipt is of another act than the one that was asked for.
var ErrOther = errors.New("the receipt is of another act")

// document is the form of a receipt. It is that of the API's answers.
type document struct {
	Act   string `json:"act"`
	Proof string `json:"proof"`
}

// Receipt is a receipt that was read, and not verified.
type Receipt struct {
	act   string
	body  *audit.Body
	proof checkpoint.Proof
}

// Verified is what a receipt proves.
type Verified struct {
	Act        *audit.Body
	Number     int64 // of the act in the log: 1, 2, 3, …
	Leaf       tlog.Hash
	Checkpoint checkpoint.Checkpoint // that covers it
	Seen       []checkpoint.Cosignature
}

// Parse reads act and proof as the API gives them. Each has one form; every other one is
// refused, so that no two receipts are of one act in different words.
func Parse(act, proof string) (*Receipt, error) {
	body, err := audit.ParseBody([]byte(act))
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	p, err := checkpoint.ParseProof([]byte(proof))
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return &Receipt{act: act, body: body, proof: p}, nil
}

// Read reads a receipt as a document, {"act": …, "proof": …}.
func Read(text []byte) (*Receipt, error) {
	if len(text) > MaxOctets {
		return nil, fmt.Errorf("receipt: more than %d octets", MaxOctets)
	}
	var d document
	if err := strictjson.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return Parse(d.Act, d.Proof)
}

// Document returns the receipt as [Read] reads it.
func (r *Receipt) Document() ([]byte, error) {
	text, err := json.MarshalIndent(document{r.act, string(r.proof.Text())}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return append(text, '\n'), nil
}

// Event is the id of the act.
func (r *Receipt) Event() string { return r.body.ID }

// About returns nil if the receipt is of this act and its public fields are, among
// others, these; ErrOther if not. Who did something compares so that it is this what was
// logged: a receipt of something else verifies as well.
func (r *Receipt) About(act string, fields ...audit.Field) error {
	if r.body.Act != act {
		return fmt.Errorf("%w: %s, not %s", ErrOther, r.body.Act, act)
	}
	for _, f := range fields {
		if !slices.Contains(r.body.Public, f) {
			return fmt.Errorf("%w: its %s is another", ErrOther, f.Name)
		}
	}
	return nil
}

// Verify returns what the receipt proves under the log's key. The witnesses are those
// that are believed; who of them has cosigned is in the result.
func (r *Receipt) Verify(log *checkpoint.Log, witnesses []checkpoint.Witness) (*Verified, error) {
	return r.under(r.proof, log, witnesses)
}

func (r *Receipt) under(p checkpoint.Proof, log *checkpoint.Log, witnesses []checkpoint.Witness) (*Verified, error) {
	leaf := tlog.Hash(audit.LeafHash([]byte(r.act)))
	c, seen, err := p.Verify(log, leaf, witnesses)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return &Verified{Act: r.body, Number: p.Index + 1, Leaf: leaf, Checkpoint: c, Seen: seen}, nil
}

// Later verifies a proof that the log gave later, and returns what that proves: the act is
// still where the receipt has it. The error is [checkpoint.ErrFork] or [ErrMoved] if the
// log signed both and they cannot be of one history; then both together are evidence.
func (r *Receipt) Later(proof []byte, log *checkpoint.Log, witnesses []checkpoint.Witness) (*Verified, error) {
	first, err := r.Verify(log, nil)
	if err != nil {
		return nil, err
	}
	p, err := checkpoint.ParseProof(proof)
	if err != nil {
		return nil, fmt.Errorf("later proof: %w", err)
	}
	now, err := r.under(p, log, witnesses)
	if err != nil {
		return nil, fmt.Errorf("later proof: %w", err)
	}
	if now.Number != first.Number {
		return nil, fmt.Errorf("%w: number %d there, and %d in the receipt", ErrMoved, now.Number, first.Number)
	}
	return now, same(first.Checkpoint, now.Checkpoint)
}

// Against holds the receipt against a checkpoint that the log showed to somebody else. It
// returns [checkpoint.ErrFork] if the log signed two trees, and ErrSizes where only a
// proof between the two could tell.
func (r *Receipt) Against(note []byte, log *checkpoint.Log) (checkpoint.Checkpoint, error) {
	first, err := r.Verify(log, nil)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	c, err := log.Open(note)
	if err != nil {
		return c, err
	}
	if c.Size != first.Checkpoint.Size {
		return c, ErrSizes
	}
	return c, same(first.Checkpoint, c)
}

// Outgrown verifies the newest checkpoint of the log: it returns [ErrShrunk] if that is of
// fewer acts than the log had when it gave the receipt, and [checkpoint.ErrFork] if it is
// of as many and another tree. A log never grows smaller; one that has was taken back to
// something old, and what came after that is gone or was told differently.
func (r *Receipt) Outgrown(newest []byte, log *checkpoint.Log) error {
	first, err := r.Verify(log, nil)
	if err != nil {
		return err
	}
	c, err := log.Open(newest)
	if err != nil {
		return fmt.Errorf("newest checkpoint: %w", err)
	}
	if c.Size < first.Checkpoint.Size {
		return fmt.Errorf("%w: %d acts now, %d under the receipt's checkpoint", ErrShrunk, c.Size, first.Checkpoint.Size)
	}
	return same(first.Checkpoint, c)
}

// ErrShrunk says that a log shows fewer acts than it has signed before.
var ErrShrunk = errors.New("the log has fewer acts than it once signed: it was taken back to something old, as by a restore. Keep the receipt: it proves that")

// ErrMoved says that an act has two places in the log. It is in the log once, because the
// leaf has its id in it, and what is logged never moves.
var ErrMoved = errors.New("the act has another place in the log by now: the log has more than one history")

// ErrSizes says that two checkpoints are of trees of different sizes, which cannot be
// compared without the log.
var ErrSizes = errors.New("it is of another size than the receipt's checkpoint, and cannot be compared without the log")

func same(a, b checkpoint.Checkpoint) error {
	if a.Size == b.Size && a.Root != b.Root {
		return fmt.Errorf("%s at %d: %w", a.Origin, a.Size, checkpoint.ErrFork)
	}
	return nil
}
