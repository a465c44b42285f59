// Package logged judges what transparency logs prove of a certificate. It owns the
// difference between a promise and a proof: an SCT in a certificate is the word of a
// log that it will show it, and whoever has stolen a log's key can give it; a proof of
// inclusion under a tree head that witnesses have cosigned is what everybody can see.
//
// It knows no status, no chain and no network: it is given certificate, issuer, the
// proofs that came along, and a function that fetches.
package logged

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is what is known of a certificate by logs, or of one SCT in it.
type State string

// The states, each stronger than the one before. Only Promised and Logged answer
// demands. The zero State stands for a certificate that was not looked at.
const (
	// Absent: the certificate has no SCT.
	Absent State = "absent"
	// Unchecked: it has some, and no log that is known here gave one.
	Unchecked State = "not checked"
	// Refused: a known log is named, and what is said in its name is not believed.
	Refused State = "not believed"
	// Promised: an SCT verifies under a known log's key.
	Promised State = "sct"
	// Included: also, the very leaf is under a tree head of that log, which not enough
	// witnesses have cosigned. A thief of the log's key makes such a head for himself.
	Included State = "included, not witnessed"
	// Logged: the leaf is under a tree head that enough witnesses have cosigned.
	Logged State = "logged"
)

var states = []State{"", Absent, Unchecked, Refused, Promised, Included, Logged}

// weaker orders states.
func weaker(a, b State) int { return slices.Index(states, a) - slices.Index(states, b) }

// Demand is what a relying party wants of logs.
type Demand int

// The demands. The zero Demand wants nothing.
const (
	DemandNone   Demand = iota
	DemandSCT           // a promise of a known log
	DemandLogged        // proof that witnesses have seen
)

// Meets reports whether s is enough for d.
func (s State) Meets(d Demand) bool {
	switch d {
	case DemandNone:
		return true
	case DemandSCT:
		return weaker(s, Promised) >= 0
	}
	return s == Logged
}

// Finding is what logs say of a certificate.
type Finding struct {
	// State is the strongest of those of the promises.
	State State `json:"state"`
	// Promises are the SCTs, as they stand in the certificate.
	Promises []Promise `json:"promises,omitempty"`
	// Why says why the list as a whole tells nothing.
	Why string `json:"why,omitempty"`
}

// Promise is what was found of one SCT.
type Promise struct {
	State State  `json:"state"`
	Log   string `json:"log,omitempty"`   // its origin; empty if the log is not known
	LogID string `json:"logId,omitempty"` // hex
	// Time is when the log signed it, by its own clock.
	Time time.Time `json:"time,omitzero"`
	Leaf string    `json:"leaf,omitempty"` // the leaf's hash in the log, hex
	// Why says why it is no more than its State.
	Why       string     `json:"why,omitempty"`
	Inclusion *Inclusion `json:"inclusion,omitempty"`
	// Asked is what was fetched for it, nil if nothing was.
	Asked *Asked `json:"-"`
}

// Inclusion is a proof that was verified.
type Inclusion struct {
	Index int64     `json:"index"` // of the leaf, from 0
	Size  int64     `json:"size"`  // of the tree
	Time  time.Time `json:"time"`  // of the tree head, by the log's clock
	// Witnesses are those known here who have cosigned the tree head.
	Witnesses []string `json:"witnesses"`
	// From is where the proof came from.
	From From `json:"from"`
}

// From says where a proof came from.
type From string

// Kept is a proof that was verified for an earlier question.
const (
	Presented From = "presented"
	Fetched   From = "fetched"
	Kept      From = "kept"
)

// Asked is one question to a log.
type Asked struct {
	Address string
	Took    time.Duration
	Octets  int
	Err     error
}

// String tells the finding in a few words.
func (f Finding) String() string {
	for _, p := range f.Promises {
		if p.State == f.State && p.Log != "" {
			return fmt.Sprintf("%s (%s)", f.State, p.Log)
		}
	}
	return string(f.State)
}

// String tells what was found of an SCT, in one line.
func (p Promise) String() string {
	text, log := "", p.Log
	if log == "" {
		log = "a log"
	}
	switch p.State {
	case Unchecked:
		text = "a timestamp that is not checked"
	case Refused:
		text = fmt.Sprintf("%s: its timestamp is not believed", log)
	case Promised:
		text = fmt.Sprintf("%s promised at %s to show the certificate; that it does is not proved", log, stamp(p.Time))
	case Included:
		text = fmt.Sprintf("%s: included, not witnessed: %s", log, p.Inclusion.words())
	case Logged:
		text = fmt.Sprintf("%s: logged: %s", log, p.Inclusion.words())
	}
	if p.Why != "" {
		text += ": " + p.Why
	}
	return text
}

func (in *Inclusion) words() string {
	text := fmt.Sprintf("entry %d of %d under the tree head of %s", in.Index, in.Size, stamp(in.Time))
	if len(in.Witnesses) > 0 {
		text += ", cosigned by " + strings.Join(in.Witnesses, ", ")
	}
	return text + fmt.Sprintf(" (proof %s)", in.From)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
