//go:build unix && cgo

package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Where a kill in submit fell, by what the database says afterwards: before the
// intent was recorded, between record and store, after the certificate was stored.
const (
	beforeRecord = "submit, nothing recorded"
	intentOpen   = "submit, intent open"
	afterStore   = "submit, certificate stored"
)

// places are where kills are wanted, in the order of a download.
func places() []string {
	return []string{"me", "begin", "challenge", "submit", beforeRecord, intentOpen, afterStore, "confirm", "removed"}
}

// many kills are enough for the narrowest place to be hit for certain. With fewer
// it is looked for, but only the steps must have been hit.
const many = 100

// histogram counts kills by where they fell. A kill with several requests under
// way counts in each of their places.
type histogram struct {
	kills    int // all
	inside   int // in a step of the card protocol
	starting int // of servers that had not begun to answer; not in kills
	at       map[string]int
}

func newHistogram() *histogram { return &histogram{at: map[string]int{}} }

// add counts a kill.
func (h *histogram) add(hit map[string]bool) {
	step := false
	for p := range hit {
		h.at[p]++
		step = step || slices.Contains(places(), p)
	}
	if step {
		h.inside++
	}
}

// missing are the places not hit yet, and steps those of them that are whole steps.
func (h *histogram) missing() (all, steps []string) {
	all = slices.DeleteFunc(places(), func(p string) bool { return h.at[p] > 0 })
	return all, slices.DeleteFunc(slices.Clone(all), func(p string) bool { return strings.Contains(p, ",") })
}

// enough reports whether so many kills were where they are wanted, and everywhere.
func (h *histogram) enough(kills int) bool {
	all, steps := h.missing()
	return h.inside >= kills && len(steps) == 0 && (len(all) == 0 || kills < many && h.inside >= kills*3/2)
}

// choose draws the place to hit next: one that was not hit yet every other time.
func (h *histogram) choose(r *rand.Rand) string {
	from := places()
	if all, _ := h.missing(); len(all) > 0 && r.IntN(2) == 0 {
		from = all
	}
	return from[r.IntN(len(from))]
}

// String draws it.
func (h *histogram) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d kills inside requests of cards, %d elsewhere, %d of a server that was starting\n", h.inside, h.kills-h.inside, h.starting)
	rest := []string{}
	for p := range h.at {
		if !slices.Contains(places(), p) {
			rest = append(rest, p)
		}
	}
	slices.Sort(rest)
	for _, p := range append(places(), rest...) {
		fmt.Fprintf(&b, "  %-55s %5d %s\n", p, h.at[p], strings.Repeat("#", min(h.at[p], 60)))
	}
	return b.String()
}
