package audit

import (
	"cmp"
	"slices"
	"time"
)

// Coverage compares what is found erased with what acts say they erased. Acts come
// later than what they erased, and in a log that is read once neither is known
// before the other: both are told to it, and at the end it says what is left. The
// zero value is empty; it is for one goroutine.
type Coverage struct {
	runs []run // of numbers found erased, ascending
	acts []Erasure
}

// run is numbers from to to, all of them erased, and all of them from after after on.
type run struct {
	from, to int64
	after    time.Time
}

// Found tells that what has this number is erased, and that it cannot be older than
// after, the zero time if nothing is known ([NotBefore]). Numbers come in ascending
// order.
func (c *Coverage) Found(number int64, after time.Time) {
	if n := len(c.runs); n > 0 && c.runs[n-1].to == number-1 && c.runs[n-1].after.Equal(after) {
		c.runs[n-1].to = number
		return
	}
	c.runs = append(c.runs, run{number, number, after})
}

// Act tells what an act says that it erased.
func (c *Coverage) Act(e Erasure) {
	if e.To > 0 {
		c.acts = append(c.acts, e)
	}
}

// Uncovered calls report for each stretch of numbers that are erased and that no act
// covers, and for each stretch of acts in which more is erased than they say. An act
// covers nothing that is newer than what it says it erased: the time of an entry is
// erased with it, and without that bound who has the database empties yesterday's and
// writes an act of eighteen months ago about its number.
func (c *Coverage) Uncovered(report func(from, to int64)) {
	slices.SortFunc(c.acts, func(a, b Erasure) int { return cmp.Compare(a.From, b.From) })
	runs := c.runs
	for i := 0; i < len(c.acts); {
		// Acts that overlap count together.
		first, to, count := i, c.acts[i].To, c.acts[i].Count
		for i++; i < len(c.acts) && c.acts[i].From <= to; i++ {
			to, count = max(to, c.acts[i].To), count+c.acts[i].Count
		}
		var erased int64
		for len(runs) > 0 && runs[0].from <= to {
			r := runs[0]
			runs = runs[1:]
			if r.to > to { // the rest is for what comes after
				runs = append([]run{{to + 1, r.to, r.after}}, runs...)
				r.to = to
			}
			if from := max(r.from, c.acts[first].From); from <= r.to {
				erased += r.to - from + 1
			}
			r.uncovered(c.acts[first:i], report)
		}
		if erased > count {
			report(c.acts[first].From, to)
		}
	}
	for _, r := range runs {
		report(r.from, r.to)
	}
}

// uncovered calls report for the stretches of r that none of acts, in the order of
// their first numbers, covers.
func (r run) uncovered(acts []Erasure, report func(from, to int64)) {
	for _, e := range acts {
		if e.To < r.from || e.Through.Before(r.after) {
			continue
		}
		if e.From > r.to {
			break
		}
		if e.From > r.from {
			report(r.from, e.From-1)
		}
		r.from = e.To + 1
	}
	if r.from <= r.to {
		report(r.from, r.to)
	}
}
