package audit

import (
	"cmp"
	"slices"
)

// Coverage compares what is found erased with what acts say they erased. Acts come
// later than what they erased, and in a log that is read once neither is known
// before the other: both are told to it, and at the end it says what is left. The
// zero value is empty; it is for one goroutine.
type Coverage struct {
	runs []run // of numbers found erased, ascending
	acts []Erasure
}

// run is numbers from to to, all of them erased.
type run struct{ from, to int64 }

// Found tells that what has this number is erased. Numbers come in ascending order.
func (c *Coverage) Found(number int64) {
	if n := len(c.runs); n > 0 && c.runs[n-1].to == number-1 {
		c.runs[n-1].to = number
		return
	}
	c.runs = append(c.runs, run{number, number})
}

// Act tells what an act says that it erased.
func (c *Coverage) Act(e Erasure) {
	if e.To > 0 {
		c.acts = append(c.acts, e)
	}
}

// Uncovered calls report for each stretch of numbers that are erased and that no act
// covers, and for each stretch of acts in which more is erased than they say.
func (c *Coverage) Uncovered(report func(from, to int64)) {
	slices.SortFunc(c.acts, func(a, b Erasure) int { return cmp.Compare(a.From, b.From) })
	runs := c.runs
	for i := 0; i < len(c.acts); {
		// Acts that overlap count together.
		group := c.acts[i]
		for i++; i < len(c.acts) && c.acts[i].From <= group.To; i++ {
			group.To, group.Count = max(group.To, c.acts[i].To), group.Count+c.acts[i].Count
		}
		var erased int64
		for len(runs) > 0 && runs[0].from <= group.To {
			r := runs[0]
			if r.from < group.From {
				report(r.from, min(r.to, group.From-1))
				r.from = group.From
			}
			if r.from <= r.to {
				erased += min(r.to, group.To) - r.from + 1
			}
			if r.to > group.To { // the rest is for what comes after
				runs = append([]run{{group.To + 1, r.to}}, runs[1:]...)
				break
			}
			runs = runs[1:]
		}
		if erased > group.Count {
			report(group.From, group.To)
		}
	}
	for _, r := range runs {
		report(r.from, r.to)
	}
}
