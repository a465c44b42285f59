package logged

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"sigill/internal/checkpoint"
	"sigill/revocation/read"
)

// maxKept bounds how many proofs are remembered, of a few hundred octets each.
const maxKept = 16384

// keepFailure is how long a log is not asked again of what it did not prove. A proof
// is kept as long as there is room: what witnesses have seen stays seen.
const keepFailure = 10 * time.Second

// Log is a log that is known, and where it tells proofs.
type Log struct {
	*checkpoint.Log
	// URL is what "/proof/" and the leaf's hash are added to; empty: "http://" and the
	// origin. What comes from there is believed by its signatures, not by its address.
	URL string
}

// Config says which logs and witnesses are known.
type Config struct {
	Logs      []Log
	Witnesses []checkpoint.Witness
	// Quorum is how many of the witnesses must have cosigned a tree head; 0: all of
	// them. Without a witness nothing is ever [Logged].
	Quorum int
}

// Judge judges certificates by logs. Its methods may be called concurrently; a nil
// Judge knows no log.
type Judge struct {
	logs      []*Log
	byID      map[[sha256.Size]byte]*Log
	witnesses []checkpoint.Witness
	known     int // witnesses, by name
	quorum    int
	kept      *otter.Cache[string, kept]
	flights   singleflight.Group
}

// kept is what a log proved, or did not, when it was asked.
type kept struct {
	inclusion Inclusion
	err       error // why there is no proof
	asked     time.Time
}

// New returns a judge. It refuses two logs of one name or key, two witnesses of one key,
// and a demand for more cosignatures than there are witnesses.
func New(c Config) (*Judge, error) {
	j := &Judge{byID: map[[sha256.Size]byte]*Log{}, witnesses: c.Witnesses, quorum: c.Quorum}
	names := map[string]bool{}
	for _, l := range c.Logs {
		if l.URL == "" {
			l.URL = "http://" + l.Origin()
		}
		l.URL = strings.TrimSuffix(l.URL, "/")
		if names[l.Origin()] || j.byID[l.ID()] != nil {
			return nil, fmt.Errorf("log %s: its name or its key is there twice", l.Origin())
		}
		names[l.Origin()] = true
		j.byID[l.ID()] = &l
		j.logs = append(j.logs, &l)
	}
	var err error
	if j.known, err = count(c.Witnesses); err != nil {
		return nil, err
	}
	if j.quorum < 0 || j.quorum > j.known {
		return nil, fmt.Errorf("%d cosignatures are demanded, and %d witnesses are known", c.Quorum, j.known)
	}
	if j.quorum == 0 {
		j.quorum = j.known
	}
	if j.kept, err = otter.New(&otter.Options[string, kept]{MaximumSize: maxKept}); err != nil {
		return nil, fmt.Errorf("cache of proofs: %w", err)
	}
	return j, nil
}

// Fetch returns what GET of an address returns, and how long it took.
type Fetch func(ctx context.Context, address string) (text []byte, took time.Duration, err error)

// Question is what is asked of a certificate.
type Question struct {
	Certificate *x509.Certificate
	Issuer      *x509.Certificate // nil: not at hand
	// Proofs are tlog-proofs that came along, of this certificate or of others.
	Proofs [][]byte
	Now    time.Time
	Skew   time.Duration // how wrong clocks may be
	Fetch  Fetch         // nil: only what came along and what is kept is looked at
}

// Judge tells what logs prove of a certificate. An error is no outcome of its own:
// what cannot be had proves nothing, and the finding says why. Nothing is fetched for
// an SCT that is not believed.
func (j *Judge) Judge(ctx context.Context, q Question) Finding {
	list := read.SCTs(q.Certificate)
	switch {
	case list == nil:
		return Finding{State: Absent}
	case j == nil || len(j.logs) == 0:
		return Finding{State: Unchecked, Why: "no log is known here"}
	case q.Issuer == nil:
		return Finding{State: Unchecked, Why: "the issuer, over whose key logs sign, is not at hand"}
	}
	promises, err := j.promises(q, list)
	if err != nil {
		return Finding{State: Refused, Why: err.Error()}
	}
	f := Finding{State: Unchecked}
	for i := range promises {
		p := &promises[i]
		switch {
		case p.State == Promised && f.State == Logged:
			p.Why = "no proof was looked for, as there is one already"
		case p.State == Promised:
			j.prove(ctx, q, p)
		}
		if weaker(f.State, p.State) < 0 {
			f.State = p.State
		}
		f.Promises = append(f.Promises, p.Promise)
	}
	return f
}

// prove looks for a proof of a promise: what is remembered, what came along, what the
// log says now. Its State becomes that of the best.
func (j *Judge) prove(ctx context.Context, q Question, p *promise) {
	if k, ok := j.kept.GetIfPresent(p.key()); ok && k.err == nil && j.better(p, k.inclusion, Kept) {
		return
	}
	p.Inclusion, p.State = nil, Promised // what was not enough is asked for again
	var why []string
	for _, text := range q.Proofs[:min(len(q.Proofs), maxProofs)] {
		in, err := j.check(q, p.target, text)
		if err != nil {
			why = append(why, "the proof that came along: "+err.Error())
		} else if j.better(p, in, Presented) {
			j.kept.Set(p.key(), kept{inclusion: in, asked: q.Now})
			return
		}
	}
	switch {
	case q.Fetch != nil:
		if err := j.fetched(ctx, q, p); err != nil {
			why = append(why, err.Error())
		}
	case len(q.Proofs) == 0:
		why = append(why, "no proof came along, and none was fetched")
	}
	switch p.State {
	case Logged:
		return
	case Included:
		why = append([]string{fmt.Sprintf("%d of the %d witnesses that are known have cosigned it, and %d are demanded", len(p.Inclusion.Witnesses), j.known, max(j.quorum, 1))}, why...)
	}
	p.Why = strings.Join(why, "; ")
}

// better takes a proof if it is the best so far, and reports whether it is enough. No
// witness is never enough.
func (j *Judge) better(p *promise, in Inclusion, from From) bool {
	if p.Inclusion != nil && len(in.Witnesses) <= len(p.Inclusion.Witnesses) {
		return false
	}
	in.From = from
	p.Inclusion, p.State = &in, Included
	if len(in.Witnesses) > 0 && len(in.Witnesses) >= j.quorum {
		p.State = Logged
	}
	return p.State == Logged
}

// fetched asks the log, unless it was asked a moment ago.
func (j *Judge) fetched(ctx context.Context, q Question, p *promise) error {
	k, ok := j.kept.GetIfPresent(p.key())
	if age := q.Now.Sub(k.asked); ok && age >= 0 && age < keepFailure {
		if k.err != nil {
			return fmt.Errorf("%s ago %w", age.Round(time.Second), k.err)
		}
		j.better(p, k.inclusion, Kept)
		return nil
	}
	t := p.target
	done := j.flights.DoChan(t.key(), func() (any, error) {
		// Whoever came first may leave; the others still want the proof.
		return j.ask(context.WithoutCancel(ctx), q, t), nil
	})
	select {
	case <-ctx.Done():
		return fmt.Errorf("asking the log: %w", ctx.Err())
	case o := <-done:
		a := o.Val.(answer)
		p.Asked = &a.Asked
		if a.Err == nil {
			j.better(p, a.inclusion, Fetched)
		}
		return a.Err
	}
}

// answer is what a log answered.
type answer struct {
	Asked
	inclusion Inclusion
}

// ask fetches the proof of a leaf, and keeps what came of it.
func (j *Judge) ask(ctx context.Context, q Question, t target) answer {
	a := answer{Asked: Asked{Address: t.log.URL + "/proof/" + hex.EncodeToString(t.leaf[:])}}
	text, took, err := q.Fetch(ctx, a.Address)
	a.Took, a.Octets = took, len(text)
	if err == nil {
		a.inclusion, err = j.check(q, t, text)
	}
	if err != nil {
		a.Err = fmt.Errorf("the log at %s proved nothing: %w", t.log.URL, err)
	}
	j.kept.Set(t.key(), kept{inclusion: a.inclusion, err: a.Err, asked: q.Now})
	return a
}
