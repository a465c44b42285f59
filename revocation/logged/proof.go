package logged

import (
	"fmt"
	"strings"

	"sigill/internal/checkpoint"
)

// maxProofs bounds the proofs that came along: each one costs signatures.
const maxProofs = 16

// check verifies that text proves t: the leaf itself, at its place, under a tree head
// that the log signed at a time that has come. It counts the witnesses whose cosignatures
// verify; whether they are enough is for the caller.
func (j *Judge) check(q Question, t target, text []byte) (Inclusion, error) {
	p, err := checkpoint.ParseProof(text)
	if err != nil {
		return Inclusion{}, err
	}
	head, seen, err := p.Verify(t.log.Log, t.leaf, j.witnesses)
	if err != nil {
		return Inclusion{}, err
	}
	if head.Time.After(q.Now.Add(q.Skew)) {
		return Inclusion{}, fmt.Errorf("its tree head is of %s, which has not come", stamp(head.Time))
	}
	in := Inclusion{Index: p.Index, Size: head.Size, Time: head.Time, Witnesses: []string{}}
	for _, c := range seen {
		in.Witnesses = append(in.Witnesses, c.Name)
	}
	return in, nil
}

// count returns how many witnesses there are. One may have two keys, while it changes
// them, and is one by its name; two names with one key would be one that counts twice.
func count(witnesses []checkpoint.Witness) (int, error) {
	names, keys := map[string]bool{}, map[string]string{}
	for _, w := range witnesses {
		_, key, _ := strings.Cut(strings.TrimPrefix(w.String(), w.Name()+"+"), "+")
		if name, ok := keys[key]; ok {
			return 0, fmt.Errorf("witnesses %s and %s have one key", name, w.Name())
		}
		names[w.Name()], keys[key] = true, w.Name()
	}
	return len(names), nil
}
