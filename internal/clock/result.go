package clock

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Kernel is what the kernel says of the clock.
type Kernel string

const (
	KernelSynchronised   Kernel = "synchronised"
	KernelUnsynchronised Kernel = "unsynchronised"
	KernelUnknown        Kernel = "unknown"
)

// Verdict is what the clock is.
type Verdict string

const (
	Good Verdict = "good"
	// Off: it differs by more than [Bearable] from what servers of time say.
	Off Verdict = "off"
	// Far: it differs by more than [Unbearable]. Nothing is issued.
	Far Verdict = "far"
	// Unanswered: no server of time that is configured has answered.
	Unanswered Verdict = "unanswered"
	// Unsynchronised: the kernel says that nobody keeps it, and no server of time is
	// configured.
	Unsynchronised Verdict = "unsynchronised"
	// Unknown: nobody tells.
	Unknown Verdict = "unknown"
)

const (
	// Bearable is how far the clock may be off without anybody being told.
	Bearable = time.Second
	// Unbearable is how far it may be off at all: statements, challenges and what
	// certificates say of their beginning are judged by it.
	Unbearable = time.Minute
)

// Answer is what a server of time says: how far ahead of our clock it is.
type Answer struct {
	Source string
	Offset time.Duration
	Err    error
}

// Result is what one check found.
type Result struct {
	At       time.Time
	Verdict  Verdict
	Kernel   Kernel
	Source   string        // whose offset it is; empty: nobody answered
	Offset   time.Duration // of UTC, as the source says, ahead of our clock
	Answered int
	Asked    int
}

// judge decides about the clock. Of several answers the middle one counts: a minority
// that lies, or is wrong, moves it nowhere.
func judge(kernel Kernel, answers []Answer) Result {
	r := Result{Kernel: kernel, Asked: len(answers)}
	answers = slices.DeleteFunc(slices.Clone(answers), func(a Answer) bool { return a.Err != nil })
	r.Answered = len(answers)
	switch {
	case r.Answered > 0:
		slices.SortFunc(answers, func(a, b Answer) int { return cmp.Compare(a.Offset, b.Offset) })
		middle := answers[(len(answers)-1)/2]
		r.Source, r.Offset = middle.Source, middle.Offset
		switch off := middle.Offset.Abs(); {
		case off > Unbearable:
			r.Verdict = Far
		case off > Bearable:
			r.Verdict = Off
		default:
			r.Verdict = Good
		}
	case r.Asked > 0:
		r.Verdict = Unanswered
	case kernel == KernelSynchronised:
		r.Verdict = Good
	case kernel == KernelUnsynchronised:
		r.Verdict = Unsynchronised
	default:
		r.Verdict = Unknown
	}
	return r
}

// Text says a result in a sentence, for operators.
func (r Result) Text() string {
	switch r.Verdict {
	case Off, Far:
		return fmt.Sprintf("the clock is off by %v, says %s", r.Offset.Round(time.Millisecond), r.Source)
	case Unanswered:
		return fmt.Sprintf("none of %d sources of time has answered", r.Asked)
	case Unsynchronised:
		return "the kernel says that nobody keeps the clock synchronised, and time.sources names nobody to compare with"
	case Unknown:
		return "whether the clock is kept synchronised is not known here, and time.sources names nobody to compare with"
	}
	if r.Source == "" {
		return "the kernel says that the clock is kept synchronised"
	}
	return fmt.Sprintf("the clock differs by %v from %s", r.Offset.Round(time.Millisecond), r.Source)
}
