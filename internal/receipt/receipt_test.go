package receipt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// book is a log of acts that the test writes itself.
type book struct {
	testing.TB
	log    *checkpoint.Log
	key    *ecdsa.PrivateKey
	acts   []string
	hashes []tlog.Hash // of x/mod's stored form
}

func newBook(t testing.TB, origin string, seed byte) *book {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	log, err := checkpoint.NewLog(origin, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &book{TB: t, log: log, key: key}
}

// filled returns a book with n acts; which tells apart those of two histories.
func filled(t testing.TB, n int, which string) *book {
	b := newBook(t, "test.example/log/acts", 1)
	for i := range n {
		b.add(fmt.Sprintf("%s%d", which, i))
	}
	return b
}

// act is the body of an act about a card.
func act(t testing.TB, id string) string {
	t.Helper()
	r, err := audit.Seal(audit.Event{ID: "evt_" + id, At: noon, Act: audit.CardBlocked, By: "per_a",
		Public: []audit.Field{{Name: "card", Value: "card of " + id}, {Name: "report", Value: "lost"}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Body)
}

func (b *book) add(id string) {
	b.Helper()
	body := act(b, id)
	stored, err := tlog.StoredHashesForRecordHash(int64(len(b.acts)), tlog.Hash(audit.LeafHash([]byte(body))), b)
	if err != nil {
		b.Fatal(err)
	}
	b.acts, b.hashes = append(b.acts, body), append(b.hashes, stored...)
}

// ReadHashes implements tlog.HashReader.
func (b *book) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, b.hashes[i])
	}
	return out, nil
}

func (b *book) note(size int64) []byte {
	b.Helper()
	root, err := tlog.TreeHash(size, b)
	if err != nil {
		b.Fatal(err)
	}
	note, err := b.log.Sign(b.key, size, root, noon)
	if err != nil {
		b.Fatal(err)
	}
	return note
}

// proof proves an act under the tree of a size.
func (b *book) proof(index, size int64) checkpoint.Proof {
	b.Helper()
	hashes, err := tlog.ProveRecord(size, index, b)
	if err != nil {
		b.Fatal(err)
	}
	return checkpoint.Proof{Index: index, Hashes: hashes, Note: b.note(size)}
}

func (b *book) receipt(index, size int64) *Receipt {
	b.Helper()
	r, err := Parse(b.acts[index], string(b.proof(index, size).Text()))
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// Every act has a receipt under every tree that it is in, and says which act it is.
func TestReceipts(t *testing.T) {
	b := filled(t, 9, "a")
	for size := int64(1); size <= 9; size++ {
		for index := range size {
			r := b.receipt(index, size)
			text, err := r.Document()
			if err != nil {
				t.Fatal(err)
			}
			if r, err = Read(text); err != nil {
				t.Fatal(err)
			}
			v, err := r.Verify(b.log, nil)
			if err != nil || v.Number != index+1 || v.Checkpoint.Size != size || v.Act.ID != r.Event() || len(v.Seen) != 0 {
				t.Fatalf("act %d of %d: %+v, %v", index, size, v, err)
			}
		}
	}
	r := b.receipt(3, 9)
	if err := r.About(audit.CardBlocked, audit.Field{Name: "card", Value: "card of a3"}); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another act":      r.About(audit.OrderPlaced),
		"another card":     r.About(audit.CardBlocked, audit.Field{Name: "card", Value: "card of a4"}),
		"an unknown field": r.About(audit.CardBlocked, audit.Field{Name: "order", Value: "ord_1"}),
	} {
		if !errors.Is(err, ErrOther) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is changed anywhere proves nothing: the act, the path, the place, the note; and what
// another key has signed, or belongs to another act, neither.
func TestFalseReceipts(t *testing.T) {
	b, other := filled(t, 9, "a"), filled(t, 9, "b")
	stranger := newBook(t, "test.example/log/acts", 7)
	for i := range 9 {
		stranger.add(fmt.Sprintf("a%d", i))
	}
	elsewhere := newBook(t, "other.example/log/acts", 1)
	for i := range 9 {
		elsewhere.add(fmt.Sprintf("a%d", i))
	}
	good := b.proof(3, 9)
	change := func(fn func(*checkpoint.Proof)) string {
		p := good
		p.Hashes = append([]tlog.Hash{}, good.Hashes...)
		p.Note = bytes.Clone(good.Note)
		fn(&p)
		return string(p.Text())
	}
	for name, c := range map[string]struct{ act, proof string }{
		"the act":                {strings.Replace(b.acts[3], "lost", "kept", 1), string(good.Text())},
		"the act's time":         {strings.Replace(b.acts[3], "2026", "2025", 1), string(good.Text())},
		"another act's receipt":  {b.acts[4], string(good.Text())},
		"an act of another past": {other.acts[3], string(good.Text())},
		"the place":              {b.acts[3], change(func(p *checkpoint.Proof) { p.Index = 4 })},
		"the path":               {b.acts[3], change(func(p *checkpoint.Proof) { p.Hashes[0][31] ^= 1 })},
		"a shorter path":         {b.acts[3], change(func(p *checkpoint.Proof) { p.Hashes = p.Hashes[1:] })},
		"the size":               {b.acts[3], change(func(p *checkpoint.Proof) { p.Note = bytes.Replace(p.Note, []byte("\n9\n"), []byte("\n8\n"), 1) })},
		"another tree's note":    {b.acts[3], change(func(p *checkpoint.Proof) { p.Note = other.note(9) })},
		"another key":            {b.acts[3], string(stranger.proof(3, 9).Text())},
		"another log":            {b.acts[3], string(elsewhere.proof(3, 9).Text())},
		"no note":                {b.acts[3], change(func(p *checkpoint.Proof) { p.Note = nil })},
		"nothing":                {"", ""},
		"white space":            {b.acts[3] + " ", string(good.Text())},
	} {
		r, err := Parse(c.act, c.proof)
		if err != nil {
			continue
		}
		if v, err := r.Verify(b.log, nil); err == nil {
			t.Errorf("%s was changed, and it proves act %d", name, v.Number)
		}
	}
	for name, text := range map[string]string{
		"an unknown member": `{"act":"","proof":"","more":""}`, "a member twice": `{"act":"","act":"","proof":""}`, "no object": `[]`,
		"too long": `{"act":"` + strings.Repeat("a", MaxOctets) + `"}`, "cut off": `{"act":"`,
	} {
		if _, err := Read([]byte(text)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// A log that shows later what does not contain the act any more, or has it elsewhere, is
// found out by the receipt: both were signed by it.
func TestReceiptHoldsTheLogToIt(t *testing.T) {
	b, other := filled(t, 12, "a"), newBook(t, "test.example/log/acts", 1)
	for _, id := range []string{"b0", "a3", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9"} { // the act moved
		other.add(id)
	}
	r := b.receipt(3, 9)
	for size := int64(4); size <= 12; size++ {
		now, err := r.Later(b.proof(3, size).Text(), b.log, nil)
		if err != nil || now.Checkpoint.Size != size || now.Number != 4 {
			t.Errorf("at %d: %+v, %v", size, now, err)
		}
	}
	if _, err := r.Later(other.proof(1, 11).Text(), b.log, nil); !errors.Is(err, ErrMoved) {
		t.Errorf("an act that has moved: %v", err)
	}
	if _, err := r.Later(b.proof(4, 9).Text(), b.log, nil); err == nil {
		t.Error("the proof of another act was taken for a later one")
	}
	forked := filled(t, 4, "a") // the same beginning, another end
	for i := range 5 {
		forked.add(fmt.Sprintf("c%d", i))
	}
	if _, err := r.Later(forked.proof(3, 9).Text(), b.log, nil); !errors.Is(err, checkpoint.ErrFork) {
		t.Errorf("another tree of the same size: %v", err)
	}
	for name, c := range map[string]struct {
		note []byte
		want error
	}{
		"the same":     {b.note(9), nil},
		"a fork":       {other.note(9), checkpoint.ErrFork},
		"another size": {b.note(11), ErrSizes},
	} {
		if _, err := r.Against(c.note, b.log); !errors.Is(err, c.want) {
			t.Errorf("against %s: %v", name, err)
		}
	}
	if _, err := r.Against([]byte("nothing"), b.log); err == nil {
		t.Error("it was held against nothing")
	}
	for name, c := range map[string]struct {
		note []byte
		want error
	}{
		"the same": {b.note(9), nil}, "larger": {b.note(12), nil}, "a fork": {other.note(9), checkpoint.ErrFork}, "smaller, with the act in it": {b.note(8), ErrShrunk},
	} {
		if err := r.Outgrown(c.note, b.log); !errors.Is(err, c.want) {
			t.Errorf("newest %s: %v", name, err)
		}
	}
	if err := r.Outgrown([]byte("nothing"), b.log); err == nil {
		t.Error("nothing was the newest")
	}
}

// Who of the witnesses has cosigned is told; those that are not believed are not.
func TestWitnessedReceipt(t *testing.T) {
	b := filled(t, 5, "a")
	var signers []*checkpoint.Cosigner
	for _, name := range []string{"one.example", "two.example"} {
		skey, err := checkpoint.GenerateCosigner(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := checkpoint.NewCosigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
	}
	believed := []checkpoint.Witness{signers[0].Witness()}
	p := b.proof(2, 5)
	c, err := b.log.Open(p.Note)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		line, err := s.Cosign(c, noon)
		if err != nil {
			t.Fatal(err)
		}
		p.Note = append(p.Note, line...)
	}
	r, err := Parse(b.acts[2], string(p.Text()))
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.Verify(b.log, believed)
	if err != nil || len(v.Seen) != 1 || v.Seen[0].Name != "one.example" {
		t.Errorf("%+v, %v", v, err)
	}
}

// FuzzRead: what is read means one act in one form, and is written as it was read; what
// verifies is in the book.
func FuzzRead(f *testing.F) {
	b := filled(f, 6, "a")
	for i := range int64(6) {
		text, err := b.receipt(i, 6).Document()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	compact, _ := json.Marshal(document{b.acts[0], string(b.proof(0, 6).Text())})
	f.Add(compact)
	f.Add([]byte(`{"act":"\u001b[2J","proof":"c2sp.org/tlog-proof@v1\nindex 0\n\n"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Read(text)
		if err != nil {
			return
		}
		again, err := r.Document()
		if err != nil {
			t.Fatal(err)
		}
		second, err := Read(again)
		if err != nil || second.act != r.act || !bytes.Equal(second.proof.Text(), r.proof.Text()) {
			t.Fatalf("%q, then %q: %v", text, again, err)
		}
		v, err := r.Verify(b.log, nil)
		if err != nil {
			return
		}
		if v.Number < 1 || v.Number > 6 || b.acts[v.Number-1] != r.act {
			t.Errorf("act %d was proved: %s", v.Number, r.act)
		}
	})
}
